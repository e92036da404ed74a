//! Every metric that a node has: what it is called, what it means, and which values its label takes.
//!
//! What is not in here does not exist: a test compares this list with what the code counts, `docs/metrics.md` is made from it, and
//! alerts and panels may name nothing else. All of it is there from the start, at zero, so that a rate has a beginning.

use enfilade_proto::{CloseCode, ErrorCode};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// A label, and all values that it can have.
#[derive(Clone, Copy, Debug)]
struct Label {
    name: &'static str,
    /// Empty: they are not known before, and the metric is not there before it is counted.
    values: fn() -> Vec<&'static str>,
}

#[derive(Clone, Copy, Debug)]
struct Metric {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    label: Option<Label>,
    /// Whether every node has it. What a node does not have (a disk of its own) is not zero but absent.
    everywhere: bool,
}

const fn counter(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, help, label: None, everywhere: true }
}

const fn gauge(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, help, label: None, everywhere: true }
}

const fn histogram(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Histogram, help, label: None, everywhere: true }
}

impl Metric {
    const fn somewhere(self) -> Self {
        Self { everywhere: false, ..self }
    }

    const fn by(self, name: &'static str, values: fn() -> Vec<&'static str>) -> Self {
        Self { label: Some(Label { name, values }), ..self }
    }
}

fn close_reasons() -> Vec<&'static str> {
    CloseCode::ALL.iter().map(|code| code.reason()).collect()
}

fn error_codes() -> Vec<&'static str> {
    ErrorCode::ALL.iter().map(|code| code.as_str()).collect()
}

