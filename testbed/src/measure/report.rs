//! `docs/measured.md`: the table, and how each row came about.
//!
//! Pure.

use std::fmt::{self, Write as _};

use enfilade_loadtest::report::units;

use super::book::{Book, Record};
use super::catalogue::DISORDER;
use super::judge::{self, Judged, Verdict};
use super::load::{Load, SERVERS_CORE, Server, TESTERS_CORE};
use super::row::{How, Line, Row, Shot, Target, Unit};
use super::stage::NODE_FLAGS;
use crate::faults::setup::Setup;

/// The whole page: the rows that there are, with what is in the book.
#[derive(Debug)]
pub struct Page<'a> {
    pub rows: &'a [Row],
    pub book: &'a Book,
}

const HEAD: &str = "\
# Measured

This page is written by `make measure`. Load tester, servers and the floor share the machine and speak over loopback, so ratios of the same \
round are worth more than the figures that they are made of. *The floor* is the least that a server can do: one thread, bare epoll, one \
`write` per message and member. A figure is the median over the rounds; in each round every server was started anew and measured once, the \
node and the floor in turns. What others reach was measured earlier, on another machine of two cores (Xeon), by a load generator that is not \
part of the project, unless it says *published*: its ratios are to the floor of those runs, its seconds are of that machine.";

const QUICK: &str = "**With small counts, to show that the commands work: the figures say nothing.**";

impl fmt::Display for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEAD}\n")?;
        if self.book.quick {
            writeln!(f, "{QUICK}\n")?;
        }
        let setup = self.usual_setup();
        writeln!(f, "- Machine: {}", setup.machine)?;
        writeln!(f, "- Versions, where a row does not say others: {}\n", setup.versions.join("; "))?;
        writeln!(f, "| what | median | lowest – highest | best of others | target | |")?;
        writeln!(f, "|---|--:|--:|---|--:|---|")?;
        let measured: Vec<(&Row, Record)> =
            self.rows.iter().filter_map(|row| Some((row, self.record(row)?))).collect();
        for (row, record) in &measured {
            write_row(f, row, record)?;
        }
        writeln!(f, "\n## How\n")?;
        writeln!(
            f,
            "The node is `enfilade serve {}` on an empty folder, with SQLite.\n",
            NODE_FLAGS.join(" ")
        )?;
        for (row, record) in measured.iter().filter(|(row, _)| row.name != DISORDER) {
            write_how(f, row, record, &setup)?;
        }
        Ok(())
    }
}

impl Page<'_> {
    /// Of the row that was measured last.
    fn usual_setup(&self) -> Setup {
        let setups = self.book.rows.values().map(|record| &record.setup);
        setups.max_by_key(|setup| &setup.day).cloned().unwrap_or_default()
    }

    /// None: it was not measured yet.
    fn record(&self, row: &Row) -> Option<Record> {
        match row.how {
            How::Sum => (!self.book.rows.is_empty()).then(|| judge::sum(self.book)),
            _ => self.book.rows.get(row.name).cloned(),
        }
    }
}

fn write_row(f: &mut fmt::Formatter<'_>, row: &Row, record: &Record) -> fmt::Result {
    writeln!(f, "| **{}** | | | {} | | |", row.title, row.peer)?;
    for (line, judged) in row.lines.iter().zip(judge::judge(row, record)) {
        let (median, range) = match judged.value {
            Some(value) => {
                let [median, min, max] = [value.median, value.min, value.max].map(|x| number(x, line.unit));
                (median, format!("{min} – {max}"))
            }
            None => ("–".to_owned(), String::new()),
        };
        let target = line.target.map(|target| wanted(target, line, row)).unwrap_or_default();
        writeln!(f, "| {} | {median} | {range} | | {target} | {} |", line.name, verdict(&judged))?;
    }
    Ok(())
}

fn verdict(judged: &Judged) -> &'static str {
    match (judged.verdict, judged.value) {
        (Verdict::Told, _) => "",
        (Verdict::Met, _) => "met",
        (Verdict::Missed, Some(_)) => "**not met**",
        (Verdict::Missed, None) => "**not measured**",
    }
}

