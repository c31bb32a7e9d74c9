//! Every reachable state, and the invariants that hold in all of them.
//!
//! Beside the grant, the search records what really happened: which attempts are still out, and which sends of a
//! refresh token were never answered. The tests compare the grant's record with it.

use std::{
    collections::{BTreeSet, HashSet, VecDeque},
    sync::LazyLock,
};

use super::{super::*, *};

/// The times of a history. A lease that begins at one of them still runs at the next and is over at the one after. At
/// the last time no echo of a request from the first three can come.
const MOMENTS: [i64; 4] = [0, 1, 3, 14];
const LONG_LEASE: Duration = Duration::from_secs(2 * 60);
/// Two rotations of the first opt-in, so that the second can end a mark left by the first; none of the next opt-in.
const LAST: [Revision; 3] =
    [Revision { epoch: 0, version: 0 }, Revision { epoch: 1, version: 3 }, Revision { epoch: 2, version: 1 }];
/// The most attempts out at once.
const MOST_OUT: usize = 2;

/// A grant, the time, and what really happened.
#[derive(Clone, Debug, Default)]
struct World {
    grant: Grant,
    moment: usize,
    truth: Truth,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Truth {
    /// Tokens are stored.
    tokens: bool,
    /// The attempts that have not reported yet.
    out: BTreeSet<Sent>,
    /// The sends of the current refresh token that got no answer in time; `None`: sent by somebody else.
    doubtful: BTreeSet<(Option<AttemptId>, Timestamp)>,
    /// Until when a copy of such a send of an earlier token can arrive, unless a clean rotation was sent later.
    echo: Option<Timestamp>,
}

/// An attempt whose request was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Sent {
    attempt: AttemptId,
    opt_in: Option<ConsentId>,
    revision: Revision,
    at: Timestamp,
}

impl Sent {
    fn claim(self) -> Claim {
        Claim { opt_in: self.opt_in, revision: self.revision, attempt: self.attempt }
    }
}

impl World {
    fn now(&self) -> Timestamp {
        minute(MOMENTS[self.moment])
    }

    /// What distinguishes this world from others. Everything left out is irrelevant here: all pauses are the same,
    /// every used consent wins, and an attempt reports only once.
    fn key(&self) -> impl Eq + std::hash::Hash + use<> {
        let Grant { revision, standing, phase, unanswered, suspect_until, removals, opt_in, .. } = self.grant;
        let unanswered =
            unanswered.map(|known| (known.attempt.map(|id| self.truth.is_out(id).then_some(id)), known.echo_until));
        let paused_until = self.grant.paused_until(self.now());
        (
            (revision, standing, phase, removals, opt_in),
            (unanswered, suspect_until, paused_until),
            self.moment,
            self.truth.clone(),
        )
    }

    /// The world after an allowed step. `sent`: the attempt that reports.
    fn after(&self, event: &GrantEvent, sent: Option<Sent>, step: &Step) -> Self {
        let mut truth = self.truth.clone();
        if let Some(sent) = sent {
            truth.out.remove(&sent);
        }
        match event {
            GrantEvent::Connect(_) | GrantEvent::Remove { .. } => truth.begin(None),
            GrantEvent::Import(_) => truth.begin(Some(self.now())),
            GrantEvent::Claim { attempt, .. } => {
                // The holder of the row has not answered in time.
                let taken_over = self.grant.phase.claimed_by();
                let late = truth.out.iter().filter(|sent| Some(sent.attempt) == taken_over);
                truth.doubtful.extend(late.map(|sent| (Some(sent.attempt), sent.at)).collect::<Vec<_>>());
                let Grant { opt_in, revision, .. } = self.grant;
                truth.out.insert(Sent { attempt: *attempt, opt_in, revision, at: self.now() });
            }
            GrantEvent::Unanswered { .. } => {
                truth.doubtful.extend(sent.map(|sent| (Some(sent.attempt), sent.at)));
            }
            GrantEvent::Restore { at } => {
                truth.doubtful.insert((None, *at));
            }
            GrantEvent::Commit { pair, .. } => truth.rotated(sent.unwrap(), pair, self.grant.phase.claimed_by()),
            _ => {}
        }
        truth.fold();
        truth.tokens = match step.tokens {
            TokensEffect::Keep | TokensEffect::KeepRefresh | TokensEffect::KeepAccess => truth.tokens,
            TokensEffect::Replace => true,
            TokensEffect::Erase => false,
        };
        Self {
            grant: Grant { failures: 0, refusal: None, notified: None, ..step.grant.clone() },
            truth,
            ..self.clone()
        }
    }

