//! How a result is shown: as text, as a page that one would send to somebody, and to a build server.
//!
//! All of it is pure: a result goes in, text comes out.

pub mod classes;
mod command;
pub mod html;
pub mod junit;
pub mod text;
pub mod units;

pub use self::command::command_line;
use serde_json::Value;

use crate::result::{RunResult, ScenarioSummary};

/// Those that say something: no empty ones, and none that the head has.
fn parameters(scenario: &ScenarioSummary) -> impl Iterator<Item = (String, String)> {
    let worth = |name: &str, value: &Value| !value.is_null() && !matches!(name, "name" | "kind" | "seed");
    let told = scenario.parameters.iter().filter(move |(name, value)| worth(name, value));
    told.map(|(name, value)| {
        (units::words(name), value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    })
}

/// What is said of a run that held.
fn praise(result: &RunResult) -> String {
    let oracle = match result.oracle.total() {
        0 if result.count("deliveries") == 0 => {
            "Nothing was delivered, so that the oracle had nothing to judge."
        }
        0 => "The oracle found no violation.",
        _ => "What the oracle found is within what the scenario allows.",
    };
    let thresholds = match result.thresholds.len() {
        0 => "",
        1 => " The threshold was held.",
        _ => " All thresholds were held.",
    };
    format!("{oracle}{thresholds}")
}

#[cfg(test)]
mod tests;
