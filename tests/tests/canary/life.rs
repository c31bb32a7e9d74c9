//! The searched life of an opt-in.

use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use batchsuite_auth::{
    BatchSuiteAuth, BatchSuiteAuthBuilder, BrowserSecret, Client, ClientAuthentication, CompanyQuery, Event,
    EventFilter, ImportedTokens, NewOptIn, OptInCheck, Policy, Trip,
    adapters::webhook::{Webhook, WebhookSecret},
    error::OptInRefused,
    fake_ups::{Answer, Endpoint, FakeUps, Fault, Times},
    http::ReqwestClient,
    secret::{AccessTokenSecret, RefreshToken},
};
use batchsuite_store::MemoryStore;
use batchsuite_tests::{
    Exchange, FlakyStore, Gate, HOUR, Moment, Process, Secrets, Verb, WebhookReceiver, acme, ada, eventually, log::Log,
};
use serde_json::json;

use crate::echo::Echo;

/// Contains every character that some encoding changes.
const CLIENT_SECRET: &str = "client+secret/canary=%42&more of it";

/// One life, and all output other than the log.
struct Walk {
    ups: FakeUps,
    store: Arc<FlakyStore>,
    http: Arc<Gate>,
    echo: Echo,
    receiver: WebhookReceiver,
    secrets: Secrets,
    mode: ClientAuthentication,
    auth: BatchSuiteAuth,
    shown: Vec<String>,
}

/// Refuses with a message for the person.
#[derive(Debug)]
struct Refuses;

#[async_trait]
impl OptInCheck for Refuses {
    async fn check(&self, _: NewOptIn<'_>) -> Result<(), OptInRefused> {
        Err(OptInRefused::new("not on this UPS profile"))
    }
}

fn policy() -> Policy {
    let mut policy = Policy::default();
    let milliseconds = Duration::from_millis;
    policy.max_wait = milliseconds(500);
    policy.request_deadline = milliseconds(300);
    policy.commit_retry = milliseconds(10);
    policy.feed_interval = milliseconds(100);
    policy.keeper_interval = milliseconds(100);
    policy.rejection_pause = milliseconds(1);
    policy
}

impl Walk {
    async fn begin(mode: ClientAuthentication) -> Self {
        let ups = FakeUps::builder().client("canary-client", CLIENT_SECRET).start().await;
        let secrets = Secrets::default();
        secrets.add("client secret", CLIENT_SECRET);
        let store = Arc::new(FlakyStore::over(MemoryStore::with_clock(ups.clock())).witnessed());
        let reqwest = ReqwestClient::builder().allow_loopback_http().build().unwrap();
        let http = Arc::new(Gate::before(reqwest));
        let echo = Echo::on(&http);
        let auth = Self::build(&ups, &store, &http, mode, None);
        let receiver = WebhookReceiver::start().await;
        let webhook = Self::webhook(&receiver, &secrets);
        receiver.answer_status(500);
        receiver.answer("no HTTP at all");
        let shown = vec![format!("{webhook:?} {webhook:#?}")];
        auth.deliver("canary", webhook).unwrap().begun().await;
        Self { ups, store, http, echo, receiver, secrets, mode, auth, shown }
    }

    fn webhook(receiver: &WebhookReceiver, secrets: &Secrets) -> Webhook {
        let [key, secret] =
            [b"webhook-key-of-24-bytes!", b"webhook-secret-24-bytes!"].map(|bytes| STANDARD.encode(bytes));
        secrets.add("webhook key", &key);
        secrets.add("webhook secret", &secret);
        let mut url = receiver.url();
        url.query_pairs_mut().append_pair("key", &key);
        let secret = WebhookSecret::new(&secret).unwrap();
        Webhook::builder(url, secret).allow_loopback_http().build().unwrap()
    }

