//! Converts database errors to store errors, without the statement's data.

use std::{error::Error, fmt};

use batchsuite_auth::{
    error::chain,
    store::{StoreError, StoreErrorKind},
};
use deadpool_postgres::PoolError;
use tokio_postgres::error::SqlState;

/// The result of a store operation.
pub(in crate::postgres) type Result<T, E = StoreError> = std::result::Result<T, E>;

/// The part of a database error that may be shown: its SQLSTATE and, if the message concerns objects and not values,
/// its message. Never the detail, which shows rows. It is the [`source`](Error::source) of each [`StoreError`] of this
/// store that the database caused.
#[derive(Debug)]
pub struct PostgresError {
    code: Option<String>,
    message: Option<String>,
}

impl PostgresError {
    /// The database error that caused `error`.
    pub fn of(error: &StoreError) -> Option<&Self> {
        error.source()?.downcast_ref()
    }

    /// The SQLSTATE, five characters; `None`: the server did not answer or was not asked.
    pub fn sql_state(&self) -> Option<&str> {
        self.code.as_deref()
    }
}

impl fmt::Display for PostgresError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.code, &self.message) {
            (Some(code), Some(message)) => write!(f, "the database says {code}: {message}"),
            (Some(code), None) => write!(f, "the database says {code}"),
            (None, Some(message)) => f.write_str(message),
            (None, None) => f.write_str("the database could not be asked"),
        }
    }
}

impl Error for PostgresError {}

pub(in crate::postgres) fn of_database(error: &tokio_postgres::Error) -> StoreError {
    let Some(answer) = error.as_db_error() else { return of_connection(error) };
    let (kind, speaks_of_objects) = judge(answer.code());
    let failure = PostgresError {
        code: Some(answer.code().code().to_owned()),
        message: speaks_of_objects.then(|| answer.message().to_owned()),
    };
    StoreError::new(kind).with_source(failure)
}

pub(in crate::postgres) fn of_pool(error: &PoolError) -> StoreError {
    match error {
        PoolError::Backend(error) => of_database(error),
        _ => unavailable("the pool has no connection"),
    }
}

pub(in crate::postgres) fn unavailable(message: &str) -> StoreError {
    without_code(StoreErrorKind::Unavailable, message)
}

pub(in crate::postgres) fn misconfigured(message: impl Into<String>) -> StoreError {
    without_code(StoreErrorKind::Misconfigured, message)
}

pub(in crate::postgres) fn corrupt(message: impl Into<String>) -> StoreError {
    without_code(StoreErrorKind::Corrupt, message)
}

fn without_code(kind: StoreErrorKind, message: impl Into<String>) -> StoreError {
    StoreError::new(kind).with_source(PostgresError { code: None, message: Some(message.into()) })
}

/// Whether the connection failed, and not the statement: anything sent over it next would fail as well.
pub(in crate::postgres) fn concerns_the_connection(error: &tokio_postgres::Error) -> bool {
    error.code().is_none_or(|state| ends_a_connection(state.code()))
}

/// Whether all connections made so far are affected, because the server or the prepared statements changed. (A damaged
/// page fails on every connection alike, and a transaction concerns one connection.)
pub(in crate::postgres) fn concerns_all_connections(error: &tokio_postgres::Error) -> bool {
    error.code().is_none_or(|state| ends_all_connections(state.code()))
}

/// Whether the server did not execute the statement for a reason that another connection may not have.
pub(in crate::postgres) fn is_worth_another_connection(error: &StoreError) -> bool {
    let state = PostgresError::of(error).and_then(PostgresError::sql_state);
    state.is_some_and(|state| matches!(state, READ_ONLY | STATEMENT_MISSING | STATEMENT_EXISTS | PLAN_CHANGED))
}

/// Whether the server has no room for another connection, or does not accept connections yet.
pub(in crate::postgres) fn is_refused_for_now(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|state| matches!(state.code(), "53300" | "57P03"))
}

/// Whether the server or a pooler refused another connection, perhaps for lack of room. (A pooler uses one code for all
/// reasons, 08P01.)
pub(in crate::postgres) fn is_refused(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|state| state.code().starts_with("08"))
}

/// The server does not accept writes; after a fail-over it may have become a standby.
const READ_ONLY: &str = "25006";
/// A prepared statement is missing: somebody discarded it, or a pooler switched servers.
const STATEMENT_MISSING: &str = "26000";
/// A prepared statement with this name exists: a pooler switched servers.
const STATEMENT_EXISTS: &str = "42P05";
/// "Cached plan must not change result type". (This code is not specific to it, and the text is in the server's
/// language.)
const PLAN_CHANGED: &str = "0A000";

