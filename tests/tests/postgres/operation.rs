//! Operators' tasks.

use std::time::Duration;

use batchsuite_auth::{
    Environment, Policy,
    events::{EventId, EventKind},
    fake_ups::FakeUps,
    status::ListedAs,
    store::{
        EventOrder, EventQuery, NewConsent, Prune, RowKey, Store, StoreError, StoreErrorKind, Swap, TokenChange,
        USE_RECORDED_WITHIN, USED_CONSENT_KNOWN, Wake,
    },
};
use batchsuite_store::PostgresStore;
use batchsuite_tests::{DAY, ada};

use crate::stage::{CIE, Stage, company, consent, events, id, put, removal, rotation, saved, server};

const MINUTE: Duration = Duration::from_secs(60);
const PRODUCTION: Environment = Environment::Production;

/// Deletes events older than a month and returns their number.
async fn prune(store: &PostgresStore) -> u64 {
    let prune = Prune { environment: CIE, older_than: 30 * DAY, limit: 100_000, undelivered: false };
    store.prune(prune).await.unwrap().events
}

#[tokio::test]
async fn old_events_are_pruned_and_the_feed_misses_none() {
    let stage = Stage::new().await;
    let row = stage.paired(&company("acme")).await;
    stage.schema.advance(90 * DAY).await;
    saved(&stage.store, rotation(&row, "2")).await;

    assert_eq!(prune(&stage.store).await, 1);

    let left = stage.store.events(events()).await.unwrap().items;
    assert_eq!(left.iter().map(|event| event.kind).collect::<Vec<_>>(), [EventKind::Refreshed]);
    let told = stage.store.changes(CIE, Some(EventId::START), Duration::ZERO).await.unwrap();
    assert_eq!(told.changed, [(id(&row.key), left[0].id)]);
}

/// One statement deletes at most 5,000.
#[tokio::test]
async fn a_prune_of_many_events_deletes_exactly_as_many_as_asked() {
    let stage = Stage::new().await;
    stage.execute("SELECT {schema}.append_event('cie', 'acme', '{}') FROM generate_series(1, 15010)").await;
    stage.schema.advance(90 * DAY).await;
    let prune = async |limit| {
        let prune = Prune { environment: CIE, older_than: 30 * DAY, limit, undelivered: false };
        stage.store.prune(prune).await.unwrap().events
    };

    assert_eq!(prune(10_003).await, 10_003);
    assert_eq!(prune(100_000).await, 15_010 - 10_003);
}

/// More than one statement deletes, on both sides of it.
#[tokio::test]
async fn a_prune_passes_an_event_with_a_wrong_date_among_many() {
    let stage = Stage::new().await;
    stage.execute("SELECT {schema}.append_event('cie', 'acme', '{}') FROM generate_series(1, 15000)").await;
    let wrong = "UPDATE {schema}.events SET at = at + interval '10 years'
        WHERE id = (SELECT id FROM {schema}.events ORDER BY id OFFSET 7500 LIMIT 1)";
    stage.execute(wrong).await;
    stage.schema.advance(90 * DAY).await;

    assert_eq!(prune(&stage.store).await, 15_000);
}

