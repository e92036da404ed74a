//! People who are signed in, thousands of them: signed up once, kept in a file, and given fresh tokens before a run.
//!
//! A server lets one address sign up a few people a minute. Each of these comes from an address of its own, if the server
//! believes what a proxy on this machine says (`enfilade serve --trusted-proxies 127.0.0.1`); else it takes its time.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, Method};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::http::{self as api, ApiError};
use crate::target::Target;

/// Somebody who signed up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    pub username: String,
    /// The cookie that brings the next access token, once.
    cookie: String,
    pub access_token: String,
    /// Seconds since 1970.
    expires: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum PeopleError {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error("{0} is no file of people: {1}")]
    File(String, io::Error),
    #[error("{0} has nobody in it")]
    Nobody(String),
}

/// Hashing a password keeps a server's core busy; more at once would only wait.
const AT_ONCE: usize = 4;
/// A token that ends sooner is renewed before a run.
const LEFT: u64 = 300;
/// How long a server may turn somebody away for coming too often.
const PATIENCE: Duration = Duration::from_secs(120);

/// Signs up so many people; `run` tells them from those of other times.
///
/// # Errors
/// When the server cannot be reached or refuses for good.
pub async fn sign_up(target: &Target, count: u32, run: u32) -> Result<Vec<Person>, PeopleError> {
    let sign_up = |number: u32| async move {
        let username = format!("swarm-{run:x}-{number}");
        let body = json!({ "username": username, "password": format!("swarm {run:x} {number}") }).to_string();
        enter(target, number, username, "/api/v1/auth/sign-up", None, &body).await
    };
    stream::iter(0..count).map(sign_up).buffered(AT_ONCE).try_collect().await
}

/// Gives everybody in a file a token that lasts a while, and keeps what they need for the next one.
///
/// # Errors
/// When the file is not readable, or the server refuses.
pub async fn from_file(target: &Target, path: &Path) -> Result<Vec<Person>, PeopleError> {
    let named = |error: io::Error| PeopleError::File(path.display().to_string(), error);
    let text = fs::read_to_string(path).map_err(named)?;
    let people: Vec<Person> = serde_json::from_str(&text).map_err(|error| named(error.into()))?;
    if people.is_empty() {
        return Err(PeopleError::Nobody(path.display().to_string()));
    }
    if people.iter().all(|person| person.expires > now() + LEFT) {
        return Ok(people);
    }
    let refresh = |(number, person): (u32, Person)| async move {
        let Person { username, cookie, .. } = person;
        enter(target, number, username, "/api/v1/auth/refresh", Some(&cookie), "{}").await
    };
    let people: Vec<Person> =
        stream::iter((0..).zip(people)).map(refresh).buffered(AT_ONCE).try_collect().await?;
    write(path, &people).map_err(named)?;
    Ok(people)
}

/// Writes people to a file that only its owner reads: their tokens are in it.
///
/// # Errors
/// When it cannot be written.
pub fn write(path: &Path, people: &[Person]) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(&serde_json::to_vec(people)?)
}

async fn enter(
    target: &Target,
    number: u32,
    username: String,
    path: &str,
    cookie: Option<&str>,
    body: &str,
) -> Result<Person, PeopleError> {
    #[derive(Deserialize)]
    struct SignedIn {
        access_token: String,
        expires_in: u64,
    }
    let [_, high, middle, low] = number.to_be_bytes();
    let address = format!("10.{high}.{middle}.{low}");
    let mut headers = vec![("x-forwarded-for", address.as_str())];
    headers.extend(cookie.map(|cookie| (COOKIE.as_str(), cookie)));
    let ask = async |target: &Target| api::post::<SignedIn>(target, path, &headers, body.to_owned()).await;
    let (answer, headers) = api::patiently(std::slice::from_ref(target), PATIENCE, ask).await?;
    let cookie = cookie_of(&headers).ok_or_else(|| ApiError::Malformed {
        method: Method::POST,
        path: path.to_owned(),
        problem: "no cookie".to_owned(),
    })?;
    let expires = now() + answer.expires_in;
    Ok(Person { username, cookie, access_token: answer.access_token, expires })
}

/// The cookie as it is sent back: `name=value`.
fn cookie_of(headers: &HeaderMap) -> Option<String> {
    let cookie = headers.get(SET_COOKIE)?.to_str().ok()?;
    Some(cookie.split(';').next()?.trim().to_owned())
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_goes_back_without_its_attributes() {
        let mut headers = HeaderMap::new();
        headers.insert(SET_COOKIE, "__Host-enfilade=abc-_1; Max-Age=60; Path=/; Secure".parse().unwrap());
        assert_eq!(cookie_of(&headers).as_deref(), Some("__Host-enfilade=abc-_1"));
        assert_eq!(cookie_of(&HeaderMap::new()), None);
    }

    #[tokio::test]
    async fn tokens_that_last_are_taken_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("people.json");
        let person = |expires| Person {
            username: "ada".into(),
            cookie: "a=b".into(),
            access_token: "token".into(),
            expires,
        };
        let target: Target = "http://127.0.0.1:1".parse().unwrap();
        let people = vec![person(now() + 2 * LEFT)];
        write(&path, &people).unwrap();
        assert_eq!(from_file(&target, &path).await.unwrap(), people);
        write(&path, &[]).unwrap();
        assert!(matches!(from_file(&target, &path).await, Err(PeopleError::Nobody(_))));
        fs::write(&path, "{}").unwrap();
        assert!(matches!(from_file(&target, &path).await, Err(PeopleError::File(..))));
    }
}
