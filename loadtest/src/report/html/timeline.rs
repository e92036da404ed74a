//! What happened when: plots over the time of the run, one under the other on the same axis, with the faults across all.

use maud::{Markup, html};

use super::chart::{Axis, Bar, Chart, Hover, Layer, rows_style};
use super::scale::Scale;
use crate::report::classes::{describe, in_order};
use crate::report::units;
use crate::result::{Fault, RunResult, Second};

/// As many points as a wide screen can tell apart.
const POINTS: usize = 480;
/// Classes that have a plot, if the run measured them; otherwise the first that it did measure.
const FAVOURITES: [&str; 3] = ["ack", "last", "signal"];
/// Above this a plot of latency needs a logarithmic axis.
const WIDE_RANGE: f64 = 40.0;

pub(super) fn section(result: &RunResult) -> Markup {
    if result.series.len() < 2 {
        return html! {};
    }
    let timeline = Timeline::new(result);
    html! {
        section {
            h2 { "Over time" }
            p.lead {
                "Each point is " (timeline.step_words()) ". Of latencies the line is the median, and the band reaches to the 99th percentile."
                @if !result.faults.is_empty() { " " span.fault-word { "Marked" } " is what was done to the server on purpose." }
            }
            div.timeline style=(rows_style(timeline.rows)) {
                @for class in timeline.classes() { (timeline.latency(class)) }
                (timeline.throughput())
                (timeline.connections())
                (timeline.cpu())
                (timeline.memory())
            }
        }
    }
}

struct Timeline<'a> {
    /// At most [`POINTS`], each of as many seconds.
    points: Vec<Point>,
    classes: Vec<String>,
    faults: &'a [Fault],
    /// In which line each fault is named, and how many lines that takes: on a desk, on a phone.
    fault_rows: Vec<[u32; 2]>,
    rows: [u32; 2],
    seconds: f64,
    step: f64,
}

/// A few seconds that are drawn as one point: rates are averages, latencies the worst of them, levels the highest.
#[derive(Clone, Debug, Default)]
struct Point {
    at: f64,
    second: Second,
    sent_rate: f64,
    delivered_rate: f64,
}

impl<'a> Timeline<'a> {
    fn new(result: &'a RunResult) -> Self {
        let size = result.series.len().div_ceil(POINTS);
        // The first second may have begun before the measured part.
        let mut before = result.series.first().map_or(0.0, |first| first.at) - usual_step(&result.series);
        let mut points = Vec::new();
        for seconds in result.series.chunks(size) {
            let point = Point::of(seconds, before);
            before = point.second.at;
            points.push(point);
        }
        let seconds = result.seconds.max(before);
        let [(desk, desk_rows), (phone, phone_rows)] =
            LETTERS.map(|letter| rows_of(&result.faults, seconds, letter));
        let fault_rows = desk.into_iter().zip(phone).map(|(desk, phone)| [desk, phone]).collect();
        let mut classes: Vec<String> =
            result.series.iter().flat_map(|second| second.latency.keys().cloned()).collect();
        classes.sort_unstable();
        classes.dedup();
        Self {
            points,
            classes,
            faults: &result.faults,
            fault_rows,
            rows: [desk_rows, phone_rows],
            seconds,
            step: seconds / result.series.len() as f64 * size as f64,
        }
    }

    fn step_words(&self) -> String {
        let step = self.step.round().max(1.0);
        if step < 2.0 { "a second".into() } else { format!("{step:.0} seconds") }
    }

    fn classes(&self) -> Vec<&str> {
        let measured = |class: &&str| self.classes.iter().any(|known| known == class);
        let favourites: Vec<&str> = FAVOURITES.into_iter().filter(measured).collect();
        if favourites.is_empty() {
            in_order(self.classes.iter().map(|class| (class, ())))
                .into_iter()
                .map(|(class, ())| class)
                .take(3)
                .collect()
        } else {
            favourites
        }
    }

