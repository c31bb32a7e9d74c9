//! The orders that a process accepts.

use std::{collections::BTreeMap, error::Error, sync::Arc, time::Duration};

use batchsuite_auth::{AccessToken, BatchSuiteAuth, CompanyId, error::TokenError, secret::BrowserSecret};
use batchsuite_tests::{ShiftedClock, ada, company};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{callers::Callers, note_book::NoteBook, points::Points};

/// The receiver of orders.
pub(crate) struct Desk {
    pub(crate) auth: BatchSuiteAuth,
    pub(crate) clock: ShiftedClock,
    pub(crate) points: Points,
    pub(crate) callers: Arc<Callers>,
}

impl Desk {
    pub(crate) async fn follow(&self, order: &Value) -> Value {
        let text = |name: &str| order[name].as_str().unwrap_or_default();
        let number = |name: &str| order[name].as_u64().unwrap_or_default();
        match text("do") {
            "token" => match id(text("company")) {
                Some(company) => self.token(&company, order["patience"].as_u64()).await,
                None => json!({"error": "no company"}),
            },
            "callers" => {
                let companies = (0..number("callers")).map(|_| text("company").to_owned());
                self.all(companies).await
            }
            "each" => {
                let companies = (0..number("companies")).map(|index| format!("{}-{index}", text("company")));
                self.all(companies).await
            }
            "authenticate" => match self.auth.authenticate(&company(text("company")), &ada()).await {
                Ok(trip) => json!({"url": trip.url, "browser": trip.browser_secret.expose_secret()}),
                Err(error) => json!({"error": error.to_string()}),
            },
            "callback" => {
                let browser = BrowserSecret::new(text("browser"));
                done(self.auth.callback(&ada(), text("query"), &browser).await)
            }
            "deliver" => {
                let name = text("name").to_owned();
                match NoteBook::open(text("file"), name).map(|notes| self.auth.deliver(text("consumer"), notes)) {
                    Ok(Ok(delivery)) => {
                        delivery.begun().await;
                        json!({})
                    }
                    other => json!({"error": format!("{other:?}")}),
                }
            }
            "serve" => {
                let companies = (number("first")..number("companies")).step_by(number("step").max(1) as usize);
                for company in companies.filter_map(|index| id(&format!("{}-{index}", text("company")))) {
                    self.callers.begin(self.auth.clone(), company, Duration::from_millis(number("every")));
                }
                json!({})
            }
            "served" => self.callers.told(),
            "remove" => done(self.auth.remove_auth(&company(text("company")), &ada()).await),
            "rejected" => self.rejected(&company(text("company")), text("token")).await,
            "drop" => self.drop_callers(text("company"), number("companies"), number("callers")).await,
            "stop_at" => match self.points.stop_at(text("point")) {
                true => json!({}),
                false => json!({"error": "no such point"}),
            },
            "go" => {
                self.points.go();
                json!({})
            }
            "advance" => {
                self.clock.advance(Duration::from_secs(number("seconds")));
                json!({})
            }
            "gaps" => {
                let gaps = self.points.gaps();
                json!({"microseconds": gaps.iter().map(Duration::as_micros).map(|gap| gap as u64).collect::<Vec<_>>()})
            }
            "shutdown" => {
                self.auth.shutdown().await;
                json!({})
            }
            other => json!({"error": format!("no such order: {other}")}),
        }
    }

    /// A caller that may give up after some milliseconds.
    async fn token(&self, company: &CompanyId, patience: Option<u64>) -> Value {
        let caller = self.auth.access_token(company);
        let Some(patience) = patience else { return told(&caller.await) };
        match tokio::time::timeout(Duration::from_millis(patience), caller).await {
            Ok(outcome) => told(&outcome),
            Err(_) => json!({"error": "out of patience"}),
        }
    }

    /// An API refused this token.
    async fn rejected(&self, company: &CompanyId, token: &str) -> Value {
        match self.auth.access_token(company).await {
            Ok(current) if current.expose_secret() == token => {
                told(&self.auth.report_rejected(company, &current).await)
            }
            other => told(&other),
        }
    }

    /// Concurrent callers, one for each of `companies`: counts by token and by error.
    async fn all(&self, companies: impl Iterator<Item = String>) -> Value {
        let mut callers = JoinSet::new();
        for company in companies.filter_map(|name| id(&name)) {
            let auth = self.auth.clone();
            callers.spawn(async move { told(&auth.access_token(&company).await) });
        }
        let (mut tokens, mut errors) = (BTreeMap::<String, u64>::new(), BTreeMap::<String, u64>::new());
        for answer in callers.join_all().await {
            match answer["token"].as_str() {
                Some(token) => *tokens.entry(token.to_owned()).or_default() += 1,
                None => *errors.entry(answer.to_string()).or_default() += 1,
            }
        }
        json!({"tokens": tokens, "errors": errors})
    }

    /// Callers of random companies that give up at random times: how many gave up, and how many got a token.
    async fn drop_callers(&self, prefix: &str, companies: u64, callers: u64) -> Value {
        let mut waiting = JoinSet::new();
        for _ in 0..callers {
            let name = format!("{prefix}-{}", rand::random_range(0..companies.max(1)));
            let Some(company) = id(&name) else { continue };
            let (auth, patience) = (self.auth.clone(), Duration::from_micros(rand::random_range(0..60_000)));
            waiting.spawn(async move { tokio::time::timeout(patience, auth.access_token(&company)).await.ok() });
        }
        let outcomes = waiting.join_all().await;
        let dropped = outcomes.iter().filter(|outcome| outcome.is_none()).count();
        let served = outcomes.iter().filter(|outcome| matches!(outcome, Some(Ok(_)))).count();
        json!({"dropped": dropped, "served": served, "failed": outcomes.len() - dropped - served})
    }
}

fn id(name: &str) -> Option<CompanyId> {
    CompanyId::new(name).ok()
}

fn done(outcome: Result<impl Sized, impl Error>) -> Value {
    outcome.map_or_else(|error| json!({"error": error.to_string()}), |_| json!({"done": true}))
}

fn told(outcome: &Result<AccessToken, TokenError>) -> Value {
    match outcome {
        Ok(token) => json!({"token": token.expose_secret(), "version": token.revision().version}),
        Err(TokenError::ReauthRequired(cause)) => json!({"error": "reauth", "cause": format!("{:?}", cause.kind)}),
        Err(TokenError::NotAuthenticated) => json!({"error": "not authenticated"}),
        Err(error) if error.is_transient() => json!({"error": "transient", "text": error.to_string()}),
        Err(error) => json!({"error": "other", "text": error.to_string()}),
    }
}
