//! The SQL: one file per statement, written for the host's schema.

use tokio_postgres::types::Type;

use super::schema::Schema;

/// A statement and its parameter types. The types are given explicitly, so that an unnamed statement needs no extra
/// round trip.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) sql: String,
    pub(super) parameters: &'static [Type],
}

macro_rules! statements {
    ($($name:ident: $file:literal, $parameters:expr $(, $part:literal => $text:expr)*;)+) => {
        /// All statements of the verbs. Each begins with its name, visible in the server's activity views.
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
                                &include_str!(concat!("sql/", $file, ".sql"))$(.replace($part, $text))*
                            ))
                        ),
                        parameters: $parameters,
                    },
                )+}
            }
        }
    };
}

macro_rules! types {
    ($($parameter:ident),*) => { &[$(Type::$parameter),*] };
}

macro_rules! fragment {
    ($name:literal) => {
        include_str!(concat!("sql/fragments/", $name, ".sql"))
    };
}

/// Fills in the fragments that several statements share.
fn with_fragments(sql: &str) -> String {
    sql.replace("{listed}", fragment!("listed"))
        .replace("{row}", fragment!("row"))
        .replace("{tokens}", fragment!("tokens"))
        .replace("{consents}", fragment!("consents"))
        .replace("{event}", fragment!("event"))
}

const OF_COMPANY: &str = "company = $2";
const OF_ALL: &str = "$2::text IS NULL";
/// Writes an existing row, or creates one.
const SWAP: &str = fragment!("swap");
const FIRST: &str = fragment!("first");
const NONE: &str = "";
const REPLACE: &str = fragment!("replace_tokens");
const ERASE: &str = fragment!("erase_tokens");
const EVENTS: &str = fragment!("events");
/// The parameters of every write of a row.
const SAVE: &[Type] = types! {
    TEXT, TEXT, INT8, TIMESTAMPTZ, TIMESTAMPTZ, TEXT, INT8, INT8, TEXT, BOOL, TIMESTAMPTZ, TIMESTAMPTZ, TIMESTAMPTZ, BOOL,
    TEXT, BYTEA, BYTEA
};

statements! {
    load: "load", types![TEXT, TEXT];
    // A claim changes no token and has no event. Leaving those parts out makes it much faster.
    save: "save", SAVE, "{swap}" => SWAP, "{token_change}" => NONE, "{events}" => NONE;
    save_with_events: "save", SAVE, "{swap}" => SWAP, "{token_change}" => NONE, "{events}" => EVENTS;
    save_and_replace: "save", SAVE, "{swap}" => SWAP, "{token_change}" => REPLACE, "{events}" => EVENTS;
    save_and_erase: "save", SAVE, "{swap}" => SWAP, "{token_change}" => ERASE, "{events}" => EVENTS;
    save_first: "save", SAVE, "{swap}" => FIRST, "{token_change}" => REPLACE, "{events}" => EVENTS;
    wake: "wake", types![TEXT, INT8, TIMESTAMPTZ];
    record_use: "record_use", types![TEXT, TEXT_ARRAY];
    list: "list", types![TEXT, TEXT, INT8, BYTEA];
    list_some: "list_some", types![TEXT, TEXT, INT8, BYTEA, TEXT_ARRAY, BOOL];
    put_consent: "put_consent", types! {
        TEXT, UUID, TEXT, TEXT, BYTEA, BYTEA, BYTEA, TEXT, TEXT, TEXT, INT8, FLOAT8, INT8, INT8, TEXT, TEXT, TEXT
    };
    find_consent: "find_consent", types![TEXT, BYTEA];
    use_consent: "use_consent", types![TEXT, UUID, TEXT, TEXT];
    append: "append", types![TEXT, TEXT, TEXT];
    events_oldest_first: "events_oldest_first", types![TEXT, TEXT, INT8, INT8, INT8], "{whose}" => OF_ALL;
    events_newest_first: "events_newest_first", types![TEXT, TEXT, INT8, INT8], "{whose}" => OF_ALL;
    company_events_oldest_first: "events_oldest_first", types![TEXT, TEXT, INT8, INT8, INT8], "{whose}" => OF_COMPANY;
    company_events_newest_first: "events_newest_first", types![TEXT, TEXT, INT8, INT8], "{whose}" => OF_COMPANY;
    prune: "prune", types![TEXT, FLOAT8, INT8, BOOL];
    horizon: "horizon", types![];
    changes: "changes", types![TEXT, INT8, INT8];
    take_delivery: "take_delivery", types![TEXT, TEXT, UUID, FLOAT8, INT8];
    advance_delivery: "advance_delivery", types![TEXT, TEXT, UUID, INT8, FLOAT8];
    overview: "overview", types![TEXT];
    known_keys: "known_keys", types![];
    add_key: "add_key", types![TEXT, BYTEA];
}
