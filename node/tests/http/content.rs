//! What is in a room: snapshot, history and ops.

use axum::body::Bytes;
use axum::http::{Method, StatusCode};
use enfilade_node::people::Refusal;
use enfilade_proto::{
    DisplayName, Epoch, ErrorCode, LoggedOp, Position, RoomId, RoomKind, Seq, Snapshot, UserId,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::world::{World, op};

const ROOMS: &str = "/api/v1/rooms";

#[derive(Deserialize)]
struct RoomSnapshot {
    room: RoomId,
    kind: RoomKind,
    title: DisplayName,
    position: Position,
    snapshot: Snapshot,
}

#[derive(Deserialize)]
struct History {
    first_seq: Seq,
    ops: Vec<LoggedOp>,
}

#[tokio::test]
async fn a_snapshot_is_the_room_as_it_is_now() {
    let world = World::new().await;
    let (room, owner) = world.board().await;
    owner.post(&format!("{ROOMS}/{room}/ops"), &op(1)).await.expect(StatusCode::OK);
    let answer = owner.get(&format!("{ROOMS}/{room}/snapshot")).await;
    let expected = json!({
        "room": room,
        "kind": "board",
        "title": "Untitled",
        "position": {"epoch": 3, "seq": 1},
        "snapshot": {"seq": 1},
    });
    assert_eq!(answer.expect(StatusCode::OK).body, expected);
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.headers["vary"], "accept");
}

#[tokio::test]
async fn a_snapshot_comes_as_message_pack_to_those_who_ask_for_it() {
    let world = World::new().await;
    let (room, owner) = world.board().await;
    owner.post(&format!("{ROOMS}/{room}/ops"), &op(1)).await.expect(StatusCode::OK);
    let client = owner.with("accept", "text/html, Application/MsgPack;q=0.9, */*");
    let answer = client.get(&format!("{ROOMS}/{room}/snapshot")).await;
    assert_eq!(answer.expect(StatusCode::OK).headers["content-type"], "application/msgpack");
    let read: RoomSnapshot = rmp_serde::from_slice(&answer.bytes).unwrap();
    assert_eq!(
        (read.room.to_string(), read.kind, read.title.as_str()),
        (room.clone(), RoomKind::Board, "Untitled")
    );
    assert_eq!((read.position, read.snapshot.seq), (Position { epoch: Epoch(3), seq: Seq(1) }, Seq(1)));

    let answer = client.get(&format!("{ROOMS}/{room}/ops")).await;
    let read: History = rmp_serde::from_slice(&answer.bytes).unwrap();
    assert_eq!((read.first_seq, read.ops), (Seq(1), world.rooms.log(&room)));
}

#[tokio::test]
async fn an_op_is_applied_once_and_has_one_seq() {
    let world = World::new().await;
    let (room, owner) = world.board().await;
    let path = format!("{ROOMS}/{room}/ops");
    for (op_id, seq) in [(1, 1), (7, 2), (7, 2), (1, 1), (8, 3)] {
        assert_eq!(owner.post(&path, &op(op_id)).await.expect(StatusCode::OK).body, json!({"seq": seq}));
    }
    let log = world.rooms.log(&room);
    assert_eq!(log.len(), 3);
    assert!(log.iter().all(|op| op.author == log[0].author), "one client through one link is one guest");
    assert_ne!(log[0].author, UserId::ROOM);
}

#[tokio::test]
async fn the_author_of_an_op_is_who_sent_it() {
    let world = World::new().await;
    let (room, owner) = world.board().await;
    let path = format!("{ROOMS}/{room}/ops");
    let links = owner.post(&format!("{ROOMS}/{room}/links"), &json!({"role": "editor"})).await;
    let ada = world.sign_up("ada").await.with_link(links.text("link"));
    ada.post(&path, &op(1)).await.expect(StatusCode::OK);
    world.guest().with_link(links.text("link")).post(&path, &op(2)).await.expect(StatusCode::OK);
    owner.post(&path, &op(3)).await.expect(StatusCode::OK);
    let authors: Vec<String> = world.rooms.log(&room).iter().map(|op| op.author.to_string()).collect();
    assert_eq!(authors[0], ada.user);
    assert_ne!(authors[1], authors[2], "who has another link is somebody else");
}

