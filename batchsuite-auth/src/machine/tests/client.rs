//! The client row: the announced client id and a restore under way.

use super::{super::*, *};

fn announced(client_id: &str, at: Timestamp) -> ClientRecord {
    ClientRecord { client_id: Some(client_id.to_owned()), announced_at: Some(at), ..ClientRecord::default() }
}

#[test]
fn another_client_id_is_announced_once() {
    let (first, other) = (announced("first", day(0)), announced("other", day(9)));

    assert_eq!(ClientRecord::default().announce("first", day(0)), Announcement::First(Box::new(first.clone())));
    assert_eq!(first.announce("first", day(9)), Announcement::Known);
    assert_eq!(first.announce("other", day(9)), Announcement::Changed(Box::new(other.clone())));
    assert_eq!(other.announce("first", day(10)), Announcement::Changed(Box::new(announced("first", day(10)))));
}

#[test]
fn a_record_is_what_its_document_says_with_the_fields_of_a_newer_release() {
    let json = r#"{"announced_at":86400000000,"client_id":"first","later":[1],"restored_at":172800000000}"#;
    let day = |number: u64| later(Timestamp::UNIX_EPOCH, Duration::from_secs(number * 86_400));

    let record = ClientRecord::of_document(json).unwrap();

    assert_eq!((record.client_id.as_deref(), record.announced_at), (Some("first"), Some(day(1))));
    assert_eq!(record.restored_at, Some(day(2)));
    let written: serde_json::Value = serde_json::from_str(&record.document().unwrap()).unwrap();
    assert_eq!(written, serde_json::from_str::<serde_json::Value>(json).unwrap());
    assert!(ClientRecord::of_document("[]").is_err());
}

#[test]
fn lists_go_by_the_names_when_every_grant_has_woken_since_the_announcement() {
    let record = announced("first", day(0));
    for (client_id, at, expected) in
        [("first", day(2), true), ("first", earlier(day(2), MINUTE), false), ("other", day(9), false)]
    {
        assert_eq!(record.is_listed_for(client_id, at), expected, "{client_id} {at}");
    }
    assert!(!ClientRecord::default().is_listed_for("first", day(9)));
}

#[test]
fn an_announcement_that_a_wrong_clock_dated_is_dated_anew_and_told_to_nobody() {
    let ahead = announced("first", day(365));
    assert_eq!(ahead.announce("first", day(0)), Announcement::First(Box::new(announced("first", day(0)))));
    assert_eq!(
        announced("first", minute(5)).announce("first", minute(0)),
        Announcement::Known,
        "clocks differ a little"
    );
}

#[test]
fn a_restore_begins_once_and_goes_on_with_its_time_until_it_ends() {
    let unknown = serde_json::from_str(r#"{"later": [1]}"#).unwrap();
    let before = ClientRecord { unknown, ..announced("first", day(0)) };
    let marking = |at| ClientRecord { restored_at: Some(at), ..before.clone() };
    let begins = || Restore::Begins { at: day(9), record: Box::new(marking(day(9))) };

    // The record; what a restore on day 9 does to it; and what the end of the marking of day 9 does to it.
    for (record, begun, ended) in [
        (before.clone(), begins(), None),
        (marking(day(9)), Restore::GoesOn { at: day(9) }, Some(before.clone())),
        (marking(later(day(8), MINUTE)), Restore::GoesOn { at: later(day(8), MINUTE) }, None),
        // It belongs to another restore.
        (marking(day(8)), begins(), None),
        // It was dated by a clock that has since been set back.
        (marking(day(365)), begins(), None),
    ] {
        assert_eq!(record.begin_restore(day(9)), begun, "{record:?}");
        assert_eq!(record.end_restore(day(9)), ended, "{record:?}");
    }
}

#[test]
fn an_outage_at_ups_is_recorded_once_and_so_is_its_end() {
    let before = announced("first", day(0));
    let away = before.out_of_reach(day(1)).unwrap();

    assert_eq!(away, ClientRecord { out_of_reach_since: Some(day(1)), ..before.clone() });
    assert_eq!(away.out_of_reach(day(2)), None, "another process has told it");
    let read = ClientRecord::of_document(&away.document().unwrap()).unwrap();
    assert_eq!(read.in_reach(), Some(before.clone()));
    assert_eq!(before.in_reach(), None);
}