    fn latency(&self, class: &str) -> Markup {
        let at = |point: &Point| point.second.latency.get(class).map(|[p50, p99]| (point.at, *p50, *p99));
        let band: Vec<_> = self.points.iter().map(at).collect();
        let measured = || band.iter().flatten();
        let low = measured().map(|(_, p50, _)| *p50).filter(|p50| *p50 > 0.0).fold(f64::INFINITY, f64::min);
        let high = measured().map(|(_, _, p99)| *p99).fold(0.0, f64::max);
        let wide = high / low > WIDE_RANGE;
        let scale = if wide { Scale::log(low, high) } else { Scale::from_zero(high, 3) };
        let words = band.iter().map(|point| match point {
            Some((_, p50, p99)) => {
                format!("p50 {} · p99 {}", units::milliseconds(*p50), units::milliseconds(*p99))
            }
            None => "nothing measured".into(),
        });
        let median: Vec<_> = band.iter().map(|point| point.map(|(at, p50, _)| (at, p50))).collect();
        let top: Vec<_> = band.iter().map(|point| point.map(|(at, _, p99)| (at, p99))).collect();
        let layers = vec![
            Layer::Band { class: "band", points: band.clone() },
            Layer::Line { class: "curve thin", points: top },
            Layer::Line { class: "curve", points: median },
        ];
        let note = if wide { "logarithmic" } else { "" };
        let caption =
            html! { strong { (describe(class)) } span.aside { "p50 to p99" @if wide { ", " (note) } } };
        self.panel(caption, 150, Axis { scale, label: units::milliseconds }, layers, words.collect())
    }

    fn throughput(&self) -> Markup {
        let rates = |of: fn(&Point) -> f64| -> Vec<f64> { self.points.iter().map(of).collect() };
        let (sent, delivered) = (rates(|point| point.sent_rate), rates(|point| point.delivered_rate));
        let words = |rates: &[f64]| rates.iter().map(|rate| format!("{}/s", units::rate(*rate))).collect();
        let axis = |rates: &[f64]| Axis { scale: Scale::from_zero(highest(rates), 2), label: per_second };
        if highest(&sent) <= 0.0 && highest(&delivered) <= 0.0 {
            return html! {};
        }
        html! {
            (self.panel(self.caption("Deliveries", &delivered), 120, axis(&delivered), self.area(&delivered), words(&delivered)))
            (self.panel(self.caption("Sent", &sent), 80, axis(&sent), self.area(&sent), words(&sent)))
        }
    }

    fn caption(&self, name: &str, rates: &[f64]) -> Markup {
        let mean = rates.iter().sum::<f64>() / rates.len().max(1) as f64;
        html! { strong { (name) } span.aside { (units::rate(mean)) "/s on average" } }
    }

    /// Only if there is something to see.
    fn connections(&self) -> Markup {
        let levels: Vec<f64> = self.points.iter().map(|point| point.second.connections as f64).collect();
        if levels.windows(2).all(|pair| pair[0] == pair[1]) {
            return html! {};
        }
        let axis = Axis { scale: Scale::from_zero(highest(&levels), 2), label: units::short };
        let words = levels.iter().map(|level| format!("{} connected", units::whole(*level as u64))).collect();
        self.panel(html! { strong { "Connections" } }, 80, axis, self.area(&levels), words)
    }

