//! `DATABASE_URL`: the library's reader, and the example's choice between SQLite and Postgres.

use std::{collections::BTreeSet, ffi::OsString, os::unix::ffi::OsStringExt as _, sync::LazyLock};

use batchsuite_auth::{error::chain, store::StoreErrorKind};
use batchsuite_store::{PostgresPool, test_util::read_url};
use company_manager::config::{Config, KeptIn, Keys, Place, Ups};
use secrecy::ExposeSecret as _;
use tokio_postgres::{Config as Driver, config::Host};
use url::form_urlencoded;

use crate::{
    input::{Options, parts, texts},
    runtime,
};

/// A part of every password. No message may contain it.
const CANARY: &str = "canaryword";

/// Input: a connection string; after separators, the text before and after a canary in a password, and parameters.
///
/// - A refusal is *misconfigured*, in one line. Neither the refusal nor any `Debug` output shows the password, however
///   badly it was encoded.
/// - A connection string that both the library and the driver accept means the same to both: hosts, ports, user,
///   password, database.
/// - An accepted connection string is complete: it has a host and a connection timeout.
/// - A connection string built from these parts, correctly encoded, is read back unchanged, both as a URL and as
///   keywords.
pub fn database_url(data: &[u8]) {
    let Some([text, before, behind, parameters]) = texts::<4>(data) else { return };
    let _runtime = runtime().enter();
    judge(text);
    for url in [
        format!("postgres://user:{before}{CANARY}{behind}@host/db?{parameters}"),
        format!("postgresql://host/db?user=u&password={before}{CANARY}{behind}&{parameters}"),
        format!("host=host user=user password={before}{CANARY}{behind} {parameters}"),
    ] {
        // After an opening quotation mark, the password ends at the closing one. The rest is not part of it.
        let is_quoted = url.contains("password='") || url.contains("password= '");
        let shown = judge(&url);
        assert!(
            is_quoted || parameters.contains(CANARY) || !shown.contains(CANARY),
            "{url:?} shows its password: {shown}"
        );
    }
    if !parameters.contains('\0') && !before.contains('\0') && !behind.contains('\0') {
        is_read_back(&format!("{before}{CANARY}"), behind, parameters);
    }
}

/// All output that shows a connection string.
fn judge(text: &str) -> String {
    match read_url(text) {
        Ok((config, is_pooled)) => {
            assert!(!(config.get_hosts().is_empty() && config.get_hostaddrs().is_empty()), "no host");
            assert!(config.get_connect_timeout().is_some() && config.get_tcp_user_timeout().is_some());
            assert!(config.get_application_name().is_some());
            if let Ok(driver) = text.parse::<Driver>() {
                means_the_same(text, &config, &driver);
            }
            format!("{:?} {is_pooled}", PostgresPool::at(text))
        }
        Err(error) => {
            assert_eq!(error.kind(), StoreErrorKind::Misconfigured, "{error}");
            let told = chain(&error).to_string();
            assert!(told.len() < 300 && !told.contains(['\n', '\r', '\0']), "{told:?}");
            format!("{told} {error:?} {:?}", PostgresPool::at(text))
        }
    }
}

fn means_the_same(text: &str, ours: &Driver, theirs: &Driver) {
    assert_eq!(ours.get_user(), theirs.get_user(), "{text:?}: the user");
    assert_eq!(ours.get_password(), theirs.get_password(), "{text:?}: the password");
    // For a repeated keyword, libpq and the library take the last value, and the driver takes all values. In a URL, the
    // library refuses repeated parameters.
    let is_same = |all: bool, last: bool| {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") { all } else { last }
    };
    let (hosts, addresses, ports) = (theirs.get_hosts(), theirs.get_hostaddrs(), theirs.get_ports());
    assert!(is_same(hosts == ours.get_hosts(), hosts.ends_with(ours.get_hosts())), "{text:?}: the hosts");
    assert!(
        is_same(addresses == ours.get_hostaddrs(), addresses.ends_with(ours.get_hostaddrs())),
        "{text:?}: the addresses"
    );
    assert!(is_same(ports == ours.get_ports(), ports.ends_with(ours.get_ports())), "{text:?}: the ports");
    assert_eq!(ours.get_dbname(), theirs.get_dbname(), "{text:?}: the database");
    assert_eq!(ours.get_options(), theirs.get_options(), "{text:?}: the options");
}

