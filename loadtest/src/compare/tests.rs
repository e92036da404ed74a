//! Comparisons of runs whose times are known.

use hdrhistogram::Histogram;
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::*;
use crate::result::{LatencyResult, Second};

/// A run whose `ack` is about `ms`, and whose server used `cpu_seconds`.
fn run(seed: u64, ms: f64, cpu_seconds: f64) -> RunResult {
    let mut chance = StdRng::seed_from_u64(seed);
    let mut times = Histogram::new_with_bounds(1, 3_600_000_000, 3).unwrap();
    for _ in 0..20_000 {
        // Most are near it, a few far above.
        let spread: f64 = chance.random_range(0.5..1.5) / chance.random_range(0.05..1.0f64).sqrt();
        times.record((ms * 1000.0 * spread) as u64).unwrap();
    }
    let mut run = RunResult::default();
    run.latency.insert("ack".into(), LatencyResult::of(&times, None));
    run.server_usage.push(crate::result::ServerUsage { cpu_seconds, ..Default::default() });
    run.figures.insert("deliveries_per_second".into(), 1e6 / cpu_seconds);
    run
}

fn runs(seeds: std::ops::Range<u64>, ms: f64, cpu_seconds: f64) -> Vec<RunResult> {
    // Runs differ by a per cent or so.
    seeds
        .map(|seed| run(seed, ms * (1.0 + 0.01 * (seed % 3) as f64), cpu_seconds + 0.01 * (seed % 3) as f64))
        .collect()
}

fn change(comparison: &Comparison, name: &str) -> Change {
    comparison.rows.iter().find(|row| row.name() == name).unwrap().change
}

#[test]
fn the_same_again_is_the_same() {
    let comparison = compare(&runs(0..5, 2.0, 10.0), &runs(10..15, 2.0, 10.0), 0.05).unwrap();
    assert_eq!((comparison.regressions(), comparison.exit_code()), (0, 0), "{}", text::render(&comparison));
    assert!(comparison.notes.is_empty(), "{:?}", comparison.notes);
}

#[test]
fn what_got_worse_and_what_got_better_is_found() {
    let comparison = compare(&runs(0..5, 2.0, 10.0), &runs(10..15, 2.6, 8.0), 0.05).unwrap();
    assert_eq!(change(&comparison, "p99"), Change::Worse);
    assert_eq!(change(&comparison, "server CPU seconds"), Change::Better);
    assert_eq!(change(&comparison, "deliveries per second"), Change::Better);
    assert_eq!(comparison.exit_code(), 1);
    let row = comparison.rows.iter().find(|row| row.name() == "p99").unwrap();
    let [low, high] = row.interval.unwrap();
    assert!(low < row.ratio() && row.ratio() < high && low > 1.15 && high < 1.45, "{row:?}");
    let text = text::render(&comparison);
    assert!(
        text.contains("op → accepted\n") && text.contains("WORSE") && text.contains("figures got worse"),
        "{text}"
    );
    let page = html::render(&comparison);
    assert!(page.contains("class=\"worse\"") && page.contains("Worse") && !page.contains("http"), "{page}");
}

#[test]
fn what_is_tolerated_or_too_small_to_notice_is_no_regression() {
    let (base, slower) = (runs(0..5, 2.0, 10.0), runs(0..5, 2.16, 10.0));
    assert!(compare(&base, &slower, 0.05).unwrap().regressions() > 0);
    assert_eq!(compare(&base, &slower, 0.1).unwrap().regressions(), 0);
    let (base, slower) = (runs(0..5, 0.002, 10.0), runs(0..5, 0.004, 10.0));
    assert_eq!(change(&compare(&base, &slower, 0.05).unwrap(), "p50"), Change::Same);
}

#[test]
fn losses_are_worse_even_where_there_were_none() {
    let (base, mut with) = (runs(0..3, 2.0, 10.0), runs(0..3, 2.0, 10.0));
    with.iter_mut().for_each(|run| run.oracle.lost_middle = 2);
    let comparison = compare(&base, &with, 0.05).unwrap();
    assert_eq!(change(&comparison, "lost"), Change::Worse);
    assert!(text::render(&comparison).contains("new"));
}