    /// The worlds after each possible next event, and after some time has passed.
    fn nexts(&self) -> Vec<Self> {
        let mut nexts = Vec::new();
        if self.moment + 1 < MOMENTS.len() {
            nexts.push(Self { moment: self.moment + 1, ..self.clone() });
        }
        nexts.extend(self.after_fail_over());
        for (event, sent) in events(self) {
            match (self.grant.on(&event, &pauses(), self.now()), sent) {
                (Ok(step), _) => nexts.push(self.after(&event, sent, &step)),
                // It reports too late; nothing is written.
                (Err(_), Some(sent)) => nexts.push(self.without(sent)),
                (Err(_), None) => {}
            }
        }
        nexts
    }

    /// A fail-over loses the last claim. The row no longer shows its request; only `Restore` can mark that.
    fn after_fail_over(&self) -> Option<Self> {
        let is_first_doubt = self.grant.unanswered.is_none() && self.grant.phase.claimed_by().is_some();
        let grant = Grant { phase: Phase::Idle, ..self.grant.clone() };
        is_first_doubt.then_some(Self { grant, ..self.clone() })
    }

    fn without(&self, sent: Sent) -> Self {
        let mut world = self.clone();
        world.truth.out.remove(&sent);
        world.truth.fold();
        world
    }

    /// Whether a refusal of the current refresh token can only mean that the opt-in has ended, unless a fail-over hides
    /// a send.
    fn is_certain(&self) -> bool {
        self.truth.doubtful.is_empty() && self.truth.echo.is_none()
    }
}

impl Truth {
    fn is_out(&self, attempt: AttemptId) -> bool {
        self.out.iter().any(|sent| sent.attempt == attempt)
    }

    /// Of the doubtful sends that can no longer be answered, keeps only the last.
    fn fold(&mut self) {
        let (open, closed): (BTreeSet<_>, BTreeSet<_>) =
            std::mem::take(&mut self.doubtful).into_iter().partition(|(id, _)| id.is_some_and(|id| self.is_out(id)));
        self.doubtful = open;
        self.doubtful.extend(closed.into_iter().map(|(_, at)| at).max().map(|at| (None, at)));
    }

    /// Begins a new opt-in, or none.
    fn begin(&mut self, echo: Option<Timestamp>) {
        self.doubtful.clear();
        self.echo = echo;
    }

    /// Stores the pair of `by`. `standing`: the attempt whose claim was in the row.
    fn rotated(&mut self, by: Sent, pair: &PairTimes, standing: Option<AttemptId>) {
        let taken_over = self.out.iter().filter(|sent| Some(sent.attempt) == standing).map(|sent| sent.at);
        let doubtful = self.doubtful.iter().filter(|(attempt, _)| *attempt != Some(by.attempt)).map(|(_, at)| *at);
        let kept = (pair.refresh == PairRefresh::Kept).then_some(by.at);
        let last = taken_over.chain(doubtful).chain(kept).max().map(|at| later(at, 10 * MINUTE));
        let is_clean_and_after = last.is_none() && self.echo.is_some_and(|echo| echo < by.at);
        self.echo = self.echo.filter(|_| !is_clean_and_after).max(last);
        self.doubtful.clear();
    }
}

