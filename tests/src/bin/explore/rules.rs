//! The search's calls to the machine: the library's own code, applied to packed rows. One rule of the protocol can be
//! left out, to show that the search detects its absence.

use std::time::Duration;

use batchsuite_auth::{
    events::Evidence,
    machine::Backoff,
    test_util::machine::{
        Chore, Claim, Connect, Demand, Flight, FlightEvent, Grant, GrantEvent, Import, Mode, Next, Obstacle, PairFacts,
        PairRefresh, PairTimes, Patience, Pause, Pauses, Read, Release, Settings, Step, StepRefusal, TokensEffect,
    },
};

use crate::{
    omit::Rule,
    row::{
        ACCESS_LIFETIME, CLIENT, LEASE, LONG_AGO, Phase, REFRESH_AFTER, Row, Standing, TICK, Ticks, Times, actor,
        attempt_id, consent_id, steps, time,
    },
    world::{Coming, Failed, Held, Imported, Outcome, Pair, Stop, Swap, Trip},
};

/// The machine, its policy, and the omitted rule.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    settings: Settings,
    patience: Patience,
    pub(crate) breaker_pause: Backoff,
    omitted: Option<Rule>,
}

/// The step to save, or the machine's refusal.
pub(crate) type Decision = Result<Swap, StepRefusal>;

/// An event's data beyond the row.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Intent {
    Claim { attempt: u8 },
    End { held: Held, outcome: Outcome },
    Fence { attempt: u8, number: u8 },
    Connect(Coming),
    Import(Imported),
    Remove,
    Restore,
    Look,
    Erase,
    Resume,
}

impl Rules {
    /// Pauses of one step, and second opinions after these numbers of steps.
    pub(crate) fn new(second_opinions: &[Ticks], omitted: Option<Rule>) -> Self {
        let pause = Backoff { first: TICK, most: TICK };
        let pauses = Pauses {
            refresh: pause,
            probe: pause,
            unusable: pause,
            second_opinions: second_opinions.iter().map(|after| steps(*after)).collect(),
        };
        let settings = Settings {
            client_id: CLIENT.to_owned(),
            fresh_if_used_within: Duration::from_secs(86_400),
            keep_alive_before_end: Duration::ZERO,
            warnings: Vec::new(),
            pauses,
        };
        let patience =
            Patience { lease: steps(LEASE), max_wait: TICK / 30, commit_retry: TICK / 2, refresh_pause: pause };
        Self { settings, patience, breaker_pause: pause, omitted }
    }

    pub(crate) fn is_without(&self, rule: Rule) -> bool {
        self.omitted == Some(rule)
    }

    pub(crate) fn second_opinions(&self) -> usize {
        self.settings.pauses.second_opinions.len()
    }

    /// Asks the machine for a step: `(grant, event, now) → step`.
    pub(crate) fn decide(&self, read: &Row, intent: &Intent) -> Decision {
        let mut row = *read;
        self.omit_before(&mut row, intent)?;
        let grant = row.grant();
        let event = self.event(&row, intent).ok_or(StepRefusal::Unchanged)?;
        let step = grant.on(&event, &self.settings.pauses, time(0))?;
        let step = step.with_notice_that_holds(&self.settings, time(0));
        Ok(self.swap(read, &step, intent))
    }

    fn swap(&self, read: &Row, step: &Step, intent: &Intent) -> Swap {
        let wake = step.wake(read.wake_at.map(time), Some(time(0)), &self.settings, time(0));
        let (brought, sent_at) = match intent {
            Intent::End { outcome: Outcome::Pair { token, sent_at, .. }, .. } => (*token, *sent_at),
            Intent::Import(coming) => (coming.token, 0),
            Intent::Connect(coming) => (coming.token, coming.used_at),
            _ => (0, 0),
        };
        let mut row = Row {
            number: read.number,
            token: match step.tokens {
                TokensEffect::Keep | TokensEffect::KeepRefresh => read.token,
                TokensEffect::Replace => brought,
                TokensEffect::KeepAccess | TokensEffect::Erase => 0,
            },
            wake_at: wake.map_or(read.wake_at, |wake| wake.at.map(crate::row::ticks)),
            ..Row::of(&step.grant)
        };
        self.omit_after(read, &mut row, intent);
        let refused = match intent {
            Intent::End { outcome: Outcome::Refused(why), .. } => Some(*why),
            _ => None,
        };
        Swap {
            row,
            expected: read.number,
            decided_at: 0,
            is_timed: step.depends_on_time,
            wakes: wake.is_some(),
            brought: (step.tokens == TokensEffect::Replace).then_some(sent_at),
            is_kept: matches!(intent, Intent::End { outcome: Outcome::Pair { kind: Pair::NoRefresh, .. }, .. }),
            refused,
        }
    }

