//! The way of an op through two nodes, as a collector of OpenTelemetry hears of it; and the names of errors.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use enfilade_node::Partial;
use enfilade_proto::{Codec, Error, ErrorCode, Guest, Hello, Seq, ServerMessage, TraceParent};
use enfilade_testbed::Postgres;
use enfilade_testbed::nats::NatsServer;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message as _;
use serde_json::json;
use support::{Client, Door, TestNode, delete};

const CONTEXT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const SECRET: &str = "Bearer open sesame";

/// What this process logs.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

static LOG: LazyLock<Log> = LazyLock::new(|| {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .json()
        .with_max_level(tracing::Level::DEBUG)
        .with_writer(move || writer.clone())
        .init();
    log
});

/// What this process counts.
static METRICS: LazyLock<PrometheusHandle> =
    LazyLock::new(|| PrometheusBuilder::new().install_recorder().unwrap());

/// A figure, if there is one.
fn figure(metric: &str) -> Option<u64> {
    let text = METRICS.render();
    let value = text.lines().find_map(|line| line.strip_prefix(&format!("{metric} ")));
    value.map(|value| value.parse().unwrap())
}

/// How often something was measured.
fn measured(histogram: &str) -> u64 {
    figure(&format!("{histogram}_count")).unwrap_or(0)
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// The lines in which there is this text.
    fn lines(&self, text: &str) -> Vec<serde_json::Value> {
        let log = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        log.lines()
            .filter(|line| line.contains(text))
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// A span, as the collector has it.
#[derive(Clone, Debug)]
struct Seen {
    node: String,
    name: String,
    trace: String,
    id: Vec<u8>,
    parent: Vec<u8>,
    facts: BTreeMap<String, String>,
    failure: Option<String>,
    took: std::ops::Range<u64>,
}

/// A collector of OpenTelemetry.
#[derive(Clone, Debug, Default)]
struct Collector(Arc<Mutex<Vec<Seen>>>);

impl Collector {
    async fn start() -> (Self, SocketAddr) {
        let collector = Self::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/v1/traces", post(take)).with_state(collector.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (collector, address)
    }

    fn of(&self, trace: &str) -> Vec<Seen> {
        self.0.lock().unwrap().iter().filter(|span| span.trace == trace).cloned().collect()
    }

    async fn until(&self, what: &str, reached: impl Fn(&Self) -> bool) {
        let patience = async {
            while !reached(self) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(60), patience).await;
        assert!(waited.is_ok(), "never: {what}; there is {:#?}", self.0.lock().unwrap());
    }
}

async fn take(State(collector): State<Collector>, headers: HeaderMap, body: Bytes) {
    assert_eq!(
        (&headers["authorization"], &headers["content-type"]),
        (&SECRET.parse().unwrap(), &"application/x-protobuf".parse().unwrap())
    );
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    for spans in request.resource_spans {
        let resource = facts(spans.resource.unwrap().attributes);
        assert_eq!(
            (resource["service.name"].as_str(), resource["service.version"].as_str()),
            ("enfilade", env!("CARGO_PKG_VERSION"))
        );
        for span in spans.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            let failed = span.status.filter(|status| status.code == StatusCode::Error as i32);
            collector.0.lock().unwrap().push(Seen {
                node: resource["service.instance.id"].clone(),
                name: span.name,
                trace: span.trace_id.iter().map(|byte| format!("{byte:02x}")).collect(),
                id: span.span_id,
                parent: span.parent_span_id,
                facts: facts(span.attributes),
                failure: failed.map(|status| status.message),
                took: span.start_time_unix_nano..span.end_time_unix_nano,
            });
        }
    }
}

fn facts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value: Value| match value {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        other => panic!("{other:?}"),
    };
    attributes.into_iter().map(|it| (it.key, text(it.value.unwrap().value.unwrap()))).collect()
}

struct TestCluster {
    collector: Collector,
    /// Has no rooms, so every op goes over NATS.
    edge: TestNode,
    host: TestNode,
    _nats: NatsServer,
}

