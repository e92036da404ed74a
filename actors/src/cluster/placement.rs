//! Which node should own which shard: a decision that every node reaches by itself from the same view.
//!
//! Rendezvous hashing (Thaler and Ravishankar, 1998): of all candidates the one with the highest weight for a shard wins it. So
//! a node that leaves gives its shards to all others evenly, and one that comes takes evenly; nothing else moves.

use std::collections::{BTreeMap, BTreeSet};

use enfilade_proto::Epoch;
use enfilade_store::{Incarnation, NodeRow, NodeState, Shard, View};

use crate::fingerprint::mix;

/// What a node has to do so that the cluster comes to stand as it should.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// To be claimed: nobody alive owns them, and they are this node's to own.
    pub(super) claim: Vec<Shard>,
    /// To be given to others.
    pub(super) hand_over: BTreeMap<Incarnation, Vec<Shard>>,
}

/// The plan of node `me`, which runs rooms of the shards `held`, in these epochs.
pub(super) fn plan(view: &View, me: Incarnation, held: &BTreeMap<Shard, Epoch>) -> Plan {
    let mut plan = Plan::default();
    let candidates = candidates(view);
    let listed: BTreeSet<Incarnation> = view.nodes.iter().map(|node| node.node.incarnation).collect();
    let owners: BTreeMap<Shard, (Incarnation, Epoch)> =
        view.owners.iter().map(|(shard, owner, epoch)| (*shard, (*owner, *epoch))).collect();
    for shard in Shard::all() {
        let Some(winner) = winner(shard, &candidates) else { continue };
        match owners.get(&shard) {
            // The database says that it is ours, and we do not know, or know another epoch: its memory was set back, or it did
            // what we believed to have failed.
            Some((owner, epoch)) if *owner == me && held.get(&shard) != Some(epoch) => plan.claim.push(shard),
            Some((owner, _)) if *owner == me && winner != me => {
                plan.hand_over.entry(winner).or_default().push(shard);
            }
            Some((owner, _)) if listed.contains(owner) => {}
            _ if winner == me => plan.claim.push(shard),
            _ => {}
        }
    }
    plan
}

/// Nodes that may own shards: those that run rooms, are not about to leave, and can talk to the others. If nobody can, the bus is
/// away for all, and nothing should move.
pub(super) fn candidates(view: &View) -> Vec<Incarnation> {
    let able = |node: &&NodeRow| node.node.host && node.renewal.state == NodeState::Alive && !node.expired;
    let able: Vec<&NodeRow> = view.nodes.iter().filter(able).collect();
    let talking: Vec<Incarnation> =
        able.iter().filter(|node| node.renewal.on_bus).map(|node| node.node.incarnation).collect();
    if talking.is_empty() { able.iter().map(|node| node.node.incarnation).collect() } else { talking }
}

fn winner(shard: Shard, candidates: &[Incarnation]) -> Option<Incarnation> {
    candidates.iter().copied().max_by_key(|node| (weight(*node, shard), *node))
}

