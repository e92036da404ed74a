//! The model by example and by property: more asked for is never less needed, parts add up, and what is planned bears it.

use proptest::prelude::*;

use super::page::{AUDIENCES, SIZES};
use super::*;

const MEASURED: Constants = Constants::MEASURED;

fn needs(demand: &Demand, nodes: u32) -> Needs {
    Needs::of(demand, nodes, &MEASURED)
}

/// All numbers of needs.
fn numbers(needs: &Needs) -> Vec<f64> {
    let value = serde_json::to_value(needs).unwrap();
    value.as_object().unwrap().values().map(|number| number.as_f64().unwrap()).collect()
}

fn is_no_less(more: &Needs, less: &Needs) -> bool {
    // What is equal may differ by rounding.
    numbers(more).iter().zip(numbers(less)).all(|(more, less)| *more >= less * (1.0 - 1e-9))
}

#[test]
fn silent_guests_need_memory_and_pings() {
    let all = needs(&Demand { database: Database::Sqlite, ..Demand::idle(15_000.0, 1_000.0) }, 1);
    let room = MEASURED.owner_room + MEASURED.mirror_room;
    assert_eq!(all.user_memory, MEASURED.node_memory + 15_000.0 * MEASURED.guest + 15.0 * room);
    assert_eq!(all.kernel_memory, 15_000.0 * MEASURED.kernel_connection);
    assert_eq!(
        (all.writes, all.commits, all.host_cores, all.bus_messages),
        (0.0, 0.0, 15.0 * MEASURED.room_cpu, 0.0)
    );
    // A ping and its confirmed answer.
    let pings = 15_000.0 / 25.0;
    assert_eq!(all.bytes_out, pings * (MEASURED.msgpack_ping + 2.0 * MEASURED.packet_bytes));
    assert_eq!(all.bytes_in, pings * (MEASURED.msgpack_pong + MEASURED.packet_bytes));
}

#[test]
fn a_busy_room_is_written_to_once_a_tick() {
    let room = |signals| Demand { signals, ..Demand::idle(1_000.0, 1_000.0) };
    let writes = |demand: &Demand| needs(demand, 1).writes.round();
    assert_eq!(writes(&room(20.0)), 20_000.0);
    assert_eq!(writes(&room(4_000.0)), 62_500.0);
    assert_eq!(writes(&Demand { audience: 1.0, ..room(4_000.0) }), 20_000.0);
    assert_eq!(writes(&Demand { together: 10.0, ..room(100.0) }), 10_000.0);
}

#[test]
fn committers_that_rest_commit_every_op_and_busy_ones_many_at_once() {
    let commits =
        |ops| needs(&Demand { ops, database: Database::Sqlite, ..Demand::idle(10.0, 10.0) }, 1).commits;
    assert!((commits(1.0) - 1.0).abs() < 0.01);
    assert!(commits(100_000.0) <= 1.0 / MEASURED.sqlite_commit_seconds);
}

#[test]
fn a_room_is_on_as_many_nodes_as_its_members_find() {
    let memory = |members, nodes| needs(&Demand::idle(members, members), nodes).user_memory;
    let room = |nodes: u32, members: f64| {
        memory(members, nodes)
            - f64::from(nodes) * MEASURED.node_memory
            - members * MEASURED.guest
            - MEASURED.owner_room
    };
    assert!((room(10, 1.0) - MEASURED.mirror_room).abs() < 1.0);
    // Of ten members on ten nodes, some meet.
    assert!((room(10, 10.0) / MEASURED.mirror_room - 6.51).abs() < 0.01);
    assert!((room(3, 1_000.0) / MEASURED.mirror_room - 3.0).abs() < 0.01);
}

#[test]
fn many_nodes_are_told_by_one_message() {
    let sent = |nodes| {
        traffic::Traffic::of(&Demand { ops: 10.0, ..Demand::idle(1e5, 1e5) }, nodes, &MEASURED).bus_sent
    };
    assert!(sent(20) < sent(8), "{} {}", sent(20), sent(8));
}

#[test]
fn a_plan_says_what_is_met_first() {
    let plan = |demand, limits| Plan::new(demand, limits, &MEASURED).unwrap();
    let idle = plan(Demand::idle(100_000.0, 1_000.0), Limits::USUAL);
    assert_eq!(idle.breaks_first().unwrap().resource, Resource::Connections);
    // 70 % of 16,384 on each, and one to spare.
    assert_eq!(idle.nodes, 10);
    let crowd = Demand { ops: 2_000.0, ..Demand::idle(1_000.0, 1_000.0) };
    let crowd = plan(crowd, Limits::USUAL);
    assert_eq!(crowd.breaks_first_despite_nodes().unwrap().resource, Resource::RoomOps);
    let small = NodeSize { node_memory: 32e6, ..NodeSize::USUAL };
    let small = plan(Demand::idle(10_000.0, 10.0), Limits { node: small, ..Limits::USUAL });
    assert_eq!(small.breaks_first().unwrap().resource, Resource::Memory);
    assert!(small.holds());
}

