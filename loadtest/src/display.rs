//! How a run is going, on the terminal: a few lines that are drawn over and over, or one now and then where nobody watches.
//!
//! [`Live`] decides what is said and knows no terminal; [`Screen`] writes it.

use std::collections::VecDeque;
use std::io::{self, Write};

use crate::report::units;

/// What is known of a run at one moment. Counts are since its beginning, levels are of now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Moment {
    pub stage: String,
    pub seconds: f64,
    /// How long the measured part takes; 0 if nobody knows.
    pub of_seconds: f64,
    pub connections: u64,
    pub expected_connections: u64,
    pub sent: u64,
    pub delivered: u64,
    /// Which class the latencies are of.
    pub class: String,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub lost: u64,
    pub violations: u64,
    /// In cores, if it is known.
    pub server_cpu: Option<f64>,
    pub generator_cpu: f64,
    pub lag_p99_ms: f64,
}

/// What is remembered for the sparklines.
const KEPT: usize = 40;
const LABEL: usize = 12;
/// Narrower terminals break the lines instead.
const NARROWEST: usize = 40;

/// A run as it goes on.
#[derive(Clone, Debug, Default)]
pub struct Live {
    now: Moment,
    sent_per_second: f64,
    deliveries: VecDeque<f64>,
    p99s: VecDeque<f64>,
}

impl Live {
    pub fn take(&mut self, moment: Moment) {
        let passed = moment.seconds - self.now.seconds;
        // Before the clock starts there are no rates.
        if passed > 0.0 {
            let per_second = |now: u64, before: u64| now.saturating_sub(before) as f64 / passed;
            self.sent_per_second = per_second(moment.sent, self.now.sent);
            remember(&mut self.deliveries, per_second(moment.delivered, self.now.delivered));
            remember(&mut self.p99s, moment.p99_ms);
        }
        self.now = moment;
    }

    /// For a terminal that is so wide.
    #[must_use]
    pub fn lines(&self, width: usize) -> Vec<String> {
        let width = width.max(NARROWEST);
        let now = &self.now;
        let deliveries = self.deliveries.back().copied().unwrap_or(0.0);
        let mut lines = vec![
            self.progress(width),
            line(
                "deliveries",
                &format!("{:>9}/s  sent {}/s", units::rate(deliveries), units::rate(self.sent_per_second)),
                &self.deliveries,
                width,
            ),
            line(
                if now.class.is_empty() { "latency" } else { &now.class },
                &format!("p50 {}  p99 {}", units::milliseconds(now.p50_ms), units::milliseconds(now.p99_ms)),
                &self.p99s,
                width,
            ),
            line("connections", &self.connections(), &VecDeque::new(), width),
            line("CPU", &self.processors(), &VecDeque::new(), width),
        ];
        if now.lost > 0 || now.violations > 0 {
            lines.push(line("WRONG", &self.wrong(), &VecDeque::new(), width));
        }
        lines.into_iter().map(|line| line.chars().take(width).collect()).collect()
    }

    /// Everything in one line, for a log.
    #[must_use]
    pub fn line(&self) -> String {
        let now = &self.now;
        let mut text = format!(
            "{} {}  {}  {}/s delivered, {}/s sent  {} p50 {} p99 {}  CPU {}",
            self.clock(),
            now.stage,
            self.connections(),
            units::rate(self.deliveries.back().copied().unwrap_or(0.0)),
            units::rate(self.sent_per_second),
            now.class,
            units::milliseconds(now.p50_ms),
            units::milliseconds(now.p99_ms),
            self.processors(),
        );
        if now.lost > 0 || now.violations > 0 {
            text.push_str("  WRONG: ");
            text.push_str(&self.wrong());
        }
        text
    }

    fn clock(&self) -> String {
        match self.now.of_seconds {
            of if of > 0.0 => format!("{:.0}/{of:.0} s", self.now.seconds),
            _ => format!("{:.0} s", self.now.seconds),
        }
    }

    fn progress(&self, width: usize) -> String {
        let clock = self.clock();
        let room = width.saturating_sub(LABEL + clock.chars().count() + 3).min(KEPT);
        let share = if self.now.of_seconds > 0.0 {
            (self.now.seconds / self.now.of_seconds).clamp(0.0, 1.0)
        } else {
            0.0
        };
        let done = (share * room as f64).round() as usize;
        format!("{:<LABEL$} {}{} {clock}", self.now.stage, "━".repeat(done), "╌".repeat(room - done))
    }

    fn connections(&self) -> String {
        let Moment { connections, expected_connections, .. } = self.now;
        match expected_connections {
            0 => format!("{} in", units::whole(connections)),
            expected => format!("{} of {} in", units::whole(connections), units::whole(expected)),
        }
    }

    fn processors(&self) -> String {
        let server = self.now.server_cpu.map(|cores| format!("server {cores:.2}  ")).unwrap_or_default();
        let lag = units::milliseconds(self.now.lag_p99_ms);
        format!("{server}generator {:.2}, late by {lag} (p99)", self.now.generator_cpu)
    }

    fn wrong(&self) -> String {
        format!("{} lost, {} violations", units::whole(self.now.lost), units::whole(self.now.violations))
    }
}

