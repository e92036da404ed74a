//! Metrics as OpenMetrics 1.0 writes them, with examples, from what our library writes: the older text format of Prometheus.
//!
//! What differs: a counter's family is named without `_total`, bounds have a decimal point, there are no empty lines, the end is
//! marked, and a bucket may name the trace of an example.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use super::examples::{Example, Examples};

/// What the text is called.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Whether somebody who accepts these media types wants it. Prometheus names all that it understands, the best first.
pub(crate) fn is_wanted(accept: &str) -> bool {
    let mut kinds = accept.split(',').map(|kind| kind.split(';').next().unwrap_or_default().trim());
    kinds.find(|kind| matches!(*kind, "application/openmetrics-text" | "text/plain"))
        == Some("application/openmetrics-text")
}

pub(crate) fn render(text: &str, examples: &Examples) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    let counters = counters(text);
    for line in text.lines().filter(|line| !line.is_empty()) {
        match line.strip_prefix("# ") {
            Some(comment) => describe(comment, &counters, &mut out),
            None => sample(line, examples, &mut out),
        }
        out.push('\n');
    }
    out.push_str("# EOF\n");
    out
}

/// The names of those that are counters. What a metric is for stands before what it is, so they are looked for first.
fn counters(text: &str) -> HashSet<&str> {
    text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect()
}

/// `TYPE name kind` or `HELP name text`.
fn describe(comment: &str, counters: &HashSet<&str>, out: &mut String) {
    let mut words = comment.splitn(3, ' ');
    let [what, name, rest] = [(); 3].map(|()| words.next().unwrap_or_default());
    let family = if counters.contains(name) { name.strip_suffix("_total").unwrap_or(name) } else { name };
    let rest = if what == "HELP" { rest.replace('"', "\\\"") } else { rest.to_owned() };
    // Writing into a text does not fail.
    let _ = write!(out, "# {what} {family} {rest}");
}

fn sample(line: &str, examples: &Examples, out: &mut String) {
    let bucket = line.split_once("_bucket{").and_then(|(name, rest)| {
        let (before, rest) = rest.split_once("le=\"")?;
        let (bound, rest) = rest.split_once('"')?;
        Some((name, before, bound, rest))
    });
    let Some((name, before, bound, rest)) = bucket else { return out.push_str(line) };
    let point = if bound.contains(['.', 'I', 'e']) { "" } else { ".0" };
    let _ = write!(out, "{name}_bucket{{{before}le=\"{bound}{point}\"{rest}");
    let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().unwrap_or(f64::NAN) };
    if let Some(Example { trace, seconds, at }) = examples.find(name, bound) {
        let _ = write!(out, " # {{trace_id=\"{trace}\"}} {seconds} {:.3}", unix(at));
    }
}

fn unix(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use enfilade_proto::TraceId;

    use super::*;

    const TEXT: &str = "\
# HELP enfilade_joins_total Joins of rooms that were \"answered\"
# TYPE enfilade_joins_total counter
enfilade_joins_total 7

# HELP process_start_time_seconds When the process began
# TYPE process_start_time_seconds gauge
process_start_time_seconds 1.5

# TYPE enfilade_op_ack_seconds histogram
enfilade_op_ack_seconds_bucket{node=\"a\",le=\"0.5\"} 1
enfilade_op_ack_seconds_bucket{node=\"a\",le=\"1\"} 3
enfilade_op_ack_seconds_bucket{node=\"a\",le=\"+Inf\"} 4
enfilade_op_ack_seconds_sum{node=\"a\"} 12.5
enfilade_op_ack_seconds_count{node=\"a\"} 4

";

    const OPENMETRICS: &str = "\
# HELP enfilade_joins Joins of rooms that were \\\"answered\\\"
# TYPE enfilade_joins counter
enfilade_joins_total 7
# HELP process_start_time_seconds When the process began
# TYPE process_start_time_seconds gauge
process_start_time_seconds 1.5
# TYPE enfilade_op_ack_seconds histogram
enfilade_op_ack_seconds_bucket{node=\"a\",le=\"0.5\"} 1
enfilade_op_ack_seconds_bucket{node=\"a\",le=\"1.0\"} 3 # {trace_id=\"00000000000000000000000000000007\"} 1 9.250
enfilade_op_ack_seconds_bucket{node=\"a\",le=\"+Inf\"} 4 # {trace_id=\"00000000000000000000000000000008\"} 11.5 9.250
enfilade_op_ack_seconds_sum{node=\"a\"} 12.5
enfilade_op_ack_seconds_count{node=\"a\"} 4
# EOF
";

    #[test]
    fn what_the_library_writes_becomes_openmetrics_with_examples() {
        let (examples, at) = (Examples::default(), UNIX_EPOCH + Duration::from_millis(9_250));
        examples.take("enfilade_op_ack_seconds", 0.7, TraceId::new(6), at);
        examples.take("enfilade_op_ack_seconds", 1.0, TraceId::new(7), at);
        examples.take("enfilade_op_ack_seconds", 11.5, TraceId::new(8), at);
        examples.take("enfilade_commit_seconds", 0.3, TraceId::new(9), at);
        assert_eq!(render(TEXT, &examples), OPENMETRICS);
    }

    #[test]
    fn it_is_for_those_who_would_rather_have_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        assert!(is_wanted(prometheus) && is_wanted("application/openmetrics-text"));
        for accept in ["", "*/*", "text/plain", "text/plain, application/openmetrics-text;q=0.5", "text/html"]
        {
            assert!(!is_wanted(accept), "{accept}");
        }
    }
}
