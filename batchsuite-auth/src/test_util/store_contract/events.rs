//! Clauses of [`Store::events`](crate::store::Store::events).

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::case::*;
use crate::{
    config::Environment,
    events::{EventId, EventKind},
    store::{EventOrder, EventQuery, Store},
};

/// Five events: of `acme` the first, third and fifth.
async fn five(case: &Case) -> Vec<EventId> {
    let mut ids = Vec::new();
    for key in [acme(), company("other"), acme(), company("other"), acme()] {
        ids.push(case.record(event(&key, EventKind::Failed)).await);
    }
    ids
}

/// The ids on each page, until a page is empty.
async fn pages(case: &Case, mut query: EventQuery) -> Vec<Vec<EventId>> {
    let mut pages = Vec::new();
    loop {
        let page = done(case.store.events(query.clone()).await);
        if page.items.is_empty() {
            assert_eq!(page.next, query.after, "the cursor of a page without events is the query's own");
            return pages;
        }
        assert_eq!(page.next, page.items.last().map(|event| event.id));
        query.after = page.next;
        pages.push(page.items.into_iter().map(|event| event.id).collect());
    }
}

pub(super) async fn the_oldest_first_from_page_to_page(case: Case) {
    let ids = five(&case).await;
    assert!(ids.is_sorted_by(|one, next| one < next), "{ids:?}");

    let pages = pages(&case, EventQuery { limit: 2, ..events(Environment::Cie) }).await;

    assert_eq!(pages, [&ids[0..2], &ids[2..4], &ids[4..5]]);
}

pub(super) async fn the_newest_first_from_page_to_page(case: Case) {
    let mut ids = five(&case).await;
    ids.reverse();

    let query = EventQuery { limit: 2, order: EventOrder::NewestFirst, ..events(Environment::Cie) };

    assert_eq!(pages(&case, query).await, [&ids[0..2], &ids[2..4], &ids[4..5]]);
}

pub(super) async fn of_one_company_alone(case: Case) {
    let ids = five(&case).await;
    let of_acme = EventQuery { company: Some(acme().company), limit: 2, ..events(Environment::Cie) };

    let oldest = pages(&case, of_acme.clone()).await;
    let newest = pages(&case, EventQuery { order: EventOrder::NewestFirst, ..of_acme }).await;

    assert_eq!(oldest, [vec![ids[0], ids[2]], vec![ids[4]]]);
    assert_eq!(newest, [vec![ids[4], ids[2]], vec![ids[0]]]);
}

pub(super) async fn of_one_environment_alone(case: Case) {
    case.record(event(&elsewhere(&acme()), EventKind::Failed)).await;
    let ids = five(&case).await;

    assert_eq!(pages(&case, events(Environment::Cie)).await, [ids]);
}

pub(super) async fn the_cursor_finds_what_is_written_later(case: Case) {
    five(&case).await;
    let end = done(case.store.events(events(Environment::Cie)).await).next;
    let query = EventQuery { after: end, ..events(Environment::Cie) };
    assert_eq!(done(case.store.events(query.clone()).await).next, end);

    let id = case.record(event(&acme(), EventKind::Declined)).await;

    assert_eq!(pages(&case, query).await, [[id]]);
}

/// A number that is given out early and committed late must not slip behind the reader's cursor.
pub(super) async fn reading_forward_misses_no_event_of_concurrent_writers(case: Case) {
    let written = Arc::new(AtomicBool::new(false));
    let (store, end) = (case.store.clone(), written.clone());
    let reader = tokio::spawn(async move {
        let mut seen = BTreeSet::new();
        let mut query = EventQuery { limit: 7, ..events(Environment::Cie) };
        loop {
            // Asked before the reading: an empty page after the last write is the end of the log.
            let last = end.load(Ordering::Acquire);
            let page = done(store.events(query.clone()).await);
            query.after = page.next;
            if page.items.is_empty() && last {
                return seen;
            }
            seen.extend(page.items.into_iter().map(|event| event.id));
            tokio::task::yield_now().await;
        }
    });

    let batches = case
        .at_once(20, |store, _| async move {
            let mut ids = Vec::new();
            for _ in 0..10 {
                ids.push(store.record(event(&acme(), EventKind::Failed)).await?);
            }
            Ok(ids)
        })
        .await;
    written.store(true, Ordering::Release);

    let ids: BTreeSet<_> = batches.into_iter().flatten().collect();
    assert_eq!(ids.len(), 200);
    assert_eq!(reader.await.expect("the reader ends"), ids);
}
