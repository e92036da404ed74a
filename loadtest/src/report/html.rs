//! A result as one page that needs nothing else: no script to be read, no network, for screens of any width and paper.

mod chart;
mod details;
mod oracle;
mod percentiles;
mod scale;
mod summary;
mod timeline;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::result::RunResult;

const STYLE: &str = include_str!("html/style.css");
/// Says what is under the pointer; nothing is missing without it.
const HOVER: &str = include_str!("html/hover.js");

#[must_use]
pub fn render(result: &RunResult) -> String {
    let body = html! {
        (summary::header(result))
        (summary::key_figures(result))
        (details::thresholds(result))
        (oracle::section(result))
        (percentiles::section(result))
        (timeline::section(result))
        (details::usage(result))
        (details::parameters(result))
    };
    let title = format!("{} – {}", result.scenario.name, result.verdict.as_str().to_lowercase());
    page(&title, &body).into_string()
}

pub(crate) fn page(title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="generator" content=(concat!("enfilade-loadtest ", env!("CARGO_PKG_VERSION")));
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main { (body) }
                script { (PreEscaped(HOVER)) }
            }
        }
    }
}