fn is_read_back(user: &str, password: &str, database: &str) {
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20");
    let quoted = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
    let url =
        format!("postgres://{}:{}@host:5433/{}?sslmode=disable", encoded(user), encoded(password), encoded(database));
    let words = format!(
        "host=host port=5433 user={} password={} dbname={} sslmode=disable",
        quoted(user),
        quoted(password),
        quoted(database)
    );
    for (text, is_url) in [(url, true), (words, false)] {
        let (config, _) = read_url(&text).unwrap_or_else(|error| panic!("{text:?}: {}", chain(&error)));
        let (database, password) = match is_url {
            // In the driver's URLs, an empty database name after the slash means no name, while an empty password stays
            // a password.
            true => (Some(database).filter(|name| !name.is_empty()), Some(password)),
            false => (Some(database), Some(password)),
        };
        assert_eq!(config.get_user(), Some(user), "{text:?}");
        assert_eq!(config.get_password(), password.map(str::as_bytes), "{text:?}");
        assert_eq!(config.get_dbname(), database, "{text:?}");
        assert_eq!(
            (config.get_hosts(), config.get_ports()),
            (&[Host::Tcp("host".to_owned())][..], &[5433][..]),
            "{text:?}"
        );
    }
}

/// Input: options, then the value of `DATABASE_URL`. The options: `k` keys in a file, `e` keys in the environment, `d`
/// no other setting, as for the demo.
///
/// - `sqlite:PATH` means the file at exactly that path. The path is never empty, a host, or a path with settings. Its
///   keys may be missing.
/// - Every other accepted value means Postgres, with exactly that text, and only with keys.
/// - The demo refuses every database.
/// - A refusal is one of the known sentences, and so contains nothing of the value.
pub fn example_database(data: &[u8]) {
    let [options, value] = parts::<2>(data);
    if value.contains(&0) {
        // An environment variable cannot contain a NUL.
        return;
    }
    let read = read(Options(options), value);
    match read {
        Ok(None) => panic!("a demo with a database"),
        Ok(Some(KeptIn { place, .. })) => is_this_place(place, Options(options), value),
        Err(told) => assert!(KNOWN.contains(&told), "{told}"),
    }
}

fn is_this_place(place: Place, options: Options<'_>, value: &[u8]) {
    let has_keys = options.has(b'k') || options.has(b'e');
    match place {
        Place::File { path, keys } => {
            let rest = value.strip_prefix(b"sqlite:").unwrap_or_else(|| panic!("{path:?} from another scheme"));
            assert_eq!(path.as_os_str().as_encoded_bytes(), rest);
            assert!(!rest.is_empty() && !rest.starts_with(b"//") && !rest.starts_with(b":") && !rest.contains(&b'?'));
            assert_eq!(keys.is_some(), has_keys);
        }
        Place::Postgres { url, keys } => {
            assert!(!value.starts_with(b"sqlite:") && has_keys);
            assert_eq!(url.expose_secret().as_bytes(), value);
            assert!(matches!((keys, options.has(b'e')), (Keys::Environment, true) | (Keys::File(_), false)));
            assert!(!format!("{url:?}").contains("://"), "the URL is shown");
            assert!(value.contains(&b'=') || value.windows(3).any(|bytes| bytes == b"://"));
        }
    }
}

/// Every message that a value of `DATABASE_URL` can lead to.
static KNOWN: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    let values: [&[u8]; 7] = [b"", b"x", b"sqlite:", b"sqlite:x", b"postgres://h/d", b"\xff", b"sqlite:x?y"];
    let options: [&[u8]; 5] = [b"", b"k", b"d", b"dk", b"de"];
    let all = options.iter().flat_map(|options| values.iter().map(|value| read(Options(options), value)));
    all.filter_map(Result::err).collect()
});

/// The configuration that the example reads from this value. `None`: the demo.
fn read(options: Options<'_>, value: &[u8]) -> Result<Option<KeptIn>, String> {
    let value = OsString::from_vec(value.to_vec());
    let config = Config::read(|name| {
        Some(match name {
            "DATABASE_URL" => value.clone(),
            "BATCHSUITE_KEYS_FILE" if options.has(b'k') && !options.has(b'e') => "keys".into(),
            "BATCHSUITE_KEYS" if options.has(b'e') => "name:key".into(),
            "UPS_CLIENT_ID" | "UPS_CLIENT_SECRET" | "DEMO_PASSWORD" if !options.has(b'd') => "fuzz".into(),
            "PUBLIC_URL" if !options.has(b'd') => "http://127.0.0.1:3000".into(),
            _ => return None,
        })
    });
    config.map_err(|error| error.to_string()).map(|config| match config.ups {
        Ups::Real(_, kept_in) => Some(kept_in),
        Ups::Demo { .. } => None,
    })
}