/// Every possible event, with the attempt that reports it: on time, late, and from an earlier rotation.
fn events(world: &World) -> Vec<(GrantEvent, Option<Sent>)> {
    let grant = &world.grant;
    let mut events: Vec<(GrantEvent, Option<Sent>)> = Vec::new();
    for sent in &world.truth.out {
        let claim = sent.claim();
        for refresh in [PairRefresh::New(None), PairRefresh::Kept] {
            events.push((commit(claim, PairTimes { refresh, ..pair(sent.at) }), Some(*sent)));
        }
        let release = GrantEvent::Release { claim, reason: Release::Unsent(Duration::ZERO), jitter: 1.0 };
        events.extend([release, unanswered(claim), refused(claim)].map(|event| (event, Some(*sent))));
    }
    let mut others = vec![GrantEvent::Remove { actor: actor() }, GrantEvent::Restore { at: world.now() }];
    // Each opt-in has an id of its own.
    let id = consent(u128::from(grant.revision.epoch));
    let connect = Connect { consent: id, ..connect(grant, minute(1000), minute(0)) };
    let connects = [
        Connect { removals: grant.removals.wrapping_sub(1), ..connect.clone() },
        Connect { consent: grant.opt_in.unwrap_or(id), ..connect.clone() },
        Connect { is_retry: true, ..connect.clone() },
        connect,
    ];
    others.extend(connects.map(|connect| GrantEvent::Connect(Box::new(connect))));
    others.push(GrantEvent::Import(Box::new(Import { id, pair: pair(minute(0)), ..import(grant, Some(minute(1))) })));
    if world.truth.out.len() < MOST_OUT {
        others.push(GrantEvent::Claim { attempt: unused_attempt(world), lease: LONG_LEASE });
    }
    events.extend(others.into_iter().map(|event| (event, None)));
    events
}

/// An attempt id that nothing remembers.
fn unused_attempt(world: &World) -> AttemptId {
    let Grant { rotated_by, unanswered, phase, .. } = world.grant;
    let remembered = [rotated_by, unanswered.and_then(|unanswered| unanswered.attempt), phase.claimed_by()];
    (1..).map(attempt).find(|id| !remembered.contains(&Some(*id)) && !world.truth.is_out(*id)).unwrap()
}

fn pauses() -> Pauses {
    let second = Backoff::constant(Duration::from_secs(1));
    Pauses { refresh: second, probe: second, unusable: second, second_opinions: Vec::new() }
}

/// Every world within the bounds, breadth first.
fn worlds() -> &'static [World] {
    static WORLDS: LazyLock<Vec<World>> = LazyLock::new(|| {
        let mut seen = HashSet::from([World::default().key()]);
        let mut queue = VecDeque::from([World::default()]);
        let mut worlds = Vec::new();
        while let Some(world) = queue.pop_front() {
            for next in world.nexts() {
                let is_within = LAST
                    .iter()
                    .any(|last| last.epoch == next.grant.revision.epoch && next.grant.revision.version <= last.version);
                if is_within && seen.insert(next.key()) {
                    queue.push_back(next);
                }
            }
            worlds.push(world);
        }
        worlds
    });
    &WORLDS
}

/// Shows every event in every world, with its step and the world after it, or its refusal.
fn explore(mut show: impl FnMut(&World, &GrantEvent, Result<(&Step, &World), StepRefusal>)) {
    for world in worlds() {
        for (event, sent) in events(world) {
            match world.grant.on(&event, &pauses(), world.now()) {
                Ok(step) => show(world, &event, Ok((&step, &world.after(&event, sent, &step)))),
                Err(refusal) => show(world, &event, Err(refusal)),
            }
        }
    }
}

/// Every allowed step between two states, as the diagram draws them.
pub(super) fn steps() -> BTreeSet<(&'static str, &'static str, &'static str)> {
    let mut steps = BTreeSet::new();
    explore(|before, event, step| {
        if let Ok((_, after)) = step {
            steps.insert((state_name(&before.grant), event_name(event), state_name(&after.grant)));
        }
    });
    steps
}

