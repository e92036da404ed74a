//! What the oracle found: where messages were lost, what else was wrong, and examples.

use maud::{Markup, html};

use crate::report::units;
use crate::result::{OracleResult, RunResult};

pub(super) fn section(result: &RunResult) -> Markup {
    let oracle = &result.oracle;
    html! {
        section {
            h2 { "Delivery" }
            p.lead { (judged(result)) }
            @if oracle.total() > 0 {
                (losses(oracle))
                (kinds(oracle))
                (examples(oracle))
            }
        }
    }
}

/// No more than is known: where nothing was delivered, nothing was judged.
fn judged(result: &RunResult) -> String {
    let deliveries = match result.count("deliveries") {
        0 => return "Nothing was delivered, so that there was nothing to judge.".into(),
        some => units::whole(some),
    };
    match result.oracle.total() {
        0 => format!("{deliveries} deliveries, and the oracle found no violation."),
        some => format!("{deliveries} deliveries, and the oracle found {} violations.", units::whole(some)),
    }
}

/// The three ways to lose something, as parts of one strip.
fn losses(oracle: &OracleResult) -> Markup {
    let parts = [
        ("before the first that arrived", oracle.lost_prefix),
        ("in the middle", oracle.lost_middle),
        ("after the last that arrived", oracle.lost_postfix),
    ];
    html! {
        @if oracle.lost() > 0 {
            h3 { (units::whole(oracle.lost())) " lost" }
            div.strip {
                @for (place, lost) in parts {
                    div.empty[lost == 0] style=(format!("flex-grow:{}", lost.max(oracle.lost() / 12).max(1))) {
                        strong { (units::whole(lost)) } span { (place) }
                    }
                }
            }
        }
    }
}

fn kinds(oracle: &OracleResult) -> Markup {
    html! {
        @if !oracle.violations.is_empty() {
            table.narrow {
                thead { tr { th { "Violation" } th.number { "Times" } } }
                tbody {
                    @for (kind, count) in &oracle.violations {
                        tr { th scope="row" { (units::words(kind)) } td.number { (units::whole(*count)) } }
                    }
                }
            }
        }
    }
}

fn examples(oracle: &OracleResult) -> Markup {
    html! {
        @if !oracle.examples.is_empty() {
            details open {
                summary { "Examples" }
                ol.examples { @for example in oracle.examples.iter().take(OracleResult::EXAMPLES) { li { (example) } } }
            }
        }
    }
}
