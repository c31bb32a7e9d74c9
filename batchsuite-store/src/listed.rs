//! The statuses by which rows are indexed.

use batchsuite_auth::store::ListedAs;

/// The status of most companies; the index of statuses omits it.
pub(crate) const NOT_INDEXED: ListedAs = ListedAs::Authenticated;
