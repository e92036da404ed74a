//! A result as text, for a terminal or a log.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use super::classes::{describe, in_order};
use super::{parameters, praise, units};
use crate::result::{Percentiles, RunResult, ScenarioSummary};
use crate::threshold::value_in_words;

/// Beyond these a reader wants the JSON.
const EXAMPLES: usize = 20;
const NODES: usize = 16;
const ROOMS: usize = 3;

#[must_use]
pub fn render(result: &RunResult) -> String {
    let mut text = String::new();
    // A String takes everything.
    let _ = write(&mut text, result);
    text
}

fn write(f: &mut String, result: &RunResult) -> fmt::Result {
    writeln!(f, "\n{}, {}", headline(&result.scenario), units::seconds(result.seconds))?;
    write_counts(f, result)?;
    write_figures(f, &result.figures)?;
    write_latencies(f, result)?;
    write_usage(f, result)?;
    for (name, node) in result.nodes.iter().take(NODES) {
        writeln!(
            f,
            "node       {name}: {} connections, {} ops accepted, p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms",
            node.connections,
            node.ops_accepted,
            node.accepted_p50_ms,
            node.accepted_p99_ms,
            node.accepted_max_ms
        )?;
    }
    for room in result.rooms.iter().take(ROOMS) {
        writeln!(f, "room       {} at {}, state {}", room.room, room.seq, room.state_hash)?;
    }
    for fault in &result.faults {
        writeln!(f, "fault      {:.1} s to {:.1} s: {}", fault.from, fault.to, fault.label)?;
    }
    write_oracle(f, result)?;
    write_thresholds(f, result)?;
    write_verdict(f, result)
}

/// The scenario and its parameters in a line.
#[must_use]
pub fn headline(scenario: &ScenarioSummary) -> String {
    let mut line = format!("{} ({})", scenario.name, scenario.kind);
    let mut separator = ": ";
    for (name, value) in parameters(scenario) {
        let _ = write!(line, "{separator}{name} {value}");
        separator = ", ";
    }
    let _ = write!(line, "{separator}seed {}", scenario.seed);
    line
}

/// Counts whose names begin alike share a line: `ops  10 submitted, 9 accepted`.
fn write_counts(f: &mut String, result: &RunResult) -> fmt::Result {
    let mut groups: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, count) in result.counts.iter().filter(|(_, count)| **count > 0) {
        let split = name.split_once('_').filter(|(first, _)| {
            result
                .counts
                .keys()
                .filter(|other| other.split_once('_').is_some_and(|(start, _)| start == *first))
                .count()
                > 1
        });
        let (group, rest) = split.unwrap_or(("total", name));
        let amount = if group == "bytes" { units::bytes(*count as f64) } else { units::whole(*count) };
        let rate = result.per_second(*count);
        let rate = if group == "bytes" { units::bytes(rate) } else { units::rate(rate) };
        groups.entry(group).or_default().push(format!("{amount} {} ({rate}/s)", units::words(rest)));
    }
    for (group, counts) in groups {
        for (i, part) in counts.chunks(4).enumerate() {
            writeln!(f, "{:<10} {}", if i == 0 { group } else { "" }, part.join(", "))?;
        }
    }
    Ok(())
}

fn write_figures(f: &mut String, figures: &BTreeMap<String, f64>) -> fmt::Result {
    if figures.is_empty() {
        return Ok(());
    }
    writeln!(f)?;
    let width = figures.keys().map(|name| units::words(name).chars().count()).max().unwrap_or(0);
    for (name, value) in figures {
        writeln!(f, "{:<width$}  {:>12}", units::words(name), units::figure(name, *value))?;
    }
    Ok(())
}

fn write_latencies(f: &mut String, result: &RunResult) -> fmt::Result {
    if result.latency.is_empty() {
        return Ok(());
    }
    write!(f, "\n{:<30}{:>10}", "ms, from the planned time", "count")?;
    ["p50", "p90", "p99", "p99.9", "max"].iter().try_for_each(|name| write!(f, "{name:>10}"))?;
    writeln!(f)?;
    for (class, latency) in in_order(&result.latency) {
        write_row(f, describe(class), &latency.corrected)?;
        if let Some(raw) = &latency.raw {
            write_row(f, "  from the actual sending", raw)?;
        }
    }
    writeln!(f)
}

fn write_row(f: &mut String, name: &str, times: &Percentiles) -> fmt::Result {
    write!(f, "{name:<30}{:>10}", times.count)?;
    for value in [times.p50, times.p90, times.p99, times.p99_9, times.max] {
        write!(f, "{value:>10.2}")?;
    }
    writeln!(f)
}

fn write_usage(f: &mut String, result: &RunResult) -> fmt::Result {
    let generator = &result.generator;
    writeln!(
        f,
        "generator  {:.2} cores busy, {}, lag p99 {:.2} ms, {} worker{}",
        generator.cores,
        units::bytes(generator.memory_bytes as f64),
        generator.lag_p99_ms,
        generator.workers,
        if generator.workers == 1 { "" } else { "s" }
    )?;
    for server in &result.server_usage {
        let [before, peak, after] = [server.memory_before, server.memory_peak, server.memory_after]
            .map(|size| units::bytes(size as f64));
        writeln!(
            f,
            "server     {}: {:.2} s of CPU, memory {before} before, {peak} at most, {after} after",
            server.name, server.cpu_seconds
        )?;
    }
    Ok(())
}

fn write_oracle(f: &mut String, result: &RunResult) -> fmt::Result {
    let oracle = &result.oracle;
    if oracle.total() == 0 {
        return writeln!(f, "oracle     no violations");
    }
    let counts: Vec<String> =
        oracle.violations.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    writeln!(
        f,
        "oracle     {}; lost: {} at the beginning, {} in the middle, {} at the end",
        counts.join(", "),
        oracle.lost_prefix,
        oracle.lost_middle,
        oracle.lost_postfix
    )?;
    oracle.examples.iter().take(EXAMPLES).try_for_each(|example| writeln!(f, "           {example}"))
}

fn write_thresholds(f: &mut String, result: &RunResult) -> fmt::Result {
    for threshold in &result.thresholds {
        let value = value_in_words(threshold);
        let mark = if threshold.held { "held" } else { "MISSED" };
        writeln!(f, "threshold  {mark:<6} {} (is {value})", threshold.expression)?;
    }
    Ok(())
}

fn write_verdict(f: &mut String, result: &RunResult) -> fmt::Result {
    let cut = if result.interrupted { " (interrupted)" } else { "" };
    let why = if result.reasons.is_empty() { praise(result) } else { result.reasons.join(" ") };
    writeln!(f, "\n{}{cut}: {why}", result.verdict.as_str())
}
