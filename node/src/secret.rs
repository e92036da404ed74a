//! Secrets among the settings: read from the environment or from files, and never printed.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::str::FromStr;

use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// What stands before the name of a file that holds a secret.
const FILE: char = '@';
/// What is printed in a secret's place.
const HIDDEN: &str = "…";

/// Something that only those may know who need it; empty if there is none.
#[derive(Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Takes the place of a file's name that which is in the file.
    ///
    /// # Errors
    /// When the file cannot be read, or nothing is in it.
    pub(crate) fn read(self) -> io::Result<Self> {
        read(self.0).map(Self)
    }

    pub(crate) fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    /// As those need it who are asked for it.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    /// As a client says it.
    pub(crate) fn bearer(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// Whether somebody knows the secret. How long that takes says nothing about how much of it they know.
    pub(crate) fn is(&self, guess: &str) -> bool {
        !self.is_none() && Sha256::digest(&self.0) == Sha256::digest(guess)
    }
}

/// A setting that may be the name of a file, with an `@` before it: what is in the file, without the end of its line.
///
/// # Errors
/// When the file cannot be read, or nothing is in it.
pub(crate) fn read(given: String) -> io::Result<String> {
    let Some(file) = given.strip_prefix(FILE) else { return Ok(given) };
    let text = std::fs::read_to_string(file)?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() { Err(io::Error::other("the file is empty")) } else { Ok(text.to_owned()) }
}

/// Whether a setting says a secret itself, and not where it is. For settings that are addresses: whether there is a password in one.
pub(crate) fn is_said(setting: &str) -> bool {
    !setting.is_empty() && !setting.starts_with(FILE)
}

/// A text with the passwords of all addresses in it left out.
pub(crate) fn without_passwords(text: &str) -> String {
    let mut hidden = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, address) = rest.split_at(at + 3);
        hidden += before;
        let end = address.find(['/', '?', ',', '"', ' ', '\'']).unwrap_or(address.len());
        let (authority, after) = address.split_at(end);
        match authority.rsplit_once('@') {
            Some((who, host)) => {
                // To NATS a name alone is a token.
                let is_token = before.ends_with("nats://") || before.ends_with("tls://");
                let name = match who.split_once(':') {
                    Some((name, _)) => format!("{name}:{HIDDEN}"),
                    None if is_token => HIDDEN.to_owned(),
                    None => who.to_owned(),
                };
                hidden += &format!("{name}@{host}");
            }
            None => hidden += authority,
        }
        rest = after;
    }
    without_parameter(&(hidden + rest))
}

/// PostgreSQL's URLs may also have it as a parameter.
fn without_parameter(text: &str) -> String {
    const PARAMETER: &str = "password=";
    let mut parts = text.split(PARAMETER);
    let mut hidden = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(['&', '"', ' ', '\'']).unwrap_or(part.len());
        hidden += &format!("{PARAMETER}{HIDDEN}{}", &part[end..]);
    }
    hidden
}

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_none() { "none" } else { HIDDEN })
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.is_none() { "" } else { HIDDEN })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_secret_is_known_or_not_and_is_never_printed() {
        let secret: Secret = "open sesame".parse().unwrap();
        assert!(secret.is("open sesame") && !secret.is("open") && !secret.is(""));
        assert_eq!(
            (format!("{secret:?}"), serde_json::to_string(&secret).unwrap()),
            ("…".into(), "\"…\"".into())
        );
        assert!(!Secret::default().is(""), "nobody knows a secret that there is not");
    }

    #[test]
    fn a_secret_may_be_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "open sesame\n").unwrap();
        let secret: Secret = format!("@{}", file.display()).parse().unwrap();
        assert!(secret.read().unwrap().is("open sesame"));
        std::fs::write(&file, "\n").unwrap();
        assert!(read(format!("@{}", file.display())).is_err());
        assert!(read("@/nowhere/at/all".into()).is_err());
        assert_eq!(read("as it is".into()).unwrap(), "as it is");
    }

    #[test]
    fn addresses_are_shown_without_their_passwords() {
        for (address, shown) in [
            (
                "postgres://ada:lovelace@db:5432/x?sslmode=require",
                "postgres://ada:…@db:5432/x?sslmode=require",
            ),
            ("nats://ada:l@ve@n1:4222,nats://token@n2", "nats://ada:…@n1:4222,nats://…@n2"),
            (
                "postgres://ada@db/x?password=lovelace&sslmode=require",
                "postgres://ada@db/x?password=…&sslmode=require",
            ),
            ("nats://n1:4222", "nats://n1:4222"),
            ("sqlite:data/x.db", "sqlite:data/x.db"),
            ("", ""),
        ] {
            assert_eq!(without_passwords(address), shown);
        }
    }

    proptest! {
        #[test]
        fn no_password_is_ever_shown(password in "[a-z:]{4,12}", host in "[A-Z]{1,5}") {
            let shown = without_passwords(&format!("url = \"postgres://U:{password}@{host}/X\""));
            prop_assert!(!shown.contains(&password), "{shown}");
            prop_assert!(shown.contains(&host));
        }
    }
}
