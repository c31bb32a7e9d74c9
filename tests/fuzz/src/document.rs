//! Documents stored by another release, or changed by hand.

use std::time::Duration;

use batchsuite_auth::{
    ActorId,
    clock::Timestamp,
    events::Evidence,
    ids::{AttemptId, ConsentId, Revision},
    machine::Backoff,
    test_util::machine::{
        ClientRecord, Connect, Demand, Flight, FlightEvent, Grant, GrantEvent, Import, Mode, Notice, Obstacle,
        PairRefresh, PairTimes, Patience, Pauses, Read, Release, Settings, Stopping,
    },
};
use serde_json::{Map, Value};

use crate::input::parts;

const HOUR: Duration = Duration::from_secs(3600);

/// Input: options, then the document of a company's grant. The options set the time of reading (`a` 1970, `c` 2200,
/// otherwise 2026) and the revision (`z` the last possible one, otherwise a small one).
///
/// - A document that is not an object is refused. An accepted document can be written, reads back as the same grant,
///   and is written identically the second time.
/// - Each field unknown to this release is written back unchanged. Each known field is written, or has its default.
/// - Whatever the document contains, no step, query or flight of the machine panics. The grant after a step can be
///   stored, has no lower revision, and keeps its unknown fields.
pub fn stored_grant(data: &[u8]) {
    let [options, document] = parts::<2>(data);
    let Ok(json) = std::str::from_utf8(document) else { return };
    let revision = if options.contains(&b'z') { last() } else { Revision { epoch: 3, version: 7 } };
    let Ok(grant) = Grant::of_document(json, revision) else { return };
    let written = grant.document().unwrap_or_else(|error| panic!("the document cannot be written again: {error}"));
    let again = Grant::of_document(&written, revision)
        .unwrap_or_else(|error| panic!("the written document cannot be read: {error}"));
    assert_eq!(again, grant);
    assert_eq!(again.document().ok(), Some(written.clone()));
    keeps_unknown_fields(json, &written, &grant.unknown);
    let now = match options {
        _ if options.contains(&b'a') => seconds(0),
        _ if options.contains(&b'c') => seconds(7_258_118_400),
        _ => seconds(1_767_225_600),
    };
    can_be_worked_with(&grant, now);
}

/// The last revision that a store can keep: its columns are signed 64-bit integers.
fn last() -> Revision {
    let most = i64::MAX.unsigned_abs();
    Revision { epoch: most - 1, version: most - 1 }
}

/// Input: the document of a client row.
///
/// - An accepted document can be written, and reads back as the same record.
/// - Each field unknown to this release is written back unchanged.
/// - No query of the machine panics, and no step loses an unknown field.
pub fn stored_client(data: &[u8]) {
    let Ok(json) = std::str::from_utf8(data) else { return };
    let Ok(record) = ClientRecord::of_document(json) else { return };
    let written = record.document().unwrap_or_else(|error| panic!("the document cannot be written again: {error}"));
    let again = ClientRecord::of_document(&written)
        .unwrap_or_else(|error| panic!("the written document cannot be read: {error}"));
    assert_eq!(again, record);
    keeps_unknown_fields(json, &written, &record.unknown);
    for now in [0, 1_767_225_600, 7_258_118_400].map(seconds) {
        use batchsuite_auth::test_util::machine::{Announcement, Restore};
        match record.announce("fuzz-client", now) {
            Announcement::First(next) | Announcement::Changed(next) => assert_eq!(next.unknown, record.unknown),
            Announcement::Known => assert_eq!(record.client_id.as_deref(), Some("fuzz-client")),
        }
        if let Restore::Begins { record: next, .. } = record.begin_restore(now) {
            assert_eq!(next.unknown, record.unknown);
            assert_eq!(next.end_restore(now).map(|next| next.unknown), Some(record.unknown.clone()));
        }
        record.is_listed_for("fuzz-client", now);
    }
}

/// The written document contains each unknown field unchanged, and each known field that does not have its default.
fn keeps_unknown_fields(read: &str, written: &str, unknown: &Map<String, Value>) {
    // A number outside the range of `f64` in an unknown part of a known field: that part is not written back.
    let Ok(read) = serde_json::from_str::<Map<String, Value>>(read) else { return assert!(unknown.is_empty()) };
    let written: Map<String, Value> = serde_json::from_str(written).unwrap_or_else(|error| panic!("{error}"));
    for (name, value) in unknown {
        assert_eq!((read.get(name), written.get(name)), (Some(value), Some(value)), "{name} is changed");
    }
    for (name, value) in &read {
        let is_left_out = matches!(value, Value::Null) || *value == 0 || *value == "idle";
        assert!(written.contains_key(name) || is_left_out && KNOWN.contains(&name.as_str()), "{name} is lost");
    }
}

/// The fields of both documents that are omitted at their default.
const KNOWN: [&str; 18] = [
    "phase",
    "unanswered",
    "suspect_until",
    "removals",
    "opt_in",
    "rotated_by",
    "issued_at",
    "client_id",
    "actor",
    "authenticated_at",
    "tokens",
    "failures",
    "retry_at",
    "refusal",
    "quarantine",
    "notified",
    "announced_at",
    "restored_at",
];

