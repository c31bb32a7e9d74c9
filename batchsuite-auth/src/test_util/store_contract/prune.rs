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

pub(super) async fn a_limit_beyond_any_number_deletes_all_that_is_older(case: Case) {
    let ids = three_old_and_two_new(&case).await;

    let pruned = prune(&case, Prune { limit: usize::MAX, ..old() }).await;

    assert_eq!(pruned, Pruned { events: 3, up_to: ids[2] });
}

pub(super) async fn nothing_is_older_than_the_longest_time(case: Case) {
    three_old_and_two_new(&case).await;

    let pruned = prune(&case, Prune { older_than: Duration::MAX, ..old() }).await;

    assert_eq!(pruned, Pruned { events: 0, up_to: EventId::START });
}

const TEN_YEARS: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// An event.
async fn written(case: &Case) -> EventId {
    case.append(&acme(), event(EventKind::Failed)).await
}

/// An event that a wrong clock dates ten years ahead.
async fn dated_ahead(case: &Case) -> EventId {
    case.advance(TEN_YEARS).await;
    let id = written(case).await;
    case.set_back(TEN_YEARS).await;
    id
}

/// An event that a wrong clock dates ten years back.
async fn dated_back(case: &Case) -> EventId {
    case.set_back(TEN_YEARS).await;
    let id = written(case).await;
    case.advance(TEN_YEARS).await;
    id
}

pub(super) async fn an_event_dated_ahead_goes_with_an_older_one_after_it(case: Case) {
    written(&case).await;
    dated_ahead(&case).await;
    let last = written(&case).await;
    case.advance(2 * DAY).await;
    let young = written(&case).await;

    assert_eq!(prune(&case, old()).await, Pruned { events: 3, up_to: last });
    assert_eq!(left(&case).await, [young]);
}

/// Its age is unknown, so it is as young as the next event whose date can be right.
pub(super) async fn an_event_dated_ahead_stays_before_a_younger_one(case: Case) {
    let first = written(&case).await;
    case.advance(2 * DAY).await;
    let ids = [dated_ahead(&case).await, written(&case).await, dated_ahead(&case).await];

    assert_eq!(prune(&case, old()).await, Pruned { events: 1, up_to: first });
    assert_eq!(left(&case).await, ids);
    case.advance(2 * DAY).await;
    assert_eq!(prune(&case, old()).await, Pruned { events: 2, up_to: ids[1] });
    assert_eq!(left(&case).await, ids[2..], "nothing after the last one tells its age");
}

/// Fewer deleted events than asked mean that none are left, also after a batch that holds only wrong dates.
pub(super) async fn events_dated_ahead_go_however_few_are_asked(case: Case) {
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(dated_ahead(&case).await);
    }
    ids.push(written(&case).await);
    case.advance(2 * DAY).await;
    let young = written(&case).await;

    for pair in [&ids[..2], &ids[2..]] {
        assert_eq!(prune(&case, Prune { limit: 2, ..old() }).await, Pruned { events: 2, up_to: pair[1] });
    }
    assert_eq!(prune(&case, Prune { limit: 2, ..old() }).await, Pruned { events: 0, up_to: ids[3] });
    assert_eq!(left(&case).await, [young]);
}

/// Deleting it alone would leave a hole, and a reader before the hole would be told that the younger events are gone.
pub(super) async fn an_event_dated_long_ago_stays_behind_a_younger_one(case: Case) {
    let first = written(&case).await;
    case.advance(2 * DAY).await;
    let ids = [written(&case).await, dated_back(&case).await, written(&case).await];

    assert_eq!(prune(&case, old()).await, Pruned { events: 1, up_to: first });
    let page = done(case.store.events(EventQuery { after: Some(first), ..events(Environment::Cie) }).await);
    assert_eq!(page.items.iter().map(|event| event.id).collect::<Vec<_>>(), ids);
    case.advance(2 * DAY).await;
    assert_eq!(prune(&case, old()).await, Pruned { events: 3, up_to: ids[2] });
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