    fn cpu(&self) -> Markup {
        let of = |cores: fn(&Second) -> f64| -> Vec<f64> {
            self.points.iter().map(|point| cores(&point.second)).collect()
        };
        let (server, generator) = (of(|second| second.server_cpu), of(|second| second.generator_cpu));
        let known = highest(&server) > 0.0;
        if !known && highest(&generator) <= 0.0 {
            return html! {};
        }
        let mut layers = vec![Layer::Line { class: "curve other", points: self.curve(&generator) }];
        if known {
            layers.push(Layer::Line { class: "curve", points: self.curve(&server) });
        }
        let caption = html! {
            strong { "CPU" }
            span.aside {
                "cores busy: "
                @if known { span.corrected-word { "server" } " and " }
                span.other-word { "load generator" }
            }
        };
        let word = |(server, generator): (&f64, &f64)| match known {
            true => format!("server {server:.2} · generator {generator:.2}"),
            false => format!("generator {generator:.2}"),
        };
        let axis = Axis {
            scale: Scale::from_zero(highest(&server).max(highest(&generator)), 2),
            label: units::digits,
        };
        self.panel(caption, 110, axis, layers, server.iter().zip(&generator).map(word).collect())
    }

    fn memory(&self) -> Markup {
        let sizes: Vec<f64> = self.points.iter().map(|point| point.second.server_memory as f64).collect();
        if highest(&sizes) <= 0.0 {
            return html! {};
        }
        let axis = Axis { scale: Scale::from_zero(highest(&sizes), 2), label: units::bytes };
        let caption = html! { strong { "Memory" } span.aside { "server" } };
        self.panel(caption, 80, axis, self.area(&sizes), sizes.iter().copied().map(units::bytes).collect())
    }

    fn curve(&self, values: &[f64]) -> Vec<Option<(f64, f64)>> {
        self.points.iter().zip(values).map(|(point, value)| Some((point.at, *value))).collect()
    }

    fn area(&self, values: &[f64]) -> Vec<Layer> {
        let line = self.curve(values);
        let under = line.iter().map(|point| point.map(|(at, value)| (at, 0.0, value))).collect();
        vec![Layer::Band { class: "band", points: under }, Layer::Line { class: "curve", points: line }]
    }

    fn panel(&self, caption: Markup, height: u32, y: Axis, layers: Vec<Layer>, words: Vec<String>) -> Markup {
        let bars = self.faults.iter().zip(&self.fault_rows);
        let chart = Chart {
            x: Axis { scale: Scale::time(self.seconds, 5), label: clock },
            y,
            height,
            description: "over the time of the run".into(),
            // Named in every panel, but style shows that of the first alone.
            bars: bars
                .map(|(fault, rows)| Bar { from: fault.from, to: fault.to, label: &fault.label, rows: *rows })
                .collect(),
            layers,
            marks: vec![],
            hover: Some(Hover {
                x: self.points.iter().map(|point| point.at).collect(),
                text: self
                    .points
                    .iter()
                    .zip(words)
                    .map(|(point, words)| format!("{} · {words}", clock(point.at)))
                    .collect(),
            }),
        };
        html! { figure { figcaption { (caption) output {} } (chart.draw()) } }
    }
}

impl Point {
    fn of(seconds: &[Second], before: f64) -> Self {
        let mut whole = Second::default();
        for second in seconds {
            whole.at = second.at;
            whole.sent += second.sent;
            whole.delivered += second.delivered;
            whole.connections = whole.connections.max(second.connections);
            whole.server_memory = whole.server_memory.max(second.server_memory);
            whole.server_cpu += second.server_cpu / seconds.len() as f64;
            whole.generator_cpu += second.generator_cpu / seconds.len() as f64;
            for (class, [p50, p99]) in &second.latency {
                let worst = whole.latency.entry(class.clone()).or_default();
                *worst = [worst[0].max(*p50), worst[1].max(*p99)];
            }
        }
        let passed = (whole.at - before).max(0.001);
        let (sent_rate, delivered_rate) = (whole.sent as f64 / passed, whole.delivered as f64 / passed);
        Self { at: (before + passed / 2.0).max(0.0), second: whole, sent_rate, delivered_rate }
    }
}

/// How wide a letter is, as a share of a plot, on a desk and on a phone.
const LETTERS: [f64; 2] = [0.0075, 0.021];