fn can_be_worked_with(grant: &Grant, now: Timestamp) {
    let settings = settings();
    for obstacle in [None, Some(Obstacle::Blocked), Some(Obstacle::Unreadable), Some(Obstacle::Damaged)] {
        grant.chore(Some(now), obstacle, &settings, true, now);
    }
    grant.wake(Some(now), &settings, now);
    grant.listed_as(&settings, now);
    for demand in [Demand::Token, Demand::Rejected(grant.revision), Demand::Renew(grant.revision)] {
        grant.access("fuzz-client", demand, now);
        for mode in [Mode::Foreground, Mode::Background] {
            fly(grant, demand, mode, now);
        }
    }
    for event in events(grant, now) {
        let Ok(step) = grant.on(&event, &settings.pauses, now) else { continue };
        assert!(step.grant.revision >= grant.revision, "{} lowers the revision", step.name);
        assert_eq!(step.grant.unknown, grant.unknown, "{} loses unknown fields", step.name);
        let document = step.grant.document().unwrap_or_else(|error| panic!("{} cannot be stored: {error}", step.name));
        let again =
            Grant::of_document(&document, step.grant.revision).unwrap_or_else(|error| panic!("{}: {error}", step.name));
        assert_eq!(again, step.grant, "{} is stored differently", step.name);
        let step = step.with_notice_that_holds(&settings, now);
        step.wake(Some(now), Some(now), &settings, now);
    }
}

fn fly(grant: &Grant, demand: Demand, mode: Mode, now: Timestamp) {
    let mut flight = Flight::new(demand, mode, patience());
    for flown in [Duration::ZERO, HOUR] {
        let read = Read {
            grant,
            client_id: "fuzz-client",
            seen: grant.revision,
            is_readable: true,
            is_reserved: false,
            flown,
            stopping: Stopping::No,
            client_fault: None,
        };
        flight.next(FlightEvent::Read(read), now);
        flight.next(FlightEvent::Lost, now);
        flight.next(FlightEvent::Late, now);
    }
}

fn events(grant: &Grant, now: Timestamp) -> Vec<GrantEvent> {
    let id = ConsentId::from_bits(42);
    let actor = ActorId::new("alice").unwrap_or_else(|error| panic!("{error}"));
    let client_id = "fuzz-client".to_owned();
    let pair = PairTimes {
        sent_at: now,
        access_lifetime: Some(HOUR),
        refresh_after: HOUR / 2,
        refresh: PairRefresh::New(None),
    };
    let (removals, epoch) = (grant.removals, grant.revision.epoch);
    let connect = Connect {
        consent: id,
        removals,
        used_at: now,
        issued_at: now,
        is_retry: false,
        actor: actor.clone(),
        client_id: client_id.clone(),
        pair,
    };
    let import = Import { id, epoch, actor: actor.clone(), client_id, issued_at: None, pair };
    let claim = grant.claim_of(grant.phase.claimed_by().unwrap_or(AttemptId::from_bits(7)));
    let evidence = || Evidence::message("fuzz");
    let mut events = vec![
        GrantEvent::Connect(connect.into()),
        GrantEvent::Import(import.into()),
        GrantEvent::Claim { attempt: AttemptId::from_bits(8), lease: HOUR },
        GrantEvent::Commit { claim, pair, jitter: 0.5 },
        GrantEvent::Commit {
            claim,
            pair: PairTimes { access_lifetime: None, refresh: PairRefresh::Lost, ..pair },
            jitter: 1.0,
        },
        GrantEvent::Unanswered { claim, evidence: evidence(), is_outage: false, jitter: 0.5 },
        GrantEvent::Refused { claim, evidence: evidence() },
        GrantEvent::Remove { actor },
        GrantEvent::Restore { at: now },
        GrantEvent::Notify(Notice::ExpiringSoon { within: 60 }),
        GrantEvent::Erase,
        GrantEvent::Look,
        GrantEvent::Fence,
    ];
    let reasons = [
        Release::Unsent(HOUR),
        Release::NotSent(evidence()),
        Release::RateLimited(HOUR),
        Release::Misconfigured(evidence()),
        Release::Unknown(evidence()),
    ];
    events.extend(reasons.map(|reason| GrantEvent::Release { claim, reason, jitter: 1.0 }));
    events
}

fn settings() -> Settings {
    let pause = Backoff { first: Duration::from_secs(2), most: HOUR };
    Settings {
        client_id: "fuzz-client".to_owned(),
        fresh_if_used_within: 24 * HOUR,
        keep_alive_before_end: 7 * 24 * HOUR,
        warnings: vec![14 * 24 * HOUR, 24 * HOUR],
        pauses: Pauses { refresh: pause, probe: pause, unusable: pause, second_opinions: vec![HOUR, 24 * HOUR] },
    }
}

fn patience() -> Patience {
    let refresh_pause = Backoff { first: Duration::from_secs(2), most: HOUR };
    Patience { lease: HOUR / 60, max_wait: HOUR / 360, commit_retry: HOUR / 3600, refresh_pause }
}

fn seconds(since_1970: i64) -> Timestamp {
    Timestamp::from_timestamp(since_1970, 0).unwrap_or_default()
}