fn wanted(target: Target, line: &Line, row: &Row) -> String {
    match target {
        Target::AtLeast(least) => format!("≥ {}", number(least, line.unit)),
        Target::AtMost(most) => format!("≤ {}", number(most, line.unit)),
        Target::WithinNoiseOf(reading) => {
            let noise = row.lines.iter().find(|line| line.figure.readings().eq([reading]));
            format!("≤ 1, or highest of “{}”", noise.map_or(reading, |line| line.name))
        }
    }
}

/// As people read it.
#[must_use]
pub fn number(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Ratio => format!("{value:.2}"),
        Unit::Bytes => units::bytes(value),
        Unit::Milliseconds => units::milliseconds(value),
        Unit::Seconds => units::milliseconds(value * 1e3),
        Unit::Microseconds => units::milliseconds(value / 1e3),
        Unit::PerSecond => format!("{}/s", units::rate(value)),
        Unit::Count => units::whole(value.max(0.0).round() as u64),
    }
}

fn write_how(f: &mut fmt::Formatter<'_>, row: &Row, record: &Record, usual: &Setup) -> fmt::Result {
    let rounds = record.rounds.len();
    let valid = record.valid().count();
    writeln!(f, "### {}\n", row.name)?;
    let rounds_in_words = match (rounds, valid) {
        (1, 1) => "1 round".to_owned(),
        (1, _) => "1 round, which does not count".to_owned(),
        (rounds, valid) if rounds == valid => format!("{rounds} rounds"),
        (rounds, valid) => format!("{rounds} rounds, of which {valid} count"),
    };
    let setup = &record.setup;
    write!(f, "{}, {rounds_in_words}", setup.day)?;
    if (&setup.machine, &setup.versions) != (&usual.machine, &usual.versions) {
        write!(f, "; on {}; {}", setup.machine, setup.versions.join("; "))?;
    }
    writeln!(f, ".\n")?;
    for command in &record.commands {
        writeln!(f, "- {command}")?;
    }
    let mut told = String::new();
    for (number, round) in (1..).zip(&record.rounds) {
        if let Some(why) = &round.failed {
            writeln!(told, "- Round {number} **failed**: {}", one_line(why))?;
        }
        for reason in &round.invalid {
            writeln!(told, "- Round {number} does not count: {}", one_line(reason))?;
        }
        for remark in &round.remarks {
            writeln!(told, "- Round {number}: {}", one_line(remark))?;
        }
    }
    write!(f, "{told}")?;
    writeln!(f)
}

fn one_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// What a round of a row is, as it can be typed again.
#[must_use]
pub fn commands(row: &Row, sized: impl Fn(&Load) -> Load, people: u32) -> Vec<String> {
    let typed = |load: &Load, against: &str| {
        let load = sized(load);
        let people =
            if load.signed_in { format!(" --people FILE` of {people} people") } else { "`".to_owned() };
        let arguments = load.arguments().join(" ");
        format!("`enfilade-loadtest {arguments} --url URL --pid PID{people}, against {against}")
    };
    match &row.how {
        How::Shots(shots) => shots.iter().map(|shot| typed(&shot.load, &subject(shot))).collect(),
        How::HalfLoad { search, half } => vec![
            format!("{} (in the first round)", typed(search, "the node")),
            format!("{} at half the rate that was found", typed(half, "the node")),
            "commits: `enfilade_commit_seconds` of the node's `/metrics` after that run, interpolated within its buckets"
                .to_owned(),
        ],
        How::Owner(loads) => {
            let against = "the edge (`--roles edge`), with the PID of the owner (`--roles host`)";
            loads.iter().map(|(_, load)| typed(load, against)).collect()
        }
        How::Recording => vec![
            "`enfilade-loadtest replay samples/house-and-garden.enfilade.ndjson`, judged by its oracle and by the \
             checker as in `make faults`"
                .to_owned(),
        ],
        How::Sum => Vec::new(),
    }
}