#[tokio::test]
async fn a_reader_behind_what_was_pruned_is_told_of_the_gap_and_goes_on_after_it() {
    let stage = Stage::new().await;
    let ids = async |after| {
        let page = stage.store.events(EventQuery { after, ..events() }).await?;
        Ok::<_, StoreError>(page.items.into_iter().map(|event| event.id).collect::<Vec<_>>())
    };
    let mut written = Vec::new();
    for name in ["a", "b", "c"] {
        written.push(stage.paired(&company(name)).await.change);
    }
    stage.schema.advance(90 * DAY).await;
    written.push(stage.paired(&company("d")).await.change);
    let [first, second, third, fourth] = written[..] else { panic!("four") };
    assert_eq!(ids(Some(first)).await.unwrap(), [second, third, fourth]);

    assert_eq!(prune(&stage.store).await, 3);

    for behind in [EventId::START, first, second] {
        // The same for one company, because it may have had events in the gap.
        for company in [None, Some(id(&company("d")))] {
            let query = EventQuery { company, after: Some(behind), ..events() };
            let error = stage.store.events(query).await.unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Pruned { up_to: third });
            assert!(error.to_string().contains(&format!("number {}", third.number())), "{error}");
        }
    }
    assert_eq!(ids(Some(third)).await.unwrap(), [fourth]);
    assert_eq!(ids(None).await.unwrap(), [fourth], "without a cursor, nothing was missed");
    let newest = EventQuery { order: EventOrder::NewestFirst, ..events() };
    assert_eq!(stage.store.events(newest).await.unwrap().items.len(), 1);
    assert_eq!(prune(&stage.store).await, 0);
    assert_eq!(ids(Some(third)).await.unwrap(), [fourth]);
}

#[tokio::test]
async fn a_stream_of_events_tells_the_gap_and_begins_after_a_log_that_is_pruned_to_its_end() {
    let stage = Stage::new().await;
    stage.paired(&company("a")).await;
    stage.schema.advance(90 * DAY).await;
    assert_eq!(prune(&stage.store).await, 1);
    let ups = FakeUps::start().await;
    let mut policy = Policy::default();
    policy.feed_interval = Duration::from_millis(50);
    let auth = ups.authenticator().store(stage.store.clone()).policy(policy).without_keeper().build().unwrap();

    let error = auth.event_stream(Some(EventId::START)).next().await.unwrap().unwrap_err();
    let StoreErrorKind::Pruned { up_to } = error.kind() else { panic!("{error}") };
    let (mut restarted, mut from_now) = (auth.event_stream(Some(up_to)), auth.event_stream(None));
    let both = async { tokio::join!(restarted.next(), from_now.next()) };
    let write = async {
        // The second stream starts at its first read.
        for _ in 0..500 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            auth.authenticate(&id(&company("b")), &ada()).await.unwrap();
        }
    };
    let (restarted, from_now) = tokio::select! {
        both = both => both,
        () = write => panic!("a stream yields nothing"),
    };

    assert_eq!(restarted.unwrap().unwrap().kind, EventKind::Started);
    assert!(from_now.unwrap().unwrap().id > up_to);
}

/// The event was written by a later release or by hand.
#[tokio::test]
async fn an_event_that_cannot_be_read_hides_no_other() {
    let stage = Stage::new().await;
    for name in ["a", "b", "c"] {
        stage.paired(&company(name)).await;
    }
    let damage = r#"UPDATE {schema}.events SET content = '{"kind": "of a later release"}' WHERE company = 'b'"#;
    stage.execute(damage).await;

    let page = stage.store.events(events()).await.unwrap();
    assert_eq!(page.items.len(), 2);
    let page = stage.store.events(EventQuery { limit: 2, ..events() }).await.unwrap();
    let second = stage.store.load(&company("b")).await.unwrap().change;
    assert_eq!((page.items.len(), page.next), (1, Some(second)), "the cursor passes the unreadable event");
}

/// No cursor could lead past it.
#[tokio::test]
async fn an_event_whose_number_is_damaged_is_not_read() {
    let stage = Stage::new().await;
    let mut changes = Vec::new();
    for name in ["a", "b", "c"] {
        changes.push(stage.paired(&company(name)).await.change);
    }
    let damage =
        "UPDATE {schema}.events SET id = CASE company WHEN 'a' THEN 0 ELSE -id END WHERE company IN ('a', 'c')";
    stage.execute(damage).await;

    for order in [EventOrder::OldestFirst, EventOrder::NewestFirst] {
        let page = stage.store.events(EventQuery { order, ..events() }).await.unwrap();
        let ids: Vec<_> = page.items.iter().map(|event| event.id).collect();
        assert_eq!((ids, page.next), (vec![changes[1]], Some(changes[1])));
    }
}

