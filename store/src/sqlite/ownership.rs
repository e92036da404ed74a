//! Nodes and owners in SQLite: a cluster of one, whose former incarnations are dead.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use async_trait::async_trait;
use enfilade_proto::Epoch;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Result as SqlResult, Row};

use super::Sqlite;
use super::failure::read_failed;
use super::log::json;
use super::rows::uuid;
use crate::columns::{damaged, node_state, node_state_text};
use crate::error::StoreError;
use crate::log::Incarnation;
use crate::ownership::{
    DEAD_ARE_KEPT, Lease, NewNode, NodeRow, NodeState, Ownership, Renewal, Renewed, View, in_order,
};
use crate::shard::Shard;

/// Now, in milliseconds. SQLite keeps it still during a statement.
macro_rules! now {
    () => {
        "CAST(unixepoch('subsec') * 1000 AS INTEGER)"
    };
}

#[async_trait]
impl Ownership for Sqlite {
    async fn enter(&self, node: &NewNode, lease: Duration) -> Result<(), StoreError> {
        let mut change = self.writer.change().await?;
        let entered = enter(&mut change, node, lease).await;
        change.settle(entered).await
    }

    async fn renew(
        &self,
        node: Incarnation,
        renewal: Renewal,
        lease: Duration,
    ) -> Result<Option<Renewed>, StoreError> {
        let mut change = self.writer.change().await?;
        let renewed = renew(&mut change, node, renewal, lease).await;
        change.settle(renewed).await
    }

    async fn view(&self) -> Result<View, StoreError> {
        let mut moment = self.readers.begin().await.map_err(read_failed)?;
        view(&mut moment).await.map_err(read_failed)
    }

    async fn bury(&self, gone: &[Incarnation]) -> Result<Vec<Incarnation>, StoreError> {
        let mut change = self.writer.change().await?;
        let buried = bury(&mut change, gone).await;
        change.settle(buried).await
    }

    /// There is nobody else whose lease could have been seen.
    async fn expire(&self, _: &[Lease], _: Duration) -> Result<Vec<Incarnation>, StoreError> {
        Ok(Vec::new())
    }

    async fn claim(&self, owner: Incarnation, shards: &[Shard]) -> Result<Vec<(Shard, Epoch)>, StoreError> {
        let mut change = self.writer.change().await?;
        let claimed = claim(&mut change, owner, shards).await;
        change.settle(claimed).await
    }

    async fn hand_over(
        &self,
        from: Incarnation,
        to: Incarnation,
        shards: &[Shard],
    ) -> Result<Vec<(Shard, Epoch)>, StoreError> {
        let mut change = self.writer.change().await?;
        let given = hand_over(&mut change, from, to, shards).await;
        change.settle(given).await
    }
}

// ---- nodes ----------------------------------------------------------------------------------------------------

