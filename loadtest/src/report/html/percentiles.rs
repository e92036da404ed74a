//! How long things took, by percentile: a curve for each class, and a table of all.

use hdrhistogram::Histogram;
use maud::{Markup, html};

use super::chart::{Axis, Chart, Layer, Mark};
use super::scale::Scale;
use crate::report::classes::{describe, in_order, is_delivery};
use crate::report::units;
use crate::result::{LatencyResult, Percentiles, RunResult};

/// A curve of fewer values is noise.
const LEAST: u64 = 50;
/// Points of a curve for each nine.
const POINTS_PER_NINE: u32 = 40;
const HEIGHT: u32 = 190;

pub(super) fn section(result: &RunResult) -> Markup {
    let classes = in_order(&result.latency);
    if classes.is_empty() {
        return html! {};
    }
    let curves = |delivery: bool| -> Vec<Curve> {
        let chosen = classes
            .iter()
            .filter(|(name, _)| is_delivery(name) == delivery && (delivery || is_entering(name)));
        chosen.filter_map(|(name, latency)| Curve::of(name, latency)).collect()
    };
    html! {
        section {
            h2 { "Latency by percentile" }
            p.lead {
                "Counted from the moment something should have been sent. To the right each nine takes as much room as the one before: "
                "the rare, slow ones are seen as well as the median."
                @if classes.iter().any(|(_, latency)| latency.raw.is_some()) {
                    " " span.raw-word { "Raw" } " times count from the actual sending, as most load testers have it."
                }
            }
            (panels(&curves(true)))
            (panels(&curves(false)))
            (table(&classes))
        }
    }
}

fn is_entering(class: &str) -> bool {
    matches!(class, "connect" | "hello" | "join" | "resume")
}

struct Curve<'a> {
    class: &'a str,
    latency: &'a LatencyResult,
    corrected: Vec<(f64, f64)>,
    raw: Vec<(f64, f64)>,
}

impl<'a> Curve<'a> {
    fn of(class: &'a str, latency: &'a LatencyResult) -> Option<Self> {
        if latency.corrected.count < LEAST {
            return None;
        }
        let corrected = points(latency.corrected_times().ok().flatten(), &latency.corrected);
        let raw = latency.raw.as_ref().map(|raw| points(latency.raw_times().ok().flatten(), raw));
        Some(Self { class, latency, corrected, raw: raw.unwrap_or_default() })
    }
}

/// `(share, ms)`, from the histogram, or from the few percentiles if that is all there is.
fn points(times: Option<Histogram<u64>>, percentiles: &Percentiles) -> Vec<(f64, f64)> {
    let Some(times) = times else {
        let known = [
            (0.5, percentiles.p50),
            (0.9, percentiles.p90),
            (0.99, percentiles.p99),
            (0.999, percentiles.p99_9),
        ];
        return known.to_vec();
    };
    let nines = match Scale::nines(times.len()) {
        Scale::Nines { nines } => nines as u32,
        _ => 2,
    };
    let share = |n: u32| 1.0 - 10f64.powf(-f64::from(n) / f64::from(POINTS_PER_NINE));
    let at = |share: f64| (share, times.value_at_quantile(share) as f64 / 1e3);
    (0..=nines * POINTS_PER_NINE).map(share).map(at).collect()
}

fn panels(curves: &[Curve<'_>]) -> Markup {
    // One scale for all, so that they can be compared. The fastest few would only stretch it.
    let lowest = |points: &[(f64, f64)]| points.iter().find(|(share, _)| *share >= 0.05).map(|(_, ms)| *ms);
    let all = || curves.iter().flat_map(|curve| [&curve.corrected, &curve.raw]);
    let low = all().filter_map(|points| lowest(points)).fold(f64::INFINITY, f64::min);
    let high = all().flatten().map(|(_, ms)| *ms).fold(0.0, f64::max);
    let scale = Scale::log(low.max(0.001), high.max(0.01));
    html! {
        div.panels { @for curve in curves { (panel(curve, scale)) } }
    }
}

fn panel(curve: &Curve<'_>, y: Scale) -> Markup {
    let Percentiles { count, p50, p99, p99_9, .. } = curve.latency.corrected;
    let title = describe(curve.class);
    let (p50_text, p99_text) = (units::milliseconds(p50), units::milliseconds(p99));
    let mut marks = vec![
        Mark { x: 0.5, y: p50, text: p50_text.clone() },
        Mark { x: 0.99, y: p99, text: p99_text.clone() },
    ];
    if count >= 2000 {
        marks.push(Mark { x: 0.999, y: p99_9, text: units::milliseconds(p99_9) });
    }
    let line = |class, points: &[(f64, f64)]| Layer::Line {
        class,
        points: points.iter().copied().map(Some).collect(),
    };
    let chart = Chart {
        x: Axis { scale: Scale::nines(count), label: share_label },
        y: Axis { scale: y, label: units::milliseconds },
        height: HEIGHT,
        description: format!("{title} by percentile: half within {p50_text}, 99 % within {p99_text}"),
        bars: vec![],
        layers: vec![line("curve raw", &curve.raw), line("curve", &curve.corrected)],
        marks,
        hover: None,
    };
    html! {
        figure {
            figcaption {
                strong { (title) }
                span.aside {
                    (units::whole(count)) " times"
                    @if !curve.raw.is_empty() { ", " span.corrected-word { "corrected" } " and " span.raw-word { "raw" } }
                }
            }
            (chart.draw())
        }
    }
}

/// The sign once is enough.
fn share_label(share: f64) -> String {
    let text = units::round(&format!("{:.6}", share * 100.0));
    if share == 0.5 { format!("{text}%") } else { text }
}

fn table(classes: &[(&str, &LatencyResult)]) -> Markup {
    html! {
        div.scroll {
            table {
                thead { tr {
                    th { "Class" }
                    th.number.wide-only { "Count" }
                    th.number { "p50" }
                    th.number.wide-only { "p90" }
                    @for name in ["p99", "p99.9", "Max"] { th.number { (name) } }
                } }
                tbody {
                    @for (class, latency) in classes {
                        (row(describe(class), &latency.corrected, ""))
                        @if let Some(raw) = &latency.raw { (row("raw", raw, "minor")) }
                    }
                }
            }
        }
    }
}

fn row(name: &str, times: &Percentiles, class: &str) -> Markup {
    html! {
        tr class=(class) {
            th scope="row" { (name) }
            td.number.wide-only { (units::whole(times.count)) }
            td.number { (units::milliseconds(times.p50)) }
            td.number.wide-only { (units::milliseconds(times.p90)) }
            @for ms in [times.p99, times.p99_9, times.max] { td.number { (units::milliseconds(ms)) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_told_without_zeros() {
        let labels = Scale::nines(100_000).ticks().into_iter().map(share_label).collect::<Vec<_>>();
        assert_eq!(labels, ["50%", "90", "99", "99.9", "99.99", "99.999"]);
    }

    #[test]
    fn without_a_histogram_the_percentiles_make_the_curve() {
        let percentiles = Percentiles { p50: 1.0, p90: 2.0, p99: 3.0, p99_9: 4.0, ..Percentiles::default() };
        assert_eq!(points(None, &percentiles).last(), Some(&(0.999, 4.0)));
        let mut times = Histogram::new(3).unwrap();
        (1..=1000).for_each(|n| times.record(n * 1000).unwrap());
        let points = points(Some(times), &percentiles);
        assert!(points.len() == 121 && points.is_sorted_by(|a, b| a.0 <= b.0 && a.1 <= b.1), "{points:?}");
    }
}
