//! One company's opt-in: its states, the events that change it, and what each event does.

use std::time::Duration;

use crate::{
    clock::{Timestamp, later, within},
    ids::{AttemptId, ConsentId, Revision},
};

/// No policy allows a longer lease, so one that ends later was set by a wrong clock.
const LONGEST_LEASE: Duration = Duration::from_secs(3600);

/// Where a company stands. What is *derived on reading* (an expired refresh token, another client id) is not in here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecordedCause {
    /// UPS refused a refresh token that was certainly ours and unused: the UPS.com password was changed, or access was
    /// withdrawn.
    OptInInvalidated,
    /// An attempt stayed unanswered and its token is now refused: the new pair was lost on the way, or the password was
    /// changed at that very time.
    RotationLost,
}

/// How far the present rotation is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Phase {
    /// No attempt is under way.
    #[default]
    Idle,
    /// An attempt holds the lease: its request may be on its way. It has not said yet how it ended.
    Sent {
        /// Which attempt.
        attempt: AttemptId,
        /// Until when nobody else may claim.
        lease_until: Timestamp,
    },
    /// The attempt ended unanswered; its request may still be travelling until the lease ends.
    Travelling {
        /// Until when nobody may send the same token again.
        lease_until: Timestamp,
    },
}

impl Phase {
    /// Until when nobody else may claim.
    pub fn lease_until(self) -> Option<Timestamp> {
        match self {
            Self::Idle => None,
            Self::Sent { lease_until, .. } | Self::Travelling { lease_until } => Some(lease_until),
        }
    }

    fn is_of(self, attempt: AttemptId) -> bool {
        matches!(self, Self::Sent { attempt: holder, .. } if holder == attempt)
    }
}

/// The state of one company's opt-in: everything that decides which event is allowed and what it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct OptIn {
    /// Which opt-in, and which rotation of it.
    pub revision: Revision,
    /// Where the company stands.
    pub standing: Standing,
    /// How far the present rotation is.
    pub phase: Phase,
    /// Some attempt since the last commit may have reached UPS without an answer that reached us. Only a commit, a
    /// connect or a removal clears it.
    pub unanswered: bool,
    /// A pair of this epoch was committed over an unanswered or given-up row: a later refusal may be the echo of that
    /// race. Lasts for the rest of the epoch.
    pub suspect: bool,
    /// How often the authorization was removed. A consent that began before a removal is refused.
    pub removals: u64,
    /// The consent that the present opt-in came from.
    pub consent: Option<ConsentId>,
    /// The latest time at which UPS issued a first pair that was stored here since the last removal.
    pub issued_at: Option<Timestamp>,
}

/// What happens to an opt-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A consent completed: UPS issued a first pair.
    Connect {
        /// Which consent.
        consent: ConsentId,
        /// [`OptIn::removals`] when the consent began.
        removals: u64,
        /// When UPS issued the pair.
        issued_at: Timestamp,
        /// How it stands to what is stored already.
        turn: Turn,
    },
    /// Somebody is about to send the refresh token: the write-ahead intent.
    Claim {
        /// The rotation that was read.
        revision: Revision,
        /// The new attempt.
        attempt: AttemptId,
        /// How long nobody else may send.
        lease: Duration,
    },
    /// The attempt sent nothing that UPS acted on: the same token can be used again.
    GiveBack {
        /// The rotation that was claimed.
        revision: Revision,
        /// The attempt that claimed it.
        attempt: AttemptId,
    },
    /// UPS answered with a new pair.
    Commit {
        /// The rotation that the pair replaces.
        revision: Revision,
        /// The pair has no refresh token of its own, so the one that was just used stays.
        keeps_refresh_token: bool,
    },
    /// The attempt ended without a pair.
    Settle {
        /// The rotation that was claimed.
        revision: Revision,
        /// The attempt that claimed it.
        attempt: AttemptId,
        /// How it ended.
        verdict: Verdict,
    },
    /// The host removes the authorization.
    Remove,
    /// The store was restored from a backup, or lost commits: any refresh token in it may be spent.
    Restore,
}

