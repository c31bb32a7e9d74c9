//! An attempt to refresh: its claim, and each way in which it can end.

use std::time::Duration;

use super::{
    event::{Claim, PairRefresh, PairTimes, Release},
    record::{Grant, Phase, RecordedCause, RecordedRefusal, RefreshTokenEnd, Standing, Unanswered},
    step::{Step, StepRefusal},
};
use crate::{
    clock::{Timestamp, later},
    events::{EventContent, EventKind, Evidence},
    ids::{AttemptId, Revision},
    machine::{
        backoff::{Backoff, cool_down},
        limits::ECHO,
    },
};

/// The pauses after attempts that brought no usable pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pauses {
    /// After one that was not sent, or refused for another reason than its refresh token.
    pub refresh: Backoff,
    /// After an unanswered one, from the end of its lease on.
    pub probe: Backoff,
    /// After pairs that cannot be used.
    pub unusable: Backoff,
}

impl Grant {
    /// The claim that `attempt` makes of it.
    pub fn claim_of(&self, attempt: AttemptId) -> Claim {
        Claim { opt_in: self.opt_in, revision: self.revision, attempt }
    }

    pub(super) fn claim(&self, attempt: AttemptId, lease: Duration, now: Timestamp) -> Result<Step, StepRefusal> {
        if self.standing != Standing::Authenticated {
            return Err(StepRefusal::NotAuthenticated);
        }
        // The first request may still be in transit: two at once would make one of them a spent token.
        if self.leased_until(now).is_some() {
            return Err(StepRefusal::Leased);
        }
        if self.paused_until(now).is_some() {
            return Err(StepRefusal::Paused);
        }
        // An attempt that never said how it ended may have been answered: its holder may have died with the pair.
        let unanswered = match self.phase {
            Phase::Claimed { attempt, at, .. } => Some(self.also_in_doubt(attempt, at)),
            Phase::Idle | Phase::InDoubt { .. } => self.unanswered,
        };
        let phase = Phase::Claimed { attempt, at: now, lease_until: later(now, lease) };
        Ok(Step::new("claim", Self { phase, unanswered, ..self.clone() }).timed().keeping_wake())
    }

    pub(super) fn release(
        &self,
        claim: &Claim,
        reason: &Release,
        pauses: &Pauses,
        jitter: f64,
        now: Timestamp,
    ) -> Result<Step, StepRefusal> {
        self.held_by(claim)?;
        let failed = |kind, evidence: &Evidence| {
            let evidence = evidence.clone().with_attempt(claim.attempt);
            let failures = self.failures.saturating_add(1);
            (pauses.refresh.after(failures, jitter), failures, vec![EventContent::new(kind).with_evidence(evidence)])
        };
        let (pause, failures, events) = match reason {
            Release::Unsent(pause) | Release::RateLimited(pause) => (*pause, self.failures, Vec::new()),
            Release::NotSent(evidence) => failed(EventKind::RefreshFailed, evidence),
            Release::Misconfigured(evidence) | Release::Unknown(evidence) => failed(EventKind::Misconfigured, evidence),
        };
        // `unanswered` stays: that this attempt was not sent says nothing about an earlier one.
        let retry_at = (!pause.is_zero()).then(|| later(now, pause));
        let grant = Self { phase: Phase::Idle, failures, retry_at, ..self.clone() };
        Ok(Step::new("release", grant).timed().writing(events))
    }

    pub(super) fn commit(
        &self,
        claim: &Claim,
        pair: &PairTimes,
        pauses: &Pauses,
        jitter: f64,
        now: Timestamp,
    ) -> Result<Step, StepRefusal> {
        if self.opt_in != claim.opt_in || self.standing == Standing::Unauthenticated {
            return Err(StepRefusal::Stale);
        }
        if self.rotated_by == Some(claim.attempt) {
            return Err(StepRefusal::AlreadyStored);
        }
        // A fail-over may have set the row back; the pair in hand is then still the newest. Lease, attempt and standing are not
        // compared: a slow holder with a valid pair must win, even over a row that was given up meanwhile.
        if self.revision.version > claim.revision.version {
            return Err(StepRefusal::Stale);
        }
        let given_up = matches!(self.standing, Standing::ReauthRequired(_));
        let failures = if pair.access_lifetime.is_some() { 0 } else { self.failures.saturating_add(1) };
        let cool_down = cool_down(pauses.unusable, failures, jitter);
        let grant = Self {
            revision: Revision { version: claim.revision.version + 1, ..self.revision },
            standing: Standing::Authenticated,
            phase: Phase::Idle,
            unanswered: None,
            suspect_until: self.suspect_after(claim, pair, now),
            rotated_by: Some(claim.attempt),
            tokens: Some(
                pair.token_times(self.tokens.map_or(RefreshTokenEnd::Unknown, |tokens| tokens.refresh_token_end)),
            ),
            failures,
            retry_at: cool_down.map(|pause| later(now, pause)),
            refusal: None,
            told: self.told.filter(|_| pair.refresh == PairRefresh::Kept),
            ..self.clone()
        };
        let kind = if given_up { EventKind::Recovered } else { EventKind::Refreshed };
        let evidence = Evidence::default().with_attempt(claim.attempt);
        Ok(Step::new("commit", grant)
            .replacing_tokens()
            .writing(vec![EventContent::new(kind).with_evidence(evidence)])
            .announced())
    }

