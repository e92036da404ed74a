//! Medians over the rounds, and whether they are what they have to be.
//!
//! Pure.

use enfilade_loadtest::median::median;

use super::book::{Book, Record, Round};
use super::catalogue::DISORDER;
use super::row::{Figure, Line, Row, Target};

/// The ratio of what did not change.
const UNCHANGED: f64 = 1.0;

/// A line with what came out.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    pub line: &'static str,
    /// None: fewer than half of the rounds, or none, mean something.
    pub value: Option<Spread>,
    pub verdict: Verdict,
}

/// What the rounds gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Met,
    Missed,
    /// There is no target.
    Told,
}

/// A row's lines, by what was recorded of it.
#[must_use]
pub fn judge(row: &Row, record: &Record) -> Vec<Judged> {
    row.lines.iter().map(|line| judge_line(line, record)).collect()
}

/// Whether every line of a row that has a target meets it.
#[must_use]
pub fn is_met(row: &Row, record: &Record) -> bool {
    judge(row, record).iter().all(|judged| judged.verdict != Verdict::Missed)
}

fn judge_line(line: &Line, record: &Record) -> Judged {
    let values: Vec<f64> = record.valid().filter_map(|round| figure(line.figure, round)).collect();
    // Readings of the first round only count as well; what most rounds could not give does not.
    let enough = !values.is_empty() && record.valid().count() * 2 > record.rounds.len();
    let value = enough.then(|| Spread::of(&values));
    let met = |target| value.is_some_and(|value| holds(target, value.median, record));
    let verdict = match line.target {
        None => Verdict::Told,
        Some(target) if !record.has_failed() && met(target) => Verdict::Met,
        Some(_) => Verdict::Missed,
    };
    Judged { line: line.name, value, verdict }
}

fn holds(target: Target, median: f64, record: &Record) -> bool {
    match target {
        Target::AtLeast(least) => median >= least,
        Target::AtMost(most) => median <= most,
        Target::WithinNoiseOf(reading) => {
            let noise = record.valid().filter_map(|round| round.readings.get(reading)).copied();
            // A run that happened to get quicker does not ask that of the others.
            noise.reduce(f64::max).is_some_and(|most| median <= most.max(UNCHANGED))
        }
    }
}

fn figure(figure: Figure, round: &Round) -> Option<f64> {
    let reading = |name: &str| round.readings.get(name).copied();
    let value = match figure {
        Figure::Of(name) => reading(name)?,
        Figure::Ratio(above, below) => reading(above)? / reading(below)?,
        Figure::Beyond(more, less) => reading(more)? - reading(less)?,
    };
    value.is_finite().then_some(value)
}

impl Spread {
    fn of(values: &[f64]) -> Self {
        Self {
            median: median(values.to_vec()),
            min: values.iter().copied().fold(f64::INFINITY, f64::min),
            max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        }
    }
}

/// What the rows of a book found together, as the record of the row that is their sum.
#[must_use]
pub fn sum(book: &Book) -> Record {
    let rounds = || book.rows.iter().filter(|(name, _)| *name != DISORDER).flat_map(|(_, row)| &row.rounds);
    let count = |of: fn(&Round) -> u64| rounds().map(of).sum::<u64>() as f64;
    let readings = [
        ("sum.violations".to_owned(), count(|round| round.violations)),
        ("sum.lost_joins".to_owned(), count(|round| round.lost_joins)),
        ("sum.failed".to_owned(), count(|round| u64::from(round.failed.is_some()))),
    ];
    Record { rounds: vec![Round { readings: readings.into(), ..Round::default() }], ..Record::default() }
}

#[cfg(test)]
mod tests {
    use super::super::catalogue::named;
    use super::super::row::Unit;
    use super::*;

    fn round(readings: &[(&str, f64)]) -> Round {
        let readings = readings.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        Round { readings, ..Round::default() }
    }

    fn record(rounds: Vec<Round>) -> Record {
        Record { rounds, ..Record::default() }
    }

    fn line(figure: Figure, target: Option<Target>) -> Line {
        Line { name: "x", figure, unit: Unit::Ratio, target }
    }

