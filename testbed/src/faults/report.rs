//! `docs/faults.md`: what was broken, what came of it, and on which machine, as Markdown.

use std::fmt::{self, Write as _};

use enfilade_loadtest::checker::{Invariant, Recovery};

use super::catalogue::{Act, Fault};
use super::measure::{Felt, Spread};
use super::oversight::Seen;
use super::setup::Setup;
use super::trial::{Outcome, violations};

/// The whole page.
#[derive(Clone, Debug, Default)]
pub struct Document {
    pub setup: Setup,
    /// Who drew, in words.
    pub load: String,
    pub rows: Vec<Row>,
    pub failover: Option<Failover>,
    pub comparison: Option<Comparison>,
}

/// A fault and what came of it.
#[derive(Clone, Debug)]
pub struct Row {
    pub title: String,
    pub result: Result<Figures, Missing>,
}

/// Why there are no figures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// This machine or user may not.
    Skipped(String),
    Failed(String),
}

/// A line of the table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    pub acknowledged: u64,
    pub lost: u64,
    pub doubled: u64,
    pub clients: usize,
    pub reconnected: usize,
    pub moved: usize,
    pub bystanders: usize,
    /// How long rooms stood still.
    pub stood_median_ms: f64,
    pub stood_max_ms: f64,
    /// The longest wait of each client.
    pub waits: Spread,
    /// Refused for good: what people saw as an error.
    pub refused: u64,
    pub restarts: usize,
    /// What operators saw, if somebody looked.
    pub seen: Option<Seen>,
    /// What was felt of every leg, by its name.
    pub legs: Vec<(&'static str, Felt)>,
    /// What was wrong, in words; empty if all held.
    pub wrong: Vec<String>,
}

/// The owner killed again and again.
#[derive(Clone, Debug, Default)]
pub struct Failover {
    /// Of each kill, how long the slowest of the owner's rooms stood still.
    pub stood_ms: Vec<f64>,
    pub reconnected: usize,
    pub bystanders: usize,
    pub figures: Figures,
}

/// The same replay on a cluster and on a single node.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    pub what: String,
    pub cluster: Measured,
    pub single: Measured,
}

/// One of the two.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    pub figures: Figures,
    /// What was measured, and its p50, p99 and maximum in milliseconds.
    pub latency: Vec<(String, Spread)>,
}

impl Measured {
    /// How long ops took until they were acknowledged.
    #[must_use]
    pub fn ack(&self) -> Option<Spread> {
        self.latency.iter().find(|(name, _)| name == super::compare::ACK).map(|(_, spread)| *spread)
    }
}

/// What is wrong with a trial; empty if all held.
#[must_use]
pub fn judge(fault: &Fault, outcome: &Outcome) -> Vec<String> {
    let mut wrong = judge_delivery(outcome);
    if outcome.audit.unchecked().contains(&Invariant::I11) {
        wrong.push("nothing was acknowledged after the fault".into());
    }
    wrong.extend(judge_waits(fault, outcome));
    let bystanders = outcome.felt.bystanders_lost;
    if fault.spares_bystanders() && bystanders > 0 {
        wrong.push(format!("{bystanders} clients of other nodes lost their connection"));
    }
    if fault.act == Act::RollingUpgrade && outcome.felt.lost > 0 {
        wrong.push(format!("{} clients lost their connection without being told to move", outcome.felt.lost));
    }
    if let (Some(visible), Some(seen)) = (&fault.visible, &outcome.done.seen) {
        wrong.extend(seen.lacks(visible, &outcome.done.struck));
    }
    wrong
}

/// Whether a client waited too long although its room went on for others.
#[must_use]
pub fn judge_waits(fault: &Fault, outcome: &Outcome) -> Option<String> {
    let limit = fault.patience_of_clients().mul_f64(outcome.patience).as_secs_f64() * 1e3;
    let longest = outcome.felt.waits.max;
    (longest > limit).then(|| format!("a client waited {}; {} are allowed", time(longest), time(limit)))
}

/// What every trial has to have something to judge on; otherwise it proves nothing.
const REQUIRED: [Invariant; 6] =
    [Invariant::I1, Invariant::I2, Invariant::I4, Invariant::I7, Invariant::I8, Invariant::I9];

