//! Returns from UPS.com: what a repetition, another process and an error page learn of one.

use batchsuite_auth::{
    CompanyId, Environment, OptedIn, Trip,
    error::CallbackError,
    events::{EventContent, EventKind},
    fake_ups::{Answer, Endpoint, FakeUps, Times},
    ids::ConsentId,
    secret::{BrowserSecret, SecretHash},
    store::{Consent, ConsentCaps, NewConsent, NewEvent, Store as _},
};
use batchsuite_tests::{HOUR, Moment, Process, Verb, acme, ada, company, log::Log};
use tokio::task::{JoinHandle, yield_now};

use crate::stage::Stage;

type Returned = Result<OptedIn, CallbackError>;

async fn begun(process: &Process, company: &CompanyId) -> Trip {
    process.auth.authenticate(company, &ada()).await.unwrap()
}

fn returning(process: &Process, query: &str, browser: &BrowserSecret) -> JoinHandle<Returned> {
    let (auth, query, browser) = (process.auth.clone(), query.to_owned(), browser.clone());
    tokio::spawn(async move { auth.callback(&ada(), &query, &browser).await })
}

#[tokio::test(start_paused = true)]
async fn a_repetition_of_a_callback_in_progress_gets_its_outcome() {
    let stage = Stage::new().await;
    let process = stage.process();
    let trip = begun(&process, &acme()).await;
    let query = stage.ups.decline(&trip.url).await;
    let use_consent = process.store.hold(Verb::UseConsent, Moment::Before);
    let first = returning(&process, &query, &trip.browser_secret);
    use_consent.reached().await;
    let again = returning(&process, &query, &trip.browser_secret);
    yield_now().await;

    use_consent.release();

    for callback in [first, again] {
        let outcome = callback.await.unwrap();
        assert!(matches!(outcome, Err(CallbackError::Declined)), "{outcome:?}");
    }
    assert_eq!(process.store.calls(Verb::UseConsent), 1);
}

#[tokio::test(start_paused = true)]
async fn a_callback_that_another_process_overtook_gets_the_outcome_of_the_other() {
    let stage = Stage::new().await;
    let (fast, slow) = (stage.process(), stage.process());
    let trip = begun(&fast, &acme()).await;
    let query = stage.ups.consent(&trip.url, FakeUps::USER).await;
    let use_consent = slow.store.hold(Verb::UseConsent, Moment::Before);
    let overtaken = returning(&slow, &query, &trip.browser_secret);
    use_consent.reached().await;
    fast.auth.callback(&ada(), &query, &trip.browser_secret).await.unwrap();

    use_consent.release();

    assert_eq!(overtaken.await.unwrap().unwrap().company, acme());
    assert_eq!(stage.ups.requests().total(Endpoint::Token), 1, "the code is sent once");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_another_process_overtook_tells_nothing() {
    let stage = Stage::new().await;
    let (fast, slow) = (stage.process(), stage.process());
    let trip = begun(&fast, &acme()).await;
    let refusal = stage.ups.decline(&trip.url).await;
    let query = stage.ups.consent(&trip.url, FakeUps::USER).await;
    let use_consent = slow.store.hold(Verb::UseConsent, Moment::Before);
    let overtaken = returning(&slow, &refusal, &trip.browser_secret);
    use_consent.reached().await;
    fast.auth.callback(&ada(), &query, &trip.browser_secret).await.unwrap();

    use_consent.release();

    let outcome = overtaken.await.unwrap();
    assert!(matches!(outcome, Err(CallbackError::UnknownState)), "{outcome:?}");
    let kinds: Vec<_> = fast.events(&acme()).await.into_iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [EventKind::Started, EventKind::Authenticated]);
}

#[tokio::test(start_paused = true)]
async fn several_trips_that_failed_stay_failed_when_their_callbacks_come_again() {
    let stage = Stage::new().await;
    let process = stage.process();
    stage.ups.fault(Endpoint::Token, Answer::status(400), Times::UntilCleared);
    let mut failed = Vec::new();
    for name in ["first", "second", "third"] {
        let trip = begun(&process, &company(name)).await;
        let query = stage.ups.consent(&trip.url, FakeUps::USER).await;
        process.auth.callback(&ada(), &query, &trip.browser_secret).await.unwrap_err();
        failed.push((trip, query));
    }

    for (trip, query) in failed {
        let again = process.auth.callback(&ada(), &query, &trip.browser_secret).await;
        assert!(matches!(again, Err(CallbackError::UnknownState)), "{again:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_page_learns_the_company_of_a_return_to_the_browser_of_its_trip() {
    let stage = Stage::new().await;
    let process = stage.process();
    let (trip, other) = (begun(&process, &acme()).await, begun(&process, &company("other")).await);
    let query = stage.ups.decline(&trip.url).await;
    let company_of = async |query: &str, browser| process.auth.company_of_return(query, browser).await.unwrap();

    assert_eq!(company_of(&query, &trip.browser_secret).await, Some(acme()), "pending");
    assert_eq!(company_of(&query, &other.browser_secret).await, None, "another browser");
    assert_eq!(company_of("code=code&state=state", &trip.browser_secret).await, None, "an unknown state");
    assert_eq!(company_of("&&&", &trip.browser_secret).await, None, "no return");
    process.auth.callback(&ada(), &query, &trip.browser_secret).await.unwrap_err();
    assert_eq!(company_of(&query, &trip.browser_secret).await, Some(acme()), "used");
}

const STATE: &str = "a-state-of-this-test";

/// Stores acme's consent with [`STATE`].
async fn stored(stage: &Stage, browser: &BrowserSecret, return_to: &str) {
    let consent = NewConsent {
        consent: Consent {
            id: ConsentId::from_bits(1),
            environment: Environment::Cie,
            company: acme(),
            actor: ada(),
            browser: browser.hash(),
            redirect_uri: stage.ups.redirect_uri(),
            client_id: stage.ups.client_id().to_owned(),
            return_to: Some(return_to.to_owned()),
            removals: 0,
        },
        state: SecretHash::of(STATE),
        verifier: None,
        lifetime: HOUR,
    };
    let event = NewEvent { company: Some(acme()), event: EventContent::new(EventKind::Started) };
    let caps = ConsentCaps { per_company: 10, per_actor: 10 };
    stage.store.put_consent(consent, caps, event).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stored_way_back_that_leads_out_of_the_host_is_logged_and_one_of_its_own_is_not() {
    for (return_to, expected) in [("/companies/acme", 0), ("//evil.example", 1)] {
        let stage = Stage::new().await;
        let process = stage.process();
        let browser = BrowserSecret::random();
        stored(&stage, &browser, return_to).await;
        let (log, _guard) = Log::of_this_test();

        let query = format!("error=access_denied&state={STATE}");
        process.auth.callback(&ada(), &query, &browser).await.unwrap_err();

        let lines = log.lines("the stored return_to is not a path of the host's own");
        assert_eq!(lines.len(), expected, "{return_to}: {lines:#?}");
        assert!(lines.iter().all(|line| line.contains("ERROR") && line.contains("acme")), "{lines:#?}");
    }
}