#[test]
fn what_one_node_cannot_bear_is_told() {
    let alone = Demand { database: Database::Sqlite, ..Demand::idle(40_000.0, 10.0) };
    let alone = Plan::new(alone, Limits::USUAL, &MEASURED).unwrap();
    assert!(alone.nodes == 1 && !alone.holds());
    let refused = |demand, limits| Plan::new(demand, limits, &MEASURED).unwrap_err().to_string();
    assert!(refused(Demand::idle(1e9, 10.0), Limits::USUAL).contains("the connections of a node"));
    assert!(refused(Demand::idle(5.0, 10.0), Limits::USUAL).starts_with("members is out of bounds"));
    assert!(refused(Demand { ops: f64::NAN, ..Demand::idle(10.0, 10.0) }, Limits::USUAL).starts_with("ops"));
    assert_eq!(
        refused(Demand::idle(10.0, 10.0), Limits { fill: 0.0, ..Limits::USUAL }),
        "fill has to be above 0"
    );
}

#[test]
fn the_audiences_of_the_page_are_borne() {
    for audience in AUDIENCES {
        for size in SIZES {
            let plan = Plan::new((audience.demand)(size.connections), size.limits, &MEASURED).unwrap();
            let text = text::plan(&plan);
            assert!(text.contains("Breaks first: "), "{text}");
        }
    }
}

prop_compose! {
    fn demands()(
        connections in 10.0..1e6,
        share in 0.0..1.0,
        audience in 0.0..1.0,
        signed_in in 0.0..1.0,
        ops in 0.0..1e5,
        signals in 0.0..1e5,
        joins in 0.0..1e4,
        history in 0.0..1e5,
        payload in 0.0..4e3,
    ) -> Demand {
        let members = 1.0 + share * (connections - 1.0);
        Demand { audience, signed_in, ops, signals, joins, history, payload, ..Demand::idle(connections, members) }
    }
}

proptest! {
    #[test]
    fn more_of_anything_never_needs_less(demand in demands(), which in 0usize..6, factor in 1.0..5.0, nodes in 1u32..40) {
        let mut more = demand.clone();
        match which {
            // Of rooms that are as busy as before.
            0 => {
                more.connections *= factor;
                more.ops *= factor;
                more.signals *= factor;
            }
            1 => more.ops *= factor,
            2 => more.signals *= factor,
            3 => more.joins *= factor,
            4 => more.history *= factor,
            _ => more.payload *= factor,
        }
        prop_assert!(is_no_less(&needs(&more, nodes), &needs(&demand, nodes)), "{demand:?} {factor}");
    }

    /// Rooms know nothing of each other; but what is done for several at once is cheaper, and a node's own needs are there once.
    #[test]
    fn rooms_add_up(demand in demands(), nodes in 1u32..40) {
        let twice = Demand {
            connections: demand.connections * 2.0,
            ops: demand.ops * 2.0,
            signals: demand.signals * 2.0,
            joins: demand.joins * 2.0,
            ..demand.clone()
        };
        let nobody = needs(&Demand { connections: 0.0, ..Demand::idle(0.0, 1.0) }, nodes);
        let (apart, together) = (needs(&demand, nodes) + needs(&demand, nodes), needs(&twice, nodes) + nobody);
        prop_assert!(is_no_less(&apart, &together), "{apart:?} {together:?}");
        let is_twice = |of: fn(&Needs) -> f64| (of(&apart) - of(&together)).abs() <= 1e-9 * of(&apart);
        prop_assert!(is_twice(Needs::memory) && is_twice(|needs| needs.bytes_out) && is_twice(|needs| needs.bytes_in));
        prop_assert!(is_twice(|needs| needs.writes) && is_twice(|needs| needs.files) && is_twice(|needs| needs.bus_bytes));
    }

    #[test]
    fn what_is_planned_bears_it_though_nodes_are_lost(demand in demands(), spare in 0u32..3) {
        let limits = Limits { spare, ..Limits::USUAL };
        let Ok(plan) = Plan::new(demand, limits, &MEASURED) else { return Ok(()) };
        let carriers = f64::from(plan.nodes - spare);
        prop_assert!(carriers * limits.node.max_connections * limits.fill >= plan.demand.connections);
        prop_assert!(carriers * limits.node.node_memory >= needs(&plan.demand, plan.nodes - spare).memory());
        for load in plan.loads.iter().filter(|load| load.resource.more_nodes_help()) {
            prop_assert!(load.share() <= limits.fill, "{load:?}");
        }
        prop_assert!(plan.loads.is_sorted_by(|one, other| one.share() >= other.share()));
    }
}