    /// `None`: there is nothing to do.
    fn event(&self, row: &Row, intent: &Intent) -> Option<GrantEvent> {
        Some(match intent {
            Intent::Fence { attempt, number } => {
                let grant = row.grant();
                let is_as_claimed = row.number == *number && !self.is_without(Rule::FenceSaves);
                return grant.fence_of(&grant.claim_of(attempt_id(*attempt)), is_as_claimed);
            }
            Intent::Claim { attempt } => {
                let lease = if self.is_without(Rule::Lease) { Duration::ZERO } else { self.patience.lease };
                GrantEvent::Claim { attempt: attempt_id(*attempt), lease }
            }
            Intent::End { held, outcome } => self.end(row, held, outcome),
            Intent::Connect(coming) => GrantEvent::Connect(Box::new(self.connect(row, coming))),
            Intent::Import(Imported { opt_in, epoch, issued_at, .. }) => GrantEvent::Import(Box::new(Import {
                id: consent_id(*opt_in),
                epoch: (*epoch).into(),
                actor: actor(),
                client_id: CLIENT.to_owned(),
                issued_at: issued_at.map(time),
                pair: pair_times(0, Pair::Whole),
            })),
            Intent::Remove => GrantEvent::Remove { actor: actor() },
            Intent::Restore => GrantEvent::Restore { at: time(0) },
            Intent::Look => GrantEvent::Look,
            Intent::Erase => GrantEvent::Erase,
            Intent::Resume => GrantEvent::Resume,
        })
    }

    fn end(&self, row: &Row, held: &Held, outcome: &Outcome) -> GrantEvent {
        let mut claim = Claim {
            opt_in: (held.opt_in != 0).then(|| consent_id(held.opt_in)),
            revision: Row { epoch: held.epoch, version: held.version, ..Row::default() }.revision(),
            attempt: attempt_id(held.attempt),
        };
        let is_pair = matches!(outcome, Outcome::Pair { .. });
        let is_verdict = matches!(outcome, Outcome::Refused(_) | Outcome::Unanswered);
        if self.is_without(if is_verdict { Rule::VerdictCompare } else { Rule::ReleaseCompare }) && !is_pair {
            claim = row.grant().claim_of(attempt_id(row.phase.claimed_by()));
        }
        let (evidence, jitter) = (Evidence::default(), 1.0);
        let release = |reason| GrantEvent::Release { claim, reason, jitter };
        match outcome {
            Outcome::Pair { sent_at, kind, .. } => {
                GrantEvent::Commit { claim, pair: pair_times(*sent_at, *kind), jitter }
            }
            Outcome::Refused(_) => GrantEvent::Refused { claim, evidence },
            Outcome::Unanswered => GrantEvent::Unanswered { claim, evidence, is_outage: false, jitter },
            Outcome::NotSent => release(Release::NotSent(evidence)),
            Outcome::OutOfReach => release(Release::OutOfReach),
            Outcome::Late => release(Release::Unsent(Duration::ZERO)),
            Outcome::Misconfigured => release(Release::Misconfigured(evidence)),
        }
    }

    fn connect(&self, row: &Row, coming: &Coming) -> Connect {
        let removals = if self.is_without(Rule::RemovalsCompare) { row.removals } else { coming.consent.removals };
        Connect {
            consent: consent_id(coming.consent.id),
            removals: removals.into(),
            used_at: time(coming.used_at),
            issued_at: Connect::issue_time(None, time(coming.used_at), time(coming.used_at)),
            is_retry: coming.is_retry && !self.is_without(Rule::RetryOfConnect),
            actor: actor(),
            client_id: CLIENT.to_owned(),
            pair: pair_times(coming.used_at, Pair::Whole),
        }
    }

