//! Who may do what, and what becomes of those who may not any more.

use std::time::{Duration, Instant};

use enfilade_proto::{CloseCode, Codec, ErrorCode, Hello, Join, Request, Role, Seq, ServerMessage};
use serde_json::json;

use crate::support::{TestNode, stroke};

#[tokio::test(flavor = "multi_thread")]
async fn viewers_see_and_do_not_draw() {
    let node = TestNode::start().await;
    let board = node.board().await;
    let (_, link) = node.link(&board, "viewer").await;
    let mut viewer = node.guest("Vi").await;
    assert_eq!(viewer.join(board.id, &link, None).await.role, Role::Viewer);
    let refused = viewer.submit(board.id, 1, stroke("x")).await;
    assert!(matches!(refused, ServerMessage::Error(error) if error.code == ErrorCode::Forbidden));
    viewer.signal(board.id, "cursor", json!({"x": 1, "y": 1})).await;
    viewer.until("forbidden", |frame| matches!(&frame.message, ServerMessage::Error(error) if error.code == ErrorCode::Forbidden)).await;
    let mut ada = node.member("Ada", &board).await;
    ada.draw(board.id, 1).await;
    viewer.ops_through(Seq(0), Seq(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_link_closes_its_sockets_within_a_second_and_no_others() {
    let node = TestNode::start().await;
    let board = node.board().await;
    let (link_id, secret) = node.link(&board, "editor").await;
    let mut ada = node.member("Ada", &board).await;
    let mut bob = node.guest("Bob").await;
    bob.join(board.id, &secret, None).await;
    let header = format!("enfilade-link: {}", board.link);
    let path = format!("/api/v1/rooms/{}/links/{link_id}", board.id);
    let start = Instant::now();
    assert_eq!(node.http("DELETE", &path, &[header], None).await.0, 204);
    assert_eq!(bob.close_code().await, CloseCode::AccessRevoked.code());
    assert!(start.elapsed() < Duration::from_secs(5), "took {:?}", start.elapsed());
    assert_eq!(bob.closing(), Some(CloseCode::AccessRevoked.code()));
    ada.draw(board.id, 1).await;
    let refused = node
        .guest("Bob")
        .await
        .ask(&Request::Join(Join { room: board.id, link: Some(secret), since: None }))
        .await;
    assert!(matches!(refused, ServerMessage::Error(error) if error.code == ErrorCode::LinkInvalid));
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_out_closes_the_sockets_of_the_login_within_a_second() {
    let node = TestNode::start().await;
    let person = json!({"username": "ada", "password": "a good long password"});
    let (status, session) = node.http("POST", "/api/v1/auth/sign-up", &[], Some(person)).await;
    assert_eq!(status, 201, "{session}");
    let token = session["access_token"].as_str().unwrap().to_owned();
    let mut ada = node.connect(Codec::MessagePack).await;
    let hello = Hello { token: Some(token.clone()), ..Hello::new(ada.id) };
    assert!(!ada.hello(hello.clone()).await.user.unwrap().guest);
    let bearer = format!("authorization: Bearer {token}");
    assert_eq!(node.http("POST", "/api/v1/auth/sign-out", &[bearer], Some(json!({}))).await.0, 204);
    assert_eq!(ada.close_code().await, CloseCode::SignedOut.code());
    // The token is no good any more, although it has not run out.
    let mut again = node.connect(Codec::MessagePack).await;
    let refused = again.ask(&Request::Hello(hello)).await;
    assert!(matches!(refused, ServerMessage::Error(error) if error.code == ErrorCode::Unauthenticated));
    assert_eq!(again.close_code().await, CloseCode::Unauthenticated.code());
}
