//! Migrations of PostgreSQL: to every version and back, and what stands in their way.

use enfilade_store::migrate::{self, MigrateError, State, Step};
use enfilade_store::{DatabaseUrl, NodeState, Ownership, Postgres, PostgresOptions, Renewal, StoreError};
use futures_util::future::join_all;
use sqlx::Connection as _;

use super::Place;
use super::conformance::{LEASE, new_node, somebody};

fn url(place: &Place) -> DatabaseUrl {
    place.0.parse().unwrap()
}

fn versions(steps: &[Step]) -> Vec<i64> {
    steps.iter().map(|step| step.version).collect()
}

/// Every column, constraint and index.
async fn schema(place: &Place) -> Vec<String> {
    let mut connection = place.connection().await;
    let schema = sqlx::query_scalar(
        "SELECT format('%s.%s %s %s %s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attstorage)
         FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0
         WHERE c.relnamespace = 'public'::regnamespace
         UNION ALL SELECT format('%s %s', conrelid::regclass, pg_get_constraintdef(oid)) FROM pg_constraint
         WHERE connamespace = 'public'::regnamespace
         UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
         ORDER BY 1",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    connection.close().await.unwrap();
    schema
}

#[tokio::test]
async fn down_to_every_version_and_up_again() {
    let place = Place::new().await;
    let empty = schema(&place).await;
    let all: Vec<i64> = (1..=migrate::NEWEST).collect();
    let status = migrate::status(&url(&place)).await.unwrap();
    assert!(status.iter().all(|step| step.state == State::Pending));
    assert_eq!(versions(&migrate::up(&url(&place), None).await.unwrap()), all);
    assert_eq!(migrate::up(&url(&place), None).await.unwrap(), [], "there is nothing more to do");
    let full = schema(&place).await;
    for version in (0..migrate::NEWEST).rev() {
        let store = place.open().await;
        somebody(&store).await;
        store.close().await;
        let mut undone: Vec<i64> = (version + 1..=migrate::NEWEST).collect();
        undone.reverse();
        assert_eq!(versions(&migrate::down(&url(&place), Some(version)).await.unwrap()), undone);
        let status = migrate::status(&url(&place)).await.unwrap();
        assert!(status.iter().all(|step| (step.state == State::Applied) == (step.version <= version)));
        let refused = Postgres::open(&place.url(), PostgresOptions::default()).await;
        assert!(
            matches!(refused, Err(StoreError::Schema { found, needed: migrate::NEWEST }) if found == version),
            "{refused:?}"
        );
        if version == 0 {
            assert_eq!(schema(&place).await, empty, "nothing of ours is left");
        }
        migrate::up(&url(&place), None).await.unwrap();
        assert_eq!(schema(&place).await, full);
    }
}

#[tokio::test]
async fn nothing_is_undone_while_nodes_are_there() {
    let place = Place::new().await;
    let store = place.open().await;
    let node = new_node();
    store.enter(&node, LEASE).await.unwrap();
    let refused = migrate::down(&url(&place), None).await;
    assert!(matches!(refused, Err(MigrateError::Store(StoreError::InUse))), "{refused:?}");
    assert_eq!(migrate::up(&url(&place), None).await.unwrap(), [], "but one may go up");
    let left = Renewal { state: NodeState::Dead, on_bus: false };
    store.renew(node.incarnation, left, LEASE).await.unwrap();
    store.close().await;
    assert_eq!(versions(&migrate::down(&url(&place), None).await.unwrap()), [migrate::NEWEST]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_start_at_once_migrate_once() {
    let place = Place::new().await;
    let stores = join_all((0..4).map(|_| place.open())).await;
    assert_eq!(place.count("SELECT count(*) FROM _sqlx_migrations").await, migrate::NEWEST);
    for store in stores {
        store.close().await;
    }
}

#[tokio::test]
async fn a_schema_that_is_not_ours_is_left_alone() {
    type Refusal = fn(&MigrateError) -> bool;
    let cases: [(&str, Refusal); 3] = [
        ("UPDATE _sqlx_migrations SET checksum = '\\x00' WHERE version = 2", |error| {
            matches!(error, MigrateError::Changed(2))
        }),
        ("UPDATE _sqlx_migrations SET success = false WHERE version = 2", |error| {
            matches!(error, MigrateError::Dirty(2))
        }),
        (
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (99, 'time travel', true, '\\x00', 1)",
            |error| matches!(error, MigrateError::Unknown(99)),
        ),
    ];
    for (damage, refusal) in cases {
        let place = Place::new().await;
        migrate::up(&url(&place), Some(4)).await.unwrap();
        place.sql(damage).await;
        let before = schema(&place).await;
        for refused in [migrate::up(&url(&place), None).await, migrate::down(&url(&place), Some(0)).await] {
            assert!(refusal(refused.as_ref().unwrap_err()), "{refused:?}");
        }
        let options = PostgresOptions { migrate: true, ..PostgresOptions::default() };
        assert!(Postgres::open(&place.url(), options).await.is_err());
        assert_eq!(schema(&place).await, before, "nothing was touched");
    }
}