async fn enter(connection: &mut SqliteConnection, node: &NewNode, lease: Duration) -> SqlResult<()> {
    sqlx::query(concat!("DELETE FROM node WHERE state = 'dead' AND lease_until < ", now!(), " - ?"))
        .bind(millis(DEAD_ARE_KEPT))
        .execute(&mut *connection)
        .await?;
    sqlx::query(concat!(
        "INSERT INTO node (incarnation, name, address, version, host, edge, state, on_bus, lease_until, entered)
         VALUES (?, ?, ?, ?, ?, ?, 'alive', 1, ",
        now!(),
        " + ?, ",
        now!(),
        ")"
    ))
    .bind(blob(&node.incarnation))
    .bind(&node.name)
    .bind(&node.address)
    .bind(&node.version)
    .bind(node.host)
    .bind(node.edge)
    .bind(millis(lease))
    .execute(&mut *connection)
    .await?;
    // This process has the file for itself, so whoever else is in it is gone.
    sqlx::query(concat!(
        "UPDATE node SET state = 'dead', lease_until = ",
        now!(),
        " WHERE incarnation <> ? AND state <> 'dead'"
    ))
    .bind(blob(&node.incarnation))
    .execute(&mut *connection)
    .await?;
    raise_version(connection).await
}

async fn renew(
    connection: &mut SqliteConnection,
    node: Incarnation,
    renewal: Renewal,
    lease: Duration,
) -> SqlResult<Option<Renewed>> {
    let before: Option<(bool,)> =
        sqlx::query_as("SELECT state = ? AND on_bus = ? FROM node WHERE incarnation = ? AND state <> 'dead'")
            .bind(node_state_text(renewal.state))
            .bind(renewal.on_bus)
            .bind(blob(&node))
            .fetch_optional(&mut *connection)
            .await?;
    let Some((unchanged,)) = before else { return Ok(None) };
    // Whoever leaves has no lease any more.
    let lease = if renewal.state == NodeState::Dead { Duration::ZERO } else { lease };
    sqlx::query(concat!(
        "UPDATE node SET state = ?, on_bus = ?, lease_until = ",
        now!(),
        " + ? WHERE incarnation = ?"
    ))
    .bind(node_state_text(renewal.state))
    .bind(renewal.on_bus)
    .bind(millis(lease))
    .bind(blob(&node))
    .execute(&mut *connection)
    .await?;
    if !unchanged {
        raise_version(connection).await?;
    }
    Ok(Some(Renewed { version: version(connection).await?, leases: Vec::new() }))
}

async fn bury(connection: &mut SqliteConnection, gone: &[Incarnation]) -> SqlResult<Vec<Incarnation>> {
    let mut buried = Vec::new();
    for node in gone.iter().collect::<BTreeSet<_>>() {
        let done = sqlx::query(concat!(
            "UPDATE node SET state = 'dead', lease_until = ",
            now!(),
            " WHERE incarnation = ? AND state <> 'dead'"
        ))
        .bind(blob(node))
        .execute(&mut *connection)
        .await?;
        buried.extend((done.rows_affected() == 1).then_some(*node));
    }
    if !buried.is_empty() {
        raise_version(connection).await?;
    }
    Ok(buried)
}

// ---- owners ---------------------------------------------------------------------------------------------------

async fn claim(
    connection: &mut SqliteConnection,
    owner: Incarnation,
    shards: &[Shard],
) -> SqlResult<Vec<(Shard, Epoch)>> {
    if !is_alive(connection, owner).await? {
        return Ok(Vec::new());
    }
    let claimed = sqlx::query(
        "INSERT INTO shard_owner (shard, incarnation, epoch)
         SELECT claimed.value, ?2, 1 FROM json_each(?1) AS claimed WHERE true
         ON CONFLICT (shard) DO UPDATE SET incarnation = excluded.incarnation, epoch = shard_owner.epoch + 1
         WHERE shard_owner.incarnation = ?2 OR NOT EXISTS (
             SELECT 1 FROM node AS n WHERE n.incarnation = shard_owner.incarnation AND n.state <> 'dead')
         RETURNING shard, epoch",
    )
    .bind(json(&shards.iter().copied().collect()))
    .bind(blob(&owner))
    .try_map(|row| owned(&row, 0, 1))
    .fetch_all(&mut *connection)
    .await?;
    taken(connection, shards, claimed).await
}

async fn hand_over(
    connection: &mut SqliteConnection,
    from: Incarnation,
    to: Incarnation,
    shards: &[Shard],
) -> SqlResult<Vec<(Shard, Epoch)>> {
    if !is_alive(connection, to).await? {
        return Ok(Vec::new());
    }
    let given = sqlx::query(
        "UPDATE shard_owner SET incarnation = ?3, epoch = epoch + 1
         WHERE incarnation = ?2 AND shard IN (SELECT value FROM json_each(?1))
         RETURNING shard, epoch",
    )
    .bind(json(&shards.iter().copied().collect()))
    .bind(blob(&from))
    .bind(blob(&to))
    .try_map(|row| owned(&row, 0, 1))
    .fetch_all(&mut *connection)
    .await?;
    taken(connection, shards, given).await
}

/// Notes that owners changed, if any did.
async fn taken(
    connection: &mut SqliteConnection,
    asked: &[Shard],
    epochs: Vec<(Shard, Epoch)>,
) -> SqlResult<Vec<(Shard, Epoch)>> {
    if !epochs.is_empty() {
        raise_version(connection).await?;
    }
    Ok(in_order(asked, &epochs.into_iter().collect::<HashMap<_, _>>()))
}

async fn is_alive(connection: &mut SqliteConnection, node: Incarnation) -> SqlResult<bool> {
    sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM node WHERE incarnation = ? AND state = 'alive')")
        .bind(blob(&node))
        .fetch_one(connection)
        .await
}

// ---- the view -------------------------------------------------------------------------------------------------

async fn view(connection: &mut SqliteConnection) -> SqlResult<View> {
    let nodes = sqlx::query(concat!(
        "SELECT incarnation, name, address, version, host, edge, state, on_bus, lease_until < ",
        now!(),
        " FROM node WHERE state <> 'dead' ORDER BY incarnation"
    ))
    .try_map(|row| node_row(&row))
    .fetch_all(&mut *connection)
    .await?;
    let owners = sqlx::query("SELECT shard, incarnation, epoch FROM shard_owner ORDER BY shard")
        .try_map(|row: SqliteRow| {
            let (shard, epoch) = owned(&row, 0, 2)?;
            Ok((shard, Incarnation(uuid(&row, 1)?), epoch))
        })
        .fetch_all(&mut *connection)
        .await?;
    Ok(View { version: version(connection).await?, nodes, owners })
}

async fn version(connection: &mut SqliteConnection) -> SqlResult<u64> {
    sqlx::query_scalar("SELECT version FROM cluster").fetch_one(connection).await
}

async fn raise_version(connection: &mut SqliteConnection) -> SqlResult<()> {
    sqlx::query("UPDATE cluster SET version = version + 1").execute(connection).await.map(drop)
}

fn owned(row: &SqliteRow, shard: usize, epoch: usize) -> SqlResult<(Shard, Epoch)> {
    let shard = Shard::new(row.try_get(shard)?).ok_or_else(|| damaged("there is no such shard"))?;
    Ok((shard, Epoch(row.try_get(epoch)?)))
}

fn node_row(row: &SqliteRow) -> SqlResult<NodeRow> {
    Ok(NodeRow {
        node: NewNode {
            incarnation: Incarnation(uuid(row, 0)?),
            name: row.try_get(1)?,
            address: row.try_get(2)?,
            version: row.try_get(3)?,
            host: row.try_get(4)?,
            edge: row.try_get(5)?,
        },
        renewal: Renewal { state: node_state(row.try_get(6)?)?, on_bus: row.try_get(7)? },
        expired: row.try_get(8)?,
    })
}

fn blob(node: &Incarnation) -> &[u8] {
    node.0.as_bytes()
}

/// Fifty days are more than any lease.
fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}
