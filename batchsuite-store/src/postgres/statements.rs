//! The SQL: one file a verb, written for the schema of the host's choice.

use tokio_postgres::types::Type;

use super::schema::Schema;

/// One statement and the types of its parameters. They are told, not asked for: what is sent without a name gets along
/// without a round trip more.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) sql: String,
    pub(super) parameters: &'static [Type],
}

macro_rules! statements {
    ($($name:ident: $file:literal [$($with:literal => $fragment:expr),*] ($($parameter:ident),*);)+) => {
        /// Everything that the verbs say to the database.
        #[derive(Debug)]
        pub(super) struct Statements {
            $(pub(super) $name: Statement,)+
        }

        impl Statements {
            pub(super) fn new(schema: &Schema) -> Self {
                Self {$(
                    $name: Statement {
                        sql: schema.write(&include_str!(concat!("sql/", $file, ".sql"))$(.replace($with, $fragment))*),
                        parameters: &[$(Type::$parameter),*],
                    },
                )+}
            }

            /// All of them, by name.
            pub(super) fn all(&self) -> impl Iterator<Item = (&'static str, &Statement)> {
                [$((stringify!($name), &self.$name)),+].into_iter()
            }
        }
    };
}

/// The columns that a snapshot is read from, but for the secrets.
const GRANT: &str = include_str!("sql/fragments/grant.sql");
/// That a company is neither under lease, nor pausing, nor reserved.
const FREE: &str = include_str!("sql/fragments/free.sql");
const OF_COMPANY: &str = "company = $2";
const OF_ALL: &str = "$2::text IS NULL";

statements! {
    begin_consent: "begin_consent" [] (
        UUID, TEXT, TEXT, TEXT, BYTEA, BYTEA, BYTEA, TEXT, TEXT, TEXT, FLOAT8, INT8, INT8
    );
    take_consent: "take_consent" [] (TEXT, BYTEA, BYTEA, TEXT, TEXT, INT4, TEXT, TEXT, UUID);
    used_consent: "used_consent" [] (TEXT, BYTEA, BYTEA, TEXT);
    connect: "connect" ["{grant}" => GRANT] (
        TEXT, TEXT, INT8, UUID, INT8, TIMESTAMPTZ, TEXT, TEXT, BYTEA, BYTEA, FLOAT8, FLOAT8, FLOAT8, FLOAT8, INT8,
        TIMESTAMPTZ, BOOL
    );
    load: "load" ["{grant}" => GRANT] (TEXT, TEXT);
    claim_refresh: "claim_refresh" [] (TEXT, TEXT, INT8, INT8, UUID, FLOAT8);
    give_back: "give_back" [] (TEXT, TEXT, INT8, INT8, UUID, FLOAT8, TEXT, INT4, TEXT, TEXT, UUID);
    commit_refresh: "commit_refresh" ["{grant}" => GRANT] (
        TEXT, TEXT, INT8, INT8, BYTEA, BYTEA, FLOAT8, FLOAT8, FLOAT8, FLOAT8, INT8, FLOAT8, UUID, BOOL
    );
    settle_refresh: "settle_refresh" [] (
        TEXT, TEXT, INT8, INT8, UUID, BOOL, FLOAT8, TEXT, INT4, TEXT, TEXT, UUID
    );
    remove: "remove" ["{grant}" => GRANT] (TEXT, TEXT, TEXT);
    mark_unanswered: "mark_unanswered" [] (TEXT);
    record: "record" [] (TEXT, TEXT, TEXT, TEXT, INT4, TEXT, TEXT, UUID);
    due: "due" ["{grant}" => GRANT, "{free}" => FREE] (TEXT, TEXT, FLOAT8, FLOAT8, FLOAT8, INT8);
    record_use: "record_use" [] (TEXT, TEXT_ARRAY);
    warn_expiring: "warn_expiring" [] (TEXT, TEXT, FLOAT8_ARRAY, INT8);
    list: "list" ["{grant}" => GRANT] (TEXT, TEXT, TEXT, TEXT, INT8);
    events_oldest_first: "events_oldest_first" ["{whose}" => OF_ALL] (TEXT, TEXT, INT8, INT8, INT8);
    events_newest_first: "events_newest_first" ["{whose}" => OF_ALL] (TEXT, TEXT, INT8, INT8);
    company_events_oldest_first: "events_oldest_first" ["{whose}" => OF_COMPANY] (TEXT, TEXT, INT8, INT8, INT8);
    company_events_newest_first: "events_newest_first" ["{whose}" => OF_COMPANY] (TEXT, TEXT, INT8, INT8);
    horizon: "horizon" [] ();
    changes: "changes" [] (TEXT, INT8, INT8);
    prune_events: "prune_events" [] (FLOAT8, INT8);
    known_keys: "known_keys" [] ();
    add_key: "add_key" [] (TEXT, BYTEA);
    overview: "overview" [] (TEXT, FLOAT8);
    sealed_otherwise: "sealed_otherwise" [] (TEXT, TEXT, BYTEA, INT8);
    seal_anew: "seal_anew" [] (TEXT, TEXT, BYTEA, BYTEA, BYTEA, BYTEA);
}
