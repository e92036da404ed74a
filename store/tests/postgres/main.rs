//! The store on PostgreSQL: what every store must do, and what only a server elsewhere can get wrong.

#![allow(clippy::unwrap_used, reason = "what a test did not expect ends it")]

#[macro_use]
#[path = "../conformance/mod.rs"]
mod conformance;
mod era;
mod faults;
mod fence;
mod migrate;

use std::time::Duration;

use enfilade_proto::RoomId;
use enfilade_store::{DatabaseUrl, Postgres, PostgresOptions, PostgresUrl};
use enfilade_testbed as testbed;
use proptest::prelude::*;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

/// A database of its own on the server that the tests share.
struct Place(String);

impl Place {
    async fn new() -> Self {
        let created = tokio::task::spawn_blocking(|| testbed::Postgres::shared()?.create_database());
        Self(created.await.unwrap().unwrap())
    }

    fn url(&self) -> PostgresUrl {
        let Ok(DatabaseUrl::Postgres(url)) = self.0.parse() else { panic!("{}", self.0) };
        url
    }

    async fn open(&self) -> Postgres {
        let options = PostgresOptions { migrate: true, ..PostgresOptions::default() };
        Postgres::open(&self.url(), options).await.unwrap()
    }

    /// A connection behind the back of the store.
    async fn connection(&self) -> PgConnection {
        self.0.parse::<PgConnectOptions>().unwrap().connect().await.unwrap()
    }

    async fn sql(&self, statement: &str) {
        let mut connection = self.connection().await;
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    /// A row that is not committed, and will not be: whoever wants to write the same waits until the connection is closed.
    async fn in_the_way_of(&self, room: RoomId, first: i64) -> PgConnection {
        let mut connection = self.connection().await;
        sqlx::raw_sql("BEGIN").execute(&mut connection).await.unwrap();
        sqlx::query("INSERT INTO room_log VALUES ($1, $2, $2, 1, 1, '')")
            .bind(room.0)
            .bind(first)
            .execute(&mut connection)
            .await
            .unwrap();
        connection
    }

    /// Returns when a statement waits for a lock.
    async fn until(&self, waiting: Waiting) {
        self.until_as_many(waiting, 1).await;
    }

    async fn until_as_many(&self, waiting: Waiting, count: i64) {
        let query = format!("SELECT count(*) FROM ({}) AS w", waiting.query());
        let waits = async { while self.count(&query).await < count {} };
        tokio::time::timeout(Duration::from_secs(60), waits).await.unwrap();
    }

    async fn count(&self, query: &str) -> i64 {
        let mut connection = self.connection().await;
        let count = sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        count
    }
}

/// A statement that waits for a lock.
#[derive(Clone, Copy)]
enum Waiting {
    Append,
    Bury,
    Claim,
    Insert,
}

impl Waiting {
    /// The processes that run it.
    fn query(self) -> String {
        let text = match self {
            Self::Append => "WITH mine",
            Self::Bury => "WITH gone",
            Self::Claim => "SELECT shard FROM shard_owner",
            Self::Insert => "INSERT INTO room_log",
        };
        format!(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
             AND ltrim(query, E' \\n') LIKE '{text}%'"
        )
    }
}

macro_rules! conforms {
    ($($module:ident: $($test:ident)*;)*) => {$(
        mod $module {
            use super::{Place, conformance};
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    let place = Place::new().await;
                    let store = place.open().await;
                    conformance::$module::$test(&store).await;
                    store.close().await;
                }
            )*
        }
    )*};
}

every_store!(conforms);

// Where several nodes live beside each other.
conforms! {
    cluster:
        nodes_live_beside_each_other
        only_those_who_do_not_renew_expire
        a_node_is_declared_dead_once
        only_what_nobody_alive_owns_is_claimed
        shards_are_handed_over_to_the_living
        of_many_who_claim_a_shard_one_gets_it;
}

#[tokio::test]
async fn a_deleted_room_takes_everything_with_it() {
    let place = Place::new().await;
    let store = place.open().await;
    conformance::rooms::a_deleted_room_takes_everything_with_it(&store, &store).await;
    store.close().await;
    for table in ["room_log", "checkpoint", "read_marker", "room_member", "link"] {
        assert_eq!(place.count(&format!("SELECT count(*) FROM {table}")).await, 0, "{table}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_log_agrees_with_a_model_of_it(actions in conformance::model::actions()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let place = Place::new().await;
            let store = place.open().await;
            conformance::model::the_log_agrees_with_a_model_of_it(&store, &actions).await;
            store.close().await;
        });
    }
}
