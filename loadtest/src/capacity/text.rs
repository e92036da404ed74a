//! Plans and comparisons for a terminal.

use std::fmt::Write as _;

use super::check::Comparison;
use super::demand::{Database, Demand};
use super::limits::Load;
use super::plan::Plan;
use crate::report::units::{bytes, digits, short, whole};

/// What it needs, and what breaks first.
#[must_use]
pub fn plan(plan: &Plan) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name:<24}{value}");
    };
    let Plan { demand, needs, nodes, limits, .. } = plan;
    line("demand", self::demand(demand));
    line("nodes", nodes_in_words(plan));
    line(
        "memory",
        format!(
            "{} of the nodes, {} of the kernel for sockets",
            bytes(needs.user_memory),
            bytes(needs.kernel_memory)
        ),
    );
    line(
        "CPU",
        format!("{} cores for connections, {} for rooms", digits(needs.edge_cores), digits(needs.host_cores)),
    );
    line("network", format!("{}/s out, {}/s in", bytes(needs.bytes_out), bytes(needs.bytes_in)));
    line("open files", whole(needs.files.round() as u64));
    line("commits", format!("{}/s", short(needs.commits.round())));
    let log = format!("{}/s of its log", bytes(needs.database_log_bytes));
    line(
        "database",
        format!("{} a day, {log}{}", bytes(needs.database_bytes_a_day), cores(demand, needs.database_cores)),
    );
    if demand.database == Database::Postgres {
        let messages = short(needs.bus_messages.round());
        line(
            "NATS",
            format!("{messages} messages/s, {}/s{}", bytes(needs.bus_bytes), cores(demand, needs.bus_cores)),
        );
    }
    text.push('\n');
    for load in &plan.loads {
        let _ = writeln!(
            text,
            "{:>6.1} %  {}: {} of {}",
            load.share() * 100.0,
            load.resource,
            short(load.used),
            short(load.limit)
        );
    }
    text.push('\n');
    if let Some(load) = plan.breaks_first() {
        let _ = writeln!(text, "Breaks first: {}", sentence(load));
    }
    if let Some(load) = plan.breaks_first_despite_nodes() {
        let _ = writeln!(text, "With more and more nodes: {}", sentence(load));
    }
    if *nodes > limits.spare && !plan.holds() {
        let _ = writeln!(text, "This is more than {} % of what there is.", digits(limits.fill * 100.0));
    }
    text
}

fn demand(demand: &Demand) -> String {
    format!(
        "{} connections in {} rooms of {}; {} ops/s, {} signals/s",
        whole(demand.connections.round() as u64),
        whole(demand.rooms().round() as u64),
        short(demand.members),
        short(demand.ops),
        short(demand.signals)
    )
}

fn nodes_in_words(plan: &Plan) -> String {
    match (plan.demand.database, plan.limits.spare) {
        (Database::Sqlite, _) => "1, with SQLite".into(),
        (Database::Postgres, 0) => whole(u64::from(plan.nodes)),
        (Database::Postgres, spare) => {
            format!("{}, of which {spare} may be lost", whole(u64::from(plan.nodes)))
        }
    }
}

fn cores(demand: &Demand, cores: f64) -> String {
    match demand.database {
        Database::Sqlite => String::new(),
        Database::Postgres => format!(", {} cores", digits(cores)),
    }
}

/// `memory of a node, at 1.6 times this; add nodes`.
#[must_use]
pub fn sentence(load: &Load) -> String {
    format!("{}, at {} times this: {}", load.resource, digits(1.0 / load.share()), load.resource.remedy())
}

/// Each figure, predicted and measured.
#[must_use]
pub fn comparisons(comparisons: &[Comparison]) -> String {
    let mut text = format!("{:<24}{:>14}{:>14}{:>8}{:>9}\n", "", "predicted", "measured", "÷", "within");
    for comparison in comparisons {
        let Comparison { figure, predicted, measured, factor } = comparison;
        let verdict = if comparison.holds() { "" } else { "  WRONG" };
        let _ = writeln!(
            text,
            "{figure:<24}{:>14}{:>14}{:>8.2}{factor:>9}{verdict}",
            short(*predicted),
            short(*measured),
            comparison.ratio()
        );
    }
    text
}
