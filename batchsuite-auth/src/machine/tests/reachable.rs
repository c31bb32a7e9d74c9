//! Every state that some history leads to, and what holds in all of them.

use std::collections::{BTreeSet, HashSet, VecDeque};

use super::{super::*, *};
use crate::ids::{AttemptId, ConsentId, Revision};

const LEASE: Duration = Duration::from_secs(2 * 60);
/// The histories end here.
const LAST_MINUTE: i64 = 4;
const LAST_EPOCH: u64 = 3;
const LAST_VERSION: u64 = 3;

/// An opt-in, the time, and what its history says whatever the opt-in remembers of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct World {
    opt_in: OptIn,
    minute: i64,
    history: History,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct History {
    /// Tokens are stored.
    tokens: bool,
    /// The present refresh token may have reached UPS without an answer that reached us.
    doubt: bool,
    /// A pair of this epoch was stored in doubt, or over an opt-in that had been given up.
    doubt_before: bool,
}

impl History {
    fn after(self, before: &OptIn, event: &Event, transition: &Transition) -> Self {
        let in_order = Self { doubt: false, doubt_before: false, ..self };
        let told = match event {
            Event::Connect { .. } | Event::Remove => in_order,
            Event::Claim { .. } => Self { doubt: self.doubt || matches!(before.phase, Phase::Sent { .. }), ..self },
            Event::Settle { verdict: Verdict::Unanswered, .. } | Event::Restore => Self { doubt: true, ..self },
            Event::Commit { keeps_refresh_token, .. } => {
                let given_up = before.standing != Standing::Authenticated;
                let doubt_before = self.doubt_before || self.doubt || given_up || *keeps_refresh_token;
                Self { doubt: false, doubt_before, ..self }
            }
            Event::GiveBack { .. } | Event::Settle { verdict: Verdict::Refused, .. } => self,
        };
        let tokens = match transition.tokens {
            TokensEffect::Keep => self.tokens,
            TokensEffect::Replace => true,
            TokensEffect::Erase => false,
        };
        Self { tokens, ..told }
    }
}

/// Every event that could arrive: on time, late, and from before.
fn events(opt_in: &OptIn) -> Vec<Event> {
    let Revision { epoch, version } = opt_in.revision;
    let former_epoch = Revision { epoch: epoch.saturating_sub(1), version };
    let former_version = Revision { epoch, version: version.saturating_sub(1) };
    let attempts = [1, 2].map(AttemptId::from_bits);
    let mut events = vec![Event::Remove, Event::Restore];
    for consent in [1, 2].map(ConsentId::from_bits) {
        for removals in [opt_in.removals, opt_in.removals.saturating_sub(1)] {
            for issued_at in [minute(0), minute(1)] {
                for turn in [Turn::Newer, Turn::Alongside, Turn::Retry] {
                    events.push(Event::Connect { consent, removals, issued_at, turn });
                }
            }
        }
    }
    for revision in [opt_in.revision, former_epoch, former_version] {
        for keeps_refresh_token in [false, true] {
            events.push(Event::Commit { revision, keeps_refresh_token });
        }
        for attempt in attempts {
            events.push(Event::Claim { revision, attempt, lease: LEASE });
            events.push(Event::GiveBack { revision, attempt });
            for verdict in [Verdict::Refused, Verdict::Unanswered] {
                events.push(Event::Settle { revision, attempt, verdict });
            }
        }
    }
    events
}

/// Breadth-first over every history up to the bounds; tells every step that the machine allows.
fn explore(mut step: impl FnMut(&World, &Event, &Transition, &World)) -> HashSet<World> {
    let mut seen = HashSet::from([World::default()]);
    let mut queue = VecDeque::from([World::default()]);
    while let Some(world) = queue.pop_front() {
        let mut next = Vec::new();
        if world.minute < LAST_MINUTE {
            next.push(World { minute: world.minute + 1, ..world });
        }
        for event in events(&world.opt_in) {
            let Ok(transition) = world.opt_in.on(&event, minute(world.minute)) else { continue };
            let history = world.history.after(&world.opt_in, &event, &transition);
            let after = World { opt_in: transition.to, history, ..world };
            step(&world, &event, &transition, &after);
            next.push(after);
        }
        for world in next {
            let OptIn { revision: Revision { epoch, version }, removals, .. } = world.opt_in;
            let within = epoch <= LAST_EPOCH && version <= LAST_VERSION && removals <= LAST_EPOCH;
            if within && seen.insert(world) {
                queue.push_back(world);
            }
        }
    }
    seen
}

