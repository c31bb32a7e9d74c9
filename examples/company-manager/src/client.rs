//! The client of a request, also behind proxies.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::extract::ConnectInfo;
use http::{Extensions, HeaderMap};

const FORWARDED_FOR: &str = "x-forwarded-for";

/// The number of proxies in front of the application. Each proxy appends its client's address to `X-Forwarded-For`.
/// Entries further left come from the client itself and are never trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    hops: u8,
}

impl Proxies {
    /// No proxy: `X-Forwarded-For` is ignored.
    pub const NONE: Self = Self { hops: 0 };
    /// The maximum number of proxies.
    pub const MOST: u8 = 10;

    /// This many proxies, if at most [`MOST`](Self::MOST).
    pub fn new(hops: u8) -> Option<Self> {
        (hops <= Self::MOST).then_some(Self { hops })
    }

    /// The client of a request, if the server knows it.
    pub(crate) fn client(self, extensions: &Extensions, headers: &HeaderMap) -> Option<Client> {
        let peer = extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip())?;
        Some(Client::at(self.forwarded(headers).unwrap_or(peer)))
    }

    /// The client address reported by the outermost proxy.
    fn forwarded(self, headers: &HeaderMap) -> Option<IpAddr> {
        let from_the_right = usize::from(self.hops).checked_sub(1)?;
        let lines = headers.get_all(FORWARDED_FOR).iter();
        // Entries of all header lines together: a proxy may append to the last line or add a line.
        let entries: Vec<&[u8]> = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).collect();
        let entry = entries.into_iter().rev().nth(from_the_right)?;
        address(str::from_utf8(entry).ok()?.trim())
    }
}

/// An address with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    text.parse().ok().or_else(with_port).or_else(in_brackets)
}

/// The unit for limits: an IPv4 address, or the network of an IPv6 address, because one client can use any number of
/// addresses in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Client(IpAddr);

impl Client {
    pub(crate) fn at(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into())
            }
            address => Self(address),
        }
    }

    pub(crate) fn address(self) -> IpAddr {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(hops: u8, lines: &[&str]) -> String {
        let mut extensions = Extensions::new();
        extensions.insert(ConnectInfo(SocketAddr::from(([10, 0, 0, 1], 1234))));
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, line.parse().unwrap());
        }
        Proxies::new(hops).unwrap().client(&extensions, &headers).unwrap().address().to_string()
    }

    #[test]
    fn only_what_our_own_proxies_appended_is_believed() {
        for (hops, lines, expected) in [
            (0, &["203.0.113.7"][..], "10.0.0.1"),
            (1, &["203.0.113.7"], "203.0.113.7"),
            (1, &["192.0.2.1, 203.0.113.7"], "203.0.113.7"),
            (1, &["192.0.2.1", "203.0.113.7"], "203.0.113.7"),
            (2, &["192.0.2.1, 203.0.113.7, 10.0.0.2"], "203.0.113.7"),
            (2, &["192.0.2.1, 203.0.113.7", "10.0.0.2"], "203.0.113.7"),
            (1, &["203.0.113.7:4711"], "203.0.113.7"),
            (1, &["[2001:db8::7]:4711"], "2001:db8::"),
            (1, &["[2001:db8::7]"], "2001:db8::"),
            // Fewer entries than configured: the proxy setup does not match the setting.
            (1, &[], "10.0.0.1"),
            (1, &["unknown"], "10.0.0.1"),
            (2, &["203.0.113.7"], "10.0.0.1"),
            (1, &["203.0.113.7, "], "10.0.0.1"),
        ] {
            assert_eq!(client(hops, lines), expected, "{hops} {lines:?}");
        }
        assert!(Proxies::new(Proxies::MOST + 1).is_none());
    }

    #[test]
    fn an_ipv6_network_is_one_client() {
        let at = |text: &str| Client::at(text.parse().unwrap());

        assert_eq!(at("2001:db8::1"), at("2001:db8::ffff:1"));
        assert_ne!(at("2001:db8::1"), at("2001:db8:0:1::1"));
        assert_eq!(at("::ffff:203.0.113.7"), at("203.0.113.7"));
    }
}