fn weight(node: Incarnation, shard: Shard) -> u64 {
    let (high, low) = node.0.as_u64_pair();
    mix(high ^ low.rotate_left(32) ^ u64::from(shard.number()).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

#[cfg(test)]
mod tests {
    use enfilade_store::{NewNode, Renewal};
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn id(n: u128) -> Incarnation {
        // Spread, as random ids are.
        Incarnation(Uuid::from_u128((n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)))
    }

    fn node(n: u128) -> NodeRow {
        NodeRow {
            node: NewNode {
                incarnation: id(n),
                name: n.to_string(),
                address: String::new(),
                version: String::new(),
                host: true,
                edge: true,
            },
            renewal: Renewal { state: NodeState::Alive, on_bus: true },
            expired: false,
        }
    }

    fn view(nodes: Vec<NodeRow>, owner: impl Fn(Shard) -> Option<Incarnation>) -> View {
        let owners = Shard::all().filter_map(|shard| Some((shard, owner(shard)?, Epoch(1)))).collect();
        View { version: 1, nodes, owners }
    }

    fn all() -> BTreeMap<Shard, Epoch> {
        held(|_| true)
    }

    fn held(which: impl Fn(Shard) -> bool) -> BTreeMap<Shard, Epoch> {
        Shard::all().filter(|shard| which(*shard)).map(|shard| (shard, Epoch(1))).collect()
    }

    #[test]
    fn a_node_alone_claims_everything() {
        let plan = plan(&view(vec![node(1)], |_| None), id(1), &BTreeMap::new());
        assert_eq!(plan.claim.len(), usize::from(Shard::COUNT));
        assert!(plan.hand_over.is_empty());
    }

    #[test]
    fn the_shards_of_the_dead_are_shared_out_evenly_and_once() {
        let nodes: Vec<NodeRow> = (0..3).map(node).collect();
        let view = view(nodes, |_| Some(id(99)));
        let plans: Vec<Plan> = (0..3).map(|n| plan(&view, id(n), &BTreeMap::new())).collect();
        let claimed: BTreeSet<Shard> = plans.iter().flat_map(|plan| plan.claim.clone()).collect();
        assert_eq!(claimed.len(), usize::from(Shard::COUNT));
        let counts: Vec<usize> = plans.iter().map(|plan| plan.claim.len()).collect();
        assert_eq!(counts.iter().sum::<usize>(), usize::from(Shard::COUNT));
        assert!(counts.iter().all(|count| (1_200..1_550).contains(count)), "{counts:?}");
    }

    #[test]
    fn what_a_living_node_owns_is_not_claimed() {
        let mut doubtful = node(2);
        doubtful.expired = true;
        let view = view(vec![node(1), doubtful], |_| Some(id(2)));
        assert_eq!(plan(&view, id(1), &BTreeMap::new()), Plan::default());
    }

    #[test]
    fn a_newcomer_is_given_its_share_and_nothing_else_moves() {
        let view = view(vec![node(1), node(2)], |_| Some(id(1)));
        let plan = plan(&view, id(1), &all());
        assert!(plan.claim.is_empty());
        let given = &plan.hand_over[&id(2)];
        assert_eq!(plan.hand_over.len(), 1);
        assert!((1_800..2_300).contains(&given.len()), "{}", given.len());
    }

    #[test]
    fn who_is_about_to_leave_gives_everything_away_and_claims_nothing() {
        let mut leaving = node(1);
        leaving.renewal.state = NodeState::Draining;
        let view = view(vec![leaving, node(2)], |shard| (shard.number() >= 100).then(|| id(1)));
        let held = held(|shard| shard.number() >= 100);
        let plan = plan(&view, id(1), &held);
        assert!(plan.claim.is_empty());
        assert_eq!(plan.hand_over[&id(2)].len(), usize::from(Shard::COUNT) - 100);
    }

    #[test]
    fn who_cannot_talk_gives_everything_away_unless_nobody_can() {
        let mut cut_off = node(1);
        cut_off.renewal.on_bus = false;
        let one_cut_off = view(vec![cut_off.clone(), node(2)], |_| Some(id(1)));
        assert_eq!(plan(&one_cut_off, id(1), &all()).hand_over[&id(2)].len(), usize::from(Shard::COUNT));
        let mut other = node(2);
        other.renewal.on_bus = false;
        let nodes = vec![cut_off, other];
        let winner = |shard| winner(shard, &[id(1), id(2)]);
        let all_cut_off = view(nodes, winner);
        let held = held(|shard| winner(shard) == Some(id(1)));
        assert_eq!(plan(&all_cut_off, id(1), &held), Plan::default());
    }

    #[test]
    fn a_node_that_only_terminates_sockets_owns_nothing() {
        let mut edge = node(1);
        edge.node.host = false;
        assert_eq!(plan(&view(vec![edge], |_| None), id(1), &BTreeMap::new()), Plan::default());
    }

    #[test]
    fn what_the_database_says_is_ours_is_taken_up_again() {
        let view = view(vec![node(1)], |_| Some(id(1)));
        let mut held = all();
        let [lost, outdated] = [7, 8].map(|number| Shard::new(number).unwrap());
        held.remove(&lost);
        held.insert(outdated, Epoch(3));
        assert_eq!(plan(&view, id(1), &held).claim, [lost, outdated]);
    }

    proptest! {
        #[test]
        fn a_leaving_node_moves_only_its_own_shards(count in 2u128..12, leaver in 0u128..12) {
            let leaver = leaver % count;
            let nodes: Vec<Incarnation> = (0..count).map(id).collect();
            let rest: Vec<Incarnation> = nodes.iter().copied().filter(|node| *node != id(leaver)).collect();
            for shard in Shard::all().step_by(37) {
                let before = winner(shard, &nodes);
                if before != Some(id(leaver)) {
                    prop_assert_eq!(winner(shard, &rest), before);
                }
            }
        }
    }
}
