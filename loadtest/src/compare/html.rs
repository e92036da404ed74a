//! A comparison as a page: each figure with its interval on one axis of ratios, so that what stands out is seen at once.

use maud::{Markup, html};

use super::text::{percent, verdict};
use super::{Change, Comparison, Row};
use crate::report::html::page;

/// The axis of ratios reaches so far to both sides, in factors, if nothing is beyond it.
const LEAST_REACH: f64 = 1.25;
const MOST_REACH: f64 = 4.0;

#[must_use]
pub fn render(comparison: &Comparison) -> String {
    let [base, with] = comparison.runs;
    let reach = reach(&comparison.rows);
    let tone = if comparison.invalid {
        "invalid"
    } else if comparison.regressions() > 0 {
        "violated"
    } else {
        "held"
    };
    let word = if comparison.invalid {
        "INVALID"
    } else if comparison.regressions() > 0 {
        "Worse"
    } else {
        "No worse"
    };
    let body = html! {
        header {
            p.kicker { "Load tests compared" }
            h1 { (comparison.name) }
            p.facts { span { (runs(base)) " against " (runs(with)) } span { "tolerance " (comparison.tolerance * 100.0) " %" } }
        }
        div class=(format!("verdict {tone}")) role="status" {
            strong { (word) }
            div {
                p { (verdict(comparison)) }
                @for note in &comparison.notes { p { (note) } }
            }
        }
        @let changed = changed(&comparison.rows);
        @if !changed.is_empty() {
            section {
                h2 { "What changed" }
                (table(&changed, reach, comparison.tolerance))
            }
        }
        section {
            h2 { "Everything" }
            (table(&comparison.rows.iter().collect::<Vec<_>>(), reach, comparison.tolerance))
        }
        footer {
            "Of several runs each figure is the median. The bar is the interval in which the change lies with 95 % confidence, "
            "by bootstrap over runs and values; the shaded part of the axis is the tolerance."
        }
    };
    page(&format!("{} compared", comparison.name), &body).into_string()
}

/// What got worse comes first.
fn changed(rows: &[Row]) -> Vec<&Row> {
    let of = |change: Change| rows.iter().filter(move |row| row.change == change);
    of(Change::Worse).chain(of(Change::Better)).chain(of(Change::Other)).collect()
}

fn runs(count: usize) -> String {
    if count == 1 { "1 run".into() } else { format!("{count} runs") }
}

/// How far the axis has to reach so that no change is beyond it, within reason.
fn reach(rows: &[Row]) -> f64 {
    let ratios =
        rows.iter().flat_map(|row| row.interval.unwrap_or([row.ratio(); 2]).into_iter().chain([row.ratio()]));
    let factors =
        ratios.filter(|ratio| ratio.is_finite() && *ratio > 0.0).map(|ratio| ratio.max(1.0 / ratio));
    factors.fold(LEAST_REACH, f64::max).min(MOST_REACH) * 1.05
}

/// Rows of a group stand together under its name.
fn table(rows: &[&Row], reach: f64, tolerance: f64) -> Markup {
    html! {
        table.comparison {
            thead { tr { th { "" } th.number { "First" } th.number { "Second" } th.number { "Change" } th.axis { (axis(reach)) } } }
            @for group in rows.chunk_by(|a, b| a.group() == b.group()) {
                tbody {
                    tr.group { th colspan="5" scope="rowgroup" { (group.first().map_or("", |row| row.group())) } }
                    @for row in group { (line(row, reach, tolerance)) }
                }
            }
        }
    }
}

fn line(row: &Row, reach: f64, tolerance: f64) -> Markup {
    let [base, with] = row.values();
    html! {
        tr class=(tone(row.change)) {
            th scope="row" { (row.name()) }
            td.number { (base) }
            td.number { (with) }
            td.number.change { (percent(row.ratio())) }
            td.axis { (bar(row, reach, tolerance)) }
        }
    }
}

fn tone(change: Change) -> &'static str {
    match change {
        Change::Better => "better",
        Change::Worse => "worse",
        Change::Same => "same",
        Change::Other => "other",
    }
}

/// 0 to 100 %; a half is as far from the middle as a double.
fn place(ratio: f64, reach: f64) -> f64 {
    let share = 0.5 + 0.5 * ratio.max(1e-9).ln() / reach.ln();
    if share.is_nan() { 50.0 } else { share.clamp(0.0, 1.0) * 100.0 }
}

fn axis(reach: f64) -> Markup {
    let ticks =
        [0.25, 0.5, 0.8, 1.0, 1.25, 2.0, 4.0].into_iter().filter(|tick: &f64| tick.max(1.0 / tick) < reach);
    // Those next to the middle only if there is room.
    let ticks = ticks.filter(|tick| reach < 2.2 || !(0.6..1.7).contains(tick) || *tick == 1.0);
    html! {
        svg.ratio width="100%" height="16" aria-hidden="true" {
            @for tick in ticks {
                text.tick x=(format!("{:.2}%", place(tick, reach))) y="12" text-anchor="middle" {
                    (if tick == 1.0 { "same".to_owned() } else { format!("×{tick}") })
                }
            }
        }
    }
}

fn bar(row: &Row, reach: f64, tolerance: f64) -> Markup {
    let at = |ratio: f64| format!("{:.2}%", place(ratio, reach));
    let width = |low: f64, high: f64| format!("{:.2}%", place(high, reach) - place(low, reach));
    let (low, high) = (1.0 / (1.0 + tolerance), 1.0 + tolerance);
    html! {
        svg.ratio width="100%" height="22" role="img" aria-label=(percent(row.ratio())) {
            rect.tolerance x=(at(low)) width=(width(low, high)) y="0" height="22" {}
            line.same x1="50%" x2="50%" y1="0" y2="22" {}
            @if let Some([low, high]) = row.interval {
                line.interval x1=(at(low)) x2=(at(high)) y1="11" y2="11" {}
            }
            circle.ratio-dot cx=(at(row.ratio())) cy="11" r="4" {}
        }
    }
}