/// Every allowed step between two states as the diagram draws them.
pub(super) fn steps() -> BTreeSet<(&'static str, &'static str, &'static str)> {
    let mut steps = BTreeSet::new();
    explore(|before, event, _, after| {
        steps.insert((state_name(&before.opt_in), event_name(event), state_name(&after.opt_in)));
    });
    steps
}

#[test]
fn what_every_allowed_step_keeps() {
    let seen = explore(|before, event, transition, after| {
        let (from, to) = (&before.opt_in, &after.opt_in);
        let context = || format!("{event:?} leads from {before:?} to {after:?}");
        let new_epoch = matches!(event, Event::Connect { .. } | Event::Remove);
        let is_commit = matches!(event, Event::Commit { .. });

        assert_eq!(to.revision.epoch, from.revision.epoch + u64::from(new_epoch), "{}", context());
        if !new_epoch {
            assert_eq!(to.revision.version, from.revision.version + u64::from(is_commit), "{}", context());
            assert_eq!((to.consent, to.issued_at), (from.consent, from.issued_at), "{}", context());
            assert!(to.suspect >= from.suspect, "suspect lasts for the epoch: {}", context());
            assert!(to.unanswered >= from.unanswered || is_commit, "only a commit answers: {}", context());
        }
        assert_eq!(to.removals, from.removals + u64::from(*event == Event::Remove), "{}", context());

        let invalidated = to.standing == Standing::ReauthRequired(RecordedCause::OptInInvalidated);
        let erased = transition.tokens == TokensEffect::Erase;
        assert_eq!(erased, *event == Event::Remove || invalidated, "{}", context());

        if matches!(event, Event::Claim { .. }) {
            let lease_until = from.phase.lease_until();
            assert!(lease_until.is_none_or(|until| until <= minute(before.minute)), "{}", context());
        }
        if matches!(event, Event::Settle { verdict: Verdict::Refused, .. }) {
            let certainly_unused = !before.history.doubt && !before.history.doubt_before;
            assert_eq!(invalidated, certainly_unused, "{}", context());
        }
    });

    assert!(seen.len() > 10_000, "only {} worlds", seen.len());
}

#[test]
fn what_holds_in_every_state() {
    for world in explore(|_, _, _, _| ()) {
        let World { opt_in, history, .. } = world;
        let marked = opt_in.unanswered || opt_in.suspect;

        assert_eq!((opt_in.unanswered, opt_in.suspect), (history.doubt, history.doubt_before), "{world:?}");
        assert_eq!(opt_in.phase != Phase::Idle, opt_in.phase.lease_until().is_some(), "{world:?}");
        match opt_in.standing {
            Standing::Unauthenticated => {
                assert!(!marked && opt_in.phase == Phase::Idle && !history.tokens, "{world:?}");
                assert_eq!((opt_in.consent, opt_in.issued_at, opt_in.revision.version), (None, None, 0), "{world:?}");
            }
            Standing::Authenticated => {
                assert!(history.tokens && opt_in.consent.is_some() && opt_in.issued_at.is_some(), "{world:?}");
                assert!(opt_in.revision.version >= 1, "{world:?}");
            }
            Standing::ReauthRequired(RecordedCause::OptInInvalidated) => {
                assert!(!marked && opt_in.phase == Phase::Idle && !history.tokens, "{world:?}");
            }
            Standing::ReauthRequired(RecordedCause::RotationLost) => {
                assert!(marked && opt_in.phase == Phase::Idle && history.tokens, "{world:?}");
            }
        }
    }
}
