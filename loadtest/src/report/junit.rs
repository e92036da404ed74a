//! A result for a build server: a test case for each threshold, one for the oracle and one for the generator.

use maud::{Markup, PreEscaped, html};

use super::units;
use crate::result::{RunResult, ThresholdResult, Verdict};
use crate::threshold::value_in_words;

#[must_use]
pub fn render(result: &RunResult) -> String {
    let name = format!("enfilade-loadtest.{}", result.scenario.kind);
    let mut cases: Vec<Case> = result.thresholds.iter().map(Case::threshold).collect();
    cases.push(Case::oracle(result));
    cases.push(Case::generator(result));
    let failures = cases.iter().filter(|case| case.failure.is_some()).count();
    let xml = html! {
        (PreEscaped("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"))
        testsuites name="enfilade-loadtest" tests=(cases.len()) failures=(failures) time=(seconds(result)) {
            testsuite name=(name) tests=(cases.len()) failures=(failures) errors="0" skipped="0" time=(seconds(result))
                timestamp=(result.started.trim_end_matches('Z')) {
                @for case in &cases { (case.write(&name)) }
            }
        }
    };
    without_controls(&xml.into_string())
}

struct Case {
    name: String,
    failure: Option<Failure>,
}

struct Failure {
    message: String,
    details: String,
}

impl Case {
    fn threshold(threshold: &ThresholdResult) -> Self {
        let message = || format!("{} is missed: {}", threshold.expression, value_in_words(threshold));
        let failure = (!threshold.held).then(|| Failure { message: message(), details: String::new() });
        Self { name: threshold.expression.clone(), failure }
    }

    /// Losses that a scenario allows fail nothing.
    fn oracle(result: &RunResult) -> Self {
        let oracle = &result.oracle;
        let kinds: Vec<String> =
            oracle.violations.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        let message =
            || format!("{} violations, {} lost: {}", oracle.total(), oracle.lost(), kinds.join(", "));
        let failure = (result.verdict == Verdict::Violated)
            .then(|| Failure { message: message(), details: oracle.examples.join("\n") });
        Self { name: "oracle: no violation".into(), failure }
    }

    /// Reasons of an invalid run are about nothing else.
    fn generator(result: &RunResult) -> Self {
        let lag = units::milliseconds(result.generator.lag_p99_ms);
        let failure = (result.verdict == Verdict::Invalid).then(|| Failure {
            message: format!("the generator was the bottleneck; its lag (p99) was {lag}"),
            details: result.reasons.join("\n"),
        });
        Self { name: "generator: fast enough for the figures to be valid".into(), failure }
    }

    fn write(&self, class: &str) -> Markup {
        html! {
            testcase classname=(class) name=(self.name) time="0" {
                @if let Some(Failure { message, details }) = &self.failure {
                    failure type="failure" message=(message) { (details) }
                }
            }
        }
    }
}

fn seconds(result: &RunResult) -> String {
    format!("{:.3}", result.seconds)
}

/// XML has no way to write them.
fn without_controls(xml: &str) -> String {
    xml.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t' | '\r')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_threshold_the_oracle_and_the_generator_are_cases() {
        let mut result =
            RunResult { seconds: 1.5, started: "2026-11-21T14:00:00Z".into(), ..RunResult::default() };
        result.scenario.kind = "fanout".into();
        result.thresholds = vec![
            ThresholdResult { expression: "signal.p99 < 50ms".into(), value: Some(12.0), held: true },
            ThresholdResult { expression: "oracle.lost == 0".into(), value: Some(3.0), held: false },
        ];
        result.oracle.lost_middle = 3;
        result.verdict = Verdict::Violated;
        result.oracle.examples = vec!["room <1> & \u{1}co".into()];
        let xml = render(&result);
        assert!(xml.starts_with("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites"), "{xml}");
        assert!(xml.contains("tests=\"4\" failures=\"2\" time=\"1.500\""), "{xml}");
        assert!(xml.contains("name=\"signal.p99 &lt; 50ms\" time=\"0\"></testcase>"), "{xml}");
        assert!(
            xml.contains("oracle.lost == 0 is missed: 3") && xml.contains("room &lt;1&gt; &amp; co"),
            "{xml}"
        );
        assert!(xml.contains("timestamp=\"2026-11-21T14:00:00\""), "{xml}");
    }

    #[test]
    fn what_a_scenario_allows_to_be_lost_fails_nothing() {
        let mut result = RunResult::default();
        result.oracle.lost_middle = 3;
        assert!(render(&result).contains("failures=\"0\""));
    }

    #[test]
    fn a_late_generator_fails_a_case() {
        let mut result = RunResult::default();
        result.blame(Verdict::Invalid, "Late.");
        let xml = render(&result);
        assert!(xml.contains("tests=\"2\" failures=\"1\"") && xml.contains("bottleneck"), "{xml}");
    }
}
