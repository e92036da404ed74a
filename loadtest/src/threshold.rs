//! Thresholds: what a run has to reach, as expressions over its figures.
//!
//! `signal.p99 < 50ms`, `oracle.lost == 0`, `deliveries_per_cpu_second / floor >= 95%`. They are judged when a run is
//! over, and, where it is wanted, while it lasts: one that is missed for too long ends it.

mod expression;
mod figures;
mod parse;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

pub use self::expression::{Comparison, Expression, Operator, Quantity, Unit};
pub use self::figures::{Figures, class_figure};
pub use self::parse::ParseError;
use crate::report::units;
use crate::result::{RunResult, ThresholdResult, Verdict};

#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    pub expression: Expression,
    /// The run is ended when it was missed for so long without a break.
    pub abort_after: Option<Duration>,
}

/// How long a threshold that aborts may be missed, if nothing else is said.
const GRACE: Duration = Duration::from_secs(10);

impl Threshold {
    #[must_use]
    pub fn judge(&self, figures: &impl Figures) -> ThresholdResult {
        let (value, held) = self.expression.judge(figures);
        ThresholdResult { expression: self.expression.to_string(), value, held }
    }
}

/// Judges a run that is over: every threshold has its row, and those that were missed a reason.
pub fn judge(result: &mut RunResult, thresholds: &[Threshold]) {
    let judged: Vec<ThresholdResult> = thresholds.iter().map(|threshold| threshold.judge(result)).collect();
    for ThresholdResult { expression, value, .. } in judged.iter().filter(|threshold| !threshold.held) {
        let reason = match value {
            Some(_) => format!("The threshold {expression} was missed."),
            None => format!("The threshold {expression} cannot be judged: there is no such figure."),
        };
        result.blame(Verdict::Threshold, reason);
    }
    result.thresholds.extend(judged);
}

/// What it was, in the unit of what it is compared with.
#[must_use]
pub fn value_in_words(threshold: &ThresholdResult) -> String {
    match (threshold.value, threshold.expression.parse::<Expression>()) {
        (None, _) => "not measured".into(),
        (Some(value), Ok(expression)) => expression.in_its_unit(value),
        (Some(value), Err(_)) => units::digits(value),
    }
}

/// Follows the thresholds of a run that may end it early.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    watched: Vec<Watched>,
}

#[derive(Clone, Debug)]
struct Watched {
    expression: Expression,
    grace: Duration,
    missed_since: Option<Duration>,
}

impl Watch {
    #[must_use]
    pub fn new(thresholds: &[Threshold]) -> Self {
        let watched = thresholds.iter().filter_map(|Threshold { expression, abort_after }| {
            Some(Watched { expression: expression.clone(), grace: (*abort_after)?, missed_since: None })
        });
        Self { watched: watched.collect() }
    }

    /// Why the run has to end, if it has. What is not measured yet is not missed yet.
    pub fn judge(&mut self, now: Duration, figures: &impl Figures) -> Option<String> {
        self.watched.iter_mut().find_map(|watched| watched.judge(now, figures))
    }
}

impl Watched {
    fn judge(&mut self, now: Duration, figures: &impl Figures) -> Option<String> {
        let missed = matches!(self.expression.judge(figures), (Some(_), false));
        let since = *self.missed_since.get_or_insert(now);
        if !missed {
            self.missed_since = None;
        }
        let over = missed && now.saturating_sub(since) >= self.grace;
        over.then(|| {
            let seconds = now.saturating_sub(since).as_secs_f64();
            format!("Ended early: the threshold {} was missed for {seconds:.0} s.", self.expression)
        })
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.expression, f)
    }
}

/// In a scenario file: the expression alone, or a table with `expression`, `abort` and `grace`.
impl<'de> Deserialize<'de> for Threshold {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Plain(String),
            Table(Table),
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            expression: String,
            #[serde(default)]
            abort: bool,
            grace: Option<String>,
        }
        let custom = |message: String| <D::Error as serde::de::Error>::custom(message);
        let table = match Written::deserialize(deserializer)? {
            Written::Plain(expression) => Table { expression, abort: false, grace: None },
            Written::Table(table) => table,
        };
        let expression = table.expression.parse().map_err(|error: ParseError| custom(error.to_string()))?;
        let grace = table.grace.as_deref().map_or(Ok(GRACE), crate::time::duration).map_err(custom)?;
        Ok(Self { expression, abort_after: table.abort.then_some(grace) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::OracleResult;

    fn threshold(text: &str) -> Threshold {
        Threshold { expression: text.parse().unwrap(), abort_after: Some(Duration::from_secs(3)) }
    }

    #[test]
    fn a_missed_threshold_is_told_and_makes_the_verdict() {
        let mut result =
            RunResult { oracle: OracleResult { lost_middle: 2, ..Default::default() }, ..Default::default() };
        judge(
            &mut result,
            &[threshold("oracle.lost == 0"), threshold("seconds < 1"), threshold("moon.p99 < 1ms")],
        );
        let held: Vec<_> =
            result.thresholds.iter().map(|threshold| (threshold.value, threshold.held)).collect();
        assert_eq!(held, [(Some(2.0), false), (Some(0.0), true), (None, false)]);
        assert_eq!(result.verdict, Verdict::Threshold);
        assert_eq!(
            result.reasons,
            [
                "The threshold oracle.lost == 0 was missed.",
                "The threshold moon.p99 < 1ms cannot be judged: there is no such figure."
            ]
        );
    }

    #[test]
    fn only_a_threshold_that_stays_missed_ends_the_run() {
        let mut watch = Watch::new(&[threshold("x < 5")]);
        let mut at = |second: u64, x: Option<f64>| watch.judge(Duration::from_secs(second), &|_: &str| x);
        assert_eq!(at(0, None), None);
        assert_eq!((at(1, Some(9.0)), at(3, Some(9.0)), at(4, Some(1.0))), (None, None, None));
        assert_eq!((at(5, Some(9.0)), at(7, Some(9.0))), (None, None));
        assert_eq!(at(8, Some(9.0)).as_deref(), Some("Ended early: the threshold x < 5 was missed for 3 s."));
    }

    #[test]
    fn a_scenario_names_them_plainly_or_with_a_grace() {
        let read = |json: &str| serde_json::from_str::<Threshold>(json);
        assert_eq!(read(r#""ack.p99 < 5ms""#).unwrap().abort_after, None);
        assert_eq!(read(r#"{"expression": "a < 5", "abort": true}"#).unwrap().abort_after, Some(GRACE));
        let short = read(r#"{"expression": "a < 5", "abort": true, "grace": "2s"}"#).unwrap();
        assert_eq!(short.abort_after, Some(Duration::from_secs(2)));
        assert!(read(r#""ack.p99 <""#).unwrap_err().to_string().contains('^'));
        assert!(read(r#"{"expression": "a < 5", "grace": "soon"}"#).is_err());
    }
}
