//! The way of an op, step by step: spans of a trace, as they are told to whoever keeps them.
//!
//! Few ops are traced. For the others there is no [`Span`], and nothing here does anything. Each step is the child of the one before
//! it, wherever that was: the context travels beside the message. Ids and the time come from the [`Recorder`], so that a simulation,
//! which has none, draws no chance.

#[cfg(any(test, feature = "testing"))]
mod kept;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use enfilade_proto::{SpanId, TraceId, TraceParent};

#[cfg(any(test, feature = "testing"))]
pub use self::kept::Kept;

/// Traces that one message or commit tells of; those beyond are not continued.
pub(crate) const TRACES: usize = 16;

/// Who keeps spans.
pub trait Recorder: fmt::Debug + Send + Sync {
    fn now(&self) -> SystemTime;
    fn new_trace(&self) -> TraceId;
    fn new_span(&self) -> SpanId;
    fn record(&self, span: SpanRecord);
    /// A traced op is an example of what this histogram was told just now.
    fn example(&self, histogram: &'static str, seconds: f64, trace: TraceId);
}

/// A step that is over.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanRecord {
    pub name: &'static str,
    pub side: Side,
    pub context: TraceParent,
    pub parent: Option<SpanId>,
    pub began: SystemTime,
    pub ended: SystemTime,
    pub facts: Vec<(&'static str, Fact)>,
    /// Steps of other traces that happened together with this one.
    pub links: Vec<TraceParent>,
    /// Why it came to nothing.
    pub failure: Option<Cow<'static, str>>,
}

/// Which side of a conversation a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Somebody from outside waits for it.
    Server,
    /// It sends a message,
    Producer,
    /// or takes one in.
    Consumer,
    Internal,
}

/// What is known of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    Text(Cow<'static, str>),
    Number(i64),
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => number.fmt(f),
        }
    }
}

impl From<&'static str> for Fact {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Fact {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<u64> for Fact {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

/// Begins spans, if there is somebody to keep them.
#[derive(Clone, Debug, Default)]
pub struct Tracer(Option<Arc<dyn Recorder>>);

/// A step that is being taken. It ends when it is dropped. Boxed: messages have room for one, and few have one.
#[derive(Debug)]
pub struct Span(Box<Open>);

#[derive(Debug)]
struct Open {
    recorder: Arc<dyn Recorder>,
    record: SpanRecord,
}

impl Tracer {
    #[must_use]
    pub fn new(recorder: Arc<dyn Recorder>) -> Self {
        Self(Some(recorder))
    }

    /// The first step of a new trace.
    #[must_use]
    pub fn root(&self, name: &'static str, side: Side) -> Option<Span> {
        let recorder = self.0.as_ref()?;
        let began = recorder.now();
        Some(Span::new(recorder, None, recorder.new_trace(), (name, side), began))
    }

    /// The step after `parent`; nothing if that is not recorded.
    #[must_use]
    pub fn child(&self, parent: TraceParent, name: &'static str, side: Side) -> Option<Span> {
        let began = self.0.as_ref()?.now();
        self.child_since(parent, name, side, began)
    }

    /// The same for what began a while ago.
    #[must_use]
    pub fn child_since(
        &self,
        parent: TraceParent,
        name: &'static str,
        side: Side,
        began: SystemTime,
    ) -> Option<Span> {
        let recorder = self.0.as_ref().filter(|_| parent.sampled)?;
        Some(Span::new(recorder, Some(parent.span), parent.trace, (name, side), began))
    }

    /// When something began that is traced.
    #[must_use]
    pub fn now(&self) -> Option<SystemTime> {
        self.0.as_ref().map(|recorder| recorder.now())
    }

    pub fn example(&self, histogram: &'static str, seconds: f64, trace: TraceId) {
        if let Some(recorder) = &self.0 {
            recorder.example(histogram, seconds, trace);
        }
    }
}

impl Span {
    fn new(
        recorder: &Arc<dyn Recorder>,
        parent: Option<SpanId>,
        trace: TraceId,
        (name, side): (&'static str, Side),
        began: SystemTime,
    ) -> Self {
        let context = TraceParent { trace, span: recorder.new_span(), sampled: true };
        let record = SpanRecord {
            name,
            side,
            context,
            parent,
            began,
            ended: began,
            facts: Vec::new(),
            links: Vec::new(),
            failure: None,
        };
        Self(Box::new(Open { recorder: recorder.clone(), record }))
    }

    /// By which later steps are told to be its children.
    #[must_use]
    pub fn context(&self) -> TraceParent {
        self.0.record.context
    }

    #[must_use]
    pub fn with(mut self, name: &'static str, fact: impl Into<Fact>) -> Self {
        self.note(name, fact);
        self
    }

    pub fn note(&mut self, name: &'static str, fact: impl Into<Fact>) {
        self.0.record.facts.push((name, fact.into()));
    }

    /// It happened together with that step.
    pub fn link(&mut self, other: TraceParent) {
        self.0.record.links.push(other);
    }

    #[must_use]
    pub fn failed(mut self, why: impl Into<Cow<'static, str>>) -> Self {
        self.fail(why);
        self
    }

    /// It came to nothing.
    pub fn fail(&mut self, why: impl Into<Cow<'static, str>>) {
        self.0.record.failure = Some(why.into());
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        let Open { recorder, record } = &mut *self.0;
        recorder.record(SpanRecord {
            ended: recorder.now(),
            facts: std::mem::take(&mut record.facts),
            links: std::mem::take(&mut record.links),
            failure: record.failure.take(),
            ..*record
        });
    }
}
