//! The cookie of a browser that followed a connect link, where nobody is signed in.

use std::{fmt, time::Duration};

use http::{HeaderMap, HeaderValue};

use super::{BrowserSecrets, TripCookie, latest, pairs};
use crate::{
    machine::USED_CONSENT_KNOWN,
    secret::{BrowserSecret, LinkToken},
};

/// The connect links that a browser opened or followed, each with the browser's secret for it; for
/// [`follow_link`](crate::BatchSuiteAuth::follow_link) and
/// [`callback_of_link`](crate::BatchSuiteAuth::callback_of_link).
#[derive(Clone, Default)]
pub struct LinkSecrets(Vec<(LinkToken, BrowserSecret)>);

impl LinkSecrets {
    /// Whether there is no link.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The browser secrets of these links' trips, for [`company_of_return`](crate::BatchSuiteAuth::company_of_return),
    /// which checks whether a callback URL belongs to one of them.
    #[must_use]
    pub fn secrets(&self) -> BrowserSecrets {
        BrowserSecrets(self.0.iter().map(|(_, secret)| secret.clone()).collect())
    }

    /// The browser's secret for this link, if any.
    #[must_use]
    pub fn of(&self, token: &LinkToken) -> Option<&BrowserSecret> {
        self.0.iter().find(|(known, _)| known.matches(token)).map(|(_, secret)| secret)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &(LinkToken, BrowserSecret)> {
        self.0.iter()
    }
}

impl fmt::Debug for LinkSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LinkSecrets({})", self.0.len())
    }
}

/// As long as the store remembers the link and its trip.
const LIFETIME: Duration = USED_CONSENT_KNOWN;

impl TripCookie {
    fn link_name(self) -> &'static str {
        if self.is_secure { "__Host-ups-link" } else { "ups-link" }
    }

    /// The connect links in a request's cookies, at most the latest twenty. Skips values that cannot be this library's.
    #[must_use]
    pub fn links(self, headers: &HeaderMap) -> LinkSecrets {
        let prefix = format!("{}-", self.link_name());
        let ours = pairs(headers).filter(|(name, _)| name.starts_with(prefix.as_bytes()));
        let read = ours.filter_map(|(_, value)| {
            let at = value.iter().position(|byte| *byte == b'.')?;
            Some((LinkToken::of_bytes(&value[..at])?, BrowserSecret::of_bytes(&value[at + 1..])?))
        });
        LinkSecrets(latest(read))
    }

    /// The value of a `Set-Cookie` header for a browser that opens a link: one cookie per link, for an hour. Send it
    /// with the link's page if [`LinkSecrets::of`] finds no secret, so that pressing the button twice works. Marked
    /// sensitive.
    #[must_use]
    pub fn header_of_link(self, token: &LinkToken, secret: &BrowserSecret) -> HeaderValue {
        let mark = token.hash().as_bytes()[..4].iter().fold(String::new(), |mark, byte| format!("{mark}{byte:02x}"));
        let value = format!("{}.{}", token.expose_secret(), secret.expose_secret());
        self.written(&format!("{}-{mark}", self.link_name()), &value, LIFETIME)
    }
}

#[cfg(test)]
mod tests {
    use http::header::COOKIE;
    use url::Url;

    use super::{super::MOST_SECRETS, *};

    #[test]
    fn what_is_written_for_a_link_is_found_again_beside_anything_else() {
        let (token, secret) = (LinkToken::random(), BrowserSecret::random());
        for (url, name, secure) in
            [("https://batch.example.com", "__Host-ups-link-", "; Secure"), ("http://127.0.0.1:3000", "ups-link-", "")]
        {
            let cookie = TripCookie::of(&Url::parse(url).unwrap());
            let header = cookie.header_of_link(&token, &secret);
            assert!(header.is_sensitive());
            let text = header.to_str().unwrap();
            let (pair, attributes) = text.split_once("; ").unwrap();
            assert!(pair.starts_with(name), "{text}");
            assert_eq!(attributes, format!("Path=/; Max-Age=3600; HttpOnly; SameSite=Lax{secure}"));

            let mut headers = HeaderMap::new();
            let garbage = format!("{name}a=; {name}b=short.short; {name}c={0}{0}; town=Z", token.expose_secret());
            headers.insert(COOKIE, [garbage.as_bytes(), b"\xfcrich; ", pair.as_bytes()].concat().try_into().unwrap());
            let found = cookie.links(&headers);

            assert_eq!(found.iter().count(), 1);
            assert!(found.of(&token).is_some_and(|of_trip| of_trip.matches(&secret)));
            assert!(found.of(&LinkToken::random()).is_none());
            assert!(found.iter().all(|(found, of_trip)| found.matches(&token) && of_trip.matches(&secret)));
            assert!(cookie.secrets(&headers).is_empty(), "it is no cookie of a trip that begins signed in");
            assert!(!found.is_empty() && cookie.links(&HeaderMap::new()).is_empty());
            assert_eq!(format!("{found:?}"), "LinkSecrets(1)");
        }
    }

    /// Browsers send older cookies first (RFC 6265 §5.4).
    #[test]
    fn of_many_links_the_latest_are_found() {
        let cookie = TripCookie::of(&Url::parse("http://127.0.0.1:3000").unwrap());
        let tokens: Vec<_> = (0..30).map(|_| LinkToken::random()).collect();
        let mut headers = HeaderMap::new();
        for token in &tokens {
            let header = cookie.header_of_link(token, &BrowserSecret::random());
            let pair = header.to_str().unwrap().split(';').next().unwrap().to_owned();
            headers.append(COOKIE, HeaderValue::try_from(pair).unwrap());
        }

        let found = cookie.links(&headers);

        assert_eq!(found.iter().count(), MOST_SECRETS);
        assert!(tokens[30 - MOST_SECRETS..].iter().all(|token| found.of(token).is_some()));
    }
}
