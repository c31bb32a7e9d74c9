//! Every pair of a state and an event: what it does, or why it is refused.

use std::collections::{BTreeMap, BTreeSet};

use super::{super::*, *};
use crate::{
    clock::later,
    ids::{AttemptId, ConsentId, Revision},
};

const LEASE: Duration = MINUTE;

/// The columns are the states, each with every combination of the marks *unanswered* and *suspect*; the rows the events.
/// A star is a lease that is over.
#[rustfmt::skip]
const TABLE: &str = "
                          | never            | removed          | idle             | sent             | sent*            | travelling       | travelling*      | invalidated      | lost
connect                   | connected        | connected        | connected        | connected        | connected        | connected        | connected        | connected        | connected
connect, issued then      | connected        | connected        | connected        | connected        | connected        | connected        | connected        | connected        | connected
connect, issued earlier   | connected        | connected        | Superseded       | Superseded       | Superseded       | Superseded       | Superseded       | connected        | connected
connect, newer            | connected        | connected        | connected        | connected        | connected        | connected        | connected        | connected        | connected
connect, again            | connected        | connected        | Superseded       | Superseded       | Superseded       | Superseded       | Superseded       | connected        | connected
connect, again, later     | connected        | connected        | connected        | connected        | connected        | connected        | connected        | connected        | connected
connect, removed since    | RemovedSince     | RemovedSince     | RemovedSince     | RemovedSince     | RemovedSince     | RemovedSince     | RemovedSince     | RemovedSince     | RemovedSince
connect, same consent     | connected        | connected        | AlreadyConnected | AlreadyConnected | AlreadyConnected | AlreadyConnected | AlreadyConnected | AlreadyConnected | AlreadyConnected
claim                     | NotAuthenticated | NotAuthenticated | claimed          | Leased           | taken over       | Leased           | claimed          | NotAuthenticated | NotAuthenticated
claim, by the holder      | NotAuthenticated | NotAuthenticated | claimed          | Leased           | taken over       | Leased           | claimed          | NotAuthenticated | NotAuthenticated
claim, other version      | NotAuthenticated | NotAuthenticated | Stale            | Stale            | Stale            | Stale            | Stale            | NotAuthenticated | NotAuthenticated
claim, other epoch        | NotAuthenticated | NotAuthenticated | Stale            | Stale            | Stale            | Stale            | Stale            | NotAuthenticated | NotAuthenticated
give back                 | NotHolder        | NotHolder        | NotHolder        | given back       | given back       | NotHolder        | NotHolder        | NotHolder        | NotHolder
give back, of another     | NotHolder        | NotHolder        | NotHolder        | NotHolder        | NotHolder        | NotHolder        | NotHolder        | NotHolder        | NotHolder
give back, other version  | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale
give back, other epoch    | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale
commit                    | NotAuthenticated | NotAuthenticated | committed        | committed        | committed        | committed        | committed        | recovered        | recovered
commit, keeping           | NotAuthenticated | NotAuthenticated | recovered        | recovered        | recovered        | recovered        | recovered        | recovered        | recovered
commit, other version     | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale
commit, other epoch       | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale
refused                   | NotHolder        | NotHolder        | NotHolder        | judged           | judged           | NotHolder        | NotHolder        | NotHolder        | NotHolder
refused, of another       | NotHolder        | NotHolder        | NotHolder        | NotHolder        | NotHolder        | NotHolder        | NotHolder        | NotHolder        | NotHolder
refused, other version    | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale
refused, other epoch      | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale
unanswered                | NotHolder        | NotHolder        | NotHolder        | waits            | waits            | NotHolder        | NotHolder        | NotHolder        | NotHolder
unanswered, of another    | NotHolder        | NotHolder        | NotHolder        | NotHolder        | NotHolder        | NotHolder        | NotHolder        | NotHolder        | NotHolder
unanswered, other version | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale
unanswered, other epoch   | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale
remove                    | removed          | removed          | removed          | removed          | removed          | removed          | removed          | removed          | removed
restore                   | NotAuthenticated | NotAuthenticated | marked           | marked           | marked           | marked           | marked           | NotAuthenticated | NotAuthenticated
";

fn now() -> Timestamp {
    minute(100)
}

fn holder() -> AttemptId {
    AttemptId::from_bits(1)
}

fn newcomer() -> AttemptId {
    AttemptId::from_bits(2)
}

fn stored_consent() -> ConsentId {
    ConsentId::from_bits(1)
}

fn issued_at() -> Timestamp {
    minute(0)
}

