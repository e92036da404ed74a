//! `enfilade deletion-cost` beside a node, and an API server of which it needs two requests.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::unused_async, reason = "what answers a request is a future")]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::extract::{Path as PathOf, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, patch};
use axum::{Json, Router};
use enfilade_testbed::node::{Node, NodeSettings};
use enfilade_testbed::ports;
use futures_util::{SinkExt as _, StreamExt as _};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::sync::Barrier;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_websockets::{ClientBuilder, MaybeTlsStream, Message, WebSocketStream};
use uuid::Uuid;

const ANNOTATION: &str = "controller.kubernetes.io/pod-deletion-cost";
const POD: &str = "enfilade-7f9c-x2x4v";
const HESITANT: u8 = 20;

/// A pod: where it is, and all that it was ever said to cost.
#[derive(Clone, Debug)]
struct Pod {
    address: Ipv4Addr,
    costs: Vec<String>,
}

/// The pods of a namespace.
#[derive(Clone, Debug)]
struct Pods(Arc<Mutex<BTreeMap<String, Pod>>>);

impl Pods {
    fn at(pods: impl IntoIterator<Item = (String, Ipv4Addr)>) -> Self {
        let pods = pods.into_iter().map(|(name, address)| (name, Pod { address, costs: Vec::new() }));
        Self(Arc::new(Mutex::new(pods.collect())))
    }

    /// One that is there, and one where nobody is.
    fn one() -> Self {
        Self::at([(POD.to_owned(), Ipv4Addr::LOCALHOST), ("gone".to_owned(), Ipv4Addr::new(127, 0, 0, 2))])
    }

    fn costs(&self, pod: &str) -> Vec<String> {
        self.0.lock().unwrap()[pod].costs.clone()
    }

    async fn list(State(pods): State<Self>, headers: HeaderMap, Query(query): Query<Value>) -> Json<Value> {
        assert_eq!(headers["authorization"], "Bearer the-token");
        assert_eq!(query["labelSelector"], "app.kubernetes.io/name=enfilade,tier in (edge)");
        let pod = |(name, Pod { address, costs }): (&String, &Pod)| {
            let annotations = costs.last().map(|cost| json!({ ANNOTATION: cost }));
            json!({
                "metadata": { "name": name, "annotations": annotations },
                "status": { "phase": "Running", "podIP": address },
            })
        };
        Json(json!({ "items": pods.0.lock().unwrap().iter().map(pod).collect::<Vec<_>>() }))
    }

    async fn annotate(
        State(pods): State<Self>,
        PathOf(pod): PathOf<String>,
        headers: HeaderMap,
        Json(patch): Json<Value>,
    ) -> StatusCode {
        assert_eq!(headers["content-type"], "application/merge-patch+json");
        let cost = patch["metadata"]["annotations"][ANNOTATION].as_str().unwrap().to_owned();
        pods.0.lock().unwrap().get_mut(&pod).unwrap().costs.push(cost);
        StatusCode::OK
    }

    /// Answers at an address; in `folder` is what an account of it has.
    async fn serve(&self, folder: &Path) -> SocketAddr {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        std::fs::write(folder.join("ca.crt"), made.cert.pem()).unwrap();
        std::fs::write(folder.join("token"), "the-token\n").unwrap();
        std::fs::write(folder.join("namespace"), "rooms").unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(
            tokio_rustls::rustls::crypto::ring::default_provider(),
        ))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new()
            .route("/api/v1/namespaces/rooms/pods", get(Self::list))
            .route("/api/v1/namespaces/rooms/pods/{pod}", patch(Self::annotate))
            .with_state(self.clone());
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                // Whoever does not trust the certificate leaves.
                let Ok(socket) = acceptor.accept(socket).await else { continue };
                let service = TowerToHyperService::new(router.clone());
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(socket), service),
                );
            }
        });
        address
    }
}

