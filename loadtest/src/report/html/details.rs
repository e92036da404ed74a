//! Tables: the thresholds, what servers and generator used, and with what the run was made.

use maud::{Markup, html};

use crate::report::units;
use crate::result::{RunResult, ServerUsage};
use crate::threshold::value_in_words;

pub(super) fn thresholds(result: &RunResult) -> Markup {
    html! {
        @if !result.thresholds.is_empty() {
            section {
                h2 { "Thresholds" }
                table.thresholds {
                    thead { tr { th { "Threshold" } th.number { "Is" } th { "" } } }
                    tbody {
                        @for threshold in &result.thresholds {
                            tr class=(if threshold.held { "held" } else { "missed" }) {
                                th scope="row" { code { (threshold.expression) } }
                                td.number { (value_in_words(threshold)) }
                                td.state { (if threshold.held { "held" } else { "missed" }) }
                            }
                        }
                    }
                }
            }
        }
    }
}

pub(super) fn usage(result: &RunResult) -> Markup {
    let generator = &result.generator;
    html! {
        section {
            h2 { "What it took" }
            div.scroll {
                table {
                    thead { tr {
                        th { "Process" }
                        @for name in ["CPU", "Cores busy", "Memory before", "at most", "after", "Sent", "Received"] { th.number { (name) } }
                    } }
                    tbody {
                        @for server in &result.server_usage { (server_row(server, result.seconds)) }
                        tr {
                            th scope="row" {
                                "Load generator" @if generator.workers > 1 { ", " (generator.workers) " workers" }
                            }
                            td.number { (units::seconds(generator.cpu_seconds)) }
                            td.number { (format!("{:.2}", generator.cores)) }
                            td.number { "" }
                            td.number { (units::bytes(generator.memory_bytes as f64)) }
                            @for _ in 0..3 { td.number { "" } }
                        }
                    }
                }
            }
            p.lead { "The generator itself was late by " (units::milliseconds(generator.lag_p99_ms)) " at the 99th percentile, which the latencies include." }
            (nodes(result))
            (figures(result))
        }
    }
}

fn server_row(server: &ServerUsage, seconds: f64) -> Markup {
    let optional = |bytes: Option<u64>| bytes.map(|bytes| units::bytes(bytes as f64)).unwrap_or_default();
    html! {
        tr {
            th scope="row" { (server.name) }
            td.number { (units::seconds(server.cpu_seconds)) }
            td.number { (format!("{:.2}", if seconds > 0.0 { server.cpu_seconds / seconds } else { 0.0 })) }
            @for size in [server.memory_before, server.memory_peak, server.memory_after] { td.number { (units::bytes(size as f64)) } }
            @for bytes in [server.bytes_sent, server.bytes_received] { td.number { (optional(bytes)) } }
        }
    }
}

fn nodes(result: &RunResult) -> Markup {
    html! {
        @if result.nodes.len() > 1 {
            h3 { "By node" }
            div.scroll {
                table {
                    thead { tr {
                        th { "Node" }
                        @for name in ["Connections", "Ops accepted", "p50", "p99", "Max"] { th.number { (name) } }
                    } }
                    tbody {
                        @for (name, node) in &result.nodes {
                            tr {
                                th scope="row" { (name) }
                                @for count in [node.connections, node.ops_accepted] { td.number { (units::whole(count)) } }
                                @for ms in [node.accepted_p50_ms, node.accepted_p99_ms, node.accepted_max_ms] {
                                    td.number { (units::milliseconds(ms)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Everything that was counted or computed; few want it, so it is folded away.
fn figures(result: &RunResult) -> Markup {
    let figures =
        result.figures.iter().map(|(name, value)| (units::words(name), units::figure(name, *value)));
    let counts = result.counts.iter().filter(|(_, count)| **count > 0);
    let counts = counts.map(|(name, count)| (units::words(name), units::figure(name, *count as f64)));
    html! {
        @if !(result.figures.is_empty() && result.counts.is_empty()) {
            details {
                summary { "All figures and counts" }
                dl.pairs { @for (name, value) in figures.chain(counts) { div { dt { (name) } dd { (value) } } } }
            }
        }
    }
}

pub(super) fn parameters(result: &RunResult) -> Markup {
    let scenario = &result.scenario;
    html! {
        section {
            h2 { "How it was run" }
            @if !scenario.command.is_empty() { pre { code { (scenario.command) } } }
            dl.pairs {
                @for (name, value) in crate::report::parameters(scenario) { div { dt { (name) } dd { (value) } } }
                div { dt { "seed" } dd { (scenario.seed) } }
            }
            @if !result.rooms.is_empty() {
                details {
                    summary { (units::whole(result.rooms.len() as u64)) " room" @if result.rooms.len() > 1 { "s" } " and the state in which they were left" }
                    ol.examples {
                        @for room in result.rooms.iter().take(200) { li { (room.room) " at " (room.seq) ", " (room.state_hash) } }
                    }
                }
            }
        }
        footer { "Written by enfilade-loadtest " (env!("CARGO_PKG_VERSION")) ", format " (result.format) "." }
    }
}