/// Every state, with every combination of marks, also those that no history leads to.
fn states() -> Vec<(&'static str, OptIn)> {
    let sent = |lease_until| Phase::Sent { attempt: holder(), lease_until };
    let travelling = |lease_until| Phase::Travelling { lease_until };
    let connected = OptIn {
        revision: Revision { epoch: 5, version: 3 },
        standing: Standing::Authenticated,
        removals: 2,
        consent: Some(stored_consent()),
        issued_at: Some(issued_at()),
        ..OptIn::default()
    };
    let ended = |cause| OptIn { standing: Standing::ReauthRequired(cause), ..connected };
    let removed = OptIn { revision: Revision { epoch: 5, version: 0 }, removals: 2, ..OptIn::default() };
    let running = later(now(), LEASE / 2);
    let columns = [
        ("never", OptIn::default()),
        ("removed", removed),
        ("idle", connected),
        ("sent", OptIn { phase: sent(running), ..connected }),
        ("sent*", OptIn { phase: sent(now()), ..connected }),
        ("travelling", OptIn { phase: travelling(running), ..connected }),
        ("travelling*", OptIn { phase: travelling(now()), ..connected }),
        ("invalidated", ended(RecordedCause::OptInInvalidated)),
        ("lost", ended(RecordedCause::RotationLost)),
    ];
    let marks = [(false, false), (false, true), (true, false), (true, true)];
    let marked = |(name, state): (&'static str, OptIn)| {
        marks.map(move |(unanswered, suspect)| (name, OptIn { unanswered, suspect, ..state }))
    };
    columns.into_iter().flat_map(marked).collect()
}

/// Every event as it may meet `state`, by what distinguishes it there.
fn events(state: &OptIn) -> Vec<(String, Event)> {
    let fits = state.revision;
    let other_version = Revision { version: fits.version.wrapping_sub(1), ..fits };
    let other_epoch = Revision { epoch: fits.epoch.wrapping_sub(1), ..fits };
    let (consent, removals, turn) = (ConsentId::from_bits(2), state.removals, Turn::Alongside);
    let connect = Event::Connect { consent, removals, issued_at: minute(1), turn };

    let mut events = vec![
        ("connect", connect),
        ("connect, issued then", Event::Connect { consent, removals, issued_at: issued_at(), turn }),
        ("connect, issued earlier", Event::Connect { consent, removals, issued_at: minute(-1), turn }),
        ("connect, newer", Event::Connect { consent, removals, issued_at: minute(-1), turn: Turn::Newer }),
        ("connect, again", Event::Connect { consent, removals, issued_at: issued_at(), turn: Turn::Retry }),
        ("connect, again, later", Event::Connect { consent, removals, issued_at: minute(1), turn: Turn::Retry }),
        (
            "connect, removed since",
            Event::Connect { consent, removals: removals.wrapping_sub(1), issued_at: minute(1), turn },
        ),
        ("connect, same consent", Event::Connect { consent: stored_consent(), removals, issued_at: issued_at(), turn }),
        ("claim, by the holder", Event::Claim { revision: fits, attempt: holder(), lease: LEASE }),
        ("give back, of another", Event::GiveBack { revision: fits, attempt: newcomer() }),
        ("commit, keeping", Event::Commit { revision: fits, keeps_refresh_token: true }),
        ("remove", Event::Remove),
        ("restore", Event::Restore),
    ];
    for (verdict, name) in [(Verdict::Refused, "refused, of another"), (Verdict::Unanswered, "unanswered, of another")]
    {
        events.push((name, Event::Settle { revision: fits, attempt: newcomer(), verdict }));
    }
    let mut events: Vec<_> = events.into_iter().map(|(name, event)| (name.to_owned(), event)).collect();
    for (suffix, revision) in [("", fits), (", other version", other_version), (", other epoch", other_epoch)] {
        let attempt = holder();
        for (name, event) in [
            ("claim", Event::Claim { revision, attempt: newcomer(), lease: LEASE }),
            ("give back", Event::GiveBack { revision, attempt }),
            ("commit", Event::Commit { revision, keeps_refresh_token: false }),
            ("refused", Event::Settle { revision, attempt, verdict: Verdict::Refused }),
            ("unanswered", Event::Settle { revision, attempt, verdict: Verdict::Unanswered }),
        ] {
            events.push((format!("{name}{suffix}"), event));
        }
    }
    events
}

