//! Where the server is: one URL for its sockets and its HTTP.

use std::fmt;
use std::str::FromStr;

use http::Uri;

/// A server by host and port, with what a proxy put in front of its paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    host: String,
    port: u16,
    prefix: String,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTarget {
    #[error("{0:?} is not a URL like http://127.0.0.1:8080")]
    Url(String),
    #[error("{0}: only http:// and ws:// are spoken; put what ends TLS in between")]
    Scheme(String),
}

impl Target {
    #[must_use]
    pub fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
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
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(invalid)?.to_owned();
        let prefix = uri.path().trim_end_matches('/');
        let prefix = prefix.strip_suffix("/ws").unwrap_or(prefix).to_owned();
        Ok(Self { host, port: uri.port_u16().unwrap_or(80), prefix })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority(), self.prefix)
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
