//! Names of people and rooms: what may be shown to others without surprise.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    #[error("a name has 1 to {max} characters", max = DisplayName::MAX_CHARS)]
    Length,
    #[error("a name has no control, invisible or direction-changing characters")]
    Characters,
    #[error("a username is 3 to 32 of a-z, 0-9, '.', '_' and '-', and starts with a letter or a digit")]
    Username,
}

/// What others see of a person, or the title of a room: 1 to 64 characters, none of them invisible.
///
/// White space around it is cut off. Case, script and emoji are the person's own business. Clones share it: a name stands in many
/// places.
#[derive(Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct DisplayName(Arc<str>);

impl DisplayName {
    pub const MAX_CHARS: usize = 64;

    /// # Errors
    /// When nothing is left after trimming, it is too long, or a character has no business in a name.
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        let text = text.trim();
        if text.is_empty() || text.chars().nth(Self::MAX_CHARS).is_some() {
            return Err(InvalidName::Length);
        }
        if text.chars().any(deceives) {
            return Err(InvalidName::Characters);
        }
        Ok(Self(text.into()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Control characters, line breaks, zero-width and bidirectional marks: they make one name look like another.
/// The zero-width joiner stays, emoji are built with it.
fn deceives(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200B}' | '\u{200C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E001F}')
}

impl fmt::Debug for DisplayName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl fmt::Display for DisplayName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for DisplayName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// The name a person signs in with, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Username(Box<str>);

impl Username {
    /// # Errors
    /// When it is not 3 to 32 of `a-z 0-9 . _ -`, starting with a letter or digit. Upper case is folded.
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        let text = text.to_ascii_lowercase();
        let plain = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b));
        let starts = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        if (3..=32).contains(&text.len()) && plain && starts {
            Ok(Self(text.into()))
        } else {
            Err(InvalidName::Username)
        }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_scripts_and_emoji() {
        for name in ["Ada", "  Ada  ", "李小龙", "Zoë 👩‍🎨", "O'Brien"] {
            assert_eq!(DisplayName::new(name).unwrap().as_str(), name.trim());
        }
    }

    #[test]
    fn names_that_deceive_are_refused() {
        assert_eq!(DisplayName::new(" \t "), Err(InvalidName::Length));
        assert_eq!(DisplayName::new(&"x".repeat(65)), Err(InvalidName::Length));
        for name in ["a\u{0}b", "a\nb", "a\u{202E}b", "a\u{200B}b", "a\u{7f}b", "\u{FEFF}x"] {
            assert_eq!(DisplayName::new(name), Err(InvalidName::Characters), "{name:?}");
        }
    }

    #[test]
    fn usernames_fold_case() {
        assert_eq!(Username::new("Ada.L").unwrap().as_str(), "ada.l");
        for name in ["ab", "-ada", "a b c", "ädä", ""] {
            assert_eq!(Username::new(name), Err(InvalidName::Username), "{name:?}");
        }
    }
}
