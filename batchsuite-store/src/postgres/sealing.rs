//! Which keys seal.

use std::sync::Arc;

use crate::keyring::KeySet;

/// The keys that seal.
#[derive(Clone, Debug)]
pub(super) struct Sealing {
    pub(super) keys: Arc<KeySet>,
    /// Those of the keyring when they were last compared. If they are others, they were refused: a pair in hand must be stored.
    pub(super) compared: Arc<KeySet>,
    /// Whether the database knows the primary key as the one that seals now.
    pub(super) is_recorded: bool,
}
