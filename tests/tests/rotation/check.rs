//! Consents: the opt-in check, return_to, and the caps.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use async_trait::async_trait;
use batchsuite_auth::{
    ActorId, BrowserSecret, CompanyId, NewOptIn, OptInCheck, Shutdown,
    error::{AuthenticateError, CallbackError, OptInRefused},
    events::EventKind,
    fake_ups::{Endpoint, FakeUps},
};
use batchsuite_tests::{acme, ada, company, eventually, seconds};

use crate::stage::Stage;

/// Refuses every company except one.
#[derive(Debug)]
struct Only(&'static str);

#[async_trait]
impl OptInCheck for Only {
    async fn check(&self, opt_in: NewOptIn<'_>) -> Result<(), OptInRefused> {
        assert_eq!(opt_in.actor, &ada());
        assert!(opt_in.token.is_some_and(|token| !token.expose_secret().is_empty()));
        match opt_in.company.as_str() == self.0 {
            true => Ok(()),
            false => Err(OptInRefused::new("the shipper number is not on this UPS profile")),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_opt_in_that_the_host_refuses_is_not_stored_and_an_earlier_one_stays() {
    let stage = Stage::new().await;
    let before = stage.process();
    stage.opt_in(&before, &acme()).await;
    let checked = stage.process_with(|builder| builder.without_keeper().opt_in_check(Only("another")));

    for company in [acme(), company("new")] {
        let trip = checked.auth.authenticate(&company, &ada()).await.unwrap();
        let query = stage.ups.consent(&trip.url, FakeUps::USER).await;
        let error = checked.auth.callback(&ada(), &query, &trip.browser_secret).await.unwrap_err();
        let CallbackError::RefusedByHost(refused) = error else { panic!("{error:?}") };
        assert_eq!(refused.reason(), "the shipper number is not on this UPS profile");
        assert_eq!(checked.kinds(&company).await.last(), Some(&EventKind::Failed));
    }

    assert_eq!(stage.grant_of(&acme()).await.revision.epoch, 1, "the earlier one stays");
    checked.token(&acme()).await;
    assert!(stage.tokens_of(&company("new")).await.is_none());
    stage.opt_in(&checked, &company("another")).await;
}

/// Never answers.
#[derive(Debug)]
struct Silent;

#[async_trait]
impl OptInCheck for Silent {
    async fn check(&self, _: NewOptIn<'_>) -> Result<(), OptInRefused> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_pair_that_the_host_checks_counts_as_not_stored() {
    let stage = Stage::new().await;
    let process = stage.process_with(|builder| builder.without_keeper().opt_in_check(Silent));
    let trip = process.auth.authenticate(&acme(), &ada()).await.unwrap();
    let query = stage.ups.consent(&trip.url, FakeUps::USER).await;
    let auth = process.auth.clone();
    let _callback = tokio::spawn(async move { auth.callback(&ada(), &query, &trip.browser_secret).await });
    eventually("the exchange", async || stage.ups.requests().total(Endpoint::Token) == 1).await;

    let ended = process.auth.shutdown_within(seconds(5)).await;

    assert!(matches!(ended, Shutdown::Incomplete { under_way: 1, pairs: 1, .. }), "{ended:?}");
}

/// While set, refuses everyone before anything is sent.
#[derive(Clone, Debug, Default)]
struct Barrier(Arc<AtomicBool>);

#[async_trait]
impl OptInCheck for Barrier {
    async fn before_sending(&self, company: &CompanyId, actor: &ActorId) -> Result<(), OptInRefused> {
        assert_eq!((company, actor), (&acme(), &ada()));
        match self.0.load(Relaxed) {
            true => Err(OptInRefused::new("not any more")),
            false => Ok(()),
        }
    }

    async fn check(&self, _: NewOptIn<'_>) -> Result<(), OptInRefused> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_consent_that_the_host_refuses_before_the_exchange_reaches_no_ups_and_stays_open() {
    let stage = Stage::new().await;
    let barrier = Barrier::default();
    let process = stage.process_with(|builder| builder.without_keeper().opt_in_check(barrier.clone()));
    let trip = process.auth.authenticate(&acme(), &ada()).await.unwrap();
    let query = stage.ups.consent(&trip.url, FakeUps::USER).await;
    let ada = ada();
    let callback = || process.auth.callback(&ada, &query, &trip.browser_secret);
    barrier.0.store(true, Relaxed);

    for _ in 0..2 {
        let error = callback().await.unwrap_err();
        assert!(
            matches!(&error, CallbackError::RefusedByHost(refused) if refused.reason() == "not any more"),
            "{error:?}"
        );
    }
    assert_eq!(stage.ups.requests().total(Endpoint::Token), 0);
    assert_eq!(process.kinds(&acme()).await, [EventKind::Started]);
    barrier.0.store(false, Relaxed);

    assert_eq!(callback().await.unwrap().company, acme());
}

#[tokio::test(start_paused = true)]
async fn a_check_of_one_handle_is_asked_beside_the_builder_s_and_through_that_handle_alone() {
    let stage = Stage::new().await;
    let (of_all, of_one) = (Barrier::default(), Barrier::default());
    let process = stage.process_with(|builder| builder.without_keeper().opt_in_check(of_all.clone()));
    let checked = process.auth.with_opt_in_check(of_one.clone());
    let trip = process.auth.authenticate(&acme(), &ada()).await.unwrap();
    let query = stage.ups.consent(&trip.url, FakeUps::USER).await;

    for barrier in [&of_all, &of_one] {
        barrier.0.store(true, Relaxed);
        let error = checked.callback(&ada(), &query, &trip.browser_secret).await.unwrap_err();
        assert!(matches!(error, CallbackError::RefusedByHost(_)), "{error:?}");
        barrier.0.store(false, Relaxed);
    }
    of_one.0.store(true, Relaxed);

    process.auth.callback(&ada(), &query, &trip.browser_secret).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn return_to_is_a_path_of_the_hosts_own_and_comes_back() {
    let stage = Stage::new().await;
    let process = stage.process();
    for other in ["https://evil.example/", "//evil.example", "/\\evil.example", "companies", "/a\r\nb"] {
        let ended = process.auth.authenticate(&acme(), &ada()).return_to(other).await;
        assert!(matches!(ended, Err(AuthenticateError::InvalidReturnTo)), "{other}");
    }

    let trip = process.auth.authenticate(&acme(), &ada()).return_to("/companies/7?tab=oauth").await.unwrap();
    let query = stage.ups.consent(&trip.url, FakeUps::USER).await;
    let done = process.auth.callback(&ada(), &query, &trip.browser_secret).await.unwrap();

    assert_eq!(done.return_to.as_deref(), Some("/companies/7?tab=oauth"));
}

#[tokio::test(start_paused = true)]
async fn pending_consents_are_capped_per_company_and_the_oldest_goes() {
    let stage = Stage::new().await;
    let process = stage.process_with_policy(|policy| policy.consents_per_company = 2);
    let browser = BrowserSecret::random();
    let mut trips = Vec::new();
    for _ in 0..3 {
        trips.push(process.auth.authenticate(&acme(), &ada()).browser_secret(browser.clone()).await.unwrap());
    }

    for (number, trip) in trips.iter().enumerate() {
        let query = stage.ups.consent(&trip.url, FakeUps::USER).await;
        let ended = process.auth.callback(&ada(), &query, &browser).await;
        assert_eq!(ended.is_ok(), number > 0, "{number}: {ended:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn pending_consents_are_capped_per_actor_and_another_actors_stay() {
    let stage = Stage::new().await;
    let process = stage.process_with_policy(|policy| policy.consents_per_actor = 2);
    let bob = ActorId::new("bob").unwrap();
    let of_bob = process.auth.authenticate(&company("bobs"), &bob).await.unwrap();
    let mut trips = Vec::new();
    for number in 0..3 {
        let company = company(&format!("company {number}"));
        trips.push(process.auth.authenticate(&company, &ada()).await.unwrap());
    }

    for (number, trip) in trips.iter().enumerate() {
        let query = stage.ups.consent(&trip.url, FakeUps::USER).await;
        let ended = process.auth.callback(&ada(), &query, &trip.browser_secret).await;
        assert_eq!(ended.is_ok(), number > 0, "{number}: {ended:?}");
    }
    let query = stage.ups.consent(&of_bob.url, FakeUps::USER).await;
    process.auth.callback(&bob, &query, &of_bob.browser_secret).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_identical_callbacks_at_once_make_one_exchange() {
    let stage = Stage::new().await;
    let process = stage.process();
    let trip = process.auth.authenticate(&acme(), &ada()).await.unwrap();
    let query = stage.ups.consent(&trip.url, FakeUps::USER).await;

    let callback = || {
        let (auth, query, browser) = (process.auth.clone(), query.clone(), trip.browser_secret.clone());
        tokio::spawn(async move { auth.callback(&ada(), &query, &browser).await })
    };
    let callbacks: Vec<_> = (0..50).map(|_| callback()).collect();
    for callback in callbacks {
        assert_eq!(callback.await.unwrap().unwrap().company, acme(), "the same person in the same browser");
    }

    assert_eq!(stage.ups.requests().total(Endpoint::Token), 1);
}
