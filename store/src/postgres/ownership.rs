//! Nodes and owners in PostgreSQL.
//!
//! Whoever changes something locks in this order: shards (by number), nodes, the version of the cluster. Committers lock
//! shards in the same order, so nobody waits in a circle. A statement sees the tables as they were when it began, also if it
//! waited for a lock; hence locks are taken by one statement, and what they protect is looked at by the next.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use enfilade_proto::Epoch;
use sqlx::postgres::PgRow;
use sqlx::{Result as SqlResult, Row};
use uuid::Uuid;

use super::Postgres;
use super::connections::Connection;
use super::rows::{count, numbers, shard, uuid};
use crate::columns::{node_state, node_state_text};
use crate::error::StoreError;
use crate::log::Incarnation;
use crate::ownership::{
    DEAD_ARE_KEPT, Lease, NewNode, NodeRow, NodeState, Ownership, Renewal, Renewed, View, in_order,
};
use crate::shard::Shard;

/// What a lease is compared by: microseconds, which is as exact as it is kept.
macro_rules! until {
    () => {
        "(extract(epoch FROM lease_until) * 1000000)::bigint"
    };
}

/// What node $1 hears when it has renewed its lease.
macro_rules! heard {
    () => {
        concat!(
            "SELECT c.version, others.nodes, others.leases
             FROM cluster AS c, (
                 SELECT coalesce(array_agg(incarnation ORDER BY incarnation), '{}') AS nodes,
                     coalesce(array_agg(",
            until!(),
            " ORDER BY incarnation), '{}') AS leases
                 FROM node WHERE incarnation <> $1 AND state <> 'dead') AS others"
        )
    };
}

/// Declares dead those that were locked as `gone`.
macro_rules! bury_gone {
    () => {
        "UPDATE node AS n SET state = 'dead', lease_until = clock_timestamp()
         FROM gone AS g WHERE n.incarnation = g.incarnation
         RETURNING n.incarnation"
    };
}

#[async_trait]
impl Ownership for Postgres {
    async fn enter(&self, node: &NewNode, lease: Duration) -> Result<(), StoreError> {
        let mut change = self.ownership.change().await?;
        let entered = enter(&mut change, node, lease).await;
        change.settle(entered).await
    }

    async fn renew(
        &self,
        node: Incarnation,
        renewal: Renewal,
        lease: Duration,
    ) -> Result<Option<Renewed>, StoreError> {
        let mut turn = self.ownership.turn().await?;
        let renewed = renew(&mut turn, node, renewal, lease).await;
        if let Some(renewed) = turn.committed(renewed)? {
            return Ok(Some(renewed));
        }
        // It is not as it was: the node says something new of itself, or it is dead.
        let mut change = self.ownership.change().await?;
        let renewed = announce(&mut change, node, renewal, lease).await;
        change.settle(renewed).await
    }

    async fn view(&self) -> Result<View, StoreError> {
        let mut look = self.ownership.look().await?;
        let view = view(&mut look).await;
        look.settle(view).await
    }

    async fn bury(&self, gone: &[Incarnation]) -> Result<Vec<Incarnation>, StoreError> {
        let mut change = self.ownership.change().await?;
        let buried = bury(&mut change, gone).await;
        change.settle(buried).await
    }

    async fn expire(&self, seen: &[Lease], grace: Duration) -> Result<Vec<Incarnation>, StoreError> {
        let mut change = self.ownership.change().await?;
        let expired = expire(&mut change, seen, grace).await;
        change.settle(expired).await
    }

    async fn claim(&self, owner: Incarnation, shards: &[Shard]) -> Result<Vec<(Shard, Epoch)>, StoreError> {
        let mut change = self.ownership.change().await?;
        let claimed = claim(&mut change, owner, shards).await;
        change.settle(claimed).await
    }

    async fn hand_over(
        &self,
        from: Incarnation,
        to: Incarnation,
        shards: &[Shard],
    ) -> Result<Vec<(Shard, Epoch)>, StoreError> {
        let mut change = self.ownership.change().await?;
        let given = hand_over(&mut change, from, to, shards).await;
        change.settle(given).await
    }
}

// ---- nodes ----------------------------------------------------------------------------------------------------

async fn enter(connection: &mut Connection, node: &NewNode, lease: Duration) -> SqlResult<()> {
    // Two that enter at once may forget the same ones; neither waits.
    sqlx::query(
        "DELETE FROM node WHERE incarnation IN (
             SELECT incarnation FROM node
             WHERE state = 'dead' AND lease_until < clock_timestamp() - $1 * interval '1 millisecond'
             ORDER BY incarnation FOR UPDATE SKIP LOCKED)",
    )
    .bind(millis(DEAD_ARE_KEPT))
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "INSERT INTO node (incarnation, name, address, version, host, edge, state, on_bus, lease_until)
         VALUES ($1, $2, $3, $4, $5, $6, 'alive', true, clock_timestamp() + $7 * interval '1 millisecond')",
    )
    .bind(node.incarnation.0)
    .bind(&node.name)
    .bind(&node.address)
    .bind(&node.version)
    .bind(node.host)
    .bind(node.edge)
    .bind(millis(lease))
    .execute(&mut *connection)
    .await?;
    raise_version(connection).await
}

