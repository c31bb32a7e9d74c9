//! Clauses of [`Store::save`]: the swap itself. Other files cover tokens, wake times and the feed.

use serde_json::json;

use super::case::*;
use crate::store::MOST_AGE;

pub(super) async fn stores_the_document_whole(case: Case) {
    let whole = json!({
        "text": "quoted \"\\ / 漢字 😀 \u{7f} \u{301}", "": "no name", "long": "x".repeat(64 * 1024),
        "numbers": [0, -1, i64::MIN, u64::MAX, 0.5], "nested": {"b": [[], {}, [{"c": null}]], "a": [true, false]},
    });

    let row = case.saved(Swap { document: document(&whole), ..swap(&case.load(&acme()).await) }).await;
    assert!(json(&row) == whole, "the document came back changed");

    let row = case.saved(Swap { document: document(&json!({"b": 1})), ..swap(&row) }).await;
    assert_eq!(json(&row), json!({"b": 1}), "a document is replaced, never merged");
}

pub(super) async fn stores_the_revision_that_it_is_given(case: Case) {
    for (epoch, version) in [(7, 41), (8, 0), (3, 2), (u64::from(u32::MAX), u64::from(u32::MAX))] {
        let revision = Revision { epoch, version };

        let row = case.saved(Swap { revision, ..replacing(&case.load(&acme()).await) }).await;

        assert_eq!(row.revision, revision);
        assert!(secrets(&row).is_some(), "tokens are sealed for the saved revision");
        assert_eq!(case.latest(&acme()).await.revision, revision);
    }
}

pub(super) async fn over_another_number_is_a_conflict_and_stores_nothing(case: Case) {
    let stale = case.opted_in(&acme()).await;
    let row = case.saved(swap(&stale)).await;

    for expected in [stale.number.number(), row.number.number() - 1, row.number.number() + 1, 0] {
        case.conflicts(Swap { expected: RowNumber::new(expected), ..replacing(&row) }).await;
    }
}

pub(super) async fn over_the_number_of_another_row_is_a_conflict_and_stores_nothing(case: Case) {
    let row = case.opted_in(&acme()).await;
    for key in [company("other"), elsewhere(&acme()), RowKey::client(Environment::Cie)] {
        let first = Swap { tokens: TokenChange::Keep, ..replacing(&case.load(&key).await) };
        let mut other = case.saved(first).await;
        // The clock may stand still.
        if other.number == row.number {
            other = case.saved(swap(&other)).await;
        }

        case.conflicts(Swap { expected: other.number, ..replacing(&row) }).await;
    }
}

pub(super) async fn changes_no_other_row(case: Case) {
    let others = case.others_than_acme().await;

    let row = case.opted_in(&acme()).await;
    case.saved(replacing(&row)).await;

    case.unchanged(others).await;
}

/// A row that another verb made is saved for the first time as one that is not there.
pub(super) async fn of_a_company_that_was_only_seen_stores_everything(case: Case) {
    let keys = [company("new"), company("seen")];
    case.put(&consent(&keys[1], &actor("alice"))).await;
    for key in keys {
        let read = case.load(&key).await;
        let at = later(read.as_of, HOUR);
        let swap = Swap {
            decided_at: Some(read.as_of),
            listed_as: ListedAs::ReauthRequired,
            wake: wake(later(at, HOUR), at),
            ..replacing(&read)
        };
        let expected = swap.clone();

        let (number, change, _) = yes(case.save(swap).await);

        let saved = case.load(&key).await;
        assert!(number > read.number);
        assert_eq!((saved.number, saved.change, saved.revision), (number, change, expected.revision));
        assert_eq!(change, case.latest(&key).await.id);
        assert_eq!(json(&saved)["pair"], expected.revision.to_string());
        assert_about(saved.wake_at, later(at, HOUR));
        case.used(&key).await;
        assert_about(case.load(&key).await.wake_at, at);
        let query = ListQuery { listed_as: Some(vec![ListedAs::ReauthRequired]), ..list() };
        assert!(names(&case.listed(query).await).contains(&key.name()));
    }
}

pub(super) async fn of_a_row_that_was_never_saved_is_a_conflict_over_any_number(case: Case) {
    let seen = company("seen");
    case.put(&consent(&seen, &actor("alice"))).await;

    for key in [acme(), seen, RowKey::client(Environment::Cie)] {
        let row = case.load(&key).await;
        case.conflicts(Swap { expected: RowNumber::new(1), tokens: TokenChange::Keep, ..replacing(&row) }).await;
    }
}

