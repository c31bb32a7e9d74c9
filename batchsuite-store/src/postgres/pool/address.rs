//! Where the database is: the one reader of a connection string, and the defaults of what it leaves open.

use std::{path::PathBuf, time::Duration};

use batchsuite_auth::store::StoreError;
use tokio::task::JoinHandle;
use tokio_postgres::{
    Client, Config,
    config::{ChannelBinding, SslMode, TargetSessionAttrs},
};
use tokio_postgres_rustls::MakeRustlsConnect;
use url::form_urlencoded;

use super::{failure, tls};

/// How long a connection of the network may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may leave bytes unacknowledged, and how long it is idle before it is probed.
const TCP_TIMEOUT: Duration = Duration::from_secs(15);
/// The parameters that the driver reads itself.
const OF_THE_DRIVER: &[&str] = &[
    "application_name",
    "channel_binding",
    "connect_timeout",
    "dbname",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "load_balance_hosts",
    "options",
    "password",
    "port",
    "sslmode",
    "sslnegotiation",
    "target_session_attrs",
    "tcp_user_timeout",
    "user",
];

/// Where to connect to, and how.
#[derive(Clone)]
pub(in crate::postgres) struct Address {
    pub(in crate::postgres) config: Config,
    pub(in crate::postgres) tls: MakeRustlsConnect,
    /// Whether a pooler is in between that hands each transaction to another server (`pgbouncer=true`).
    pub(in crate::postgres) is_pooled: bool,
}

impl Address {
    /// Reads a connection string of libpq, as a URL or as words. What it leaves open is set so that nothing waits for
    /// long, and that no server is used that allows no writes.
    pub(in crate::postgres) fn new(text: &str) -> Result<Self, StoreError> {
        let text = Text::read(text)?;
        let mut own = Own::default();
        let mut kept = Vec::new();
        for (place, parameter) in text.parameters.iter().enumerate() {
            let taken = own.take(&text, parameter)?;
            if text.parameters[place + 1..].iter().any(|after| after.name == parameter.name) {
                // In a URL, one reader would take the first and another one the last. Among words, the last one counts.
                match text.url {
                    Some(_) => return Err(twice(&parameter.name)),
                    None => continue,
                }
            }
            kept.extend(taken);
        }
        // One parameter at a time: the driver's error repeats parts of the text.
        for parameter in &kept {
            text.with(false, &[parameter]).parse::<Config>().map_err(|_| unusable(&parameter.name))?;
        }
        let config: Result<Config, _> = text.with(true, &kept.iter().collect::<Vec<_>>()).parse();
        let mut config = config.map_err(|_| unreadable())?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(failure::misconfigured("the database's URL names no host"));
        }
        if let Some(name) = text.also_in_the_address(&config) {
            return Err(failure::misconfigured(format!(
                "the database's URL says {name} twice: in its address, where a port is 5432 if not written, and as a parameter"
            )));
        }
        let tls = own.tls(&config)?;
        fill_in(&mut config, |name| kept.iter().any(|parameter| parameter.name == name));
        Ok(Self { config, tls, is_pooled: own.is_pooled })
    }

    /// Makes a connection, and the task that drives it here.
    pub(in crate::postgres) async fn connect(&self) -> Result<(Client, JoinHandle<()>), tokio_postgres::Error> {
        let (client, connection) = self.config.connect(self.tls.clone()).await?;
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.await {
                // A statement under way gets this error, too.
                tracing::debug!(error = %failure::of_connection(&error), "a connection to the database has ended");
            }
        });
        Ok((client, driver))
    }
}

/// Sets what the text leaves open.
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

/// The parameters that the driver does not know, or means otherwise.
#[derive(Default)]
struct Own {
    roots: Option<PathBuf>,
    is_pooled: bool,
}

impl Own {
    /// Takes a parameter in; returns the parameter that the driver gets for it, if any.
    fn take(&mut self, text: &Text<'_>, parameter: &Parameter) -> Result<Option<Parameter>, StoreError> {
        let Parameter { name, value, .. } = parameter;
        let instead = |value: &str| Ok(Some(text.parameter(name, value)));
        match (name.as_str(), value.as_str()) {
            ("sslmode", "verify-ca" | "verify-full") => return instead("require"),
            ("sslmode", "allow") => return instead("prefer"),
            ("target_session_attrs", "primary") => return instead("read-write"),
            ("sslrootcert", path) => self.roots = (path != "system").then(|| path.into()),
            ("pgbouncer", "true") => self.is_pooled = true,
            ("pgbouncer", "false") => self.is_pooled = false,
            ("pgbouncer", _) => return Err(unusable(name)),
            (known, _) if OF_THE_DRIVER.contains(&known) => return Ok(Some(parameter.clone())),
            _ => return Err(text.unknown(name)),
        }
        Ok(None)
    }

