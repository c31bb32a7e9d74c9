//! One company's grant: everything that is stored about it except its secrets, and all its steps.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    Backoff, RefreshTokenEnd, TokenTimes, cool_down,
    limits::{CLOCK_DISAGREEMENT, CLOCK_TOLERANCE, ECHO, LONGEST_LEASE},
    wake::Notice,
};
use crate::{
    clock::{Timestamp, later, within},
    events::{EventContent, EventKind, Evidence},
    ids::{ActorId, AttemptId, ConsentId, Revision},
};

/// One company's record. A store keeps it as a JSON document; fields are only ever added.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Grant {
    /// Which opt-in, and which rotation of it. It stands in columns, too, and these count.
    #[serde(skip)]
    pub revision: Revision,
    /// Where the company stands.
    pub standing: Standing,
    /// How far the present rotation is.
    #[serde(skip_serializing_if = "is_default")]
    pub phase: Phase,
    /// Some attempt since the last commit may have reached UPS without an answer that reached us. Only a commit, a connect or a
    /// removal ends that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unanswered: Option<Unanswered>,
    /// A refusal may be the echo of a request whose answer was lost, or the sign of another system that uses the same token. The
    /// mark ends with the first clean rotation whose request was sent after this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspect_until: Option<Timestamp>,
    /// How often the authorization was removed. A consent that began before a removal is refused.
    #[serde(skip_serializing_if = "is_default")]
    pub removals: u64,
    /// The consent or the import that the present opt-in came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opt_in: Option<ConsentId>,
    /// The attempt that brought the present pair; `None`: the opt-in itself did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotated_by: Option<AttemptId>,
    /// The latest time at which UPS issued a first pair that was stored here since the last removal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issued_at: Option<Timestamp>,
    /// The client that UPS issued the tokens to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Who opted in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<ActorId>,
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authenticated_at: Option<Timestamp>,
    /// When the stored tokens were obtained and when they end; `None`: there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<TokenTimes>,
    /// Failed tries, or unusable pairs, in a row.
    #[serde(skip_serializing_if = "is_default")]
    pub failures: u32,
    /// Before this, nothing is sent for the company.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
    /// When the recorded cause was recorded, and what UPS said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<RecordedRefusal>,
    /// What people were last told of the end of this refresh token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub told: Option<Told>,
    /// Fields of a newer release, which are handed back as they came.
    #[serde(skip)]
    pub unknown: Map<String, Value>,
}

/// Where a company stands. What is *derived on reading* (an expired refresh token, another client id) is not in here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// There is no opt-in: none yet, or it was removed.
    #[default]
    Unauthenticated,
    /// There is an opt-in, and nothing speaks against it.
    Authenticated,
    /// UPS ended the opt-in; only the administrator can repair that.
    ReauthRequired(RecordedCause),
}

/// Why an opt-in ended, as far as it is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordedCause {
    /// UPS refused a refresh token that was certainly ours and unused: the UPS.com password was changed, or access was
    /// withdrawn.
    OptInInvalidated,
    /// An attempt stayed unanswered and its token is now refused: the new pair was lost on the way, or the password was
    /// changed at that very time.
    RotationLost,
}

/// When UPS refused a refresh token, and in which words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedRefusal {
    /// When it was recorded.
    pub at: Timestamp,
    /// What UPS said.
    pub evidence: Evidence,
}

/// How far the present rotation is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// No attempt is under way.
    #[default]
    Idle,
    /// An attempt holds the lease: its request may be on its way. It has not said yet how it ended.
    Claimed {
        /// Which attempt.
        attempt: AttemptId,
        /// When it claimed. Its request was sent within a few seconds of this.
        at: Timestamp,
        /// Until when nobody else may claim.
        lease_until: Timestamp,
    },
    /// The attempt ended unanswered; its request may still be in transit until the lease ends.
    InDoubt {
        /// Until when nobody may send the same token again.
        lease_until: Timestamp,
    },
}

/// A request with the present refresh token whose answer is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Unanswered {
    /// The one attempt that is in doubt; `None`: there may be several.
    pub attempt: Option<AttemptId>,
    /// Until when a late copy of such a request can reach UPS.
    pub echo_until: Timestamp,
}

