//! A company with unreadable tokens: the list shows this, a person can repair it, and other companies are unaffected.

use std::time::Duration;

use batchsuite_auth::{
    BatchSuiteAuth, CompanyId, CompanyQuery, Policy,
    error::TokenError,
    fake_ups::FakeUps,
    status::{CompanyStatus, Status},
    store::{Store, StoreErrorKind, Verifier},
};
use batchsuite_store::PostgresStore;
use batchsuite_tests::{HOUR, ada, eventually, opt_in};

use crate::{
    sealed::{NEW, OLD, store},
    stage::{CIE, Stage, company, consent, put, server},
};

struct World {
    stage: Stage,
    ups: FakeUps,
}

impl World {
    async fn new() -> Self {
        Self { stage: Stage::new().await, ups: FakeUps::start().await }
    }

    /// A process with an empty cache.
    fn process(&self, store: &PostgresStore) -> BatchSuiteAuth {
        self.ups.authenticator().store(store.clone()).without_keeper().build().unwrap()
    }

    async fn damage(&self, sql: &str) {
        server().client().await.batch_execute(&sql.replace("{schema}", self.stage.schema.name())).await.unwrap();
    }
}

fn id(name: &str) -> CompanyId {
    batchsuite_tests::company(name)
}

fn is_authenticated(status: &CompanyStatus) -> bool {
    matches!(status.status, Status::Authenticated { .. })
}

async fn assert_is_damaged(auth: &BatchSuiteAuth, company: &CompanyId, damage: &str) {
    let status = auth.status(company).await.unwrap();
    assert!(is_authenticated(&status) && status.tokens_unreadable, "{damage}: {status:?}");
    let error = auth.access_token(company).await.unwrap_err();
    assert!(!error.needs_reauthorization() && !error.is_transient(), "{damage}: {error}");
    assert!(
        matches!(&error, TokenError::Store(error) if error.kind() == StoreErrorKind::Corrupt),
        "{damage}: {error:?}"
    );
}

const DAMAGES: [&str; 4] = [
    "UPDATE {schema}.tokens SET access_token = set_byte(access_token, 30, 255 - get_byte(access_token, 30))
     WHERE company = 'acme'",
    "UPDATE {schema}.tokens SET refresh_token = ''::bytea WHERE company = 'acme'",
    "UPDATE {schema}.tokens t SET access_token = o.access_token, refresh_token = o.refresh_token
     FROM {schema}.tokens o WHERE t.company = 'acme' AND o.company = 'other'",
    "UPDATE {schema}.grants SET state = '[]' WHERE company = 'acme'",
];

#[tokio::test]
async fn a_damaged_row_is_an_operators_error_of_its_company_alone() {
    for damage in DAMAGES {
        let world = World::new().await;
        let auth = world.process(&world.stage.store);
        for name in ["acme", "other"] {
            opt_in(&auth, &world.ups, &id(name)).await;
        }
        let others_token = auth.access_token(&id("other")).await.unwrap();
        world.damage(damage).await;
        let auth = world.process(&world.stage.store);

        assert_is_damaged(&auth, &id("acme"), damage).await;
        let listed = auth.companies(CompanyQuery::default()).await.unwrap();
        assert_eq!(listed.items.iter().filter(|status| is_authenticated(status)).count(), 2, "{damage}: {listed:?}");
        let other = auth.status(&id("other")).await.unwrap();
        assert!(is_authenticated(&other) && !other.tokens_unreadable, "{damage}");
        assert_eq!(auth.access_token(&id("other")).await.unwrap().header(), others_token.header(), "{damage}");
    }
}

#[tokio::test]
async fn a_damaged_company_can_be_authenticated_again_and_removed() {
    for damage in DAMAGES {
        let world = World::new().await;
        let auth = world.process(&world.stage.store);
        for name in ["acme", "other"] {
            opt_in(&auth, &world.ups, &id(name)).await;
        }
        world.damage(damage).await;
        let auth = world.process(&world.stage.store);

        opt_in(&auth, &world.ups, &id("acme")).await;
        let status = auth.status(&id("acme")).await.unwrap();
        assert!(is_authenticated(&status) && !status.tokens_unreadable, "{damage}");
        auth.access_token(&id("acme")).await.unwrap();

        world.damage(damage).await;
        let auth = world.process(&world.stage.store);
        auth.remove_auth(&id("acme"), &ada()).await.unwrap();
        let status = auth.status(&id("acme")).await.unwrap();
        assert!(matches!(status.status, Status::Unauthenticated) && !status.tokens_unreadable, "{damage}");
    }
}

#[tokio::test]
async fn the_keeper_goes_on_with_the_companies_that_are_well() {
    let world = World::new().await;
    let auth = world.process(&world.stage.store);
    for name in ["acme", "other"] {
        opt_in(&auth, &world.ups, &id(name)).await;
    }
    let before = auth.status(&id("other")).await.unwrap().revision;
    world.damage(DAMAGES[0]).await;
    world.stage.schema.advance(4 * HOUR).await;
    world.ups.clock().advance(4 * HOUR);
    let used = [id("acme"), id("other")];
    world.stage.store.record_use(CIE, &used).await.unwrap();

    let mut policy = Policy::default();
    policy.keeper_interval = Duration::from_millis(50);
    let keeper = world.ups.authenticator().store(world.stage.store.clone()).policy(policy).build().unwrap();
    let is_kept = async || auth.status(&id("other")).await.unwrap().revision != before;
    eventually("the other company is kept", is_kept).await;

    assert!(auth.status(&id("acme")).await.unwrap().tokens_unreadable);
    keeper.shutdown().await;
}

