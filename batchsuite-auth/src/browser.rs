//! Browser handling for the host's web layer: the cookie that binds a trip to one browser, and which requests may
//! complete the trip. Independent of any web framework; it reads and writes header values.
//!
//! - Set the cookie *before* a person can press Authenticate: at sign-in, or on every page with that button, if
//!   [`TripCookie::secrets`] finds no secret. Its value is [`TripCookie::header`] of a [`BrowserSecret::random`]. Two
//!   tabs then share one secret.
//! - Begin the trip with the existing secret, if any:
//!   [`Authenticate::browser_secret`](crate::Authenticate::browser_secret). Send
//!   [`Trip::set_cookie`](crate::Trip::set_cookie) in the response.
//! - Begin trips only for requests from the host's own pages: [`is_same_origin`].
//! - At the callback, do not process a request unless [`is_visit`] accepts it, and pass all its secrets to
//!   [`callback`](crate::BatchSuiteAuth::callback).
//!
//! ```
//! use batchsuite_auth::browser::{TripCookie, is_visit};
//! use http::{HeaderMap, HeaderValue, Method, header};
//!
//! let cookie = TripCookie::of(&"https://batch.example.com".parse()?);
//! let mut headers = HeaderMap::new();
//! // A cookie of another application on this host, with a non-ASCII byte, is skipped.
//! headers.insert(header::COOKIE, HeaderValue::from_bytes(b"town=Z\xfcrich; theme=dark")?);
//!
//! assert!(cookie.secrets(&headers).first().is_none());
//! assert!(is_visit(&Method::GET, &headers));
//! headers.insert("sec-purpose", HeaderValue::from_static("prefetch;prerender"));
//! assert!(!is_visit(&Method::GET, &headers));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod link;

use std::{fmt, time::Duration};

use http::{HeaderMap, HeaderValue, Method, header::COOKIE};
use url::Url;

pub use self::link::LinkSecrets;
use crate::secret::{BrowserSecret, SecretHash, random_text};

/// The values of the cookies named `name`, in the order in which the browser sent them (RFC 6265 §5.4: longest path
/// first).
///
/// Splits the header as bytes and decodes only these cookies: the host shares its cookies with every other application
/// on it, whose cookies may contain any byte. Skips values that are not UTF-8; they are not this library's.
pub fn cookies<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a str> {
    pairs(headers)
        .filter(move |(found, _)| *found == name.as_bytes())
        .filter_map(|(_, value)| str::from_utf8(value).ok())
}

fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    headers.get_all(COOKIE).iter().flat_map(|header| header.as_bytes().split(|byte| *byte == b';')).filter_map(|pair| {
        let pair = pair.trim_ascii();
        let at = pair.iter().position(|byte| *byte == b'=')?;
        Some((pair[..at].trim_ascii_end(), pair[at + 1..].trim_ascii_start()))
    })
}

/// The latest of these cookies' values. Browsers send older cookies first (RFC 6265 §5.4).
fn latest<T>(found: impl Iterator<Item = T>) -> Vec<T> {
    let mut found: Vec<_> = found.collect();
    found.drain(..found.len().saturating_sub(MOST_SECRETS));
    found
}

/// The cookie that keeps a [`BrowserSecret`]. Its name and attributes depend on the scheme of the host's public URL.
///
/// Over https it is a `__Host-` cookie (RFC 6265bis §4.1.3.2): `Secure`, limited to this host, and not settable by
/// another host. On plain-http loopback it has no prefix, because some browsers reject such a cookie there. Always
/// `HttpOnly`; `SameSite=Lax`, not `Strict`, because the return from UPS.com is a cross-site navigation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TripCookie {
    is_secure: bool,
}

/// How long a browser keeps its secret.
const LIFETIME: Duration = Duration::from_secs(30 * 86_400);
/// Maximum number of secrets read from one request, more than any real browser has.
const MOST_SECRETS: usize = 20;

impl TripCookie {
    /// The cookie of a host with this public URL.
    #[must_use]
    pub fn of(public_url: &Url) -> Self {
        Self { is_secure: public_url.scheme() != "http" }
    }

