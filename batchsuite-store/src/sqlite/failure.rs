//! Errors inside this store. They are converted once, at the end of a call.

use std::error::Error;

use batchsuite_auth::{
    error::chain,
    ids::InvalidId,
    store::{StoreError, StoreErrorKind},
};
use rusqlite::{ErrorCode, ffi::code_to_str};

/// Any error before its conversion.
pub(super) type Failure = Box<dyn Error + Send + Sync>;
pub(super) type Result<T, E = Failure> = std::result::Result<T, E>;

/// SQLite's code and its generic text for that code, or our message. Never SQLite's message, which may name values.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Reason(String);

pub(super) fn new(kind: StoreErrorKind, message: impl Into<String>) -> StoreError {
    StoreError::new(kind).with_source(Reason(message.into()))
}

pub(super) fn unavailable(message: &str) -> StoreError {
    new(StoreErrorKind::Unavailable, message)
}

/// Converts an error to the store's error.
pub(super) fn judge(failure: impl Into<Failure>) -> StoreError {
    let failure = failure.into();
    if let Some(error) = failure.downcast_ref::<StoreError>() {
        return error.clone();
    }
    if let Some(code) = failure.downcast_ref().and_then(rusqlite::Error::sqlite_error) {
        let (code, kind) = (code.extended_code, kind(code.code));
        return new(kind, format!("SQLite says {code}: {}", code_to_str(code)));
    }
    if failure.is::<rusqlite::Error>() || failure.is::<InvalidId>() {
        return new(StoreErrorKind::Corrupt, "a column holds an invalid value");
    }
    new(StoreErrorKind::Misconfigured, chain(&*failure).to_string())
}

/// The kind of an SQLite error.
fn kind(code: ErrorCode) -> StoreErrorKind {
    match code {
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => StoreErrorKind::Corrupt,
        ErrorCode::TooBig => StoreErrorKind::Rejected,
        ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::ConstraintViolation | ErrorCode::Unknown => {
            StoreErrorKind::Misconfigured
        }
        // Another process is writing, the disk or the memory is full, or the disk fails.
        _ => StoreErrorKind::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    fn of_code(code: i32) -> StoreError {
        judge(rusqlite::Error::SqliteFailure(ffi::Error::new(code), Some("canary".to_owned())))
    }

    #[test]
    fn what_an_operator_must_look_at_is_told_from_what_passes() {
        for (code, kind) in [
            (ffi::SQLITE_BUSY, StoreErrorKind::Unavailable),
            (ffi::SQLITE_FULL, StoreErrorKind::Unavailable),
            (ffi::SQLITE_IOERR_FSYNC, StoreErrorKind::Unavailable),
            (ffi::SQLITE_CANTOPEN, StoreErrorKind::Misconfigured),
            (ffi::SQLITE_READONLY, StoreErrorKind::Misconfigured),
            (ffi::SQLITE_CONSTRAINT_NOTNULL, StoreErrorKind::Misconfigured),
            (ffi::SQLITE_ERROR, StoreErrorKind::Misconfigured),
            (ffi::SQLITE_CORRUPT_INDEX, StoreErrorKind::Corrupt),
            (ffi::SQLITE_NOTADB, StoreErrorKind::Corrupt),
            (ffi::SQLITE_TOOBIG, StoreErrorKind::Rejected),
        ] {
            assert_eq!(of_code(code).kind(), kind, "{code}");
        }
    }

    #[test]
    fn the_message_of_sqlite_is_not_told() {
        let shown = format!("{:?}", of_code(ffi::SQLITE_FULL));

        assert!(shown.contains("SQLite says 13: database or disk is full") && !shown.contains("canary"), "{shown}");
    }
}
