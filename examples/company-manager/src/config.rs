//! The settings, read from environment variables and validated together: an incomplete setting is an error.

mod notices;

use std::{ffi::OsString, fmt, net::SocketAddr, path::PathBuf, time::Duration};

use batchsuite_auth::{Client, ClientAuthentication, Environment};
use secrecy::SecretString;
use url::{Host, Url};

pub use self::notices::{MailSettings, Notices, WebhookSettings};
use crate::client::Proxies;

/// Every variable that this program reads.
pub const VARIABLES: [&str; 20] = [
    "LISTEN",
    "DATABASE_URL",
    "BATCHSUITE_KEYS",
    "BATCHSUITE_KEYS_FILE",
    "EVENTS_KEPT_DAYS",
    "UPS_CLIENT_ID",
    "UPS_CLIENT_SECRET",
    "UPS_CLIENT_AUTHENTICATION",
    "UPS_ENVIRONMENT",
    "UPS_BASE_URL",
    "PUBLIC_URL",
    "FORWARDED_FOR_HOPS",
    "DEMO_PASSWORD",
    "FAKE_UPS_LISTEN",
    "STOP_TIMEOUT",
    "WEBHOOK_URL",
    "WEBHOOK_SECRET",
    "SMTP_URL",
    "MAIL_FROM",
    "MAIL_DOMAIN",
];

const DAY: Duration = Duration::from_secs(86_400);
/// Default retention of events: a year, plus time to look back at it.
const EVENTS_KEPT: Duration = Duration::from_secs(400 * 86_400);
const MOST_EVENTS_KEPT_DAYS: u32 = 36_500;
/// The default database.
const DEFAULT_DATABASE: &str = "batchsuite-data/batchsuite.db";
const DEFAULT_LISTEN: &str = "127.0.0.1:3000";
const DEFAULT_FAKE_UPS_LISTEN: &str = "127.0.0.1:0";
/// docker's grace period.
const DEFAULT_STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// The settings of one process.
#[derive(Clone, Debug)]
pub struct Config {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// The password of the demo sign-ins; `None`: random passwords.
    pub demo_password: Option<SecretString>,
    /// The trusted proxies.
    pub proxies: Proxies,
    /// The UPS to use.
    pub ups: Ups,
    /// The maximum time to stop after the signal.
    pub stop_timeout: Duration,
    /// The webhook and the mails.
    pub notices: Notices,
}

/// Storage settings.
#[derive(Clone, Debug)]
pub struct KeptIn {
    /// The database.
    pub place: Place,
    /// Retention of the opt-ins' history.
    pub events_kept: Duration,
}

/// A database and the source of its encryption keys.
#[derive(Clone, Debug)]
pub enum Place {
    /// A Postgres server.
    Postgres {
        /// The connection URL. It contains a password.
        url: SecretString,
        /// The encryption keys.
        keys: Keys,
    },
    /// An SQLite file.
    File {
        /// The file's path, relative to the working directory at start.
        path: PathBuf,
        /// The encryption keys; `None`: in a key file beside the database, created with it.
        keys: Option<Keys>,
    },
}

/// The source of the encryption keys.
#[derive(Clone, Debug)]
pub enum Keys {
    /// The environment variable `BATCHSUITE_KEYS`.
    Environment,
    /// A file.
    File(PathBuf),
}

/// The UPS that the application talks to.
#[derive(Clone, Debug)]
pub enum Ups {
    /// A fake UPS inside this process. All data is kept in memory.
    Demo {
        /// The fake's address; loopback.
        fake_listen: SocketAddr,
    },
    /// The real UPS, or the server at `base_url`, with storage.
    Real(Box<RealUps>, KeptIn),
}

/// How to reach UPS, and how browsers reach the application.
#[derive(Clone, Debug)]
pub struct RealUps {
    /// The application's client at UPS.
    pub client: Client,
    /// The UPS environment.
    pub environment: Environment,
    /// The base URL of UPS's endpoints.
    pub base_url: Url,
    /// The application's URL in browsers: scheme and host, no path.
    pub public_url: Url,
}

