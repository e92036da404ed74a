//! Nodes and owners, as far as a store must do it that lets in one node at a time. The store must not be shared with others
//! at the time, because a node that enters may be the death of theirs.

use std::collections::BTreeMap;
use std::time::Duration;

use enfilade_proto::Epoch;
use enfilade_store::{Lease, NewNode, NodeRow, NodeState, Renewal, Shard, StoreError};

use super::{LEASE, OwnedLog, Owner, new_incarnation, new_node};

pub(crate) const ALIVE: Renewal = Renewal { state: NodeState::Alive, on_bus: true };

pub(crate) fn shards(numbers: &[u16]) -> Vec<Shard> {
    numbers.iter().map(|number| Shard::new(*number).unwrap()).collect()
}

pub(crate) async fn version(log: &dyn OwnedLog) -> u64 {
    log.view().await.unwrap().version
}

/// Waits until the lease of a node is over, by the clock of the store.
pub(crate) async fn until_expired(log: &dyn OwnedLog, node: &NewNode) {
    let expired = async {
        while !log.view().await.unwrap().nodes.iter().any(|row| row.node == *node && row.expired) {}
    };
    tokio::time::timeout(Duration::from_secs(60), expired).await.unwrap();
}

// ---- nodes ----------------------------------------------------------------------------------------------------

pub(crate) async fn a_node_enters_once(log: &dyn OwnedLog) {
    let node = NewNode { name: "é".repeat(100), edge: true, ..new_node() };
    log.enter(&node, LEASE).await.unwrap();
    let row = NodeRow { node: node.clone(), renewal: ALIVE, expired: false };
    let rows = [row];
    assert_eq!(log.view().await.unwrap().nodes, rows);
    let again = log.enter(&NewNode { name: "another".into(), ..node.clone() }, LEASE).await;
    assert!(matches!(again, Err(StoreError::Exists)), "{again:?}");
    assert_eq!(log.view().await.unwrap().nodes, rows);
    log.bury(&[node.incarnation]).await.unwrap();
    let again = log.enter(&node, LEASE).await;
    assert!(matches!(again, Err(StoreError::Exists)), "the dead do not come back: {again:?}");
    assert_eq!(log.view().await.unwrap().nodes, []);
}

pub(crate) async fn a_node_says_how_it_is(log: &dyn OwnedLog) {
    let node = new_node();
    log.enter(&node, LEASE).await.unwrap();
    for renewal in [
        ALIVE,
        Renewal { on_bus: false, ..ALIVE },
        ALIVE,
        Renewal { state: NodeState::Draining, ..ALIVE },
        Renewal { state: NodeState::Draining, on_bus: false },
    ] {
        let renewed = log.renew(node.incarnation, renewal, LEASE).await.unwrap().unwrap();
        let view = log.view().await.unwrap();
        assert_eq!(view.nodes, [NodeRow { node: node.clone(), renewal, expired: false }]);
        assert_eq!((renewed.version, renewed.leases), (view.version, vec![]));
    }
    assert_eq!(log.renew(new_incarnation(), ALIVE, LEASE).await.unwrap(), None, "nobody knows that one");
}

pub(crate) async fn a_node_that_leaves_does_not_come_back(log: &dyn OwnedLog) {
    let owner = Owner::new(log).await;
    owner.take(&shards(&[7])).await;
    let left = Renewal { state: NodeState::Dead, on_bus: false };
    assert!(log.renew(owner.incarnation, left, LEASE).await.unwrap().is_some());
    assert_eq!(log.view().await.unwrap().nodes, []);
    assert_eq!(log.renew(owner.incarnation, ALIVE, LEASE).await.unwrap(), None);
    assert_eq!(log.renew(owner.incarnation, left, LEASE).await.unwrap(), None);
    assert_eq!(log.bury(&[owner.incarnation]).await.unwrap(), [], "it is dead already");
    assert_eq!(log.claim(owner.incarnation, &shards(&[7, 8])).await.unwrap(), []);
    let heir = Owner::new(log).await;
    assert_eq!(log.claim(heir.incarnation, &shards(&[7])).await.unwrap(), [(shards(&[7])[0], Epoch(2))]);
}

