//! A database that was restored to an earlier time begins a new era.
//!
//! Clients know positions and ops that are not on record any more, and what comes next is numbered as they were. So all shards go on
//! in an epoch whose era was never there before ([`Epoch::era`]): whoever comes back with a position of another one is reset. Every
//! shard loses its owner, and every node is declared dead, so that a process which still believes in the former time cannot write.

use enfilade_proto::Epoch;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Acquire as _, Result as SqlResult};
use uuid::Uuid;

use crate::columns::int;
use crate::database_url::DatabaseUrl;
use crate::error::StoreError;
use crate::shard::Shard;
use crate::{migrate, postgres, sqlite};

/// A node that never was: the owner of what has none.
const NOBODY: Uuid = Uuid::nil();
const BURY_ALL: &str = "UPDATE node SET state = 'dead' WHERE state <> 'dead'";
const NOTE: &str = "UPDATE cluster SET version = version + 1";

/// Begins a new era in a database that was restored by other means than [`crate::backup`]: PostgreSQL to a point in time, a
/// snapshot of a volume. Returns where shards go on from. To repeat it does no harm.
///
/// # Errors
/// `InUse` while nodes run; `Schema` when the schema is not the newest; otherwise when the database cannot be written.
pub async fn after_restore(database: &DatabaseUrl) -> Result<Epoch, StoreError> {
    match database {
        DatabaseUrl::Sqlite(path) => {
            let _alone = sqlite::lock(path)?;
            if !path.exists() {
                return Err(StoreError::Schema { found: 0, needed: migrate::NEWEST });
            }
            let mut connection = sqlite::connect(path).await?;
            let begun = async {
                migrate::require_newest(&mut connection).await?;
                begin(&mut connection, Epoch(0)).await
            };
            let begun = begun.await;
            sqlite::close(connection).await;
            begun
        }
        DatabaseUrl::Postgres(url) => {
            let mut connection = migrate::connect_alone(url).await?;
            let begun = async {
                migrate::require_newest(&mut connection).await?;
                migrate::require_no_nodes(&mut connection).await?;
                begin_postgres(&mut connection).await.map_err(postgres::change_failed)
            };
            let begun = begun.await;
            postgres::close(connection).await;
            begun
        }
    }
}

/// The highest epoch of any shard.
pub(crate) async fn highest(connection: &mut SqliteConnection) -> Result<Epoch, StoreError> {
    let known = sqlx::query_scalar("SELECT coalesce(max(epoch), 0) FROM shard_owner");
    known.fetch_one(connection).await.map(Epoch).map_err(sqlite::read_failed)
}

/// Begins an era after all that are in the database, and after `former`.
pub(crate) async fn begin(connection: &mut SqliteConnection, former: Epoch) -> Result<Epoch, StoreError> {
    let highest = highest(connection).await?.max(former);
    begin_sqlite(connection, highest).await.map_err(sqlite::change_failed)
}

async fn begin_sqlite(connection: &mut SqliteConnection, highest: Epoch) -> SqlResult<Epoch> {
    let mut change = connection.begin().await?;
    let now_s: u64 = sqlx::query_scalar("SELECT unixepoch()").fetch_one(&mut *change).await?;
    let epoch = highest.after_restore(now_s);
    // A shard that never had an owner has no row yet.
    sqlx::query(
        "WITH RECURSIVE every (shard) AS (SELECT 0 UNION ALL SELECT shard + 1 FROM every WHERE shard + 1 < ?3)
         INSERT INTO shard_owner (shard, incarnation, epoch) SELECT shard, ?1, ?2 FROM every WHERE true
         ON CONFLICT (shard) DO UPDATE SET incarnation = excluded.incarnation, epoch = excluded.epoch",
    )
    .bind(&NOBODY.as_bytes()[..])
    .bind(int(epoch.0))
    .bind(Shard::COUNT)
    .execute(&mut *change)
    .await?;
    sqlx::query(BURY_ALL).execute(&mut *change).await?;
    sqlx::query(NOTE).execute(&mut *change).await?;
    change.commit().await?;
    Ok(epoch)
}

async fn begin_postgres(connection: &mut PgConnection) -> SqlResult<Epoch> {
    let mut change = connection.begin().await?;
    let (highest, now_s): (i64, i64) =
        sqlx::query_as("SELECT max(epoch), extract(epoch FROM clock_timestamp())::bigint FROM shard_owner")
            .fetch_one(&mut *change)
            .await?;
    let epoch = Epoch(highest.unsigned_abs()).after_restore(now_s.unsigned_abs());
    sqlx::query("UPDATE shard_owner SET incarnation = $1, epoch = $2")
        .bind(NOBODY)
        .bind(int(epoch.0))
        .execute(&mut *change)
        .await?;
    sqlx::query(BURY_ALL).execute(&mut *change).await?;
    sqlx::query(NOTE).execute(&mut *change).await?;
    change.commit().await?;
    Ok(epoch)
}
