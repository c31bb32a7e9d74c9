//! The session's cookie. (The library's [`TripCookie`] binds a trip to UPS.com to this browser.)
//!
//! [`TripCookie`]: batchsuite_auth::TripCookie

use batchsuite_auth::browser::cookies;
use http::{HeaderMap, HeaderValue};

use super::SessionId;

/// Maximum number of session cookies read from a request; a browser has one.
const MOST_SESSIONS: usize = 4;

/// The name and attributes of the session's cookie, depending on the scheme of the application's public URL.
///
/// Over https it is a `__Host-` cookie (RFC 6265bis §4.1.3.2): `Secure`, limited to this host, and not settable by
/// another host. On plain-http loopback it has no prefix, because some browsers reject such a cookie there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cookies {
    pub(crate) secure: bool,
}

impl Cookies {
    fn session_name(self) -> &'static str {
        if self.secure { "__Host-session" } else { "session" }
    }

    /// The possible session ids, in the browser's order: another application on this host may have set a cookie of the
    /// same name.
    pub(crate) fn sessions(self, headers: &HeaderMap) -> Vec<SessionId> {
        cookies(headers, self.session_name()).filter_map(SessionId::from_cookie).take(MOST_SESSIONS).collect()
    }

    /// `Lax`, not `Strict`: the return from UPS.com is a cross-site navigation and must include the session.
    pub(crate) fn set_session(self, id: &SessionId) -> Option<HeaderValue> {
        self.set(id.expose_secret(), "")
    }

    pub(crate) fn clear_session(self) -> Option<HeaderValue> {
        self.set("", "; Max-Age=0")
    }

    fn set(self, value: &str, max_age: &str) -> Option<HeaderValue> {
        let (name, secure) = (self.session_name(), if self.secure { "; Secure" } else { "" });
        let mut value =
            HeaderValue::try_from(format!("{name}={value}; Path=/{max_age}; HttpOnly; SameSite=Lax{secure}")).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use http::header::COOKIE;

    use super::*;

    #[test]
    fn cookies_are_marked_for_the_way_browsers_come() {
        let id = SessionId::random();
        for (secure, session) in [
            (true, format!("__Host-session={}; Path=/; HttpOnly; SameSite=Lax; Secure", id.expose_secret())),
            (false, format!("session={}; Path=/; HttpOnly; SameSite=Lax", id.expose_secret())),
        ] {
            assert_eq!(Cookies { secure }.set_session(&id).unwrap(), session);
        }
    }

    #[test]
    fn only_what_can_be_ours_is_read_back() {
        let id = SessionId::random();
        let cookies = Cookies { secure: false };
        for (header, found) in [
            (format!("a=b; session={}; c=d", id.expose_secret()), 1),
            (format!("town=Z\u{fc}rich; session={}", id.expose_secret()), 1),
            (format!("session=theirs; session={}", id.expose_secret()), 1),
            (format!("xsession={}", id.expose_secret()), 0),
            (format!("__Host-session={}", id.expose_secret()), 0),
            ("session=".to_owned(), 0),
            (format!("session={}", "<".repeat(43)), 0),
            (format!("session={}; ", id.expose_secret()).repeat(9), MOST_SESSIONS),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, HeaderValue::from_bytes(header.as_bytes()).unwrap());
            assert_eq!(cookies.sessions(&headers).len(), found, "{header}");
        }
    }
}
