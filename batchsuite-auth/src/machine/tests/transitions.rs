//! Every pair of a state and an event: its step, or why it is refused.

use std::collections::{BTreeMap, BTreeSet};

use super::{super::*, *};
use crate::{
    events::{EventContent, EventKind},
    machine::grant::Quarantine,
};

/// Columns: the states, each tested with every combination of the marks *unanswered* and *suspect*. Rows: the events. A
/// star: the lease is over.
#[rustfmt::skip]
const TABLE: &str = "
                          | never            | removed          | idle             | paused           | claimed          | claimed*         | in doubt         | in doubt*        | quarantined      | invalidated      | lost
connect                   | connected        | connected        | connected        | connected        | connected        | connected        | connected        | connected        | connected        | connected        | connected
connect, issued then      | connected        | connected        | connected        | connected        | connected        | connected        | connected        | connected        | connected        | connected        | connected
connect, issued earlier   | connected        | connected        | Superseded       | Superseded       | Superseded       | Superseded       | Superseded       | Superseded       | connected        | connected        | connected
connect, used later       | connected        | connected        | connected        | connected        | connected        | connected        | connected        | connected        | connected        | connected        | connected
connect, again            | connected        | connected        | Superseded       | Superseded       | Superseded       | Superseded       | Superseded       | Superseded       | connected        | connected        | connected
connect, again, later     | connected        | connected        | connected        | connected        | connected        | connected        | connected        | connected        | connected        | connected        | connected
connect, removed since    | RemovedSince     | RemovedSince     | RemovedSince     | RemovedSince     | RemovedSince     | RemovedSince     | RemovedSince     | RemovedSince     | RemovedSince     | RemovedSince     | RemovedSince
connect, same consent     | connected        | connected        | AlreadyStored    | AlreadyStored    | AlreadyStored    | AlreadyStored    | AlreadyStored    | AlreadyStored    | AlreadyStored    | AlreadyStored    | AlreadyStored
import                    | imported         | imported         | imported         | imported         | imported         | imported         | imported         | imported         | imported         | imported         | imported
import, issued then       | imported         | imported         | Superseded       | Superseded       | Superseded       | Superseded       | Superseded       | Superseded       | Superseded       | imported         | imported
import, of unknown date   | imported         | imported         | Superseded       | Superseded       | Superseded       | Superseded       | Superseded       | Superseded       | Superseded       | imported         | imported
import, other epoch       | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale
import, same import       | imported         | imported         | AlreadyStored    | AlreadyStored    | AlreadyStored    | AlreadyStored    | AlreadyStored    | AlreadyStored    | AlreadyStored    | AlreadyStored    | AlreadyStored
import, stored before     | imported         | imported         | AlreadyStored    | AlreadyStored    | AlreadyStored    | AlreadyStored    | AlreadyStored    | AlreadyStored    | AlreadyStored    | AlreadyStored    | AlreadyStored
import, dated ahead       | IssuedAhead      | IssuedAhead      | IssuedAhead      | IssuedAhead      | IssuedAhead      | IssuedAhead      | IssuedAhead      | IssuedAhead      | IssuedAhead      | IssuedAhead      | IssuedAhead
import, ended             | Ended            | Ended            | Ended            | Ended            | Ended            | Ended            | Ended            | Ended            | Ended            | Ended            | Ended
claim                     | NotAuthenticated | NotAuthenticated | claimed          | Paused           | Leased           | taken over       | Leased           | claimed          | NotAuthenticated | NotAuthenticated | NotAuthenticated
release                   | NotHolder        | NotHolder        | NotHolder        | NotHolder        | released         | released         | NotHolder        | NotHolder        | NotHolder        | NotHolder        | NotHolder
release, of another       | NotHolder        | NotHolder        | NotHolder        | NotHolder        | NotHolder        | NotHolder        | NotHolder        | NotHolder        | NotHolder        | NotHolder        | NotHolder
release, other version    | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale
release, other opt-in     | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale
commit                    | Stale            | Stale            | committed        | committed        | committed        | committed        | committed        | committed        | recovered        | recovered        | recovered
commit, of another        | Stale            | Stale            | committed        | committed        | committed        | committed        | committed        | committed        | recovered        | recovered        | recovered
commit, again             | Stale            | Stale            | AlreadyStored    | AlreadyStored    | AlreadyStored    | AlreadyStored    | AlreadyStored    | AlreadyStored    | AlreadyStored    | AlreadyStored    | AlreadyStored
commit, former version    | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale
commit, row set back      | Stale            | Stale            | committed        | committed        | committed        | committed        | committed        | committed        | recovered        | recovered        | recovered
commit, other opt-in      | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale
unanswered                | NotHolder        | NotHolder        | NotHolder        | NotHolder        | waits            | waits            | NotHolder        | NotHolder        | NotHolder        | NotHolder        | NotHolder
unanswered, of another    | NotHolder        | NotHolder        | NotHolder        | NotHolder        | NotHolder        | NotHolder        | NotHolder        | NotHolder        | NotHolder        | NotHolder        | NotHolder
unanswered, other version | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale
unanswered, other opt-in  | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale
refused                   | NotHolder        | NotHolder        | NotHolder        | NotHolder        | judged           | judged           | NotHolder        | NotHolder        | NotHolder        | NotHolder        | NotHolder
refused, of another       | NotHolder        | NotHolder        | NotHolder        | NotHolder        | NotHolder        | NotHolder        | NotHolder        | NotHolder        | NotHolder        | NotHolder        | NotHolder
refused, other version    | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale
refused, other opt-in     | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale            | Stale
remove                    | removed          | removed          | removed          | removed          | removed          | removed          | removed          | removed          | removed          | removed          | removed
restore                   | NotAuthenticated | NotAuthenticated | marked           | marked           | marked           | marked           | marked           | marked           | marked           | NotAuthenticated | marked
restore, pair is newer    | NotAuthenticated | NotAuthenticated | Unchanged        | Unchanged        | Unchanged        | Unchanged        | Unchanged        | Unchanged        | Unchanged        | NotAuthenticated | Unchanged
notify                    | NotAuthenticated | NotAuthenticated | told             | told             | told             | told             | told             | told             | NotAuthenticated | NotAuthenticated | NotAuthenticated
resume                    | Unchanged        | Unchanged        | Unchanged        | resumed          | Unchanged        | Unchanged        | Unchanged        | Unchanged        | Unchanged        | Unchanged        | Unchanged
look                      | unchanged        | unchanged        | unchanged        | unchanged        | unchanged        | unchanged        | unchanged        | unchanged        | unchanged        | unchanged        | unchanged
fence                     | unchanged        | unchanged        | unchanged        | unchanged        | unchanged        | unchanged        | unchanged        | unchanged        | unchanged        | unchanged        | unchanged
";

