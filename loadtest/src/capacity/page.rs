//! The tables of `docs/capacity.md`: the constants, and what three audiences of three sizes need.

use std::fmt::Write as _;

use super::constants::{Constant, Constants};
use super::demand::Demand;
use super::limits::{Limits, Load, NodeSize};
use super::plan::{Plan, PlanError};
use crate::report::units::{bytes, digits, short, whole};

/// So many connections, on nodes of a size that suits them.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub connections: f64,
    pub limits: Limits,
}

pub const SIZES: [Size; 3] = [
    Size { connections: 10_000.0, limits: Limits::USUAL },
    Size { connections: 100_000.0, limits: large(8.0, 16.0) },
    Size { connections: 1_000_000.0, limits: large(64.0, 128.0) },
];

/// Nodes of 16 cores and 32 GiB.
const fn large(bus_cores: f64, database_cores: f64) -> Limits {
    let node = NodeSize {
        max_connections: 100_000.0,
        node_memory: 32.0 * NodeSize::USUAL.node_memory,
        node_cores: 16.0,
        node_bandwidth: 1e10,
        ..NodeSize::USUAL
    };
    Limits { node, bus_cores, database_cores, ..Limits::USUAL }
}

/// How long somebody stays: so many come each second that as many are always there.
const STAY_SECONDS: f64 = 1_200.0;

/// Who comes, and what they do.
#[derive(Clone, Copy, Debug)]
pub struct Audience {
    pub title: &'static str,
    pub demand: fn(connections: f64) -> Demand,
}

/// Half of the people are signed in.
pub const AUDIENCES: [Audience; 3] = [
    Audience {
        title: "Boards of 10: one draws at a time, 0.5 ops/s and 10 signals/s a board",
        demand: boards,
    },
    Audience { title: "Rooms of 1,000: five draw, 2 ops/s and 20 signals/s a room", demand: halls },
    Audience {
        title: "One audience: up to 100,000 watch each room, five draw, 2 ops/s and 20 signals/s a room",
        demand: stadiums,
    },
];

fn people(connections: f64, members: f64, ops: f64, signals: f64) -> Demand {
    let rooms = connections / members;
    Demand {
        signed_in: 0.5,
        ops: ops * rooms,
        signals: signals * rooms,
        joins: connections / STAY_SECONDS,
        // Of a small room hardly two are on the same node: what it keeps is what one of them sees.
        history: if members < 100.0 { ops * STAY_SECONDS } else { 4_096.0 },
        tls: true,
        ..Demand::idle(connections, members)
    }
}

fn boards(connections: f64) -> Demand {
    people(connections, 10.0, 0.5, 10.0)
}

fn halls(connections: f64) -> Demand {
    people(connections, 1_000.0, 2.0, 20.0)
}

fn stadiums(connections: f64) -> Demand {
    let members = connections.min(100_000.0);
    Demand { audience: 1.0 - 5.0 / members, ..people(connections, members, 2.0, 20.0) }
}

/// All constants.
#[must_use]
pub fn constants(constants: &Constants) -> String {
    let mut table = String::from("| constant | | value | measured by |\n|---|---|--:|---|\n");
    for Constant { name, meaning, value, unit, how } in constants.rows() {
        let how = if how.is_empty() { "set in the code" } else { how };
        // Writing to a string does not fail.
        let _ = writeln!(table, "| `{name}` | {meaning} | {} | {how} |", quantity(value, unit));
    }
    table
}

fn quantity(value: f64, unit: &str) -> String {
    match unit {
        "B" => bytes(value),
        "s" if value < 1e-3 => format!("{} µs", digits(value * 1e6)),
        "s" if value < 1.0 => format!("{} ms", digits(value * 1e3)),
        "s" => format!("{} s", digits(value)),
        unit => format!("{} {unit}", short(value)),
    }
}

/// What each audience needs, in every size.
///
/// # Errors
/// When one cannot be planned.
pub fn audiences(constants: &Constants) -> Result<String, PlanError> {
    let mut text = String::new();
    for Audience { title, demand } in AUDIENCES {
        let plans: Vec<Plan> = SIZES
            .into_iter()
            .map(|size| Plan::new(demand(size.connections), size.limits, constants))
            .collect::<Result<_, _>>()?;
        let _ = write!(text, "**{title}**\n\n{}\n", table(&plans));
    }
    // One blank line at the end is enough.
    text.pop();
    Ok(text)
}

fn table(plans: &[Plan]) -> String {
    let mut table = row("connections", plans, |plan| whole(plan.demand.connections.round() as u64));
    let _ = writeln!(table, "|---|{}", "--:|".repeat(plans.len()));
    let mut add = |name: &str, value: fn(&Plan) -> String| table.push_str(&row(name, plans, value));
    add("each node", |plan| {
        let node = &plan.limits.node;
        format!("{} cores, {} GiB", node.node_cores, node.node_memory / NodeSize::USUAL.node_memory)
    });
    add("nodes, one of them spare", |plan| whole(u64::from(plan.nodes)));
    add("memory, user and kernel", |plan| {
        format!("{} + {}", bytes(plan.needs.user_memory), bytes(plan.needs.kernel_memory))
    });
    add("cores for connections, for rooms", |plan| {
        format!("{}, {}", digits(plan.needs.edge_cores), digits(plan.needs.host_cores))
    });
    add("network out, in", |plan| format!("{}, {}", bits(plan.needs.bytes_out), bits(plan.needs.bytes_in)));
    add("writes to connections", |plan| format!("{}/s", short(plan.needs.writes.round())));
    add("ops, commits", |plan| {
        format!("{}/s, {}/s", short(plan.demand.ops.round()), short(plan.needs.commits.round()))
    });
    add("PostgreSQL: cores, growth, log", |plan| {
        let needs = &plan.needs;
        let (day, log) = (bytes(needs.database_bytes_a_day), bytes(needs.database_log_bytes));
        format!("{}, {day} a day, {log}/s", digits(needs.database_cores))
    });
    add("NATS: cores, messages, network", |plan| {
        let needs = &plan.needs;
        format!(
            "{}, {}/s, {}",
            digits(needs.bus_cores),
            short(needs.bus_messages.round()),
            bits(needs.bus_bytes)
        )
    });
    add("breaks first", |plan| broken(plan.breaks_first()));
    add("… with more and more nodes", |plan| broken(plan.breaks_first_despite_nodes()));
    table
}

fn row(name: &str, plans: &[Plan], value: impl Fn(&Plan) -> String) -> String {
    let cells: Vec<String> = plans.iter().map(value).collect();
    format!("| {name} | {} |\n", cells.join(" | "))
}

fn broken(load: Option<&Load>) -> String {
    load.map_or_else(
        || "nothing".into(),
        |load| format!("{}, at {} ×", load.resource, digits(1.0 / load.share())),
    )
}

/// Networks are counted in bits.
fn bits(bytes_a_second: f64) -> String {
    bytes(bytes_a_second * 8.0).replace('B', "bit/s")
}
