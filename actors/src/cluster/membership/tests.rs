use enfilade_store::NewNode;
use uuid::Uuid;

use super::*;

const ME: Incarnation = Incarnation(Uuid::from_u128(1));
const OTHER: Incarnation = Incarnation(Uuid::from_u128(2));

fn view(nodes: &[Incarnation]) -> View {
    let row = |incarnation: &Incarnation| NodeRow {
        node: NewNode {
            incarnation: *incarnation,
            name: "node".into(),
            address: "there:1".into(),
            version: "1".into(),
            host: true,
            edge: true,
        },
        renewal: Renewal { state: NodeState::Alive, on_bus: true },
        expired: false,
    };
    View { version: 1, nodes: nodes.iter().map(row).collect(), owners: Vec::new() }
}

#[test]
fn a_node_that_says_nothing_is_noticed_and_the_node_itself_never() {
    let mut members = Members::default();
    members.set(&view(&[ME, OTHER]), 1_000);
    assert_eq!(members.silent(ME, 1_000 + SILENT_MS - 1), []);
    assert_eq!(members.silent(ME, 1_000 + SILENT_MS), [OTHER]);
    members.heard(OTHER, 2_000);
    assert_eq!(members.silent(ME, 1_000 + SILENT_MS), []);
    assert_eq!(members.set(&view(&[ME]), 3_000), [OTHER]);
    assert_eq!(members.silent(ME, 100_000), []);
}

#[test]
fn a_node_is_not_probed_again_at_once() {
    let mut members = Members::default();
    members.set(&view(&[ME, OTHER]), 0);
    assert_eq!(members.probe(OTHER, 0).as_deref(), Some("there:1"), "right after the start");
    assert_eq!(members.probe(OTHER, PROBE_MS - 1), None);
    assert!(members.probe(OTHER, PROBE_MS).is_some());
    assert_eq!(members.probe(Incarnation(Uuid::from_u128(3)), 9_000), None, "nobody knows it");
}

#[test]
fn a_bus_that_is_away_for_a_moment_is_a_hiccup() {
    let mut members = Members::default();
    assert!(members.on_bus(true, 0));
    assert!(members.on_bus(false, 1_000));
    assert!(members.on_bus(false, 1_000 + BUS_AWAY_MS - 1));
    assert!(!members.on_bus(false, 1_000 + BUS_AWAY_MS));
    assert!(members.on_bus(true, 9_000));
    assert!(members.on_bus(false, 9_001));
}

#[test]
fn a_node_that_was_buried_stays_buried() {
    assert_eq!(Standing::Buried.after(Standing::CutOff), Standing::Buried);
    assert_eq!(Standing::CutOff.after(Standing::Member), Standing::Member);
    assert_eq!(Standing::Member.after(Standing::CutOff), Standing::CutOff);
}
