//! Follows a run while it lasts: tells once a second how it goes, and notices when it is hopeless.

use std::time::Duration;

use tokio::sync::watch;

use super::times::{Class, Times};
use super::wire::{Counts, Speech};
use crate::clock::{Micros, SECOND};
use crate::display::Moment;
use crate::threshold::{Figures, Threshold, Watch, class_figure};
use crate::usage::Usage;

#[derive(Debug)]
pub struct Following {
    moments: watch::Sender<Moment>,
    watch: Watch,
    speech: Speech,
    stage: &'static str,
    /// When the stage began, and how long it takes if that is known.
    began: Micros,
    length: Micros,
    told: Micros,
    counts: Counts,
    times: Times,
    /// Those of this second.
    latest: Times,
    /// What workers and servers had used when it was last told.
    cpu: Micros,
    servers: Usage,
    /// Why the run need not go on.
    pub hopeless: Option<String>,
}

impl Following {
    /// Thresholds that end a run early are looked at in its measured part.
    #[must_use]
    pub fn new(
        moments: watch::Sender<Moment>,
        thresholds: &[Threshold],
        speech: Speech,
        now: Micros,
    ) -> Self {
        Self {
            moments,
            watch: Watch::new(thresholds),
            speech,
            stage: "starting",
            began: now,
            length: 0,
            told: now,
            counts: Counts::default(),
            times: Times::default(),
            latest: Times::default(),
            cpu: 0,
            servers: Usage::default(),
            hopeless: None,
        }
    }

    pub fn enter(&mut self, stage: &'static str, began: Micros, length: Micros) {
        (self.stage, self.began, self.length) = (stage, began, length);
    }

    pub(super) fn add(&mut self, counts: &Counts, times: &Times) {
        self.counts.add(counts);
        self.times.add(times);
        self.latest.add(times);
    }

    /// Tells how it goes, if a second has passed.
    pub(super) fn tell(&mut self, now: Micros, inside: u64, expected: u64, cpu: Micros, servers: Usage) {
        let passed = now.saturating_sub(self.told);
        if passed < SECOND {
            return;
        }
        let cores = |after: Micros, before: Micros| after.saturating_sub(before) as f64 / passed as f64;
        let class = [Class::Signal, Class::Ack, Class::Join, Class::Connect];
        let class = class.into_iter().find(|class| !self.latest.of(*class).is_empty());
        let figure = |class: Class, name| class_figure(self.latest.of(class), name).unwrap_or(0.0);
        let seconds = |time: Micros| time as f64 / SECOND as f64;
        self.moments.send_replace(Moment {
            stage: self.stage.to_owned(),
            seconds: seconds(now.saturating_sub(self.began)),
            of_seconds: seconds(self.length),
            connections: inside,
            expected_connections: expected,
            sent: self.counts.sent,
            delivered: self.counts.deliveries,
            class: class.map(|class| class.name_of(self.speech)).unwrap_or_default().to_owned(),
            p50_ms: class.map_or(0.0, |class| figure(class, "p50")),
            p99_ms: class.map_or(0.0, |class| figure(class, "p99")),
            server_cpu: (servers != Usage::default()).then(|| cores(servers.cpu, self.servers.cpu)),
            generator_cpu: cores(cpu, self.cpu),
            lag_p99_ms: figure(Class::Lag, "p99"),
            ..Moment::default()
        });
        (self.told, self.cpu, self.servers) = (now, cpu, servers);
        self.latest.clear();
        if self.stage == MEASURING && self.hopeless.is_none() {
            let since = Duration::from_micros(now.saturating_sub(self.began));
            let so_far = SoFar { speech: self.speech, counts: &self.counts, times: &self.times };
            self.hopeless = self.watch.judge(since, &so_far);
        }
    }
}

/// The stage that counts.
pub const MEASURING: &str = "measuring";

/// A run that goes on, as thresholds see it.
struct SoFar<'a> {
    speech: Speech,
    counts: &'a Counts,
    times: &'a Times,
}

impl Figures for SoFar<'_> {
    fn figure(&self, name: &str) -> Option<f64> {
        let count = |name: &str| {
            let named = self.counts.named().into_iter().find(|(known, _)| *known == name);
            named.map(|(_, count)| count as f64)
        };
        match name.split_once('.') {
            None => count(name),
            Some(("counts", name)) => count(name),
            Some((class, name)) => {
                let class = Class::ALL.into_iter().find(|known| known.name_of(self.speech) == class)?;
                let (class, name) = match (class, name.strip_prefix("raw.")) {
                    (Class::Signal, Some(name)) => (Class::SignalRaw, name),
                    _ => (class, name),
                };
                class_figure(self.times.of(class), name)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_misses_a_threshold_for_too_long_is_hopeless() {
        let threshold = Threshold {
            expression: "signal.p99 < 5ms".parse().unwrap(),
            abort_after: Some(Duration::from_secs(2)),
        };
        let (moments, seen) = watch::channel(Moment::default());
        let mut following = Following::new(moments, &[threshold], Speech::Signals, 0);
        let mut times = Times::default();
        times.record(Class::Signal, 9_000);
        following.enter("joining", 0, 0);
        let second = |following: &mut Following, at: u64| {
            following.add(&Counts { sent: 3, ..Counts::default() }, &times);
            following.tell(at * SECOND, 7, 9, at * SECOND / 2, Usage::default());
        };
        (1..10).for_each(|at| second(&mut following, at));
        assert_eq!(following.hopeless, None);
        following.enter(MEASURING, 10 * SECOND, 60 * SECOND);
        (11..15).for_each(|at| second(&mut following, at));
        assert!(following.hopeless.as_ref().is_some_and(|why| why.contains("signal.p99")), "{following:?}");
        let moment = seen.borrow().clone();
        assert_eq!((moment.connections, moment.sent, moment.class.as_str()), (7, 39, "signal"));
        assert!((moment.p99_ms - 9.0).abs() < 0.1 && (moment.generator_cpu - 0.5).abs() < 1e-6);
    }
    #[test]
    fn times_have_the_names_that_they_have_in_the_result() {
        let (mut times, counts) = (Times::default(), Counts::default());
        times.record(Class::Signal, 9_000);
        times.record(Class::SignalRaw, 5_000);
        let figure = |speech, name| {
            let figure = SoFar { speech, counts: &counts, times: &times }.figure(name);
            figure.map(f64::round)
        };
        assert_eq!(figure(Speech::Signals, "signal.p99"), Some(9.0));
        assert_eq!(figure(Speech::Signals, "signal.raw.p99"), Some(5.0));
        assert_eq!(figure(Speech::Ops, "each.max"), Some(9.0));
        for (speech, name) in
            [(Speech::Signals, "each.p99"), (Speech::Ops, "signal.p99"), (Speech::Ops, "ack.raw.p99")]
        {
            assert_eq!(figure(speech, name), None, "{name}");
        }
    }
}