/// Renews the lease of a node that has nothing new to say, in one statement. None if nothing was renewed. It waits for the disk,
/// although a lease need not survive the server: whoever renews while the disk stands still would bury those who wait for a lock
/// that a commit holds.
async fn renew(
    connection: &mut Connection,
    node: Incarnation,
    renewal: Renewal,
    lease: Duration,
) -> SqlResult<Option<Renewed>> {
    sqlx::query(concat!(
        "WITH renewed AS (
             UPDATE node SET lease_until = clock_timestamp() + $4 * interval '1 millisecond'
             WHERE incarnation = $1 AND state = $2 AND on_bus = $3 AND state <> 'dead'
             RETURNING 1) ",
        heard!(),
        " WHERE EXISTS (SELECT 1 FROM renewed)"
    ))
    .bind(node.0)
    .bind(node_state_text(renewal.state))
    .bind(renewal.on_bus)
    .bind(millis(lease))
    .try_map(|row| renewed_row(&row))
    .fetch_optional(connection)
    .await
}

/// Renews the lease of a node whose state changed, for everybody to notice. Another change of its state cannot come between,
/// because only the node itself makes them, one after the other; and death is final.
async fn announce(
    connection: &mut Connection,
    node: Incarnation,
    renewal: Renewal,
    lease: Duration,
) -> SqlResult<Option<Renewed>> {
    // Whoever leaves has no lease any more.
    let lease = if renewal.state == NodeState::Dead { Duration::ZERO } else { lease };
    let before: Option<(bool,)> = sqlx::query_as(
        "SELECT state = $2 AND on_bus = $3 FROM node WHERE incarnation = $1 AND state <> 'dead' FOR UPDATE",
    )
    .bind(node.0)
    .bind(node_state_text(renewal.state))
    .bind(renewal.on_bus)
    .fetch_optional(&mut *connection)
    .await?;
    let Some((unchanged,)) = before else { return Ok(None) };
    sqlx::query(
        "UPDATE node SET state = $2, on_bus = $3, lease_until = clock_timestamp() + $4 * interval '1 millisecond'
         WHERE incarnation = $1",
    )
    .bind(node.0)
    .bind(node_state_text(renewal.state))
    .bind(renewal.on_bus)
    .bind(millis(lease))
    .execute(&mut *connection)
    .await?;
    if !unchanged {
        raise_version(&mut *connection).await?;
    }
    let renewed =
        sqlx::query(heard!()).bind(node.0).try_map(|row| renewed_row(&row)).fetch_one(connection).await?;
    Ok(Some(renewed))
}

async fn bury(connection: &mut Connection, gone: &[Incarnation]) -> SqlResult<Vec<Incarnation>> {
    let buried = sqlx::query(concat!(
        "WITH gone AS (
             SELECT incarnation FROM node WHERE incarnation = ANY ($1) AND state <> 'dead'
             ORDER BY incarnation FOR UPDATE) ",
        bury_gone!()
    ))
    .bind(gone.iter().map(|node| node.0).collect::<Vec<_>>())
    .try_map(|row| uuid(&row, 0).map(Incarnation))
    .fetch_all(&mut *connection)
    .await?;
    note_buried(connection, buried).await
}

/// A renewal that is under way is waited for; after that the lease is another one. If the server's clock was set back, its start may
/// seem to be yet to come, and there is no grace: then only whoever asks has waited.
async fn expire(connection: &mut Connection, seen: &[Lease], grace: Duration) -> SqlResult<Vec<Incarnation>> {
    let buried = sqlx::query(concat!(
        "WITH gone AS (
             SELECT incarnation FROM node
             JOIN unnest($1::uuid[], $2::bigint[]) AS seen (id, until) ON incarnation = seen.id AND ",
        until!(),
        " = seen.until
             WHERE state <> 'dead' AND pg_postmaster_start_time()
                 NOT BETWEEN clock_timestamp() - $3 * interval '1 millisecond' AND clock_timestamp()
             ORDER BY incarnation FOR UPDATE OF node) ",
        bury_gone!()
    ))
    .bind(seen.iter().map(|lease| lease.node.0).collect::<Vec<_>>())
    .bind(seen.iter().map(|lease| lease.until).collect::<Vec<_>>())
    .bind(millis(grace))
    .try_map(|row| uuid(&row, 0).map(Incarnation))
    .fetch_all(&mut *connection)
    .await?;
    note_buried(connection, buried).await
}

async fn note_buried(connection: &mut Connection, buried: Vec<Incarnation>) -> SqlResult<Vec<Incarnation>> {
    if !buried.is_empty() {
        raise_version(connection).await?;
    }
    Ok(buried)
}