pub(super) async fn of_64_at_once_exactly_one_succeeds(case: Case) {
    let row = case.opted_in(&acme()).await;
    exactly_one_of_64(&case, &row, TokenChange::Replace(pair("new"))).await;
}

pub(super) async fn of_64_first_saves_at_once_exactly_one_succeeds(case: Case) {
    let row = case.load(&acme()).await;
    exactly_one_of_64(&case, &row, TokenChange::Replace(pair("new"))).await;
}

pub(super) async fn of_64_of_the_client_row_at_once_exactly_one_succeeds(case: Case) {
    let row = case.load(&RowKey::client(Environment::Cie)).await;
    exactly_one_of_64(&case, &row, TokenChange::Keep).await;
}

/// Only the winner's document and event are stored.
async fn exactly_one_of_64(case: &Case, row: &Row, tokens: TokenChange) {
    let events = case.log(row.key.environment).await.len();

    let answers = case
        .at_once(64, |store, number| {
            let event = EventContent { actor: Some(actor(number.to_string())), ..event(EventKind::Refreshed) };
            let document = document(&json!({ "winner": number.to_string() }));
            let swap = Swap { document, events: vec![event], tokens: tokens.clone(), ..replacing(row) };
            async move { store.save(swap).await }
        })
        .await;

    let won: Vec<_> = answers.into_iter().filter(|saved| *saved != Saved::Conflict).map(yes).collect();
    let [(number, change, _)] = won[..] else { panic!("{} saves succeeded", won.len()) };
    let (after, log) = (case.load(&row.key).await, case.log(row.key.environment).await);
    assert_eq!((after.number, after.change), (number, change));
    let [last] = &log[events..] else { panic!("{} events for one save", log.len() - events) };
    let winner = last.actor.as_ref().map(ActorId::as_str);
    assert_eq!(json(&after)["winner"].as_str(), winner);
}

/// Writers that read again after a conflict lose no update.
pub(super) async fn writers_who_read_again_lose_no_update(case: Case) {
    case.at_once(16, |store, _| async move {
        loop {
            let row = store.load(&acme()).await?;
            let count = json(&row)["count"].as_u64().unwrap_or_default();
            let document = document(&json!({ "count": count + 1 }));
            if store.save(Swap { document, ..swap(&row) }).await? != Saved::Conflict {
                return Ok(());
            }
        }
    })
    .await;

    assert_eq!(json(&case.load(&acme()).await)["count"], 16);
}

pub(super) async fn a_decision_6_seconds_old_is_a_conflict_and_stores_nothing(case: Case) {
    for key in [company("never-saved"), acme(), RowKey::client(Environment::Cie)] {
        let row = case.load(&key).await;
        case.advance(MOST_AGE + SECOND).await;
        let late = Swap { decided_at: Some(row.as_of), tokens: TokenChange::Keep, ..replacing(&row) };
        case.conflicts(late.clone()).await;

        let row = case.saved(Swap { decided_at: None, ..late.clone() }).await;
        case.conflicts(Swap { expected: row.number, ..late }).await;
    }
}

pub(super) async fn a_decision_dated_6_seconds_ahead_is_a_conflict_and_stores_nothing(case: Case) {
    // A running clock gets no nearer to the limit than 3 seconds.
    let ahead = MOST_AGE + 3 * SECOND;
    let row = case.opted_in(&acme()).await;
    case.conflicts(Swap { decided_at: Some(later(row.as_of, ahead)), ..replacing(&row) }).await;

    let row = case.load(&acme()).await;
    case.set_back(ahead).await;
    case.conflicts(Swap { decided_at: Some(row.as_of), ..replacing(&row) }).await;
}

pub(super) async fn a_decision_within_5_seconds_is_stored(case: Case) {
    let mut row = case.opted_in(&acme()).await;
    for decided_at in [row.as_of, earlier(row.as_of, 2 * SECOND), later(row.as_of, 2 * SECOND)] {
        row = case.saved(Swap { decided_at: Some(decided_at), ..replacing(&row) }).await;
    }
}

pub(super) async fn without_a_time_of_decision_it_is_not_judged_by_age(case: Case) {
    let row = case.opted_in(&acme()).await;

    case.advance(DAY).await;

    case.saved(replacing(&row)).await;
}

