//! What is measured, as data: add a row here.

use super::load::{Load, Server, Subject};
use super::row::{Figure, How, Line, Row, Shot, Target, Unit};

const NODE: Subject = Subject { server: Server::Node, pinned: false };
const FLOOR: Subject = Subject { server: Server::Floor, pinned: false };

/// All rows, in the order of the table.
#[must_use]
pub fn all() -> Vec<Row> {
    let mut rows = memory();
    rows.extend(quiet());
    rows.extend([saturated(), rooms_signals(), rooms_ops()]);
    rows.extend(storms());
    rows.extend([slow(), owner(), recording(), disorder()]);
    rows
}

/// # Errors
/// When there is no such row; says so.
pub fn named(name: &str) -> Result<Row, String> {
    let row = all().into_iter().find(|row| row.name == name);
    row.ok_or_else(|| format!("there is no row {name:?}; --list says what there is"))
}

/// The row that is the sum of all others.
pub const DISORDER: &str = "disorder";

fn shot(name: &'static str, on: Subject, load: Load) -> Shot {
    Shot { name, on, load }
}

fn line(name: &'static str, figure: Figure, unit: Unit, target: Option<Target>) -> Line {
    Line { name, figure, unit, target }
}

fn told(name: &'static str, reading: &'static str, unit: Unit) -> Line {
    line(name, Figure::Of(reading), unit, None)
}

fn memory() -> Vec<Row> {
    let row = |name, title, peer, kind: fn(Load) -> Load, most| {
        let idle = |rooms, members| kind(Load::run("idle", rooms, members).seconds(1));
        let bytes = |name, reading| line(name, Figure::Of(reading), Unit::Bytes, Some(Target::AtMost(most)));
        Row {
            name,
            title,
            peer,
            how: How::Shots(vec![
                shot("crowds", NODE, idle(15, 1_000)),
                shot("small", NODE, idle(1_500, 10)),
            ]),
            lines: vec![
                bytes("in rooms of 1,000", "crowds.memory_per_connection_bytes"),
                bytes("in rooms of 10", "small.memory_per_connection_bytes"),
            ],
        }
    };
    const BARE: &str = "Bun 2.4 KB (a bare socket), `ws` 7.4, nchan 10, Centrifugo 27 (published)";
    vec![
        row(
            "memory-signed-in",
            "memory per idle connection, 15,000 of them, signed in and joined",
            BARE,
            Load::signed_in,
            2_400.0,
        ),
        row("memory-guest", "memory per idle connection, 15,000 guests, joined", BARE, |load| load, 2_400.0),
        row(
            "memory-audience",
            "memory per idle connection, an anonymous audience of 15,000",
            BARE,
            |load| load.flags(&["--audience"]),
            1_000.0,
        ),
    ]
}

/// Deliveries a second in each of the quiet rooms.
const QUIET: f64 = 50_000.0;
/// What a server does with a second of its CPU, beside what the floor does.
const WORK: Figure = Figure::Ratio("node.deliveries_per_cpu_second", "floor.deliveries_per_cpu_second");

fn quiet() -> Vec<Row> {
    let row = |name, title, peer, members: u32, least| {
        let load = Load::run("fanout", 1, members).rate(QUIET / f64::from(members)).seconds(8);
        Row {
            name,
            title,
            peer,
            how: How::Shots(vec![shot("node", NODE, load.clone()), shot("floor", FLOOR, load)]),
            lines: vec![
                line("÷ floor", WORK, Unit::Ratio, Some(Target::AtLeast(least))),
                told("the node", "node.deliveries_per_cpu_second", Unit::PerSecond),
                told("signal → heard, p99", "node.signal.p99", Unit::Milliseconds),
                told("the floor's", "floor.signal.p99", Unit::Milliseconds),
            ],
        }
    };
    vec![
        row(
            "quiet-100",
            "deliveries per CPU second in a quiet room of 100, 50,000 deliveries/s",
            "Bun 0.97, nchan 0.75, axum 0.71",
            100,
            0.95,
        ),
        row(
            "quiet-1000",
            "deliveries per CPU second in a quiet room of 1,000, 50,000 deliveries/s",
            "Bun 0.83–0.98, nchan 0.57–0.74, axum 0.59–0.71",
            1_000,
            0.95,
        ),
        row(
            "quiet-5000",
            "deliveries per CPU second in a quiet room of 5,000, 50,000 deliveries/s",
            "Bun 0.97, nchan 0.64, axum 0.63",
            5_000,
            0.95,
        ),
        row(
            "quiet-10000",
            "deliveries per CPU second in a quiet room of 10,000, 50,000 deliveries/s",
            "Bun 0.74–0.86, nchan 0.65–0.68, axum 0.59",
            10_000,
            0.9,
        ),
    ]
}

