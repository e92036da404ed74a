//! Who is at the other end: the client's address and the origin it sees us at, through proxies that we know.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use axum::http::header::HOST;
use axum::http::uri::{Authority, Scheme, Uri};
use axum::http::{Extensions, HeaderMap};

/// The other end of the TCP connection. The accept loop puts it into the extensions of every request.
#[derive(Clone, Copy, Debug)]
pub struct PeerAddr(pub SocketAddr);

/// A block of addresses, `10.0.0.0/8`; a bare address is a block of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

#[derive(Debug, thiserror::Error)]
#[error("a network is an address like 10.0.0.7, or a block like 10.0.0.0/8 or fd00::/8")]
pub struct InvalidNetwork;

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
        let address: IpAddr = address.parse().map_err(|_| InvalidNetwork)?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(bits), str::parse).map_err(|_| InvalidNetwork)?;
        if prefix <= bits { Ok(Self { address, prefix }) } else { Err(InvalidNetwork) }
    }
}

impl Network {
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                let differ = ours.to_bits() ^ theirs.to_bits();
                differ.checked_shr(32 - u32::from(self.prefix)).unwrap_or(0) == 0
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                let differ = ours.to_bits() ^ theirs.to_bits();
                differ.checked_shr(128 - u32::from(self.prefix)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

/// Where a site is: scheme and authority, `https://example.org`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteOrigin(String);

#[derive(Debug, thiserror::Error)]
#[error("an origin is http:// or https:// and a host, without a path")]
pub struct InvalidOrigin;

impl SiteOrigin {
    fn new(scheme: &str, authority: &Authority) -> Self {
        Self(format!("{scheme}://{authority}").to_ascii_lowercase())
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a `Host` header names this site.
    #[must_use]
    pub fn is_host(&self, host: &str) -> bool {
        self.0.split_once("://").is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host))
    }
}

impl FromStr for SiteOrigin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let uri: Uri = text.parse().map_err(|_| InvalidOrigin)?;
        let scheme = uri.scheme().filter(|&it| *it == Scheme::HTTP || *it == Scheme::HTTPS);
        match (scheme, uri.authority()) {
            (Some(scheme), Some(authority)) if matches!(uri.path(), "" | "/") && uri.query().is_none() => {
                Ok(Self::new(scheme.as_str(), authority))
            }
            _ => Err(InvalidOrigin),
        }
    }
}

impl fmt::Display for SiteOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The address that a request comes from. A proxy that we trust is believed about who came to it, and no
/// other: whoever stands left of the last untrusted address in `X-Forwarded-For` may have made it up.
#[must_use]
pub fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let trusts = |address| trusted.iter().any(|network| network.contains(address));
    let peer = peer.to_canonical();
    if !trusts(peer) {
        return peer;
    }
    let mut client = peer;
    let lines: Vec<&str> =
        headers.get_all("x-forwarded-for").iter().filter_map(|line| line.to_str().ok()).collect();
    for hop in lines.iter().flat_map(|line| line.split(',')).rev() {
        let Some(address) = hop_address(hop.trim()) else { break };
        client = address;
        if !trusts(address) {
            break;
        }
    }
    client
}

/// Some proxies write the port as well.
fn hop_address(hop: &str) -> Option<IpAddr> {
    let address = hop.parse().or_else(|_| hop.parse().map(|it: SocketAddr| it.ip()));
    address.ok().map(|it| it.to_canonical())
}

/// Where the client sees us, by its own `Host` and by the scheme: that of a connection which is `encrypted` up to here, or a trusted
/// proxy's word. None if it does not say.
#[must_use]
pub fn seen_origin(
    peer: IpAddr,
    headers: &HeaderMap,
    trusted: &[Network],
    encrypted: bool,
) -> Option<SiteOrigin> {
    let authority: Authority = headers.get(HOST)?.to_str().ok()?.parse().ok()?;
    let through_proxy = trusted.iter().any(|network| network.contains(peer));
    let forwarded = headers.get("x-forwarded-proto").filter(|_| through_proxy);
    let secure =
        encrypted || forwarded.is_some_and(|scheme| scheme.as_bytes().eq_ignore_ascii_case(b"https"));
    Some(SiteOrigin::new(if secure { "https" } else { "http" }, &authority))
}