/// What a cell of the table says about this state and this event, in full.
fn expectation(cell: &str, state: &OptIn, event: &Event) -> Result<Transition, Refusal> {
    let keep = |to| Ok(Transition { to, tokens: TokensEffect::Keep });
    let next_version = Revision { version: state.revision.version + 1, ..state.revision };
    let next_epoch = |version| Revision { epoch: state.revision.epoch + 1, version };
    let committed = OptIn {
        revision: next_version,
        standing: Standing::Authenticated,
        phase: Phase::Idle,
        unanswered: false,
        suspect: state.suspect || state.unanswered,
        ..*state
    };
    match (cell, *event) {
        ("connected", Event::Connect { consent, issued_at, .. }) => Ok(Transition {
            to: OptIn {
                revision: next_epoch(1),
                standing: Standing::Authenticated,
                phase: Phase::Idle,
                unanswered: false,
                suspect: false,
                removals: state.removals,
                consent: Some(consent),
                issued_at: Some(issued_at).max(state.issued_at),
            },
            tokens: TokensEffect::Replace,
        }),
        ("claimed", Event::Claim { attempt, .. }) => {
            keep(OptIn { phase: Phase::Sent { attempt, lease_until: later(now(), LEASE) }, ..*state })
        }
        ("taken over", Event::Claim { attempt, .. }) => {
            let phase = Phase::Sent { attempt, lease_until: later(now(), LEASE) };
            keep(OptIn { phase, unanswered: true, ..*state })
        }
        ("given back", _) => keep(OptIn { phase: Phase::Idle, ..*state }),
        ("committed", _) => Ok(Transition { to: committed, tokens: TokensEffect::Replace }),
        ("recovered", _) => Ok(Transition { to: OptIn { suspect: true, ..committed }, tokens: TokensEffect::Replace }),
        ("judged", _) if state.unanswered || state.suspect => {
            let standing = Standing::ReauthRequired(RecordedCause::RotationLost);
            keep(OptIn { standing, phase: Phase::Idle, ..*state })
        }
        ("judged", _) => {
            let standing = Standing::ReauthRequired(RecordedCause::OptInInvalidated);
            let to = OptIn { standing, phase: Phase::Idle, ..*state };
            Ok(Transition { to, tokens: TokensEffect::Erase })
        }
        ("waits", _) => {
            let lease_until = state.phase.lease_until().unwrap();
            keep(OptIn { phase: Phase::Travelling { lease_until }, unanswered: true, ..*state })
        }
        ("removed", _) => Ok(Transition {
            to: OptIn { revision: next_epoch(0), removals: state.removals + 1, ..OptIn::default() },
            tokens: TokensEffect::Erase,
        }),
        ("marked", _) => keep(OptIn { unanswered: true, ..*state }),
        ("Stale", _) => Err(Refusal::Stale),
        ("NotHolder", _) => Err(Refusal::NotHolder),
        ("Leased", _) => Err(Refusal::Leased),
        ("NotAuthenticated", _) => Err(Refusal::NotAuthenticated),
        ("RemovedSince", _) => Err(Refusal::RemovedSince),
        ("AlreadyConnected", _) => Err(Refusal::AlreadyConnected),
        ("Superseded", _) => Err(Refusal::Superseded),
        _ => panic!("{cell:?} says nothing about {event:?}"),
    }
}

fn cells() -> BTreeMap<(&'static str, &'static str), &'static str> {
    let mut lines = TABLE.trim_matches('\n').lines().map(|line| line.split('|').map(str::trim));
    let columns: Vec<_> = lines.next().unwrap().skip(1).collect();
    let mut cells = BTreeMap::new();
    for mut line in lines {
        let row = line.next().unwrap();
        let line: Vec<_> = line.collect();
        assert_eq!(line.len(), columns.len(), "the row {row:?}");
        for (column, cell) in columns.iter().zip(line) {
            assert_eq!(cells.insert((row, *column), cell), None, "{row:?} is there twice");
        }
    }
    cells
}

#[test]
fn every_pair_of_state_and_event_does_what_the_table_says() {
    let cells = cells();
    let (mut pairs, mut used) = (0, BTreeSet::new());
    for (column, state) in states() {
        for (row, event) in events(&state) {
            let cell = cells.get(&(row.as_str(), column));
            let cell = cell.unwrap_or_else(|| panic!("the table says nothing about {row:?} in {column:?}"));

            assert_eq!(
                state.on(&event, now()),
                expectation(cell, &state, &event),
                "{row:?} in {column:?}, unanswered: {}, suspect: {}",
                state.unanswered,
                state.suspect
            );

            used.insert((row, column));
            pairs += 1;
        }
    }
    assert_eq!(used.len(), cells.len(), "every cell of the table is a case");
    assert_eq!(pairs, 4 * cells.len());
}

#[test]
fn the_table_has_every_kind_of_event() {
    let all = ["connect", "claim", "give_back", "commit", "refused", "unanswered", "remove", "restore"];

    let seen: BTreeSet<_> = events(&OptIn::default()).iter().map(|(_, event)| event_name(event)).collect();

    assert_eq!(seen, BTreeSet::from(all));
}

#[test]
fn a_lease_that_ends_later_than_any_policy_allows_was_set_by_a_wrong_clock() {
    let ahead = Duration::from_secs(5 * 3600);
    for (lease, allowed) in [(LEASE, true), (2 * ahead, false)] {
        let phase = Phase::Sent { attempt: holder(), lease_until: later(now(), ahead) };
        let state = OptIn { standing: Standing::Authenticated, phase, ..OptIn::default() };
        let claim = Event::Claim { revision: state.revision, attempt: newcomer(), lease };

        assert_eq!(state.on(&claim, now()).is_ok(), allowed, "a claim for {lease:?}");
    }
}

#[test]
fn a_running_lease_longer_than_the_claims_own_is_respected() {
    let phase = Phase::Travelling { lease_until: later(now(), 10 * LEASE) };
    let state = OptIn { standing: Standing::Authenticated, phase, ..OptIn::default() };

    let claim = Event::Claim { revision: state.revision, attempt: newcomer(), lease: LEASE };

    assert_eq!(state.on(&claim, now()), Err(Refusal::Leased));
}