/// Why the settings are invalid, in one line that names the variable and contains no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads the settings; `variable` is [`std::env::var_os`] outside of tests.
    ///
    /// # Errors
    /// [`ConfigError`] for the first invalid setting.
    pub fn read(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, ConfigError> {
        let given = |name: &str| -> Result<Option<String>, ConfigError> {
            let Some(value) = variable(name) else { return Ok(None) };
            let value = value.into_string().map_err(|_| error(format!("{name} is not UTF-8")))?;
            if value.trim().is_empty() {
                return Err(error(format!("{name} is set but empty; give it a value, or unset it")));
            }
            Ok(Some(value))
        };
        let address = |name: &str, default: &str| -> Result<SocketAddr, ConfigError> {
            let text = given(name)?;
            text.as_deref()
                .unwrap_or(default)
                .parse()
                .map_err(|_| error(format!("{name} must be an IP address and a port, such as {DEFAULT_LISTEN}")))
        };

        let events_kept = events_kept(given("EVENTS_KEPT_DAYS")?)?;
        let url = given("DATABASE_URL")?;
        let keys = keys(given("BATCHSUITE_KEYS")?, given("BATCHSUITE_KEYS_FILE")?)?;
        let for_a_database = [
            ("DATABASE_URL", url.is_some()),
            ("BATCHSUITE_KEYS", matches!(keys, Some(Keys::Environment))),
            ("BATCHSUITE_KEYS_FILE", matches!(keys, Some(Keys::File(_)))),
            ("EVENTS_KEPT_DAYS", events_kept.is_some()),
        ];
        let kept_in = KeptIn { place: place(url, keys)?, events_kept: events_kept.unwrap_or(EVENTS_KEPT) };
        let listen = address("LISTEN", DEFAULT_LISTEN)?;
        let demo_password = given("DEMO_PASSWORD")?.map(SecretString::from);
        let ups = UpsVariables {
            client_id: given("UPS_CLIENT_ID")?,
            client_secret: given("UPS_CLIENT_SECRET")?,
            authentication: given("UPS_CLIENT_AUTHENTICATION")?,
            environment: given("UPS_ENVIRONMENT")?,
            base_url: given("UPS_BASE_URL")?,
            public_url: given("PUBLIC_URL")?,
        };
        let fake_listen = given("FAKE_UPS_LISTEN")?;
        let stop_timeout = stop_timeout(given("STOP_TIMEOUT")?)?;
        let proxies = proxies(given("FORWARDED_FOR_HOPS")?)?;
        let [webhook_url, webhook_secret, smtp_url, mail_from, mail_domain] = notices::NAMES.map(&given);
        let notices = notices::read([webhook_url?, webhook_secret?, smtp_url?, mail_from?, mail_domain?])?;
        if ups.set().is_empty() {
            refuse_demo(listen, for_a_database)?;
            let fake_listen = address("FAKE_UPS_LISTEN", DEFAULT_FAKE_UPS_LISTEN)?;
            if !fake_listen.ip().is_loopback() {
                return Err(error("FAKE_UPS_LISTEN must be a loopback address: the fake UPS is for this machine only"));
            }
            let ups = Ups::Demo { fake_listen };
            return Ok(Self { listen, demo_password, proxies, ups, stop_timeout, notices });
        }
        let (ups, demo_password) = ups.complete(listen, demo_password, fake_listen.is_some())?;
        let (ups, demo_password) = (Ups::Real(ups.into(), kept_in), Some(demo_password));
        Ok(Self { listen, demo_password, proxies, ups, stop_timeout, notices })
    }
}

/// Refuses settings that don't fit a demo, which keeps all data in memory and is reachable only from this machine.
fn refuse_demo(listen: SocketAddr, for_a_database: [(&str, bool); 4]) -> Result<(), ConfigError> {
    if !listen.ip().is_loopback() {
        return Err(error(
            "LISTEN is not a loopback address, so this is not a demo: set UPS_CLIENT_ID, UPS_CLIENT_SECRET, PUBLIC_URL and DEMO_PASSWORD, or listen on 127.0.0.1",
        ));
    }
    if let Some((name, _)) = for_a_database.into_iter().find(|(_, is_set)| *is_set) {
        return Err(error(format!(
            "{name} is not for the demo, whose fake UPS forgets every token when it ends: set UPS_CLIENT_ID, UPS_CLIENT_SECRET, PUBLIC_URL and DEMO_PASSWORD too (and UPS_BASE_URL for a running fake-ups), or unset {name}"
        )));
    }
    Ok(())
}

