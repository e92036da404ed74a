//! A node that speaks TLS by itself, with a certificate that changes while it runs.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod support;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use enfilade_node::{Config, Node, Partial, StartError};
use enfilade_proto::{CloseCode, Codec, ErrorCode, Seq, ServerMessage};
use enfilade_testbed::authority::{Authority, Identity};
use enfilade_testbed::node::{Node as Process, NodeSettings};
use enfilade_testbed::ports;
use serde_json::{Value, json};
use support::{Board, Client, TestNode, stroke};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, ProtocolVersion, RootCertStore, SupportedProtocolVersion};

/// Longer than anything takes, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(90);
/// What TLS carries at a time.
const RECORD: usize = 16 * 1024;
const STROKES: u64 = 300;
/// Certificates are good until then.
const YEAR: i32 = 2090;

/// A certificate's files, as somebody renews them.
struct Files {
    authority: Authority,
    folder: TempDir,
}

impl Files {
    fn new() -> Self {
        let files =
            Self { authority: Authority::new("a test").unwrap(), folder: tempfile::tempdir().unwrap() };
        files.write(&files.authority.sign("the first", YEAR).unwrap());
        files
    }

    fn certificate(&self) -> PathBuf {
        self.folder.path().join("tls.crt")
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("tls.key")
    }

    fn write(&self, identity: &Identity) {
        std::fs::write(self.certificate(), &identity.certificate).unwrap();
        std::fs::write(self.key(), &identity.key).unwrap();
    }

    fn settings(&self) -> Partial {
        Partial { tls_certificate: Some(self.certificate()), tls_key: Some(self.key()), ..Partial::default() }
    }

