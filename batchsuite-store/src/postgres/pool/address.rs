//! The database's address: the only parser of a connection string, and the defaults for missing parameters.

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use batchsuite_auth::store::StoreError;
use tokio::task::JoinHandle;
use tokio_postgres::{
    Client, Config,
    config::{ChannelBinding, SslMode, TargetSessionAttrs},
};
use tokio_postgres_rustls::MakeRustlsConnect;
use url::form_urlencoded;

use super::{
    failure::{self, Result},
    tls,
};

/// The time limit for making a network connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long bytes may stay unacknowledged, and how long a connection is idle before a keepalive probe.
const TCP_TIMEOUT: Duration = Duration::from_secs(15);
/// A parsed connection string.
#[derive(Clone)]
pub(in crate::postgres) struct Address {
    pub(in crate::postgres) config: Config,
    pub(in crate::postgres) tls: MakeRustlsConnect,
    /// Whether a pooler may run each transaction on a different server connection (`pgbouncer=true`).
    pub(in crate::postgres) is_pooled: bool,
}

impl Address {
    /// Parses a libpq connection string, as a URL or in keyword/value format. The defaults keep every wait short and
    /// reject servers that do not accept writes.
    pub(in crate::postgres) fn new(text: &str) -> Result<Self> {
        let text = Text::read(text)?;
        let mut own = Own::default();
        let mut kept = BTreeMap::new();
        for (place, (name, value)) in text.parameters.iter().enumerate() {
            let taken = own.take(name, value).ok_or_else(|| text.unusable(place))?;
            // In a URL, some parsers take the first and others the last value. In keyword/value format, the last one
            // counts.
            if text.url.is_some() && text.is_said_before(place) {
                return Err(failure::misconfigured(format!("the database's URL says {name} twice")));
            }
            if let Some(value) = taken {
                // One parameter at a time, because the driver's error repeats parts of the text.
                text.config(false, [(name, value)]).ok_or_else(|| text.unusable(place))?;
                kept.insert(name, value);
            }
        }
        let config = text.config(true, kept.iter().map(|(name, value)| (*name, *value)));
        let mut config = config.ok_or_else(unreadable)?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(failure::misconfigured("the database's URL names no host"));
        }
        let tls = own.tls(&config)?;
        fill_in(&mut config, |name| kept.keys().any(|kept| *kept == name));
        Ok(Self { config, tls, is_pooled: own.is_pooled })
    }

    /// Makes a connection and spawns the task that drives it on the current runtime.
    pub(in crate::postgres) async fn connect(&self) -> Result<(Client, JoinHandle<()>), tokio_postgres::Error> {
        let (client, connection) = self.config.connect(self.tls.clone()).await?;
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.await {
                // A statement in progress gets this error, too.
                tracing::debug!(error = %failure::of_connection(&error), "a connection to the database has ended");
            }
        });
        Ok((client, driver))
    }
}

/// The driver's configuration for a connection string, with the defaults filled in, and whether the string says
/// `pgbouncer=true`.
///
/// # Errors
/// The string cannot be parsed.
#[cfg(feature = "test-util")]
pub fn read_url(text: &str) -> Result<(Config, bool)> {
    Address::new(text).map(|address| (address.config, address.is_pooled))
}

impl fmt::Debug for Address {
    // A URL may contain a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address").field("is_pooled", &self.is_pooled).finish_non_exhaustive()
    }
}

/// Sets the defaults for missing parameters.
fn fill_in(config: &mut Config, is_given: impl Fn(&str) -> bool) {
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT_TIMEOUT);
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(TCP_TIMEOUT);
    }
    if !is_given("keepalives_idle") {
        config.keepalives_idle(TCP_TIMEOUT);
    }
    if !is_given("target_session_attrs") {
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
    }
    if config.get_application_name().is_none() {
        config.application_name("batchsuite");
    }
}

/// Parameters that the driver does not know or interprets differently.
#[derive(Default)]
struct Own {
    roots: Option<PathBuf>,
    is_pooled: bool,
}

