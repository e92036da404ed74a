//! Requests that rest on the cookie must come from our own pages.
//!
//! The cookie is `SameSite=Strict` already; this is for browsers and subdomains that see it differently.
//! Programs that are no browsers send neither header and pass: nobody can make them send a cookie that is not
//! theirs.

use axum::http::HeaderMap;
use axum::http::header::{HOST, ORIGIN};
use enfilade_proto::ErrorCode;

use super::peer::SiteOrigin;
use crate::people::Refusal;

/// # Errors
/// `cross_site`.
pub(super) fn require(headers: &HeaderMap, public: Option<&SiteOrigin>) -> Result<(), Refusal> {
    let same = match headers.get("sec-fetch-site") {
        Some(site) => matches!(site.as_bytes(), b"same-origin" | b"none"),
        None => origin_is_ours(headers, public),
    };
    if same { Ok(()) } else { Err(Refusal::new(ErrorCode::CrossSite, "the request came from another site")) }
}

fn origin_is_ours(headers: &HeaderMap, public: Option<&SiteOrigin>) -> bool {
    let Some(origin) = headers.get(ORIGIN) else { return true };
    let Some(origin) = origin.to_str().ok().and_then(|it| it.parse::<SiteOrigin>().ok()) else {
        return false;
    };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    public == Some(&origin) || host.is_some_and(|host| origin.is_host(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(pairs: &[(&'static str, &str)]) -> bool {
        let public = "https://board.example.org".parse().unwrap();
        let headers =
            pairs.iter().map(|&(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        require(&headers, Some(&public)).is_ok()
    }

    #[test]
    fn the_browser_says_where_a_request_comes_from() {
        assert!(allows(&[("sec-fetch-site", "same-origin")]));
        assert!(allows(&[("sec-fetch-site", "none")]));
        assert!(!allows(&[("sec-fetch-site", "same-site")]));
        assert!(!allows(&[("sec-fetch-site", "cross-site"), ("host", "a"), ("origin", "http://a")]));
        assert!(!allows(&[("sec-fetch-site", "")]));
    }

    #[test]
    fn an_older_browser_says_its_origin() {
        assert!(allows(&[("host", "localhost:8080"), ("origin", "http://localhost:8080")]));
        assert!(allows(&[("host", "10.0.0.7:8080"), ("origin", "https://board.example.org")]));
        assert!(!allows(&[("host", "localhost:8080"), ("origin", "http://localhost:5173")]));
        assert!(!allows(&[("host", "localhost:8080"), ("origin", "null")]));
        assert!(!allows(&[("origin", "http://localhost:8080")]));
    }

    #[test]
    fn a_program_says_neither() {
        assert!(allows(&[("host", "localhost:8080")]));
        assert!(allows(&[]));
    }
}
