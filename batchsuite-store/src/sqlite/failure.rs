//! Errors inside this store. They are converted once, at the end of a call.

use std::{error::Error, path::Path};

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
#[error("{message}")]
struct Reason {
    message: String,
    /// Whether another program holds the file's lock.
    is_locked: bool,
}

pub(super) fn new(kind: StoreErrorKind, message: impl Into<String>) -> StoreError {
    StoreError::new(kind).with_source(Reason { message: message.into(), is_locked: false })
}

/// Whether the call failed because another program holds the file's lock.
pub(super) fn is_locked(error: &StoreError) -> bool {
    error.source().and_then(|source| source.downcast_ref()).is_some_and(|reason: &Reason| reason.is_locked)
}

/// The error with the file's path in front of its message.
pub(super) fn of_file(path: &Path, error: &StoreError) -> StoreError {
    let why = error.source().map(ToString::to_string).unwrap_or_default();
    let (message, is_locked) = (format!("{}: {why}", path.display()), is_locked(error));
    StoreError::new(error.kind()).with_source(Reason { message, is_locked })
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
        let (is_locked, kind, code) = (code.code == ErrorCode::DatabaseBusy, kind(code.code), code.extended_code);
        let message = format!("SQLite says {code}: {}", code_to_str(code));
        return StoreError::new(kind).with_source(Reason { message, is_locked });
    }
    if let Some(rusqlite::Error::ToSqlConversionFailure(_)) = failure.downcast_ref() {
        return new(StoreErrorKind::Rejected, "a value does not fit into its column");
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
    fn a_column_with_an_invalid_value_is_damage() {
        let column = rusqlite::Error::InvalidColumnType(0, "number".to_owned(), rusqlite::types::Type::Null);
        let id = batchsuite_auth::CompanyId::new("").unwrap_err();

        for error in [judge(column), judge(id)] {
            assert_eq!(error.kind(), StoreErrorKind::Corrupt);
        }
    }

    #[test]
    fn a_value_that_does_not_fit_into_a_column_is_rejected() {
        let error = judge(rusqlite::Error::ToSqlConversionFailure("out of range".into()));

        assert_eq!(error.kind(), StoreErrorKind::Rejected);
    }

    #[test]
    fn a_lock_of_another_program_is_told_from_other_failures() {
        let path = Path::new("batchsuite.db");

        for (code, held) in [(ffi::SQLITE_BUSY, true), (ffi::SQLITE_FULL, false), (ffi::SQLITE_IOERR_FSYNC, false)] {
            let error = of_code(code);
            assert_eq!(is_locked(&error), held, "{code}");
            assert_eq!(is_locked(&of_file(path, &error)), held, "{code}");
        }
        assert!(!is_locked(&unavailable("it is closed")));
    }

    #[test]
    fn the_message_of_sqlite_is_not_told() {
        let shown = format!("{:?}", of_code(ffi::SQLITE_FULL));

        assert!(shown.contains("SQLite says 13: database or disk is full") && !shown.contains("canary"), "{shown}");
    }
}