/// What is wrong whatever was done.
#[must_use]
pub fn judge_delivery(outcome: &Outcome) -> Vec<String> {
    let oracle = outcome.replayed.oracle.violations.iter();
    let mut wrong: Vec<String> = oracle.map(|(kind, count)| format!("{count} {kind} (oracle)")).collect();
    for invariant in outcome.audit.violated() {
        let count = violations(&outcome.audit, invariant);
        wrong.push(format!("{count} × not {invariant} ({})", invariant.meaning()));
    }
    let unchecked = outcome.audit.unchecked();
    for invariant in REQUIRED.into_iter().filter(|invariant| unchecked.contains(invariant)) {
        wrong.push(format!("{invariant} could not be checked"));
    }
    if outcome.felt.refused > 0 {
        wrong.push(format!("{} ops refused for good", outcome.felt.refused));
    }
    wrong
}

impl Figures {
    #[must_use]
    pub fn of(outcome: &Outcome, wrong: Vec<String>) -> Self {
        let recoveries = outcome.audit.of(Invariant::I11).map_or(&[][..], |outcome| &outcome.recoveries);
        let worst = |of: fn(&Recovery) -> f64| recoveries.iter().map(of).fold(0.0, f64::max);
        Self {
            acknowledged: outcome.felt.accepted,
            lost: violations(&outcome.audit, Invariant::I2),
            doubled: violations(&outcome.audit, Invariant::I4),
            clients: outcome.felt.clients,
            reconnected: outcome.felt.lost,
            moved: outcome.felt.moved,
            bystanders: outcome.felt.bystanders_lost,
            stood_median_ms: worst(|recovery| recovery.median_ms),
            stood_max_ms: worst(|recovery| recovery.max_ms),
            waits: outcome.felt.waits,
            refused: outcome.felt.refused,
            legs: if outcome.done.legs.len() > 1 { outcome.legs.clone() } else { Vec::new() },
            restarts: outcome.done.restarts,
            seen: outcome.done.seen.clone(),
            wrong,
        }
    }
}

impl Document {
    /// Whether everything that was run held.
    #[must_use]
    pub fn all_held(&self) -> bool {
        let held = |figures: &Figures| figures.wrong.is_empty();
        let rows = self.rows.iter().all(|row| match &row.result {
            Ok(figures) => held(figures),
            Err(missing) => matches!(missing, Missing::Skipped(_)),
        });
        let failover = self.failover.as_ref().is_none_or(|failover| held(&failover.figures));
        let comparison = self
            .comparison
            .as_ref()
            .is_none_or(|comparison| held(&comparison.cluster.figures) && held(&comparison.single.figures));
        rows && failover && comparison
    }
}

impl fmt::Display for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# Faults\n")?;
        writeln!(
            f,
            "This page is written by the fault runner: `{}`, {}.\n",
            self.setup.command, self.setup.day
        )?;
        writeln!(f, "- Machine: {}", self.setup.machine)?;
        writeln!(f, "- Versions: {}", self.setup.versions.join("; "))?;
        writeln!(f, "- Load: {}\n", self.load)?;
        if !self.rows.is_empty() {
            self.write_faults(f)?;
        }
        for figures in self.rows.iter().filter_map(|row| row.result.as_ref().ok()) {
            if !figures.legs.is_empty() {
                write_upgrade(f, figures)?;
            }
        }
        if let Some(failover) = &self.failover {
            write_failover(f, failover)?;
        }
        if let Some(comparison) = &self.comparison {
            write_comparison(f, comparison)?;
        }
        Ok(())
    }
}

impl Document {
    fn write_faults(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "## What was broken, and what came of it\n")?;
        writeln!(f, "{LEGEND}\n")?;
        writeln!(
            f,
            "| what was done | acknowledged | lost | doubled | reconnected / moved | of other nodes | rooms stood still: \
             median, worst | longest wait of a client: p50, p99, max | what operators saw | verdict |"
        )?;
        writeln!(f, "|---|--:|--:|--:|--:|--:|--:|--:|---|---|")?;
        for row in &self.rows {
            match &row.result {
                Ok(figures) => writeln!(f, "| {} | {} |", row.title, cells(figures))?,
                Err(Missing::Skipped(why)) => {
                    writeln!(f, "| {} | | | | | | | | | skipped: {why} |", row.title)?;
                }
                Err(Missing::Failed(why)) => {
                    writeln!(f, "| {} | | | | | | | | | **failed**: {} |", row.title, one_line(why))?;
                }
            }
        }
        writeln!(f)
    }
}

