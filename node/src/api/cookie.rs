//! The cookie that keeps a browser signed in. Only `refresh` and `sign-out` read it.

use axum::http::header::COOKIE;
use axum::http::{HeaderMap, HeaderValue};

/// The prefix makes browsers insist on Secure, on Path=/ and on this very host.
const NAME: &str = "__Host-enfilade";
const ATTRIBUTES: &str = "Path=/; Secure; HttpOnly; SameSite=Strict";

/// The refresh token in a request.
pub(super) fn read(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.split_once('='))
        .find_map(|(name, value)| (name.trim() == NAME).then_some(value.trim()))
}

/// `Set-Cookie` with a refresh token. None if it had characters that a header cannot have, which ours do not.
pub(super) fn keep(refresh_token: &str, life_ms: u64) -> Option<HeaderValue> {
    let max_age = life_ms / 1_000;
    format!("{NAME}={refresh_token}; Max-Age={max_age}; {ATTRIBUTES}").parse().ok()
}

/// `Set-Cookie` that removes it.
pub(super) fn forget() -> Option<HeaderValue> {
    keep("", 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        assert_eq!(read(&headers), None);
        headers.append(COOKIE, "theme=dark;  __Host-enfilade=abc-_1; x=y".parse().unwrap());
        assert_eq!(read(&headers), Some("abc-_1"));
        headers.insert(COOKIE, "enfilade=no; a__Host-enfilade=no; broken".parse().unwrap());
        headers.append(COOKIE, "__Host-enfilade=abc".parse().unwrap());
        assert_eq!(read(&headers), Some("abc"));
    }

    #[test]
    fn the_cookie_is_as_strict_as_cookies_get() {
        let cookie = keep("abc", 60_500).unwrap();
        assert_eq!(
            cookie.to_str().unwrap(),
            "__Host-enfilade=abc; Max-Age=60; Path=/; Secure; HttpOnly; SameSite=Strict"
        );
        assert!(forget().unwrap().to_str().unwrap().starts_with("__Host-enfilade=; Max-Age=0; "));
    }
}
