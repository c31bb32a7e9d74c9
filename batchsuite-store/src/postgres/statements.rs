//! The SQL: one file a statement, written for the schema of the host's choice.

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
    ($($name:ident: $file:literal $(where $part:literal = $text:expr)? => ($($parameter:ident),*);)+) => {
        /// Everything that the verbs say to the database. Each begins with its name, for whoever looks at what a server does.
        #[derive(Debug)]
        pub(super) struct Statements {
            $(pub(super) $name: Statement,)+
        }

        impl Statements {
            pub(super) fn new(schema: &Schema) -> Self {
                Self {$(
                    $name: Statement {
                        sql: format!(
                            "/* batchsuite {} */\n{}",
                            stringify!($name),
                            schema.write(&with_fragments(
                                &include_str!(concat!("sql/", $file, ".sql"))$(.replace($part, $text))?
                            ))
                        ),
                        parameters: &[$(Type::$parameter),*],
                    },
                )+}
            }
        }
    };
}

macro_rules! fragment {
    ($name:literal) => {
        include_str!(concat!("sql/fragments/", $name, ".sql"))
    };
}

/// What several statements have in common.
fn with_fragments(sql: &str) -> String {
    sql.replace("{listed}", fragment!("listed"))
        .replace("{row}", fragment!("row"))
        .replace("{tokens}", fragment!("tokens"))
        .replace("{consents}", fragment!("consents"))
        .replace("{event}", fragment!("event"))
}

const OF_COMPANY: &str = "company = $2";
const OF_ALL: &str = "$2::text IS NULL";

statements! {
    load: "load" => (TEXT, TEXT);
    save: "save" where "{token_change}" = "" => (
        TEXT, TEXT, INT8, TIMESTAMPTZ, TIMESTAMPTZ, TEXT, INT8, INT8, TEXT, BOOL, TIMESTAMPTZ, TIMESTAMPTZ, TIMESTAMPTZ,
        BOOL, TEXT
    );
    save_and_replace: "save" where "{token_change}" = fragment!("replace_tokens") => (
        TEXT, TEXT, INT8, TIMESTAMPTZ, TIMESTAMPTZ, TEXT, INT8, INT8, TEXT, BOOL, TIMESTAMPTZ, TIMESTAMPTZ, TIMESTAMPTZ,
        BOOL, TEXT, BYTEA, BYTEA
    );
    save_and_erase: "save" where "{token_change}" = fragment!("erase_tokens") => (
        TEXT, TEXT, INT8, TIMESTAMPTZ, TIMESTAMPTZ, TEXT, INT8, INT8, TEXT, BOOL, TIMESTAMPTZ, TIMESTAMPTZ, TIMESTAMPTZ,
        BOOL, TEXT
    );
    wake: "wake" => (TEXT, INT8, TIMESTAMPTZ);
    record_use: "record_use" => (TEXT, TEXT_ARRAY);
    list: "list" => (TEXT, TEXT, INT8, BYTEA);
    list_some: "list_some" => (TEXT, TEXT, INT8, BYTEA, TEXT_ARRAY, BOOL);
    put_consent: "put_consent" => (
        TEXT, UUID, TEXT, TEXT, BYTEA, BYTEA, BYTEA, TEXT, TEXT, TEXT, INT8, FLOAT8, INT8, INT8, TEXT, TEXT, TEXT
    );
    find_consent: "find_consent" => (TEXT, BYTEA);
    use_consent: "use_consent" => (TEXT, UUID, TEXT, TEXT);
    append: "append" => (TEXT, TEXT, TEXT);
    events_oldest_first: "events_oldest_first" where "{whose}" = OF_ALL => (TEXT, TEXT, INT8, INT8, INT8);
    events_newest_first: "events_newest_first" where "{whose}" = OF_ALL => (TEXT, TEXT, INT8, INT8);
    company_events_oldest_first: "events_oldest_first" where "{whose}" = OF_COMPANY => (TEXT, TEXT, INT8, INT8, INT8);
    company_events_newest_first: "events_newest_first" where "{whose}" = OF_COMPANY => (TEXT, TEXT, INT8, INT8);
    prune: "prune" => (TEXT, FLOAT8, INT8, BOOL);
    horizon: "horizon" => ();
    changes: "changes" => (TEXT, INT8, INT8);
    take_delivery: "take_delivery" => (TEXT, TEXT, UUID, FLOAT8, INT8);
    advance_delivery: "advance_delivery" => (TEXT, TEXT, UUID, INT8, FLOAT8);
    overview: "overview" => (TEXT);
    known_keys: "known_keys" => ();
    add_key: "add_key" => (TEXT, BYTEA);
}