    /// Waits until the webhook has been told of every event so far.
    async fn all_is_told(&self) {
        let events = self.auth.events(EventFilter::new().with_limit(usize::MAX)).await.unwrap().items;
        let ids: BTreeSet<_> = events.iter().map(Event::stable_id).collect();
        eventually("the webhook has every event", async || {
            let told = self.receiver.requests();
            let told: BTreeSet<_> = told.iter().map(|posted| posted.header("webhook-id")).collect();
            ids.iter().all(|id| told.contains(&**id))
        })
        .await;
    }

    fn build(
        ups: &FakeUps,
        store: &Arc<FlakyStore>,
        http: &Arc<Gate>,
        mode: ClientAuthentication,
        check: Option<Refuses>,
    ) -> BatchSuiteAuth {
        let client = Client::new("canary-client", CLIENT_SECRET).with_authentication(mode);
        let set_up = |builder: BatchSuiteAuthBuilder| {
            let builder = builder.policy(policy());
            let builder = check.into_iter().fold(builder, |builder, check| builder.opt_in_check(check));
            let shown = format!("{builder:?} {builder:#?}");
            assert!(!shown.contains("secret/canary"), "{shown}");
            builder
        };
        Process::start(ups, client, Arc::clone(store), Arc::clone(http), set_up).auth
    }

    fn show(&mut self, shown: &impl fmt::Debug) {
        self.shown.push(format!("{shown:?} {shown:#?}"));
    }