fn saturated() -> Row {
    let on = |server| Subject { server, pinned: true };
    let load = |start| {
        Load::search("fanout", 1, 1_000, start).flags(&["--min-delivered", "0.99", "--max-p99", "200ms"])
    };
    Row {
        name: "saturated",
        title: "highest rate for a room of 1,000 on one core, ≥ 99 % delivered, p99 ≤ 200 ms",
        peer: "Bun 18, tuned axum 6.5, socketioxide 3, nchan 0.8; a coalescing bare loop 30",
        how: How::Shots(vec![
            shot("node", on(Server::Node), load(6_000.0)),
            shot("floor", on(Server::Floor), load(350.0)),
            shot("coalescing", on(Server::Coalescing), load(8_000.0)),
        ]),
        lines: vec![
            line(
                "÷ floor",
                Figure::Ratio("node.highest_rate", "floor.highest_rate"),
                Unit::Ratio,
                Some(Target::AtLeast(20.0)),
            ),
            line(
                "÷ coalescing floor",
                Figure::Ratio("node.highest_rate", "coalescing.highest_rate"),
                Unit::Ratio,
                None,
            ),
            told("the node, messages", "node.highest_rate", Unit::PerSecond),
        ],
    }
}

fn rooms_signals() -> Row {
    let load = Load::run("rooms", 1_000, 10).rate(5_000.0);
    Row {
        name: "rooms-signals",
        title: "deliveries per CPU second, 1,000 rooms of 10 in which everybody speaks",
        peer: "Bun 0.72–0.79",
        how: How::Shots(vec![shot("node", NODE, load.clone()), shot("floor", FLOOR, load)]),
        lines: vec![
            line("÷ floor", WORK, Unit::Ratio, Some(Target::AtLeast(0.85))),
            told("signal → heard, p99", "node.signal.p99", Unit::Milliseconds),
            told("the floor's", "floor.signal.p99", Unit::Milliseconds),
        ],
    }
}

fn rooms_ops() -> Row {
    let most = Some(Target::AtMost(5.0));
    let beyond = |name, reading| line(name, Figure::Beyond(reading, "commit.p99"), Unit::Milliseconds, most);
    Row {
        name: "rooms-ops",
        title: "1,000 rooms of 10 in which everybody writes ops (SQLite, on disk before anybody sees them), half of what holds",
        peer: "nobody offers it",
        how: How::HalfLoad {
            search: Load::search("rooms", 1_000, 10, 1_000.0).flags(&[
                "--speech",
                "ops",
                "--min-delivered",
                "1",
                "--max-p99",
                "200ms",
            ]),
            half: Load::run("rooms", 1_000, 10).flags(&["--speech", "ops"]),
        },
        lines: vec![
            told("highest rate with p99 ≤ 200 ms, ops", "search.highest_rate", Unit::PerSecond),
            told("the database's commit, p99", "commit.p99", Unit::Milliseconds),
            told("op → acknowledged, p99", "half.ack.p99", Unit::Milliseconds),
            told("op → visible, p99", "half.each.p99", Unit::Milliseconds),
            beyond("op → acknowledged, beyond the commit", "half.ack.p99"),
            beyond("op → visible, beyond the commit", "half.each.p99"),
        ],
    }
}

