//! An attempt to refresh: its claim, and its possible outcomes.

use std::time::Duration;

use super::{
    event::{Claim, GrantEvent, PairRefresh, PairTimes, Release},
    record::{
        Grant, Phase, Quarantine, RecordedCause, RecordedRefusal, RefreshTokenEnd, Standing, TokenTimes, Unanswered,
    },
    step::{Step, StepRefusal},
};
use crate::{
    clock::{Timestamp, later},
    events::{EventContent, EventKind, Evidence},
    ids::{AttemptId, Revision},
    machine::{
        backoff::{Backoff, cool_down},
        limits::{ECHO, LONGEST_RATE_LIMIT},
    },
};

/// The pauses after attempts that brought no usable pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pauses {
    /// After an attempt that was not sent, or that UPS refused for a reason other than its refresh token.
    pub refresh: Backoff,
    /// After an unanswered attempt, counted from the end of its lease.
    pub probe: Backoff,
    /// After a pair that cannot be used.
    pub unusable: Backoff,
    /// When UPS is asked again about a refused refresh token, each counted from the refusal.
    pub second_opinions: Vec<Duration>,
}

impl Grant {
    /// The claim of `attempt` on this grant.
    pub fn claim_of(&self, attempt: AttemptId) -> Claim {
        Claim { opt_in: self.opt_in, revision: self.revision, attempt }
    }

