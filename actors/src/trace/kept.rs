//! Spans kept in memory, for tests.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use enfilade_proto::{SpanId, TraceId};

use super::{Recorder, SpanRecord, Tracer};

/// Keeps everything. Ids count from 1, and every look at the clock takes a millisecond.
#[derive(Clone, Debug, Default)]
pub struct Kept(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    ids: u64,
    looks: u64,
    spans: Vec<SpanRecord>,
    examples: Vec<(&'static str, TraceId)>,
}

impl Kept {
    #[must_use]
    pub fn tracer(&self) -> Tracer {
        Tracer::new(Arc::new(self.clone()))
    }

    /// What has ended, in that order.
    #[must_use]
    pub fn spans(&self) -> Vec<SpanRecord> {
        self.lock().spans.clone()
    }

    #[must_use]
    pub fn examples(&self) -> Vec<(&'static str, TraceId)> {
        self.lock().examples.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock can fail half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_id(&self) -> u64 {
        let mut state = self.lock();
        state.ids += 1;
        state.ids
    }
}

impl Recorder for Kept {
    fn now(&self) -> SystemTime {
        let mut state = self.lock();
        state.looks += 1;
        SystemTime::UNIX_EPOCH + Duration::from_millis(state.looks)
    }

    fn new_trace(&self) -> TraceId {
        TraceId::new(self.next_id().into())
    }

    fn new_span(&self) -> SpanId {
        SpanId::new(self.next_id())
    }

    fn record(&self, span: SpanRecord) {
        self.lock().spans.push(span);
    }

    fn example(&self, histogram: &'static str, _seconds: f64, trace: TraceId) {
        self.lock().examples.push((histogram, trace));
    }
}