impl TestCluster {
    async fn start() -> Self {
        LazyLock::force(&LOG);
        LazyLock::force(&METRICS);
        let (collector, address) = Collector::start().await;
        let nats = NatsServer::start().await.unwrap();
        let database_url = Postgres::shared().unwrap().create_database().unwrap();
        let start = async |name: &str, roles: &str| {
            let given = Partial {
                database_url: Some(database_url.clone()),
                nats_url: Some(nats.url()),
                node_name: Some(name.to_owned()),
                roles: Some(roles.parse().unwrap()),
                hubs: Some(1),
                drain_seconds: Some(0),
                otlp_endpoint: Some(format!("http://{address}")),
                otlp_headers: Some("authorization=Bearer%20open%20sesame".parse().unwrap()),
                ..Partial::default()
            };
            TestNode::start_with(tempfile::tempdir().unwrap(), given).await
        };
        let (host, edge) = (start("host", "edge,host").await, start("edge", "edge").await);
        let together = || {
            let owned = host.node.host().map_or(0, |host| host.owned().len());
            owned == 4_096 && edge.node.cluster().nodes().len() == 2
        };
        collector.until("both are there", |_| together()).await;
        Self { collector, edge, host, _nats: nats }
    }

    async fn stop(self) -> Collector {
        self.edge.node.stop().await;
        self.host.node.stop().await;
        self.collector
    }
}

/// Somebody whose ops shall belong to a trace.
async fn traced(node: &TestNode, traceparent: &str) -> Client {
    let mut client = node.connect(Codec::MessagePack).await;
    let guest = Some(Guest { name: "Ada".to_owned() });
    let traceparent = Some(traceparent.to_owned());
    client.hello(Hello { guest, traceparent, ..Hello::new(client.id) }).await;
    client
}