    /// Records an error with all its sources, as a log would print it.
    fn show_error(&mut self, error: &(dyn std::error::Error + 'static)) {
        let mut next = Some(error);
        while let Some(error) = next {
            self.shown.push(format!("{error} {error:?} {error:#?}"));
            next = error.source();
        }
    }

    async fn trip(&mut self) -> Trip {
        let (company, actor) = (acme(), ada());
        let consent = self.auth.authenticate(&company, &actor);
        let shown = format!("{consent:?}");
        let trip = consent.await.unwrap();
        self.shown.push(shown);
        self.secrets.add_parameters(trip.url.query().unwrap(), &[("state", "state")]);
        self.secrets.add("browser secret", trip.browser_secret.expose_secret());
        self.show(&trip);
        trip
    }

    async fn callback(&mut self, query: &str, browser: &BrowserSecret) {
        self.secrets.add_parameters(query, &[("code", "authorization code"), ("state", "state")]);
        match self.auth.callback(&ada(), query, browser).await {
            Ok(done) => self.show(&done),
            Err(error) => self.show_error(&error),
        }
    }

    async fn opt_in(&mut self) {
        let trip = self.trip().await;
        let query = self.ups.consent(&trip.url, FakeUps::USER).await;
        self.callback(&query, &trip.browser_secret).await;
    }

    /// Imports tokens of another system unchanged, and in every way that is refused.
    async fn imports(&mut self) {
        let kept = self.ups.opt_in_elsewhere(FakeUps::USER);
        self.secrets.add("refresh token", kept.refresh_token.expose_secret());
        self.secrets.add("access token", kept.access_token.expose_secret());
        self.show(&kept);
        let (refresh, access) = (kept.refresh_token.expose_secret(), kept.access_token.expose_secret());
        let spoiled = [format!("{refresh}\n"), format!("Bearer {access}"), refresh.repeat(500)].map(RefreshToken::new);
        for spoiled in spoiled {
            let error = ImportedTokens::new(spoiled).unwrap_err();
            self.show_error(&error);
        }
        let tokens = ImportedTokens::new(kept.refresh_token.clone()).unwrap().with_issued_at(kept.issued_at);
        let error = tokens.clone().with_access_token(AccessTokenSecret::new(refresh), HOUR).unwrap_err();
        self.show_error(&error);
        let whole = tokens.clone().with_access_token(kept.access_token.clone(), HOUR).unwrap();
        let ahead = tokens.clone().with_issued_at(kept.issued_at + 24 * HOUR);
        let ended = tokens.with_refresh_expires_at(kept.issued_at - HOUR);
        for tokens in [ahead, ended, whole.clone(), whole] {
            self.show(&tokens);
            match self.auth.import(&acme(), &ada(), tokens).await {
                Ok(imported) => self.show(&imported),
                Err(error) => self.show_error(&error),
            }
        }
    }

    /// Asks for a token after an hour, when a refresh is due.
    async fn token(&mut self) {
        self.ups.clock().advance(HOUR);
        match self.auth.access_token(&acme()).await {
            Ok(token) => {
                self.show(&token);
                self.show(token.header());
                let rejected = self.auth.report_rejected(&acme(), &token).await;
                self.show(&rejected);
            }
            Err(error) => self.show_error(&error),
        }
    }

    /// Callbacks that fail before anything is sent.
    async fn strange_callbacks(&mut self) {
        let trip = self.trip().await;
        let query = self.ups.decline(&trip.url).await;
        self.callback(&query, &trip.browser_secret).await;

        let trip = self.trip().await;
        let query = self.ups.consent(&trip.url, FakeUps::USER).await;
        self.secrets.add_parameters(&query, &[("code", "authorization code")]);
        for strange in [
            format!("{query}&{query}"),
            format!("{query}&error=server_error"),
            format!("{query}%FF"),
            query.replace("state=", "stat="),
            query.replace("code=", "cod="),
            format!("{query}&iss=https://evil.example"),
        ] {
            if let Err(error) = self.auth.callback(&ada(), &strange, &trip.browser_secret).await {
                self.show_error(&error);
            }
        }
        self.callback(&query, &BrowserSecret::random()).await;
        self.callback(&query, &trip.browser_secret).await;
    }

    /// Errors of every class that repeat the request.
    async fn talkative_errors(&mut self) {
        for endpoint in [Endpoint::Token, Endpoint::Refresh] {
            for status in [200, 201, 302, 400, 401, 403, 408, 418, 429, 500, 503] {
                let said = "Invalid Refresh Token {refresh_token} {code}";
                let json = json!({"response": {"errors": [{"code": "10400", "message": said}]}});
                for answer in [Answer::status(status).with_json(json), Answer::status(status).with_body(said)] {
                    self.ups.fault(endpoint, answer, Times::Once);
                    self.step(endpoint).await;
                }
                self.echo.answer_with(status);
                self.step(endpoint).await;
                self.echo.answer_with(0);
                self.ups.clear_faults(endpoint);
            }
            for fault in [Fault::DropAnswer, Fault::Reset, Fault::Truncate { keep_bytes: 200 }, Fault::Hang] {
                self.opt_in().await;
                self.ups.fault(endpoint, fault, Times::Once);
                self.step(endpoint).await;
                self.ups.clear_faults(endpoint);
                self.token().await;
                self.token().await;
            }
        }
    }

    async fn step(&mut self, endpoint: Endpoint) {
        match endpoint {
            Endpoint::Token => self.opt_in().await,
            _ => self.token().await,
        }
    }

    async fn store_failures(&mut self) {
        let verbs = [
            Verb::PutConsent,
            Verb::UseConsent,
            Verb::Connect,
            Verb::Import,
            Verb::Load,
            Verb::Claim,
            Verb::Commit,
            Verb::Verdict,
            Verb::Remove,
            Verb::Changes,
            Verb::Events,
            Verb::Wake,
            Verb::Notify,
        ];
        for verb in verbs {
            for moment in [Moment::Before, Moment::After] {
                self.store.fail_once(verb, moment);
                if matches!(verb, Verb::PutConsent | Verb::Load) {
                    let error = self.auth.authenticate(&acme(), &ada()).await.unwrap_err();
                    self.show_error(&error);
                }
                self.opt_in().await;
                self.token().await;
                if let Err(error) = self.auth.remove_auth(&acme(), &ada()).await {
                    self.show_error(&error);
                }
                self.imports().await;
                if let Err(error) = self.auth.events(EventFilter::default()).await {
                    self.show_error(&error);
                }
            }
        }
    }

    async fn readings(&mut self) {
        let status = self.auth.status(&acme()).await;
        self.show(&status);
        let companies = self.auth.companies(CompanyQuery::default()).await;
        self.show(&companies);
        let everything = EventFilter::new().with_limit(usize::MAX);
        let events = self.auth.events(everything).await.unwrap();
        assert!(events.items.len() > 100, "{}", events.items.len());
        self.show(&events);
        let mut stream = self.auth.event_stream(Some(batchsuite_auth::events::EventId::START));
        let event = stream.next().await;
        self.show(&(event, stream));
        let auth = self.auth.clone();
        self.show(&auth);
    }

    async fn whole(&mut self) {
        self.strange_callbacks().await;
        self.opt_in().await;
        self.token().await;
        self.talkative_errors().await;
        // Every pause has ended.
        self.ups.clock().advance(24 * HOUR);
        self.opt_in().await;
        self.ups.change_password(FakeUps::USER);
        self.token().await;
        self.ups.go_offline().await;
        self.opt_in().await;
        self.token().await;
        self.ups.go_online().await;
        self.ups.clock().advance(24 * HOUR);
        self.opt_in().await;
        let refusing = Self::build(&self.ups, &self.store, &self.http, self.mode, Some(Refuses));
        let agreeing = std::mem::replace(&mut self.auth, refusing);
        self.opt_in().await;
        self.auth.shutdown().await;
        self.auth = agreeing;
        self.store_failures().await;
        self.opt_in().await;
        self.imports().await;
        let _ = self.auth.after_restore().await;
        self.token().await;
        self.readings().await;
        self.auth.remove_auth(&acme(), &ada()).await.unwrap();
        self.all_is_told().await;
        self.auth.shutdown().await;
        let error = self.auth.access_token(&acme()).await.unwrap_err();
        self.show_error(&error);
    }
}

#[tokio::test]
async fn no_secret_is_ever_seen_in_the_whole_life_of_an_opt_in() {
    let log = Log::captured();
    for mode in [ClientAuthentication::Secret, ClientAuthentication::Pkce, ClientAuthentication::PkceWithSecret] {
        let before = log.text().len();
        let mut walk = Walk::begin(mode).await;
        walk.whole().await;
        for (what, secret) in walk.http.exchanges().iter().flat_map(Exchange::secrets) {
            walk.secrets.add(what, secret);
        }

        let mut kinds = vec![
            "access token",
            "authorization code",
            "browser secret",
            "client secret",
            "client secret, as Basic",
            "refresh token",
            "state",
            "webhook key",
            "webhook secret",
        ];
        if mode != ClientAuthentication::Secret {
            kinds.insert(0, "PKCE verifier");
        }
        assert_eq!(walk.secrets.kinds(), kinds, "{mode:?}: every kind of secret occurred");
        let witnessed = walk.store.take_witnessed();
        assert!(walk.shown.len() > 100 && witnessed.len() > 500, "{} {}", walk.shown.len(), witnessed.len());
        let log = log.text().split_off(before);
        let posted = walk.receiver.requests();
        // The request line holds the key in the URL, as it must.
        let posted = posted
            .iter()
            .map(|posted| format!("{}\n{}", posted.head.lines().skip(1).collect::<Vec<_>>().join("\n"), posted.body));
        for part in ["batchsuite_auth", "hyper", "reqwest"] {
            assert!(log.contains(part), "the log of {part} was captured");
        }
        let places = [
            ("the log", log),
            ("errors and types", walk.shown.join("\n")),
            ("the store", Vec::from_iter(witnessed).join("\n")),
            ("what the webhook got", posted.collect::<Vec<_>>().join("\n")),
        ];
        for (place, text) in places {
            let seen = walk.secrets.seen_in(&text);
            assert!(
                seen.is_empty(),
                "{mode:?}: in {place}: {} times\n{}",
                seen.len(),
                seen[..seen.len().min(20)].join("\n")
            );
        }
    }
}