    fn verdict(line: &Line, record: &Record) -> Verdict {
        judge_line(line, record).verdict
    }

    #[test]
    fn a_ratio_is_the_median_of_the_rounds_ratios() {
        let rounds = [(90.0, 100.0), (50.0, 10.0), (200.0, 250.0)];
        let rounds = rounds.map(|(node, floor)| round(&[("node.x", node), ("floor.x", floor)]));
        let record = record(rounds.to_vec());
        let ratio = Figure::Ratio("node.x", "floor.x");
        let judged = judge_line(&line(ratio, None), &record);
        assert_eq!(judged.value, Some(Spread { median: 0.9, min: 0.8, max: 5.0 }));
        assert_eq!(judged.verdict, Verdict::Told);
        assert_eq!(verdict(&line(ratio, Some(Target::AtLeast(0.9))), &record), Verdict::Met);
        assert_eq!(verdict(&line(ratio, Some(Target::AtLeast(0.95))), &record), Verdict::Missed);
        let beyond = Figure::Beyond("node.x", "floor.x");
        assert_eq!(verdict(&line(beyond, Some(Target::AtMost(-10.0))), &record), Verdict::Met);
        assert_eq!(verdict(&line(beyond, Some(Target::AtMost(-11.0))), &record), Verdict::Missed);
    }

    #[test]
    fn noise_is_what_happens_where_nothing_is_done() {
        let target = Some(Target::WithinNoiseOf("still"));
        let within = |slow: f64, still: f64| {
            let rounds =
                vec![round(&[("slow", slow), ("still", still)]), round(&[("slow", slow), ("still", 0.8)])];
            verdict(&line(Figure::Of("slow"), target), &record(rounds))
        };
        assert_eq!([within(1.3, 1.3), within(1.31, 1.3)], [Verdict::Met, Verdict::Missed]);
        assert_eq!([within(1.0, 0.9), within(1.01, 0.9)], [Verdict::Met, Verdict::Missed]);
    }

    #[test]
    fn a_target_without_figures_is_missed() {
        let line = line(Figure::Of("x"), Some(Target::AtMost(9.0)));
        assert_eq!(verdict(&line, &record(vec![])), Verdict::Missed);
        assert_eq!(verdict(&line, &record(vec![round(&[("y", 1.0)])])), Verdict::Missed);
        let late = Round { invalid: vec!["The generator was late.".into()], ..round(&[("x", 1.0)]) };
        let good = || round(&[("x", 2.0)]);
        assert_eq!(verdict(&line, &record(vec![late.clone(), good()])), Verdict::Missed);
        let judged = judge_line(&line, &record(vec![late, good(), good()]));
        assert_eq!(judged.value, Some(Spread { median: 2.0, min: 2.0, max: 2.0 }));
    }

    #[test]
    fn one_round_that_failed_spoils_the_row() {
        let line = line(Figure::Of("x"), Some(Target::AtMost(9.0)));
        let failed = Round { failed: Some("only 4,999 of 5,000 came in".into()), ..Round::default() };
        let good = || round(&[("x", 2.0)]);
        let judged = judge_line(&line, &record(vec![good(), failed, good()]));
        assert_eq!(judged.value, Some(Spread { median: 2.0, min: 2.0, max: 2.0 }));
        assert_eq!(judged.verdict, Verdict::Missed);
    }

    #[test]
    fn what_any_row_found_is_found_in_the_sum() {
        let row = named(DISORDER).unwrap();
        let mut book = Book::default();
        book.rows.insert("quiet-100".into(), record(vec![Round::default(), Round::default()]));
        assert!(is_met(&row, &sum(&book)));
        let bad = Round { violations: 2, lost_joins: 1, failed: Some("x".into()), ..Round::default() };
        book.rows.insert("slow".into(), record(vec![bad]));
        let values = judge(&row, &sum(&book)).into_iter().map(|judged| judged.value.unwrap().median);
        assert_eq!(values.collect::<Vec<_>>(), [2.0, 1.0, 1.0]);
        assert!(!is_met(&row, &sum(&book)));
    }
}