pub(super) async fn the_number_goes_up_and_is_not_below_the_microseconds_since_1970(case: Case) {
    let mut before = case.load(&acme()).await;
    for round in 0..20 {
        let (number, _, at) = yes(case.save(swap(&before)).await);
        assert!(number > before.number, "{number:?} after {:?}", before.number);
        let microseconds = u64::try_from(at.timestamp_micros()).expect("a time after 1970");
        assert!(number.number() >= microseconds, "{number:?} at {at}");
        assert_about(at, before.as_of);
        before = case.load(&acme()).await;
        if round % 5 == 0 {
            case.advance(SECOND).await;
        }
    }
}

pub(super) async fn the_number_goes_up_also_when_the_clock_is_set_back(case: Case) {
    let mut before = case.opted_in(&acme()).await;
    for _ in 0..3 {
        case.set_back(DAY).await;
        let after = case.saved(swap(&before)).await;
        assert!(after.number > before.number, "{:?} after {:?}", after.number, before.number);
        before = after;
    }
}

pub(super) async fn its_events_follow_each_other_with_time_company_and_revision(case: Case) {
    let kinds = [EventKind::Authenticated, EventKind::OddAnswer, EventKind::ExpiringSoon];
    for most in 1..=3 {
        let row = case.load(&acme()).await;
        let events = kinds[..most].iter().copied().map(event).collect();
        let before = case.history(&acme()).await.len();

        let row = case.saved(Swap { events, ..replacing(&row) }).await;

        let written = case.history(&acme()).await.split_off(before);
        assert!(written.is_sorted_by_key(|event| event.id));
        assert_eq!(written.iter().map(|event| event.kind).collect::<Vec<_>>(), kinds[..most]);
        for event in &written {
            assert_eq!(
                (event.environment, &event.company, event.revision),
                (Environment::Cie, &row.key.company, row.revision)
            );
            assert_about(event.at, row.as_of);
        }
        assert_eq!(written.last().map(|event| event.id), Some(row.change));
    }
}

pub(super) async fn of_more_events_than_three_is_rejected_and_stores_nothing(case: Case) {
    for key in [company("never-saved"), acme()] {
        let before = case.load(&key).await;
        let events = vec![event(EventKind::Refreshed); MOST_EVENTS + 1];

        let refused = case.store.save(Swap { events, ..replacing(&before) }).await;

        assert_eq!(refused.map_err(|error| error.kind()), Err(StoreErrorKind::Rejected));
        assert_same(&before, &case.load(&key).await);
        assert!(case.log(Environment::Cie).await.iter().all(|event| event.company != key.company));
    }
}

pub(super) async fn without_events_it_writes_none(case: Case) {
    let row = case.opted_in(&acme()).await;
    let before = case.log(Environment::Cie).await;

    case.saved(swap(&row)).await;

    assert_eq!(case.log(Environment::Cie).await, before);
}

pub(super) async fn every_sort_of_event_is_kept_whole(case: Case) {
    for event in all_sorts_of_events() {
        let row = case.load(&acme()).await;
        case.saved(Swap { events: vec![event.clone()], ..swap(&row) }).await;

        assert_eq!(written_as(case.latest(&acme()).await), event);
    }
}

/// A dropped call either saves completely or not at all. A second save over the same read shows which: afterwards, a
/// first save still in progress can only conflict.
pub(super) async fn one_that_was_cut_off_happened_or_did_not_wholly(case: Case) {
    let mut before = case.opted_in(&acme()).await;
    for round in 0..60 {
        let events = case.history(&acme()).await.len();
        let cut = replacing(&before);
        polled(case.store.save(cut.clone()), 1 + round % 15).await;

        let (after, fenced) = loop {
            let read = case.load(&acme()).await;
            if case.save(swap(&read)).await != Saved::Conflict {
                break (read, case.load(&acme()).await);
            }
        };

        let written = case.history(&acme()).await.split_off(events);
        assert_eq!((json(&fenced), secrets(&fenced), fenced.revision), (json(&after), secrets(&after), after.revision));
        if after.number == before.number {
            assert_same(&before, &after);
            assert!(written.is_empty(), "the event is stored without its save");
        } else {
            assert_eq!(
                (json(&after)["pair"].as_str(), after.revision),
                (Some(&*cut.revision.to_string()), cut.revision)
            );
            assert_eq!(secrets(&after), Some(secrets_of(&pair(cut.revision))));
            assert_eq!(written.iter().map(|event| event.id).collect::<Vec<_>>(), [after.change]);
        }
        before = fenced;
    }
}
