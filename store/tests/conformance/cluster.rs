//! Nodes beside each other: what a store must do that lets in several.

use std::collections::BTreeMap;
use std::time::Duration;

use enfilade_proto::Epoch;
use enfilade_store::{Incarnation, NodeState, Renewal, Shard};
use futures_util::future::join_all;

use super::ownership::{ALIVE, shards, version};
use super::{LEASE, OwnedLog, Owner};

async fn nodes(log: &dyn OwnedLog) -> Vec<Incarnation> {
    log.view().await.unwrap().nodes.iter().map(|row| row.node.incarnation).collect()
}

fn sorted(mut nodes: Vec<Incarnation>) -> Vec<Incarnation> {
    nodes.sort();
    nodes
}

pub(crate) async fn nodes_live_beside_each_other(log: &dyn OwnedLog) {
    let (one, two) = (Owner::new(log).await, Owner::new(log).await);
    assert_eq!(nodes(log).await, sorted(vec![one.incarnation, two.incarnation]));
    let draining = Renewal { state: NodeState::Draining, on_bus: false };
    log.renew(one.incarnation, draining, LEASE).await.unwrap();
    let view = log.view().await.unwrap();
    let found = |node| view.nodes.iter().find(|row| row.node.incarnation == node).unwrap().renewal;
    assert_eq!((found(one.incarnation), found(two.incarnation)), (draining, ALIVE));
    assert_eq!(log.bury(&[one.incarnation]).await.unwrap(), [one.incarnation]);
    assert_eq!(nodes(log).await, [two.incarnation]);
}

pub(crate) async fn only_those_who_do_not_renew_expire(log: &dyn OwnedLog) {
    let one = Owner::new(log).await;
    let hear = async || log.renew(one.incarnation, ALIVE, LEASE).await.unwrap().unwrap();
    assert_eq!(hear().await.leases, [], "there is nobody else");
    let others = [Owner::new(log).await, Owner::new(log).await, Owner::new(log).await];
    let others = sorted(others.iter().map(|owner| owner.incarnation).collect());
    let before = hear().await;
    assert_eq!(before.leases.iter().map(|lease| lease.node).collect::<Vec<_>>(), others);
    assert_eq!(before.version, version(log).await);
    assert_eq!(hear().await, before, "nobody else has renewed");
    log.renew(others[0], ALIVE, LEASE).await.unwrap();
    log.renew(others[1], Renewal { on_bus: false, ..ALIVE }, LEASE).await.unwrap();
    let after = hear().await;
    let changed = before.leases.iter().zip(&after.leases).map(|(before, after)| before != after);
    assert_eq!(changed.collect::<Vec<_>>(), [true, true, false]);
    assert_eq!(
        log.expire(&before.leases, LEASE).await.unwrap(),
        [],
        "the database has not been up for an hour"
    );
    assert_eq!(log.expire(&before.leases, Duration::ZERO).await.unwrap(), others[2..]);
    assert_eq!(log.expire(&before.leases, Duration::ZERO).await.unwrap(), []);
    let left = hear().await;
    assert_eq!((left.leases, left.version), (after.leases[..2].to_vec(), after.version + 1));
}

pub(crate) async fn a_node_is_declared_dead_once(log: &dyn OwnedLog) {
    for _ in 0..10 {
        let owners = [Owner::new(log).await, Owner::new(log).await, Owner::new(log).await];
        let suspects: Vec<Incarnation> = owners.iter().map(|owner| owner.incarnation).collect();
        let mut backwards = suspects.clone();
        backwards.reverse();
        let asked = [&suspects, &backwards, &suspects, &backwards];
        let answers = join_all(asked.iter().map(|asked| log.bury(asked))).await;
        let buried: Vec<Incarnation> = answers.into_iter().flat_map(|answer| answer.unwrap()).collect();
        assert_eq!(sorted(buried), sorted(suspects));
    }
}