/// How a first pair stands to one that is stored already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The first try to store it, and its consent was used after the stored pair had arrived: the person has just consented.
    Newer,
    /// The first try to store it, while the stored pair was under way as well.
    Alongside,
    /// An earlier try may have stored it.
    Retry,
}

/// How an attempt ended that brought no pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// UPS refused the refresh token.
    Refused,
    /// Whether the request arrived is unknown.
    Unanswered,
}

/// What an allowed event does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The state afterwards.
    pub to: OptIn,
    /// What becomes of the stored tokens.
    pub tokens: TokensEffect,
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
pub enum Refusal {
    /// The row moved on: another epoch or version is stored.
    Stale,
    /// Another attempt holds the row, or none does.
    NotHolder,
    /// A lease is running.
    Leased,
    /// There is nothing to refresh: the company is not authenticated.
    NotAuthenticated,
    /// The authorization was removed after the consent had begun.
    RemovedSince,
    /// The consent is the one that the present opt-in came from.
    AlreadyConnected,
    /// UPS issued the stored grant later than this one.
    Superseded,
}

/// UPS's clock and ours agree better than this; where they do not, one of them is wrong.
pub(crate) const CLOCK_DISAGREEMENT: Duration = Duration::from_secs(86_400);

impl OptIn {
    /// What `event` does at `now`, the store's own time.
    ///
    /// # Errors
    /// [`Refusal`]: the event is not allowed; nothing changes.
    pub fn on(&self, event: &Event, now: Timestamp) -> Result<Transition, Refusal> {
        match *event {
            Event::Connect { consent, removals, issued_at, turn } => {
                self.connect(consent, removals, issued_at, turn, now)
            }
            Event::Claim { revision, attempt, lease } => self.claim(revision, attempt, lease, now),
            Event::GiveBack { revision, attempt } => self.give_back(revision, attempt),
            Event::Commit { revision, keeps_refresh_token } => self.commit(revision, keeps_refresh_token),
            Event::Settle { revision, attempt, verdict } => self.settle(revision, attempt, verdict, now),
            Event::Remove => Ok(self.remove()),
            Event::Restore => self.restore(),
        }
    }

    fn connect(
        &self,
        consent: ConsentId,
        removals: u64,
        issued_at: Timestamp,
        turn: Turn,
        now: Timestamp,
    ) -> Result<Transition, Refusal> {
        if removals != self.removals {
            return Err(Refusal::RemovedSince);
        }
        if self.consent == Some(consent) {
            return Err(Refusal::AlreadyConnected);
        }
        // An opt-in that has ended is no rival, whenever it was issued; nor is one that would be from the future: its date
        // is wrong, and must not shut out every consent to come.
        let latest = later(now, CLOCK_DISAGREEMENT);
        let stored = self.issued_at.filter(|stored| *stored <= latest);
        let is_rival = |stored: Timestamp| match turn {
            Turn::Newer => false,
            Turn::Alongside => stored > issued_at,
            // It is no later than something that was stored: either its own, or it has lost. Its refresh token may be spent.
            Turn::Retry => stored >= issued_at,
        };
        if self.standing == Standing::Authenticated && stored.is_some_and(is_rival) {
            return Err(Refusal::Superseded);
        }
        let to = Self {
            revision: Revision { epoch: self.revision.epoch + 1, version: 1 },
            standing: Standing::Authenticated,
            removals: self.removals,
            consent: Some(consent),
            issued_at: stored.max(Some(issued_at)),
            ..Self::default()
        };
        Ok(Transition { to, tokens: TokensEffect::Replace })
    }