// ---- owners ---------------------------------------------------------------------------------------------------

async fn claim(
    connection: &mut Connection,
    owner: Incarnation,
    shards: &[Shard],
) -> SqlResult<Vec<(Shard, Epoch)>> {
    lock(&mut *connection, shards).await?;
    let claimed = sqlx::query(
        "WITH me AS MATERIALIZED (
             SELECT incarnation FROM node WHERE incarnation = $1 AND state = 'alive' FOR SHARE)
         UPDATE shard_owner AS o SET incarnation = me.incarnation, epoch = o.epoch + 1 FROM me
         WHERE o.shard = ANY ($2) AND (o.incarnation = $1 OR NOT EXISTS (
             SELECT 1 FROM node AS n WHERE n.incarnation = o.incarnation AND n.state <> 'dead'))
         RETURNING o.shard, o.epoch",
    )
    .bind(owner.0)
    .bind(numbers(shards))
    .try_map(|row| owned(&row))
    .fetch_all(&mut *connection)
    .await?;
    taken(connection, shards, claimed).await
}

async fn hand_over(
    connection: &mut Connection,
    from: Incarnation,
    to: Incarnation,
    shards: &[Shard],
) -> SqlResult<Vec<(Shard, Epoch)>> {
    lock(&mut *connection, shards).await?;
    let given = sqlx::query(
        "WITH heir AS MATERIALIZED (
             SELECT incarnation FROM node WHERE incarnation = $2 AND state = 'alive' FOR SHARE)
         UPDATE shard_owner AS o SET incarnation = heir.incarnation, epoch = o.epoch + 1 FROM heir
         WHERE o.shard = ANY ($3) AND o.incarnation = $1
         RETURNING o.shard, o.epoch",
    )
    .bind(from.0)
    .bind(to.0)
    .bind(numbers(shards))
    .try_map(|row| owned(&row))
    .fetch_all(&mut *connection)
    .await?;
    taken(connection, shards, given).await
}

/// Waits for the commits that are under way in the shards, and keeps others out.
async fn lock(connection: &mut Connection, shards: &[Shard]) -> SqlResult<()> {
    sqlx::query("SELECT shard FROM shard_owner WHERE shard = ANY ($1) ORDER BY shard FOR NO KEY UPDATE")
        .bind(numbers(shards))
        .execute(connection)
        .await
        .map(drop)
}

/// Notes that owners changed, if any did.
async fn taken(
    connection: &mut Connection,
    asked: &[Shard],
    epochs: Vec<(Shard, Epoch)>,
) -> SqlResult<Vec<(Shard, Epoch)>> {
    if !epochs.is_empty() {
        raise_version(connection).await?;
    }
    Ok(in_order(asked, &epochs.into_iter().collect::<HashMap<_, _>>()))
}

async fn raise_version(connection: &mut Connection) -> SqlResult<()> {
    sqlx::query("UPDATE cluster SET version = version + 1").execute(connection).await.map(drop)
}

// ---- the view -------------------------------------------------------------------------------------------------

async fn view(connection: &mut Connection) -> SqlResult<View> {
    let version = sqlx::query("SELECT version FROM cluster")
        .try_map(|row| count(&row, 0))
        .fetch_one(&mut *connection)
        .await?;
    let nodes = sqlx::query(
        "SELECT incarnation, name, address, version, host, edge, state, on_bus, lease_until < clock_timestamp()
         FROM node WHERE state <> 'dead' ORDER BY incarnation",
    )
    .try_map(|row| node_row(&row))
    .fetch_all(&mut *connection)
    .await?;
    let owners = sqlx::query(
        "SELECT shard, epoch, incarnation FROM shard_owner WHERE incarnation IS NOT NULL ORDER BY shard",
    )
    .try_map(|row| {
        let (shard, epoch) = owned(&row)?;
        Ok((shard, Incarnation(uuid(&row, 2)?), epoch))
    })
    .fetch_all(connection)
    .await?;
    Ok(View { version, nodes, owners })
}

fn owned(row: &PgRow) -> SqlResult<(Shard, Epoch)> {
    Ok((shard(row, 0)?, Epoch(count(row, 1)?)))
}

fn renewed_row(row: &PgRow) -> SqlResult<Renewed> {
    let (nodes, leases): (Vec<Uuid>, Vec<i64>) = (row.try_get(1)?, row.try_get(2)?);
    let leases = nodes.into_iter().zip(leases).map(|(node, until)| Lease { node: Incarnation(node), until });
    Ok(Renewed { version: count(row, 0)?, leases: leases.collect() })
}

fn node_row(row: &PgRow) -> SqlResult<NodeRow> {
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

/// Fifty days are more than any lease.
fn millis(time: Duration) -> i64 {
    i64::from(u32::try_from(time.as_millis()).unwrap_or(u32::MAX))
}
