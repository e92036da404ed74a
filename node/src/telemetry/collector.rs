//! Spans on their way to a collector of OpenTelemetry: by OTLP over HTTP, in batches, and never in anybody's way. Those that find no room
//! are counted and lost.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use enfilade_actors::trace::{Fact, Side, SpanRecord};
use enfilade_proto::TraceParent;
use http::Uri;
use http::uri::Scheme;
use hyper_rustls::HttpsConnectorBuilder;
use opentelemetry::trace::{Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks};
use percent_encoding::percent_decode_str;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::secret;

/// Spans that may wait. A traced op has about ten of them on all nodes together.
const QUEUE: usize = 8_192;
/// Spans that are sent at once, and how long the first of them waits for others.
const BATCH: usize = 512;
const LINGER: Duration = Duration::from_millis(500);
/// How long the collector may take to answer,
const PATIENCE: Duration = Duration::from_secs(5);
/// and how long all last words may take.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// Where under its address a collector takes traces.
const PATH: &str = "/v1/traces";

/// Where spans go, and as whose. Not to be printed: there are secrets in the headers.
pub(crate) struct CollectorSettings<'a> {
    /// As `http://host:4318`.
    pub(crate) endpoint: &'a str,
    /// As `name=value`, separated by commas; values may be percent-encoded.
    pub(crate) headers: &'a str,
    /// The node.
    pub(crate) instance: String,
}

/// Why nothing can be sent there.
#[derive(Debug, thiserror::Error)]
pub enum InvalidCollector {
    #[error("not the address of a collector, like http://host:4318 (credentials belong into headers): {0:?}")]
    Endpoint(String),
    #[error("not headers, like name=value,name=value")]
    Headers,
    /// Whoever has a secret for a collector means to send to one.
    #[error("otlp_headers are for a collector, and none is named")]
    HeadersForNobody,
    #[error("the certificates of the system cannot be read")]
    Certificates(#[source] std::io::Error),
    #[error("spans cannot be sent")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
}

#[derive(Debug)]
pub(crate) struct Collector {
    queue: mpsc::Sender<SpanRecord>,
    closing: CancellationToken,
    sending: Mutex<Option<JoinHandle<()>>>,
}

impl Collector {
    /// Begins to send. Whether anybody is there is seen later, and no reason not to start.
    pub(crate) fn start(settings: &CollectorSettings<'_>) -> Result<Self, InvalidCollector> {
        let exporter = exporter(settings)?;
        let (queue, spans) = mpsc::channel(QUEUE);
        let closing = CancellationToken::new();
        let sending = tokio::spawn(send(exporter, spans, closing.clone()));
        Ok(Self { queue, closing, sending: Mutex::new(Some(sending)) })
    }

    pub(crate) fn take(&self, span: SpanRecord) {
        if self.queue.try_send(span).is_err() {
            count("dropped", 1);
        }
    }

    /// Sends what waits, and ends.
    pub(crate) async fn close(&self) {
        self.closing.cancel();
        // Nothing under this lock can fail half-way.
        let sending = self.sending.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut sending) = sending
            && timeout(LAST_WORDS, &mut sending).await.is_err()
        {
            sending.abort();
        }
    }
}

async fn send(exporter: SpanExporter, mut spans: mpsc::Receiver<SpanRecord>, closing: CancellationToken) {
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            taken = spans.recv_many(&mut batch, BATCH) => if taken == 0 { return },
            () = closing.cancelled() => break,
        }
        let full = Instant::now() + LINGER;
        while batch.len() < BATCH && !closing.is_cancelled() {
            let more = spans.recv_many(&mut batch, BATCH);
            let more = async {
                tokio::select! { taken = more => taken, () = closing.cancelled() => 0 }
            };
            if timeout_at(full, more).await.unwrap_or(0) == 0 {
                break;
            }
        }
        export(&exporter, std::mem::take(&mut batch)).await;
    }
    spans.close();
    while spans.recv_many(&mut batch, BATCH).await > 0 {
        export(&exporter, std::mem::take(&mut batch)).await;
    }
}

async fn export(exporter: &SpanExporter, batch: Vec<SpanRecord>) {
    let count_all = |outcome| count(outcome, batch.len() as u64);
    match exporter.export(batch.iter().map(span_data).collect()).await {
        Ok(()) => count_all("sent"),
        Err(error) => {
            tracing::debug!(%error, "the collector does not take spans");
            count_all("failed");
        }
    }
}

fn count(outcome: &'static str, spans: u64) {
    metrics::counter!("enfilade_spans_total", "outcome" => outcome).increment(spans);
}