#[tokio::test]
async fn history_comes_in_pages() {
    let world = World::new().await;
    let (room, owner) = world.board().await;
    let path = format!("{ROOMS}/{room}/ops");
    for op_id in 1..=5 {
        owner.post(&path, &op(op_id)).await.expect(StatusCode::OK);
    }
    let mut seen = Vec::new();
    let mut after = json!(0);
    for _ in 0..3 {
        let page = owner.get(&format!("{path}?after={after}&limit=2")).await;
        assert_eq!(page.expect(StatusCode::OK).body["first_seq"], after.as_u64().unwrap() + 1);
        seen.extend(page.body["ops"].as_array().unwrap().iter().map(|op| op["op_id"].as_u64().unwrap()));
        after = page.body.get("next").cloned().unwrap_or_default();
    }
    assert_eq!((seen, after), (vec![1, 2, 3, 4, 5], Value::Null));

    let whole = owner.get(&path).await;
    assert_eq!(whole.body["ops"].as_array().unwrap().len(), 5);
    assert_eq!(whole.body["ops"][4]["op"], op(5)["op"]);
    let behind = owner.get(&format!("{path}?after=900")).await;
    assert_eq!(behind.expect(StatusCode::OK).body["ops"], json!([]));
    for query in ["limit=0", "limit=1001", "after=-1", "after=x"] {
        owner.get(&format!("{path}?{query}")).await.refused(400, "invalid_request");
    }
}

#[tokio::test]
async fn an_op_that_makes_no_sense_is_refused_where_it_makes_none() {
    let world = World::new().await;
    let (room, owner) = world.board().await;
    let path = format!("{ROOMS}/{room}/ops");
    let with = |field: &str, value: Value| {
        let mut body = op(1);
        body[field] = value;
        body
    };
    for (body, pointers) in [
        (with("op_id", json!(0)), &["/op_id"][..]),
        (with("op_id", json!(1u64 << 53)), &["/op_id"]),
        (with("op_id", json!(-1)), &["/op_id"]),
        (with("client", json!("00000000-0000-0000-0000-000000000000")), &["/client"]),
        (with("client", json!("me")), &["/client"]),
        (with("op", json!({"type": "explode", "data": {}})), &["/op/type"]),
        (with("op", json!({"type": "delete", "data": {"elements": "a1"}})), &["/op"]),
        (with("op", json!({"type": "delete"})), &["/op"]),
        (json!([]), &[""]),
        (json!({}), &[""]),
    ] {
        let answer = owner.post(&path, &body).await;
        answer.refused(400, "invalid_request");
        assert_eq!(answer.pointers(), pointers, "{body}");
    }
    assert!(world.rooms.log(&room).is_empty());
}

#[tokio::test]
async fn numbers_that_are_none_are_refused() {
    let world = World::new().await;
    let (room, owner) = world.board().await;
    let client = owner.with("content-type", "application/json");
    for number in ["NaN", "1e999", "-Infinity", "1e9"] {
        let body = format!(
            r##"{{"client":"0b63bd0c-8d0f-4c5a-9e1a-0d8f5c1d2e3f","op_id":1,"op":{{"type":"add_stroke","data":
            {{"element":"a","color":"#000000","width":4,"points":[[{number},1]]}}}}}}"##
        );
        let path = format!("{ROOMS}/{room}/ops");
        client.send_bytes(Method::POST, &path, Bytes::from(body)).await.refused(400, "invalid_request");
    }
    assert!(world.rooms.log(&room).is_empty());
}

#[tokio::test]
async fn what_the_room_refuses_is_told_as_it_is() {
    let world = World::new().await;
    let (room, owner) = world.board().await;
    let path = format!("{ROOMS}/{room}/ops");
    for refusal in [
        Refusal::new(ErrorCode::Busy, "the room has too much to do").after(1_200),
        Refusal::new(ErrorCode::BoardFull, "the board is full"),
        Refusal::internal("the secret reason"),
    ] {
        let (status, code, message) =
            (refusal.code.http_status(), refusal.code.as_str(), refusal.message.clone());
        world.rooms.failures.lock().unwrap().push(refusal);
        let answer = owner.post(&path, &op(1)).await;
        answer.refused(status, code);
        assert_eq!(answer.text("detail"), message);
        assert!(!answer.body.to_string().contains("secret reason"));
    }
    world.rooms.failures.lock().unwrap().push(Refusal::new(ErrorCode::Busy, "wait").after(1_200));
    assert_eq!(owner.post(&path, &op(1)).await.headers["retry-after"], "2");
}