/// The variables each of which selects the real UPS.
struct UpsVariables {
    client_id: Option<String>,
    client_secret: Option<String>,
    authentication: Option<String>,
    environment: Option<String>,
    base_url: Option<String>,
    public_url: Option<String>,
}

impl UpsVariables {
    /// The names of the variables that are set.
    fn set(&self) -> Vec<&'static str> {
        [
            ("UPS_CLIENT_ID", &self.client_id),
            ("UPS_CLIENT_SECRET", &self.client_secret),
            ("UPS_CLIENT_AUTHENTICATION", &self.authentication),
            ("UPS_ENVIRONMENT", &self.environment),
            ("UPS_BASE_URL", &self.base_url),
            ("PUBLIC_URL", &self.public_url),
        ]
        .into_iter()
        .filter_map(|(name, value)| value.as_ref().map(|_| name))
        .collect()
    }

    /// The UPS settings and the password of the sign-ins, if complete and valid.
    fn complete(
        self,
        listen: SocketAddr,
        demo_password: Option<SecretString>,
        has_fake_listen: bool,
    ) -> Result<(RealUps, SecretString), ConfigError> {
        let set = self.set();
        let missing = |name: &str| {
            let verb = if set.len() == 1 { "is" } else { "are" };
            error(format!(
                "{name} is missing, but {} {verb} set; set it too, or none of them for a demo",
                set.join(", ")
            ))
        };
        let client_id = self.client_id.ok_or_else(|| missing("UPS_CLIENT_ID"))?;
        let client_secret = self.client_secret.ok_or_else(|| missing("UPS_CLIENT_SECRET"))?;
        let public_url = self.public_url.ok_or_else(|| missing("PUBLIC_URL"))?;
        let demo_password = demo_password.ok_or_else(|| missing("DEMO_PASSWORD"))?;
        if has_fake_listen {
            return Err(error(format!(
                "FAKE_UPS_LISTEN is for the demo, but {} makes this none; unset one of them",
                set[0]
            )));
        }
        for (name, value) in [("UPS_CLIENT_ID", &client_id), ("UPS_CLIENT_SECRET", &client_secret)] {
            if !value.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(error(format!("{name} has a space or another character that UPS's do not have")));
            }
        }
        let environment = match self.environment.as_deref() {
            None | Some("cie") => Environment::Cie,
            Some("production") => Environment::Production,
            Some(_) => return Err(error("UPS_ENVIRONMENT must be cie or production")),
        };
        let base_url =
            origin("UPS_BASE_URL", self.base_url.as_deref().unwrap_or_else(|| default_base_url(environment)))?;
        let public_url = origin("PUBLIC_URL", &public_url)?;
        if public_url.scheme() == "http" && !listen.ip().is_loopback() {
            return Err(error(
                "PUBLIC_URL is plain http, so LISTEN must be a loopback address; browsers elsewhere need https",
            ));
        }
        let authentication = client_authentication(self.authentication.as_deref())?;
        let client = Client::new(client_id, client_secret).with_authentication(authentication);
        Ok((RealUps { client, environment, base_url, public_url }, demo_password))
    }
}

fn client_authentication(text: Option<&str>) -> Result<ClientAuthentication, ConfigError> {
    match text {
        None | Some("secret") => Ok(ClientAuthentication::Secret),
        Some("pkce") => Ok(ClientAuthentication::Pkce),
        Some("pkce-with-secret") => Ok(ClientAuthentication::PkceWithSecret),
        Some(_) => Err(error("UPS_CLIENT_AUTHENTICATION must be secret, pkce or pkce-with-secret")),
    }
}