    async fn start(&self) -> TestNode {
        TestNode::start_with(tempfile::tempdir().unwrap(), self.settings()).await
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<TlsStream<TcpStream>> {
        self.connect_by(address, &TLS13).await
    }

    /// A connection by a version of TLS.
    async fn connect_by(
        &self,
        address: SocketAddr,
        version: &'static SupportedProtocolVersion,
    ) -> io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.authority.certificate().as_bytes()).unwrap()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let tcp = TcpStream::connect(address).await?;
        TlsConnector::from(Arc::new(config)).connect(name, tcp).await
    }

    async fn ask(&self, node: &TestNode, path: &str, headers: &[String], body: Value) -> (String, Value) {
        let connection = self.connect(node.address()).await.unwrap();
        let (head, body) = node.answer_on(connection, "POST", path, headers, Some(body)).await;
        (head, serde_json::from_slice(&body).unwrap())
    }

    async fn board(&self, node: &TestNode) -> (Board, Value) {
        let (head, made) = self.ask(node, "/api/v1/rooms", &[], json!({"kind": "board"})).await;
        assert!(head.starts_with("HTTP/1.1 201"), "{head}");
        let link = made["link"].as_str().unwrap().to_owned();
        (Board { id: made["id"].as_str().unwrap().parse().unwrap(), link }, made)
    }

    async fn member(&self, node: &TestNode, name: &str, board: &Board, codec: Codec) -> Client {
        let connection = self.connect(node.address()).await.unwrap();
        let mut client = Client::on(connection, node, codec).await;
        client.greet(name).await;
        client.join(board.id, &board.link, None).await;
        client
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn people_sign_up_and_draw_together_over_tls() {
    let files = Files::new();
    let node = files.start().await;
    let person = json!({"username": "ada", "password": "a good long password"});
    let (head, _) = files.ask(&node, "/api/v1/auth/sign-up", &[], person).await;
    assert!(head.starts_with("HTTP/1.1 201") && head.contains("; Secure;"), "{head}");
    let (board, _) = files.board(&node).await;
    let header = format!("enfilade-link: {}", board.link);
    let path = format!("/api/v1/rooms/{}/links", board.id);
    let (_, made) = files.ask(&node, &path, &[header], json!({"role": "viewer"})).await;
    let here = format!("https://{}/", node.address());
    assert!(made["url"].as_str().unwrap().starts_with(&here), "{made}");
    let mut ada = files.member(&node, "Ada", &board, Codec::MessagePack).await;
    let mut bob = files.member(&node, "Bob", &board, Codec::Json).await;
    for op in 1..=50 {
        assert_eq!(ada.draw(board.id, op).await, Seq(op));
    }
    assert_eq!(bob.ops_through(Seq(0), Seq(50)).await.len(), 50);
    ada.vanish();
    // Whoever is there when the node stops is told so, and the connection ends in good order.
    let (stopped, code) = tokio::join!(node.node.stop(), bob.close_code());
    let () = stopped;
    assert_eq!(code, CloseCode::GoingAway.code());
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_1_2_or_1_3_and_what_is_spoken_in_it_is_http_1_1() {
    let files = Files::new();
    let node = files.start().await;
    for (version, is) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)] {
        let connection = files.connect_by(node.address(), version).await.unwrap();
        let (_, session) = connection.get_ref();
        assert_eq!(session.protocol_version(), Some(is));
        assert_eq!(session.alpn_protocol(), Some(&b"http/1.1"[..]));
        let (head, _) = node.answer_on(connection, "GET", "/", &[], None).await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    }
    let stranger = Files::new();
    let refused = stranger.connect(node.address()).await.unwrap_err().to_string();
    assert!(refused.contains("invalid peer certificate"), "{refused}");
    node.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_body_and_a_large_answer_pass_whole() {
    let files = Files::new();
    let node = files.start().await;
    let (board, _) = files.board(&node).await;
    let mut ada = files.member(&node, "Ada", &board, Codec::MessagePack).await;
    for op in 1..=STROKES {
        let stroke = || stroke(&format!("a-stroke-with-a-long-name-{op:014}"));
        // As fast as one person may draw.
        while let ServerMessage::Error(error) = ada.submit(board.id, op, stroke()).await {
            assert_eq!(error.code, ErrorCode::RateLimited);
            tokio::time::sleep(Duration::from_millis(error.retry_after_ms.unwrap_or(1))).await;
        }
    }
    let connection = files.connect(node.address()).await.unwrap();
    let header = [format!("enfilade-link: {}", board.link)];
    let path = format!("/api/v1/rooms/{}/snapshot", board.id);
    let (_, answer) = node.answer_on(connection, "GET", &path, &header, None).await;
    let snapshot: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(snapshot["snapshot"]["elements"].as_array().unwrap().len() as u64, STROKES);
    assert!(answer.len() > 2 * RECORD, "it takes several records");
    // Too large for the API, but it is the API that says so.
    let connection = files.connect(node.address()).await.unwrap();
    let large = json!({"kind": "board", "title": "x".repeat(900_000)});
    let (head, _) = node.answer_on(connection, "POST", "/api/v1/rooms", &[], Some(large)).await;
    assert!(head.starts_with("HTTP/1.1 4"), "{head}");
    node.node.stop().await;
}

/// The certificate that a new connection is shown.
async fn shown(files: &Files, node: &TestNode) -> Vec<u8> {
    let connection = files.connect(node.address()).await.unwrap();
    connection.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

fn der(identity: &Identity) -> Vec<u8> {
    CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap().to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_taken_up_while_people_draw() {
    let files = Files::new();
    let node = files.start().await;
    let (board, _) = files.board(&node).await;
    let mut ada = files.member(&node, "Ada", &board, Codec::MessagePack).await;
    let first = shown(&files, &node).await;
    let renewed = files.authority.sign("the second", YEAR).unwrap();
    // The key comes a moment later than its certificate, as files do.
    std::fs::write(files.certificate(), &renewed.certificate).unwrap();
    assert_eq!(shown(&files, &node).await, first);
    std::fs::write(files.key(), &renewed.key).unwrap();
    let taken_up = async {
        while shown(&files, &node).await == first {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, taken_up).await.unwrap();
    assert_eq!(shown(&files, &node).await, der(&renewed));
    assert_eq!(ada.draw(board.id, 1).await, Seq(1), "whoever was there stays");
    node.node.stop().await;
}

/// What the server says until it closes.
async fn answer(mut socket: TcpStream) -> io::Result<String> {
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, socket.read_to_end(&mut answer)).await.expect("it is never closed")?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_speaks_plain_http_is_told_so() {
    let files = Files::new();
    let node = files.start().await;
    let mut socket = TcpStream::connect(node.address()).await.unwrap();
    socket.write_all(b"GET /ws HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\n\r\n").await.unwrap();
    socket.shutdown().await.unwrap();
    let told = answer(socket).await.unwrap();
    assert!(
        told.starts_with("HTTP/1.1 400 ") && told.ends_with("this port speaks HTTPS and wss\n"),
        "{told}"
    );
    let (head, body) = told.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("content-length: {}", body.len())), "{told}");
    node.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_does_not_go_on_is_given_up() {
    let files = Files::new();
    let node = files.start().await;
    let silent = TcpStream::connect(node.address()).await.unwrap();
    // The beginning of a record, and then nothing.
    let mut slow = TcpStream::connect(node.address()).await.unwrap();
    slow.write_all(&[0x16, 3, 1]).await.unwrap();
    // No handshake at all.
    let mut wrong = TcpStream::connect(node.address()).await.unwrap();
    wrong.write_all(&[0x16; 64]).await.unwrap();
    let ((), (), ()) = tokio::join!(
        async { assert_eq!(answer(silent).await.unwrap(), "") },
        async { drop(answer(slow).await) },
        async { drop(answer(wrong).await) },
    );
    assert!(files.connect(node.address()).await.is_ok());
    node.node.stop().await;
}

#[tokio::test]
async fn a_certificate_without_its_key_is_an_error_at_once() {
    let files = Files::new();
    std::fs::write(files.key(), files.authority.sign("another", YEAR).unwrap().key).unwrap();
    let data = tempfile::tempdir().unwrap();
    for given in [files.settings(), Partial { tls_key: None, ..files.settings() }] {
        let given = Partial {
            listen: Some("127.0.0.1:0".parse().unwrap()),
            admin_listen: Some("127.0.0.1:0".parse().unwrap()),
            data_dir: Some(data.path().to_owned()),
            ..given
        };
        let (config, _) = Config::load(given, None).unwrap();
        let error = Node::start(&config, None).await.unwrap_err();
        assert!(matches!(error, StartError::Tls(_)), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_tell_when_the_certificate_ends() {
    let files = Files::new();
    let flag = |name: &str, path: PathBuf| [name.into(), path.into_os_string()];
    let settings = NodeSettings {
        name: "node".to_owned(),
        listen: ports::loopback(ports::free().unwrap()),
        admin: ports::loopback(ports::free().unwrap()),
        data: files.folder.path().join("data"),
        cluster: None,
        trusted_proxies: String::new(),
        wrapper: Vec::new(),
        flags: [flag("--tls-certificate", files.certificate()), flag("--tls-key", files.key())].concat(),
    };
    let mut node = Process::new(Path::new(env!("CARGO_BIN_EXE_enfilade")), files.folder.path(), settings);
    node.start().await.unwrap();
    drop(files.connect(node.settings.listen).await.unwrap());
    let counted = async {
        loop {
            let mut socket = TcpStream::connect(node.settings.admin).await.unwrap();
            socket.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
            let text = answer(socket).await.unwrap();
            // The first moment of the year.
            assert!(text.contains("enfilade_tls_certificate_expires_seconds 3786912000\n"), "{text}");
            if text.contains("enfilade_tls_handshakes_total{outcome=\"ok\"} 1\n") {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, counted).await.unwrap();
}
