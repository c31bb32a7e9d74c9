//! The hosts that may receive companies' tokens.

use http::{Uri, uri::Authority};
use url::Url;

use crate::config::is_https_or_loopback;

/// A host that receives tokens must use https, or http on loopback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a host that gets tokens must be https, or http on localhost")]
#[non_exhaustive]
pub struct InvalidHost;

/// The origins that may receive tokens: scheme, host and port (RFC 6454 §4).
#[derive(Clone, Debug, Default)]
pub(super) struct Hosts(Vec<Origin>);

#[derive(Clone, Debug)]
struct Origin {
    scheme: String,
    host: String,
    port: u16,
}

impl Hosts {
    pub(super) fn of(urls: impl IntoIterator<Item = Url>) -> Result<Self, InvalidHost> {
        urls.into_iter().map(|url| Origin::of(&url).ok_or(InvalidHost)).collect::<Result<_, _>>().map(Self)
    }

    /// Whether a request to `uri` gets a token; `None`: the URI names no host.
    ///
    /// The client connects to the host of this same [`Uri`], so no second parser can disagree about the host.
    pub(super) fn include(&self, uri: &Uri) -> Option<bool> {
        let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
        Some(self.0.iter().any(|origin| origin.is_of(scheme, authority)))
    }
}

impl Origin {
    fn of(url: &Url) -> Option<Self> {
        let (host, port) = (url.host_str()?.to_owned(), url.port_or_known_default()?);
        is_https_or_loopback(url).then(|| Self { scheme: url.scheme().to_owned(), host, port })
    }

    fn is_of(&self, scheme: &str, authority: &Authority) -> bool {
        // A userinfo part can make one host look like another.
        let port = match authority.as_str().strip_prefix(authority.host()) {
            Some("") => default_port(scheme),
            Some(port) if !port.contains('@') => authority.port_u16(),
            _ => None,
        };
        self.scheme.eq_ignore_ascii_case(scheme)
            && self.host.eq_ignore_ascii_case(authority.host())
            && port == Some(self.port)
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "https" => Some(443),
        "http" => Some(80),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(urls: &[&str]) -> Result<Hosts, InvalidHost> {
        Hosts::of(urls.iter().map(|url| Url::parse(url).unwrap()))
    }

    #[test]
    fn a_named_host_is_told_from_its_likes() {
        let hosts = hosts(&["https://onlinetools.ups.com/a/path", "http://127.0.0.1:8080", "http://[::1]:80"]).unwrap();
        for (uri, expected) in [
            ("https://onlinetools.ups.com/api/track", Some(true)),
            ("https://onlinetools.ups.com", Some(true)),
            ("https://onlinetools.ups.com:443/", Some(true)),
            ("HTTPS://ONLINETOOLS.UPS.COM/", Some(true)),
            ("http://127.0.0.1:8080/", Some(true)),
            ("http://[::1]/", Some(true)),
            // Another scheme or port.
            ("http://onlinetools.ups.com/", Some(false)),
            ("http://onlinetools.ups.com:443/", Some(false)),
            ("ws://127.0.0.1:8080/", Some(false)),
            ("https://onlinetools.ups.com:8443/", Some(false)),
            ("https://127.0.0.1:8080/", Some(false)),
            ("http://127.0.0.1/", Some(false)),
            // An empty port is not accepted.
            ("https://onlinetools.ups.com:/", Some(false)),
            // Other hosts.
            ("https://wwwcie.ups.com/", Some(false)),
            ("https://ups.com/", Some(false)),
            ("https://onlinetools.ups.com./", Some(false)),
            ("https://onlinetools.ups.com.evil.example/", Some(false)),
            ("https://evil-onlinetools.ups.com/", Some(false)),
            ("https://x.onlinetools.ups.com/", Some(false)),
            ("http://localhost:8080/", Some(false)),
            ("http://127.1:8080/", Some(false)),
            ("http://[0:0:0:0:0:0:0:1]/", Some(false)),
            // A userinfo part that looks like a host, and a host with a userinfo part.
            ("https://onlinetools.ups.com@evil.example/", Some(false)),
            ("https://onlinetools.ups.com:443@evil.example/", Some(false)),
            ("https://ada@onlinetools.ups.com/", Some(false)),
            ("https://ada:x@onlinetools.ups.com:443/", Some(false)),
            ("https://onlinetools.ups.com:x@onlinetools.ups.com:443/", Some(false)),
            // No host.
            ("/api/track", None),
            ("*", None),
            ("onlinetools.ups.com:443", None),
        ] {
            let uri: Uri = uri.parse().unwrap_or_else(|error| panic!("{uri}: {error}"));
            assert_eq!(hosts.include(&uri), expected, "{uri}");
        }
    }

    #[test]
    fn a_token_is_never_sent_in_the_clear_to_another_machine() {
        for refused in ["http://onlinetools.ups.com", "http://10.0.0.1", "ftp://localhost"] {
            assert_eq!(hosts(&["https://ups.example", refused]).unwrap_err(), InvalidHost, "{refused}");
        }
    }
}