#[test]
fn what_every_allowed_step_keeps() {
    explore(|before, event, step| {
        let Ok((step, after)) = step else { return };
        let (from, to) = (&before.grant, &after.grant);
        let context = || format!("{event:?} leads from {before:?} to {after:?}");
        let is_commit = matches!(event, GrantEvent::Commit { .. });
        let begins = matches!(event, GrantEvent::Connect(_) | GrantEvent::Import(_) | GrantEvent::Remove { .. });
        let is_removal = matches!(event, GrantEvent::Remove { .. });

        assert_eq!(step.name, event_name(event));
        assert_eq!(
            to.revision.epoch,
            from.revision.epoch + u64::from(begins),
            "an epoch never comes back: {}",
            context()
        );
        if !begins {
            assert_eq!(to.revision.version, from.revision.version + u64::from(is_commit), "{}", context());
            assert_eq!((to.opt_in, to.issued_at), (from.opt_in, from.issued_at), "{}", context());
            assert!(
                to.unanswered.is_some() >= from.unanswered.is_some() || is_commit,
                "only a commit answers: {}",
                context()
            );
            assert!(to.suspect_until == from.suspect_until || is_commit, "only a commit clears: {}", context());
        } else if !is_removal {
            assert!(to.issued_at >= from.issued_at, "the latest time of issue: {}", context());
        }
        assert_eq!(to.removals, from.removals + u64::from(is_removal), "{}", context());

        let invalidated = to.standing == Standing::ReauthRequired(RecordedCause::OptInInvalidated);
        let erased = step.tokens == TokensEffect::Erase;
        assert_eq!(erased, is_removal || (invalidated && to.standing != from.standing), "{}", context());

        if matches!(event, GrantEvent::Claim { .. }) {
            let lease_until = from.phase.lease_until();
            assert!(lease_until.is_none_or(|until| until <= before.now()), "one lease at a time: {}", context());
        }
        if matches!(event, GrantEvent::Refused { .. }) {
            assert_eq!(invalidated, before.is_certain(), "{}", context());
        }
    });

    assert!(worlds().len() > 10_000, "only {} worlds", worlds().len());
}

#[test]
fn a_pair_that_came_home_is_stored_unless_the_row_moved_on() {
    let mut late = 0;
    explore(|world, event, step| {
        let GrantEvent::Commit { claim, .. } = event else { return };
        let grant = &world.grant;
        let moved_on = grant.opt_in != claim.opt_in || grant.revision.version > claim.revision.version;

        assert_eq!(step.is_err(), moved_on, "{event:?} in {world:?}");
        late += usize::from(step.is_ok() && grant.phase.claimed_by() != Some(claim.attempt));
    });

    assert!(late > 0);
}

#[test]
fn what_changes_neither_standing_nor_phase_may_come_at_any_time() {
    for world in worlds() {
        let notify = GrantEvent::Notify(Notice::ExpiringSoon { within: 1 });
        for event in [notify, GrantEvent::Resume, GrantEvent::Look, GrantEvent::Fence] {
            let Ok(step) = world.grant.on(&event, &pauses(), world.now()) else { continue };

            let before = Grant { retry_at: step.grant.retry_at, ..world.grant.clone() };
            assert_eq!(Grant { notified: None, ..step.grant }, before, "{event:?}");
            let is_resumed = event == GrantEvent::Resume;
            assert_eq!(before.retry_at == world.grant.retry_at, !is_resumed, "{event:?}");
            assert_eq!(step.tokens, TokensEffect::Keep, "{event:?}");
        }
    }
}

#[test]
fn what_holds_in_every_state() {
    for world in worlds() {
        let World { grant, truth, .. } = world;
        let is_marked = grant.explains_refusal();

        assert_eq!(grant.unanswered.is_some(), !truth.doubtful.is_empty(), "{world:?}");
        // Of several doubtful attempts `truth` keeps only the last, which may be answered later.
        assert_eq!(grant.suspect_until.is_some(), truth.echo.is_some(), "{world:?}");
        assert!(grant.suspect_until >= truth.echo, "{world:?}");
        assert_eq!(grant.tokens.is_some(), truth.tokens, "{world:?}");
        match grant.standing {
            Standing::Unauthenticated => {
                let bare = Grant { revision: grant.revision, removals: grant.removals, ..Grant::default() };
                assert_eq!((grant, grant.revision.version), (&bare, 0), "{world:?}");
            }
            Standing::Authenticated => {
                assert!(truth.tokens && grant.opt_in.is_some() && grant.revision.version >= 1, "{world:?}");
                let in_doubt = matches!(grant.phase, Phase::InDoubt { .. });
                assert!(!in_doubt || grant.unanswered.is_some(), "{world:?}");
            }
            Standing::ReauthRequired(RecordedCause::OptInInvalidated) => {
                assert!(!is_marked && grant.phase == Phase::Idle && !truth.tokens, "{world:?}");
            }
            Standing::ReauthRequired(RecordedCause::RotationLost) => {
                assert!(is_marked && grant.phase == Phase::Idle && truth.tokens, "{world:?}");
            }
        }
    }
}
