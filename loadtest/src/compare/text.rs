//! A comparison as a table.

use std::fmt::{self, Write as _};

use super::{Change, Comparison, Row, Subject};
use crate::report::classes::describe;
use crate::report::units;

#[must_use]
pub fn render(comparison: &Comparison) -> String {
    let mut text = String::new();
    // A String takes everything.
    let _ = write(&mut text, comparison);
    text
}

fn write(f: &mut String, comparison: &Comparison) -> fmt::Result {
    let [base, with] = comparison.runs;
    writeln!(f, "{}: {base} run{} against {with}", comparison.name, if base == 1 { "" } else { "s" })?;
    writeln!(f, "\n{:<40}{:>12}{:>12}{:>9}   95 % interval", "", "first", "second", "change")?;
    let mut group = None;
    for row in &comparison.rows {
        let this = row.group();
        if group.as_deref() != Some(this) {
            writeln!(f, "{this}")?;
            group = Some(this.to_owned());
        }
        write_row(f, row)?;
    }
    for (i, note) in comparison.notes.iter().enumerate() {
        writeln!(f, "{}{note}", if i == 0 { "\n" } else { "" })?;
    }
    writeln!(f, "\n{}", verdict(comparison))
}

fn write_row(f: &mut String, row: &Row) -> fmt::Result {
    let word = match row.change {
        Change::Better => "better",
        Change::Worse => "WORSE",
        Change::Same => "",
        Change::Other => "other",
    };
    let [base, with] = row.values();
    let interval =
        row.interval.map(|[low, high]| format!("{} to {}", percent(low), percent(high))).unwrap_or_default();
    let line = format!(
        "  {:<38}{base:>12}{with:>12}{:>9}   {interval:<20} {word}",
        row.name(),
        percent(row.ratio())
    );
    writeln!(f, "{}", line.trim_end())
}

/// In a sentence.
#[must_use]
pub fn verdict(comparison: &Comparison) -> String {
    let limit = comparison.tolerance * 100.0;
    match comparison.regressions() {
        _ if comparison.invalid => "Not comparable: a run is invalid.".into(),
        0 => format!("Nothing got worse by more than {limit} % and chance."),
        1 => format!("One figure got worse by more than {limit} % and chance."),
        more => format!("{more} figures got worse by more than {limit} % and chance."),
    }
}

impl Row {
    #[must_use]
    pub fn group(&self) -> &str {
        match &self.subject {
            Subject::Latency { class, .. } => describe(class),
            Subject::Figure(_) => "figures",
        }
    }

    #[must_use]
    pub fn name(&self) -> String {
        match &self.subject {
            Subject::Latency { percentile, .. } => (*percentile).to_owned(),
            Subject::Figure(name) => units::words(name),
        }
    }

    /// Of both sides, with their unit.
    #[must_use]
    pub fn values(&self) -> [String; 2] {
        [self.base, self.with].map(|value| match &self.subject {
            Subject::Latency { .. } => units::milliseconds(value),
            Subject::Figure(name) => units::figure(name, value),
        })
    }
}

/// A ratio as a change: `+12.3 %`.
#[must_use]
pub fn percent(ratio: f64) -> String {
    let change = (ratio - 1.0) * 100.0;
    match change {
        c if !c.is_finite() => "new".into(),
        c if c.abs() < 0.05 => "0 %".into(),
        c if c < 0.0 => format!("−{:.1} %", -c),
        c if c >= 900.0 => format!("×{ratio:.1}"),
        c => format!("+{c:.1} %"),
    }
}
