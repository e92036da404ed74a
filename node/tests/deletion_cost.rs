//! `enfilade deletion-cost` beside a node, and an API server of which it needs two requests.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::unused_async, reason = "what answers a request is a future")]

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
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_websockets::{ClientBuilder, MaybeTlsStream, Message, WebSocketStream};
use uuid::Uuid;

const ANNOTATION: &str = "controller.kubernetes.io/pod-deletion-cost";
const POD: &str = "enfilade-7f9c-x2x4v";

/// The pods of a namespace, of which there is one.
#[derive(Clone, Debug, Default)]
struct Pods(Arc<Mutex<Vec<String>>>);

impl Pods {
    async fn list(State(pods): State<Self>, headers: HeaderMap, Query(query): Query<Value>) -> Json<Value> {
        assert_eq!(headers["authorization"], "Bearer the-token");
        assert_eq!(query["labelSelector"], "app.kubernetes.io/name=enfilade,tier in (edge)");
        let cost = pods.0.lock().unwrap().last().cloned();
        let annotations = cost.map(|cost| json!({ ANNOTATION: cost }));
        let pod = |name: &str, address: &str| {
            json!({
                "metadata": { "name": name, "annotations": annotations },
                "status": { "phase": "Running", "podIP": address },
            })
        };
        // Nobody is at the second.
        Json(json!({ "items": [pod(POD, "127.0.0.1"), pod("gone", "127.0.0.2")] }))
    }

    async fn annotate(
        State(pods): State<Self>,
        PathOf(pod): PathOf<String>,
        headers: HeaderMap,
        Json(patch): Json<Value>,
    ) -> StatusCode {
        assert_eq!(
            (pod.as_str(), headers["content-type"].to_str().unwrap()),
            (POD, "application/merge-patch+json")
        );
        let cost = patch["metadata"]["annotations"][ANNOTATION].as_str().unwrap().to_owned();
        pods.0.lock().unwrap().push(cost);
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
    let pods = Pods::default();
    let api = format!("https://{}", pods.serve(folder.path()).await);
    let node = start(folder.path()).await;
    let port = node.settings.admin.port();
    let mut people = vec![guest(&node).await, guest(&node).await];
    let said = look(folder.path(), &api, port).await;
    assert!(said.0, "{}", said.1);
    assert_eq!(*pods.0.lock().unwrap(), ["2"]);
    // Nothing has changed, so nothing is said.
    assert!(look(folder.path(), &api, port).await.0);
    assert_eq!(*pods.0.lock().unwrap(), ["2"]);
    people.push(guest(&node).await);
    assert!(look(folder.path(), &api, port).await.0);
    assert_eq!(*pods.0.lock().unwrap(), ["2", "3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_is_not_the_one_is_told_nothing() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let pods = Pods::default();
    let api = format!("https://{}", pods.serve(folder.path()).await);
    Pods::default().serve(other.path()).await;
    let (good, said) = look(other.path(), &api, 9).await;
    assert!(!good && said.contains("invalid peer certificate"), "{said}");
    assert!(pods.0.lock().unwrap().is_empty());
}
