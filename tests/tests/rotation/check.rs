//! Consents: the opt-in check, return_to, and the caps.

use async_trait::async_trait;
use batchsuite_auth::{
    ActorId, BrowserSecret, NewOptIn, OptInCheck,
    error::{AuthenticateError, CallbackError, OptInRefused},
    events::EventKind,
    fake_ups::{Endpoint, FakeUps},
};
use batchsuite_tests::{acme, ada, company};

use crate::stage::Stage;

/// Refuses every company but one.
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
        assert_eq!(callback.await.unwrap().unwrap().company, acme(), "each is the same person in the same browser");
    }

    assert_eq!(stage.ups.requests().total(Endpoint::Token), 1);
}