    /// Omits a rule that decides on the row before the step.
    fn omit_before(&self, row: &mut Row, intent: &Intent) -> Result<(), StepRefusal> {
        match (self.omitted, intent) {
            (Some(Rule::CommitIgnoresLease), Intent::End { held, outcome: Outcome::Pair { .. } }) => {
                let is_own = matches!(row.phase, Phase::Claimed { attempt, lease_until, .. } if attempt == held.attempt && lease_until > 0);
                if !is_own {
                    return Err(StepRefusal::NotHolder);
                }
            }
            (Some(Rule::CommitIgnoresStanding), Intent::End { outcome: Outcome::Pair { .. }, .. })
                if row.standing != Standing::Authenticated =>
            {
                return Err(StepRefusal::Stale);
            }
            (Some(Rule::CommitComparesVersion), Intent::End { held, outcome: Outcome::Pair { .. } })
                if row.opt_in == held.opt_in =>
            {
                row.version = row.version.min(held.version);
            }
            (Some(Rule::CommitComparesOptIn), Intent::End { held, outcome: Outcome::Pair { .. } })
                if row.opt_in != held.opt_in =>
            {
                row.opt_in = held.opt_in;
                if row.standing == Standing::Unauthenticated {
                    row.standing = Standing::Authenticated;
                }
            }
            (Some(Rule::ImportAsksQuarantine), Intent::Import(_)) => row.quarantine = None,
            (Some(Rule::ImportAsksRotations), Intent::Import(_)) => row.rotated_by = 0,
            _ => {}
        }
        Ok(())
    }

    /// Omits a rule that decides on the row after the step.
    fn omit_after(&self, read: &Row, row: &mut Row, intent: &Intent) {
        let is_pair = matches!(intent, Intent::End { outcome: Outcome::Pair { .. }, .. });
        match (self.omitted, intent) {
            (Some(Rule::UnansweredInherited), Intent::Claim { .. }) => row.unanswered = read.unanswered,
            (
                Some(Rule::UnansweredKept),
                Intent::End { outcome: Outcome::NotSent | Outcome::OutOfReach | Outcome::Late, .. },
            ) => {
                row.unanswered = None;
            }
            (Some(Rule::DoubtWakes), Intent::End { outcome: Outcome::Unanswered, .. }) => row.wake_at = None,
            (Some(Rule::Suspect), _) if is_pair => row.suspect_until = None,
            (Some(Rule::SuspectWindow), _) if is_pair && row.suspect_until.is_some() => {
                let is_new = read.unanswered.is_some() || row.suspect_until != read.suspect_until;
                row.suspect_until = is_new.then_some(LONG_AGO);
            }
            (Some(Rule::SuspectEnds), _) if is_pair => row.suspect_until = row.suspect_until.or(read.suspect_until),
            (Some(Rule::SuspectKept), Intent::End { outcome: Outcome::Pair { kind: Pair::NoRefresh, .. }, .. }) => {
                row.suspect_until = None;
            }
            (Some(Rule::SetBackCommitMark), Intent::End { held, .. }) if is_pair && read.version < held.version => {
                row.suspect_until = read.suspect_until;
            }
            (Some(Rule::RemovalRaisesEpoch), Intent::Remove) => row.epoch = read.epoch,
            (Some(Rule::ImportSuspect), Intent::Import(_)) => row.suspect_until = None,
            (Some(Rule::RestoreMark), Intent::Restore) => row.unanswered = read.unanswered,
            (Some(Rule::SecondOpinion), Intent::End { outcome: Outcome::Refused(_), .. }) => {
                (row.quarantine, row.token) = (None, 0);
                row.times = None;
            }
            (Some(Rule::ResumeKeepsDoubt), Intent::Resume) => {
                (row.phase, row.unanswered) = (Phase::Idle, None);
            }
            (Some(Rule::ConnectResets), Intent::Connect(_)) => {
                (row.phase, row.unanswered) = (read.phase, read.unanswered);
                (row.suspect_until, row.retry_at) = (read.suspect_until, read.retry_at);
            }
            _ => {}
        }
    }