impl Own {
    /// Takes a parameter and returns the value to pass to the driver, if any. `None`: the parameter cannot be used.
    fn take<'a>(&mut self, name: &str, value: &'a str) -> Option<Option<&'a str>> {
        Some(match (name, value) {
            ("sslmode", "verify-ca" | "verify-full") => Some("require"),
            ("sslmode", "allow") => Some("prefer"),
            ("target_session_attrs", "primary") => Some("read-write"),
            ("sslrootcert", path) => {
                self.roots = (path != "system").then(|| path.into());
                None
            }
            ("pgbouncer", value) => {
                self.is_pooled = value.parse().ok()?;
                None
            }
            _ => Some(value),
        })
    }

    fn tls(&self, config: &Config) -> Result<MakeRustlsConnect> {
        let is_checked = !matches!(config.get_ssl_mode(), SslMode::Disable | SslMode::Prefer);
        if self.roots.is_some() && !is_checked {
            return Err(failure::misconfigured("sslrootcert checks nothing without sslmode=verify-full"));
        }
        if config.get_channel_binding() == ChannelBinding::Require && config.get_ssl_mode() == SslMode::Disable {
            return Err(failure::misconfigured("channel_binding=require needs TLS, and sslmode=disable forbids it"));
        }
        let tls = if is_checked { tls::checked(self.roots.as_deref()) } else { tls::opportunistic() };
        tls.map_err(|error| failure::misconfigured(format!("TLS cannot be set up: {error}")))
    }
}

/// A connection string, split into its parts.
struct Text<'a> {
    /// A URL without its parameters; `None`: keyword/value format.
    url: Option<&'a str>,
    /// Names and values.
    parameters: Vec<(String, String)>,
    /// From this parameter on, a name may be part of a password that should have been encoded or quoted.
    doubtful: usize,
}

impl<'a> Text<'a> {
    fn read(text: &'a str) -> Result<Self> {
        let scheme = ["postgres://", "postgresql://"].into_iter().find(|scheme| text.starts_with(scheme));
        let Some(scheme) = scheme else { return Self::of_words(text) };
        // A question mark before the at sign belongs to the password.
        let credentials = text.find('@').unwrap_or(scheme.len());
        let (url, written) = match text[credentials..].split_once('?') {
            Some((_, written)) => (&text[..text.len() - written.len() - 1], written),
            None => (text, ""),
        };
        if written.split('&').any(|parameter| !parameter.is_empty() && !parameter.contains('=')) {
            return Err(unreadable());
        }
        // In these URLs a plus sign stands for itself.
        let encoded = written.replace('+', "%2B");
        let parameters: Vec<_> = form_urlencoded::parse(encoded.as_bytes()).into_owned().collect();
        let password = parameters.iter().position(|(name, _)| name == "password");
        // The at sign may belong to a password, in the address or in an earlier parameter.
        let is_cut = written.contains('@') || url.contains("password=");
        let doubtful = if is_cut { 0 } else { password.unwrap_or(usize::MAX) };
        Ok(Self { url: Some(url), parameters, doubtful })
    }

    fn of_words(text: &'a str) -> Result<Self> {
        let mut read = Self { url: None, parameters: Vec::new(), doubtful: usize::MAX };
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            let (name, after) = rest.split_once('=').ok_or_else(unreadable)?;
            let (name, after) = (name.trim_end(), after.trim_start());
            if name.is_empty() || name.contains(char::is_whitespace) {
                return Err(unreadable());
            }
            let (value, length) = word(after).ok_or_else(unreadable)?;
            read.parameters.push((name.to_owned(), value));
            if name == "password" && !after.starts_with('\'') {
                read.doubtful = read.doubtful.min(read.parameters.len());
            }
            rest = after[length..].trim_start();
        }
        Ok(read)
    }

    /// The driver's configuration for these parameters, with or without the URL's address.
    fn config<'b>(
        &self,
        is_whole: bool,
        parameters: impl IntoIterator<Item = (&'b String, &'b str)>,
    ) -> Option<Config> {
        let parameters = parameters.into_iter();
        let text = match self.url {
            Some(url) => {
                let base = if is_whole { url } else { "postgres:///" };
                let written = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
                format!("{base}?{}", written.replace('+', "%20"))
            }
            None => {
                let quoted = |value: &str| value.replace('\\', "\\\\").replace('\'', "\\'");
                parameters.map(|(name, value)| format!("{name}='{}' ", quoted(value))).collect()
            }
        };
        text.parse().ok()
    }

    /// Whether an earlier parameter or the URL's address sets the same value: libpq takes the last, the driver both.
    fn is_said_before(&self, place: usize) -> bool {
        let (name, before) = (&self.parameters[place].0, &self.parameters[..place]);
        before.iter().any(|(said, _)| said == name)
            || self.config(true, []).is_some_and(|address| match name.as_str() {
                "host" => !address.get_hosts().is_empty(),
                // A missing port means 5432.
                "port" => !address.get_ports().is_empty(),
                "user" => address.get_user().is_some(),
                "password" => address.get_password().is_some(),
                "dbname" => address.get_dbname().is_some(),
                _ => false,
            })
    }

    /// The error shows the name unless it may be part of a secret.
    fn unusable(&self, place: usize) -> StoreError {
        let name = &self.parameters[place].0;
        let is_name = name.len() <= 40 && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        if place < self.doubtful && is_name {
            let why = "the database's URL has a parameter whose value cannot be used, or that is not known: ";
            failure::misconfigured(format!("{why}{name}"))
        } else {
            failure::misconfigured(
                "the database's URL has a parameter that cannot be used; is a password in it not encoded, or not quoted?",
            )
        }
    }
}