const NOTICE: Notice = Notice::ExpiringSoon { within: 86_400 };

fn now() -> Timestamp {
    minute(100)
}

fn holder() -> AttemptId {
    attempt(1)
}

fn newcomer() -> AttemptId {
    attempt(2)
}

fn restored_at() -> Timestamp {
    minute(80)
}

/// Every state with every combination of marks, including unreachable ones.
fn states() -> Vec<(&'static str, Grant)> {
    let claimed = |at| Phase::Claimed { attempt: holder(), at, lease_until: later(at, LEASE) };
    let in_doubt = |lease_until| Phase::InDoubt { lease_until };
    let idle = opted_in(minute(60));
    let ended = |cause| {
        let tokens = idle.tokens.filter(|_| cause == RecordedCause::RotationLost);
        Grant { standing: Standing::ReauthRequired(cause), tokens, ..idle.clone() }
    };
    let quarantine = Some(Quarantine { refusals: 0, until: minute(110), is_over: false });
    let tokens = idle.tokens;
    let quarantined = Grant { tokens, quarantine, ..ended(RecordedCause::OptInInvalidated) };
    let removed = Grant { revision: Revision { epoch: 5, version: 0 }, removals: 2, ..Grant::default() };
    let running = later(now(), LEASE / 2);
    let columns = [
        ("never", Grant::default()),
        ("removed", removed),
        ("idle", idle.clone()),
        ("paused", Grant { retry_at: Some(running), failures: 1, ..idle.clone() }),
        ("claimed", Grant { phase: claimed(earlier(now(), LEASE / 2)), ..idle.clone() }),
        ("claimed*", Grant { phase: claimed(earlier(now(), LEASE)), ..idle.clone() }),
        ("in doubt", Grant { phase: in_doubt(running), ..idle.clone() }),
        ("in doubt*", Grant { phase: in_doubt(now()), ..idle.clone() }),
        ("quarantined", quarantined),
        ("invalidated", ended(RecordedCause::OptInInvalidated)),
        ("lost", ended(RecordedCause::RotationLost)),
    ];
    let mut states = Vec::new();
    for (name, grant) in columns {
        for unanswered in unanswered_marks() {
            for suspect_until in [None, Some(minute(70)), Some(minute(108))] {
                states.push((name, Grant { unanswered, suspect_until, ..grant.clone() }));
            }
        }
    }
    states
}