/// Names that would run into each other stand in different lines. Also, how many lines there are.
fn rows_of(faults: &[Fault], seconds: f64, letter: f64) -> (Vec<u32>, u32) {
    const ROWS: usize = 4;
    let mut ends = [f64::NEG_INFINITY; ROWS];
    let mut row_of = |fault: &Fault| {
        let width = (fault.label.chars().count() + 2) as f64 * letter;
        let (from, to) = (fault.from / seconds, fault.to / seconds);
        // As they are drawn: to the left of their end where they would leave the plot.
        let (from, to) = if from > 0.6 { (to.min(1.0) - width, to) } else { (from, from + width) };
        let row = ends.iter().position(|end| *end <= from).unwrap_or(ROWS - 1);
        ends[row] = ends[row].max(to);
        row as u32
    };
    let rows: Vec<u32> = faults.iter().map(&mut row_of).collect();
    let used = rows.iter().max().map_or(0, |row| row + 1);
    (rows, used)
}

/// The median distance between two seconds.
fn usual_step(series: &[Second]) -> f64 {
    let mut steps: Vec<f64> = series.windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    steps.sort_unstable_by(f64::total_cmp);
    steps.get(steps.len() / 2).copied().unwrap_or(1.0)
}

fn highest(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

fn per_second(rate: f64) -> String {
    format!("{}/s", units::short(rate))
}

/// `45 s`, `2 min`, `1:30`, `1:05:00`.
fn clock(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{} s", units::round(&units::digits(seconds))),
        _ if whole.is_multiple_of(60) && whole < 7200 => format!("{} min", whole / 60),
        60..3600 => format!("{}:{:02}", whole / 60, whole % 60),
        _ => format!("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_runs_are_drawn_in_few_points_and_lose_no_peak() {
        let second = |n: u64| Second {
            at: n as f64,
            sent: 10,
            latency: [("ack".to_owned(), [1.0, if n == 777 { 900.0 } else { 2.0 }])].into(),
            ..Second::default()
        };
        let result =
            RunResult { seconds: 5000.0, series: (1..=5000).map(second).collect(), ..RunResult::default() };
        let timeline = Timeline::new(&result);
        assert!(timeline.points.len() <= POINTS);
        assert!(timeline.points.iter().all(|point| (point.sent_rate - 10.0).abs() < 1e-9));
        assert_eq!(
            highest(&timeline.points.iter().map(|point| point.second.latency["ack"][1]).collect::<Vec<_>>()),
            900.0
        );
        assert_eq!(timeline.step_words(), "11 seconds");
    }

    #[test]
    fn a_first_second_that_began_before_the_measured_part_is_a_whole_one() {
        let second = |n: u32| Second { at: f64::from(n) + 0.7, delivered: 500, ..Second::default() };
        let result = RunResult { seconds: 5.0, series: (0..5).map(second).collect(), ..RunResult::default() };
        let timeline = Timeline::new(&result);
        assert!(
            timeline.points.iter().all(|point| (point.delivered_rate - 500.0).abs() < 1.0),
            "{:?}",
            timeline.points
        );
        assert!(timeline.points.iter().all(|point| point.at >= 0.0));
    }

    #[test]
    fn names_of_faults_do_not_run_into_each_other() {
        let fault = |from: f64, label: &str| Fault { from, to: from + 1.0, label: label.into() };
        let faults = [
            fault(1.0, "kill -9 node b"),
            fault(4.0, "restart"),
            fault(60.0, "partition"),
            fault(95.0, "heal"),
        ];
        assert_eq!(rows_of(&faults, 100.0, 0.021), (vec![0, 1, 0, 0], 2));
        assert_eq!(rows_of(&[], 100.0, 0.021), (vec![], 0));
    }

    #[test]
    fn times_read_like_a_clock() {
        assert_eq!(
            [0.0, 2.5, 45.0, 90.0, 120.0, 7205.0].map(clock),
            ["0 s", "2.5 s", "45 s", "1:30", "2 min", "2:00:05"]
        );
    }
}