/// The grant was written by a later release or by hand.
#[tokio::test]
async fn a_grant_that_cannot_be_read_is_shown_so_and_ends_no_list() {
    let world = World::new().await;
    let auth = world.process(&world.stage.store);
    for name in ["a", "b", "c"] {
        opt_in(&auth, &world.ups, &id(name)).await;
    }
    world.damage(r#"UPDATE {schema}.grants SET state = jsonb_set(state, '{actor}', '""') WHERE company = 'b'"#).await;

    let names = async |limit| {
        let (mut names, mut after) = (Vec::new(), None);
        loop {
            let query = CompanyQuery::new().with_after(after).with_limit(limit);
            let page = auth.companies(query).await.unwrap();
            names.extend(page.items.into_iter().map(|status| status.company.as_str().to_owned()));
            after = page.next;
            if after.is_none() {
                return names;
            }
        }
    };

    for limit in 1..5 {
        assert_eq!(names(limit).await, ["a", "b", "c"], "{limit}");
    }
    let listed = auth.companies(CompanyQuery::default()).await.unwrap().items;
    let damaged: Vec<_> = listed.iter().map(|status| status.tokens_unreadable).collect();
    assert_eq!(damaged, [false, true, false]);
    let again = world.process(&world.stage.store);
    assert_is_damaged(&again, &id("b"), "an actor that is none").await;
    opt_in(&again, &world.ups, &id("b")).await;
    again.access_token(&id("b")).await.unwrap();

    // Its name is unreadable, so it cannot be shown.
    world.damage(r#"UPDATE {schema}.grants SET state = jsonb_set(state, '{actor}', '""') WHERE company = 'b'"#).await;
    world.damage("UPDATE {schema}.grants SET company = E'a\\n' WHERE company = 'a'").await;
    assert_eq!(names(10).await, ["b", "c"]);
    again.remove_auth(&id("b"), &ada()).await.unwrap();
    assert!(!again.status(&id("b")).await.unwrap().tokens_unreadable);
}

/// A person who can write to the database must not be able to send browsers elsewhere.
#[tokio::test]
async fn a_return_to_that_was_changed_in_the_database_is_not_followed() {
    let world = World::new().await;
    let auth = world.process(&world.stage.store);
    for (stored, expected) in
        [("/companies/7", Some("/companies/7")), ("//evil.example", None), ("https://evil.example", None)]
    {
        let company = id("acme");
        let actor = ada();
        let trip = auth.authenticate(&company, &actor).return_to("/companies/7").await.unwrap();
        world.damage(&format!("UPDATE {{schema}}.consents SET return_to = '{stored}'")).await;
        let query = world.ups.consent(&trip.url, FakeUps::USER).await;

        let done = auth.callback(&actor, &query, &trip.browser_secret).await.unwrap();

        assert_eq!(done.return_to.as_deref(), expected);
        // The same holds for the same callback again, in this process or another.
        world.damage(&format!("UPDATE {{schema}}.consents SET return_to = '{stored}'")).await;
        let elsewhere = world.process(&world.stage.store);
        for auth in [&auth, &elsewhere] {
            let again = auth.callback(&actor, &query, &trip.browser_secret).await.unwrap();
            assert_eq!(again.return_to.as_deref(), expected);
        }
    }
}

#[tokio::test]
async fn without_a_lost_key_everything_else_works_and_each_company_authenticates_again() {
    let world = World::new().await;
    let old = store(&world.stage, OLD).await;
    let process = world.process(&old);
    for name in ["acme", "other"] {
        opt_in(&process, &world.ups, &id(name)).await;
    }
    let pending = consent(&company("pending"));
    put(&old, pending.clone()).await.unwrap();

    // The documented repair: a new key in front, and the lost key declared.
    let new = store(&world.stage, &format!("{NEW},old:lost")).await;
    new.migrate().await.unwrap();
    new.check().await.unwrap();
    let auth = world.process(&new);

    assert_eq!(auth.companies(CompanyQuery::default()).await.unwrap().items.len(), 3);
    for name in ["acme", "other"] {
        assert_is_damaged(&auth, &id(name), "a lost key").await;
    }
    let verifier = async |state| new.find_consent(CIE, state).await.unwrap().unwrap().verifier;
    assert!(
        matches!(verifier(&pending.state).await, Verifier::Unreadable(error) if error.kind() == StoreErrorKind::Corrupt)
    );
    let next = consent(&company("pending"));
    put(&new, next.clone()).await.unwrap();
    assert!(matches!(verifier(&next.state).await, Verifier::Readable(_)));
    opt_in(&auth, &world.ups, &id("new")).await;
    for name in ["acme", "other", "new"] {
        opt_in(&auth, &world.ups, &id(name)).await;
        auth.access_token(&id(name)).await.unwrap();
    }
    let done = auth.reencrypt().await.unwrap();
    assert_eq!((done.companies, done.unreadable), (0, Vec::new()));

    // The lost key was found again and takes its place.
    store(&world.stage, &format!("{NEW},{OLD}")).await.check().await.unwrap();
}
