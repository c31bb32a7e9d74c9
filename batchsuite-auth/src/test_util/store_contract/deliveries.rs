//! Clauses of [`Store::take_delivery`] and [`Store::advance_delivery`].

use uuid::Uuid;

use super::case::*;

/// A process's claim to the delivery of `mails`.
fn process(number: u128) -> Delivery {
    of_consumer("mails", number)
}

fn of_consumer(consumer: &str, number: u128) -> Delivery {
    Delivery { consumer: consumer.to_owned(), holder: Uuid::from_u128(number) }
}

async fn take(case: &Case, delivery: &Delivery) -> Option<EventId> {
    done(case.store.take_delivery(Environment::Cie, delivery, HOUR).await)
}

async fn advance(case: &Case, delivery: &Delivery, cursor: EventId, then: DeliveryEnd) -> bool {
    done(case.store.advance_delivery(Environment::Cie, delivery, cursor, then).await)
}

/// Writes this many events; returns their numbers.
async fn written(case: &Case, count: usize) -> Vec<EventId> {
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(case.append(&acme(), event(EventKind::Failed)).await);
    }
    ids
}

pub(super) async fn a_new_consumer_begins_at_the_end_of_the_log(case: Case) {
    let begin = take(&case, &of_consumer("first", 1)).await;
    written(&case, 3).await;

    let end = take(&case, &process(1)).await;

    let ids = written(&case, 2).await;
    for (begin, expected) in [(begin, 5), (end, 2)] {
        let events = done(case.store.events(EventQuery { after: begin, ..events(Environment::Cie) }).await).items;
        assert_eq!(events.len(), expected);
        assert_eq!(events.last().map(|event| event.id), ids.last().copied());
    }
}

pub(super) async fn another_process_does_not_get_what_is_held(case: Case) {
    let begin = take(&case, &process(1)).await;
    assert!(begin.is_some());

    assert_eq!(take(&case, &process(2)).await, None);

    written(&case, 1).await;
    assert_eq!(take(&case, &process(1)).await, begin, "the holder takes the lease again");
    assert_eq!(take(&case, &process(2)).await, None);
}

pub(super) async fn of_20_processes_at_once_exactly_one_gets_it(case: Case) {
    // First a new consumer, then one whose lease has ended.
    for _ in 0..5 {
        let taken = case
            .at_once(20, |store, number| async move {
                store.take_delivery(Environment::Cie, &process(number as u128), HOUR).await
            })
            .await;

        assert_eq!(taken.into_iter().flatten().count(), 1);
        case.advance(HOUR + SECOND).await;
    }
}

pub(super) async fn a_lease_ends_by_the_clock_of_the_store(case: Case) {
    take(&case, &process(1)).await;

    case.advance(HOUR - MINUTE).await;
    assert_eq!(take(&case, &process(2)).await, None);
    case.advance(MINUTE + SECOND).await;
    assert!(take(&case, &process(2)).await.is_some());
    assert_eq!(take(&case, &process(1)).await, None);
}

pub(super) async fn a_lease_that_a_wrong_clock_dated_has_ended(case: Case) {
    case.advance(2 * DAY).await;
    take(&case, &process(1)).await;

    case.set_back(2 * DAY).await;

    assert!(take(&case, &process(2)).await.is_some());
    assert_eq!(take(&case, &process(1)).await, None, "the new lease is dated rightly");
}

pub(super) async fn a_lease_is_a_day_at_most(case: Case) {
    let taken = case.store.take_delivery(Environment::Cie, &process(1), 3 * DAY).await;
    let cursor = done(taken).expect("nobody holds the lease");
    for _ in 0..2 {
        case.advance(DAY - MINUTE).await;
        assert_eq!(take(&case, &process(2)).await, None);
        assert!(advance(&case, &process(1), cursor, DeliveryEnd::Renew(3 * DAY)).await);
    }

    case.advance(DAY + SECOND).await;

    assert_eq!(take(&case, &process(2)).await, Some(cursor));
}

pub(super) async fn a_holder_that_takes_it_again_renews_its_lease(case: Case) {
    take(&case, &process(1)).await;
    case.advance(50 * MINUTE).await;
    take(&case, &process(1)).await;

    case.advance(50 * MINUTE).await;

    assert_eq!(take(&case, &process(2)).await, None);
}

