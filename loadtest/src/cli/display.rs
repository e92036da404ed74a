//! The terminal that runs are followed on.

use std::io::{Stderr, stderr};

use enfilade_loadtest::display::{Moment, Screen};
use enfilade_loadtest::replay::Progress;

/// Standard error; the result goes to standard output.
pub(super) fn screen() -> Screen<Stderr> {
    let width = terminal_size::terminal_size_of(stderr()).map(|(width, _)| usize::from(width.0));
    Screen::new(stderr(), width)
}

/// Of a replay. What others see says more than what the author is answered.
pub(super) fn moment(progress: &Progress) -> Moment {
    let second = progress.second.clone().unwrap_or_default();
    let measured = ["signal", "last", "ack"].into_iter().find(|class| second.latency.contains_key(*class));
    let class = measured.unwrap_or_default();
    let [p50_ms, p99_ms] = second.latency.get(class).copied().unwrap_or_default();
    Moment {
        stage: progress.stage.to_owned(),
        seconds: progress.seconds,
        of_seconds: progress.of_seconds,
        connections: u64::from(progress.inside),
        expected_connections: progress.clones as u64,
        sent: progress.counts.sent(),
        delivered: progress.counts.delivered(),
        class: class.to_owned(),
        p50_ms,
        p99_ms,
        lost: 0,
        violations: progress.violations,
        server_cpu: (second.server_memory > 0).then_some(second.server_cpu),
        generator_cpu: second.generator_cpu,
        lag_p99_ms: progress.lag_p99_ms,
    }
}
