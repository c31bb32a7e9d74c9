//! Where the database is: a URL, and what it leaves open.

use std::{path::PathBuf, time::Duration};

use batchsuite_auth::store::StoreError;
use tokio_postgres::{Config, config::SslMode};
use url::form_urlencoded;

use super::{failure, tls::Tls};

/// How long connecting takes at most.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// How long unanswered bytes keep a connection alive.
const SILENCE: Duration = Duration::from_secs(15);

/// Where to connect to, and how.
#[derive(Clone)]
pub(super) struct Address {
    pub(super) config: Config,
    pub(super) tls: Tls,
}

impl Address {
    /// Reads a connection string of libpq, as a URL or as words. What it leaves open is set so that nothing waits for long.
    pub(super) fn new(text: &str) -> Result<Self, StoreError> {
        let (text, roots) = without_certificates(text);
        // The parser's error repeats parts of the text.
        let config: Result<Config, _> = text.parse();
        let mut config = config.map_err(|_| failure::misconfigured("the database's URL is none that can be read"))?;
        let is_checked = !matches!(config.get_ssl_mode(), SslMode::Disable | SslMode::Prefer);
        if roots.is_some() && !is_checked {
            return Err(failure::misconfigured("sslrootcert checks nothing without sslmode=verify-full"));
        }
        let tls = if is_checked { Tls::checked(roots.as_deref()) } else { Tls::opportunistic() };
        let tls = tls.map_err(|error| failure::misconfigured(format!("TLS cannot be set up: {error}")))?;
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(PATIENCE);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(SILENCE);
        }
        config.keepalives_idle(SILENCE);
        if config.get_application_name().is_none() {
            config.application_name("batchsuite");
        }
        Ok(Self { config, tls })
    }
}

/// Takes out what the driver does not know: `sslrootcert`, and the modes of `sslmode` that say what `require` does here.
fn without_certificates(text: &str) -> (String, Option<PathBuf>) {
    let is_url = text.starts_with("postgres://") || text.starts_with("postgresql://");
    let (address, settings) = match text.split_once('?') {
        Some((address, settings)) if is_url => (address, settings),
        _ => ("", text),
    };
    let (separator, glue) = if is_url { ("&", "?") } else { (" ", "") };
    let mut roots = None;
    let kept: Vec<&str> = settings
        .split(separator)
        .filter_map(|setting| match setting.split_once('=') {
            Some(("sslmode", "verify-ca" | "verify-full")) => Some("sslmode=require"),
            Some(("sslrootcert", path)) => {
                let (_, decoded) = form_urlencoded::parse(setting.as_bytes()).next().unwrap_or_default();
                let path = if is_url { decoded.into_owned() } else { path.to_owned() };
                roots = (path != "system").then(|| path.into());
                None
            }
            _ => Some(setting),
        })
        .collect();
    let glue = if address.is_empty() || kept.is_empty() { "" } else { glue };
    (format!("{address}{glue}{}", kept.join(separator)), roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_taken_out_of_a_url_and_of_words() {
        for (text, rest, roots) in [
            ("postgres://u@h/d", "postgres://u@h/d", None),
            ("postgres://u@h/d?sslmode=disable", "postgres://u@h/d?sslmode=disable", None),
            ("postgres://u@h/d?sslmode=verify-full", "postgres://u@h/d?sslmode=require", None),
            (
                "postgres://u@h/d?sslrootcert=%2Fa%20b&sslmode=verify-ca",
                "postgres://u@h/d?sslmode=require",
                Some("/a b"),
            ),
            ("postgres://u@h/d?sslrootcert=system", "postgres://u@h/d", None),
            ("postgres://u@h/d?sslrootcert=/a", "postgres://u@h/d", Some("/a")),
            ("host=h sslmode=verify-full sslrootcert=/a", "host=h sslmode=require", Some("/a")),
            ("host=h password='a  b'", "host=h password='a  b'", None),
        ] {
            assert_eq!(without_certificates(text), (rest.to_owned(), roots.map(PathBuf::from)), "{text}");
        }
    }

    #[test]
    fn a_root_that_would_check_nothing_is_refused() {
        assert!(Address::new("postgres://u@h/d?sslrootcert=/a").is_err());
        assert!(Address::new("postgres://u@h/d?sslmode=verify-full&sslrootcert=/nowhere").is_err());
        assert!(Address::new("postgres://u@h/d").is_ok());
    }
}