const LEGEND: &str = "\
Every fault has a new cluster: three nodes behind HAProxy, each with links of its own to PostgreSQL and NATS that the runner can delay, \
cut and swallow; or a single node with SQLite where the row says so. A recorded drawing session is replayed all the while; the load \
tester's oracle follows every client, and afterwards the checker holds the log against all that clients were promised and shown (its \
invariants I1 to I12 are explained in `loadtest/FORMAT.md`). *Lost*: acknowledged, but not in the log. *Doubled*: in the log more than \
once. *Reconnected*: clients that had to connect again, not counting those that were told to *move*; *of other nodes*: those of them whose \
node was not struck. A room *stands still* while ops wait in it and none is answered. *What operators saw*, where that is judged: when the \
first node that was struck said at `/readyz` that it is not ready (or was not there), when other nodes owned everything, and which of the \
chart's alerts fired in a Prometheus that read the nodes' metrics, with every time in the rules divided by 60: for it a minute is a second.";

fn cells(figures: &Figures) -> String {
    let Figures { acknowledged, lost, doubled, clients, reconnected, moved, bystanders, waits, .. } = figures;
    let verdict = if figures.wrong.is_empty() { "held".to_owned() } else { figures.wrong.join("; ") };
    let verdict = if figures.wrong.is_empty() { verdict } else { format!("**violated**: {verdict}") };
    let restarts = match figures.restarts {
        0 => String::new(),
        1 => " (a node restarted itself)".into(),
        times => format!(" (nodes restarted themselves {times} times)"),
    };
    format!(
        "{acknowledged} | {lost} | {doubled} | {reconnected} / {moved} of {clients} | {bystanders} | {}, {} | {}, {}, {} |{} | {verdict}{restarts}",
        time(figures.stood_median_ms),
        time(figures.stood_max_ms),
        time(waits.p50),
        time(waits.p99),
        time(waits.max),
        figures.seen.as_ref().map(|seen| format!(" {seen}")).unwrap_or_default(),
    )
}

fn write_upgrade(f: &mut fmt::Formatter<'_>, figures: &Figures) -> fmt::Result {
    writeln!(f, "## A rolling upgrade and back\n")?;
    writeln!(
        f,
        "Three nodes of the release before this one, under the same load. Each in turn gets SIGTERM, leaves, and starts as this \
         version, beside the others, on the same database and NATS; then the same way back, on the schema that this version made. The \
         *gap* of a client is the longest that it waited for the answer to an op. Acknowledged {}, lost {}, doubled {}, errors shown {}.\n",
        figures.acknowledged, figures.lost, figures.doubled, figures.refused,
    )?;
    writeln!(f, "| leg | gap p50 | p99 | max | clients told to move | clients that lost their connection |")?;
    writeln!(f, "|---|--:|--:|--:|--:|--:|")?;
    for (name, felt) in &figures.legs {
        let Spread { p50, p99, max, .. } = felt.waits;
        let gap = [p50, p99, max].map(time).join(" | ");
        writeln!(f, "| {name} | {gap} | {} of {} | {} |", felt.moved, felt.clients, felt.lost)?;
    }
    writeln!(f)
}

fn write_failover(f: &mut fmt::Formatter<'_>, failover: &Failover) -> fmt::Result {
    let spread = Spread::of(failover.stood_ms.clone());
    writeln!(f, "## The owner killed {} times\n", failover.stood_ms.len())?;
    writeln!(
        f,
        "`kill -9` of the owner of a room, again and again, under the same load; each time the node is started again after 5 s. \
         Until the slowest room answered again: median {}, worst {}. {} connections of the killed nodes' clients broke, and {} of other \
         nodes' clients. Acknowledged {}, lost {}, doubled {}: {}.\n",
        time(spread.p50),
        time(spread.max),
        failover.reconnected - failover.bystanders,
        failover.bystanders,
        failover.figures.acknowledged,
        failover.figures.lost,
        failover.figures.doubled,
        if failover.figures.wrong.is_empty() {
            "everything held".to_owned()
        } else {
            format!("**violated**: {}", failover.figures.wrong.join("; "))
        },
    )?;
    let each: Vec<String> = failover.stood_ms.iter().map(|ms| time(*ms)).collect();
    writeln!(f, "Each in turn: {}.\n", each.join(", "))
}