    pub(super) fn claim(&self, attempt: AttemptId, lease: Duration, now: Timestamp) -> Result<Step, StepRefusal> {
        if !self.may_be_sent(now) {
            return Err(StepRefusal::NotAuthenticated);
        }
        // The first request may still be in transit; if both arrived, one of them would carry a spent token.
        if self.leased_until(now).is_some() {
            return Err(StepRefusal::Leased);
        }
        if self.paused_until(now).is_some() {
            return Err(StepRefusal::Paused);
        }
        // An attempt with no recorded outcome may have been answered: its holder may have died with the pair.
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
            Release::Unsent(pause) => (*pause, self.failures, Vec::new()),
            Release::RateLimited(pause) => ((*pause).min(LONGEST_RATE_LIMIT), self.failures, Vec::new()),
            Release::NotSent(evidence) => failed(EventKind::RefreshFailed, evidence),
            Release::OutOfReach => (pauses.refresh.after(1, jitter), self.failures.max(1), Vec::new()),
            Release::Misconfigured(evidence) | Release::Unknown(evidence) => failed(EventKind::Misconfigured, evidence),
        };
        // `unanswered` stays: that this attempt was not sent proves nothing about earlier ones.
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
        // A fail-over may have set the row back; the pair in hand is still the newest then. Lease, attempt and standing
        // are not compared: a slow holder with a valid pair must win, even over a grant that was given up meanwhile.
        if self.revision.version > claim.revision.version {
            return Err(StepRefusal::Stale);
        }
        // The claim required a refresh token, so `Absent` means that it was erased since.
        let kept_end = self.tokens.map(|tokens| tokens.refresh_token_end).filter(|end| *end != RefreshTokenEnd::Absent);
        let kept_end = kept_end.unwrap_or(RefreshTokenEnd::Unknown);
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
            tokens: Some(pair.token_times(kept_end)),
            failures,
            retry_at: cool_down.map(|pause| later(now, pause)),
            refusal: None,
            quarantine: None,
            notified: self.notified.filter(|_| pair.refresh == PairRefresh::Kept),
            ..self.clone()
        };
        let kind = if given_up { EventKind::Recovered } else { EventKind::Refreshed };
        let evidence = Evidence::default().with_attempt(claim.attempt);
        Ok(Step::new("commit", grant)
            .replacing_tokens()
            .writing(vec![EventContent::new(kind).with_evidence(evidence)])
            .announced())
    }

    /// Without evidence, UPS is out of reach for every company.
    pub(super) fn unanswered(
        &self,
        claim: &Claim,
        evidence: Option<&Evidence>,
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
        let event = evidence.map(|evidence| {
            let evidence = evidence.clone().with_attempt(claim.attempt);
            EventContent::new(EventKind::RefreshUnanswered).with_evidence(evidence)
        });
        Ok(Step::new("unanswered", grant).writing(event.into_iter().collect()))
    }

    /// UPS is in reach again, which ends the company's pause. A lease goes on.
    pub(super) fn resume(&self, now: Timestamp) -> Result<Step, StepRefusal> {
        if self.standing != Standing::Authenticated || self.paused_until(now).is_none() {
            return Err(StepRefusal::Unchanged);
        }
        Ok(Step::new("resume", Self { retry_at: None, ..self.clone() }).timed())
    }

    /// Whether the refresh token may be sent: it belongs to an opt-in, or UPS is to be asked again about it.
    fn may_be_sent(&self, now: Timestamp) -> bool {
        match self.standing {
            Standing::Unauthenticated => false,
            Standing::Authenticated => true,
            Standing::ReauthRequired(_) => self.may_ask_again(now),
        }
    }

    pub(super) fn refused(
        &self,
        claim: &Claim,
        evidence: &Evidence,
        pauses: &Pauses,
        now: Timestamp,
    ) -> Result<Step, StepRefusal> {
        self.held_by(claim)?;
        let evidence = evidence.clone().with_attempt(claim.attempt);
        // While an earlier answer is missing, a refusal proves nothing about the opt-in. A later refusal does not
        // change a recorded cause back.
        let cause = match self.standing {
            _ if self.explains_refusal() => RecordedCause::RotationLost,
            Standing::ReauthRequired(cause) => cause,
            Standing::Authenticated | Standing::Unauthenticated => RecordedCause::OptInInvalidated,
        };
        let standing = Standing::ReauthRequired(cause);
        // A later time was set by a wrong clock.
        let refused_at = self.refusal.as_ref().map_or(now, |refusal| refusal.at.min(now));
        let quarantine = self.next_quarantine(refused_at, pauses, now);
        // A withdrawn opt-in's access token ends with it; a lost rotation's works until its own end.
        let access_token_end = self
            .tokens
            .and_then(|tokens| tokens.access_token_end)
            .filter(|end| cause == RecordedCause::RotationLost && *end > now);
        let is_over = quarantine.is_none();
        let refresh_token_end = |end| if is_over { RefreshTokenEnd::Absent } else { end };
        let grant = Self {
            standing,
            phase: Phase::Idle,
            refusal: Some(RecordedRefusal { at: refused_at, evidence: evidence.clone() }),
            quarantine: quarantine.or(access_token_end.map(|until| Quarantine { refusals: 0, until, is_over: true })),
            tokens: self.tokens.filter(|_| !is_over || access_token_end.is_some()).map(|tokens| TokenTimes {
                access_token_end,
                refresh_token_end: refresh_token_end(tokens.refresh_token_end),
                ..tokens
            }),
            ..self.clone()
        };
        let step = Step::new("refused", grant);
        let had_access_token = self.tokens.is_some_and(|tokens| tokens.access_token_end.is_some());
        let step = match (is_over, access_token_end) {
            (true, None) => step.erasing_tokens(),
            (true, Some(_)) => step.erasing_refresh_token(),
            (false, None) if had_access_token => step.erasing_access_token(),
            (false, _) => step,
        };
        // An event for this cause was written before.
        let event = EventContent::new(EventKind::Invalidated).with_evidence(evidence).with_cause(cause.into());
        Ok(if self.standing == standing { step } else { step.writing(vec![event]).announced() })
    }

    /// The quarantine after another refusal; `None`: UPS has been asked often enough.
    fn next_quarantine(&self, refused_at: Timestamp, pauses: &Pauses, now: Timestamp) -> Option<Quarantine> {
        let refusals = self.quarantine.map_or(0, |quarantine| quarantine.refusals.saturating_add(1));
        let after = pauses.second_opinions.get(refusals)?;
        // If the keeper was down, the overdue requests don't follow each other at once.
        let until = later(refused_at, *after).max(later(now, *pauses.second_opinions.first()?));
        Some(Quarantine { refusals, until, is_over: false })
    }

    pub(super) fn erase(&self, pauses: &Pauses, now: Timestamp) -> Result<Step, StepRefusal> {
        let is_over = self.quarantined_until(now).is_some_and(|until| until <= now);
        if !is_over || self.asks_again(pauses) || !matches!(self.standing, Standing::ReauthRequired(_)) {
            return Err(StepRefusal::Unchanged);
        }
        // The policy has been shortened since the refusal. The access token of a lost rotation still works until its
        // own end.
        let access_token_end = self.tokens.and_then(|tokens| tokens.access_token_end);
        Ok(match access_token_end.filter(|end| self.serves_until_its_end(*end, now)) {
            Some(until) => {
                let quarantine = self.quarantine.map(|quarantine| Quarantine { until, is_over: true, ..quarantine });
                let refresh_token_end = RefreshTokenEnd::Absent;
                let tokens = self.tokens.map(|tokens| TokenTimes { refresh_token_end, ..tokens });
                Step::new("erase", Self { tokens, quarantine, ..self.clone() }).erasing_refresh_token()
            }
            None => Step::new("erase", Self { tokens: None, quarantine: None, ..self.clone() }).erasing_tokens(),
        })
    }

    /// Whether the access token of a refused opt-in, which ends at `end`, is still served.
    fn serves_until_its_end(&self, end: Timestamp, now: Timestamp) -> bool {
        self.standing == Standing::ReauthRequired(RecordedCause::RotationLost) && end > now
    }

    /// Whether a refusal of the refresh token is no evidence against the client: a lost answer may explain it, or UPS
    /// refused the token before.
    pub fn expects_refusal(&self) -> bool {
        self.explains_refusal() || self.standing != Standing::Authenticated
    }

    /// The event that makes sure that a claim of unknown outcome blocks nobody. `is_as_claimed`: the row was not saved
    /// since the claim's read. `None`: it was saved, so the claim's own save can only conflict.
    pub fn fence_of(&self, claim: &Claim, is_as_claimed: bool) -> Option<GrantEvent> {
        match self.phase {
            Phase::Claimed { attempt, .. } if attempt == claim.attempt => {
                Some(GrantEvent::Release { claim: *claim, reason: Release::Unsent(Duration::ZERO), jitter: 1.0 })
            }
            _ if is_as_claimed => Some(GrantEvent::Fence),
            _ => None,
        }
    }

    /// Whether UPS is to be asked again about its refused refresh token.
    pub fn asks_again(&self, pauses: &Pauses) -> bool {
        let is_left =
            |quarantine: Quarantine| !quarantine.is_over && quarantine.refusals < pauses.second_opinions.len();
        self.quarantine.is_some_and(is_left)
    }

    /// When UPS is asked again about a refused refresh token; `None`: it is not.
    pub fn second_opinion_at(&self, pauses: &Pauses, now: Timestamp) -> Option<Timestamp> {
        self.quarantined_until(now).filter(|_| self.asks_again(pauses))
    }

    /// The time of this attempt's claim and the end of its lease, if the row is still this attempt's.
    fn held_by(&self, claim: &Claim) -> Result<(Timestamp, Timestamp), StepRefusal> {
        if self.revision != claim.revision || self.opt_in != claim.opt_in {
            return Err(StepRefusal::Stale);
        }
        match self.phase {
            Phase::Claimed { attempt, at, lease_until } if attempt == claim.attempt => Ok((at, lease_until)),
            _ => Err(StepRefusal::NotHolder),
        }
    }

    /// Adds `attempt`, sent at about `sent_at`, to the doubtful ones.
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

    /// The mark *suspect* after a commit: until when an echo can come that looks like a withdrawal.
    fn suspect_after(&self, claim: &Claim, pair: &PairTimes, now: Timestamp) -> Option<Timestamp> {
        // This attempt's own request was doubtful and is answered now.
        let in_doubt = self.unanswered.filter(|unanswered| unanswered.attempt != Some(claim.attempt));
        let in_doubt = in_doubt.map(|unanswered| unanswered.echo_until);
        // Another attempt took the row over, and may have sent the same token.
        let taken_over = match self.phase {
            Phase::Claimed { attempt, at, .. } if attempt != claim.attempt => Some(later(at, ECHO)),
            _ => None,
        };
        // A fail-over set the row back, and its record of doubtful requests is lost.
        let set_back = (self.revision.version < claim.revision.version).then(|| later(now, ECHO));
        // A refresh token that was sent and is kept is no longer certainly unused.
        let sent_once = (pair.refresh == PairRefresh::Kept).then(|| later(pair.sent_at, ECHO));
        let new = in_doubt.max(taken_over).max(set_back).max(sent_once);
        let old = self.suspect_until.filter(|until| new.is_some() || pair.sent_at <= *until);
        // Every doubtful request was sent before now: a later time was written by a clock that has since been set back.
        new.max(old).map(|until| until.min(later(now, ECHO)))
    }
}