fn exporter(settings: &CollectorSettings<'_>) -> Result<SpanExporter, InvalidCollector> {
    let no_endpoint = || InvalidCollector::Endpoint(secret::without_passwords(settings.endpoint));
    let endpoint: Uri = settings.endpoint.parse().map_err(|_| no_endpoint())?;
    if endpoint.authority().is_none_or(|authority| authority.as_str().contains('@')) {
        return Err(no_endpoint());
    }
    let builder = SpanExporter::builder().with_http();
    let builder = match endpoint.scheme() {
        Some(scheme) if *scheme == Scheme::HTTP => {
            builder.with_http_client(HyperClient::with_default_connector(PATIENCE, None))
        }
        Some(scheme) if *scheme == Scheme::HTTPS => {
            let connector = HttpsConnectorBuilder::new()
                .with_native_roots()
                .map_err(InvalidCollector::Certificates)?
                .https_only()
                .enable_http1()
                .build();
            builder.with_http_client(HyperClient::new(connector, PATIENCE, None))
        }
        _ => return Err(no_endpoint()),
    };
    let mut exporter = builder
        .with_endpoint(format!("{}{PATH}", settings.endpoint.trim_end_matches('/')))
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(PATIENCE)
        .with_headers(headers(settings.headers).ok_or(InvalidCollector::Headers)?)
        .build()?;
    let resource = Resource::builder_empty().with_attributes([
        KeyValue::new("service.name", "enfilade"),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", settings.instance.clone()),
    ]);
    exporter.set_resource(&resource.build());
    Ok(exporter)
}

/// `None` if they are none.
fn headers(text: &str) -> Option<HashMap<String, String>> {
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=')?;
            let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
            let header = (http::HeaderName::try_from(name.trim()).ok()?, value.into_owned());
            http::HeaderValue::try_from(&header.1).ok()?;
            Some((header.0.as_str().to_owned(), header.1))
        })
        .collect()
}

fn span_data(span: &SpanRecord) -> SpanData {
    let SpanRecord { name, side, context, parent, began, ended, facts, links, failure } = span.clone();
    let mut linked = SpanLinks::default();
    linked.links = links.into_iter().map(|link| Link::with_context(span_context(link))).collect();
    SpanData {
        span_context: span_context(context),
        parent_span_id: parent.map_or(SpanId::INVALID, |parent| SpanId::from(parent.number())),
        // The first step of a node, and that which takes a message in.
        parent_span_is_remote: parent.is_some() && matches!(side, Side::Server | Side::Consumer),
        span_kind: match side {
            Side::Server => SpanKind::Server,
            Side::Producer => SpanKind::Producer,
            Side::Consumer => SpanKind::Consumer,
            Side::Internal => SpanKind::Internal,
        },
        name: name.into(),
        start_time: began,
        end_time: ended,
        attributes: facts.into_iter().map(|(name, fact)| KeyValue::new(name, value(fact))).collect(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: linked,
        status: failure.map_or(Status::Unset, Status::error),
        instrumentation_scope: InstrumentationScope::builder("enfilade").build(),
    }
}

fn span_context(context: TraceParent) -> SpanContext {
    let TraceParent { trace, span, sampled } = context;
    let flags = if sampled { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED };
    let (trace, span) = (TraceId::from(trace.number()), SpanId::from(span.number()));
    SpanContext::new(trace, span, flags, false, TraceState::NONE)
}

fn value(fact: Fact) -> Value {
    match fact {
        Fact::Text(text) => text.into(),
        Fact::Number(number) => number.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(endpoint: &str, headers: &str) -> String {
        let settings = CollectorSettings { endpoint, headers, instance: "node".into() };
        exporter(&settings).map(|_| ()).map_or_else(|error| error.to_string(), |()| "nothing".to_owned())
    }

    #[test]
    fn what_is_no_collector_is_refused() {
        assert_eq!(refused("http://collector:4318", ""), "nothing");
        assert_eq!(refused("http://[::1]:4318/", "authorization=Bearer%20x,x-scope=1"), "nothing");
        for endpoint in ["collector:4318", "ftp://collector", "", "http://", "http://ada:secret@collector"] {
            let why = refused(endpoint, "");
            assert!(why.starts_with("not the address") && !why.contains("secret"), "{why}");
        }
        assert!(refused("http://collector", "secret").starts_with("not headers"));
        assert!(refused("http://collector", "a b=c").starts_with("not headers"));
        assert!(refused("http://collector", "a=%0d%0ab").starts_with("not headers"));
    }

    #[test]
    fn headers_are_read_as_opentelemetry_writes_them() {
        let read = headers(" authorization=Basic%20YTpi , x-scope = tenant=1,").unwrap();
        let wanted = [("authorization", "Basic YTpi"), ("x-scope", "tenant=1")];
        assert_eq!(read, wanted.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    }
}