pub(crate) async fn a_lease_that_is_over_can_be_renewed_until_the_node_is_buried(log: &dyn OwnedLog) {
    let node = new_node();
    log.enter(&node, Duration::ZERO).await.unwrap();
    until_expired(log, &node).await;
    assert!(log.renew(node.incarnation, ALIVE, LEASE).await.unwrap().is_some());
    assert!(!log.view().await.unwrap().nodes[0].expired);
    log.renew(node.incarnation, ALIVE, Duration::ZERO).await.unwrap();
    until_expired(log, &node).await;
    assert_eq!(log.bury(&[node.incarnation]).await.unwrap(), [node.incarnation]);
    assert_eq!(log.renew(node.incarnation, ALIVE, LEASE).await.unwrap(), None);
    assert_eq!(log.view().await.unwrap().nodes, []);
}

pub(crate) async fn only_nodes_that_are_there_are_buried(log: &dyn OwnedLog) {
    let node = new_node();
    log.enter(&node, LEASE).await.unwrap();
    let suspects = [new_incarnation(), node.incarnation, node.incarnation];
    let never_were = suspects.map(|node| Lease { node, until: 1 });
    assert_eq!(log.expire(&never_were, Duration::ZERO).await.unwrap(), []);
    assert!(log.renew(node.incarnation, ALIVE, LEASE).await.unwrap().is_some());
    assert_eq!(log.bury(&[]).await.unwrap(), []);
    assert_eq!(log.bury(&suspects).await.unwrap(), [node.incarnation]);
    assert_eq!(log.bury(&suspects).await.unwrap(), []);
}

// ---- owners ---------------------------------------------------------------------------------------------------

pub(crate) async fn every_claim_raises_the_epoch(log: &dyn OwnedLog) {
    let all: Vec<Shard> = Shard::all().collect();
    let mut latest: BTreeMap<Shard, Epoch> = BTreeMap::new();
    for _ in 0..2 {
        let owner = Owner::new(log).await;
        for _ in 0..2 {
            owner.take(&[]).await;
            log.bury(&owners(log, &owner).await).await.unwrap();
            let claimed = log.claim(owner.incarnation, &all).await.unwrap();
            assert!(claimed.iter().map(|(shard, _)| *shard).eq(Shard::all()), "in the order asked");
            for (shard, epoch) in claimed {
                assert_eq!(epoch.0, latest.insert(shard, epoch).map_or(0, |before| before.0) + 1);
            }
        }
        assert_eq!(log.claim(owner.incarnation, &[]).await.unwrap(), []);
        let claimed = log.claim(owner.incarnation, &shards(&[9, 3, 9])).await.unwrap();
        assert_eq!(claimed.iter().map(|(shard, _)| shard.number()).collect::<Vec<_>>(), [9, 3], "each once");
        for (shard, epoch) in claimed {
            assert_eq!(epoch.0, latest.insert(shard, epoch).unwrap().0 + 1);
        }
        let view = log.view().await.unwrap();
        let expected: Vec<_> =
            latest.iter().map(|(shard, epoch)| (*shard, owner.incarnation, *epoch)).collect();
        assert_eq!(view.owners, expected);
    }
}

async fn owners(log: &dyn OwnedLog, but: &Owner<'_>) -> Vec<enfilade_store::Incarnation> {
    let owners = log.view().await.unwrap().owners;
    owners.into_iter().map(|(_, owner, _)| owner).filter(|owner| *owner != but.incarnation).collect()
}

pub(crate) async fn what_nobody_alive_owns_can_be_claimed(log: &dyn OwnedLog) {
    let first = Owner::new(log).await;
    assert_eq!(log.view().await.unwrap().owners, [], "a shard that nobody ever had is not listed");
    let some = shards(&[4_095, 0]);
    let claimed = log.claim(first.incarnation, &some).await.unwrap();
    assert_eq!(claimed, [(some[0], Epoch(1)), (some[1], Epoch(1))]);
    log.bury(&[first.incarnation]).await.unwrap();
    assert_eq!(
        log.view().await.unwrap().owners.len(),
        2,
        "the dead are listed as owners until somebody claims"
    );
    let second = Owner::new(log).await;
    let claimed = log.claim(second.incarnation, &shards(&[0, 1])).await.unwrap();
    assert_eq!(claimed, [(some[1], Epoch(2)), (shards(&[1])[0], Epoch(1))]);
    let owners = log.view().await.unwrap().owners;
    let expected = [
        (some[1], second.incarnation, Epoch(2)),
        (shards(&[1])[0], second.incarnation, Epoch(1)),
        (some[0], first.incarnation, Epoch(1)),
    ];
    assert_eq!(owners, expected);
}

