//! Where the database is, as operators write it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// `sqlite:PATH`, relative to the working folder or absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseUrl {
    Sqlite(PathBuf),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a database URL reads sqlite:PATH")]
pub struct InvalidDatabaseUrl;

impl FromStr for DatabaseUrl {
    type Err = InvalidDatabaseUrl;

    /// `sqlite://PATH` means the same. Nothing is unescaped, and there are no parameters: what follows is the path.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let path = text
            .strip_prefix("sqlite://")
            .or_else(|| text.strip_prefix("sqlite:"))
            .ok_or(InvalidDatabaseUrl)?;
        // SQLite itself would open `:memory:`, but nothing in there lasts, and its connections would not share it.
        if path.is_empty() || path.starts_with(':') || path.contains('\0') {
            return Err(InvalidDatabaseUrl);
        }
        Ok(Self::Sqlite(path.into()))
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_scheme_and_a_path() {
        for (text, path) in [
            ("sqlite:data/enfilade.db", "data/enfilade.db"),
            ("sqlite://data/enfilade.db", "data/enfilade.db"),
            ("sqlite:///var/lib/enfilade.db", "/var/lib/enfilade.db"),
            ("sqlite:a b?c%20.db", "a b?c%20.db"),
        ] {
            let url: DatabaseUrl = text.parse().unwrap();
            assert_eq!(url, DatabaseUrl::Sqlite(path.into()));
            assert_eq!(url.to_string().parse(), Ok(url));
        }
    }

    #[test]
    fn what_cannot_last_is_no_database() {
        for text in
            ["", "sqlite:", "sqlite://", "sqlite::memory:", "data.db", "mysql://host/db", "sqlite:a\0b"]
        {
            assert_eq!(text.parse::<DatabaseUrl>(), Err(InvalidDatabaseUrl), "{text:?}");
        }
    }
}
