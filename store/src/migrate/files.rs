//! The migrations themselves: the files of every database, in the order of their versions.

use std::borrow::Cow;
use std::sync::LazyLock;

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// One step for one database.
struct Sql {
    up: &'static str,
    down: &'static str,
}

struct Files {
    version: i64,
    /// What the database notes: what it is about, and [`SINCE`] whose programs can work with the schema after it.
    name: &'static str,
    sqlite: Sql,
    postgres: Sql,
}

macro_rules! sql {
    ($database:literal $file:literal) => {
        Sql {
            up: include_str!(concat!("../../../migrations/", $database, "/", $file, ".up.sql")),
            down: include_str!(concat!("../../../migrations/", $database, "/", $file, ".down.sql")),
        }
    };
}

macro_rules! migrations {
    ($($version:literal $name:literal $file:literal,)*) => {
        &[$(Files {
            version: $version,
            name: $name,
            sqlite: sql!("sqlite" $file),
            postgres: sql!("postgres" $file),
        }),*]
    };
}

const MIGRATIONS: &[Files] = migrations! {
    1 "log" "0001_log",
    2 "people" "0002_people",
    3 "rooms" "0003_rooms",
    4 "secrets" "0004_secrets",
    5 "idempotency" "0005_idempotency",
    6 "nodes" "0006_nodes",
};

/// The version of the schema that this program works with; 0 is a database without tables.
pub const NEWEST: i64 = MIGRATIONS[MIGRATIONS.len() - 1].version;

pub(super) static SQLITE: LazyLock<Migrator> = LazyLock::new(|| migrator(|files| &files.sqlite));
pub(super) static POSTGRES: LazyLock<Migrator> = LazyLock::new(|| migrator(|files| &files.postgres));

/// What stands in a migration's name before the newest version that a program has to know to be able to work with the schema after it.
/// The first six are older than this note.
const SINCE: &str = "; since ";

/// Whether this program can work with the schema after a migration of that name, which a newer program applied.
pub(super) fn is_for_us(name: &str) -> bool {
    name.rsplit_once(SINCE)
        .and_then(|(_, since)| since.parse().ok())
        .is_some_and(|since: i64| since <= NEWEST)
}

/// Version and name of every migration.
pub(super) fn all() -> impl Iterator<Item = (i64, &'static str)> {
    MIGRATIONS.iter().map(|files| (files.version, files.name))
}

pub(super) fn exists(version: i64) -> bool {
    all().any(|(known, _)| known == version)
}

/// Whether this is the text of the migration; None if there is none of that version.
pub(super) fn is_ours(migrator: &Migrator, version: i64, checksum: &[u8]) -> Option<bool> {
    let mut ups = migrator.iter().filter(|migration| migration.migration_type.is_up_migration());
    ups.find(|migration| migration.version == version).map(|migration| *migration.checksum == *checksum)
}

fn migrator(of: fn(&Files) -> &Sql) -> Migrator {
    let step = |files: &Files, direction, sql: &'static str| {
        Migration::new(files.version, Cow::Borrowed(files.name), direction, sql.into_sql_str(), false)
    };
    let both = MIGRATIONS.iter().flat_map(|files| {
        [
            step(files, MigrationType::ReversibleUp, of(files).up),
            step(files, MigrationType::ReversibleDown, of(files).down),
        ]
    });
    Migrator::with_migrations(both.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_program_says_how_old_others_may_be() {
        let named = |since: i64| format!("time travel{SINCE}{since}");
        assert!(is_for_us(&named(NEWEST)) && is_for_us(&named(1)));
        assert!(
            !is_for_us(&named(NEWEST + 1))
                && !is_for_us("time travel")
                && !is_for_us("time travel; since ever")
        );
    }

    /// Programs of neighbouring versions work side by side.
    #[test]
    fn every_migration_says_who_can_work_with_the_schema_after_it() {
        for files in MIGRATIONS.iter().filter(|files| files.version > 6) {
            let since = files.name.rsplit_once(SINCE).and_then(|(_, since)| since.parse::<i64>().ok());
            assert!(since.is_some_and(|since| since < files.version), "{}", files.name);
        }
    }

    #[test]
    fn every_file_is_a_step_of_the_program() {
        let expected: Vec<String> = all()
            .flat_map(|(version, name)| {
                let about = name.split(SINCE).next().unwrap();
                ["down", "up"].map(|way| format!("{version:04}_{about}.{way}.sql"))
            })
            .collect();
        for database in ["sqlite", "postgres"] {
            let folder = format!("{}/../migrations/{database}", env!("CARGO_MANIFEST_DIR"));
            let mut files: Vec<String> = std::fs::read_dir(folder)
                .unwrap()
                .map(|file| file.unwrap().file_name().into_string().unwrap())
                .collect();
            files.sort();
            assert_eq!(files, expected, "{database}");
        }
    }
}
