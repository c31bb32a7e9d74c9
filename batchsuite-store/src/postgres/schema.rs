//! The host's schema, and SQL qualified with it.

use std::{fmt, time::Duration};

use batchsuite_auth::store::{
    FURTHEST_WAKE, HIDDEN_FOR, LONGEST_DELIVERY_LEASE, MOST_EVENTS, MOST_LISTED, USE_RECORDED_WITHIN,
    USED_CONSENT_KNOWN,
};

/// Whether a server crash can lose committed data. A setting stronger than `on` is kept.
pub(super) const IS_CARELESS: &str = "current_setting('synchronous_commit') IN ('off', 'local', 'remote_write')";
/// For this transaction alone, also behind a pooler. Part of the select list, which is evaluated for each row; an
/// unreferenced CTE would not be evaluated.
const DURABLE: &str = "CASE WHEN {careless} THEN set_config('synchronous_commit', 'on', true) END";

/// A schema name that needs no quoting.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Schema(String);

impl Schema {
    /// `None` unless the name is 1 to 50 lower-case letters, digits and underscores, beginning with a letter. (Postgres
    /// truncates names at 63 bytes, and the notification channel adds a prefix.)
    pub(super) fn new(name: &str) -> Option<Self> {
        let valid = (1..=50).contains(&name.len())
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
            // The server reserves names with this prefix.
            && !name.starts_with("pg_");
        valid.then(|| Self(name.to_owned()))
    }

    pub(super) fn name(&self) -> &str {
        &self.0
    }

    /// The channel for change notifications.
    pub(super) fn channel(&self) -> String {
        format!("batchsuite_{}", self.0)
    }

    /// Fills in the placeholders of SQL: `{schema}`; `{now}`, the statement's time, usable in an index condition;
    /// `{clock}`, the current time, also after a wait for a lock; `{microseconds}`, the current time in microseconds
    /// since 1970; `{durable}`, which makes the transaction's commit durable whatever the server's default; and the
    /// contract's bounds: numbers of rows and events, and intervals.
    pub(super) fn write(&self, sql: &str) -> String {
        sql.replace("{durable}", DURABLE)
            .replace("{careless}", IS_CARELESS)
            .replace("{most_events}", &MOST_EVENTS.to_string())
            .replace("{most_listed}", &MOST_LISTED.to_string())
            .replace("{hidden_for}", &interval(HIDDEN_FOR))
            .replace("{longest_delivery_lease}", &interval(LONGEST_DELIVERY_LEASE))
            .replace("{furthest_wake}", &interval(FURTHEST_WAKE))
            .replace("{use_recorded_within}", &interval(USE_RECORDED_WITHIN))
            .replace("{used_consent_known}", &interval(USED_CONSENT_KNOWN))
            .replace("{now}", "(now() + {schema}.clock_offset())")
            .replace("{microseconds}", "(1000000 * extract(epoch FROM {clock}))::bigint")
            .replace("{clock}", "(clock_timestamp() + {schema}.clock_offset())")
            .replace("{schema}", &format!("\"{}\"", self.0))
    }
}

fn interval(duration: Duration) -> String {
    format!("interval '{} seconds'", duration.as_secs())
}

impl Default for Schema {
    fn default() -> Self {
        Self("batchsuite".to_owned())
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_a_plain_lower_case_name() {
        for valid in ["batchsuite", "a", "tenant_7", &"x".repeat(50)] {
            assert_eq!(Schema::new(valid).unwrap().name(), valid);
        }
        assert_eq!(format!("{:?}", Schema::new("tenant_7").unwrap()), "tenant_7");
        for invalid in ["", "Upper", "7up", "_a", "a-b", "a\"b", "a.b", "a b", "pg_x", "sch\u{e9}ma", &"x".repeat(51)] {
            assert_eq!(Schema::new(invalid), None, "{invalid:?}");
        }
    }
}
