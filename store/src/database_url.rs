//! Where the database is, as operators write it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// `sqlite:PATH`, relative to the working folder or absolute.
    Sqlite(PathBuf),
    /// `postgres://USER:PASSWORD@HOST:PORT/DATABASE?PARAMETERS`, also with the scheme `postgresql`.
    Postgres(PostgresUrl),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a database URL reads sqlite:PATH or postgres://USER:PASSWORD@HOST:PORT/DATABASE")]
pub struct InvalidDatabaseUrl;

/// The URL of a PostgreSQL database. Whoever prints it prints no password.
///
/// Parameters are those of libpq: `sslmode` (`require` encrypts, `verify-full` also checks who answers), `sslrootcert`,
/// `host` for a socket's folder, and so on. What is not given comes from libpq's environment variables and password file.
#[derive(Clone)]
pub struct PostgresUrl {
    text: String,
    /// What to connect with.
    options: Box<PgConnectOptions>,
}

impl PostgresUrl {
    fn parse(text: &str) -> Result<Self, InvalidDatabaseUrl> {
        let options = text.parse().map_err(|_| InvalidDatabaseUrl)?;
        Ok(Self { text: text.to_owned(), options: Box::new(options) })
    }

    pub(crate) fn options(&self) -> PgConnectOptions {
        (*self.options).clone()
    }
}

impl PartialEq for PostgresUrl {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for PostgresUrl {}

impl fmt::Display for PostgresUrl {
    /// What stands where passwords may stand is left out, the parameters (there may be one, too) as a whole.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.text.split_once(['?', '#']).map_or(&*self.text, |(text, _)| text);
        let (scheme, rest) = text.split_once("://").unwrap_or((text, ""));
        let (people, place) = rest.rsplit_once('@').map_or(("", rest), |(people, place)| (people, place));
        let user = people.split_once(':').map_or(people, |(user, _)| user);
        let at = if user.is_empty() { "" } else { "@" };
        write!(f, "{scheme}://{user}{at}{place}")
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresUrl({self})")
    }
}

impl FromStr for DatabaseUrl {
    type Err = InvalidDatabaseUrl;

    /// `sqlite://PATH` means the same. Nothing of it is unescaped, and it has no parameters: what follows is the path.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return PostgresUrl::parse(text).map(Self::Postgres);
        }
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
            Self::Postgres(url) => url.fmt(f),
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
    fn a_password_is_never_printed() {
        for (text, shown) in [
            ("postgres://ada:s3cret@db:5433/rooms", "postgres://ada@db:5433/rooms"),
            ("postgresql://ada:s3cr%40t@db/rooms?sslmode=require", "postgresql://ada@db/rooms"),
            ("postgres://ada:s3cret:more@db/rooms", "postgres://ada@db/rooms"),
            ("postgres://db/rooms?user=ada&password=s3cret", "postgres://db/rooms"),
            ("postgres:///rooms?host=/run/postgresql", "postgres:///rooms"),
            ("postgres://:s3cret@db/rooms", "postgres://db/rooms"),
        ] {
            let url: DatabaseUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), shown);
            assert!(matches!(url, DatabaseUrl::Postgres(_)));
            assert_eq!(format!("{url:?}"), format!("Postgres(PostgresUrl({shown}))"));
        }
    }

    #[test]
    fn what_cannot_last_is_no_database() {
        for text in [
            "",
            "sqlite:",
            "sqlite://",
            "sqlite::memory:",
            "data.db",
            "mysql://host/db",
            "sqlite:a\0b",
            "postgres://db:port/x",
            "postgres:db",
            "postgres://db/x?sslmode=maybe",
        ] {
            assert_eq!(text.parse::<DatabaseUrl>(), Err(InvalidDatabaseUrl), "{text:?}");
        }
    }
}