    pub(super) fn unanswered(
        &self,
        claim: &Claim,
        evidence: &Evidence,
        pauses: &Pauses,
        jitter: f64,
        now: Timestamp,
    ) -> Result<Step, StepRefusal> {
        let (at, lease_until) = self.held_by(claim)?;
        let failures = self.failures.saturating_add(1);
        // The request may be in transit until the lease ends.
        let retry_at = later(lease_until.max(now), pauses.probe.after(failures, jitter));
        let grant = Self {
            phase: Phase::InDoubt { lease_until },
            unanswered: Some(self.also_in_doubt(claim.attempt, at)),
            failures,
            retry_at: Some(retry_at),
            ..self.clone()
        };
        let evidence = evidence.clone().with_attempt(claim.attempt);
        let event = EventContent::new(EventKind::RefreshUnanswered).with_evidence(evidence);
        Ok(Step::new("unanswered", grant).writing(vec![event]))
    }

    pub(super) fn refused(&self, claim: &Claim, evidence: &Evidence, now: Timestamp) -> Result<Step, StepRefusal> {
        self.held_by(claim)?;
        let evidence = evidence.clone().with_attempt(claim.attempt);
        let is_explained = self.explains_refusal();
        let cause = if is_explained { RecordedCause::RotationLost } else { RecordedCause::OptInInvalidated };
        let grant = Self {
            standing: Standing::ReauthRequired(cause),
            phase: Phase::Idle,
            refusal: Some(RecordedRefusal { at: now, evidence: evidence.clone() }),
            tokens: self.tokens.filter(|_| is_explained),
            ..self.clone()
        };
        let event = EventContent::new(EventKind::Invalidated).with_evidence(evidence).with_cause(cause.into());
        let step = Step::new("refused", grant).writing(vec![event]).announced();
        // After a lost rotation the tokens stay: the access token works until it ends.
        Ok(if is_explained { step } else { step.erasing_tokens() })
    }

    /// Whether the row is still this attempt's: when it claimed, and the end of its lease.
    fn held_by(&self, claim: &Claim) -> Result<(Timestamp, Timestamp), StepRefusal> {
        if self.revision != claim.revision || self.opt_in != claim.opt_in {
            return Err(StepRefusal::Stale);
        }
        match self.phase {
            Phase::Claimed { attempt, at, lease_until } if attempt == claim.attempt => Ok((at, lease_until)),
            _ => Err(StepRefusal::NotHolder),
        }
    }

    /// This attempt is in doubt as well: it was sent about then.
    fn also_in_doubt(&self, attempt: AttemptId, sent_at: Timestamp) -> Unanswered {
        let echo_until = later(sent_at, ECHO);
        match self.unanswered {
            None => Unanswered { attempt: Some(attempt), echo_until },
            Some(known) => Unanswered {
                attempt: known.attempt.filter(|known| *known == attempt),
                echo_until: known.echo_until.max(echo_until),
            },
        }
    }

    /// The mark after a commit: until when an echo can come that looks like a withdrawal.
    fn suspect_after(&self, claim: &Claim, pair: &PairTimes, now: Timestamp) -> Option<Timestamp> {
        // Its own request was in doubt and is answered now.
        let in_doubt = self.unanswered.filter(|unanswered| unanswered.attempt != Some(claim.attempt));
        let in_doubt = in_doubt.map(|unanswered| unanswered.echo_until);
        // Another attempt took over, and may have sent the same token.
        let taken_over = match self.phase {
            Phase::Claimed { attempt, at, .. } if attempt != claim.attempt => Some(later(at, ECHO)),
            _ => None,
        };
        // A refresh token that was sent once and kept is no longer "certainly unused".
        let sent_once = (pair.refresh == PairRefresh::Kept).then(|| later(pair.sent_at, ECHO));
        let new = in_doubt.max(taken_over).max(sent_once);
        let old = self.suspect_until.filter(|until| new.is_some() || pair.sent_at <= *until);
        // Whatever was in doubt was sent before now: a later end was written by a clock that has been set back since.
        new.max(old).map(|until| until.min(later(now, ECHO)))
    }
}