/// As the row's version in the database tells.
#[tokio::test]
async fn a_use_is_written_once_in_five_minutes_or_if_it_wakes_the_company_earlier() {
    let stage = Stage::new().await;
    let (acme, client) = (company("acme"), server().client().await);
    let version = format!("SELECT xmin::text FROM {}.grants", stage.schema.name());
    let is_written = async || {
        let before: String = client.query_one(&version, &[]).await.unwrap().get(0);
        stage.store.record_use(CIE, &[id(&acme)]).await.unwrap();
        client.query_one(&version, &[]).await.unwrap().get::<_, String>(0) != before
    };
    for has_wake in [false, true] {
        let row = stage.store.load(&acme).await.unwrap();
        let wake = Wake { at: has_wake.then_some(row.as_of + 2 * DAY), if_used: Some(row.as_of + DAY) };
        saved(&stage.store, Swap { wake: Some(wake), ..rotation(&row, "1") }).await;

        assert!(is_written().await, "the company wakes earlier");
        assert!(!is_written().await, "the use is recorded");
        stage.schema.advance(USE_RECORDED_WITHIN - MINUTE).await;
        assert!(!is_written().await, "the use was recorded just before");
        stage.schema.advance(2 * MINUTE).await;
        assert!(is_written().await, "the use was recorded more than five minutes before");
        stage.schema.set_back(2 * MINUTE).await;
        assert!(is_written().await, "the use was recorded by a wrong clock");
    }
}

/// The clock may give two rows one number.
#[tokio::test]
async fn rows_of_one_number_are_woken_one_by_one() {
    let stage = Stage::new().await;
    let elsewhere = RowKey { environment: PRODUCTION, ..company("a") };
    for key in [&company("a"), &company("b"), &elsewhere] {
        stage.paired(key).await;
    }
    stage.execute("UPDATE {schema}.grants SET number = 7").await;
    let woken = async |environment, most| {
        let woken = stage.store.wake(environment, most).await.unwrap();
        woken.iter().map(|row| row.key.name().to_owned()).collect::<Vec<_>>()
    };

    assert_eq!(woken(CIE, 1).await, ["a"]);
    assert_eq!(woken(CIE, 10).await, ["b"]);
    assert_eq!(woken(PRODUCTION, 10).await, ["a"]);
}

#[tokio::test]
async fn a_used_consent_loses_its_verifier() {
    let (stage, consent) = (Stage::new().await, consent(&company("acme")));
    put(&stage.store, consent.clone()).await.unwrap();
    let verifiers = format!("SELECT count(verifier) FROM {}.consents", stage.schema.name());
    let verifiers = async || server().client().await.query_one(&verifiers, &[]).await.unwrap().get::<_, i64>(0);
    assert_eq!(verifiers().await, 1);

    stage.store.use_consent(CIE, consent.consent.id, None).await.unwrap().unwrap();

    assert_eq!(verifiers().await, 0);
}

/// A person is told for a while that a consent has expired.
#[tokio::test]
async fn an_old_consent_is_deleted_unless_another_transaction_locks_it() {
    let stage = Stage::new().await;
    let (client, table) = (server().client().await, format!("{}.consents", stage.schema.name()));
    let left = async || {
        let rows = client.query(&format!("SELECT company FROM {table} ORDER BY company"), &[]).await.unwrap();
        rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>()
    };
    for name in ["locked", "old"] {
        put(&stage.store, NewConsent { lifetime: Duration::ZERO, ..consent(&company(name)) }).await.unwrap();
    }
    put(&stage.store, consent(&company("new"))).await.unwrap();
    assert_eq!(left().await, ["locked", "new", "old"], "they are known for a while");
    stage.schema.advance(USED_CONSENT_KNOWN + MINUTE).await;
    let other = server().client().await;
    other.batch_execute(&format!("BEGIN; SELECT FROM {table} WHERE company = 'locked' FOR UPDATE")).await.unwrap();

    put(&stage.store, consent(&company("newer"))).await.unwrap();

    assert_eq!(left().await, ["locked", "new", "newer"]);
    other.batch_execute("ROLLBACK").await.unwrap();
}

