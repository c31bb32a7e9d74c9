//! Clauses of [`Store::events`].

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::case::*;

/// Six events: the first, third and fifth concern `acme`, the last concerns all companies.
async fn six(case: &Case) -> Vec<EventId> {
    let mut ids = Vec::new();
    let client = RowKey::client(Environment::Cie);
    for key in [acme(), company("other"), acme(), company("other"), acme(), client] {
        ids.push(case.append(&key, event(EventKind::Failed)).await);
    }
    ids
}

/// The ids read page by page until none is left.
async fn read(case: &Case, mut query: EventQuery) -> Vec<EventId> {
    let mut ids = Vec::new();
    loop {
        let page = done(case.store.events(query.clone()).await);
        assert!(page.items.len() <= query.limit, "a page is longer than asked");
        if page.items.is_empty() {
            assert_eq!(page.next, query.after);
            return ids;
        }
        assert_ne!(page.next, query.after, "the cursor does not get on");
        ids.extend(page.items.into_iter().map(|event| event.id));
        query.after = page.next;
    }
}

fn newest() -> EventQuery {
    EventQuery { order: EventOrder::NewestFirst, ..events(Environment::Cie) }
}

pub(super) async fn the_oldest_or_the_newest_come_first_whatever_the_size_of_a_page(case: Case) {
    let mut ids = six(&case).await;
    assert!(ids.is_sorted_by(|one, next| one < next), "{ids:?}");

    for query in [events(Environment::Cie), newest()] {
        for limit in [1, 2, 5, 100] {
            assert_eq!(read(&case, EventQuery { limit, ..query.clone() }).await, ids, "limit {limit}");
        }
        ids.reverse();
    }
}

pub(super) async fn of_one_company_alone(case: Case) {
    let ids = six(&case).await;
    let company = acme().company;

    for limit in [1, 2, 100] {
        let oldest = EventQuery { company: company.clone(), limit, ..events(Environment::Cie) };
        assert_eq!(read(&case, oldest).await, [ids[0], ids[2], ids[4]]);
        let newest = EventQuery { company: company.clone(), limit, ..newest() };
        assert_eq!(read(&case, newest).await, [ids[4], ids[2], ids[0]]);
    }
}

pub(super) async fn of_one_environment_alone(case: Case) {
    case.append(&elsewhere(&acme()), event(EventKind::Failed)).await;
    let ids = six(&case).await;

    assert_eq!(read(&case, events(Environment::Cie)).await, ids);
    let query = EventQuery { company: acme().company, ..newest() };
    assert_eq!(read(&case, query).await.len(), 3);
}

pub(super) async fn the_cursor_is_exclusive_in_both_orders(case: Case) {
    let ids = six(&case).await;

    let later = EventQuery { after: Some(ids[2]), ..events(Environment::Cie) };
    assert_eq!(read(&case, later).await, ids[3..]);
    let mut earlier = read(&case, EventQuery { after: Some(ids[2]), ..newest() }).await;
    earlier.reverse();
    assert_eq!(earlier, ids[..2]);
}

pub(super) async fn an_empty_page_gives_the_cursor_of_the_query_back(case: Case) {
    for order in [EventOrder::OldestFirst, EventOrder::NewestFirst] {
        let page = done(case.store.events(EventQuery { order, ..events(Environment::Cie) }).await);
        assert_eq!(page, EventPage::default());
    }
    let last = six(&case).await.pop();

    let page = done(case.store.events(EventQuery { after: last, ..events(Environment::Cie) }).await);

    assert_eq!(page, EventPage { next: last, ..EventPage::default() });
}

pub(super) async fn the_cursor_finds_what_is_written_later(case: Case) {
    let ids = six(&case).await;
    let end = done(case.store.events(events(Environment::Cie)).await).next;
    assert_eq!(end, ids.last().copied());

    let row = case.opted_in(&acme()).await;

    assert_eq!(read(&case, EventQuery { after: end, ..events(Environment::Cie) }).await, [row.change]);
}

pub(super) async fn a_limit_beyond_any_number_reads_all(case: Case) {
    let mut ids = six(&case).await;

    for query in [events(Environment::Cie), newest()] {
        assert_eq!(read(&case, EventQuery { limit: usize::MAX, ..query }).await, ids);
        ids.reverse();
    }
}

pub(super) async fn a_cursor_beyond_any_number_is_beyond_the_end(case: Case) {
    let mut ids = six(&case).await;
    ids.reverse();
    let after = Some(EventId::new(u64::MAX));

    for company in [None, acme().company] {
        let query = EventQuery { after, company, ..events(Environment::Cie) };
        assert_eq!(done(case.store.events(query).await), EventPage { next: after, ..EventPage::default() });
    }
    assert_eq!(read(&case, EventQuery { after, ..newest() }).await, ids);
}

/// A number that is drawn early and committed late must not fall behind the reader's cursor, neither that of a save
/// with three events nor that of a single event.
pub(super) async fn reading_forward_misses_no_event_of_concurrent_writers(case: Case) {
    let written = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn(follow(case.store.clone(), written.clone()));

    let batches = case
        .at_once(20, |store, number| async move {
            let mut ids = BTreeSet::new();
            for round in 0..10 {
                let key = company(format!("company-{number}"));
                if round % 2 == 0 {
                    let event = NewEvent { company: key.company, event: event(EventKind::Failed) };
                    ids.insert(store.append(Environment::Cie, event).await?);
                } else {
                    let events = vec![event(EventKind::Refreshed); 3];
                    let swap = Swap { events, ..replacing(&store.load(&key).await?) };
                    ids.insert(yes(store.save(swap).await?).1);
                }
            }
            Ok(ids)
        })
        .await;
    written.store(true, Ordering::Release);

    let seen = reader.await.expect("the reader ends");
    assert_eq!(seen.len(), 20 * 5 * (1 + 3));
    assert!(batches.into_iter().flatten().all(|id| seen.contains(&id)), "an event was missed");
}

/// The events that a reader sees from the beginning of the log until it has read everything written.
async fn follow(store: Arc<dyn Store>, written: Arc<AtomicBool>) -> Vec<EventId> {
    let mut seen = Vec::new();
    let mut query = EventQuery { limit: 7, ..events(Environment::Cie) };
    loop {
        // Read the flag first: an empty page after the last write is the end of the log.
        let last = written.load(Ordering::Acquire);
        let page = done(store.events(query.clone()).await);
        if page.items.is_empty() && last {
            return seen;
        }
        query.after = page.next;
        for event in page.items {
            assert!(seen.last().is_none_or(|last| *last < event.id), "an event came twice or out of order");
            seen.push(event.id);
        }
        tokio::task::yield_now().await;
    }
}