fn write_comparison(f: &mut fmt::Formatter<'_>, comparison: &Comparison) -> fmt::Result {
    writeln!(f, "## Three nodes beside one\n")?;
    writeln!(f, "{}\n", comparison.what)?;
    writeln!(
        f,
        "| ms, from the planned time | three nodes: p50 | p99 | max | one node, SQLite: p50 | p99 | max |"
    )?;
    writeln!(f, "|---|--:|--:|--:|--:|--:|--:|")?;
    for (name, cluster) in &comparison.cluster.latency {
        let single = comparison.single.latency.iter().find(|(other, _)| other == name);
        let single = single.map(|(_, spread)| *spread).unwrap_or_default();
        let mut line = format!("| {name} ");
        for spread in [cluster, &single] {
            // Text grows as long as there is memory.
            let _ = write!(line, "| {:.1} | {:.1} | {:.1} ", spread.p50, spread.p99, spread.max);
        }
        writeln!(f, "{line}|")?;
    }
    let verdict = |name: &str, figures: &Figures| {
        let held = if figures.wrong.is_empty() { "0 violations".into() } else { figures.wrong.join("; ") };
        format!("{name}: {} ops acknowledged, {held}", figures.acknowledged)
    };
    let (cluster, single) = (&comparison.cluster.figures, &comparison.single.figures);
    writeln!(f, "\n{}. {}.\n", verdict("Three nodes", cluster), verdict("One node", single))
}

/// As many digits as mean something.
pub(super) fn time(ms: f64) -> String {
    if ms >= 1_000.0 { format!("{:.2} s", ms / 1e3) } else { format!("{ms:.0} ms") }
}

fn one_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures() -> Figures {
        Figures {
            acknowledged: 1_234,
            clients: 40,
            reconnected: 13,
            stood_median_ms: 12.4,
            stood_max_ms: 1_204.0,
            waits: Spread { count: 40, p50: 9.0, p99: 1_250.0, max: 1_300.0 },
            ..Figures::default()
        }
    }

    fn document() -> Document {
        let row = |title: &str, result| Row { title: title.into(), result };
        Document {
            setup: Setup {
                command: "enfilade-faults run".into(),
                day: "2026-01-01".into(),
                machine: "2 cores".into(),
                versions: vec!["enfilade 0.1.0".into(), "nats-server: v2".into()],
            },
            load: "40 people".into(),
            rows: vec![
                row("`kill -9`", Ok(figures())),
                row("netns", Err(Missing::Skipped("not root".into()))),
            ],
            failover: Some(Failover { stood_ms: vec![900.0, 1_100.0, 700.0], ..Failover::default() }),
            comparison: None,
        }
    }

    #[test]
    fn the_page_says_what_was_measured_and_on_what() {
        let text = document().to_string();
        for expected in [
            "`enfilade-faults run`, 2026-01-01",
            "- Versions: enfilade 0.1.0; nats-server: v2",
            "| `kill -9` | 1234 | 0 | 0 | 13 / 0 of 40 | 0 | 12 ms, 1.20 s | 9 ms, 1.25 s, 1.30 s | | held |",
            "| netns | | | | | | | | | skipped: not root |",
            "median 900 ms, worst 1.10 s",
            "Each in turn: 900 ms, 1.10 s, 700 ms.",
        ] {
            assert!(text.contains(expected), "{expected}\n{text}");
        }
        assert!(!text.contains("Three nodes beside one"));
    }

    #[test]
    fn an_upgrade_has_a_section_with_a_line_for_each_way() {
        let felt = |p99| Felt {
            clients: 40,
            moved: 39,
            waits: Spread { p99, ..Spread::default() },
            ..Felt::default()
        };
        let legs = vec![("upgrade", felt(210.0)), ("back", felt(190.0))];
        let mut document = document();
        document.rows[0].result = Ok(Figures { legs, refused: 3, ..figures() });
        let text = document.to_string();
        assert!(text.contains("## A rolling upgrade and back"), "{text}");
        assert!(text.contains("Acknowledged 1234, lost 0, doubled 0, errors shown 3."), "{text}");
        assert!(text.contains("| upgrade | 0 ms | 210 ms | 0 ms | 39 of 40 | 0 |"), "{text}");
        assert!(text.contains("| back | 0 ms | 190 ms | 0 ms | 39 of 40 | 0 |"), "{text}");
    }

    #[test]
    fn one_violation_or_failure_spoils_the_whole_and_is_said() {
        assert!(document().all_held());
        let mut violated = document();
        violated.rows[0].result = Ok(Figures { wrong: vec!["2 × I2".into()], ..figures() });
        assert!(!violated.all_held());
        assert!(violated.to_string().contains("**violated**: 2 × I2 |"));
        let mut failed = document();
        failed.rows[0].result = Err(Missing::Failed("no | owner\nand more".into()));
        assert!(!failed.all_held());
        assert!(failed.to_string().contains("**failed**: no \\| owner |"));
        let mut failover = document();
        failover.failover = Some(Failover {
            figures: Figures { wrong: vec!["x".into()], ..figures() },
            ..Failover::default()
        });
        assert!(!failover.all_held());
    }
}