pub(crate) async fn whoever_is_not_alive_gets_nothing(log: &dyn OwnedLog) {
    let some = shards(&[1, 2]);
    let stranger = new_incarnation();
    assert_eq!(log.claim(stranger, &some).await.unwrap(), []);
    let dead = Owner::new(log).await;
    log.bury(&[dead.incarnation]).await.unwrap();
    assert_eq!(log.claim(dead.incarnation, &some).await.unwrap(), []);
    let owner = Owner::new(log).await;
    assert_eq!(log.claim(owner.incarnation, &some).await.unwrap().len(), 2);
    for other in [stranger, dead.incarnation] {
        assert_eq!(log.hand_over(owner.incarnation, other, &some).await.unwrap(), []);
        assert_eq!(log.hand_over(other, owner.incarnation, &some).await.unwrap(), []);
    }
    let draining = Renewal { state: NodeState::Draining, ..ALIVE };
    log.renew(owner.incarnation, draining, LEASE).await.unwrap();
    assert_eq!(log.claim(owner.incarnation, &shards(&[1, 3])).await.unwrap(), [], "it is about to leave");
    let owners = log.view().await.unwrap().owners;
    assert_eq!(owners, [1, 2].map(|n| (shards(&[n])[0], owner.incarnation, Epoch(1))));
}

pub(crate) async fn the_version_grows_with_every_change_and_only_then(log: &dyn OwnedLog) {
    let mut at = version(log).await;
    let node = new_node();
    let me = node.incarnation;
    log.enter(&node, LEASE).await.unwrap();
    grew(log, &mut at, true, "a node enters").await;
    log.enter(&node, LEASE).await.unwrap_err();
    grew(log, &mut at, false, "a node cannot enter").await;
    log.renew(me, ALIVE, LEASE).await.unwrap();
    grew(log, &mut at, false, "a lease is renewed").await;
    log.renew(me, Renewal { on_bus: false, ..ALIVE }, LEASE).await.unwrap();
    grew(log, &mut at, true, "a node leaves the bus").await;
    log.renew(me, Renewal { on_bus: false, ..ALIVE }, LEASE).await.unwrap();
    grew(log, &mut at, false, "it is still off the bus").await;
    log.renew(me, ALIVE, LEASE).await.unwrap();
    grew(log, &mut at, true, "it is back").await;
    log.renew(new_incarnation(), ALIVE, LEASE).await.unwrap();
    grew(log, &mut at, false, "somebody unknown renews").await;
    log.claim(me, &shards(&[1, 2])).await.unwrap();
    grew(log, &mut at, true, "shards are claimed").await;
    log.claim(me, &[]).await.unwrap();
    log.claim(new_incarnation(), &shards(&[1, 2, 3])).await.unwrap();
    grew(log, &mut at, false, "nothing is claimed").await;
    log.hand_over(me, me, &shards(&[1])).await.unwrap();
    grew(log, &mut at, true, "a shard is handed over").await;
    log.hand_over(me, me, &shards(&[3])).await.unwrap();
    log.hand_over(me, new_incarnation(), &shards(&[1])).await.unwrap();
    grew(log, &mut at, false, "nothing is handed over").await;
    log.expire(&[Lease { node: me, until: 1 }], Duration::ZERO).await.unwrap();
    log.bury(&[new_incarnation()]).await.unwrap();
    grew(log, &mut at, false, "nobody is buried").await;
    log.renew(me, Renewal { state: NodeState::Draining, ..ALIVE }, LEASE).await.unwrap();
    grew(log, &mut at, true, "a node drains").await;
    log.bury(&[me]).await.unwrap();
    grew(log, &mut at, true, "a node is buried").await;
    log.bury(&[me]).await.unwrap();
    log.renew(me, ALIVE, LEASE).await.unwrap();
    grew(log, &mut at, false, "it is dead already").await;
}

async fn grew(log: &dyn OwnedLog, at: &mut u64, expected: bool, when: &str) {
    let now = version(log).await;
    assert_eq!(now > *at, expected, "{when}: from {at} to {now}");
    *at = now;
}