fn remember(values: &mut VecDeque<f64>, value: f64) {
    if values.len() == KEPT {
        values.pop_front();
    }
    values.push_back(value);
}

fn line(label: &str, text: &str, history: &VecDeque<f64>, width: usize) -> String {
    const TEXT: usize = 30;
    let start = format!("{label:<LABEL$} {text:<TEXT$}");
    let room = width.saturating_sub(start.chars().count() + 2);
    let spark = sparkline(history, room);
    format!("{start}  {spark}").trim_end().to_owned()
}

/// The latest values, as many as there is room for, from nothing to the highest of them.
fn sparkline(values: &VecDeque<f64>, room: usize) -> String {
    const STEPS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let latest = values.iter().skip(values.len().saturating_sub(room));
    let highest = latest.clone().copied().fold(0.0, f64::max);
    let step = |value: &f64| {
        let share = if highest > 0.0 { value / highest } else { 0.0 };
        STEPS[((share * 7.0).round().max(0.0) as usize).min(7)]
    };
    latest.map(step).collect()
}

/// Where the lines go.
#[derive(Debug)]
pub struct Screen<W> {
    out: W,
    /// None: nobody watches.
    width: Option<usize>,
    live: Live,
    /// Lines that are overwritten by the next ones.
    drawn: usize,
    told: u64,
}

/// Without a terminal one moment in so many is told.
const ONE_IN: u64 = 10;

impl<W: Write> Screen<W> {
    /// `width` is the terminal's, if there is one.
    pub fn new(out: W, width: Option<usize>) -> Self {
        Self { out, width, live: Live::default(), drawn: 0, told: 0 }
    }

    /// Shows the moment. That nobody can be told anything does not stop a run.
    pub fn show(&mut self, moment: Moment) {
        self.live.take(moment);
        let _ = self.draw();
        self.told += 1;
    }

    fn draw(&mut self) -> io::Result<()> {
        let Some(width) = self.width else {
            return if self.told.is_multiple_of(ONE_IN) {
                writeln!(self.out, "{}", self.live.line())
            } else {
                Ok(())
            };
        };
        let lines = self.live.lines(width.saturating_sub(1));
        if self.drawn > 0 {
            write!(self.out, "\x1b[{}A", self.drawn)?;
        }
        lines.iter().try_for_each(|line| writeln!(self.out, "\x1b[2K{line}"))?;
        self.drawn = self.drawn.max(lines.len());
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(second: u64) -> Moment {
        Moment {
            stage: "measuring".into(),
            seconds: second as f64,
            of_seconds: 20.0,
            connections: 998,
            expected_connections: 1000,
            sent: 400 * second,
            delivered: 1000 * second * second,
            class: "signal".into(),
            p50_ms: 1.25,
            p99_ms: if second == 4 { 80.0 } else { 4.0 },
            generator_cpu: 0.31,
            lag_p99_ms: 0.42,
            server_cpu: Some(0.62),
            ..Moment::default()
        }
    }

    fn after(seconds: u64) -> Live {
        let mut live = Live::default();
        (0..=seconds).for_each(|second| live.take(moment(second)));
        live
    }

    #[test]
    fn a_terminal_shows_how_it_goes() {
        assert_eq!(
            after(5).lines(70),
            [
                "measuring    ━━━━━━━━━━╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌ 5/20 s",
                "deliveries       9,000/s  sent 400/s         ▂▃▅▆█",
                "signal       p50 1.25 ms  p99 4.00 ms        ▁▁▁█▁",
                "connections  998 of 1,000 in",
                "CPU          server 0.62  generator 0.31, late by 420 µs (p99)",
            ]
        );
    }

    #[test]
    fn what_is_wrong_has_a_line_of_its_own() {
        let mut live = after(2);
        live.take(Moment { lost: 12, violations: 3456, ..moment(3) });
        assert_eq!(live.lines(60).last().unwrap(), "WRONG        12 lost, 3,456 violations");
        assert!(live.line().ends_with("WRONG: 12 lost, 3,456 violations"), "{}", live.line());
        assert!(
            live.line().starts_with("3/20 s measuring  998 of 1,000 in  5,000/s delivered, 400/s sent"),
            "{}",
            live.line()
        );
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for width in 0..120 {
            let lines = after(50).lines(width);
            let widest = lines.iter().map(|line| line.chars().count()).max();
            assert!(widest <= Some(width.max(NARROWEST)), "{width}: {lines:#?}");
        }
        assert!(Live::default().lines(80).len() >= 5);
    }

    #[test]
    fn lines_are_drawn_over_only_where_somebody_watches() {
        let (mut terminal, mut log) = (Vec::new(), Vec::new());
        let (mut screen, mut file) = (Screen::new(&mut terminal, Some(80)), Screen::new(&mut log, None));
        for second in 0..12 {
            screen.show(moment(second));
            file.show(moment(second));
        }
        let (terminal, log) = (String::from_utf8(terminal).unwrap(), String::from_utf8(log).unwrap());
        assert_eq!(terminal.matches("\x1b[5A").count(), 11);
        assert!(!log.contains('\x1b') && log.lines().count() == 2, "{log}");
    }
}