/// The other end of a request's connection.
pub(super) fn peer_of(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get::<PeerAddr>().map(|peer| peer.0.ip())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn networks(texts: &[&str]) -> Vec<Network> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn forwarded(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("x-forwarded-for", line.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_stranger_cannot_choose_an_address() {
        let headers = forwarded(&["198.51.100.7"]);
        assert_eq!(client_address(ip("203.0.113.5"), &headers, &[]), ip("203.0.113.5"));
        let trusted = networks(&["10.0.0.0/8"]);
        assert_eq!(client_address(ip("203.0.113.5"), &headers, &trusted), ip("203.0.113.5"));
    }

    #[test]
    fn the_last_address_that_is_no_proxy_of_ours_is_the_client() {
        let trusted = networks(&["10.0.0.0/8", "fd00::/8"]);
        let client = |lines: &[&str]| client_address(ip("10.0.0.1"), &forwarded(lines), &trusted);
        assert_eq!(client(&["198.51.100.7"]), ip("198.51.100.7"));
        assert_eq!(client(&["1.2.3.4, 198.51.100.7, 10.9.9.9"]), ip("198.51.100.7"));
        assert_eq!(client(&["1.2.3.4", "198.51.100.7,10.9.9.9, fd00::1"]), ip("198.51.100.7"));
        assert_eq!(client(&["198.51.100.7:4711"]), ip("198.51.100.7"));
        assert_eq!(client(&["[2001:db8::1]:4711"]), ip("2001:db8::1"));
        assert_eq!(client(&["::ffff:198.51.100.7"]), ip("198.51.100.7"));
        assert_eq!(client(&["198.51.100.7, nonsense"]), ip("10.0.0.1"));
        assert_eq!(client(&[]), ip("10.0.0.1"));
    }

    #[test]
    fn a_network_contains_its_block() {
        let contains = |network: &str, address| network.parse::<Network>().unwrap().contains(ip(address));
        assert!(contains("10.0.0.0/8", "10.255.0.1"));
        assert!(!contains("10.0.0.0/8", "11.0.0.1"));
        assert!(contains("10.0.0.7", "10.0.0.7"));
        assert!(!contains("10.0.0.7", "10.0.0.8"));
        assert!(contains("0.0.0.0/0", "203.0.113.5"));
        assert!(!contains("0.0.0.0/0", "2001:db8::1"));
        assert!(contains("::/0", "2001:db8::1"));
        assert!(contains("fd00::/8", "fdff::1"));
        assert!(contains("10.0.0.0/8", "::ffff:10.1.1.1"));
        for text in ["", "10.0.0.0/33", "::/129", "10.0.0.0/-1", "10.0.0.0/", "example.org"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_origin_has_a_scheme_and_a_host_and_nothing_else() {
        let origin: SiteOrigin = "https://Example.org:8443/".parse().unwrap();
        assert_eq!(origin.as_str(), "https://example.org:8443");
        assert!(origin.is_host("example.org:8443"));
        assert!(!origin.is_host("example.org"));
        for text in
            ["", "example.org", "ftp://example.org", "https://example.org/b", "https://", "https://a/?b"]
        {
            assert!(text.parse::<SiteOrigin>().is_err(), "{text}");
        }
    }

    #[test]
    fn only_a_trusted_proxy_says_https() {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, "board.example.org".parse().unwrap());
        headers.insert("x-forwarded-proto", "https".parse().unwrap());
        let trusted = networks(&["10.0.0.1"]);
        let seen =
            |peer, encrypted| seen_origin(ip(peer), &headers, &trusted, encrypted).unwrap().to_string();
        assert_eq!(seen("10.0.0.1", false), "https://board.example.org");
        assert_eq!(seen("10.0.0.2", false), "http://board.example.org");
        assert_eq!(seen("10.0.0.2", true), "https://board.example.org", "as we see for ourselves");
        assert_eq!(seen_origin(ip("10.0.0.1"), &HeaderMap::new(), &trusted, true), None);
    }

    proptest! {
        #[test]
        fn any_header_gives_some_address(line in "[ -~]{0,100}") {
            let trusted = networks(&["0.0.0.0/0", "::/0"]);
            let address = client_address(ip("10.0.0.1"), &forwarded(&[&line]), &trusted);
            prop_assert!(address == ip("10.0.0.1") || line.contains(['.', ':']));
        }

        #[test]
        fn any_text_is_a_network_or_is_not(text in "[0-9a-f.:/]{0,40}", address in any::<u128>()) {
            if let Ok(network) = text.parse::<Network>() {
                let address = IpAddr::V6(address.into());
                let same_family = network.address.is_ipv4() == address.to_canonical().is_ipv4();
                prop_assert!(same_family || !network.contains(address));
            }
        }
    }
}