fn subject(shot: &Shot) -> String {
    let server = match shot.on.server {
        Server::Node => "the node",
        Server::Floor => "the floor",
        Server::Coalescing => "the floor with `--coalesce`",
    };
    if shot.on.pinned {
        format!("{server} on core {SERVERS_CORE}, the load tester on core {TESTERS_CORE}")
    } else {
        server.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::book::Round;
    use super::super::catalogue::{self, named};
    use super::*;

    fn book() -> Book {
        let round = |node: f64, floor: f64| Round {
            readings: [
                ("node.deliveries_per_cpu_second".to_owned(), node),
                ("floor.deliveries_per_cpu_second".to_owned(), floor),
            ]
            .into(),
            ..Round::default()
        };
        let late = Round { invalid: vec!["node: It was late.\nVery.".into()], ..Round::default() };
        let record = Record {
            setup: Setup {
                command: "enfilade-measure".into(),
                day: "2026-01-01".into(),
                machine: "2 cores".into(),
                versions: vec!["enfilade 0.1.0".into()],
            },
            commands: commands(&named("quiet-1000").unwrap(), Load::clone, 0),
            rounds: vec![round(97.0, 100.0), round(94_000.0, 100_000.0), round(96.0, 100.0), late],
        };
        Book { quick: false, rows: [("quiet-1000".to_owned(), record)].into() }
    }

    #[test]
    fn the_page_says_what_came_out_and_how() {
        let (rows, mut book) = (catalogue::all(), book());
        let text = Page { rows: &rows, book: &book }.to_string();
        for expected in [
            "| ÷ floor | 0.96 | 0.94 – 0.97 | | ≥ 0.95 | met |",
            "| violations | 0 | 0 – 0 | | ≤ 0 | met |",
            "- Machine: 2 cores\n- Versions, where a row does not say others: enfilade 0.1.0\n",
            "2026-01-01, 4 rounds, of which 3 count.",
            "- `enfilade-loadtest run fanout --rooms 1 --members 1000 --rate 50 --warm-up 1s --measure 8s --url URL --pid \
             PID`, against the floor",
            "- Round 4 does not count: node: It was late.\n",
        ] {
            assert!(text.contains(expected), "{expected}\n{text}");
        }
        assert!(!text.contains("quiet-5000") && !text.contains(QUICK), "{text}");
        book.quick = true;
        assert!(Page { rows: &rows, book: &book }.to_string().contains(QUICK));
    }

    #[test]
    fn what_is_missed_stands_out() {
        let (rows, mut book) = (catalogue::all(), book());
        let record = book.rows.get_mut("quiet-1000").unwrap();
        record.rounds.iter_mut().for_each(|round| round.violations = 1);
        record.rounds.truncate(2);
        let text = Page { rows: &rows, book: &book }.to_string();
        assert!(text.contains("| violations | 2 | 2 – 2 | | ≤ 0 | **not met** |"), "{text}");
        book.rows.get_mut("quiet-1000").unwrap().rounds.clear();
        let text = Page { rows: &rows, book: &book }.to_string();
        assert!(text.contains("| ÷ floor | – |  | | ≥ 0.95 | **not measured** |"), "{text}");
    }

    #[test]
    fn every_row_can_be_typed_again() {
        for row in catalogue::all().iter().filter(|row| row.name != DISORDER) {
            let commands = commands(row, Load::clone, 3_000);
            assert!(commands.iter().all(|command| command.contains('`')), "{}", row.name);
            assert!(!commands.is_empty(), "{}", row.name);
        }
        let signed_in = commands(&named("storm-signed-in").unwrap(), Load::clone, 3_000);
        assert!(
            signed_in[0].ends_with("--people FILE` of 3000 people, against the node"),
            "{}",
            signed_in[0]
        );
        let pinned = commands(&named("saturated").unwrap(), Load::clone, 0);
        assert!(pinned[2].ends_with("the floor with `--coalesce` on core 0, the load tester on core 1"));
    }

    #[test]
    fn numbers_have_units() {
        let numbers = [
            number(2_400.0, Unit::Bytes),
            number(0.2, Unit::Seconds),
            number(12.0, Unit::Microseconds),
            number(0.954, Unit::Ratio),
            number(0.0, Unit::Count),
            number(12_345.0, Unit::PerSecond),
        ];
        assert_eq!(numbers, ["2.40 KB", "200 ms", "12.0 µs", "0.95", "0", "12,345/s"]);
    }
}