    fn tls(&self, config: &Config) -> Result<MakeRustlsConnect, StoreError> {
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

/// A connection string, taken apart.
struct Text<'a> {
    /// A URL without its parameters; `None`: words.
    url: Option<&'a str>,
    parameters: Vec<Parameter>,
    /// From this parameter on, a name may be a part of a password that should have been encoded or quoted.
    doubtful: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Parameter {
    name: String,
    value: String,
    /// As it stands in the text.
    written: String,
}

impl<'a> Text<'a> {
    fn read(text: &'a str) -> Result<Self, StoreError> {
        let scheme = ["postgres://", "postgresql://"].into_iter().find(|scheme| text.starts_with(scheme));
        let Some(scheme) = scheme else { return Self::of_words(text) };
        // A question mark before the at sign belongs to the password.
        let credentials = text.find('@').unwrap_or(scheme.len());
        let (url, parameters) = match text[credentials..].split_once('?') {
            Some((_, parameters)) => (&text[..text.len() - parameters.len() - 1], parameters),
            None => (text, ""),
        };
        let mut read = Self { url: Some(url), parameters: Vec::new(), doubtful: usize::MAX };
        if parameters.contains('@') && credentials > scheme.len() {
            read.doubtful = 0;
        }
        for written in parameters.split('&').filter(|written| !written.is_empty()) {
            let encoded = plus_encoded(written);
            let Some((name, value)) = form_urlencoded::parse(&encoded).next() else { continue };
            if !written.contains('=') {
                return Err(unreadable());
            }
            read.note(Parameter { name: name.into(), value: value.into(), written: written.to_owned() }, true);
        }
        Ok(read)
    }

    fn of_words(text: &'a str) -> Result<Self, StoreError> {
        let mut read = Self { url: None, parameters: Vec::new(), doubtful: usize::MAX };
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            let (name, after) = rest.split_once('=').ok_or_else(unreadable)?;
            let name = name.trim_end();
            if name.is_empty() || name.contains(char::is_whitespace) {
                return Err(unreadable());
            }
            let after = after.trim_start();
            let (value, length) = word(after).ok_or_else(unreadable)?;
            let is_bare = !after.starts_with('\'');
            let written = read.parameter(name, &value);
            read.note(written, is_bare);
            rest = after[length..].trim_start();
        }
        Ok(read)
    }

    fn note(&mut self, parameter: Parameter, is_bare: bool) {
        if parameter.name == "password" && is_bare {
            self.doubtful = self.doubtful.min(self.parameters.len() + 1);
        }
        self.parameters.push(parameter);
    }

    /// A parameter as this text would write it.
    fn parameter(&self, name: &str, value: &str) -> Parameter {
        let written = if self.url.is_some() {
            let value: String = form_urlencoded::byte_serialize(value.as_bytes()).collect();
            format!("{name}={}", value.replace('+', "%20"))
        } else {
            format!("{name}='{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
        };
        Parameter { name: name.to_owned(), value: value.to_owned(), written }
    }

    /// The text with these parameters alone, with the address before them or without.
    fn with(&self, is_whole: bool, parameters: &[&Parameter]) -> String {
        let written: Vec<&str> = parameters.iter().map(|parameter| parameter.written.as_str()).collect();
        match self.url {
            Some(url) => {
                let base = if is_whole { url } else { "postgres:///" };
                if written.is_empty() { base.to_owned() } else { format!("{base}?{}", written.join("&")) }
            }
            None => written.join(" "),
        }
    }

    /// The setting that a URL has both in its address and among its parameters: libpq takes the parameter, the driver both.
    fn also_in_the_address(&self, config: &Config) -> Option<&'static str> {
        let address: Config = self.with(true, &[]).parse().ok().filter(|_| self.url.is_some())?;
        let is_given = |name: &str| self.parameters.iter().any(|parameter| parameter.name == name);
        let in_both = [
            ("host", address.get_hosts().len() < config.get_hosts().len() && !address.get_hosts().is_empty()),
            ("port", !address.get_ports().is_empty()),
            ("user", address.get_user().is_some()),
            ("password", address.get_password().is_some()),
            ("dbname", address.get_dbname().is_some()),
        ];
        in_both.into_iter().find(|(name, is_there)| *is_there && is_given(name)).map(|(name, _)| name)
    }

    /// The error shows the name if the name cannot be a part of a secret.
    fn unknown(&self, name: &str) -> StoreError {
        let place = self.parameters.iter().position(|parameter| parameter.name == name).unwrap_or_default();
        let is_name = name.len() <= 40 && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        if place < self.doubtful && is_name {
            failure::misconfigured(format!("the database's URL has a parameter that is not known: {name}"))
        } else {
            failure::misconfigured(
                "the database's URL has a parameter that is not known; is a password in it not encoded, or not quoted?",
            )
        }
    }
}

/// The value of a word, and how long it is in the text.
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

/// In these URLs a plus sign is one.
fn plus_encoded(written: &str) -> Vec<u8> {
    written.replace('+', "%2B").into_bytes()
}

fn unreadable() -> StoreError {
    failure::misconfigured("the database's URL is none that can be read")
}

fn twice(name: &str) -> StoreError {
    failure::misconfigured(format!("the database's URL says {name} twice"))
}

fn unusable(name: &str) -> StoreError {
    failure::misconfigured(format!("the database's URL has a value that cannot be used for {name}"))
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
    fn a_root_that_would_check_nothing_is_refused() {
        assert!(Address::new("postgres://u@h/d?sslrootcert=/a").is_err());
        assert!(Address::new("postgres://u@h/d?sslmode=verify-full&sslrootcert=/nowhere").is_err());
        assert!(Address::new("postgres://u@h/d?sslmode=disable&channel_binding=require").is_err());
        assert!(Address::new("postgres://u@h/d?sslmode=verify-full&sslrootcert=system").is_ok());
        assert!(Address::new("postgres://u@h/d?sslmode=require&channel_binding=require").is_ok());
    }
}
