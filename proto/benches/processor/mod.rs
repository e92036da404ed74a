//! Time on the processor: what a busy machine stretches least.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The processor's time that this thread spends on some work, in the kernel too.
pub(crate) fn time(work: impl FnOnce()) -> Duration {
    let before = now();
    work();
    now() - before
}

fn now() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs() as u32)
}
