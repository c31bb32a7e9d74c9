//! Which rows are found by how they are listed.

use batchsuite_auth::store::ListedAs;

/// The status that most companies have: the index of the others leaves it out.
pub(crate) const NOT_INDEXED: ListedAs = ListedAs::Authenticated;
