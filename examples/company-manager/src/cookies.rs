//! The two cookies: the session's, and the one that binds a trip to UPS.com to this browser.

use batchsuite_auth::BrowserSecret;
use http::{HeaderMap, HeaderValue, header::COOKIE};

use crate::sessions::{SessionId, is_random_text};

/// How cookies are named and marked, by how browsers reach the application.
///
/// Over https both are `__Host-` cookies (RFC 6265bis §4.1.3.2): `Secure`, of this host alone, not to be set by another.
/// Not every browser keeps such cookies from plain http on loopback, so there both go without.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cookies {
    pub(crate) secure: bool,
}

impl Cookies {
    fn session_name(self) -> &'static str {
        if self.secure { "__Host-session" } else { "session" }
    }

    fn browser_name(self) -> &'static str {
        if self.secure { "__Host-ups-trip" } else { "ups-trip" }
    }

    pub(crate) fn session(self, headers: &HeaderMap) -> Option<SessionId> {
        find(headers, self.session_name()).and_then(SessionId::from_cookie)
    }

    pub(crate) fn browser_secret(self, headers: &HeaderMap) -> Option<BrowserSecret> {
        find(headers, self.browser_name()).filter(|text| is_random_text(text)).map(BrowserSecret::new)
    }

    /// `Lax`, not `Strict`: the return from UPS.com is a navigation from another site and must find the session.
    pub(crate) fn set_session(self, id: &SessionId) -> Option<HeaderValue> {
        self.set(self.session_name(), id.expose_secret(), None)
    }

    pub(crate) fn clear_session(self) -> Option<HeaderValue> {
        self.set(self.session_name(), "", Some(0))
    }

    /// One per browser, read again when the next trip begins: two trips side by side both come back (so it cannot be limited to
    /// the callback's path).
    pub(crate) fn set_browser_secret(self, secret: &BrowserSecret) -> Option<HeaderValue> {
        const A_DAY: u32 = 86_400;
        self.set(self.browser_name(), secret.expose_secret(), Some(A_DAY))
    }

    fn set(self, name: &str, value: &str, max_age: Option<u32>) -> Option<HeaderValue> {
        let max_age = max_age.map(|seconds| format!("; Max-Age={seconds}")).unwrap_or_default();
        let secure = if self.secure { "; Secure" } else { "" };
        let text = format!("{name}={value}; Path=/{max_age}; HttpOnly; SameSite=Lax{secure}");
        let mut value = HeaderValue::try_from(text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

/// The first cookie of this name (RFC 6265 §5.4: the one with the longest path).
fn find<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|header| header.to_str().ok())
        .flat_map(|header| header.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(found, _)| *found == name)
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_marked_for_the_way_browsers_come() {
        let id = SessionId::random();
        let secret = BrowserSecret::random();
        for (secure, session, browser) in [
            (
                true,
                format!("__Host-session={}; Path=/; HttpOnly; SameSite=Lax; Secure", id.expose_secret()),
                format!(
                    "__Host-ups-trip={}; Path=/; Max-Age=86400; HttpOnly; SameSite=Lax; Secure",
                    secret.expose_secret()
                ),
            ),
            (
                false,
                format!("session={}; Path=/; HttpOnly; SameSite=Lax", id.expose_secret()),
                format!("ups-trip={}; Path=/; Max-Age=86400; HttpOnly; SameSite=Lax", secret.expose_secret()),
            ),
        ] {
            let cookies = Cookies { secure };
            assert_eq!(cookies.set_session(&id).unwrap(), session);
            assert_eq!(cookies.set_browser_secret(&secret).unwrap(), browser);
        }
    }

    #[test]
    fn only_what_can_be_ours_is_read_back() {
        let id = SessionId::random();
        let cookies = Cookies { secure: false };
        for (header, found) in [
            (format!("a=b; session={}; c=d", id.expose_secret()), true),
            (format!("xsession={}", id.expose_secret()), false),
            (format!("__Host-session={}", id.expose_secret()), false),
            ("session=".to_owned(), false),
            (format!("session={}", "<".repeat(43)), false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, header.parse().unwrap());
            assert_eq!(cookies.session(&headers).is_some(), found, "{header}");
        }
    }
}