const METRICS: &[Metric] = &[
    // ---- the node
    gauge("enfilade_build_info", "1, with the version of the node")
        .by("version", || vec![env!("CARGO_PKG_VERSION")]),
    gauge(
        "enfilade_ready",
        "1 while the node may be given people and its database answers and writes, else 0",
    ),
    gauge("enfilade_draining", "1 from when the node began to leave, else 0"),
    gauge("enfilade_nodes", "Nodes of the cluster, as this one sees them")
        .by("state", || vec!["alive", "draining", "expired"]),
    histogram(
        "enfilade_runtime_delay_seconds",
        "How late a task ran that wanted to run once a second: what everything else waits as well",
    ),
    gauge("enfilade_cpu_seconds", "Seconds of CPU that the node has used, with fractions"),
    // ---- the edge
    gauge("enfilade_connections", "Connections of people who said hello"),
    gauge("enfilade_connections_limit", "Connections that the node may have"),
    counter("enfilade_hellos_total", "People who came in"),
    counter("enfilade_tls_handshakes_total", "TLS handshakes, and what became of them, on a node that decrypts by itself")
        .by("outcome", || vec!["ok", "failed", "late", "plain", "full"]),
    gauge(
        "enfilade_tls_certificate_expires_seconds",
        "When the edge's own certificate, or the first of its chain, is not good any more, in seconds since 1970",
    )
    .somewhere(),
    counter("enfilade_handshakes_refused_total", "Handshakes that were refused")
        .by("reason", || vec!["full", "no_upgrade", "version", "key", "origin", "subprotocol"]),
    counter(
        "enfilade_greetings_refused_total",
        "Connections that were closed before they had said a hello that holds",
    )
    .by("reason", close_reasons),
    counter("enfilade_closed_total", "Connections that the node closed").by("reason", close_reasons),
    counter("enfilade_moves_total", "People who were told to move to another node")
        .by("reason", || vec!["age", "drain"]),
    counter("enfilade_joins_total", "Joins of rooms that were answered"),
    counter("enfilade_refusals_total", "Requests that were refused").by("code", error_codes),
    counter("enfilade_received_bytes_total", "Bytes that came from clients"),
    counter("enfilade_sent_bytes_total", "Bytes that went to clients"),
    counter("enfilade_deliveries_total", "Writes of news to a member: what came in a tick, in one"),
    counter("enfilade_ops_sent_total", "Ops in those writes: each as often as it went to somebody who keeps up"),
    counter("enfilade_signals_sent_total", "Signals in those writes, likewise"),
    gauge("enfilade_sockets_blocked", "Connections whose sockets take nothing just now"),
    gauge(
        "enfilade_sockets_waiting_bytes",
        "Bytes of answers and resets that wait for sockets; what a connection misses of a room is not queued",
    ),
    gauge("enfilade_sockets_waiting_largest_bytes", "The same, of the connection for which most wait"),
    counter("enfilade_slow_total", "Steps down the ladder for those who read too slowly")
        .by("step", || vec!["signals_dropped", "caught_up", "reset", "closed"]),
    counter("enfilade_signals_total", "Signals that went to a room"),
    counter(
        "enfilade_signals_conflated_total",
        "Signals that a newer one of the same key replaced before they went",
    ),
    counter("enfilade_signals_dropped_total", "Signals for which there was no room in a tick"),
    counter(
        "enfilade_mirror_recoveries_total",
        "Times that a mirror noticed a loss and asked for what it lacked",
    ),
    counter("enfilade_hub_restarts_total", "Hubs that broke and were replaced"),
    // ---- ops
    counter("enfilade_ops_total", "Ops of clients that were answered, on the edge")
        .by("outcome", || vec!["accepted", "refused"]),
    histogram(
        "enfilade_op_ack_seconds",
        "From an op's arrival on the edge until it is on disk and its answer is being written",
    ),
    histogram(
        "enfilade_op_visible_seconds",
        "From an op's arrival on the edge until that edge has also written it to those in the room",
    ),
    histogram(
        "enfilade_op_delivered_seconds",
        "From when a room took an op, by the clock of its owner, until an edge, by its own, has written it to the members there: the \
         first op of each write, on every edge. As true as the clocks are alike; less than nothing counts as nothing",
    ),
    counter("enfilade_ops_committed_total", "Ops that were written to the log, on the host"),
    counter("enfilade_commits_total", "Commits").by("outcome", || vec!["ok", "error"]),
    histogram("enfilade_commit_seconds", "How long a commit takes"),
    gauge(
        "enfilade_commit_under_way_seconds",
        "For how long the commit that began first has been under way; 0 if none is",
    ),
    histogram("enfilade_commit_batches", "Rooms whose ops a commit carries"),
    gauge("enfilade_commits_waiting", "Rooms whose ops wait for a committer, when it last began a commit")
        .by("committer", Vec::new),
    counter(
        "enfilade_fences_total",
        "Batches that the database refused because another node owns the room's shard",
    ),
    counter("enfilade_spans_total", "Steps of traced ops, for the collector of OpenTelemetry")
        .by("outcome", || vec!["sent", "dropped", "failed"]),
    // ---- rooms and shards
    gauge("enfilade_rooms_awake", "Rooms that run on the node"),
    gauge(
        "enfilade_rooms_waiting_bytes",
        "Bytes of ops that wait in front of rooms and in them for their answers; beyond 128 MiB ops are refused",
    ),
    gauge(
        "enfilade_rooms_waiting_largest_bytes",
        "The same, of the room for which most wait; beyond 4 MiB its ops are refused",
    ),
    counter("enfilade_room_crashes_total", "Rooms that broke and were started anew"),
    counter("enfilade_rooms_quarantined_total", "Rooms that broke time and again and were set aside"),
    counter("enfilade_checkpoints_total", "Checkpoints").by("outcome", || vec!["ok", "error"]),
    histogram("enfilade_checkpoint_seconds", "How long a checkpoint takes"),
    gauge("enfilade_shards_owned", "Shards that the node owns, of 4,096"),
    counter(
        "enfilade_shards_claimed_total",
        "Shards that the node took over from nobody, or from a dead node",
    ),
    counter("enfilade_shards_handed_over_total", "Shards that the node handed to another"),
    histogram("enfilade_handover_seconds", "How long some shards stood still while they were handed over"),
    // ---- what the node depends on
    gauge("enfilade_database_up", "1 while the database answers, else 0; looked at every 5 seconds"),
    histogram(
        "enfilade_database_seconds",
        "How long the database takes for the smallest question, asked every 5 seconds",
    ),
    gauge("enfilade_database_waiting", "Callers that wait for a free connection to PostgreSQL")
        .by("pool", Vec::new),
    histogram(
        "enfilade_bus_round_trip_seconds",
        "How long it takes to NATS and back, behind what is on its way, tried every 5 seconds; only in a cluster",
    )
    .somewhere(),
    gauge("enfilade_bus_waiting_messages", "Messages that wait to be published; only in a cluster").somewhere(),
    gauge("enfilade_bus_waiting_bytes", "Bytes of them; beyond 64 MiB messages are dropped; only in a cluster")
        .somewhere(),
    gauge("enfilade_bus_connected", "1 while the connection to NATS holds, else 0; only in a cluster")
        .by("line", Vec::new),
    counter("enfilade_bus_reconnects_total", "Times that a connection to NATS was made again")
        .by("line", Vec::new),
    counter("enfilade_bus_gaps_total", "Times that a frame of another node was missing"),
    counter("enfilade_bus_dropped_total", "Messages to other nodes that were given up").by("reason", || {
        vec![
            "closed",
            "disconnected",
            "full",
            "incomplete",
            "malformed",
            "overrun",
            "refused",
            "uncoded",
            "unknown",
        ]
    }),
    counter("enfilade_bus_frames_total", "Frames between nodes").by("direction", || vec!["in", "out"]),
    counter("enfilade_bus_messages_total", "Messages between nodes, many to a frame")
        .by("direction", || vec!["in", "out"]),
    counter("enfilade_bus_bytes_total", "Bytes between nodes").by("direction", || vec!["in", "out"]),
    gauge(
        "enfilade_disk_free_bytes",
        "Bytes that are free where the SQLite database is; not with PostgreSQL",
    )
    .somewhere(),
    gauge("enfilade_disk_bytes", "Bytes that there are where the SQLite database is; not with PostgreSQL")
        .somewhere(),
    gauge(
        "enfilade_memory_limit_bytes",
        "Bytes of memory at which the node is killed, if its control group has a limit",
    )
    .somewhere(),
];

