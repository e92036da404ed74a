//! An audience through real sockets: counted, not listed, and shown everything.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod support;

use std::time::Instant;

use enfilade_proto::{
    Codec, Compression, ErrorCode, Hello, OpId, Presence, Request, Role, Seq, ServerFrame, ServerMessage,
    Signal, Submit,
};
use serde_json::json;
use support::{Board, Client, TestNode, stroke};

async fn watcher(node: &TestNode, board: &Board, codec: Codec) -> Client {
    let mut client = node.connect(codec).await;
    let welcome = client.hello(Hello { audience: true, ..Hello::new(client.id) }).await;
    assert_eq!((welcome.user, welcome.resume), (None, None));
    let joined = client.join(board.id, &board.link, None).await;
    assert_eq!(joined.role, Role::Viewer, "whatever the link allows");
    client
}

fn presence(frame: &ServerFrame) -> Option<&Presence> {
    match &frame.message {
        ServerMessage::Presence(presence) => Some(presence),
        _ => None,
    }
}

async fn until_watched_by(client: &mut Client, audience: u64) {
    let told = |frame: &ServerFrame| presence(frame).is_some_and(|it| it.audience == audience);
    client.until(&format!("{audience} watch"), told).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audience_is_counted_and_sees_what_the_members_see() {
    let node = TestNode::start().await;
    let board = node.board().await;
    let mut ada = node.member("Ada", &board).await;
    let mut watchers = Vec::new();
    for codec in [Codec::Json, Codec::MessagePack, Codec::MessagePack] {
        watchers.push(watcher(&node, &board, codec).await);
    }
    until_watched_by(&mut ada, 3).await;
    let mut bob = node.guest("Bob").await;
    let joined = bob.join(board.id, &board.link, None).await;
    let members: Vec<&str> = joined.presence.members.iter().flatten().map(|it| it.name.as_str()).collect();
    assert_eq!((joined.presence.count, joined.presence.audience, members.len()), (2, 3, 2));

    assert_eq!(ada.draw(board.id, 1).await, Seq(1));
    for watcher in &mut watchers {
        assert_eq!(watcher.ops_through(Seq(0), Seq(1)).await.len(), 1);
    }
    let submit = Submit { room: board.id, op_id: OpId(1), op: stroke("mine") };
    let signal = Signal { room: board.id, key: "cursor".to_owned(), body: json!(1) };
    for request in [Request::Submit(submit), Request::Signal(signal)] {
        let reply = watchers[1].ask(&request).await;
        assert!(
            matches!(&reply, ServerMessage::Error(error) if error.code == ErrorCode::Forbidden),
            "{reply:?}"
        );
    }
    drop(watchers);
    let nobody = |frame: &ServerFrame| presence(frame).is_some_and(|it| it.audience == 0 && it.count == 2);
    ada.until("nobody watches any more", nobody).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_only_watches_is_in_no_list() {
    let node = TestNode::start().await;
    let board = node.board().await;
    let mut ada = node.member("Ada", &board).await;
    let account = json!({"username": "eve", "password": "a good long password"});
    let (status, session) = node.http("POST", "/api/v1/auth/sign-up", &[], Some(account)).await;
    assert_eq!(status, 201, "{session}");
    let token = session["access_token"].as_str().map(str::to_owned);
    let mut eve = node.connect(Codec::Json).await;
    let hello = Hello { audience: true, token: token.clone(), ..Hello::new(eve.id) };
    assert_eq!(eve.hello(hello).await.user.unwrap().name.as_str(), "eve");
    assert_eq!(eve.join(board.id, &board.link, None).await.role, Role::Viewer);
    until_watched_by(&mut ada, 1).await;
    let path = format!("/api/v1/rooms/{}/people", board.id);
    let header = [format!("enfilade-link: {}", board.link)];
    let names = async || -> Vec<String> {
        let (status, there) = node.http("GET", &path, &header, None).await;
        assert_eq!(status, 200, "{there}");
        let members = there["members"].as_array().unwrap();
        members.iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names().await, ["Ada"]);

    // The same person on another connection, not as an audience, is a member like any other.
    let mut too = node.connect(Codec::Json).await;
    too.hello(Hello { token, ..Hello::new(too.id) }).await;
    let presence = too.join(board.id, &board.link, None).await.presence;
    assert_eq!((presence.count, presence.audience), (2, 1));
    let mut names = names().await;
    names.sort();
    assert_eq!(names, ["Ada", "eve"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_watchers_is_told_of_once_a_second() {
    let node = TestNode::start().await;
    let board = node.board().await;
    let mut ada = node.member("Ada", &board).await;
    let began = Instant::now();
    let mut watchers = Vec::new();
    for _ in 0..300 {
        watchers.push(watcher(&node, &board, Codec::MessagePack).await);
    }
    let mut told = 0;
    loop {
        let frame = ada.until("who is there", |frame| presence(frame).is_some()).await;
        let Some(presence) = presence(&frame) else { continue };
        told += u64::from(presence.audience > 0);
        assert!(presence.count <= 1);
        if presence.audience == 300 {
            break;
        }
    }
    // The edge tells the owner once a second, and the owner everybody.
    assert!(told <= began.elapsed().as_secs() + 3, "{told} times in {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_snapshot_comes_compressed_to_whoever_asked_for_it() {
    let node = TestNode::start().await;
    let board = node.board().await;
    let mut ada = node.member("Ada", &board).await;
    for op_id in 1..=250 {
        ada.draw(board.id, op_id).await;
    }
    let node = node.restart().await;
    for (compression, compressed) in [(vec![Compression::Deflate], true), (Vec::new(), false)] {
        for codec in Codec::ALL {
            let mut bob = node.connect(codec).await;
            let hello = Hello { audience: true, compression: compression.clone(), ..Hello::new(bob.id) };
            bob.hello(hello).await;
            let joined = bob.join(board.id, &board.link, None).await;
            let compressed = compressed && codec == Codec::MessagePack;
            assert_eq!(
                (joined.snapshot.is_none(), joined.snapshot_deflate.is_some()),
                (compressed, compressed)
            );
        }
    }
}