async fn look(folder: &Path, api: &str, admin_port: u16) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_enfilade"))
        .args(["deletion-cost", "--once", "--selector", "app.kubernetes.io/name=enfilade,tier in (edge)"])
        .args(["--admin-port", &admin_port.to_string(), "--api", api, "--account"])
        .arg(folder)
        .output()
        .await
        .unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A node that is a process, since what one tells of itself is its process's.
async fn start(folder: &Path) -> Node {
    let [listen, admin] = [(); 2].map(|()| SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free().unwrap())));
    let settings = NodeSettings {
        name: "node".to_owned(),
        listen,
        admin,
        data: folder.join("data"),
        cluster: None,
        trusted_proxies: String::new(),
        wrapper: Vec::new(),
        flags: Vec::new(),
    };
    let mut node = Node::new(Path::new(env!("CARGO_BIN_EXE_enfilade")), folder, settings);
    node.start().await.unwrap();
    node
}

/// Somebody who has said hello.
async fn guest(node: &Node) -> WebSocketStream<MaybeTlsStream<TcpStream>> {
    let uri = format!("ws://{}/ws", node.settings.listen);
    let (mut socket, _) = ClientBuilder::new().uri(&uri).unwrap().connect().await.unwrap();
    let hello =
        json!({ "id": 1, "type": "hello", "data": { "client": Uuid::new_v4(), "guest": { "name": "Ada" } } });
    socket.send(Message::text(hello.to_string())).await.unwrap();
    let welcome = socket.next().await.unwrap().unwrap();
    assert!(welcome.as_text().unwrap().contains("welcome"), "{welcome:?}");
    socket
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_costs_as_much_as_it_has_connections() {
    let folder = tempfile::tempdir().unwrap();
    let pods = Pods::one();
    let api = format!("https://{}", pods.serve(folder.path()).await);
    let node = start(folder.path()).await;
    let port = node.settings.admin.port();
    let mut people = vec![guest(&node).await, guest(&node).await];
    let said = look(folder.path(), &api, port).await;
    assert!(said.0, "{}", said.1);
    assert_eq!(pods.costs(POD), ["2"]);
    // Nothing has changed, so nothing is said.
    assert!(look(folder.path(), &api, port).await.0);
    assert_eq!(pods.costs(POD), ["2"]);
    people.push(guest(&node).await);
    assert!(look(folder.path(), &api, port).await.0);
    assert_eq!(pods.costs(POD), ["2", "3"]);
}

/// A pod that says how many connections it has once all of them were asked.
async fn hesitant(address: SocketAddr, all: Arc<Barrier>) -> SocketAddr {
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = move || async move {
        all.wait().await;
        "# TYPE enfilade_connections gauge\nenfilade_connections 5\n"
    };
    let router = Router::new().route("/metrics", get(answer));
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn all_pods_are_asked_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let all = Arc::new(Barrier::new(HESITANT.into()));
    let addresses = (1..=HESITANT).map(|last| Ipv4Addr::new(127, 0, 1, last));
    // All have the same port, as pods do.
    let mut port = 0;
    for address in addresses.clone() {
        port = hesitant(SocketAddr::from((address, port)), all.clone()).await.port();
    }
    let pods = Pods::at(addresses.map(|address| (format!("pod-{address}"), address)));
    let api = format!("https://{}", pods.serve(folder.path()).await);
    let said = look(folder.path(), &api, port).await;
    assert!(said.0, "{}", said.1);
    let costs: Vec<_> = pods.0.lock().unwrap().values().map(|pod| pod.costs.clone()).collect();
    assert_eq!(costs, vec![["5"]; HESITANT.into()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_is_not_the_one_is_told_nothing() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let pods = Pods::one();
    let api = format!("https://{}", pods.serve(folder.path()).await);
    Pods::one().serve(other.path()).await;
    let (good, said) = look(other.path(), &api, 9).await;
    assert!(!good && said.contains("invalid peer certificate"), "{said}");
    assert!(pods.costs(POD).is_empty());
}