#[test]
fn what_makes_a_comparison_doubtful_is_noted() {
    let (mut base, mut with) = (runs(0..1, 2.0, 10.0), runs(0..3, 2.0, 10.0));
    base[0].scenario.parameters.insert("members".into(), 1000.into());
    with.iter_mut().for_each(|run| drop(run.scenario.parameters.insert("members".into(), 2000.into())));
    with[1].verdict = Verdict::Invalid;
    let comparison = compare(&base, &with, 0.05).unwrap();
    assert_eq!(comparison.exit_code(), 3);
    assert_eq!(
        comparison.notes,
        [
            "Of the second side 1 of 3 runs are invalid: the generator was the bottleneck.",
            "With fewer than three runs a side, how much runs differ from each other is not known.",
            "The runs differ in members: 1000 and 2000."
        ]
    );
    assert!(matches!(compare(&base, &[], 0.05), Err(CompareError::Nothing)));
}

#[test]
fn what_only_one_side_measured_is_noted() {
    let (base, mut with) = (runs(0..3, 2.0, 10.0), runs(0..3, 2.0, 10.0));
    with[2].figures.insert("storm_seconds".into(), 0.2);
    let comparison = compare(&base, &with, 0.05).unwrap();
    assert_eq!(comparison.notes, ["Not all runs have: storm_seconds."]);
}

#[test]
fn a_restless_run_proves_less() {
    let side = |ms: f64, restless: bool| {
        let mut run = run(1, ms, 10.0);
        let second = |n: u32| {
            let factor = if restless && n.is_multiple_of(2) { 3.0 } else { 1.0 };
            Second {
                at: f64::from(n),
                latency: [("ack".to_owned(), [ms * factor, ms * factor])].into(),
                ..Second::default()
            }
        };
        run.series = (1..=12).map(second).collect();
        vec![run]
    };
    let judged =
        |restless| change(&compare(&side(2.0, restless), &side(2.3, restless), 0.05).unwrap(), "p50");
    assert_eq!((judged(false), judged(true)), (Change::Worse, Change::Same));
}

#[test]
fn it_is_known_which_way_is_better() {
    let directions = [
        "deliveries_per_cpu_second",
        "memory_per_connection_bytes",
        "storm_seconds",
        "messages_per_second",
        "delivered",
    ]
    .map(Direction::of);
    use Direction::{Higher, Lower, Neither};
    assert_eq!(directions, [Higher, Lower, Lower, Neither, Higher]);
    assert_eq!(Direction::of("storm_cpu_us_per_connection"), Lower);
}

#[test]
fn quantiles_are_those_of_the_histogram() {
    let latency = &run(1, 3.0, 1.0).latency["ack"];
    let times = latency.corrected_times().unwrap().unwrap();
    let quantiles = samples::Quantiles::of(&times);
    for (share, is) in
        [(0.5, latency.corrected.p50), (0.99, latency.corrected.p99), (0.999, latency.corrected.p99_9)]
    {
        // The next value up or down, in the tail a per cent away.
        assert!((quantiles.at(share) - is).abs() <= is * 0.02, "{share} {is}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Chance alone may fool one row now and then, but hardly ever beyond the tolerance.
    #[test]
    fn chance_alone_is_no_regression(seed in any::<u32>()) {
        let seed = u64::from(seed);
        let comparison = compare(&runs(seed..seed + 3, 5.0, 9.0), &runs(seed + 7..seed + 10, 5.0, 9.0), 0.1).unwrap();
        prop_assert_eq!(comparison.regressions(), 0, "{}", text::render(&comparison));
    }

    #[test]
    fn a_doubled_time_is_always_found(seed in any::<u32>()) {
        let seed = u64::from(seed);
        let comparison = compare(&runs(seed..seed + 1, 5.0, 9.0), &runs(seed + 7..seed + 8, 10.0, 9.0), 0.05).unwrap();
        prop_assert!(change(&comparison, "p50") == Change::Worse && change(&comparison, "p99") == Change::Worse);
    }
}