fn error(message: ServerMessage) -> Error {
    match message {
        ServerMessage::Error(error) => error,
        other => panic!("no error: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_op_is_one_trace_from_its_edge_over_its_owner_to_all_who_see_it() {
    let cluster = TestCluster::start().await;
    let asked: TraceParent = CONTEXT.parse().unwrap();
    let trace = asked.trace.to_string();
    let board = cluster.host.board().await;
    let mut bob = cluster.host.member("Bob", &board).await;
    let mut carol = cluster.edge.member("Carol", &board).await;
    let mut ada = traced(&cluster.edge, CONTEXT).await;
    ada.join(board.id, &board.link, None).await;
    // Nobody asks for the way of this one.
    assert_eq!(carol.draw(board.id, 1).await, Seq(1));
    assert_eq!(ada.draw(board.id, 1).await, Seq(2));
    for client in [&mut ada, &mut bob, &mut carol] {
        client.ops_through(Seq(0), Seq(2)).await;
    }
    // Both edges have told both, in one write or in two; each of the three heard both.
    let delivered =
        || measured("enfilade_op_delivered_seconds") >= 2 && figure("enfilade_ops_sent_total") >= Some(6);
    let seen = || measured("enfilade_op_visible_seconds") >= 2 && measured("enfilade_op_ack_seconds") >= 2;
    cluster
        .collector
        .until("both ops were measured, until they were answered and until they were seen", |_| {
            seen() && delivered()
        })
        .await;
    cluster.collector.until("ten steps", |collector| collector.of(&trace).len() >= 10).await;

    // Whoever asks for the metrics has the node look at what waits. There is nobody to tell them to in this process.
    let operators = Door::at(cluster.host.node.admin_address);
    assert_eq!(operators.http("GET", "/metrics", &[], None).await.0, 404);
    let queues = ["rooms_waiting_bytes", "sockets_waiting_bytes", "sockets_blocked", "bus_waiting_messages"];
    for queue in queues {
        assert!(figure(&format!("enfilade_{queue}")).is_some(), "{queue}");
    }
    for pool in ["committers", "ownership", "others"] {
        assert!(figure(&format!("enfilade_database_waiting{{pool=\"{pool}\"}}")).is_some(), "{pool}");
    }

    let round_trips = || measured("enfilade_bus_round_trip_seconds");
    cluster.collector.until("a round trip of each node", |_| round_trips() >= 2).await;

    let spans = cluster.collector.of(&trace);
    let name_of = |id: &[u8]| {
        let parent = spans.iter().find(|span| span.id == id);
        parent.map_or("ada".to_owned(), |span| format!("{}: {}", span.node, span.name))
    };
    let tree: BTreeSet<_> = spans.iter().map(|span| (name_of(&span.id), name_of(&span.parent))).collect();
    let wanted = [
        ("edge: op", "ada"),
        ("edge: bus publish", "edge: op"),
        ("host: bus receive", "edge: bus publish"),
        ("host: mailbox", "host: bus receive"),
        ("host: room", "host: mailbox"),
        ("host: commit", "host: room"),
        ("host: tell", "host: commit"),
        ("host: bus publish", "host: commit"),
        ("edge: bus receive", "host: bus publish"),
        ("edge: tell", "edge: bus receive"),
    ];
    assert_eq!(tree, wanted.map(|(step, before)| (step.to_owned(), before.to_owned())).into());
    let span = |name: &str| spans.iter().find(|span| name_of(&span.id) == name).unwrap();
    assert_eq!(span("edge: op").parent, asked.span.number().to_be_bytes());
    assert_eq!(span("edge: op").facts["op.seq"], "2");
    assert_eq!(span("host: room").facts["room.id"], board.id.to_string());
    assert_eq!(span("host: commit").facts["batch.ops"], "1");
    assert_eq!(span("edge: tell").facts["told"], "members");
    // What happens on one clock happens in this order.
    let order = ["host: bus receive", "host: mailbox", "host: room", "host: commit", "host: tell"];
    assert!(order.map(|name| span(name).took.start).is_sorted());
    assert!(spans.iter().all(|span| span.failure.is_none() && span.took.start <= span.took.end));

    let collector = cluster.stop().await;
    assert_eq!(collector.0.lock().unwrap().len(), 10, "of the other op nothing was told");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_error_has_a_name_that_is_in_the_log_or_in_the_trace() {
    let cluster = TestCluster::start().await;
    let trace = CONTEXT[3..35].to_owned();
    let board = cluster.host.board().await;
    let mut ada = traced(&cluster.edge, CONTEXT).await;
    ada.join(board.id, &board.link, None).await;
    let refused = error(ada.submit(board.id, 1, delete("nothing")).await);
    assert_eq!(
        (refused.code, refused.trace_id.unwrap().to_string()),
        (ErrorCode::UnknownElement, trace.clone())
    );

    // What is no context is ignored, and what is not asked for has a name of its own.
    for traceparent in ["00-0-0-01", &CONTEXT.replace("-01", "-00")] {
        let mut eve = traced(&cluster.edge, traceparent).await;
        eve.join(board.id, &board.link, None).await;
        let refused = error(eve.submit(board.id, 1, delete("nothing")).await);
        let name = refused.trace_id.unwrap().to_string();
        assert_ne!(name, trace);
        let logged = LOG.lines(&name);
        assert_eq!(logged.len(), 1, "{logged:?}");
        assert_eq!(
            (logged[0]["level"].as_str(), logged[0]["fields"]["code"].as_str()),
            (Some("DEBUG"), Some("unknown_element"))
        );
    }

    // The same over HTTP.
    let path = format!("/api/v1/rooms/{}", uuid::Uuid::nil());
    let (status, problem) = cluster.edge.http("GET", &path, &[], None).await;
    assert_eq!(status, 404);
    assert_eq!(LOG.lines(problem["trace_id"].as_str().unwrap()).len(), 1);
    let (_, problem) = cluster.edge.http("GET", &path, &[format!("traceparent: {CONTEXT}")], None).await;
    assert_eq!(problem["trace_id"], json!(trace));
    let unsampled = CONTEXT.replace("-01", "-00");
    let (_, problem) = cluster.edge.http("GET", &path, &[format!("traceparent: {unsampled}")], None).await;
    assert_eq!(problem["trace_id"], json!(trace), "it is the client's name for it, recorded or not");

    // Last words have one, too, and with an error before them they have its.
    let mut mute = cluster.edge.connect(Codec::Json).await;
    mute.send_raw(tokio_websockets::Message::text("{}")).await;
    mute.close_code().await;
    let names = mute.names();
    assert_eq!((names.len(), names[0]), (2, names[1]));
    assert_eq!(LOG.lines(&names[0].to_string()).len(), 2);

    let collector = cluster.stop().await;
    let spans = collector.of(&trace);
    let failure = |node: &str, name: &str| {
        let span = spans.iter().find(|span| span.node == node && span.name == name);
        span.unwrap_or_else(|| panic!("no {name} in {spans:#?}")).failure.clone()
    };
    assert_eq!(failure("edge", "op").as_deref(), Some("unknown_element"));
    assert_eq!(failure("host", "room").as_deref(), Some("unknown_element"));
    assert_eq!(failure("edge", "request"), None);
    let request = spans.iter().find(|span| span.name == "request").unwrap();
    assert_eq!(
        (request.facts["http.route"].as_str(), request.facts["http.response.status_code"].as_str()),
        ("/api/v1/rooms/{id}", "404")
    );
    assert_eq!(collector.0.lock().unwrap().len(), spans.len(), "nothing of those who did not ask");
}