pub(crate) async fn only_what_nobody_alive_owns_is_claimed(log: &dyn OwnedLog) {
    let (one, two, three) = (Owner::new(log).await, Owner::new(log).await, Owner::new(log).await);
    log.claim(one.incarnation, &shards(&[1, 2])).await.unwrap();
    log.claim(two.incarnation, &shards(&[3])).await.unwrap();
    let draining = Renewal { state: NodeState::Draining, ..ALIVE };
    log.renew(two.incarnation, draining, LEASE).await.unwrap();
    let all = shards(&[4, 3, 2, 1]);
    let claimed = log.claim(three.incarnation, &all).await.unwrap();
    assert_eq!(claimed, [(all[0], Epoch(1))], "who drains still owns");
    log.bury(&[one.incarnation]).await.unwrap();
    let claimed = log.claim(three.incarnation, &all).await.unwrap();
    assert_eq!(claimed, [(all[0], Epoch(2)), (all[2], Epoch(2)), (all[3], Epoch(2))]);
}

pub(crate) async fn shards_are_handed_over_to_the_living(log: &dyn OwnedLog) {
    let (one, two, three) = (Owner::new(log).await, Owner::new(log).await, Owner::new(log).await);
    log.claim(one.incarnation, &shards(&[1, 2, 3])).await.unwrap();
    log.claim(three.incarnation, &shards(&[4])).await.unwrap();
    let given = log.hand_over(one.incarnation, two.incarnation, &shards(&[4, 3, 9, 1, 3])).await.unwrap();
    assert_eq!(given, [(shards(&[3])[0], Epoch(2)), (shards(&[1])[0], Epoch(2))]);
    let expected = [(1, &two, 2), (2, &one, 1), (3, &two, 2), (4, &three, 1)];
    let expected = expected.map(|(n, owner, epoch)| (shards(&[n])[0], owner.incarnation, Epoch(epoch)));
    assert_eq!(log.view().await.unwrap().owners, expected);
    let draining = Renewal { state: NodeState::Draining, ..ALIVE };
    log.renew(three.incarnation, draining, LEASE).await.unwrap();
    let given = log.hand_over(one.incarnation, three.incarnation, &shards(&[2])).await.unwrap();
    assert_eq!(given, [], "who leaves is given nothing");
    let given = log.hand_over(three.incarnation, one.incarnation, &shards(&[4])).await.unwrap();
    assert_eq!(given, [(shards(&[4])[0], Epoch(2))], "but gives");
}

/// Several nodes claim everything at once; then half of them die, and the others claim again.
pub(crate) async fn of_many_who_claim_a_shard_one_gets_it(log: &dyn OwnedLog) {
    let mut owners = Vec::new();
    for _ in 0..6 {
        owners.push(Owner::new(log).await);
    }
    let first = claim_all_at_once(log, &owners).await;
    assert_eq!(first.len(), usize::from(Shard::COUNT));
    assert!(first.values().all(|(_, epoch)| *epoch == Epoch(1)));
    let dead: Vec<Incarnation> = owners.drain(..3).map(|owner| owner.incarnation).collect();
    // Some claim before they are declared dead, some after.
    let (buried, _) = tokio::join!(log.bury(&dead), claim_all_at_once(log, &owners));
    assert_eq!(buried.unwrap().len(), 3);
    let second = claim_all_at_once(log, &owners).await;
    assert!(second.iter().all(|(shard, (owner, epoch))| !dead.contains(owner) && *epoch > first[shard].1));
    let view = log.view().await.unwrap();
    let expected: Vec<_> = second.iter().map(|(shard, (owner, epoch))| (*shard, *owner, *epoch)).collect();
    assert_eq!(view.owners, expected);
}

/// Each owner claims everything, in pieces and in an order of its own.
async fn claim_all_at_once(
    log: &dyn OwnedLog,
    owners: &[Owner<'_>],
) -> BTreeMap<Shard, (Incarnation, Epoch)> {
    let all: Vec<Shard> = Shard::all().collect();
    let claims = owners.iter().enumerate().map(|(index, owner)| {
        let mut asked = all.clone();
        asked.rotate_left(index * 700);
        if index % 2 == 1 {
            asked.reverse();
        }
        async move {
            let mut got = Vec::new();
            for piece in asked.chunks(256) {
                got.extend(log.claim(owner.incarnation, piece).await.unwrap());
            }
            got
        }
    });
    let mut result = BTreeMap::new();
    for (got, owner) in join_all(claims).await.into_iter().zip(owners) {
        for (shard, epoch) in got {
            let other = result.insert(shard, (owner.incarnation, epoch));
            assert_eq!(other, None, "{shard} has two owners");
        }
    }
    result
}
