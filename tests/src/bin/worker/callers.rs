//! The callers of a service: each asks for its company's token again and again.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use batchsuite_auth::{
    BatchSuiteAuth, CompanyId,
    clock::{Clock as _, SystemClock},
    error::TokenError,
};
use serde_json::{Value, json};
use tokio::time::sleep;

/// What callers have been told.
#[derive(Debug, Default)]
pub(crate) struct Callers(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    /// Since when each company's callers have got a token each time, in microseconds since 1970; `None`: the last one got
    /// none.
    served_since: BTreeMap<CompanyId, Option<i64>>,
    tokens: u64,
    transient: u64,
    /// What else callers were told. Only a person or an operator could help.
    wrong: Vec<String>,
}

impl Callers {
    /// Asks for the company's token about this often, for as long as the process lives.
    pub(crate) fn begin(self: &Arc<Self>, auth: BatchSuiteAuth, company: CompanyId, every: Duration) {
        let callers = Arc::clone(self);
        tokio::spawn(async move {
            loop {
                sleep(every.mul_f64(rand::random_range(0.5..1.5))).await;
                let outcome = auth.access_token(&company).await;
                callers.tell(&company, outcome.err());
            }
        });
    }

    fn tell(&self, company: &CompanyId, error: Option<TokenError>) {
        let mut told = self.lock();
        let served_since = told.served_since.entry(company.clone()).or_default();
        match error {
            None => {
                served_since.get_or_insert_with(|| SystemClock.now().timestamp_micros());
                told.tokens += 1;
            }
            Some(error) => {
                *served_since = None;
                match error.is_transient() {
                    true => told.transient += 1,
                    false => told.wrong.push(format!("{company}: {error}")),
                }
            }
        }
    }

    /// All of it.
    pub(crate) fn told(&self) -> Value {
        let told = self.lock();
        let served_since: Vec<_> = told.served_since.values().collect();
        json!({
            "served_since": served_since,
            "tokens": told.tokens,
            "transient": told.transient,
            "wrong": told.wrong,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