/// A parsed value, and its length in the text.
fn word(text: &str) -> Option<(String, usize)> {
    let is_quoted = text.starts_with('\'');
    let mut value = String::new();
    let mut characters = text.char_indices().skip(usize::from(is_quoted));
    while let Some((place, character)) = characters.next() {
        match character {
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            '\'' if is_quoted => return Some((value, place + 1)),
            _ if !is_quoted && character.is_whitespace() => return Some((value, place)),
            _ => value.push(character),
        }
    }
    (!is_quoted).then_some((value, text.len()))
}

fn unreadable() -> StoreError {
    failure::misconfigured("the database's URL cannot be parsed")
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use tokio_postgres::config::Host;

    use super::*;

    fn refusal(text: &str) -> String {
        let error = Address::new(text).err().unwrap_or_else(|| panic!("{text} is read"));
        error.source().unwrap().to_string()
    }

    #[test]
    fn a_url_and_words_say_the_same() {
        for text in [
            "postgres://u%40x:p%3Fa@h:5433/d?sslmode=disable&application_name=a%20b&connect_timeout=7",
            "postgresql://u%40x:p?a@h:5433/d?sslmode=disable&application_name=a%20b&connect_timeout=7",
            "user=u@x password='p?a' host = h port=5433 dbname=d sslmode=disable application_name='a b' connect_timeout=7",
            "user=u@x password=p\\?a host=h port=5433 dbname=d sslmode=disable application_name=a\\ b connect_timeout=7",
        ] {
            let config = Address::new(text).unwrap().config;

            assert_eq!(config.get_user(), Some("u@x"), "{text}");
            assert_eq!(config.get_password(), Some(&b"p?a"[..]), "{text}");
            assert_eq!(config.get_hosts(), [Host::Tcp("h".to_owned())], "{text}");
            assert_eq!((config.get_ports(), config.get_dbname()), (&[5433][..], Some("d")), "{text}");
            assert_eq!(config.get_application_name(), Some("a b"), "{text}");
            assert_eq!(config.get_connect_timeout(), Some(&Duration::from_secs(7)), "{text}");
        }
    }

    #[test]
    fn what_a_text_leaves_open_is_set_and_what_it_says_is_kept() {
        let open = Address::new("postgres://u@h/d").unwrap();
        let said = "postgres://u@h/d?target_session_attrs=any&keepalives_idle=60&tcp_user_timeout=9&pgbouncer=true";
        let said = Address::new(said).unwrap();

        assert_eq!(open.config.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
        assert_eq!(open.config.get_keepalives_idle(), TCP_TIMEOUT);
        assert_eq!(open.config.get_tcp_user_timeout(), Some(&TCP_TIMEOUT));
        assert!(!open.is_pooled);
        assert_eq!(said.config.get_target_session_attrs(), TargetSessionAttrs::Any);
        assert_eq!(said.config.get_keepalives_idle(), Duration::from_secs(60));
        assert_eq!(said.config.get_tcp_user_timeout(), Some(&Duration::from_secs(9)));
        assert!(said.is_pooled);
    }

    #[test]
    fn what_only_libpq_knows_is_said_in_the_words_of_the_driver() {
        let config = Address::new("postgres://u@h/d?sslmode=allow&target_session_attrs=primary").unwrap().config;

        assert_eq!(config.get_ssl_mode(), SslMode::Prefer);
        assert_eq!(config.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
    }

    #[test]
    fn a_quote_inside_a_word_stands_for_itself() {
        let config = Address::new("host=h password=a'b user=u").unwrap().config;

        assert_eq!((config.get_password(), config.get_user()), (Some(&b"a'b"[..]), Some("u")));
    }

    #[test]
    fn a_word_without_a_name_cannot_be_parsed() {
        for text in ["=x host=h", "host=h =x", "host=h user name=x"] {
            assert!(refusal(text).ends_with("cannot be parsed"), "{text}: {}", refusal(text));
        }
    }

    #[test]
    fn a_parameter_that_cannot_be_used_is_named() {
        for (parameter, name) in [
            ("canary_parameter=7", "canary_parameter"),
            ("sslcert=x", "sslcert"),
            ("sslmode=canary", "sslmode"),
            ("connect_timeout=canary", "connect_timeout"),
            ("channel_binding=canary", "channel_binding"),
            ("pgbouncer=canary", "pgbouncer"),
            ("target_session_attrs=canary", "target_session_attrs"),
        ] {
            for text in [
                format!("postgres://user:hidden@host/db?application_name=x&{parameter}"),
                format!("host=host user=user {parameter} password=hidden"),
                format!("host=host user=user password='hidden' {parameter}"),
            ] {
                let told = refusal(&text);

                assert!(told.contains(name), "{told}");
                assert!(!told.contains("=canary") && !told.contains("hidden"), "{told}");
            }
        }
    }

    #[test]
    fn what_is_said_twice_is_named() {
        for (text, name) in [
            ("postgres://u:hidden@h/d?sslmode=disable&sslmode=require", "sslmode"),
            ("postgres://u:hidden@h/d?pgbouncer=true&pgbouncer=false", "pgbouncer"),
            ("postgres://u:hidden@h/d?sslmode=verify-full&sslrootcert=/a&sslrootcert=/b", "sslrootcert"),
            ("postgres://u:hidden@h/d?host=other", "host"),
            ("postgres://u:hidden@h:5433/d?port=5434", "port"),
            ("postgres://u:hidden@h/d?port=5434", "port"),
            ("postgres://u:hidden@h/d?user=other", "user"),
            ("postgres://u:hidden@h/d?password=other", "password"),
            ("postgres://u:hidden@h/d?dbname=other", "dbname"),
        ] {
            let told = refusal(text);

            assert!(told.contains(name) && told.contains("twice"), "{text}: {told}");
            assert!(!told.contains("hidden") && !told.contains("other"), "{told}");
        }
        for text in [
            "postgres:///d?host=/run/postgresql&port=5433&user=u&password=p",
            "postgres://u@h1:5433,h2:5434/d",
            "postgres://h?user=u&dbname=d",
            "host=h1,h2 port=5433,5434 user=u",
        ] {
            assert!(Address::new(text).is_ok(), "{text}");
        }
        let last = Address::new("host=h port=1 dbname=d user=u host=other port=2 dbname=e").unwrap().config;
        assert_eq!((last.get_hosts(), last.get_ports()), (&[Host::Tcp("other".to_owned())][..], &[2][..]));
        assert_eq!(last.get_dbname(), Some("e"));
    }

    #[test]
    fn a_part_of_a_password_is_not_taken_for_a_name() {
        for text in [
            "postgres://user:p@ss?canary=x@host/db",
            "postgres://host/db?password=x&canary=y",
            "postgres://host/db?password=x@y?canary=z",
            "host=host password=x canary=y",
            "host=host password=x canary",
            "host=host password='x canary=y",
            "postgres://user:canary@/db",
            "postgres://user:pass@host/db?CANARY=x",
            "postgres://user:pass@host/db?canary",
        ] {
            assert!(!refusal(text).to_lowercase().contains("canary"), "{text}");
        }
    }

    #[test]
    fn debug_tells_whether_a_pooler_is_at_the_address() {
        let address = Address::new("postgres://u:hidden@h/d?pgbouncer=true").unwrap();

        assert_eq!(format!("{address:?}"), "Address { is_pooled: true, .. }");
    }

    #[cfg(feature = "test-util")]
    #[test]
    fn the_fuzzing_reads_a_url_as_the_store_does() {
        for (text, is_pooled) in [("host=h pgbouncer=true", true), ("host=h", false)] {
            let (config, read) = read_url(text).unwrap();
            assert_eq!((config.get_hosts(), read), (&[Host::Tcp("h".to_owned())][..], is_pooled));
        }
    }

    #[test]
    fn a_root_that_would_check_nothing_is_refused() {
        assert!(Address::new("postgres://u@h/d?sslrootcert=/a").is_err());
        assert!(Address::new("postgres://u@h/d?sslmode=verify-full&sslrootcert=/nowhere").is_err());
        assert!(Address::new("postgres://u@h/d?sslmode=disable&channel_binding=require").is_err());
        assert!(Address::new("postgres://u@h/d?sslmode=verify-full&sslrootcert=system").is_ok());
        assert!(Address::new("postgres://u@h/d?sslmode=require&channel_binding=require").is_ok());
    }
}