fn storms() -> Vec<Row> {
    let storm = |rooms, members| Load::run("storm", rooms, members).seconds(1);
    let soon = Some(Target::AtMost(0.2));
    let back = |name, reading, target| line(name, Figure::Of(reading), Unit::Seconds, target);
    let beside = |name, node, floor| line(name, Figure::Ratio(node, floor), Unit::Ratio, None);
    vec![
        Row {
            name: "storm-anonymous",
            title: "5,000 guests vanish and reconnect at once, until all are joined again",
            peer: "rooms of 10: nchan 0.16–0.21 s, tuned axum 0.16 s, Bun 2.1 s",
            how: How::Shots(vec![
                shot("small", NODE, storm(500, 10)),
                shot("small-floor", FLOOR, storm(500, 10)),
                shot("crowds", NODE, storm(5, 1_000)),
                shot("crowds-floor", FLOOR, storm(5, 1_000)),
            ]),
            lines: vec![
                back("rooms of 10", "small.storm_seconds", soon),
                back("rooms of 10, the floor", "small-floor.storm_seconds", None),
                beside("rooms of 10, ÷ floor", "small.storm_seconds", "small-floor.storm_seconds"),
                back("rooms of 1,000", "crowds.storm_seconds", soon),
                back("rooms of 1,000, the floor", "crowds-floor.storm_seconds", None),
                beside("rooms of 1,000, ÷ floor", "crowds.storm_seconds", "crowds-floor.storm_seconds"),
            ],
        },
        Row {
            name: "storm-signed-in",
            title: "5,000 signed-in people vanish and reconnect at once, until all are joined again",
            peer: "–",
            how: How::Shots(vec![
                shot("small", NODE, storm(500, 10).signed_in()),
                shot("crowds", NODE, storm(5, 1_000).signed_in()),
            ]),
            lines: vec![
                back("rooms of 10", "small.storm_seconds", None),
                back("rooms of 1,000", "crowds.storm_seconds", None),
            ],
        },
        Row {
            name: "storm-resume",
            title: "15,000 in rooms of 10 vanish and resume where they were; they write before and after",
            peer: "–",
            how: How::Shots(vec![shot(
                "node",
                NODE,
                storm(1_500, 10).rate(600.0).seconds(3).flags(&[
                    "--speech",
                    "ops",
                    "--speakers",
                    "1",
                    "--resume",
                ]),
            )]),
            lines: vec![
                line("ops lost", Figure::Of("node.oracle.lost"), Unit::Count, Some(Target::AtMost(0.0))),
                back("all are back after", "node.storm_seconds", None),
            ],
        },
    ]
}

fn slow() -> Row {
    let load = |share| {
        let load = Load::run("slow", 1, 1_000).rate(100.0).seconds(6);
        load.flags(if share { &["--slow-share", "0.05"] } else { &["--slow-share", "0"] })
    };
    const NOISE: &str = "still.signal_p99_during_to_before";
    Row {
        name: "slow",
        title: "5 % of a room of 1,000 stop reading: p99 of the others, meanwhile ÷ before",
        peer: "not published by anyone",
        how: How::Shots(vec![shot("slow", NODE, load(true)), shot("still", NODE, load(false))]),
        lines: vec![
            line(
                "5 % stop reading",
                Figure::Of("slow.signal_p99_during_to_before"),
                Unit::Ratio,
                Some(Target::WithinNoiseOf(NOISE)),
            ),
            told("nobody does (the noise)", NOISE, Unit::Ratio),
            line(
                "memory, its peak ÷ that of the run in which nobody does",
                Figure::Ratio("slow.server.memory_peak", "still.server.memory_peak"),
                Unit::Ratio,
                None,
            ),
            line(
                "memory, its peak above the beginning",
                Figure::Beyond("slow.server.memory_peak", "slow.server.memory_before"),
                Unit::Bytes,
                None,
            ),
        ],
    }
}