/// What people were told of a refresh token's end. It is dropped when that no longer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The end of the refresh token that they were told of.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub refresh_end: Option<Timestamp>,
    /// What they were told.
    pub notice: Notice,
}

/// What a pair says of its times, counted from when its request was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PairTimes {
    /// When its request was sent, by the store's clock: UPS may have issued it then, however late the answer arrived.
    pub sent_at: Timestamp,
    /// How long the access token lives; `None`: there is none that can be used.
    pub access_lifetime: Option<Duration>,
    /// When to refresh it: the beginning of the early window.
    pub refresh_after: Duration,
    /// What it brings of a refresh token.
    pub refresh: PairRefresh,
}

/// What a pair brings of a refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PairRefresh {
    /// A new one. How long it lives; `None`: unknown.
    New(Option<Duration>),
    /// None, so the one that was just used stays.
    Kept,
    /// One that cannot be sent back; the one before is spent.
    Lost,
}

/// An attempt, as it was claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The opt-in.
    pub opt_in: Option<ConsentId>,
    /// The rotation that the attempt replaces.
    pub revision: Revision,
    /// The attempt.
    pub attempt: AttemptId,
}

/// What happens to a grant.
#[derive(Clone, Debug, PartialEq)]
pub enum GrantEvent {
    /// A consent completed: UPS issued a first pair.
    Connect(Box<Connect>),
    /// Tokens come from another system that kept them.
    Import(Box<Import>),
    /// Somebody is about to send the refresh token: the write-ahead intent.
    Claim {
        /// The new attempt.
        attempt: AttemptId,
        /// How long nobody else may send.
        lease: Duration,
    },
    /// The attempt sent nothing that UPS acted on: the same token can be used again.
    Release {
        /// The attempt.
        claim: Claim,
        /// Why.
        reason: Release,
        /// 0 to 1, for the pause.
        jitter: f64,
    },
    /// UPS answered with a new pair.
    Commit {
        /// The attempt that brought it.
        claim: Claim,
        /// Its times.
        pair: PairTimes,
        /// 0 to 1, for the pause after a pair that cannot be used.
        jitter: f64,
    },
    /// Whether the request arrived is unknown.
    Unanswered {
        /// The attempt.
        claim: Claim,
        /// What was seen.
        evidence: Evidence,
        /// 0 to 1, for the pause.
        jitter: f64,
    },
    /// UPS refused the refresh token.
    Refused {
        /// The attempt.
        claim: Claim,
        /// What UPS said.
        evidence: Evidence,
    },
    /// The host removes the authorization.
    Remove {
        /// Who does it.
        actor: ActorId,
    },
    /// The store was restored from a backup, or lost commits, at this time: any older refresh token in it may be spent.
    Restore {
        /// When.
        at: Timestamp,
    },
    /// People are told of the end of the refresh token.
    Tell(Notice),
    /// The keeper looked at the grant and found nothing to do.
    Look,
    /// It is unknown whether a claim of this grant was saved, and it is not in the row that was read. To save the row unchanged makes
    /// sure that it never will be.
    Fence,
}

/// A first pair.
#[derive(Clone, Debug, PartialEq)]
pub struct Connect {
    /// The consent that brought it.
    pub consent: ConsentId,
    /// [`Grant::removals`] when the consent began.
    pub removals: u64,
    /// When the consent was used.
    pub used_at: Timestamp,
    /// When UPS issued the pair.
    pub issued_at: Timestamp,
    /// Whether an earlier try may have stored it.
    pub is_retry: bool,
    /// Who opted in.
    pub actor: ActorId,
    /// The client that UPS issued it to.
    pub client_id: String,
    /// Its times.
    pub pair: PairTimes,
}

/// A pair that another system kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Import {
    /// The import's own id, which stands for its opt-in.
    pub id: ConsentId,
    /// The epoch that was read when the import began.
    pub epoch: u64,
    /// Who imports.
    pub actor: ActorId,
    /// The client that UPS issued the pair to.
    pub client_id: String,
    /// When UPS issued the pair; `None`: unknown.
    pub issued_at: Option<Timestamp>,
    /// Its times.
    pub pair: PairTimes,
}

