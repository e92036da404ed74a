//! Where the server is: one URL for its sockets and its HTTP.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use http::Uri;

/// A server by host and port, with what a proxy put in front of its paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    host: String,
    port: u16,
    prefix: String,
    /// What leads to it on this machine, if it speaks TLS.
    door: Option<SocketAddr>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTarget {
    #[error("{0:?} is not a URL like http://127.0.0.1:8080")]
    Url(String),
    #[error("{0}: only http:// and ws:// are spoken here; put what ends TLS in between")]
    Scheme(String),
}

impl Target {
    /// The server of a URL, on this port if it names none.
    pub(crate) fn of(uri: &Uri, port: u16) -> Option<Self> {
        let host = uri.host().filter(|host| !host.is_empty())?.to_owned();
        let prefix = uri.path().trim_end_matches('/');
        let prefix = prefix.strip_suffix("/ws").unwrap_or(prefix).to_owned();
        Some(Self { host, port: uri.port_u16().unwrap_or(port), prefix, door: None })
    }

    /// The same server, connected to by way of a door.
    pub(crate) fn behind(self, door: SocketAddr) -> Self {
        Self { door: Some(door), ..self }
    }

    #[must_use]
    pub fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// Where to connect to: a host and a port.
    #[must_use]
    pub fn address(&self) -> (String, u16) {
        match self.door {
            Some(door) => (door.ip().to_string(), door.port()),
            None => (self.host().to_owned(), self.port),
        }
    }

    /// As the `Host` header has it.
    #[must_use]
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    #[must_use]
    pub fn path(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    /// Where its WebSockets are.
    #[must_use]
    pub fn socket(&self) -> Uri {
        let uri = format!("ws://{}{}", self.authority(), self.path("/ws"));
        // Host, port and prefix came out of a URI.
        uri.parse().unwrap_or_default()
    }
}

impl FromStr for Target {
    type Err = InvalidTarget;

    /// Takes the address of the server, or of its `/ws`, in `http` or `ws`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidTarget::Url(text.to_owned());
        let uri: Uri = text.parse().map_err(|_| invalid())?;
        match uri.scheme_str() {
            Some("http" | "ws") => {}
            Some("https" | "wss") => return Err(InvalidTarget::Scheme(text.to_owned())),
            _ => return Err(invalid()),
        }
        Self::of(&uri, 80).ok_or_else(invalid)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.door.is_some() { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_scheme_and_either_path_mean_the_same_server() {
        for text in ["http://localhost:8080", "ws://localhost:8080/", "ws://localhost:8080/ws"] {
            let target: Target = text.parse().unwrap();
            assert_eq!(target.to_string(), "http://localhost:8080");
            assert_eq!(target.socket().to_string(), "ws://localhost:8080/ws");
        }
        let behind: Target = "http://[::1]/draw/".parse().unwrap();
        assert_eq!(behind.socket().to_string(), "ws://[::1]:80/draw/ws");
        assert_eq!((behind.host(), behind.path("/api/v1/rooms")), ("::1", "/draw/api/v1/rooms".into()));
    }

    #[test]
    fn what_cannot_be_spoken_is_refused() {
        assert!(matches!("https://x".parse::<Target>(), Err(InvalidTarget::Scheme(_))));
        for text in ["localhost:8080", "", "ftp://x", "http://", "/path"] {
            assert!(matches!(text.parse::<Target>(), Err(InvalidTarget::Url(_))), "{text}");
        }
    }
}
