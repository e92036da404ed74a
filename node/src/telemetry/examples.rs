//! Examples of what histograms were told: for each of their buckets the traced op that fell into it last.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use enfilade_proto::TraceId;

use super::SECONDS;

/// A bucket for each bound, and one for what is beyond.
const BUCKETS: usize = SECONDS.len() + 1;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Example {
    pub(crate) trace: TraceId,
    pub(crate) seconds: f64,
    pub(crate) at: SystemTime,
}

/// Bounded: there are as many histograms as the code has.
#[derive(Debug, Default)]
pub(crate) struct Examples(Mutex<BTreeMap<&'static str, [Option<Example>; BUCKETS]>>);

impl Examples {
    pub(crate) fn take(&self, histogram: &'static str, seconds: f64, trace: TraceId, at: SystemTime) {
        let bucket = SECONDS.partition_point(|bound| *bound < seconds);
        self.lock().entry(histogram).or_insert([None; BUCKETS])[bucket] =
            Some(Example { trace, seconds, at });
    }

    /// That of the bucket up to `bound`, if there is one.
    pub(crate) fn find(&self, histogram: &str, bound: f64) -> Option<Example> {
        let bucket = SECONDS.partition_point(|it| *it < bound);
        *self.lock().get(histogram)?.get(bucket)?
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, [Option<Example>; BUCKETS]>> {
        // Nothing under this lock can fail half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