#[tokio::test]
async fn the_overview_counts_what_companies_are_listed_as() {
    let stage = Stage::new().await;
    put(&stage.store, consent(&company("began"))).await.unwrap();
    let mut rows = Vec::new();
    for name in ["ended", "ending", "removed", "waiting"] {
        rows.push(stage.paired(&company(name)).await);
    }
    let [ended, ending, removed, waiting] = &rows[..] else { panic!("four") };
    let listed_as = |row, listed_as| Swap { listed_as, wake: Some(Wake::default()), ..rotation(row, "2") };
    saved(&stage.store, listed_as(ended, ListedAs::ReauthRequired)).await;
    saved(&stage.store, listed_as(ending, ListedAs::ExpiringSoon)).await;
    saved(&stage.store, Swap { wake: None, ..removal(removed) }).await;
    // Due later.
    let late = stage.paired(&company("late")).await;
    let wake = Some(Wake { at: Some(late.as_of + DAY), if_used: None });
    saved(&stage.store, Swap { wake, ..rotation(&late, "2") }).await;
    // Used and expired.
    let used = consent(&company("began"));
    put(&stage.store, used.clone()).await.unwrap();
    stage.store.use_consent(CIE, used.consent.id, None).await.unwrap().unwrap();
    put(&stage.store, NewConsent { lifetime: Duration::ZERO, ..consent(&company("began")) }).await.unwrap();
    // Under way.
    put(&stage.store, consent(&company("began"))).await.unwrap();
    // The client's own row counts for nothing, and neither does the other environment.
    for (environment, name) in
        [(CIE, None), (PRODUCTION, None), (PRODUCTION, Some("other")), (PRODUCTION, Some("more"))]
    {
        let key = RowKey { environment, company: name.map(batchsuite_tests::company) };
        let row = stage.store.load(&key).await.unwrap();
        let wake = Some(Wake { at: Some(removed.as_of - DAY), if_used: None });
        let listed_as = if name.is_some() { ListedAs::ReauthRequired } else { ListedAs::ExpiringSoon };
        saved(&stage.store, Swap { tokens: TokenChange::Keep, wake, listed_as, ..rotation(&row, "none") }).await;
    }
    put(&stage.store, consent(&RowKey { environment: PRODUCTION, ..company("other") })).await.unwrap();

    let overview = stage.store.overview(CIE).await.unwrap();

    let companies: Vec<_> = overview.companies.into_iter().collect();
    assert_eq!(
        companies,
        [
            (ListedAs::Unauthenticated, 2),
            (ListedAs::Authenticated, 2),
            (ListedAs::ExpiringSoon, 1),
            (ListedAs::ReauthRequired, 1)
        ]
    );
    assert_eq!((overview.companies_due, overview.oldest_wake, overview.consents_pending), (2, removed.wake_at, 2));
    assert!(waiting.wake_at > removed.wake_at);
    let elsewhere = stage.store.overview(PRODUCTION).await.unwrap();
    let companies: Vec<_> = elsewhere.companies.into_iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!((companies, elsewhere.consents_pending), (vec![(ListedAs::ReauthRequired, 2)], 1));
}

#[tokio::test]
async fn a_company_that_wakes_later_is_not_the_oldest_that_is_due() {
    let stage = Stage::new().await;
    let row = stage.paired(&company("acme")).await;
    let wake = Some(Wake { at: Some(row.as_of + DAY), if_used: None });
    saved(&stage.store, Swap { wake, ..rotation(&row, "2") }).await;

    let overview = stage.store.overview(CIE).await.unwrap();

    assert_eq!((overview.total(), overview.companies_due, overview.oldest_wake), (1, 0, None));
}
