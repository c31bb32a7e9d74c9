//! The keys used for encryption.

use std::sync::Arc;

use crate::keyring::KeySet;

/// The keys used for encryption.
#[derive(Clone, Debug)]
pub(super) struct Sealing {
    pub(super) keys: Arc<KeySet>,
    /// The keyring's keys at the last comparison. If `keys` differ, that comparison failed; the accepted keys stay in
    /// use, because a pair in hand must be stored.
    pub(super) compared: Arc<KeySet>,
    /// Whether the database records the primary key as the latest encryption key.
    pub(super) is_recorded: bool,
}