/// Why an attempt sent nothing that UPS acted on.
#[derive(Clone, Debug, PartialEq)]
pub enum Release {
    /// Nothing failed: too much time had passed to send it, or the claim was in doubt. The next try is due after this.
    Unsent(Duration),
    /// The request was not sent.
    NotSent(Evidence),
    /// UPS asks for a pause.
    RateLimited(Duration),
    /// UPS refuses the client's configuration, or blocks the client.
    Misconfigured(Evidence),
    /// A refusal that nobody has described.
    Unknown(Evidence),
}

/// What an allowed event does.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The name of the step.
    pub name: &'static str,
    /// The grant afterwards.
    pub grant: Grant,
    /// What becomes of the stored tokens.
    pub tokens: TokensEffect,
    /// What to write down.
    pub events: Vec<EventContent>,
    /// Whether caches must hear of it.
    pub announce: bool,
    /// Whether it was right only at the time of the decision.
    pub depends_on_time: bool,
    /// Whether the grant wakes when it did before.
    pub keeps_wake: bool,
}

/// What becomes of the stored tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokensEffect {
    /// They stay.
    Keep,
    /// The pair that came with the event replaces them.
    Replace,
    /// They are erased.
    Erase,
}

/// Why an event changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepRefusal {
    /// The row moved on: another opt-in or a later rotation is stored.
    Stale,
    /// Another attempt holds the row, or none does.
    NotHolder,
    /// A lease is running.
    Leased,
    /// A pause is running.
    Paused,
    /// There is nothing to do it with: the company is not authenticated.
    NotAuthenticated,
    /// The authorization was removed after the consent had begun.
    RemovedSince,
    /// It is stored already.
    AlreadyStored,
    /// UPS issued the stored grant later than this one.
    Superseded,
    /// It would change nothing.
    Unchanged,
}

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
    /// What `event` does at `now`, the store's own time.
    ///
    /// # Errors
    /// [`StepRefusal`]: the event is not allowed; nothing changes.
    pub fn on(&self, event: &GrantEvent, pauses: &Pauses, now: Timestamp) -> Result<Step, StepRefusal> {
        match event {
            GrantEvent::Connect(connect) => self.connect(connect, now),
            GrantEvent::Import(import) => self.import(import, now),
            GrantEvent::Claim { attempt, lease } => self.claim(*attempt, *lease, now),
            GrantEvent::Release { claim, reason, jitter } => self.release(claim, reason, pauses, *jitter, now),
            GrantEvent::Commit { claim, pair, jitter } => self.commit(claim, pair, pauses, *jitter, now),
            GrantEvent::Unanswered { claim, evidence, jitter } => {
                self.unanswered(claim, evidence, pauses, *jitter, now)
            }
            GrantEvent::Refused { claim, evidence } => self.refused(claim, evidence, now),
            GrantEvent::Remove { actor } => Ok(self.remove(actor)),
            GrantEvent::Restore { at } => self.restore(*at, now),
            GrantEvent::Tell(notice) => self.tell(*notice),
            GrantEvent::Look => Ok(Step::new("look", self.clone()).timed()),
            GrantEvent::Fence => Ok(Step::new("fence", self.clone()).keeping_wake()),
        }
    }

    fn connect(&self, connect: &Connect, now: Timestamp) -> Result<Step, StepRefusal> {
        let Connect { consent, removals, used_at, issued_at, is_retry, .. } = connect;
        if *removals != self.removals {
            return Err(StepRefusal::RemovedSince);
        }
        if self.opt_in == Some(*consent) {
            return Err(StepRefusal::AlreadyStored);
        }
        let stored = self.plausible_issue(now);
        let is_rival = |stored: Timestamp| match self.authenticated_at {
            // It is no later than something that was stored: either its own, or it has lost. Its refresh token may be spent.
            _ if *is_retry => stored >= *issued_at,
            // The two were under way together.
            Some(stored_at) if *used_at <= stored_at => stored > *issued_at,
            // The person has just consented.
            _ => false,
        };
        // An opt-in that has ended is no rival, whenever it was issued.
        if self.standing == Standing::Authenticated && stored.is_some_and(is_rival) {
            return Err(StepRefusal::Superseded);
        }
        let grant = Self {
            issued_at: stored.max(Some(*issued_at)),
            ..self.opted_in(*consent, &connect.actor, &connect.client_id, &connect.pair, now)
        };
        Ok(Step::authenticated("connect", grant, &connect.actor))
    }

    fn import(&self, import: &Import, now: Timestamp) -> Result<Step, StepRefusal> {
        if self.opt_in == Some(import.id) {
            return Err(StepRefusal::AlreadyStored);
        }
        if self.revision.epoch != import.epoch {
            return Err(StepRefusal::Stale);
        }
        let stored = self.plausible_issue(now);
        if self.standing == Standing::Authenticated && stored >= import.issued_at {
            return Err(StepRefusal::Superseded);
        }
        let grant = Self {
            issued_at: stored.max(import.issued_at),
            // The other system may have spent the token.
            suspect_until: Some(now),
            ..self.opted_in(import.id, &import.actor, &import.client_id, &import.pair, now)
        };
        Ok(Step::authenticated("import", grant, &import.actor))
    }

    /// A time of issue from the future is wrong, and must not shut out every consent to come.
    fn plausible_issue(&self, now: Timestamp) -> Option<Timestamp> {
        self.issued_at.filter(|stored| *stored <= later(now, CLOCK_DISAGREEMENT))
    }

    fn opted_in(&self, id: ConsentId, actor: &ActorId, client_id: &str, pair: &PairTimes, now: Timestamp) -> Self {
        Self {
            revision: Revision { epoch: self.revision.epoch + 1, version: 1 },
            standing: Standing::Authenticated,
            removals: self.removals,
            opt_in: Some(id),
            client_id: Some(client_id.to_owned()),
            actor: Some(actor.clone()),
            authenticated_at: Some(now),
            tokens: Some(pair.token_times(RefreshTokenEnd::Absent)),
            failures: u32::from(pair.access_lifetime.is_none()),
            unknown: self.unknown.clone(),
            ..Self::default()
        }
    }

    fn claim(&self, attempt: AttemptId, lease: Duration, now: Timestamp) -> Result<Step, StepRefusal> {
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

    /// Until when nobody may claim, if a lease is running.
    pub fn leased_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.phase.lease_until().filter(|until| within(*until, now, LONGEST_LEASE))
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

    fn release(
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

    fn commit(
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

    fn unanswered(
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

    fn refused(&self, claim: &Claim, evidence: &Evidence, now: Timestamp) -> Result<Step, StepRefusal> {
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

    /// Whether a refusal of its refresh token may come from a lost answer, or from another system that uses the same token, so that
    /// it says nothing about the opt-in.
    pub fn explains_refusal(&self) -> bool {
        self.unanswered.is_some() || self.suspect_until.is_some()
    }

    fn remove(&self, actor: &ActorId) -> Step {
        // The epoch goes up even where nothing is stored: it ends flights, and the count ends consents under way.
        let grant = Self {
            revision: Revision { epoch: self.revision.epoch + 1, version: 0 },
            removals: self.removals + 1,
            unknown: self.unknown.clone(),
            ..Self::default()
        };
        let event = EventContent::new(EventKind::Removed).with_actor(actor.clone());
        Step::new("remove", grant).erasing_tokens().writing(vec![event]).announced()
    }

    fn restore(&self, at: Timestamp, now: Timestamp) -> Result<Step, StepRefusal> {
        let Some(tokens) = &self.tokens else { return Err(StepRefusal::NotAuthenticated) };
        let echo_until = later(at, ECHO);
        let is_marked = self
            .unanswered
            .is_some_and(|unanswered| unanswered.attempt.is_none() && unanswered.echo_until >= echo_until);
        // What was obtained later than now was dated by a wrong clock, and may be older.
        let is_newer = at < tokens.obtained_at && tokens.obtained_at <= later(now, CLOCK_TOLERANCE);
        if is_newer || is_marked {
            return Err(StepRefusal::Unchanged);
        }
        let echo_until = self.unanswered.map_or(echo_until, |known| known.echo_until.max(echo_until));
        let unanswered = Some(Unanswered { attempt: None, echo_until });
        Ok(Step::new("restore", Self { unanswered, ..self.clone() }).keeping_wake())
    }

    fn tell(&self, notice: Notice) -> Result<Step, StepRefusal> {
        let Some(tokens) = self.tokens.filter(|_| self.standing == Standing::Authenticated) else {
            return Err(StepRefusal::NotAuthenticated);
        };
        let told = Told { refresh_end: tokens.refresh_end(), notice };
        if self.told == Some(told) {
            return Err(StepRefusal::Unchanged);
        }
        let event = match notice {
            Notice::ExpiringSoon { .. } => EventContent::new(EventKind::ExpiringSoon),
            Notice::Ended(cause) => EventContent::new(EventKind::Expired).with_cause(cause),
        };
        Ok(Step::new("tell", Self { told: Some(told), ..self.clone() }).timed().writing(vec![event]))
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

    /// The claim that `attempt` makes of it.
    pub fn claim_of(&self, attempt: AttemptId) -> Claim {
        Claim { opt_in: self.opt_in, revision: self.revision, attempt }
    }

    /// The latest time at which it was written, as far as it shows.
    pub(crate) fn latest_time(&self) -> Option<Timestamp> {
        self.authenticated_at.max(self.tokens.map(|tokens| tokens.obtained_at))
    }
}

impl Phase {
    /// The attempt that has not said yet how it ended.
    pub fn claimed_by(self) -> Option<AttemptId> {
        match self {
            Self::Claimed { attempt, .. } => Some(attempt),
            Self::Idle | Self::InDoubt { .. } => None,
        }
    }

    /// Until when nobody else may claim.
    pub fn lease_until(self) -> Option<Timestamp> {
        match self {
            Self::Idle => None,
            Self::Claimed { lease_until, .. } | Self::InDoubt { lease_until } => Some(lease_until),
        }
    }
}

impl PairTimes {
    /// The times of its tokens. The refresh token that a pair keeps ends when `kept` says.
    fn token_times(&self, kept: RefreshTokenEnd) -> TokenTimes {
        let end = |lifetime| later(self.sent_at, lifetime);
        TokenTimes {
            obtained_at: self.sent_at,
            refresh_at: end(self.refresh_after),
            access_token_end: self.access_lifetime.map(end),
            refresh_token_end: match self.refresh {
                PairRefresh::New(lifetime) => {
                    lifetime.map_or(RefreshTokenEnd::Unknown, |lifetime| RefreshTokenEnd::At(end(lifetime)))
                }
                PairRefresh::Kept => kept,
                PairRefresh::Lost => RefreshTokenEnd::Absent,
            },
        }
    }
}

impl Step {
    fn new(name: &'static str, grant: Grant) -> Self {
        Self {
            name,
            grant,
            tokens: TokensEffect::Keep,
            events: Vec::new(),
            announce: false,
            depends_on_time: false,
            keeps_wake: false,
        }
    }

    fn authenticated(name: &'static str, grant: Grant, actor: &ActorId) -> Self {
        let event = EventContent::new(EventKind::Authenticated).with_actor(actor.clone());
        Self::new(name, grant).replacing_tokens().writing(vec![event]).announced()
    }

    fn timed(self) -> Self {
        Self { depends_on_time: true, ..self }
    }

    fn keeping_wake(self) -> Self {
        Self { keeps_wake: true, ..self }
    }

    fn writing(self, events: Vec<EventContent>) -> Self {
        Self { events, ..self }
    }

    fn announced(self) -> Self {
        Self { announce: true, ..self }
    }

    fn replacing_tokens(self) -> Self {
        Self { tokens: TokensEffect::Replace, ..self }
    }

    fn erasing_tokens(self) -> Self {
        Self { tokens: TokensEffect::Erase, ..self }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
