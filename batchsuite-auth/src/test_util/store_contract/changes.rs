//! Clauses of [`Store::changes`] and of the announcements of saves.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::case::*;

const NOW: Duration = Duration::ZERO;

/// The row's latest change number, if the feed reports one after the cursor.
async fn told(case: &Case, after: EventId, key: &RowKey) -> Option<EventId> {
    let changes = case.changes(after, NOW).await;
    changes.changed.into_iter().filter(|(company, _)| *company == id(key)).map(|(_, change)| change).max()
}

pub(super) async fn without_a_cursor_it_gives_the_present_one_at_once(case: Case) {
    let empty = case.cursor().await;
    let row = case.opted_in(&acme()).await;

    let first = tokio::time::timeout(LONG, case.store.changes(Environment::Cie, None, 100 * LONG)).await;

    let first = done(first.expect("the call does not wait"));
    assert!(first.changed.is_empty());
    assert!(first.cursor >= row.change && row.change > empty);
    assert!(case.changes(first.cursor, NOW).await.changed.is_empty());
}

pub(super) async fn every_announced_save_is_told_by_the_next_call(case: Case) {
    for _ in 0..20 {
        let after = case.cursor().await;

        let row = case.opted_in(&acme()).await;

        assert_eq!(told(&case, after, &acme()).await, Some(row.change));
    }
}

pub(super) async fn a_first_save_that_does_not_announce_leaves_change_and_feed_alone(case: Case) {
    let start = case.cursor().await;
    for key in [acme(), RowKey::client(Environment::Cie)] {
        let silent = Swap { announce: false, tokens: TokenChange::Keep, ..replacing(&case.load(&key).await) };

        let row = case.saved(silent).await;

        assert_eq!(row.change, EventId::START);
        assert!(case.changes(start, NOW).await.changed.is_empty());
    }
}

pub(super) async fn a_save_that_does_not_announce_leaves_change_and_feed_alone(case: Case) {
    let row = case.opted_in(&acme()).await;
    let after = case.cursor().await;

    for events in [vec![], vec![event(EventKind::RefreshFailed)]] {
        let quiet = Swap { announce: false, events, ..replacing(&case.load(&acme()).await) };
        let (_, change, _) = yes(case.save(quiet).await);

        assert_eq!((change, case.load(&acme()).await.change), (row.change, row.change));
    }
    assert!(case.changes(after, NOW).await.changed.is_empty());
    assert_eq!(told(&case, EventId::START, &acme()).await, Some(row.change));
}

pub(super) async fn other_events_are_told_as_no_change(case: Case) {
    let row = case.opted_in(&acme()).await;
    let after = case.cursor().await;

    case.append(&acme(), event(EventKind::Failed)).await;
    case.put(&consent(&acme(), &actor("alice"))).await;
    case.used(&acme()).await;
    let client = case.load(&RowKey::client(Environment::Cie)).await;
    let client = case.saved(Swap { tokens: TokenChange::Keep, ..replacing(&client) }).await;

    assert!(client.change > row.change);
    assert!(case.changes(after, NOW).await.changed.is_empty());
}

pub(super) async fn a_company_that_changed_twice_is_told_with_the_later_change(case: Case) {
    let start = case.cursor().await;
    let other = case.opted_in(&company("other")).await;
    let first = case.opted_in(&acme()).await;
    let second = case.saved(replacing(&first)).await;

    assert!(other.change < first.change && first.change < second.change);
    assert_eq!(told(&case, start, &acme()).await, Some(second.change));
    assert_eq!(told(&case, start, &company("other")).await, Some(other.change));
}

pub(super) async fn reading_on_tells_only_what_is_later_than_the_cursor(case: Case) {
    let start = case.cursor().await;
    case.opted_in(&acme()).await;
    let read = case.changes(start, NOW).await;
    let other = case.opted_in(&company("other")).await;

    let next = case.changes(read.cursor, NOW).await;

    assert_eq!(next.changed, [(id(&other.key), other.change)]);
    assert!(next.cursor >= other.change);
    assert!(case.changes(next.cursor, NOW).await.changed.is_empty());
}

/// As after a restored backup: the numbers are assigned again.
pub(super) async fn beyond_the_end_of_the_log_everything_is_told_with_a_lower_cursor(case: Case) {
    let rows = [case.opted_in(&acme()).await, case.opted_in(&company("other")).await];
    let beyond = EventId::new(rows[1].change.number() + 1_000);

    let told = tokio::time::timeout(LONG, case.changes(beyond, 100 * LONG)).await.expect("the call does not wait");

    let mut changed = told.changed;
    changed.sort();
    assert_eq!(changed, rows.each_ref().map(|row| (id(&row.key), row.change)));
    assert!(told.cursor >= rows[1].change && told.cursor < beyond, "{:?}", told.cursor);
    assert!(case.changes(told.cursor, NOW).await.changed.is_empty());
}

pub(super) async fn the_other_environment_is_apart(case: Case) {
    let start = case.cursor().await;

    case.opted_in(&elsewhere(&acme())).await;

    assert!(case.changes(start, NOW).await.changed.is_empty());
}