fn ends_a_connection(state: &str) -> bool {
    // Connection failure, invalid transaction state, authorization, missing database, system error, internal error.
    matches!(state.get(..2), Some("08" | "25" | "28" | "3D" | "58" | "XX"))
        // Operator intervention, except a statement time-out.
        || (state.starts_with("57P"))
        || matches!(state, STATEMENT_MISSING | STATEMENT_EXISTS | PLAN_CHANGED)
}

fn ends_all_connections(state: &str) -> bool {
    state == READ_ONLY || (ends_a_connection(state) && !matches!(state.get(..2), Some("25" | "58" | "XX")))
}

/// A connection error concerns addresses and I/O, and so do its causes.
pub(in crate::postgres) fn of_connection(error: &tokio_postgres::Error) -> StoreError {
    unavailable(&chain(error).to_string())
}

/// The error's kind, and whether its message concerns database objects.
fn judge(state: &SqlState) -> (StoreErrorKind, bool) {
    use StoreErrorKind::{Corrupt, Misconfigured, Rejected, Unavailable};
    if matches!(state.code(), STATEMENT_MISSING | STATEMENT_EXISTS) {
        return (Unavailable, true);
    }
    match state.code().get(..2).unwrap_or_default() {
        // Connection failure, resources, operator intervention, system error.
        "08" | "53" | "57" | "58" => (Unavailable, true),
        // A rollback (deadlock, serialization failure), or a lock not acquired in time.
        "40" | "55" => (Unavailable, true),
        // A read-only transaction: a standby before or after a fail-over.
        "25" => (Unavailable, true),
        "XX" => (Corrupt, true),
        // Rights, names, authentication; a missing database, schema, table or function.
        "28" | "3D" | "3F" | "42" => (Misconfigured, true),
        // Division by zero, invalid interval or position: the statement is wrong, not the value.
        "22" if ["22012", "22011", "22013", "22014", "22016"].contains(&state.code()) => (Misconfigured, false),
        // A value that the database rejects: a character outside its encoding, a text that is too long.
        "22" => (Rejected, false),
        // Constraint violations and everything else.
        _ => (Misconfigured, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_operator_must_look_at_is_told_from_what_passes() {
        for (code, kind) in [
            ("08006", StoreErrorKind::Unavailable),
            ("57P01", StoreErrorKind::Unavailable),
            ("57014", StoreErrorKind::Unavailable),
            ("53300", StoreErrorKind::Unavailable),
            ("40P01", StoreErrorKind::Unavailable),
            ("25006", StoreErrorKind::Unavailable),
            ("26000", StoreErrorKind::Unavailable),
            ("42P05", StoreErrorKind::Unavailable),
            ("XX001", StoreErrorKind::Corrupt),
            ("42P01", StoreErrorKind::Misconfigured),
            ("28P01", StoreErrorKind::Misconfigured),
            ("3F000", StoreErrorKind::Misconfigured),
            ("23505", StoreErrorKind::Misconfigured),
            ("22P05", StoreErrorKind::Rejected),
            ("22021", StoreErrorKind::Rejected),
            ("22001", StoreErrorKind::Rejected),
            ("22012", StoreErrorKind::Misconfigured),
        ] {
            assert_eq!(judge(&SqlState::from_code(code)).0, kind, "{code}");
        }
    }

    #[test]
    fn a_fault_of_the_connection_is_told_from_one_of_the_statement() {
        for state in [
            "08003", "08006", "08P01", "0A000", "25006", "25P02", "25P03", "26000", "42P05", "57P01", "57P02", "57P03",
            "57P05", "58030", "XX000",
        ] {
            assert!(ends_a_connection(state), "{state}");
        }
        for state in ["23505", "22P05", "40P01", "42501", "42P01", "53100", "55P03", "57014"] {
            assert!(!ends_a_connection(state), "{state}");
        }
    }

    #[test]
    fn a_fault_of_all_connections_is_told_from_one_of_a_single_one() {
        for state in ["08006", "08P01", "0A000", "25006", "26000", "28P01", "3D000", "42P05", "57P01", "57P03"] {
            assert!(ends_all_connections(state), "{state}");
        }
        for state in ["23505", "25P02", "25P03", "40P01", "42P01", "55P03", "57014", "58030", "XX000", "XX001"] {
            assert!(!ends_all_connections(state), "{state}");
        }
    }

    #[test]
    fn the_message_about_an_object_is_told() {
        for code in ["08006", "26000", "28P01", "3D000", "3F000", "40P01", "42501", "42P01", "53300", "57P01", "XX001"]
        {
            assert!(judge(&SqlState::from_code(code)).1, "{code}");
        }
    }

    #[test]
    fn the_message_about_a_value_is_not_told() {
        for code in ["22P02", "22P05", "22021", "23505", "23514", "P0001"] {
            assert!(!judge(&SqlState::from_code(code)).1, "{code}");
        }
    }
}
