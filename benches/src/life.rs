//! The saves in a company's life, as the library makes them. They opt any number of companies into any store without a
//! browser.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use batchsuite_auth::{
    ActorId, BatchSuiteAuth, CompanyId, Environment,
    clock::{Clock, SystemClock, Timestamp, earlier},
    forward_store,
    ids::Revision,
    secret::{AccessTokenSecret, RefreshToken},
    store::{Call, Row, RowKey, Saved, Store, Swap, TokenChange, Tokens},
};
use batchsuite_store::MemoryStore;

use crate::companies::{self, text};

/// The saves that the library made for one company.
#[derive(Clone, Debug)]
pub struct Life(Vec<Swap>);

impl Life {
    /// An opt-in of this age: the step `connect`.
    ///
    /// # Panics
    /// If the opt-in fails.
    pub async fn begun_ago(age: Duration) -> Self {
        Self::led(age, async |_, _| {}).await
    }

    /// The same, and a caller's refresh of the expired token: the steps `claim` and `commit`.
    ///
    /// # Panics
    /// If the opt-in or the refresh fails.
    pub async fn with_a_refresh() -> Self {
        let refresh =
            async |auth: &BatchSuiteAuth, company: &CompanyId| drop(auth.access_token(company).await.expect("a token"));
        Self::led(companies::ENDED, refresh).await
    }

    async fn led(age: Duration, then: impl AsyncFn(&BatchSuiteAuth, &CompanyId)) -> Self {
        let clock = Arc::new(SetBack(AtomicU64::new(age.as_secs())));
        let saves = Arc::new(Mutex::new(Vec::new()));
        let store = Witness { store: MemoryStore::with_clock(Arc::clone(&clock)), saves: Arc::clone(&saves) };
        let auth = companies::authenticator(store).clock(Arc::clone(&clock)).build().expect("the settings fit");
        let (company, actor) = (companies::name(0), ActorId::new("bench").expect("a valid name"));

        let trip = auth.authenticate(&company, &actor).await.expect("a trip");
        let state = trip.url.query_pairs().find_map(|(name, state)| (name == "state").then_some(state));
        let query = format!("code=bench&state={}", state.expect("a state"));
        auth.callback(&actor, query, &trip.browser_secret).await.expect("an opt-in");
        clock.0.store(0, Relaxed);
        then(&auth, &company).await;
        auth.shutdown().await;
        let saves = std::mem::take(&mut *saves.lock().unwrap_or_else(PoisonError::into_inner));
        Self(saves)
    }

    /// The save of a step.
    ///
    /// # Panics
    /// If there is no such step.
    pub fn step(&self, name: &str) -> &Swap {
        self.0.iter().find(|swap| swap.step == name).unwrap_or_else(|| panic!("no {name} in {:?}", self.0))
    }

    /// Opts a company in, again if it had opted in before.
    ///
    /// # Panics
    /// If the store rejects the save.
    pub async fn opt_in(&self, store: &dyn Store, company: &CompanyId) {
        let row = store.load(&RowKey::company(Environment::Cie, company.clone())).await.expect("a row");
        let saved = store.save(self.opt_in_over(row)).await.expect("the store accepts the save");
        assert!(matches!(saved, Saved::Yes { .. }), "there is no other writer");
    }

    fn opt_in_over(&self, row: Row) -> Swap {
        Swap {
            key: row.key,
            expected: row.number,
            revision: Revision { epoch: row.revision.epoch + 1, version: 1 },
            tokens: TokenChange::Replace(tokens(text(), text())),
            ..self.step("connect").clone()
        }
    }
}

/// A pair with these texts.
pub fn tokens(access: String, refresh: String) -> Tokens {
    Tokens { access: Some(AccessTokenSecret::new(access)), refresh: Some(RefreshToken::new(refresh)) }
}

/// The system's clock, set back by this many seconds.
#[derive(Debug)]
struct SetBack(AtomicU64);

impl Clock for SetBack {
    fn now(&self) -> Timestamp {
        earlier(SystemClock.now(), Duration::from_secs(self.0.load(Relaxed)))
    }
}

/// Records the saves of a company.
#[derive(Debug)]
struct Witness {
    store: MemoryStore,
    saves: Arc<Mutex<Vec<Swap>>>,
}

forward_store! {
    impl [] Store for Witness;
    |this| &this.store;
    |this, call| if let Call::Save(swap) = call {
        this.saves.lock().unwrap_or_else(PoisonError::into_inner).push(swap.clone());
    };
    |_this, _saved, answer| answer.await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_life_is_what_the_library_saves() {
        let names = |life: &Life| life.0.iter().map(|swap| swap.step).collect::<Vec<_>>();

        assert_eq!(names(&Life::begun_ago(Duration::ZERO).await), ["connect"]);
        assert_eq!(names(&Life::with_a_refresh().await), ["connect", "claim", "commit"]);
    }
}
