//! The hosts that this UPS answers for. A page on the internet can make its own name resolve to 127.0.0.1 (DNS
//! rebinding) and would then read `/__fake/`, passwords included, as same-origin content. But the browser still sends
//! that page's name in `Host`.

use std::net::{IpAddr, Ipv6Addr};

use http::{Request, header, uri::Authority};

use super::FakeUpsState;

impl FakeUpsState {
    /// Whether `request` is for a host of this UPS: loopback, or an allowed host. A request without a host does not
    /// come from a browser.
    pub(super) fn is_host_of(&self, request: &Request<Vec<u8>>) -> bool {
        let mut named = request.headers().get_all(header::HOST).iter();
        let host = named.next();
        named.next().is_none()
            && request.uri().authority().is_none_or(|authority| self.is_allowed(authority))
            && host.is_none_or(|host| {
                let authority = host.to_str().ok().and_then(|host| host.parse().ok());
                authority.is_some_and(|authority| self.is_allowed(&authority))
            })
    }

    /// Whether `request` was sent by one of this UPS's own pages. Browsers send the page's origin with every POST;
    /// programs do not.
    pub(super) fn is_from_own_page(&self, request: &Request<Vec<u8>>) -> bool {
        let header = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap_or_default());
        if header("sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "none")) {
            return false;
        }
        let Some(origin) = header("origin") else { return true };
        let own = request.uri().authority().map(Authority::as_str).or_else(|| header("host"));
        let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        authority.is_some_and(|authority| own.is_some_and(|own| own.eq_ignore_ascii_case(authority)))
    }

    fn is_allowed(&self, authority: &Authority) -> bool {
        let host = authority.host();
        !authority.as_str().contains('@')
            && (is_loopback(host)
                || self.settings.allowed_hosts.iter().any(|allowed| bare(allowed).eq_ignore_ascii_case(bare(host))))
    }
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || bare(host).parse().is_ok_and(|address: IpAddr| address.to_canonical().is_loopback())
}

/// An IPv6 address without its brackets.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// This UPS's origin as the client sees it, e.g. `http://127.0.0.1:4000`; empty if the request does not name it.
pub(super) fn origin(request: &Request<Vec<u8>>) -> String {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let authority = match request.uri().authority() {
        Some(authority) => authority.as_str(),
        None => header("host").filter(|host| host.parse::<http::uri::Authority>().is_ok()).unwrap_or_default(),
    };
    if authority.is_empty() {
        return String::new();
    }
    let forwarded = header("x-forwarded-proto").filter(|scheme| matches!(*scheme, "http" | "https"));
    format!("{}://{authority}", forwarded.or(request.uri().scheme_str()).unwrap_or("http"))
}

/// Whether `host` is a bare name or address.
pub(super) fn is_bare(host: &str) -> bool {
    if bare(host).parse::<Ipv6Addr>().is_ok() {
        return true;
    }
    host.parse::<Authority>().is_ok_and(|authority| authority.host() == host && authority.port().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_answers_for_loopback_and_for_what_was_allowed_alone() {
        let ups = FakeUpsState::builder().allow_host("onlinetools.ups.com").allow_host("2001:db8::1").build().unwrap();
        for (host, answers) in [
            ("localhost", true),
            ("LOCALHOST:4010", true),
            ("127.0.0.1:1", true),
            ("127.66.0.1", true),
            ("[::1]:4010", true),
            ("[::ffff:127.0.0.1]", true),
            ("onlinetools.ups.com", true),
            ("OnlineTools.UPS.com:443", true),
            ("[2001:db8::1]:80", true),
            ("evil.example", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("ups.com", false),
            ("x.onlinetools.ups.com", false),
            ("192.168.0.1", false),
            ("0.0.0.0", false),
            ("localhost@evil.example", false),
            ("evil.example@localhost", false),
            ("a b", false),
            ("", false),
        ] {
            let request = Request::get("/").header("host", host).body(Vec::new()).unwrap();
            assert_eq!(ups.is_host_of(&request), answers, "{host}");
        }
        let twice = Request::get("/").header("host", "localhost").header("host", "evil.example").body(Vec::new());
        assert!(!ups.is_host_of(&twice.unwrap()));
        let absolute = Request::get("http://evil.example/").header("host", "localhost").body(Vec::new());
        assert!(!ups.is_host_of(&absolute.unwrap()));
        assert!(ups.is_host_of(&Request::get("/").body(Vec::new()).unwrap()));
    }

    #[test]
    fn only_its_own_pages_and_programs_may_post() {
        let ups = FakeUpsState::builder().build().unwrap();
        for (headers, own) in [
            (vec![], true),
            (vec![("origin", "http://localhost:4010")], true),
            (vec![("origin", "http://localhost:4010"), ("sec-fetch-site", "same-origin")], true),
            (vec![("origin", "http://localhost:3000")], false),
            (vec![("origin", "http://evil.example")], false),
            (vec![("origin", "null")], false),
            (vec![("sec-fetch-site", "cross-site")], false),
            (vec![("sec-fetch-site", "same-site")], false),
        ] {
            let mut request = Request::post("/__fake/clock").header("host", "localhost:4010");
            for (name, value) in &headers {
                request = request.header(*name, *value);
            }
            assert_eq!(ups.is_from_own_page(&request.body(Vec::new()).unwrap()), own, "{headers:?}");
        }
    }
}
