//! Whatever a result holds, it can be shown.

use hdrhistogram::Histogram;
use proptest::prelude::*;

use super::{html, junit, text};
use crate::result::{Fault, LatencyResult, RunResult, Second, ServerUsage, ThresholdResult, Verdict};

/// Some of these are in no honest result.
fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        0.0..1e6f64,
        -1e3..1e3f64,
        Just(0.0),
        Just(1e308),
        Just(1e-308),
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
    ]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z_]{1,12}",
        "\\PC{0,12}",
        Just("<script>alert(1)</script>".to_owned()),
        Just("\"'&\u{0}".to_owned())
    ]
}

fn latency() -> impl Strategy<Value = LatencyResult> {
    (prop::collection::vec(1u64..3_600_000_000, 0..80), any::<bool>(), any::<bool>(), "[a-zA-Z+/]{0,20}")
        .prop_map(|(values, raw, spoilt, other)| {
            let mut times = Histogram::new_with_bounds(1, 3_600_000_000, 3).unwrap();
            values.iter().for_each(|value| times.record(*value).unwrap());
            let latency = LatencyResult::of(&times, raw.then_some(&times));
            if spoilt { LatencyResult { histogram: other, ..latency } } else { latency }
        })
}

fn second() -> impl Strategy<Value = Second> {
    let latency = prop::collection::btree_map(name(), [number(), number()], 0..3);
    (number(), any::<u64>(), any::<u64>(), any::<u64>(), latency, number(), number()).prop_map(
        |(at, sent, delivered, connections, latency, server_cpu, generator_cpu)| Second {
            at,
            sent: sent / 100_000,
            delivered: delivered / 100_000,
            connections,
            latency,
            server_cpu,
            server_memory: sent,
            generator_cpu,
        },
    )
}

fn result() -> impl Strategy<Value = RunResult> {
    let verdicts = [Verdict::Held, Verdict::Threshold, Verdict::Violated, Verdict::Invalid];
    let fault = (number(), number(), name()).prop_map(|(from, to, label)| Fault { from, to, label });
    let threshold = (name(), prop::option::of(number()), any::<bool>())
        .prop_map(|(expression, value, held)| ThresholdResult { expression, value, held });
    let figures = prop::collection::btree_map(name(), number(), 0..4);
    let counts = prop::collection::btree_map(name(), any::<u64>(), 0..4);
    let latencies = prop::collection::btree_map(prop_oneof![Just("ack".to_owned()), name()], latency(), 0..3);
    let head =
        (name(), number(), prop::sample::select(verdicts.to_vec()), prop::collection::vec(name(), 0..3));
    let lists = (
        prop::collection::vec(second(), 0..8),
        prop::collection::vec(fault, 0..6),
        prop::collection::vec(threshold, 0..3),
        any::<[u32; 3]>(),
    );
    (head, figures, counts, latencies, lists).prop_map(
        |(
            (name, seconds, verdict, reasons),
            figures,
            counts,
            latency,
            (series, faults, thresholds, lost),
        )| {
            let mut result = RunResult {
                seconds,
                verdict,
                figures,
                counts,
                latency,
                series,
                faults,
                thresholds,
                ..RunResult::default()
            };
            [result.oracle.lost_prefix, result.oracle.lost_middle, result.oracle.lost_postfix] =
                lost.map(u64::from);
            result.oracle.examples.clone_from(&reasons);
            result.oracle.violations.insert(name.clone(), 3);
            result.started.clone_from(&name);
            result.scenario.parameters.insert(name.clone(), serde_json::json!([name]));
            result.scenario.name = name;
            result.reasons = reasons;
            result.server_usage.push(ServerUsage { cpu_seconds: seconds, ..ServerUsage::default() });
            result
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_a_result_holds_can_be_shown(result in result()) {
        let page = html::render(&result);
        prop_assert!(page.matches("<script>").count() == 1, "only our own");
        for (place, what) in [("d=\"M", "NaN"), ("x=\"", "NaN"), ("d=\"M", "inf")] {
            let found = page.split(place).skip(1).any(|rest| rest.split('"').next().is_some_and(|value| value.contains(what)));
            prop_assert!(!found, "{} in {}", what, place);
        }
        let xml = junit::render(&result);
        let forbidden = ["<script>", "\0"];
        prop_assert!(!forbidden.iter().any(|part| xml.contains(part)), "{}", xml);
        prop_assert!(text::render(&result).contains(result.verdict.as_str()));
    }
}

/// A real run, as it was written.
fn sample() -> RunResult {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/samples/paused-node.result.json");
    RunResult::read(std::fs::File::open(path).unwrap()).unwrap()
}

#[test]
fn the_page_needs_nothing_else() {
    let page = html::render(&sample());
    for outside in ["src=", "href=", "@import", "url(", "<link", "<iframe", "fetch(", "XMLHttpRequest"] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("prefers-color-scheme: dark") && page.contains("@media print"));
    assert!(page.len() < 300_000, "{} bytes", page.len());
}

#[test]
fn the_page_tells_the_whole_run() {
    let result = sample();
    let page = html::render(&result);
    for part in [
        "Held",
        "A house and a garden",
        "op → accepted",
        "node paused",
        "server.memory_peak &lt; 50MB",
        "Over time",
        "Memory",
    ] {
        assert!(page.contains(part), "{part}");
    }
    let p99 = super::units::milliseconds(result.latency["ack"].corrected.p99);
    assert!(page.matches(&p99).count() >= 3, "in the key figures, at the curve and in the table: {p99}");
}

#[test]
fn every_tag_that_is_opened_is_closed() {
    let page = html::render(&sample());
    let body = page.split("<script>").next().unwrap();
    let mut open = Vec::new();
    for tag in body.split('<').skip(1).filter_map(|tag| tag.split('>').next()) {
        let name = tag.split([' ', '/']).find(|name| !name.is_empty()).unwrap_or_default();
        match tag.strip_prefix('/') {
            Some(closed) => assert_eq!(open.pop(), Some(closed), "after {open:?}"),
            None if tag.starts_with('!') || name == "meta" => {}
            None => open.push(name),
        }
    }
    assert_eq!(open, ["html", "body"]);
}

#[test]
fn the_text_has_what_the_result_has() {
    let result = sample();
    let text = text::render(&result);
    let accepted = format!("{} accepted", result.count("ops_accepted"));
    for part in [
        accepted.as_str(),
        "oracle     no violations",
        "threshold  held   oracle.lost == 0 (is 0)",
        "fault      ",
        "HELD: ",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}
