//! Clauses of [`Store::prune`].

use super::case::*;

/// Three events that are two days old, and two new ones.
async fn three_old_and_two_new(case: &Case) -> Vec<EventId> {
    let mut ids = Vec::new();
    for count in [3, 2] {
        case.advance(2 * DAY).await;
        for _ in 0..count {
            ids.push(case.append(&acme(), event(EventKind::Failed)).await);
        }
    }
    ids
}

fn old() -> Prune {
    Prune { environment: Environment::Cie, older_than: DAY, limit: 100, undelivered: false }
}

async fn prune(case: &Case, prune: Prune) -> Pruned {
    done(case.store.prune(prune).await)
}

async fn left(case: &Case) -> Vec<EventId> {
    case.log(Environment::Cie).await.into_iter().map(|event| event.id).collect()
}

fn delivery(consumer: &str) -> Delivery {
    Delivery { consumer: consumer.to_owned(), holder: uuid::Uuid::from_u128(1) }
}

pub(super) async fn deletes_what_is_older_and_nothing_else(case: Case) {
    let ids = three_old_and_two_new(&case).await;

    let pruned = prune(&case, old()).await;

    assert_eq!(pruned, Pruned { events: 3, up_to: ids[2] });
    assert_eq!(left(&case).await, ids[3..]);
}

pub(super) async fn the_oldest_go_first_at_most_as_many_as_asked(case: Case) {
    let ids = three_old_and_two_new(&case).await;

    let some = Prune { limit: 2, ..old() };

    assert_eq!(prune(&case, some).await, Pruned { events: 2, up_to: ids[1] });
    assert_eq!(left(&case).await, ids[2..]);
    assert_eq!(prune(&case, some).await, Pruned { events: 1, up_to: ids[2] });
    assert_eq!(left(&case).await, ids[3..]);
}

pub(super) async fn remembers_up_to_where(case: Case) {
    assert_eq!(prune(&case, old()).await, Pruned { events: 0, up_to: EventId::START });
    let ids = three_old_and_two_new(&case).await;
    prune(&case, old()).await;

    for _ in 0..2 {
        assert_eq!(prune(&case, old()).await, Pruned { events: 0, up_to: ids[2] });
    }
}

pub(super) async fn reading_on_below_a_pruned_event_is_refused_and_names_it(case: Case) {
    let ids = three_old_and_two_new(&case).await;
    prune(&case, old()).await;

    for after in [EventId::START, ids[0], ids[1]] {
        for company in [None, acme().company] {
            let query = EventQuery { after: Some(after), company, ..events(Environment::Cie) };
            let refused = case.store.events(query).await.expect_err("a gap is told");
            assert_eq!(refused.kind(), StoreErrorKind::Pruned { up_to: ids[2] });
        }
    }
}

pub(super) async fn reading_on_from_the_last_pruned_event_misses_nothing(case: Case) {
    let ids = three_old_and_two_new(&case).await;
    prune(&case, old()).await;

    let page = done(case.store.events(EventQuery { after: Some(ids[2]), ..events(Environment::Cie) }).await);

    assert_eq!(page.items.iter().map(|event| event.id).collect::<Vec<_>>(), ids[3..]);
}

pub(super) async fn without_a_cursor_or_backward_reading_is_not_refused(case: Case) {
    let ids = three_old_and_two_new(&case).await;
    prune(&case, old()).await;

    assert_eq!(left(&case).await, ids[3..]);
    for after in [None, Some(ids[4]), Some(ids[1])] {
        let query = EventQuery { order: EventOrder::NewestFirst, after, ..events(Environment::Cie) };
        let expected = ids[3..].iter().rev().copied().filter(|id| after.is_none_or(|after| *id < after));
        assert!(done(case.store.events(query).await).items.into_iter().map(|event| event.id).eq(expected));
    }
}

pub(super) async fn does_not_pass_the_slowest_delivery_unless_told(case: Case) {
    for consumer in ["mails", "billing"] {
        let taken = case.store.take_delivery(Environment::Cie, &delivery(consumer), HOUR).await;
        assert!(done(taken).is_some());
    }
    let ids = three_old_and_two_new(&case).await;
    for (consumer, cursor) in [("mails", ids[1]), ("billing", ids[4])] {
        let taken = case.store.take_delivery(Environment::Cie, &delivery(consumer), HOUR).await;
        assert!(done(taken).is_some());
        let end = DeliveryEnd::End;
        assert!(done(case.store.advance_delivery(Environment::Cie, &delivery(consumer), cursor, end).await));
    }

    assert_eq!(prune(&case, old()).await, Pruned { events: 2, up_to: ids[1] });
    assert_eq!(left(&case).await, ids[2..]);
    assert_eq!(prune(&case, Prune { undelivered: true, ..old() }).await, Pruned { events: 1, up_to: ids[2] });
    assert_eq!(left(&case).await, ids[3..]);
}

pub(super) async fn a_delivery_that_has_passed_nothing_holds_everything_after_its_begin(case: Case) {
    let before = case.append(&acme(), event(EventKind::Started)).await;
    let taken = case.store.take_delivery(Environment::Cie, &delivery("mails"), HOUR).await;
    assert_eq!(done(taken), Some(before));
    let ids = three_old_and_two_new(&case).await;

    assert_eq!(prune(&case, old()).await, Pruned { events: 1, up_to: before });
    assert_eq!(left(&case).await, ids);
}

pub(super) async fn changes_no_row_and_silences_no_change(case: Case) {
    let row = case.opted_in(&acme()).await;
    case.advance(2 * DAY).await;

    assert_eq!(prune(&case, old()).await, Pruned { events: 1, up_to: row.change });

    assert_same(&row, &case.load(&acme()).await);
    assert_eq!(case.changes(EventId::START, Duration::ZERO).await.changed, [(id(&acme()), row.change)]);
}

pub(super) async fn a_number_never_comes_back(case: Case) {
    case.append(&elsewhere(&acme()), event(EventKind::Failed)).await;
    case.advance(2 * DAY).await;
    prune(&case, Prune { environment: Environment::Production, ..old() }).await;
    let last = three_old_and_two_new(&case).await[4];
    case.advance(2 * DAY).await;
    assert_eq!(prune(&case, old()).await, Pruned { events: 5, up_to: last });
    assert!(left(&case).await.is_empty());

    let next = case.append(&acme(), event(EventKind::Failed)).await;
    assert!(next > last);
    assert_eq!(left(&case).await, [next]);
}

pub(super) async fn environments_are_apart(case: Case) {
    let taken = case.store.take_delivery(Environment::Production, &delivery("mails"), HOUR).await;
    assert!(done(taken).is_some());
    case.append(&elsewhere(&acme()), event(EventKind::Failed)).await;
    three_old_and_two_new(&case).await;

    assert_eq!(
        prune(&case, Prune { limit: 1, ..old() }).await.events,
        1,
        "the limit does not count the other's events"
    );
    assert_eq!(prune(&case, old()).await.events, 2, "a delivery of the other environment holds nothing back");

    let elsewhere = Prune { environment: Environment::Production, ..old() };
    let nothing = Prune { older_than: 30 * DAY, ..elsewhere };
    assert_eq!(prune(&case, nothing).await, Pruned { events: 0, up_to: EventId::START });
    let query = EventQuery { after: Some(EventId::START), ..events(Environment::Production) };
    assert_eq!(done(case.store.events(query).await).items.len(), 1);
}