fn unanswered_marks() -> [Option<Unanswered>; 3] {
    let echo_until = minute(85);
    [None, Some(Unanswered { attempt: Some(holder()), echo_until }), Some(Unanswered { attempt: None, echo_until })]
}

/// Every event that `grant` may meet, named by what distinguishes it.
fn events(grant: &Grant) -> Vec<(String, GrantEvent)> {
    let mut events: Vec<(String, GrantEvent)> = Vec::new();
    let mut add = |name: &str, event| events.push((name.to_owned(), event));
    for (name, connect) in connects(grant) {
        add(name, GrantEvent::Connect(Box::new(connect)));
    }
    for (name, import) in imports(grant) {
        add(name, GrantEvent::Import(Box::new(import)));
    }
    add("claim", claim(newcomer()));
    let fits = grant.claim_of(holder());
    let of_version = |version| Claim { revision: Revision { version, ..grant.revision }, ..fits };
    let other_version = of_version(grant.revision.version.wrapping_sub(1));
    let other_opt_in = Claim { opt_in: Some(consent(7)), ..fits };
    let another = Claim { attempt: newcomer(), ..fits };
    let claims =
        [("", fits), (", of another", another), (", other version", other_version), (", other opt-in", other_opt_in)];
    for (suffix, claim) in claims {
        let release = GrantEvent::Release { claim, reason: Release::Unsent(Duration::ZERO), jitter: 1.0 };
        add(&format!("release{suffix}"), release);
        add(&format!("unanswered{suffix}"), unanswered(claim));
        add(&format!("refused{suffix}"), refused(claim));
    }
    for (name, claim) in [
        ("commit", fits),
        ("commit, of another", another),
        ("commit, again", Claim { attempt: attempt(9), ..fits }),
        ("commit, former version", Claim { revision: Revision { version: 2, ..fits.revision }, ..fits }),
        ("commit, row set back", of_version(grant.revision.version + 4)),
        ("commit, other opt-in", other_opt_in),
    ] {
        add(name, commit(claim, pair(minute(99))));
    }
    add("remove", GrantEvent::Remove { actor: actor() });
    add("restore", GrantEvent::Restore { at: restored_at() });
    add("restore, pair is newer", GrantEvent::Restore { at: minute(59) });
    add("notify", GrantEvent::Notify(NOTICE));
    add("resume", GrantEvent::Resume);
    add("look", GrantEvent::Look);
    add("fence", GrantEvent::Fence);
    events
}

