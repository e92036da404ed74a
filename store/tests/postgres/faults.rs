//! What happens to an append when its connection, its server or its caller does not stay.

use std::future::poll_fn;
use std::net::Ipv4Addr;
use std::task::Poll;
use std::time::Duration;

use enfilade_proto::{Epoch, RoomId, Seq};
use enfilade_store::{
    DatabaseUrl, Outcome, Ownership, Postgres, PostgresOptions, RoomLog, Shard, StoreError,
};
use enfilade_testbed as testbed;
use sqlx::Connection as _;
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::conformance::log::everything;
use super::conformance::ownership::{ALIVE, shards};
use super::conformance::{LEASE, Owner, batch, new_room_id};
use super::{Place, Waiting};

const IN_TIME: Duration = Duration::from_secs(60);

/// Two rooms whose appends do not wait for each other.
fn rooms_of_two_shards() -> (RoomId, RoomId) {
    let one = new_room_id();
    let other = std::iter::repeat_with(new_room_id).find(|other| Shard::of(*other) != Shard::of(one));
    (one, other.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn committers_do_not_wait_for_each_other() {
    let place = Place::new().await;
    let store = place.open().await;
    let (held_up, free) = rooms_of_two_shards();
    let owner = Owner::new(&store).await;
    let (held_epoch, epoch) = (owner.claim(held_up).await, owner.claim(free).await);
    let obstacle = place.in_the_way_of(held_up, 1).await;
    let ours = [batch(held_up, held_epoch, 1, 1)];
    let others = async {
        place.until(Waiting::Append).await;
        for seq in 1..=20 {
            let outcomes = store.append(owner.incarnation, &[batch(free, epoch, seq, seq)]).await.unwrap();
            assert_eq!(outcomes, [Outcome::Committed]);
        }
        obstacle.close().await.unwrap();
    };
    let (outcome, ()) = tokio::join!(store.append(owner.incarnation, &ours), others);
    assert_eq!(outcome.unwrap(), [Outcome::Committed]);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_for_a_connection_is_counted_until_they_give_up() {
    let place = Place::new().await;
    let options = PostgresOptions { migrate: true, committers: 1, ..PostgresOptions::default() };
    let store = Postgres::open(&place.url(), options).await.unwrap();
    let (held_up, other) = rooms_of_two_shards();
    let owner = Owner::new(&store).await;
    let (held_epoch, epoch) = (owner.claim(held_up).await, owner.claim(other).await);
    let obstacle = place.in_the_way_of(held_up, 1).await;
    let (ours, theirs) = ([batch(held_up, held_epoch, 1, 1)], [batch(other, epoch, 1, 1)]);
    let others = async {
        place.until(Waiting::Append).await;
        let waiting = |committers| [("committers", committers), ("ownership", 0), ("others", 0)];
        assert_eq!(store.waiting(), waiting(0));
        let mut late = Box::pin(store.append(owner.incarnation, &theirs));
        assert!(poll_fn(|context| Poll::Ready(late.as_mut().poll(context).is_pending())).await);
        assert_eq!(store.waiting(), waiting(1));
        drop(late);
        assert_eq!(store.waiting(), waiting(0));
        obstacle.close().await.unwrap();
    };
    let (outcome, ()) = tokio::join!(store.append(owner.incarnation, &ours), others);
    assert_eq!(outcome.unwrap(), [Outcome::Committed]);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_whose_server_process_is_killed_has_an_unknown_outcome() {
    let place = Place::new().await;
    let store = place.open().await;
    let room = new_room_id();
    let owner = Owner::new(&store).await;
    let epoch = owner.claim(room).await;
    let obstacle = place.in_the_way_of(room, 1).await;
    let kill = async {
        place.until(Waiting::Append).await;
        place
            .count(&format!(
                "SELECT count(pg_terminate_backend(pid)) FROM ({}) AS w",
                Waiting::Append.query()
            ))
            .await
    };
    let ours = [batch(room, epoch, 1, 2)];
    let (outcome, killed) = tokio::join!(store.append(owner.incarnation, &ours), kill);
    assert!(matches!(outcome, Err(StoreError::UnknownOutcome(_))), "{outcome:?}");
    assert_eq!(killed, 1);
    obstacle.close().await.unwrap();
    assert_eq!(everything(&store, room).await, []);
    assert_eq!(
        store.append(owner.incarnation, &ours).await.unwrap(),
        [Outcome::Committed],
        "on another connection"
    );
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_that_is_not_answered_in_time_has_an_unknown_outcome() {
    let place = Place::new().await;
    let options = PostgresOptions {
        migrate: true,
        committers: 1,
        answer_timeout: Duration::from_millis(500),
        ..PostgresOptions::default()
    };
    let store = Postgres::open(&place.url(), options).await.unwrap();
    let (held_up, free) = rooms_of_two_shards();
    let owner = Owner::new(&store).await;
    let (held_epoch, epoch) = (owner.claim(held_up).await, owner.claim(free).await);
    let obstacle = place.in_the_way_of(held_up, 1).await;
    let ours = [batch(held_up, held_epoch, 1, 1)];
    let sent = timeout(IN_TIME, store.append(owner.incarnation, &ours)).await.unwrap();
    assert!(matches!(sent, Err(StoreError::UnknownOutcome(_))), "{sent:?}");
    // The statement may go on for a while. Its connection is lent to nobody.
    let others = [batch(free, epoch, 1, 1)];
    assert_eq!(store.append(owner.incarnation, &others).await.unwrap(), [Outcome::Committed]);
    obstacle.close().await.unwrap();
    store.close().await;
    let not_sent = store.append(owner.incarnation, &ours).await;
    assert!(matches!(not_sent, Err(StoreError::Unavailable(_))), "{not_sent:?}");
}

/// The server notices by itself that nobody waits for a statement any more, and lets go of the shard.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_nobody_waits_for_ends_within_seconds() {
    let place = Place::new().await;
    let store = place.open().await;
    let room = new_room_id();
    let owner = Owner::new(&store).await;
    let epoch = owner.claim(room).await;
    let obstacle = place.in_the_way_of(room, 1).await;
    let ours = [batch(room, epoch, 1, 1)];
    tokio::select! {
        outcome = store.append(owner.incarnation, &ours) => panic!("{outcome:?}"),
        () = place.until(Waiting::Append) => {}
    }
    // The obstacle stays where it is.
    let shard = [Shard::of(room)];
    let claimed = until_it_works(|| store.claim(owner.incarnation, &shard));
    assert_eq!(timeout(IN_TIME, claimed).await.unwrap(), [(Shard::of(room), Epoch(epoch.0 + 1))]);
    obstacle.close().await.unwrap();
    store.close().await;
}

/// A statement goes on although nobody waits for it any more, and its writer tries again in other pieces.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_of_one_writer_that_overtake_each_other_do_not_mix() {
    for round in 0..6 {
        let place = Place::new().await;
        let store = place.open().await;
        let room = new_room_id();
        let owner = Owner::new(&store).await;
        let epoch = owner.claim(room).await;
        let obstacle = place.in_the_way_of(room, 1).await;
        let first = [batch(room, epoch, 1, 2), batch(room, epoch, 3, 3)];
        let second = [batch(room, epoch, 1, 1), batch(room, epoch, 2, 3)];
        let let_go = async {
            place.until_as_many(Waiting::Append, 2).await;
            obstacle.close().await.unwrap();
        };
        let (one, two, ()) = tokio::join!(
            store.append(owner.incarnation, &first),
            store.append(owner.incarnation, &second),
            let_go
        );
        let mut outcomes = [one.unwrap(), two.unwrap()];
        let lasts: Vec<u64> = everything(&store, room).await.iter().map(|row| row.last.0).collect();
        let expected = if outcomes[0][0] == Outcome::Committed { vec![2, 3] } else { vec![1, 3] };
        assert_eq!(lasts, expected, "round {round}: {outcomes:?}");
        outcomes.sort_by_key(|outcome| outcome[0] == Outcome::Committed);
        assert_eq!(outcomes, [vec![Outcome::Fenced; 2], vec![Outcome::Committed; 2]]);
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_gives_up_takes_the_connection_along() {
    let place = Place::new().await;
    let options = PostgresOptions { migrate: true, committers: 1, others: 1, ..PostgresOptions::default() };
    let store = Postgres::open(&place.url(), options).await.unwrap();
    let room = new_room_id();
    let owner = Owner::new(&store).await;
    let mut next = 1;
    for micros in (0..8_000).step_by(100) {
        let ours = [batch(room, owner.claim(room).await, next, next)];
        let patience = Duration::from_micros(micros);
        let appended = timeout(patience, store.append(owner.incarnation, &ours)).await;
        let read = timeout(patience, everything(&store, room)).await;
        // Claimed anew, nothing of it is under way any more; then the log says what became of it.
        let epoch = owner.claim(room).await;
        let rows = everything(&store, room).await;
        let head = rows.last().map_or(0, |row| row.last.0);
        assert!(head == next || (head + 1 == next && appended.is_err()), "{head} of {next}: {appended:?}");
        if let Ok(read) = read {
            assert!(rows.starts_with(&read));
        }
        // The next in line gets answers of its own.
        let ours = [batch(room, epoch, head + 1, head + 1)];
        assert_eq!(store.append(owner.incarnation, &ours).await.unwrap(), [Outcome::Committed]);
        next = head + 2;
    }
    store.close().await;
}

/// Somebody else locks shards in the wrong order: PostgreSQL ends one of the two, here the claim.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadlock_changes_nothing() {
    let place = Place::new().await;
    let store = place.open().await;
    let owner = Owner::new(&store).await;
    let both = shards(&[1, 2]);
    let before = store.claim(owner.incarnation, &both).await.unwrap();
    let mut other = place.connection().await;
    let lock = |shard: i16| sqlx::query("SELECT 1 FROM shard_owner WHERE shard = $1 FOR UPDATE").bind(shard);
    sqlx::raw_sql("SET deadlock_timeout = '1h'; BEGIN").execute(&mut other).await.unwrap();
    lock(2).execute(&mut other).await.unwrap();
    let wrong_order = async {
        place.until(Waiting::Claim).await;
        lock(1).execute(&mut other).await.unwrap();
    };
    let (claimed, ()) = tokio::join!(store.claim(owner.incarnation, &both), wrong_order);
    assert!(matches!(claimed, Err(StoreError::Unavailable(_))), "{claimed:?}");
    other.close().await.unwrap();
    let owners = store.view().await.unwrap().owners;
    assert!(owners.iter().map(|(shard, _, epoch)| (*shard, *epoch)).eq(before));
    store.close().await;
}

// ---- a server that goes away ----------------------------------------------------------------------------------

async fn server() -> testbed::Postgres {
    let started =
        tokio::task::spawn_blocking(|| testbed::Postgres::start(testbed::PostgresOptions::default()));
    started.await.unwrap().unwrap()
}

async fn open(server: &testbed::Postgres) -> Postgres {
    let Ok(DatabaseUrl::Postgres(url)) = server.url().parse() else { panic!("{}", server.url()) };
    let options = PostgresOptions { migrate: true, ..PostgresOptions::default() };
    Postgres::open(&url, options).await.unwrap()
}

/// Tries again as long as the database is away.
async fn until_it_works<T, F: Future<Output = Result<T, StoreError>>>(ask: impl Fn() -> F) -> T {
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(StoreError::Unavailable(_) | StoreError::UnknownOutcome(_)) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// Appends one op after the other, whatever happens, and returns how many were acknowledged.
async fn append_through_everything(owner: &Owner<'_>, room: RoomId, until: impl Fn() -> bool) -> u64 {
    let shard = [Shard::of(room)];
    let mut epoch = owner.claim(room).await;
    let (mut acknowledged, mut next) = (0, 1);
    while !until() {
        match owner.log.append(owner.incarnation, &[batch(room, epoch, next, next)]).await {
            Ok(outcomes) => {
                assert_eq!(outcomes, [Outcome::Committed]);
                acknowledged = next;
                next += 1;
            }
            Err(StoreError::Unavailable(_)) => {}
            Err(StoreError::UnknownOutcome(_)) => {
                let claimed = until_it_works(|| owner.log.claim(owner.incarnation, &shard)).await[0].1;
                assert!(claimed > epoch, "epochs never go back");
                epoch = claimed;
                let rows = until_it_works(|| owner.log.read(room, Seq(0), usize::MAX)).await;
                let head = rows.last().map_or(0, |row| row.last.0);
                assert!(head == next || head + 1 == next, "{head} after {next} was sent");
                next = head + 1;
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_the_server_loses_power() {
    let server = server().await;
    let store = open(&server).await;
    let room = new_room_id();
    let owner = Owner::new(&store).await;
    let restarts = std::sync::atomic::AtomicBool::new(false);
    let done = || restarts.load(std::sync::atomic::Ordering::Relaxed);
    let power = async {
        for round in 1..=3 {
            // Some more ops are on disk before each.
            let written = async {
                loop {
                    if let Ok(rows) = store.read(room, Seq(0), usize::MAX).await
                        && rows.len() >= round * 30
                    {
                        break;
                    }
                }
            };
            timeout(IN_TIME, written).await.unwrap();
            tokio::task::block_in_place(|| server.restart_immediate()).unwrap();
        }
        restarts.store(true, std::sync::atomic::Ordering::Relaxed);
    };
    let (acknowledged, ()) = tokio::join!(append_through_everything(&owner, room, done), power);
    let rows = until_it_works(|| store.read(room, Seq(0), usize::MAX)).await;
    assert!(rows.iter().zip(1..).all(|(row, seq)| (row.first, row.last) == (Seq(seq), Seq(seq))));
    assert!(rows.len() as u64 >= acknowledged && acknowledged >= 90, "{} of {acknowledged}", rows.len());
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_declared_dead_for_not_having_renewed_while_the_server_was_away() {
    let server = server().await;
    let store = open(&server).await;
    let (me, other) = (Owner::new(&store).await, Owner::new(&store).await);
    let seen = store.renew(me.incarnation, ALIVE, LEASE).await.unwrap().unwrap().leases;
    tokio::task::block_in_place(|| server.restart_immediate()).unwrap();
    // The connections know nothing of it yet.
    let buried = until_it_works(|| store.expire(&seen, LEASE)).await;
    assert_eq!(buried, [], "an hour has not passed");
    assert!(store.renew(other.incarnation, ALIVE, LEASE).await.unwrap().is_some());
    assert_eq!(store.expire(&seen, Duration::ZERO).await.unwrap(), [], "it has renewed");
    let seen = store.renew(me.incarnation, ALIVE, LEASE).await.unwrap().unwrap().leases;
    assert_eq!(store.expire(&seen, Duration::ZERO).await.unwrap(), [other.incarnation]);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_that_is_under_way_counts() {
    let place = Place::new().await;
    let store = place.open().await;
    let (me, other) = (Owner::new(&store).await, Owner::new(&store).await);
    let seen = store.renew(me.incarnation, ALIVE, LEASE).await.unwrap().unwrap().leases;
    let mut connection = place.connection().await;
    let mut renewal = connection.begin().await.unwrap();
    sqlx::query("UPDATE node SET lease_until = lease_until + interval '1 second' WHERE incarnation = $1")
        .bind(other.incarnation.0)
        .execute(&mut *renewal)
        .await
        .unwrap();
    let commit = async {
        place.until(Waiting::Bury).await;
        renewal.commit().await.unwrap();
    };
    let (expired, ()) = tokio::join!(store.expire(&seen, Duration::ZERO), commit);
    assert_eq!(expired.unwrap(), []);
    assert!(store.renew(other.incarnation, ALIVE, LEASE).await.unwrap().is_some());
    store.close().await;
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_not_waited_for() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let Ok(DatabaseUrl::Postgres(url)) = format!("postgres://nobody@127.0.0.1:{port}/none").parse() else {
        panic!("{port}")
    };
    let options =
        || PostgresOptions { connect_timeout: Duration::from_millis(200), ..PostgresOptions::default() };
    // It accepts, as a half-open connection does, and says nothing.
    let silent = timeout(IN_TIME, Postgres::open(&url, options())).await.unwrap();
    assert!(matches!(silent, Err(StoreError::Unavailable(_))), "{silent:?}");
    drop(listener);
    let refused = timeout(IN_TIME, Postgres::open(&url, options())).await.unwrap();
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
}

#[tokio::test]
async fn a_damaged_checkpoint_is_noticed_and_can_be_replaced() {
    let place = Place::new().await;
    let store = place.open().await;
    let room = new_room_id();
    let owner = Owner::new(&store).await;
    let epoch = owner.claim(room).await;
    store.append(owner.incarnation, &[batch(room, epoch, 1, 5)]).await.unwrap();
    let good = super::conformance::checkpoint(room, 4, vec![7; 600_000]);
    store.put_checkpoint(&good).await.unwrap();
    place.sql("UPDATE checkpoint SET body = set_byte(body, 400000, 8)").await;
    let damaged = store.checkpoint(room).await;
    assert!(matches!(damaged, Err(StoreError::Corrupt(_))), "{damaged:?}");
    store.put_checkpoint(&good).await.unwrap();
    assert!(store.checkpoint(room).await.unwrap() == Some(good));
    store.close().await;
}

#[tokio::test]
async fn what_is_written_after_a_room_was_deleted_is_erased_later() {
    let place = Place::new().await;
    let store = place.open().await;
    let room = super::conformance::a_room(&store, None).await;
    let owner = Owner::new(&store).await;
    let epoch = owner.claim(room).await;
    assert!(enfilade_store::Directory::delete_room(&store, room).await.unwrap());
    // As an append that began before, and was not done, leaves it.
    store.append(owner.incarnation, &[batch(room, epoch, 1, 5)]).await.unwrap();
    assert_eq!(store.prune(0, 100).await.unwrap(), 1);
    assert_eq!(everything(&store, room).await, []);
    assert_eq!(place.count("SELECT count(*) FROM deleted_room").await, 1, "there may be more to come");
    place.sql("UPDATE deleted_room SET at = at - interval '10 minutes'").await;
    assert_eq!(store.prune(0, 100).await.unwrap(), 0);
    assert_eq!(place.count("SELECT count(*) FROM deleted_room").await, 0);
    store.close().await;
}