    fn claim(
        &self,
        revision: Revision,
        attempt: AttemptId,
        lease: Duration,
        now: Timestamp,
    ) -> Result<Transition, Refusal> {
        if self.standing != Standing::Authenticated {
            return Err(Refusal::NotAuthenticated);
        }
        self.same_revision(revision)?;
        // The first request may still be travelling: two at once would make one of them a spent token. (It may have been
        // claimed with another lease than this one, by another release of the service.)
        if self.phase.lease_until().is_some_and(|until| within(until, now, lease.max(LONGEST_LEASE))) {
            return Err(Refusal::Leased);
        }
        // An attempt that never said how it ended may have been answered: its holder may have died with the pair.
        let unanswered = self.unanswered || matches!(self.phase, Phase::Sent { .. });
        let phase = Phase::Sent { attempt, lease_until: later(now, lease) };
        Ok(Transition { to: Self { phase, unanswered, ..*self }, tokens: TokensEffect::Keep })
    }

    fn give_back(&self, revision: Revision, attempt: AttemptId) -> Result<Transition, Refusal> {
        self.held_by(revision, attempt)?;
        // `unanswered` stays: that this attempt was not sent says nothing about an earlier one.
        Ok(Transition { to: Self { phase: Phase::Idle, ..*self }, tokens: TokensEffect::Keep })
    }

    fn commit(&self, revision: Revision, keeps_refresh_token: bool) -> Result<Transition, Refusal> {
        // Neither lease, attempt nor standing is compared: a slow holder with a valid pair must win, even over a row
        // that was meanwhile given up.
        self.same_revision(revision)?;
        if self.standing == Standing::Unauthenticated {
            return Err(Refusal::NotAuthenticated);
        }
        let given_up = matches!(self.standing, Standing::ReauthRequired(_));
        let to = Self {
            revision: Revision { version: revision.version + 1, ..revision },
            standing: Standing::Authenticated,
            phase: Phase::Idle,
            unanswered: false,
            // A refresh token that was sent once and kept is no longer "certainly unused".
            suspect: self.suspect || self.unanswered || given_up || keeps_refresh_token,
            ..*self
        };
        Ok(Transition { to, tokens: TokensEffect::Replace })
    }

    fn settle(
        &self,
        revision: Revision,
        attempt: AttemptId,
        verdict: Verdict,
        now: Timestamp,
    ) -> Result<Transition, Refusal> {
        self.held_by(revision, attempt)?;
        Ok(match verdict {
            Verdict::Unanswered => {
                let lease_until = self.phase.lease_until().unwrap_or(now);
                let to = Self { phase: Phase::Travelling { lease_until }, unanswered: true, ..*self };
                Transition { to, tokens: TokensEffect::Keep }
            }
            Verdict::Refused if self.unanswered || self.suspect => {
                let standing = Standing::ReauthRequired(RecordedCause::RotationLost);
                // The tokens stay: the holder of the lost pair may still come and commit it.
                Transition { to: Self { standing, phase: Phase::Idle, ..*self }, tokens: TokensEffect::Keep }
            }
            Verdict::Refused => {
                let standing = Standing::ReauthRequired(RecordedCause::OptInInvalidated);
                Transition { to: Self { standing, phase: Phase::Idle, ..*self }, tokens: TokensEffect::Erase }
            }
        })
    }

    fn remove(&self) -> Transition {
        // The epoch goes up even where nothing is stored: it ends flights, and the count ends consents under way.
        let to = Self {
            revision: Revision { epoch: self.revision.epoch + 1, version: 0 },
            removals: self.removals + 1,
            ..Self::default()
        };
        Transition { to, tokens: TokensEffect::Erase }
    }

    fn restore(&self) -> Result<Transition, Refusal> {
        if self.standing != Standing::Authenticated {
            return Err(Refusal::NotAuthenticated);
        }
        Ok(Transition { to: Self { unanswered: true, ..*self }, tokens: TokensEffect::Keep })
    }

    fn same_revision(&self, revision: Revision) -> Result<(), Refusal> {
        (self.revision == revision).then_some(()).ok_or(Refusal::Stale)
    }

    fn held_by(&self, revision: Revision, attempt: AttemptId) -> Result<(), Refusal> {
        self.same_revision(revision)?;
        self.phase.is_of(attempt).then_some(()).ok_or(Refusal::NotHolder)
    }
}