pub(super) async fn a_quiet_feed_answers_after_the_wait(case: Case) {
    case.opted_in(&acme()).await;
    let start = case.cursor().await;

    let quiet = tokio::time::timeout(LONG, case.changes(start, Duration::from_millis(50))).await;

    let quiet = quiet.expect("the call does not wait for ever");
    assert!(quiet.changed.is_empty());
    assert!(quiet.cursor >= start);
}

pub(super) async fn waits_and_returns_early_when_something_changes(case: Case) {
    let start = case.cursor().await;
    let mut waiting = case.store.changes(Environment::Cie, Some(start), 100 * LONG);
    let quiet = tokio::time::timeout(Duration::from_millis(50), &mut waiting).await;
    assert!(quiet.is_err(), "nothing has changed yet: {quiet:?}");

    let row = case.opted_in(&acme()).await;

    let changes = tokio::time::timeout(LONG, waiting).await.expect("the call returns early");
    assert_eq!(done(changes).changed, [(id(&acme()), row.change)]);
}

/// So a reader of the log hears of the event.
pub(super) async fn an_event_that_tells_no_change_ends_the_wait_too(case: Case) {
    let start = case.cursor().await;
    let waiting = case.store.changes(Environment::Cie, Some(start), 100 * LONG);
    let acme = acme();

    let (changes, id) = tokio::join!(tokio::time::timeout(LONG, waiting), case.append(&acme, event(EventKind::Failed)));

    let changes = done(changes.expect("the call returns early"));
    assert_eq!((changes.changed, changes.cursor), (vec![], id));
}

/// A store that reads before it subscribes sleeps through a change in between.
pub(super) async fn a_change_at_the_moment_of_the_call_is_not_slept_through(case: Case) {
    let mut after = case.cursor().await;
    for round in 0..120 {
        let swap = replacing(&case.load(&company(round.to_string())).await);

        let race = case.at_once(2, |store, number| {
            let (company, swap) = (id(&swap.key), swap.clone());
            async move {
                match number {
                    0 => store.changes(Environment::Cie, Some(after), 100 * LONG).await,
                    _ => {
                        // The write comes earlier or later from round to round.
                        for _ in 0..1 << (round % 12) {
                            tokio::task::yield_now().await;
                        }
                        let (_, change, _) = yes(store.save(swap).await?);
                        Ok(Changes { changed: vec![(company, change)], cursor: change })
                    }
                }
            }
        });

        let answers = tokio::time::timeout(LONG, race).await.expect("no change is slept through");
        let [changes, written] = answers.try_into().expect("two answers");
        // The first call may have returned only because the cursor moved; the next call reports the change.
        let changes = if changes.changed.is_empty() { case.changes(after, NOW).await } else { changes };
        assert_eq!(changes.changed, written.changed);
        after = changes.cursor;
    }
}

/// A change written during a read must be reported by the reader's next call and must wake a waiting reader.
pub(super) async fn a_follower_misses_none_of_64_concurrent_saves_of_16_rows(case: Case) {
    let start = case.cursor().await;
    let written = Arc::new(AtomicBool::new(false));
    let follower = tokio::spawn(follow(case.store.clone(), start, written.clone()));

    let saves = case
        .at_once(64, |store, number| async move {
            let key = company((number % 16).to_string());
            let last = EventContent { actor: Some(actor(number.to_string())), ..event(EventKind::Recovered) };
            loop {
                let row = store.load(&key).await?;
                let events = vec![event(EventKind::Refreshed), last.clone()];
                if let Saved::Yes { change, .. } = store.save(Swap { events, ..replacing(&row) }).await? {
                    return Ok((last.actor, change));
                }
            }
        })
        .await;
    written.store(true, Ordering::Release);

    let log = case.log(Environment::Cie).await;
    let lasts: BTreeMap<_, _> =
        log.iter().filter(|event| event.actor.is_some()).map(|event| (event.id, event.actor.clone())).collect();
    let announced: BTreeMap<_, _> = saves.into_iter().map(|(actor, change)| (change, actor)).collect();
    assert_eq!((log.len(), lasts), (128, announced), "a save's change number is its last event's number");
    let mut expected = BTreeMap::new();
    for number in 0..16 {
        let row = case.load(&company(number.to_string())).await;
        assert_eq!(row.change, case.latest(&row.key).await.id);
        expected.insert(id(&row.key), row.change);
    }
    assert_eq!(follower.await.expect("the follower ends"), expected);
}

/// Follows the feed until all is written; returns each company's latest reported change.
async fn follow(store: Arc<dyn Store>, mut after: EventId, written: Arc<AtomicBool>) -> BTreeMap<CompanyId, EventId> {
    let mut latest = BTreeMap::new();
    loop {
        // Read the flag first: a read after the last write reports everything.
        let last = written.load(Ordering::Acquire);
        let changes = done(store.changes(Environment::Cie, Some(after), Duration::from_millis(20)).await);
        assert!(changes.cursor >= after, "the cursor went back");
        for (company, change) in changes.changed {
            assert!(change > after, "a change came again that the cursor had passed");
            assert!(latest.insert(company, change) <= Some(change), "an older change came after a later one");
        }
        after = changes.cursor;
        if last {
            return latest;
        }
    }
}