pub(super) async fn moving_the_cursor_renews_the_lease(case: Case) {
    take(&case, &process(1)).await;
    let ids = written(&case, 1).await;
    case.advance(50 * MINUTE).await;

    assert!(advance(&case, &process(1), ids[0], DeliveryEnd::Renew(2 * HOUR)).await);

    case.advance(2 * HOUR - MINUTE).await;
    assert_eq!(take(&case, &process(2)).await, None);
    case.advance(MINUTE + SECOND).await;
    assert_eq!(take(&case, &process(2)).await, Some(ids[0]));
}

pub(super) async fn moving_the_cursor_can_end_the_lease(case: Case) {
    take(&case, &process(1)).await;
    let ids = written(&case, 2).await;

    assert!(advance(&case, &process(1), ids[0], DeliveryEnd::End).await);

    assert_eq!(take(&case, &process(2)).await, Some(ids[0]));
}

pub(super) async fn only_the_holder_moves_the_cursor(case: Case) {
    let ids = written(&case, 2).await;
    let renew = DeliveryEnd::Renew(HOUR);
    assert!(!advance(&case, &process(1), ids[1], renew).await, "nobody has taken the delivery");
    let begin = take(&case, &process(1)).await;

    for then in [renew, DeliveryEnd::End] {
        let later = written(&case, 1).await[0];
        assert!(!advance(&case, &process(2), later, then).await);
        assert_eq!(take(&case, &process(1)).await, begin);
        assert_eq!(take(&case, &process(2)).await, None);
    }
}

pub(super) async fn a_cursor_never_moves_back(case: Case) {
    take(&case, &process(1)).await;
    let ids = written(&case, 3).await;
    assert!(advance(&case, &process(1), ids[2], DeliveryEnd::Renew(HOUR)).await);

    for earlier in [ids[0], EventId::START] {
        advance(&case, &process(1), earlier, DeliveryEnd::Renew(HOUR)).await;
        assert_eq!(take(&case, &process(1)).await, Some(ids[2]));
    }
}

pub(super) async fn who_no_longer_holds_it_moves_nothing(case: Case) {
    take(&case, &process(1)).await;
    let ids = written(&case, 3).await;
    let renew = DeliveryEnd::Renew(HOUR);

    assert!(advance(&case, &process(1), ids[0], DeliveryEnd::End).await);
    assert!(!advance(&case, &process(1), ids[1], renew).await, "the process gave the lease up");
    take(&case, &process(1)).await;
    case.advance(HOUR + SECOND).await;
    assert!(!advance(&case, &process(1), ids[1], renew).await, "the lease has ended");
    assert_eq!(take(&case, &process(2)).await, Some(ids[0]));
    for then in [renew, DeliveryEnd::End] {
        assert!(!advance(&case, &process(1), ids[2], then).await, "another process holds the lease");
    }
    assert_eq!(take(&case, &process(2)).await, Some(ids[0]));
}

pub(super) async fn a_process_that_holds_several_moves_one_alone(case: Case) {
    let begin = take(&case, &process(1)).await;
    let billing = |number| of_consumer("billing", number);
    let elsewhere = async |delivery| done(case.store.take_delivery(Environment::Production, &delivery, HOUR).await);
    let begin_elsewhere = elsewhere(billing(1)).await.expect("nobody holds the lease");
    take(&case, &billing(1)).await;
    let ids = written(&case, 1).await;

    assert!(advance(&case, &billing(1), ids[0], DeliveryEnd::End).await);

    assert_eq!(take(&case, &process(2)).await, None, "the process still holds the other");
    assert_eq!(take(&case, &process(1)).await, begin);
    assert_eq!(elsewhere(billing(2)).await, None, "and that of the other environment");
    assert_eq!(elsewhere(billing(1)).await, Some(begin_elsewhere));
}

pub(super) async fn consumers_and_environments_are_apart(case: Case) {
    take(&case, &process(1)).await;
    let ids = written(&case, 1).await;
    let other = take(&case, &of_consumer("billing", 2)).await;
    let elsewhere = case.store.take_delivery(Environment::Production, &process(2), HOUR).await;
    assert!(done(elsewhere).is_some());
    assert_eq!(take(&case, &process(2)).await, None);

    assert!(advance(&case, &process(1), ids[0], DeliveryEnd::End).await);

    assert_eq!(other, Some(ids[0]));
    assert_eq!(take(&case, &of_consumer("billing", 3)).await, None);
}
