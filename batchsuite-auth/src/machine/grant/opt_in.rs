//! The start and the end of an opt-in: connect, import, remove.

use super::{
    event::{Connect, Import, PairTimes},
    record::{Grant, RecordedCause, RefreshTokenEnd, Standing},
    step::{Step, StepRefusal},
};
use crate::{
    clock::{Timestamp, earlier, later},
    events::{EventContent, EventKind},
    ids::{ActorId, ConsentId, Revision},
    machine::limits::{CLOCK_DISAGREEMENT, CLOCK_TOLERANCE},
};

impl Connect {
    /// When UPS issued a pair: `issued_at` if it is plausible for a code sent at `sent_at` and an answer that arrived
    /// at `arrived_at` (store's clock), otherwise `arrived_at`.
    pub fn issue_time(issued_at: Option<Timestamp>, sent_at: Timestamp, arrived_at: Timestamp) -> Timestamp {
        let plausible = earlier(sent_at, CLOCK_TOLERANCE)..=later(arrived_at, CLOCK_TOLERANCE);
        issued_at.filter(|issued_at| plausible.contains(issued_at)).unwrap_or(arrived_at)
    }
}

impl Grant {
    pub(super) fn connect(&self, connect: &Connect, now: Timestamp) -> Result<Step, StepRefusal> {
        let Connect { consent, removals, used_at, issued_at, is_retry, .. } = connect;
        if *removals != self.removals {
            return Err(StepRefusal::RemovedSince);
        }
        if self.opt_in == Some(*consent) {
            return Err(StepRefusal::AlreadyStored);
        }
        let stored = self.plausible_issue(now);
        let is_rival = |stored: Timestamp| match self.authenticated_at {
            // A retry that is not later than a stored pair is either that pair or has lost, and its refresh token may
            // be spent.
            _ if *is_retry => stored >= *issued_at,
            // The two consents overlapped. (A stored time ahead of now was dated by a clock that has since been set
            // back.)
            Some(stored_at) if *used_at <= stored_at && stored_at <= later(now, CLOCK_TOLERANCE) => stored > *issued_at,
            // The person has just consented.
            _ => false,
        };
        // The stored grant wins only if it is authenticated and its `issued_at` is at most a day ahead.
        if self.standing == Standing::Authenticated && stored.is_some_and(is_rival) {
            return Err(StepRefusal::Superseded);
        }
        let grant = Self {
            issued_at: stored.max(Some(*issued_at)),
            ..self.opted_in(*consent, &connect.actor, &connect.client_id, &connect.pair, now)
        };
        Ok(Step::authenticated("connect", grant, &connect.actor))
    }

    pub(super) fn import(&self, import: &Import, now: Timestamp) -> Result<Step, StepRefusal> {
        if self.opt_in == Some(import.id) {
            return Err(StepRefusal::AlreadyStored);
        }
        if self.revision.epoch != import.epoch {
            return Err(StepRefusal::Stale);
        }
        if self.outlasts_imports() && self.last_known_issue(now) >= import.issued_at {
            return Err(StepRefusal::Superseded);
        }
        if self.imported == Some(import.id) {
            return Err(StepRefusal::AlreadyStored);
        }
        // Stored, it would outrank every opt-in until then.
        if import.issued_at > Some(later(now, CLOCK_TOLERANCE)) {
            return Err(StepRefusal::IssuedAhead);
        }
        if import.pair.token_times(RefreshTokenEnd::Absent).refresh_end().is_some_and(|end| end <= now) {
            return Err(StepRefusal::Ended);
        }
        let grant = Self {
            issued_at: self.plausible_issue(now).max(import.issued_at),
            imported: Some(import.id),
            // The other system may have spent the token.
            suspect_until: Some(now),
            // That there is no access token is no failure of UPS.
            failures: 0,
            ..self.opted_in(import.id, &import.actor, &import.client_id, &import.pair, now)
        };
        Ok(Step::authenticated("import", grant, &import.actor))
    }

    pub(super) fn remove(&self, actor: &ActorId) -> Step {
        // Even if nothing is stored, the epoch goes up, which ends flights, and so does `removals`, which ends pending
        // consents.
        let grant = Self {
            revision: Revision { epoch: self.revision.epoch + 1, version: 0 },
            // Wraps, because a document may hold any number; only the change matters.
            removals: self.removals.wrapping_add(1),
            unknown: self.unknown.clone(),
            ..Self::default()
        };
        let event = EventContent::new(EventKind::Removed).with_actor(actor.clone());
        Step::new("remove", grant).erasing_tokens().writing(vec![event]).announced()
    }

    /// The stored `issued_at`, unless it is more than a day ahead: such a time is wrong and must not block every later
    /// consent.
    fn plausible_issue(&self, now: Timestamp) -> Option<Timestamp> {
        self.issued_at.filter(|stored| is_plausible(*stored, now))
    }

    /// Whether an import of an earlier or unknown date leaves this opt-in alone: it is authenticated, or UPS has refused
    /// a token that was certainly unused and is still to be asked again, because it may have refused by mistake.
    fn outlasts_imports(&self) -> bool {
        let is_asked_again = self.quarantine.is_some_and(|quarantine| !quarantine.is_over);
        match self.standing {
            Standing::Authenticated => true,
            Standing::ReauthRequired(RecordedCause::OptInInvalidated) => is_asked_again,
            Standing::ReauthRequired(RecordedCause::RotationLost) | Standing::Unauthenticated => false,
        }
    }

    /// The latest time at which UPS is known to have issued tokens of this opt-in: at its beginning or, later, to a
    /// rotation. The arrival of the tokens stands for an unknown date.
    fn last_known_issue(&self, now: Timestamp) -> Option<Timestamp> {
        let opt_in = self.plausible_issue(now);
        let pair = self.tokens.map(|tokens| tokens.obtained_at).filter(|at| is_plausible(*at, now));
        if self.rotated_by.is_some() { opt_in.max(pair) } else { opt_in.or(pair) }
    }

    fn opted_in(&self, id: ConsentId, actor: &ActorId, client_id: &str, pair: &PairTimes, now: Timestamp) -> Self {
        Self {
            revision: Revision { epoch: self.revision.epoch + 1, version: 1 },
            standing: Standing::Authenticated,
            removals: self.removals,
            opt_in: Some(id),
            imported: self.imported,
            client_id: Some(client_id.to_owned()),
            actor: Some(actor.clone()),
            authenticated_at: Some(now),
            tokens: Some(pair.token_times(RefreshTokenEnd::Absent)),
            failures: u32::from(pair.access_lifetime.is_none()),
            unknown: self.unknown.clone(),
            ..Self::default()
        }
    }
}

/// Whether a stored time is at most a day ahead.
fn is_plausible(stored: Timestamp, now: Timestamp) -> bool {
    stored <= later(now, CLOCK_DISAGREEMENT)
}
