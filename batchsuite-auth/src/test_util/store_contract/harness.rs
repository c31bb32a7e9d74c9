//! What a store brings to its tests.

use std::{fmt, pin::Pin, sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::store::{RowKey, Store};

/// How the suite gets a store to test, and moves its time.
///
/// Each test makes a harness of its own.
#[async_trait]
pub trait Harness: fmt::Debug + Send + Sync + 'static {
    /// An empty store. Called once a test, before anything else.
    async fn fresh(&self) -> Arc<dyn Store>;

    /// Moves the clock of that store ahead. It may run on by itself, too.
    async fn advance(&self, by: Duration);

    /// Moves it back, as one is that was wrong.
    async fn set_back(&self, by: Duration);

    /// Locks a saved row as a slow transaction does, and changes nothing: a save of the row waits until the lock is rolled back.
    /// A store must let it wait for two seconds at least.
    ///
    /// The default is `None`, for a store without locks that outlive a call. Its tests leave the group `locks` out.
    async fn hold(&self, key: &RowKey) -> Option<Held> {
        let _ = key;
        None
    }

    /// Damages a part of a saved row behind the store's back. Whether it did.
    ///
    /// The default is `false`, for a store whose data nobody else can reach. Its tests leave the group `damage` out.
    async fn damage(&self, key: &RowKey, part: Part) -> bool {
        let _ = (key, part);
        false
    }
}

/// A row's lock that a [`Harness`] holds.
#[must_use = "a lock is rolled back"]
pub struct Held(Pin<Box<dyn Future<Output = ()> + Send>>);

impl Held {
    /// A lock that `roll_back` ends, e.g. by the `ROLLBACK` of a transaction. It has ended when that returns.
    pub fn new(roll_back: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(Box::pin(roll_back))
    }

    pub(super) async fn roll_back(self) {
        self.0.await;
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Held(..)")
    }
}

/// A part of a row that can be damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Both tokens: a changed byte in each ciphertext, or a key that is gone.
    Tokens,
    /// The document: something that is no JSON object, as far as the store's column takes it.
    Document,
}
