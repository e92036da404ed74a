//! Of which ops the way is recorded: of one in so many, and of those whose client asked for it. The latter are bounded, because anybody
//! can ask.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use enfilade_actors::trace::{Side, Span, Tracer};
use enfilade_proto::TraceParent;

use super::meter::{Allowance, Meter};

#[derive(Debug)]
pub struct Sampling {
    pub(crate) tracer: Tracer,
    /// Of so many ops the way of one is recorded; 0: of none.
    one_in: AtomicU32,
    ops: AtomicU32,
    /// What clients may ask for.
    allowance: Allowance,
    asked: Mutex<Meter>,
    start: Instant,
}

impl Default for Sampling {
    /// Nothing is recorded.
    fn default() -> Self {
        Self::new(Tracer::default(), 0, 0)
    }
}

impl Sampling {
    /// `asked_per_second`: traces that clients begin, and twice as many at once.
    #[must_use]
    pub fn new(tracer: Tracer, one_in: u32, asked_per_second: u32) -> Self {
        let allowance = Allowance { per_second: asked_per_second, burst: asked_per_second.saturating_mul(2) };
        Self {
            tracer,
            one_in: AtomicU32::new(one_in),
            ops: AtomicU32::new(0),
            allowance,
            asked: Mutex::default(),
            start: Instant::now(),
        }
    }

    pub(crate) fn one_in(&self) -> u32 {
        self.one_in.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, one_in: u32) {
        self.one_in.store(one_in, Ordering::Relaxed);
    }

    /// The first step of an op here, if its way is recorded. `asked`: the step of the client's that it belongs to.
    pub(crate) fn op(&self, asked: Option<TraceParent>) -> Option<Span> {
        let asked = asked.and_then(|parent| self.asked(parent, "op"));
        asked.or_else(|| if self.is_next() { self.tracer.root("op", Side::Server) } else { None })
    }

    /// The first step of a request here, if its client asked to have it recorded.
    pub(crate) fn request(&self, asked: TraceParent) -> Option<Span> {
        self.asked(asked, "request")
    }

    fn asked(&self, parent: TraceParent, name: &'static str) -> Option<Span> {
        if !parent.sampled || !self.may_ask(self.start.elapsed()) {
            return None;
        }
        self.tracer.child(parent, name, Side::Server)
    }

    fn may_ask(&self, now: Duration) -> bool {
        // Nothing under this lock can fail half-way.
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.take(self.allowance, now.as_millis() as u64).is_ok()
    }

    /// Whether it is the turn of an op.
    fn is_next(&self) -> bool {
        let one_in = self.one_in();
        one_in != 0 && self.ops.fetch_add(1, Ordering::Relaxed).is_multiple_of(one_in)
    }
}

#[cfg(test)]
mod tests {
    use enfilade_actors::trace::Kept;

    use super::*;

    #[test]
    fn one_in_so_many_ops_is_traced_and_none_at_zero() {
        let kept = Kept::default();
        let sampling = Sampling::new(kept.tracer(), 4, 0);
        let traced = |count| (0..count).filter(|_| sampling.op(None).is_some()).count();
        assert_eq!(traced(400), 100);
        sampling.set(0);
        assert_eq!(traced(400), 0);
        let traces: std::collections::BTreeSet<_> =
            kept.spans().iter().map(|span| span.context.trace).collect();
        assert_eq!(traces.len(), 100, "each is a trace of its own");
    }

    #[test]
    fn clients_cannot_have_everything_traced() {
        let kept = Kept::default();
        let parent: TraceParent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap();
        let sampling = Sampling::new(kept.tracer(), 0, 10);
        let unsampled = TraceParent { sampled: false, ..parent };
        assert!(sampling.op(Some(unsampled)).is_none(), "not asked for");
        assert!(sampling.op(Some(parent)).is_some());
        let span = &kept.spans()[0];
        assert_eq!((span.context.trace, span.parent), (parent.trace, Some(parent.span)));

        let hour = Duration::from_secs(3_600);
        let allowed = |at| (0..1_000).filter(|_| sampling.may_ask(at)).count();
        assert_eq!([allowed(hour), allowed(hour), allowed(hour + Duration::from_secs(1))], [20, 0, 10]);
        let deaf = Sampling::new(kept.tracer(), 0, 0);
        assert!(deaf.op(Some(parent)).is_none(), "an allowance of none is none");
    }
}
