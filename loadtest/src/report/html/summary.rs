//! The head of the page: the verdict, what was run, and the few figures that everybody asks for.

use maud::{Markup, html};

use crate::report::classes::{describe, in_order};
use crate::report::{praise, units};
use crate::result::{RunResult, Verdict};

pub(super) fn header(result: &RunResult) -> Markup {
    let scenario = &result.scenario;
    html! {
        header {
            p.kicker { "Load test" @if !scenario.kind.is_empty() { " · " (scenario.kind) } }
            h1 { (scenario.name) }
            p.facts {
                @if !result.started.is_empty() { span { (calendar(&result.started)) } }
                span { (units::seconds(result.seconds)) }
                @for server in result.servers.iter().take(4) { span { (server) } }
                @if result.servers.len() > 4 { span { "and " (result.servers.len() - 4) " more" } }
            }
        }
        (verdict(result))
    }
}

fn verdict(result: &RunResult) -> Markup {
    let word = match result.verdict {
        Verdict::Held => "Held",
        Verdict::Threshold => "Missed",
        Verdict::Violated => "Violated",
        Verdict::Invalid => "INVALID",
    };
    html! {
        div class=(format!("verdict {}", word.to_lowercase())) role="status" {
            strong { (word) }
            div {
                @if result.verdict == Verdict::Invalid {
                    p { "The load generator was the bottleneck. What follows says how fast it was, not how fast the server is." }
                }
                @if result.reasons.is_empty() { p { (praise(result)) } }
                @for reason in &result.reasons { p { (reason) } }
                @if result.interrupted { p { "The run was interrupted; what follows is about the time until then." } }
            }
        }
    }
}

/// `2026-11-21T14:00:00Z` as `21 November 2026, 14:00 UTC`; anything else as it is.
fn calendar(started: &str) -> String {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let read = || {
        let (date, time) = started.strip_suffix('Z')?.split_once('T')?;
        let mut parts = date.split('-');
        let (year, month, day) =
            (parts.next()?, parts.next()?.parse::<usize>().ok()?, parts.next()?.parse::<u8>().ok()?);
        Some(format!("{day} {} {year}, {} UTC", MONTHS.get(month.checked_sub(1)?)?, time.get(..5)?))
    };
    read().unwrap_or_else(|| started.to_owned())
}

struct Key {
    label: String,
    value: String,
    note: String,
    bad: bool,
}

impl Key {
    fn new(label: impl Into<String>, value: String, note: String) -> Self {
        Self { label: label.into(), value, note, bad: false }
    }
}

pub(super) fn key_figures(result: &RunResult) -> Markup {
    let keys = [
        deliveries(result),
        latency(result, 0),
        latency(result, 1),
        Some(losses(result)),
        efficiency(result),
        memory(result),
        processors(result),
        connections(result),
    ];
    html! {
        dl.keys {
            @for key in keys.into_iter().flatten() {
                div class=[key.bad.then_some("bad")] {
                    dt { (key.label) }
                    dd { strong { (key.value) } @if !key.note.is_empty() { span { (key.note) } } }
                }
            }
        }
    }
}

fn deliveries(result: &RunResult) -> Option<Key> {
    let counted = result.per_second(result.count("deliveries"));
    let rate = result.figures.get("deliveries_per_second").copied().unwrap_or(counted);
    let note = format!(
        "{} in all, from {} sent",
        units::short(result.count("deliveries") as f64),
        units::short(result.count("sent") as f64)
    );
    (rate > 0.0).then(|| Key::new("Deliveries per second", units::rate(rate), note))
}

/// Of the two classes that tell most: what is seen by others, and what is promised to the sender.
fn latency(result: &RunResult, place: usize) -> Option<Key> {
    let favourites = ["signal", "last", "each", "median", "ack", "join", "connect"];
    let measured = in_order(&result.latency);
    let ranked = favourites.iter().filter_map(|class| measured.iter().find(|(name, _)| name == class));
    let seen = ranked.clone().next();
    let acknowledged = ranked.clone().find(|(name, _)| *name == "ack").or_else(|| ranked.clone().nth(1));
    let (class, latency) =
        if place == 0 { seen? } else { acknowledged.filter(|other| Some(*other) != seen)? };
    let times = latency.corrected;
    let what = describe(class).split(',').next().unwrap_or(class);
    let note = format!("half within {}", units::milliseconds(times.p50));
    Some(Key::new(format!("p99 {what}"), units::milliseconds(times.p99), note))
}

fn losses(result: &RunResult) -> Key {
    let (lost, violations) = (result.oracle.lost(), result.oracle.total());
    let note = match violations {
        0 => "no violation found".to_owned(),
        1 => "1 violation".to_owned(),
        more => format!("{} violations", units::whole(more)),
    };
    Key { bad: result.verdict == Verdict::Violated, ..Key::new("Lost", units::whole(lost), note) }
}

fn efficiency(result: &RunResult) -> Option<Key> {
    let per_cpu_second = result.figures.get("deliveries_per_cpu_second")?;
    let ratio =
        result.figures.get("ratio_to_floor").map(|ratio| format!("{} × the floor", units::digits(*ratio)));
    Some(Key::new("Deliveries per CPU second", units::short(*per_cpu_second), ratio.unwrap_or_default()))
}

fn memory(result: &RunResult) -> Option<Key> {
    let peak = result.server_usage.iter().map(|server| server.memory_peak).sum::<u64>() as f64;
    let at_most = (peak > 0.0).then(|| units::bytes(peak));
    match result.figures.get("memory_per_connection_bytes") {
        Some(each) => {
            let note = at_most.map(|peak| format!("{peak} at most")).unwrap_or_default();
            Some(Key::new("Memory per connection", units::bytes(*each), note))
        }
        None => Some(Key::new("Server memory, at most", at_most?, String::new())),
    }
}

fn processors(result: &RunResult) -> Option<Key> {
    let used: f64 = result.server_usage.iter().map(|server| server.cpu_seconds).sum();
    let busy = used / result.seconds;
    let note = format!("and {:.2} of the load generator", result.generator.cores);
    (busy.is_finite() && busy > 0.0).then(|| Key::new("Server cores busy", format!("{busy:.2}"), note))
}

fn connections(result: &RunResult) -> Option<Key> {
    let (name, count) = ["joined", "connections", "connections_opened"]
        .iter()
        .find_map(|name| Some((name, *result.counts.get(*name)?)))?;
    let lost = match result.count("connections_lost") {
        0 => String::new(),
        lost => format!("{} lost", units::whole(lost)),
    };
    let label = if *name == "joined" { "Members" } else { "Connections" };
    Some(Key::new(label, units::whole(count), lost))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_out() {
        assert_eq!(calendar("2026-11-21T14:05:09Z"), "21 November 2026, 14:05 UTC");
        for odd in ["", "yesterday", "2026-13-21T14:05:09Z", "2026-00-01T1Z"] {
            assert_eq!(calendar(odd), odd);
        }
    }

    #[test]
    fn an_invalid_run_says_so_in_big() {
        let mut result = RunResult::default();
        result.blame(Verdict::Invalid, "Its lag (p99) was 45 ms.");
        let head = header(&result).into_string();
        assert!(head.contains("<strong>INVALID</strong>") && head.contains("45 ms"), "{head}");
    }
}