    /// The keeper's next action on a row.
    pub(crate) fn chore(&self, row: &Row, told: &crate::breaker::Breaker) -> Chore {
        let obstacle = self.client_fault(told).map(|_| Obstacle::Blocked);
        row.grant().chore(Some(time(0)), obstacle, &self.settings, true, time(0))
    }

    /// A flight's next action. The flight is rebuilt from its history.
    pub(crate) fn next(&self, trip: &Trip, event: FlightEvent<'_>) -> (Next, Trip) {
        let demand = trip.renews.map_or(Demand::Token, |(epoch, version)| {
            let revision = Row { epoch, version, ..Row::default() }.revision();
            if trip.is_background { Demand::Renew(revision) } else { Demand::Rejected(revision) }
        });
        let mode = if trip.is_background { Mode::Background } else { Mode::Foreground };
        let mut flight = Flight::new(demand, mode, self.patience);
        if trip.given_time != 0 {
            let times = Some(Times { obtained_at: LONG_AGO, has_access_token: true });
            let phase = Phase::Claimed { attempt: trip.given_time, at: LONG_AGO, lease_until: LONG_AGO };
            let silent =
                Row { standing: Standing::Authenticated, opt_in: 1, version: 1, times, phase, ..Row::default() };
            flight.next(FlightEvent::Read(self.read(&silent.grant(), trip, false, ((0, 0), Stop::No), None)), time(0));
        }
        if let Some(pause) = pause_of(trip.failed) {
            flight.next(FlightEvent::Failed(pause), time(0));
        }
        let mut after = *trip;
        if let FlightEvent::Failed(pause) = &event {
            after.failed = failed_of(pause);
        }
        let over = match &event {
            FlightEvent::Read(read) => Row::of(read.grant).phase.claimed_by(),
            _ => 0,
        };
        let next = flight.next(event, time(0));
        if matches!(next, Next::Wait(batchsuite_auth::test_util::machine::Wait::Whole(_))) && over != 0 {
            after.given_time = over;
        }
        (next, after)
    }

    /// A read row as the machine sees it.
    pub(crate) fn read<'a>(
        &'a self,
        grant: &'a Grant,
        trip: &Trip,
        is_reserved: bool,
        (seen, stopping): ((u8, u8), Stop),
        client_fault: Option<&'a Pause>,
    ) -> Read<'a> {
        let (epoch, version) = if self.is_without(Rule::SetBackMark) { (0, 0) } else { seen };
        Read {
            grant,
            client_id: &self.settings.client_id,
            seen: Row { epoch, version, ..Row::default() }.revision(),
            is_readable: true,
            is_reserved,
            flown: steps(trip.began_at),
            stopping: stopping.of_machine(),
            client_fault,
        }
    }

    /// Whether the elapsed time allows a request whose row was read at `asked_at`.
    pub(crate) fn may_be_sent(&self, asked_at: Ticks) -> bool {
        asked_at >= 0 || self.is_without(Rule::ElapsedCheck)
    }
}

pub(crate) fn pause_of(failed: Failed) -> Option<Pause> {
    let retry_after = TICK;
    match failed {
        Failed::No => None,
        Failed::Store => Some(Pause::Store),
        Failed::Unavailable => {
            let reason = batchsuite_auth::machine::Unavailable::Unanswered;
            Some(Pause::Unavailable { reason, retry_after })
        }
        Failed::Misconfigured => Some(Pause::Misconfigured { evidence: Box::default(), retry_after }),
    }
}

fn failed_of(pause: &Pause) -> Failed {
    match pause {
        Pause::Store | Pause::ShutDown => Failed::Store,
        Pause::Unavailable { .. } => Failed::Unavailable,
        Pause::Misconfigured { .. } => Failed::Misconfigured,
    }
}

fn pair_times(sent_at: Ticks, kind: Pair) -> PairTimes {
    let facts = PairFacts {
        issued_at: None,
        access_lifetime: steps(ACCESS_LIFETIME),
        has_access_token: kind != Pair::NoAccess,
        refresh: if kind == Pair::NoRefresh { PairRefresh::Kept } else { PairRefresh::New(None) },
    };
    // The early window begins at a whole step.
    PairTimes { refresh_after: steps(REFRESH_AFTER), ..PairTimes::of(&facts, time(sent_at), None, TICK, 0.0, time(0)) }
}
