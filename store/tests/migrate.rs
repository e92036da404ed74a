//! Migrations: up and down to every version, with data present, and what stands in their way.

#![allow(clippy::unwrap_used, reason = "what a test did not expect ends it")]

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use enfilade_proto::{DisplayName, Epoch, LinkId, LoginId, Role, RoomId, RoomKind, Seq, UserId, Username};
use enfilade_store::migrate::{self, MigrateError, State, Step};
use enfilade_store::{
    Batch, Checkpoint, DatabaseUrl, Directory, Incarnation, LinkHash, LoginRow, NewLink, NewNode, NewRoom,
    NewUser, Ownership, RoomLog, Shard, Sqlite, SqliteOptions, StoreError,
};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use tempfile::TempDir;
use uuid::Uuid;

/// The tables that a migration makes.
const TABLES: [(i64, &[&str]); 6] = [
    (1, &["checkpoint", "checkpoint_part", "room_log", "shard_owner"]),
    (2, &["login", "user_account"]),
    (3, &["deleted_room", "link", "read_marker", "room", "room_member"]),
    (4, &["secret"]),
    (5, &["idempotency"]),
    (6, &["cluster", "node"]),
];

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("enfilade.db")
    }

    fn url(&self) -> DatabaseUrl {
        format!("sqlite:{}", self.path().display()).parse().unwrap()
    }

    async fn open(&self) -> Sqlite {
        Sqlite::open(self.path(), SqliteOptions::default()).await.unwrap()
    }

    async fn connection(&self) -> SqliteConnection {
        SqliteConnectOptions::new().filename(self.path()).create_if_missing(true).connect().await.unwrap()
    }

    async fn sql(&self, statement: &str) {
        let mut connection = self.connection().await;
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    async fn count(&self, table: &str) -> i64 {
        let mut connection = self.connection().await;
        let query = AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        let count = sqlx::query_scalar(query).fetch_one(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        count
    }

    /// Every table and index with the text that made it.
    async fn schema(&self) -> Vec<(String, Option<String>)> {
        let mut connection = self.connection().await;
        let schema = sqlx::query_as("SELECT name, sql FROM sqlite_schema ORDER BY name")
            .fetch_all(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
        schema
    }

    async fn tables(&self) -> Vec<String> {
        let tables = self
            .schema()
            .await
            .into_iter()
            .filter(|(_, sql)| sql.as_ref().is_some_and(|sql| sql.starts_with("CREATE TABLE")));
        tables.map(|(name, _)| name).collect()
    }

    /// Something in every table.
    async fn fill(&self) {
        let store = self.open().await;
        let (user, room, writer) =
            (UserId(Uuid::new_v4()), RoomId(Uuid::new_v4()), Incarnation(Uuid::new_v4()));
        let name = DisplayName::new("Ada").unwrap();
        let username = Username::new(&user.0.simple().to_string()).unwrap();
        let password_hash = "$argon2id$".into();
        store
            .create_user(&NewUser { id: user, username, name: name.clone(), password_hash, created_ms: 1 })
            .await
            .unwrap();
        let login = LoginRow {
            id: LoginId(Uuid::new_v4()),
            user,
            key: [1; 32],
            counter: 0,
            rotated_ms: 1,
            created_ms: 1,
            expires_ms: 2,
            device: "a loom".into(),
        };
        store.create_login(&login, 3).await.unwrap();
        let hash = LinkHash(std::array::from_fn(|i| user.0.as_bytes()[i % 16]));
        let link =
            NewLink { id: LinkId(Uuid::new_v4()), hash, role: Role::Editor, created_ms: 1, expires_ms: None };
        let via = Some(link.id);
        let new = NewRoom {
            id: room,
            kind: RoomKind::Chat,
            title: name,
            created_ms: 1,
            owner: None,
            link: Some(link),
        };
        store.create_room(&new).await.unwrap();
        store.put_member(room, user, Role::Editor, via).await.unwrap();
        store.mark_read(room, user, Seq(1)).await.unwrap();
        store.secret("key", b"secret").await.unwrap();
        store.begin_idempotent(&user.0.to_string(), &[1; 32], 1).await.unwrap();
        let node = NewNode {
            incarnation: writer,
            name: "loom".into(),
            address: "127.0.0.1:1".into(),
            version: "1".into(),
            host: true,
            edge: true,
        };
        store.enter(&node, Duration::from_secs(5)).await.unwrap();
        let epoch = store.claim(writer, &[Shard::of(room)]).await.unwrap()[0].1;
        let ops = Bytes::from_static(b"op");
        let batch = Batch { room, epoch, first: Seq(1), last: Seq(1), at_ms: 1, ops: ops.clone() };
        store.append(writer, &[batch]).await.unwrap();
        let checkpoint = Checkpoint { room, seq: Seq(1), epoch: Epoch(1), format: 1, body: ops, at_ms: 1 };
        store.put_checkpoint(&checkpoint).await.unwrap();
        store.close().await;
        self.sql("INSERT OR IGNORE INTO deleted_room VALUES (X'00112233445566778899AABBCCDDEEFF')").await;
    }
}

fn versions(steps: &[Step]) -> Vec<i64> {
    steps.iter().map(|step| step.version).collect()
}

async fn states(place: &Place) -> Vec<State> {
    migrate::status(&place.url()).await.unwrap().into_iter().map(|step| step.state).collect()
}

/// Applied through `version`, pending behind it.
fn applied_through(version: i64) -> Vec<State> {
    let state = |(v, _): &(i64, _)| if *v <= version { State::Applied } else { State::Pending };
    TABLES.iter().map(state).collect()
}

#[tokio::test]
async fn down_to_nothing_and_up_again() {
    let place = Place::new();
    assert_eq!(states(&place).await, applied_through(0));
    assert!(!place.path().exists(), "asking creates nothing");
    assert_eq!(migrate::down(&place.url(), Some(0)).await.unwrap(), []);
    assert!(!place.path().exists(), "nor does undoing");

    let up = migrate::up(&place.url(), None).await.unwrap();
    assert_eq!(versions(&up), [1, 2, 3, 4, 5, 6]);
    assert!(up.iter().all(|step| step.state == State::Applied));
    assert_eq!(
        up.iter().map(|step| &*step.name).collect::<Vec<_>>(),
        ["log", "people", "rooms", "secrets", "idempotency", "nodes"]
    );
    assert_eq!(migrate::up(&place.url(), None).await.unwrap(), [], "there is nothing more to do");
    let schema = place.schema().await;
    place.fill().await;

    let down = migrate::down(&place.url(), Some(0)).await.unwrap();
    assert_eq!(versions(&down), [6, 5, 4, 3, 2, 1]);
    assert!(down.iter().all(|step| step.state == State::Pending));
    assert_eq!(place.schema().await, [], "nothing of ours is left");
    assert_eq!(states(&place).await, applied_through(0));

    assert_eq!(versions(&migrate::up(&place.url(), None).await.unwrap()), [1, 2, 3, 4, 5, 6]);
    assert_eq!(place.schema().await, schema);
    place.fill().await;
}

#[tokio::test]
async fn down_to_every_version_and_up_again_with_data() {
    let place = Place::new();
    migrate::up(&place.url(), None).await.unwrap();
    let schema = place.schema().await;
    for version in (0..migrate::NEWEST).rev() {
        place.fill().await;
        migrate::down(&place.url(), Some(version)).await.unwrap();
        assert_eq!(states(&place).await, applied_through(version));
        let mut expected: Vec<&str> = TABLES
            .iter()
            .filter(|(v, _)| *v <= version)
            .flat_map(|(_, tables)| tables.iter().copied())
            .collect();
        expected.extend((version > 0).then_some("_sqlx_migrations"));
        expected.sort_unstable();
        assert_eq!(place.tables().await, expected, "at {version}");
        let refused = Sqlite::open(place.path(), SqliteOptions::default()).await;
        assert!(
            matches!(refused, Err(StoreError::Schema { found, needed: migrate::NEWEST }) if found == version)
        );

        migrate::up(&place.url(), None).await.unwrap();
        assert_eq!(place.schema().await, schema);
        for (v, tables) in TABLES {
            for table in tables {
                // What was not undone has kept its data; the cluster always has its row.
                let kept = v <= version || *table == "cluster";
                assert_eq!(place.count(table).await > 0, kept, "{table} after {version}");
            }
        }
    }
}

#[tokio::test]
async fn one_step_at_a_time() {
    let place = Place::new();
    for version in 1..=migrate::NEWEST {
        assert_eq!(versions(&migrate::up(&place.url(), Some(version)).await.unwrap()), [version]);
        assert_eq!(states(&place).await, applied_through(version));
    }
    assert_eq!(migrate::up(&place.url(), Some(2)).await.unwrap(), [], "up never undoes");
    for version in (1..=migrate::NEWEST).rev() {
        assert_eq!(versions(&migrate::down(&place.url(), None).await.unwrap()), [version]);
        assert_eq!(states(&place).await, applied_through(version - 1));
    }
    assert_eq!(migrate::down(&place.url(), None).await.unwrap(), []);
}

#[tokio::test]
async fn a_version_that_does_not_exist_is_refused() {
    let place = Place::new();
    for version in [-1, 0, 7, 99] {
        let refused = migrate::up(&place.url(), Some(version)).await;
        assert!(matches!(refused, Err(MigrateError::NoSuchVersion(v)) if v == version), "{refused:?}");
    }
    for version in [-1, 7] {
        let refused = migrate::down(&place.url(), Some(version)).await;
        assert!(matches!(refused, Err(MigrateError::NoSuchVersion(v)) if v == version), "{refused:?}");
    }
    assert!(!place.path().exists());
}

#[tokio::test]
async fn a_migration_that_fails_is_undone_as_a_whole() {
    let place = Place::new();
    // In the way of the second half of the third migration.
    place.sql("CREATE TABLE read_marker (mine TEXT)").await;
    let failed = migrate::up(&place.url(), None).await;
    assert!(matches!(failed, Err(MigrateError::Failed { version: 3, .. })), "{failed:?}");
    assert_eq!(states(&place).await, applied_through(2));
    assert!(!place.tables().await.contains(&"room".to_owned()));
    let failed =
        Sqlite::open(place.path(), SqliteOptions { migrate: true, ..SqliteOptions::default() }).await;
    assert!(matches!(failed, Err(StoreError::Unavailable(_))), "{failed:?}");

    place.sql("DROP TABLE read_marker").await;
    assert_eq!(versions(&migrate::up(&place.url(), None).await.unwrap()), [3, 4, 5, 6]);
    place.fill().await;
}

#[tokio::test]
async fn a_schema_that_is_not_ours_is_left_alone() {
    type Refusal = fn(&MigrateError) -> bool;
    let cases: [(&str, State, Refusal); 3] = [
        ("UPDATE _sqlx_migrations SET checksum = X'00' WHERE version = 2", State::Changed, |error| {
            matches!(error, MigrateError::Changed(2))
        }),
        ("UPDATE _sqlx_migrations SET success = false WHERE version = 2", State::Dirty, |error| {
            matches!(error, MigrateError::Dirty(2))
        }),
        (
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (99, 'time travel', true, X'00', 1)",
            State::Unknown,
            |error| matches!(error, MigrateError::Unknown(99)),
        ),
    ];
    for (damage, state, refusal) in cases {
        let place = Place::new();
        migrate::up(&place.url(), Some(4)).await.unwrap();
        place.sql(damage).await;
        let schema = place.schema().await;
        let status = migrate::status(&place.url()).await.unwrap();
        let (version, name) = if state == State::Unknown { (99, "time travel") } else { (2, "people") };
        assert!(status.contains(&Step { version, name: name.into(), state }), "{status:?}");
        for refused in [migrate::up(&place.url(), None).await, migrate::down(&place.url(), Some(0)).await] {
            assert!(refusal(refused.as_ref().unwrap_err()), "{refused:?}");
        }
        for migrate in [false, true] {
            let refused =
                Sqlite::open(place.path(), SqliteOptions { migrate, ..SqliteOptions::default() }).await;
            match state {
                State::Unknown => {
                    let Err(error @ StoreError::Schema { found: 99, .. }) = refused else {
                        panic!("{refused:?}")
                    };
                    assert!(error.to_string().contains("newer program"), "{error}");
                }
                _ => assert!(matches!(refused, Err(StoreError::Corrupt(_))), "{refused:?}"),
            }
        }
        assert_eq!(place.schema().await, schema, "nothing was touched");
    }
}

/// While an upgrade is under way, a node of the version before may have to start again.
#[tokio::test]
async fn a_newer_schema_that_is_meant_for_this_program_too_is_worked_with() {
    let place = Place::new();
    migrate::up(&place.url(), None).await.unwrap();
    place
        .sql(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (99, 'time travel; since 6', true, X'00', 1)",
        )
        .await;
    assert_eq!(migrate::up(&place.url(), None).await.unwrap(), []);
    let status = migrate::status(&place.url()).await.unwrap();
    assert_eq!(status.last().unwrap().state, State::Newer);
    let undone = migrate::down(&place.url(), None).await;
    assert!(matches!(undone, Err(MigrateError::Unknown(99))), "only who made it can undo it: {undone:?}");
    for migrate in [false, true] {
        let options = SqliteOptions { migrate, ..SqliteOptions::default() };
        Sqlite::open(place.path(), options).await.unwrap().close().await;
    }
    place.fill().await;
}

#[tokio::test]
async fn nothing_is_migrated_under_a_running_server() {
    let place = Place::new();
    migrate::up(&place.url(), None).await.unwrap();
    let store = place.open().await;
    for refused in [migrate::up(&place.url(), None).await, migrate::down(&place.url(), Some(0)).await] {
        assert!(matches!(refused, Err(MigrateError::Store(StoreError::InUse))), "{refused:?}");
    }
    assert_eq!(states(&place).await, applied_through(migrate::NEWEST), "but one may look");
    store.close().await;
    assert_eq!(migrate::down(&place.url(), Some(0)).await.unwrap().len(), 6);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_left_alone() {
    let place = Place::new();
    let text = "Dear diary, today I learned about databases.".repeat(200);
    std::fs::write(place.path(), &text).unwrap();
    let results = [
        migrate::up(&place.url(), None).await,
        migrate::down(&place.url(), None).await,
        migrate::status(&place.url()).await,
    ];
    for refused in results {
        assert!(matches!(refused, Err(MigrateError::Store(StoreError::Corrupt(_)))), "{refused:?}");
    }
    assert_eq!(std::fs::read_to_string(place.path()).unwrap(), text);
}
