//! A store's side of its tests.

use std::{fmt, pin::Pin, sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::store::{RowKey, Store};

/// Creates the store under test and controls its time.
///
/// Each test creates its own harness.
#[async_trait]
pub trait Harness: fmt::Debug + Send + Sync + 'static {
    /// An empty store. Called once per test, before anything else.
    async fn fresh(&self) -> Arc<dyn Store>;

    /// Moves the store's clock ahead. The clock may also run by itself.
    async fn advance(&self, by: Duration);

    /// Moves the store's clock back, as when a wrong clock is corrected.
    async fn set_back(&self, by: Duration);

    /// Locks a saved row as a slow transaction would, without changing it: a save of the row waits until the lock is
    /// rolled back. The store must let that save wait for at least two seconds.
    ///
    /// The default is `None`, for a store without locks that outlive a call. Such a store's tests omit the group
    /// `locks`.
    async fn hold(&self, key: &RowKey) -> Option<Held> {
        let _ = key;
        None
    }

    /// Damages a part of a saved row behind the store's back; returns whether it did.
    ///
    /// The default is `false`, for a store whose data nobody else can reach. Such a store's tests omit the group
    /// `damage`.
    async fn damage(&self, key: &RowKey, part: Part) -> bool {
        let _ = (key, part);
        false
    }
}

/// A row lock held by a [`Harness`].
#[must_use = "a lock is rolled back"]
pub struct Held(Pin<Box<dyn Future<Output = ()> + Send>>);

impl Held {
    /// A lock released by `roll_back`, e.g. the `ROLLBACK` of a transaction. When `roll_back` returns, the lock is
    /// released.
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
    /// Both tokens: a changed byte in each ciphertext, or a missing key.
    Tokens,
    /// The document: not a JSON object, as far as the store's column accepts that.
    Document,
    /// The row's latest event: of a kind that this release does not know.
    Event,
}