    /// The cookie's name. A trip that begins in a browser without a secret adds a suffix
    /// ([`Trip::set_cookie`](crate::Trip::set_cookie)).
    #[must_use]
    pub fn name(self) -> &'static str {
        if self.is_secure { "__Host-ups-trip" } else { "ups-trip" }
    }

    /// The secrets in a request's cookies, for [`callback`](crate::BatchSuiteAuth::callback) and
    /// [`authenticate`](crate::BatchSuiteAuth::authenticate): those of at most the latest twenty cookies. Skips values
    /// that cannot be secrets of this library.
    #[must_use]
    pub fn secrets(self, headers: &HeaderMap) -> BrowserSecrets {
        let ours = pairs(headers).filter(|(name, _)| {
            name.strip_prefix(self.name().as_bytes()).is_some_and(|rest| rest.is_empty() || rest[0] == b'-')
        });
        let mut found = BrowserSecrets::default();
        for secret in latest(ours.filter_map(|(_, value)| BrowserSecret::of_bytes(value))) {
            if !found.0.iter().any(|known| known.matches(&secret)) {
                found.0.push(secret);
            }
        }
        found
    }

    /// The value of a `Set-Cookie` header that stores `secret` in the browser for 30 days. Marked sensitive.
    #[must_use]
    pub fn header(self, secret: &BrowserSecret) -> HeaderValue {
        self.written(self.name(), secret.expose_secret(), LIFETIME)
    }

    /// Like [`header`](Self::header), under a unique name, so that it does not overwrite a secret just given to another
    /// tab.
    pub(crate) fn header_beside(self, secret: &BrowserSecret, lifetime: Duration) -> HeaderValue {
        let mark = random_text();
        self.written(&format!("{}-{}", self.name(), &mark[..8]), secret.expose_secret(), lifetime)
    }

    fn written(self, name: &str, value: &str, lifetime: Duration) -> HeaderValue {
        // A host-made secret may not be a valid cookie value; an empty value matches no secret.
        let fits = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
        let value = if fits { value } else { "" };
        let (secure, seconds) = (if self.is_secure { "; Secure" } else { "" }, lifetime.as_secs());
        let text = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
        let mut header = HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""));
        header.set_sensitive(true);
        header
    }
}

/// The browser secrets in one request, usually one. There are several if another application or another path set a
/// cookie with this name, or if two tabs began before the cookie was set.
#[derive(Clone, Default)]
pub struct BrowserSecrets(Vec<BrowserSecret>);

impl BrowserSecrets {
    /// The secret for the browser's next trip.
    #[must_use]
    pub fn first(&self) -> Option<&BrowserSecret> {
        self.0.first()
    }

    /// All secrets.
    pub fn iter(&self) -> impl Iterator<Item = &BrowserSecret> {
        self.0.iter()
    }

    /// Whether the request has no secret.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for BrowserSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BrowserSecrets({})", self.0.len())
    }
}

/// Proof that the browser at the [`callback`](crate::BatchSuiteAuth::callback) is the one that began the consent: a
/// [`BrowserSecret`], an optional one, or all [`BrowserSecrets`] of the request, any of which may match.
pub trait PresentedSecrets: sealed::Sealed {
    /// The hash of each secret.
    #[doc(hidden)]
    fn hashes(&self) -> Vec<SecretHash>;
}

mod sealed {
    pub trait Sealed {}
}

impl sealed::Sealed for &BrowserSecret {}
impl PresentedSecrets for &BrowserSecret {
    fn hashes(&self) -> Vec<SecretHash> {
        vec![self.hash()]
    }
}

impl sealed::Sealed for Option<&BrowserSecret> {}
impl PresentedSecrets for Option<&BrowserSecret> {
    fn hashes(&self) -> Vec<SecretHash> {
        self.map(BrowserSecret::hash).into_iter().collect()
    }
}

impl sealed::Sealed for &BrowserSecrets {}
impl PresentedSecrets for &BrowserSecrets {
    fn hashes(&self) -> Vec<SecretHash> {
        self.iter().map(BrowserSecret::hash).collect()
    }
}

/// Whether a request may complete a consent: a GET caused by a person's navigation.
///
/// A HEAD, or a GET that [`is_speculative`], must not consume the consent. Respond with `503` (to a HEAD also `405`)
/// and `Cache-Control: no-store`, so that the browser repeats the request when the person navigates to the page.
#[must_use]
pub fn is_visit(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::GET && !is_speculative(headers)
}

