//! The settings, read from environment variables and checked as a whole: anything half-set is an error.

use std::{ffi::OsString, fmt, net::SocketAddr, path::PathBuf, time::Duration};

use batchsuite_auth::{Client, ClientAuthentication, Environment};
use secrecy::SecretString;
use url::{Host, Url};

use crate::client::Proxies;

/// Every variable that is read. Any other one is not this program's.
pub const VARIABLES: [&str; 15] = [
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
];

const DAY: Duration = Duration::from_secs(86_400);
/// How long events are kept if nothing is set: a year, and some time to look back at it.
const EVENTS_KEPT: Duration = Duration::from_secs(400 * 86_400);
const MOST_EVENTS_KEPT_DAYS: u32 = 36_500;
const DEFAULT_LISTEN: &str = "127.0.0.1:3000";
const DEFAULT_FAKE_UPS_LISTEN: &str = "127.0.0.1:0";
/// As long as docker waits before it kills.
const DEFAULT_STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// The settings of one process.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the application listens.
    pub listen: SocketAddr,
    /// The password of the demo sign-ins; `None`: random ones.
    pub demo_password: Option<SecretString>,
    /// Which proxies are believed.
    pub proxies: Proxies,
    /// Where everything is kept; `None`: in memory.
    pub database: Option<KeptIn>,
    /// Which UPS.
    pub ups: Ups,
    /// How long the program may take to end once it is told to stop.
    pub stop_timeout: Duration,
}

/// The database that everything is kept in.
#[derive(Clone, Debug)]
pub struct KeptIn {
    /// Where it is. It holds a password.
    pub url: SecretString,
    /// Where the keys are that encrypt what is kept.
    pub keys: Keys,
    /// How long the history of the opt-ins is kept.
    pub events_kept: Duration,
}

/// Where keys come from.
#[derive(Clone, Debug)]
pub enum Keys {
    /// The environment variable `BATCHSUITE_KEYS`.
    Environment,
    /// A file.
    File(PathBuf),
}

/// Which UPS the application talks to.
#[derive(Clone, Debug)]
pub enum Ups {
    /// A fake UPS inside this process.
    Demo {
        /// Where the fake listens; loopback.
        fake_listen: SocketAddr,
    },
    /// UPS itself, or what stands at `base_url`.
    Real(RealUps),
}

/// How UPS is reached, and how browsers reach the application.
#[derive(Clone, Debug)]
pub struct RealUps {
    /// The application as UPS knows it.
    pub client: Client,
    /// Which of UPS's environments.
    pub environment: Environment,
    /// Where UPS's endpoints are.
    pub base_url: Url,
    /// Where browsers find this application: scheme and host, no path.
    pub public_url: Url,
}

