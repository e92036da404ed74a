//! The ways of ops that are traced: to a collector of OpenTelemetry if there is one, else to the log.

use std::sync::Arc;
use std::time::SystemTime;

use enfilade_actors::trace::{Recorder, SpanRecord, Tracer};
use enfilade_proto::{SpanId, TraceId};

use super::collector::Collector;
use super::examples::Examples;
use crate::named;

/// What a node tells of traced ops.
#[derive(Debug)]
pub(crate) struct Traces {
    collector: Option<Collector>,
    pub(crate) examples: Examples,
}

impl Traces {
    pub(crate) fn new(collector: Option<Collector>) -> Arc<Self> {
        Arc::new(Self { collector, examples: Examples::default() })
    }

    pub(crate) fn tracer(self: &Arc<Self>) -> Tracer {
        Tracer::new(self.clone())
    }

    /// Sends what was not sent yet, if the collector takes it soon. What comes after that is lost.
    pub(crate) async fn close(&self) {
        if let Some(collector) = &self.collector {
            collector.close().await;
        }
    }
}

impl Recorder for Traces {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn new_trace(&self) -> TraceId {
        named::fresh()
    }

    fn new_span(&self) -> SpanId {
        SpanId::new(rand::random())
    }

    fn record(&self, span: SpanRecord) {
        match &self.collector {
            Some(collector) => collector.take(span),
            None => log(&span),
        }
    }

    fn example(&self, histogram: &'static str, seconds: f64, trace: TraceId) {
        self.examples.take(histogram, seconds, trace, self.now());
    }
}

fn log(span: &SpanRecord) {
    let SpanRecord { name, context, parent, began, ended, facts, failure, .. } = span;
    let (trace_id, span_id) = (context.trace, context.span);
    let took_us = ended.duration_since(*began).unwrap_or_default().as_micros() as u64;
    let parent = parent.map(|parent| parent.to_string());
    let facts: Vec<String> = facts.iter().map(|(name, fact)| format!("{name}={fact}")).collect();
    let facts = facts.join(" ");
    tracing::info!(
        target: "enfilade::trace",
        %trace_id, %span_id, parent, step = name, took_us, failure = failure.as_deref(), facts,
        "a step of an op's way"
    );
}