/// What the library metrics-process tells of any process.
#[cfg(test)]
const PROCESS: &[Metric] = &[
    counter("process_cpu_seconds_total", "Seconds of CPU that the process has used"),
    gauge("process_resident_memory_bytes", "Bytes of memory that the process has"),
    gauge("process_open_fds", "File descriptors that are open"),
    gauge("process_max_fds", "File descriptors that may be open"),
    gauge("process_start_time_seconds", "When the process began, in seconds since 1970"),
    gauge("process_threads", "Threads of the process"),
];

/// Describes all metrics, and sets what can be counted to zero.
pub(crate) fn register() {
    for metric in METRICS {
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(metric.name, metric.help),
            Kind::Gauge => metrics::describe_gauge!(metric.name, metric.help),
            Kind::Histogram => metrics::describe_histogram!(metric.name, metric.help),
        }
        match metric.label {
            None if metric.everywhere => begin(metric, Vec::new()),
            None => {}
            Some(label) => {
                (label.values)().into_iter().for_each(|value| begin(metric, vec![(label.name, value)]));
            }
        }
    }
}

fn begin(metric: &Metric, labels: Vec<(&'static str, &'static str)>) {
    match metric.kind {
        Kind::Counter => metrics::counter!(metric.name, &labels).increment(0),
        Kind::Gauge => metrics::gauge!(metric.name, &labels).increment(0.0),
        Kind::Histogram => drop(metrics::histogram!(metric.name, &labels)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// The metrics that the code counts: the names that follow the macros' names.
    fn counted(folder: &Path, found: &mut BTreeSet<(String, String)>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                counted(&path, found);
            } else if path.extension().is_some_and(|it| it == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                for kind in ["counter", "gauge", "histogram"] {
                    for after in text.split(&format!("metrics::{kind}!(")).skip(1) {
                        let Some(name) = after.trim_start().strip_prefix('"') else { continue };
                        let name = name.split('"').next().unwrap();
                        found.insert((name.to_owned(), kind.to_owned()));
                    }
                }
            }
        }
    }

    #[test]
    fn the_catalogue_has_what_the_code_counts_and_nothing_else() {
        let house = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut found = BTreeSet::new();
        for part in ["proto", "store", "actors", "node"] {
            counted(&house.join(part).join("src"), &mut found);
        }
        let listed: BTreeSet<(String, String)> = METRICS
            .iter()
            .map(|metric| (metric.name.to_owned(), format!("{:?}", metric.kind).to_lowercase()))
            .collect();
        assert_eq!(found, listed);
        assert_eq!(listed.len(), METRICS.len(), "a name is there twice");
    }

    #[test]
    fn the_page_of_metrics_is_made_from_the_catalogue() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/metrics.md");
        let mut text = String::from(
            "# Metrics\n\nWhat a node tells at `/metrics` on its operators' port. Written by `make bless` from `node/src/telemetry/catalogue.rs`.\n\n| metric | kind | label | what it is |\n|---|---|---|---|\n",
        );
        for metric in METRICS.iter().chain(PROCESS) {
            let label = metric.label.map(|label| format!("`{}`", label.name)).unwrap_or_default();
            let kind = format!("{:?}", metric.kind).to_lowercase();
            text += &format!("| `{}` | {kind} | {label} | {} |\n", metric.name, metric.help);
        }
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&page, &text).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&page).unwrap(), text, "run `make bless`");
    }
}