/// Why the settings cannot be used, in one line that names the variable and holds no value.
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
    /// [`ConfigError`] for the first thing that is wrong.
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
        let database =
            kept_in(given("DATABASE_URL")?, given("BATCHSUITE_KEYS")?, given("BATCHSUITE_KEYS_FILE")?, events_kept)?;
        let listen = address("LISTEN", DEFAULT_LISTEN)?;
        let demo_password = given("DEMO_PASSWORD")?.map(SecretString::from);
        let client_id = given("UPS_CLIENT_ID")?;
        let client_secret = given("UPS_CLIENT_SECRET")?;
        let authentication = given("UPS_CLIENT_AUTHENTICATION")?;
        let environment = given("UPS_ENVIRONMENT")?;
        let base_url = given("UPS_BASE_URL")?;
        let public_url = given("PUBLIC_URL")?;
        let fake_listen = given("FAKE_UPS_LISTEN")?;
        let stop_timeout = stop_timeout(given("STOP_TIMEOUT")?)?;
        let proxies = proxies(given("FORWARDED_FOR_HOPS")?)?;

        let set: Vec<&str> = [
            ("UPS_CLIENT_ID", &client_id),
            ("UPS_CLIENT_SECRET", &client_secret),
            ("UPS_CLIENT_AUTHENTICATION", &authentication),
            ("UPS_ENVIRONMENT", &environment),
            ("UPS_BASE_URL", &base_url),
            ("PUBLIC_URL", &public_url),
        ]
        .into_iter()
        .filter_map(|(name, value)| value.as_ref().map(|_| name))
        .collect();

        if set.is_empty() {
            if !listen.ip().is_loopback() {
                return Err(error(
                    "LISTEN is not a loopback address, so this is not a demo: set UPS_CLIENT_ID, UPS_CLIENT_SECRET, PUBLIC_URL and DEMO_PASSWORD, or listen on 127.0.0.1",
                ));
            }
            if database.is_some() {
                return Err(error(
                    "DATABASE_URL is not for the demo, whose fake UPS forgets every token when it ends: set UPS_CLIENT_ID, UPS_CLIENT_SECRET, PUBLIC_URL and DEMO_PASSWORD too (and UPS_BASE_URL for a running fake-ups)",
                ));
            }
            let fake_listen = address("FAKE_UPS_LISTEN", DEFAULT_FAKE_UPS_LISTEN)?;
            if !fake_listen.ip().is_loopback() {
                return Err(error("FAKE_UPS_LISTEN must be a loopback address: the fake UPS is for this machine only"));
            }
            let ups = Ups::Demo { fake_listen };
            return Ok(Self { listen, demo_password, proxies, database: None, ups, stop_timeout });
        }

        let missing = |name: &str| {
            let verb = if set.len() == 1 { "is" } else { "are" };
            error(format!(
                "{name} is missing, but {} {verb} set; set it too, or none of them for a demo",
                set.join(", ")
            ))
        };
        let client_id = client_id.ok_or_else(|| missing("UPS_CLIENT_ID"))?;
        let client_secret = client_secret.ok_or_else(|| missing("UPS_CLIENT_SECRET"))?;
        let public_url = public_url.ok_or_else(|| missing("PUBLIC_URL"))?;
        let demo_password = demo_password.ok_or_else(|| missing("DEMO_PASSWORD"))?;
        if fake_listen.is_some() {
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
        let environment = match environment.as_deref() {
            None | Some("cie") => Environment::Cie,
            Some("production") => Environment::Production,
            Some(_) => return Err(error("UPS_ENVIRONMENT must be cie or production")),
        };
        let base_url = match base_url {
            Some(text) => origin("UPS_BASE_URL", &text)?,
            None => origin("UPS_BASE_URL", default_base_url(environment))?,
        };
        let public_url = origin("PUBLIC_URL", &public_url)?;
        if public_url.scheme() == "http" && !listen.ip().is_loopback() {
            return Err(error(
                "PUBLIC_URL is plain http, so LISTEN must be a loopback address; browsers elsewhere need https",
            ));
        }
        let authentication = client_authentication(authentication.as_deref())?;
        let client = Client::new(client_id, client_secret).with_authentication(authentication);
        let ups = Ups::Real(RealUps { client, environment, base_url, public_url });
        Ok(Self { listen, demo_password: Some(demo_password), proxies, database, ups, stop_timeout })
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

/// A database and the keys to what it keeps: both, or neither.
fn kept_in(
    url: Option<String>,
    keys: Option<String>,
    key_file: Option<String>,
    events_kept: Option<Duration>,
) -> Result<Option<KeptIn>, ConfigError> {
    let keys = match (keys, key_file) {
        (Some(_), Some(_)) => {
            return Err(error("BATCHSUITE_KEYS and BATCHSUITE_KEYS_FILE are both set; unset one of them"));
        }
        // The keyring reads the variable itself, with care.
        (Some(_), None) => Some(Keys::Environment),
        (None, path) => path.map(|path| Keys::File(path.into())),
    };
    match (url, keys) {
        (Some(url), Some(keys)) => {
            Ok(Some(KeptIn { url: url.into(), keys, events_kept: events_kept.unwrap_or(EVENTS_KEPT) }))
        }
        (None, None) if events_kept.is_some() => {
            Err(error("EVENTS_KEPT_DAYS is for a database, but DATABASE_URL is not set; set it too, or unset both"))
        }
        (None, None) => Ok(None),
        (Some(_), None) => Err(error(
            "BATCHSUITE_KEYS is missing, but DATABASE_URL is set: secrets are kept there encrypted; set it to name:key (openssl rand -base64 32 makes a key), or BATCHSUITE_KEYS_FILE to a file of such lines",
        )),
        (None, Some(_)) => Err(error(
            "DATABASE_URL is missing, but keys are set; set it too, or unset them to keep everything in memory",
        )),
    }
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

/// A scheme, a host and perhaps a port: https, or http on this very machine.
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

/// Whether `url` names this very machine.
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
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::read(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value)))
    }

    const REAL: [(&str, &str); 4] = [
        ("UPS_CLIENT_ID", "id"),
        ("UPS_CLIENT_SECRET", "canary-secret"),
        ("PUBLIC_URL", "https://batch.example.com"),
        ("DEMO_PASSWORD", "canary-password"),
    ];

    fn real_with(more: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
        let mut variables: Vec<_> =
            REAL.into_iter().filter(|(name, _)| more.iter().all(|(other, _)| other != name)).collect();
        variables.extend(more);
        variables
    }

    #[test]
    fn without_any_setting_it_is_a_demo_on_loopback() {
        let config = read(&[]).unwrap();

        assert_eq!(config.listen.to_string(), "127.0.0.1:3000");
        assert!(config.demo_password.is_none());
        assert!(matches!(config.ups, Ups::Demo { fake_listen } if fake_listen.to_string() == "127.0.0.1:0"));
    }

    #[test]
    fn a_demo_may_choose_its_addresses_and_password() {
        let config =
            read(&[("LISTEN", "[::1]:8080"), ("FAKE_UPS_LISTEN", "127.0.0.1:4000"), ("DEMO_PASSWORD", "demo")])
                .unwrap();

        assert_eq!(config.listen.port(), 8080);
        assert!(config.demo_password.is_some());
        assert!(matches!(config.ups, Ups::Demo { fake_listen } if fake_listen.port() == 4000));
    }

    #[test]
    fn client_id_and_secret_lead_to_ups_itself() {
        for (environment, base_url) in [
            (None, "https://wwwcie.ups.com/"),
            (Some("cie"), "https://wwwcie.ups.com/"),
            (Some("production"), "https://onlinetools.ups.com/"),
        ] {
            let more: Vec<_> = environment.map(|name| ("UPS_ENVIRONMENT", name)).into_iter().collect();

            let config = read(&real_with(&more)).unwrap();

            let Ups::Real(ups) = config.ups else { panic!("a demo") };
            assert_eq!(ups.base_url.as_str(), base_url);
            assert_eq!(ups.public_url.as_str(), "https://batch.example.com/");
        }
    }

    #[test]
    fn the_client_s_authentication_can_be_chosen_and_is_the_secret_otherwise() {
        let name = "UPS_CLIENT_AUTHENTICATION";
        for (more, expected) in [
            (&[][..], "Secret"),
            (&[(name, "secret")], "Secret"),
            (&[(name, "pkce")], "Pkce"),
            (&[(name, "pkce-with-secret")], "PkceWithSecret"),
        ] {
            let Ups::Real(ups) = read(&real_with(more)).unwrap().ups else { panic!("a demo") };

            assert!(
                format!("{:?}", ups.client).ends_with(&format!("authentication: {expected} }}")),
                "{:?}",
                ups.client
            );
        }
    }

    #[test]
    fn no_proxy_is_believed_unless_it_is_counted() {
        let proxies = |more: &[(&'static str, &'static str)]| read(&real_with(more)).unwrap().proxies;

        assert_eq!(proxies(&[]), Proxies::NONE);
        assert_eq!(proxies(&[("FORWARDED_FOR_HOPS", "0")]), Proxies::NONE);
        assert_eq!(Some(proxies(&[("FORWARDED_FOR_HOPS", "2")])), Proxies::new(2));
        assert_eq!(Some(read(&[("FORWARDED_FOR_HOPS", "1")]).unwrap().proxies), Proxies::new(1));
    }

    #[test]
    fn a_database_comes_with_keys() {
        const URL: (&str, &str) = ("DATABASE_URL", "postgres://app:canary@localhost/x");
        let keys = |variable| {
            let config = read(&real_with(&[URL, variable])).unwrap();
            assert!(!format!("{config:?}").contains("canary"), "{config:?}");
            config.database.unwrap().keys
        };

        assert!(matches!(keys(("BATCHSUITE_KEYS", "a:canary")), Keys::Environment));
        assert!(matches!(keys(("BATCHSUITE_KEYS_FILE", "/keys")), Keys::File(path) if path.as_os_str() == "/keys"));
        assert!(read(&REAL).unwrap().database.is_none());
        for (more, days) in [(&[][..], 400), (&[("EVENTS_KEPT_DAYS", "30")], 30)] {
            let config = read(&real_with(&[&[URL, ("BATCHSUITE_KEYS", "a:b")], more].concat())).unwrap();
            assert_eq!(config.database.unwrap().events_kept, Duration::from_secs(days * 86_400));
        }
    }

    #[test]
    fn the_time_to_stop_is_docker_s_unless_it_is_set() {
        assert_eq!(read(&REAL).unwrap().stop_timeout, Duration::from_secs(10));
        assert_eq!(read(&[("STOP_TIMEOUT", "40")]).unwrap().stop_timeout, Duration::from_secs(40));
        for nonsense in ["0", "-1", "3601", "10s", "1.5", "99999999999999999999"] {
            assert!(read(&[("STOP_TIMEOUT", nonsense)]).is_err(), "{nonsense}");
        }
    }

    #[test]
    fn another_ups_is_https_or_loopback() {
        for (base_url, accepted) in [
            ("https://ups.example", true),
            ("http://127.0.0.1:4000", true),
            ("http://localhost:4000", true),
            ("http://ups.example", false),
            ("ftp://localhost", false),
            ("https://ups.example/path", false),
            ("https://ups.example?x=1", false),
            ("https://user@ups.example", false),
            ("ups.example", false),
        ] {
            assert_eq!(read(&real_with(&[("UPS_BASE_URL", base_url)])).is_ok(), accepted, "{base_url}");
        }
    }

    #[test]
    fn anything_half_set_is_an_error_that_names_the_variable() {
        let cases: &[(&[(&str, &str)], &str)] = &[
            (&[("LISTEN", "0.0.0.0:3000")], "LISTEN is not a loopback address"),
            (&[("LISTEN", "3000")], "LISTEN must be"),
            (&[("LISTEN", "")], "LISTEN is set but empty"),
            (&[("DATABASE_URL", "postgres://localhost/x")], "BATCHSUITE_KEYS is missing"),
            (
                &[("DATABASE_URL", "postgres://localhost/x"), ("BATCHSUITE_KEYS", "k")],
                "DATABASE_URL is not for the demo",
            ),
            (&[("DATABASE_URL", ""), ("BATCHSUITE_KEYS", "k")], "DATABASE_URL is set but empty"),
            (&[("BATCHSUITE_KEYS", "k")], "DATABASE_URL is missing"),
            (&[("BATCHSUITE_KEYS_FILE", "keys")], "DATABASE_URL is missing"),
            (&[("BATCHSUITE_KEYS", "k"), ("BATCHSUITE_KEYS_FILE", "keys")], "both set"),
            (&[("EVENTS_KEPT_DAYS", "30")], "EVENTS_KEPT_DAYS is for a database"),
            (&[("EVENTS_KEPT_DAYS", "0")], "EVENTS_KEPT_DAYS must be"),
            (&[("EVENTS_KEPT_DAYS", "1.5")], "EVENTS_KEPT_DAYS must be"),
            (&[("EVENTS_KEPT_DAYS", "99999999999")], "EVENTS_KEPT_DAYS must be"),
            (&[("UPS_CLIENT_ID", "id")], "UPS_CLIENT_SECRET is missing"),
            (&[("UPS_CLIENT_SECRET", "s")], "UPS_CLIENT_ID is missing"),
            (&[("UPS_ENVIRONMENT", "cie")], "UPS_CLIENT_ID is missing"),
            (&[("UPS_BASE_URL", "https://ups.example")], "UPS_CLIENT_ID is missing"),
            (&[("UPS_CLIENT_AUTHENTICATION", "pkce")], "UPS_CLIENT_ID is missing"),
            (&[("FORWARDED_FOR_HOPS", "11")], "FORWARDED_FOR_HOPS must be"),
            (&[("FORWARDED_FOR_HOPS", "-1")], "FORWARDED_FOR_HOPS must be"),
            (&[("FORWARDED_FOR_HOPS", "yes")], "FORWARDED_FOR_HOPS must be"),
            (&[("PUBLIC_URL", "https://batch.example.com")], "UPS_CLIENT_ID is missing"),
            (&[("UPS_CLIENT_ID", "id"), ("UPS_CLIENT_SECRET", "s")], "PUBLIC_URL is missing"),
            (&[("UPS_CLIENT_ID", " ")], "UPS_CLIENT_ID is set but empty"),
            (&[("DEMO_PASSWORD", "")], "DEMO_PASSWORD is set but empty"),
            (&[("FAKE_UPS_LISTEN", "0.0.0.0:1")], "FAKE_UPS_LISTEN must be a loopback"),
            (&[("FAKE_UPS_LISTEN", "x")], "FAKE_UPS_LISTEN must be an IP address"),
            (&REAL[..3], "DEMO_PASSWORD is missing"),
        ];
        for (variables, expected) in cases {
            let message = read(variables).unwrap_err().to_string();
            assert!(message.contains(expected), "{variables:?}: {message}");
            assert_eq!(message.lines().count(), 1);
        }
    }

    #[test]
    fn a_real_ups_takes_no_bad_value() {
        let cases: &[(&[(&str, &str)], &str)] = &[
            (&[("UPS_ENVIRONMENT", "test")], "UPS_ENVIRONMENT must be"),
            (&[("UPS_CLIENT_AUTHENTICATION", "PKCE")], "UPS_CLIENT_AUTHENTICATION must be"),
            (&[("UPS_CLIENT_ID", "i d")], "UPS_CLIENT_ID has a space"),
            (&[("UPS_CLIENT_SECRET", "canary\n")], "UPS_CLIENT_SECRET has a space"),
            (&[("PUBLIC_URL", "http://batch.example.com")], "PUBLIC_URL must begin with https"),
            (&[("PUBLIC_URL", "https://batch.example.com/app")], "PUBLIC_URL must be a scheme and a host only"),
            (&[("PUBLIC_URL", "http://localhost:3000"), ("LISTEN", "0.0.0.0:3000")], "PUBLIC_URL is plain http"),
            (&[("FAKE_UPS_LISTEN", "127.0.0.1:1")], "FAKE_UPS_LISTEN is for the demo"),
        ];
        for (more, expected) in cases {
            let message = read(&real_with(more)).unwrap_err().to_string();
            assert!(message.contains(expected), "{more:?}: {message}");
            assert!(!message.contains("canary"), "{message}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?}", read(&REAL).unwrap());

        assert!(!shown.contains("canary"), "{shown}");
    }

    #[cfg(unix)]
    #[test]
    fn a_value_that_is_not_utf8_is_an_error() {
        use std::os::unix::ffi::OsStringExt;
        let message =
            Config::read(|name| (name == "LISTEN").then(|| OsString::from_vec(vec![0xff]))).unwrap_err().to_string();

        assert_eq!(message, "LISTEN is not UTF-8");
    }
}