/// The stored pair was issued at minute 0 and stored a minute later.
fn connects(grant: &Grant) -> [(&'static str, Connect); 8] {
    let alongside = |issued_at| connect(grant, minute(1), issued_at);
    let again = |issued_at| Connect { is_retry: true, ..connect(grant, minute(2), issued_at) };
    [
        ("connect", alongside(minute(3))),
        ("connect, issued then", alongside(minute(0))),
        ("connect, issued earlier", alongside(minute(-1))),
        ("connect, used later", connect(grant, minute(2), minute(-1))),
        ("connect, again", again(minute(0))),
        ("connect, again, later", again(minute(3))),
        ("connect, removed since", Connect { removals: grant.removals.wrapping_sub(1), ..alongside(minute(3)) }),
        ("connect, same consent", Connect { consent: consent(1), ..alongside(minute(3)) }),
    ]
}

/// The stored pair was sent for at minute 60, in a rotation.
fn imports(grant: &Grant) -> [(&'static str, Import); 8] {
    let of = |issued_at| import(grant, issued_at);
    let other_epoch = grant.revision.epoch.wrapping_sub(1);
    [
        ("import", of(Some(minute(61)))),
        ("import, issued then", of(Some(minute(60)))),
        ("import, of unknown date", of(None)),
        ("import, other epoch", Import { epoch: other_epoch, ..of(Some(minute(61))) }),
        ("import, same import", Import { id: consent(1), ..of(Some(minute(61))) }),
        ("import, stored before", Import { id: consent(4), ..of(Some(minute(61))) }),
        ("import, dated ahead", of(Some(later(now(), 6 * MINUTE)))),
        ("import, ended", Import { pair: ending(PairRefresh::New(Some(30 * MINUTE))), ..of(Some(minute(61))) }),
    ]
}

/// The pair that is imported, with this refresh token.
fn ending(refresh: PairRefresh) -> PairTimes {
    PairTimes { refresh, ..pair(minute(70)) }
}

/// The full expectation behind a cell of the table for this state and event. The mark after a commit has a table of its
/// own.
fn expectation(cell: &str, before: &Grant, event: &GrantEvent) -> Result<Step, StepRefusal> {
    let step = |grant| Step {
        name: event_name(event),
        grant,
        tokens: TokensEffect::Keep,
        events: Vec::new(),
        announce: false,
        depends_on_time: false,
        keeps_wake: false,
    };
    match (cell, event) {
        ("connected", GrantEvent::Connect(connect)) => Ok(opens(step(connected(before, connect)), &connect.actor)),
        ("imported", GrantEvent::Import(import)) => Ok(opens(step(imported(before, import)), &import.actor)),
        ("claimed" | "taken over", GrantEvent::Claim { attempt, .. }) => {
            let phase = Phase::Claimed { attempt: *attempt, at: now(), lease_until: later(now(), LEASE) };
            let unanswered = if cell == "claimed" { before.unanswered } else { with_holder(before) };
            let grant = Grant { phase, unanswered, ..before.clone() };
            Ok(Step { depends_on_time: true, keeps_wake: true, ..step(grant) })
        }
        ("released", _) => {
            let grant = Grant { phase: Phase::Idle, retry_at: None, ..before.clone() };
            Ok(Step { depends_on_time: true, ..step(grant) })
        }
        ("committed", GrantEvent::Commit { claim, .. }) => {
            Ok(stores(step(committed(before, claim)), EventKind::Refreshed, claim))
        }
        ("recovered", GrantEvent::Commit { claim, .. }) => {
            Ok(stores(step(committed(before, claim)), EventKind::Recovered, claim))
        }
        ("waits", GrantEvent::Unanswered { evidence, .. }) => {
            let lease_until = before.phase.lease_until().unwrap();
            let grant = Grant {
                phase: Phase::InDoubt { lease_until },
                unanswered: with_holder(before),
                failures: 1,
                retry_at: Some(later(lease_until, Duration::from_secs(1))),
                ..before.clone()
            };
            let event = EventContent::new(EventKind::RefreshUnanswered).with_evidence(of_holder(evidence));
            Ok(Step { events: vec![event], ..step(grant) })
        }
        ("judged", GrantEvent::Refused { evidence, .. }) => Ok(judged(step(before.clone()), &of_holder(evidence))),
        ("removed", GrantEvent::Remove { actor }) => {
            let event = EventContent::new(EventKind::Removed).with_actor(actor.clone());
            Ok(Step { tokens: TokensEffect::Erase, events: vec![event], announce: true, ..step(removed(before)) })
        }
        ("marked", _) => {
            let unanswered = Some(Unanswered { attempt: None, echo_until: minute(90) });
            Ok(Step { keeps_wake: true, ..step(Grant { unanswered, ..before.clone() }) })
        }
        ("told", _) => {
            let refresh_end = before.tokens.unwrap().refresh_end();
            let grant = Grant { notified: Some(Notified { refresh_end, notice: NOTICE }), ..before.clone() };
            let events = vec![EventContent::new(EventKind::ExpiringSoon)];
            Ok(Step { events, depends_on_time: true, ..step(grant) })
        }
        ("resumed", _) => Ok(Step { depends_on_time: true, ..step(Grant { retry_at: None, ..before.clone() }) }),
        ("unchanged", GrantEvent::Look) => Ok(Step { depends_on_time: true, ..step(before.clone()) }),
        ("unchanged", GrantEvent::Fence) => Ok(Step { keeps_wake: true, ..step(before.clone()) }),
        (refusal, _) => Err(refusal_of_name(refusal)),
    }
}

fn connected(before: &Grant, connect: &Connect) -> Grant {
    Grant {
        revision: Revision { epoch: before.revision.epoch + 1, version: 1 },
        standing: Standing::Authenticated,
        removals: before.removals,
        opt_in: Some(connect.consent),
        imported: before.imported,
        issued_at: before.issued_at.max(Some(connect.issued_at)),
        client_id: Some(CLIENT.to_owned()),
        actor: Some(connect.actor.clone()),
        authenticated_at: Some(now()),
        tokens: opted_in(connect.pair.sent_at).tokens,
        ..Grant::default()
    }
}

fn imported(before: &Grant, import: &Import) -> Grant {
    Grant {
        revision: Revision { epoch: before.revision.epoch + 1, version: 1 },
        standing: Standing::Authenticated,
        suspect_until: Some(now()),
        removals: before.removals,
        opt_in: Some(import.id),
        imported: Some(import.id),
        issued_at: before.issued_at.max(import.issued_at),
        client_id: Some(CLIENT.to_owned()),
        actor: Some(import.actor.clone()),
        authenticated_at: Some(now()),
        tokens: opted_in(import.pair.sent_at).tokens,
        ..Grant::default()
    }
}

fn removed(before: &Grant) -> Grant {
    let revision = Revision { epoch: before.revision.epoch + 1, version: 0 };
    Grant { revision, removals: before.removals + 1, ..Grant::default() }
}

fn opens(step: Step, actor: &ActorId) -> Step {
    let event = EventContent::new(EventKind::Authenticated).with_actor(actor.clone());
    Step { tokens: TokensEffect::Replace, events: vec![event], announce: true, ..step }
}

fn committed(before: &Grant, claim: &Claim) -> Grant {
    Grant {
        revision: Revision { epoch: before.revision.epoch, version: claim.revision.version + 1 },
        standing: Standing::Authenticated,
        phase: Phase::Idle,
        unanswered: None,
        rotated_by: Some(claim.attempt),
        tokens: opted_in(minute(99)).tokens,
        failures: 0,
        retry_at: None,
        quarantine: None,
        ..before.clone()
    }
}

fn stores(step: Step, kind: EventKind, claim: &Claim) -> Step {
    let event = EventContent::new(kind).with_evidence(Evidence::default().with_attempt(claim.attempt));
    Step { tokens: TokensEffect::Replace, events: vec![event], announce: true, ..step }
}

fn judged(step: Step, evidence: &Evidence) -> Step {
    let is_marked = step.grant.unanswered.is_some() || step.grant.suspect_until.is_some();
    let (cause, kind, tokens) = match is_marked {
        true => (RecordedCause::RotationLost, CauseKind::RotationLost, TokensEffect::KeepAccess),
        false => (RecordedCause::OptInInvalidated, CauseKind::OptInInvalidated, TokensEffect::Erase),
    };
    let grant = Grant {
        standing: Standing::ReauthRequired(cause),
        phase: Phase::Idle,
        // No second opinions here: the refresh token is erased at once.
        tokens: step
            .grant
            .tokens
            .filter(|_| is_marked)
            .map(|tokens| TokenTimes { refresh_token_end: RefreshTokenEnd::Absent, ..tokens }),
        refusal: Some(RecordedRefusal { at: now(), evidence: evidence.clone() }),
        quarantine: Some(Quarantine { refusals: 0, until: minute(120), is_over: true }).filter(|_| is_marked),
        ..step.grant.clone()
    };
    let event = EventContent::new(EventKind::Invalidated).with_evidence(evidence.clone()).with_cause(kind);
    Step { grant, tokens, events: vec![event], announce: true, ..step }
}

/// The mark after the holder's attempt has become doubtful as well.
fn with_holder(before: &Grant) -> Option<Unanswered> {
    let Phase::Claimed { at, .. } = before.phase else { panic!("nobody holds it") };
    let several = before.unanswered.is_some_and(|unanswered| unanswered.attempt.is_none());
    Some(Unanswered { attempt: Some(holder()).filter(|_| !several), echo_until: later(at, 10 * MINUTE) })
}

fn of_holder(evidence: &Evidence) -> Evidence {
    evidence.clone().with_attempt(holder())
}

fn refusal_of_name(name: &str) -> StepRefusal {
    use StepRefusal::*;
    let of_opt_ins = [RemovedSince, AlreadyStored, Superseded, IssuedAhead, Ended];
    let all = [Stale, NotHolder, Leased, Paused, NotAuthenticated, Unchanged].into_iter().chain(of_opt_ins);
    let mut all = all;
    all.find(|refusal| format!("{refusal:?}") == name).unwrap_or_else(|| panic!("{name:?}"))
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
            let mut expected = expectation(cell, &state, &event);

            let step = state.on(&event, &pauses(), now());

            if let (GrantEvent::Commit { .. }, Ok(expected), Ok(step)) = (&event, &mut expected, &step) {
                expected.grant.suspect_until = step.grant.suspect_until;
            }
            assert_eq!(step, expected, "{row:?} in {column:?}: {state:?}");

            used.insert((row, column));
            pairs += 1;
        }
    }
    assert_eq!(used.len(), cells.len(), "every cell of the table is a case");
    assert_eq!(pairs, 9 * cells.len());
}

#[test]
fn only_what_changes_the_tokens_that_caches_hand_out_is_announced() {
    for (column, state) in states() {
        for (row, event) in events(&state) {
            let Ok(step) = state.on(&event, &pauses(), now()) else { continue };
            let kind = event_name(&event);
            let announces = ["connect", "import", "commit", "refused", "remove"].contains(&kind);

            assert_eq!(step.announce, announces, "{row:?} in {column:?}");
            assert!(!step.announce || !step.events.is_empty(), "an announcement is an event: {row:?} in {column:?}");
        }
    }
}

#[test]
fn a_count_of_removals_that_is_full_stops_no_removal() {
    let grant = Grant { removals: u64::MAX, ..Grant::default() };

    let step = grant.on(&GrantEvent::Remove { actor: actor() }, &pauses(), minute(0)).unwrap();

    assert_ne!(step.grant.removals, grant.removals, "a consent that began before is refused");
}