fn proxies(text: Option<String>) -> Result<Proxies, ConfigError> {
    let Some(text) = text else { return Ok(Proxies::NONE) };
    text.trim().parse().ok().and_then(Proxies::new).ok_or_else(|| {
        let most = Proxies::MOST;
        error(format!("FORWARDED_FOR_HOPS must be how many proxies append to X-Forwarded-For in front: 0 to {most}"))
    })
}

fn keys(keys: Option<String>, file: Option<String>) -> Result<Option<Keys>, ConfigError> {
    match (keys, file) {
        (Some(_), Some(_)) => Err(error("BATCHSUITE_KEYS and BATCHSUITE_KEYS_FILE are both set; unset one of them")),
        // The keyring reads the variable itself and handles it as a secret.
        (Some(_), None) => Ok(Some(Keys::Environment)),
        (None, file) => Ok(file.map(|file| Keys::File(file.into()))),
    }
}

/// The database and its encryption keys.
fn place(url: Option<String>, keys: Option<Keys>) -> Result<Place, ConfigError> {
    let Some(url) = url else { return Ok(Place::File { path: DEFAULT_DATABASE.into(), keys }) };
    if let Some(path) = url.strip_prefix("sqlite:") {
        // Other programs accept a host or parameters there.
        if path.is_empty() || path.starts_with("//") || path.starts_with(':') || path.contains('?') {
            let why = "without // and without settings behind it";
            return Err(error(format!("DATABASE_URL must name a file, such as sqlite:{DEFAULT_DATABASE}, {why}")));
        }
        return Ok(Place::File { path: path.into(), keys });
    }
    // Postgres also accepts name=value.
    if !url.contains("://") && !url.contains('=') {
        return Err(error("DATABASE_URL must be postgres://user:password@host/database or sqlite:PATH"));
    }
    let keys = keys.ok_or_else(|| error(
        "BATCHSUITE_KEYS is missing, but DATABASE_URL is set: secrets are kept there encrypted; set it to name:key (openssl rand -base64 32 makes a key), or BATCHSUITE_KEYS_FILE to a file of such lines",
    ))?;
    Ok(Place::Postgres { url: url.into(), keys })
}

fn stop_timeout(seconds: Option<String>) -> Result<Duration, ConfigError> {
    let Some(seconds) = seconds else { return Ok(DEFAULT_STOP_TIMEOUT) };
    match seconds.parse::<u64>() {
        Ok(seconds @ 1..=3600) => Ok(Duration::from_secs(seconds)),
        _ => Err(error("STOP_TIMEOUT must be a number of seconds from 1 to 3600")),
    }
}

fn events_kept(days: Option<String>) -> Result<Option<Duration>, ConfigError> {
    let Some(days) = days else { return Ok(None) };
    let days = days.parse::<u32>().ok().filter(|days| (1..=MOST_EVENTS_KEPT_DAYS).contains(days));
    let days = days.ok_or_else(|| error("EVENTS_KEPT_DAYS must be a whole number of days from 1 to 36500"))?;
    Ok(Some(DAY * days))
}

fn default_base_url(environment: Environment) -> &'static str {
    match environment {
        Environment::Production => "https://onlinetools.ups.com",
        _ => "https://wwwcie.ups.com",
    }
}

/// A scheme, a host and an optional port: https, or http on loopback.
fn origin(name: &str, text: &str) -> Result<Url, ConfigError> {
    let url = Url::parse(text).map_err(|_| error(format!("{name} is not a URL, such as https://batch.example.com")))?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    if !bare || !url.username().is_empty() || url.password().is_some() {
        return Err(error(format!("{name} must be a scheme and a host only, such as https://batch.example.com")));
    }
    match (url.scheme(), is_loopback(&url)) {
        ("https", _) if url.has_host() => Ok(url),
        ("http", true) => Ok(url),
        _ => Err(error(format!("{name} must begin with https:// (plain http is for this machine only)"))),
    }
}

/// Whether `url` is loopback.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn error(line: impl Into<String>) -> ConfigError {
    ConfigError(line.into())
}

#[cfg(test)]
mod tests;
