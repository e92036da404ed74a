//! How a node gets to its cluster.

use std::path::{Path, PathBuf};
use std::process::Command;

use enfilade_actors::bus::{Bus, NatsBus, NatsError, NatsIdentity as Identity, NatsOptions};
use enfilade_store::Incarnation;
use enfilade_testbed::authority::Authority;
use enfilade_testbed::nats::NatsServerOptions;
use enfilade_testbed::ports;
use uuid::Uuid;

use crate::support::*;

#[tokio::test]
async fn two_clusters_share_a_server() {
    let Some(server) = server().await else { return };
    let [a, mut b] = nodes(&server).await;
    let other = Node::start(&server.url(), "other").await;
    for next in 0..10 {
        other.bus.broadcast(number(666));
        other.bus.send(b.me, number(666));
        a.bus.send(b.me, number(next));
    }
    assert!(b.numbers(10).await.into_iter().eq(0..10));
}

#[tokio::test]
async fn a_node_starts_alone_and_finds_the_others_when_nats_is_there() {
    let port = ports::free().unwrap();
    let url = format!("nats://{}", ports::loopback(port));
    let mut nodes = [Node::start(&url, CLUSTER).await, Node::start(&url, CLUSTER).await];
    assert!(!nodes[0].bus.is_connected());
    for next in 0..10_000 {
        nodes[0].bus.broadcast(number(next));
        nodes[0].bus.listen(room(next.into()), true);
    }
    let Some(_server) =
        server_with(NatsServerOptions { port: Some(port), ..NatsServerOptions::default() }).await
    else {
        return;
    };
    for node in &nodes {
        node.connected(true, SOON).await;
    }
    meet(&mut nodes).await;
    let [mut a, b] = nodes;
    multicast_until_heard(&b, 9_999, &mut a).await;
}

#[tokio::test]
async fn credentials_are_taken_from_the_url_and_wrong_ones_are_an_error() {
    let login = Some(("ada".to_owned(), "p@ss:w/rd".to_owned()));
    let Some(server) = server_with(NatsServerOptions { login, ..NatsServerOptions::default() }).await else {
        return;
    };
    let me = Incarnation(Uuid::from_u128(1));
    let with = |login: &str| {
        let url = server.url().replace("://", &format!("://{login}"));
        NatsOptions { url, cluster: CLUSTER.into(), ..NatsOptions::default() }
    };
    let bus = NatsBus::connect(me, &with("ada:p%40ss%3Aw%2Frd@")).await.unwrap();
    assert!(bus.is_connected());
    for wrong in ["", "ada:password@", "token@"] {
        let error = NatsBus::connect(me, &with(wrong)).await.unwrap_err();
        assert!(matches!(error, NatsError::Refused(_)), "{wrong}: {error}");
    }
}

/// A certificate for 127.0.0.1 that signs itself, and its key.
fn certificate(folder: &Path) -> Option<[PathBuf; 2]> {
    let [certificate, key] = ["certificate.pem", "key.pem"].map(|name| folder.join(name));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-out".as_ref(), certificate.as_os_str(), "-keyout".as_ref(), key.as_os_str()])
        .output();
    made.is_ok_and(|made| made.status.success()).then_some([certificate, key])
}

#[tokio::test]
async fn the_connection_is_encrypted_if_the_url_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let Some([certificate, key]) = certificate(folder.path()) else {
        return eprintln!("skipped: there is no openssl");
    };
    let args =
        ["--tls".into(), "--tlscert".into(), certificate.clone().into(), "--tlskey".into(), key.into()];
    let options = NatsServerOptions { args: args.into(), ..NatsServerOptions::default() };
    let Some(server) = server_with(options).await else { return };
    let mut options = NatsOptions {
        url: server.url().replace("nats://", "tls://"),
        cluster: CLUSTER.into(),
        root_certificates: Some(certificate),
        ..NatsOptions::default()
    };
    let me = Incarnation(Uuid::from_u128(1));
    assert!(NatsBus::connect(me, &options).await.unwrap().is_connected());
    // Whose authority nobody here knows is not trusted.
    options.root_certificates = None;
    assert!(!NatsBus::connect(me, &options).await.unwrap().is_connected());
}

#[tokio::test]
async fn a_server_may_ask_for_a_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("of everybody").unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let identity = |name: &str| {
        let made = authority.sign(name, 2090).unwrap();
        let key = write(&format!("{name}.key"), &made.key);
        Identity { certificate: write(&format!("{name}.crt"), &made.certificate), key }
    };
    let (server, mine) = (identity("server"), identity("node"));
    let roots = write("ca.crt", authority.certificate());
    let args = [
        "--tlsverify".into(),
        "--tlscert".into(),
        server.certificate.into(),
        "--tlskey".into(),
        server.key.into(),
        "--tlscacert".into(),
        roots.clone().into(),
    ];
    let options = NatsServerOptions { args: args.into(), ..NatsServerOptions::default() };
    let Some(server) = server_with(options).await else { return };
    let mut options = NatsOptions {
        url: server.url().replace("nats://", "tls://"),
        cluster: CLUSTER.into(),
        root_certificates: Some(roots),
        identity: Some(mine.clone()),
        ..NatsOptions::default()
    };
    let me = Incarnation(Uuid::from_u128(1));
    assert!(NatsBus::connect(me, &options).await.unwrap().is_connected());
    options.identity = None;
    assert!(!NatsBus::connect(me, &options).await.unwrap().is_connected());
    options.identity = Some(Identity { key: folder.path().join("nowhere"), ..mine });
    let error = NatsBus::connect(me, &options).await.unwrap_err();
    assert!(matches!(error, NatsError::File { .. }), "{error}");
}

#[tokio::test]
async fn a_server_that_is_not_there_does_not_matter_if_another_is() {
    let Some(server) = server().await else { return };
    let nobody = ports::loopback(ports::free().unwrap());
    let urls = format!("nats://{nobody},{}", server.url());
    let mut nodes = [Node::start(&urls, CLUSTER).await, Node::start(&urls, CLUSTER).await];
    assert!(nodes.iter().all(|node| node.bus.is_connected()));
    meet(&mut nodes).await;
}