fn owner() -> Row {
    let ops = |members| {
        Load::run("fanout", 1, members).rate(20.0).seconds(15).flags(&["--speech", "ops", "--max-lag", "1s"])
    };
    let micros = |name, reading| told(name, reading, Unit::Microseconds);
    Row {
        name: "owner-cpu",
        title: "the owner's CPU per op, all members on an edge of another node (PostgreSQL, NATS), 20 ops/s",
        peer: "–",
        how: How::Owner(vec![
            ("idle", Load::run("idle", 1, 100).seconds(8)),
            ("100", ops(100)),
            ("1000", ops(1_000)),
            ("10000", ops(10_000)),
        ]),
        lines: vec![
            micros("100 members", "100.cpu_us_per_op"),
            micros("1,000 members", "1000.cpu_us_per_op"),
            micros("10,000 members", "10000.cpu_us_per_op"),
            micros("100 members and no ops, each second", "idle.cpu_us_per_second"),
            line(
                "10,000 ÷ 100",
                Figure::Ratio("10000.cpu_us_per_op", "100.cpu_us_per_op"),
                Unit::Ratio,
                Some(Target::AtMost(1.2)),
            ),
        ],
    }
}

fn recording() -> Row {
    let wrong = |name, reading| line(name, Figure::Of(reading), Unit::Count, Some(Target::AtMost(0.0)));
    let ack = |name, reading| told(name, reading, Unit::Milliseconds);
    Row {
        name: "recording",
        title: "200 people in 20 rooms replay a recorded session through HAProxy",
        peer: "–",
        how: How::Recording,
        lines: vec![
            wrong("single node: kinds of violations", "single.wrong"),
            wrong("cluster of three: kinds of violations", "cluster.wrong"),
            ack("single node: op → acknowledged, p99", "single.ack.p99"),
            ack("cluster of three: op → acknowledged, p99", "cluster.ack.p99"),
        ],
    }
}

fn disorder() -> Row {
    let none = |name, reading| line(name, Figure::Of(reading), Unit::Count, Some(Target::AtMost(0.0)));
    Row {
        name: DISORDER,
        title: "disorder and loss, in all runs above",
        peer: "socketioxide 8.6 % out of order",
        how: How::Sum,
        lines: vec![
            none("violations", "sum.violations"),
            none("lost joins", "sum.lost_joins"),
            none("rounds that failed", "sum.failed"),
        ],
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_row_has_a_name_of_its_own() {
        let names: BTreeSet<&str> = all().iter().map(|row| row.name).collect();
        assert_eq!(names.len(), all().len());
        assert!(names.iter().all(|name| named(name).is_ok_and(|row| row.name == *name)));
        assert!(named("moon").unwrap_err().contains("--list"));
    }

    #[test]
    fn lines_read_what_their_shots_give() {
        for row in all() {
            assert!(!row.lines.is_empty(), "{}", row.name);
            let shots: Vec<&str> = match &row.how {
                How::Shots(shots) => shots.iter().map(|shot| shot.name).collect(),
                How::HalfLoad { .. } => vec!["search", "half", "commit"],
                How::Owner(loads) => loads.iter().map(|(name, _)| *name).collect(),
                How::Recording => vec!["single", "cluster"],
                How::Sum => vec!["sum"],
            };
            for reading in row.lines.iter().flat_map(|line| line.figure.readings()) {
                let (shot, _) = reading.split_once('.').unwrap();
                assert!(shots.contains(&shot), "{}: {reading}", row.name);
            }
        }
    }

    #[test]
    fn floors_are_asked_only_for_what_they_can_do() {
        for row in all() {
            let How::Shots(shots) = row.how else { continue };
            for Shot { on, load, .. } in shots.iter().filter(|shot| shot.on.server != Server::Node) {
                assert!(!load.signed_in && load.flags.iter().all(|flag| *flag != "--speech"), "{on:?}");
            }
        }
    }
}