/// Whether a browser or an intermediary fetches the page before a person navigates to it: `Sec-Purpose: prefetch` (also
/// `;prerender`), and the older `Purpose`, `X-Purpose` and `X-Moz`.
#[must_use]
pub fn is_speculative(headers: &HeaderMap) -> bool {
    ["sec-purpose", "purpose", "x-purpose", "x-moz"].into_iter().flat_map(|name| headers.get_all(name)).any(|value| {
        let words = value.as_bytes().split(|byte| !byte.is_ascii_alphanumeric() && !matches!(byte, b'-' | b'_'));
        words.into_iter().any(|word| {
            ["prefetch", "prerender", "preview"].iter().any(|purpose| word.eq_ignore_ascii_case(purpose.as_bytes()))
        })
    })
}

/// Whether the browser states that a page of the host itself sent this request: `Sec-Fetch-Site: same-origin` (Fetch
/// Metadata), or, if that header is absent, an `Origin` (RFC 6454) equal to that of `public_url`. `false` if both are
/// absent, and for `Origin: null`.
///
/// Check this for each POST that begins a trip, against cross-site request forgery (CSRF). Every current browser sends
/// one of the two headers, and no page can forge them. `SameSite=Lax` cookies alone do not stop pages of sibling hosts.
/// A page with `Referrer-Policy: no-referrer` posts its forms with `Origin: null` (Fetch), so browsers without
/// `Sec-Fetch-Site` are refused there; `strict-origin` keeps the path of the page as secret.
#[must_use]
pub fn is_same_origin(headers: &HeaderMap, public_url: &Url) -> bool {
    let all_are = |name: &str, expected: &str| {
        let mut values = headers.get_all(name).iter().peekable();
        values.peek().is_some().then(|| values.all(|value| value.as_bytes() == expected.as_bytes()))
    };
    all_are("sec-fetch-site", "same-origin")
        .or_else(|| all_are("origin", &public_url.origin().ascii_serialization()))
        .unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: TripCookie = TripCookie { is_secure: false };

    fn sent(lines: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, HeaderValue::from_bytes(line).unwrap());
        }
        headers
    }

    fn found(lines: &[&[u8]]) -> Vec<String> {
        LOOPBACK.secrets(&sent(lines)).iter().map(|secret| secret.expose_secret().to_owned()).collect()
    }

    #[test]
    fn a_secret_is_found_among_the_cookies_of_other_applications() {
        let secret = BrowserSecret::random();
        let ours = format!("ups-trip={}", secret.expose_secret());
        let ours = ours.as_bytes();
        for others in [
            &b"town=Z\xfcrich; "[..],
            b"town=Z\xc3\xbcrich;",
            b"a; =b; ;;; c==; ",
            b"ups-trip=\xff\xfe; ",
            b"ups-trip=; ups-trip=short; ups-tripx=1; xups-trip=2; ",
            b"q=\"a;b\"; ",
        ] {
            let before = [others, ours].concat();
            let after = [ours, b"; ", others].concat();
            for lines in [&[&before[..]][..], &[&after], &[others, ours], &[ours, others]] {
                assert_eq!(found(lines), [secret.expose_secret()], "{}", String::from_utf8_lossy(others));
            }
        }
        assert!(found(&[b"ups-trip", b"", b"__Host-ups-trip=x"]).is_empty());
    }

    #[test]
    fn the_cookies_of_a_name_are_read_in_the_order_in_which_they_were_sent() {
        let headers = sent(&[b"theme=dark; language=de; language=\xff; xlanguage=x", b"language = en-US ;Language=fr"]);

        assert_eq!(cookies(&headers, "language").collect::<Vec<_>>(), ["de", "en-US"]);
        assert_eq!(cookies(&headers, "town").count(), 0);
    }

    #[test]
    fn a_browser_presents_every_secret_of_its_cookies() {
        let secrets = [BrowserSecret::random(), BrowserSecret::random()];
        let hashes = secrets.each_ref().map(BrowserSecret::hash);
        let line = format!("ups-trip={}; ups-trip-a={}", secrets[0].expose_secret(), secrets[1].expose_secret());

        let found = LOOPBACK.secrets(&sent(&[line.as_bytes()]));
        let none = LOOPBACK.secrets(&HeaderMap::new());

        assert!((&found).hashes() == hashes);
        assert!((&none).hashes().is_empty());
        assert!((&secrets[0]).hashes() == hashes[..1]);
        assert!(found.first().hashes() == hashes[..1]);
        assert!(none.first().hashes().is_empty());
        assert!(!found.is_empty());
        assert!(none.is_empty());
    }

    #[test]
    fn several_secrets_are_all_found_each_once() {
        let secrets: Vec<_> = (0..3).map(|_| BrowserSecret::random().expose_secret().to_owned()).collect();
        let line = format!(
            "ups-trip={}; ups-trip-a1b2={}; ups-trip={}; ups-trip={}",
            secrets[0], secrets[1], secrets[2], secrets[0]
        );

        assert_eq!(found(&[line.as_bytes()]), secrets);
    }

    /// Browsers send older cookies first (RFC 6265 §5.4).
    #[test]
    fn of_many_secrets_the_latest_are_found() {
        let secrets: Vec<_> = (0..500).map(|_| BrowserSecret::random().expose_secret().to_owned()).collect();
        let line = secrets.iter().map(|secret| format!("ups-trip-{}={secret}; ", &secret[..8])).collect::<String>();

        assert_eq!(found(&[line.as_bytes()]), secrets[500 - MOST_SECRETS..]);
    }

    #[test]
    fn over_https_the_cookie_is_of_this_host_alone() {
        let secret = BrowserSecret::random();
        let text = secret.expose_secret();
        for (url, expected) in [
            (
                "https://batch.example.com",
                format!("__Host-ups-trip={text}; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax; Secure"),
            ),
            ("http://127.0.0.1:3000", format!("ups-trip={text}; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax")),
        ] {
            let header = TripCookie::of(&Url::parse(url).unwrap()).header(&secret);
            assert_eq!(header, expected);
            assert!(header.is_sensitive());
        }
        let secure = TripCookie { is_secure: true };
        assert!(secure.secrets(&sent(&[format!("ups-trip={text}").as_bytes()])).is_empty());
    }

    #[test]
    fn a_secret_that_no_cookie_can_carry_is_not_written() {
        let header = LOOPBACK.header(&BrowserSecret::new("a; Domain=evil.example\r\nx: y"));

        assert_eq!(header, "ups-trip=; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax");
    }

    #[test]
    fn a_prefetch_a_prerender_and_a_head_are_no_visits() {
        for (name, value) in [
            ("sec-purpose", "prefetch"),
            ("sec-purpose", "prefetch;prerender"),
            ("sec-purpose", "prefetch;anonymous-client-ip"),
            ("Sec-Purpose", "Prefetch"),
            ("sec-purpose", " prerender"),
            ("sec-purpose", "navigate,\tprefetch\t;prerender"),
            ("sec-purpose", "(prefetch prerender)"),
            ("sec-purpose", "'prefetch'"),
            ("purpose", "prefetch"),
            ("x-purpose", "preview"),
            ("x-moz", "prefetch"),
            ("X-Moz", "PREFETCH"),
        ] {
            let mut headers = HeaderMap::new();
            headers.append("sec-purpose", HeaderValue::from_bytes(b"\xff").unwrap());
            headers.append(name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap());

            assert!(!is_visit(&Method::GET, &headers), "{name}: {value}");
        }
        let mut headers = HeaderMap::new();
        headers.insert("purpose", HeaderValue::from_static("prefetched"));
        assert!(is_visit(&Method::GET, &headers));
        assert!(!is_visit(&Method::HEAD, &HeaderMap::new()));
    }

    #[test]
    fn a_form_of_another_site_is_told_by_what_the_browser_says_of_it() {
        let public_url = Url::parse("https://batch.example.com/callback").unwrap();
        for (lines, expected) in [
            (&[("sec-fetch-site", "same-origin")][..], true),
            (&[("sec-fetch-site", "same-origin"), ("origin", "null")], true),
            (&[("origin", "https://batch.example.com")], true),
            (&[], false),
            (&[("origin", "null")], false),
            (&[("origin", "https://evil.example")], false),
            (&[("origin", "http://batch.example.com")], false),
            (&[("origin", "https://batch.example.com:8443")], false),
            (&[("origin", "https://batch.example.com"), ("origin", "https://evil.example")], false),
            (&[("sec-fetch-site", "same-site"), ("origin", "https://batch.example.com")], false),
            (&[("sec-fetch-site", "cross-site"), ("origin", "https://batch.example.com")], false),
            (&[("sec-fetch-site", "none")], false),
            (&[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")], false),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(*name, HeaderValue::from_static(value));
            }
            assert_eq!(is_same_origin(&headers, &public_url), expected, "{lines:?}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let secret = BrowserSecret::random();
        let secrets = LOOPBACK.secrets(&sent(&[format!("ups-trip={}", secret.expose_secret()).as_bytes()]));

        assert_eq!(format!("{secrets:?}"), "BrowserSecrets(1)");
    }
}
