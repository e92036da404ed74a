//! Snapshots by name: who may read and keep them.

use axum::http::StatusCode;
use enfilade_node::people::LimitSettings;
use enfilade_proto::{Seq, Snapshot};
use serde_json::json;

use crate::world::{Client, World, op};

const ROOMS: &str = "/api/v1/rooms";

async fn place(client: &Client, room: &str) -> String {
    let answer = client.get(&format!("{ROOMS}/{room}/snapshots/latest")).await;
    assert_eq!(answer.expect(StatusCode::TEMPORARY_REDIRECT).headers["cache-control"], "no-store");
    answer.headers["location"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn through_a_link_there_is_a_key_that_caches_may_share() {
    let world = World::new().await;
    let (room, owner) = world.board().await;
    owner.post(&format!("{ROOMS}/{room}/ops"), &op(1)).await.expect(StatusCode::OK);
    let place = place(&owner, &room).await;
    assert!(place.starts_with(&format!("{ROOMS}/{room}/snapshots/3-1?key=")), "{place}");

    // Whoever has the place reads this snapshot, without anything else.
    let stranger = world.guest();
    let answer = stranger.get(&place).await;
    assert_eq!(answer.expect(StatusCode::OK).body, json!({"seq": 1}));
    assert_eq!(answer.headers["cache-control"], "public, max-age=3600, immutable");
    assert_eq!(answer.headers["vary"], "accept, accept-encoding");
    assert_eq!(answer.headers["etag"], "\"3-1.json\"");
    assert!(!answer.headers.contains_key("content-encoding"));
    let (other, _) = world.board().await;
    stranger.get(&place.replace(&room, &other)).await.refused(404, "room_not_found");
    stranger.get(&place.replace("3-1?", "3-0?")).await.refused(404, "room_not_found");
    stranger.get(place.split('?').next().unwrap()).await.refused(404, "room_not_found");
    stranger.get(&format!("{ROOMS}/{room}/snapshots/latest")).await.refused(404, "room_not_found");
}

#[tokio::test]
async fn what_a_member_reads_is_kept_by_the_member_alone() {
    let world = World::new().await;
    let ada = world.sign_up("ada").await;
    let made = ada.post(ROOMS, &json!({"kind": "board"})).await;
    let room = made.text("id");
    let place = place(&ada, room).await;
    assert_eq!(place, format!("{ROOMS}/{room}/snapshots/3-0"));
    let answer = ada.get(&place).await;
    assert_eq!(answer.expect(StatusCode::OK).headers["cache-control"], "private, max-age=3600, immutable");
    assert_eq!(answer.headers["vary"], "accept, accept-encoding, authorization, enfilade-link");
    world.sign_up("bob").await.get(&place).await.refused(404, "room_not_found");
}

#[tokio::test]
async fn a_snapshot_has_an_etag_for_each_of_its_forms() {
    let world = World::new().await;
    let (room, owner) = world.board().await;
    let place = place(&owner, &room).await;
    let packed = owner.clone().with("accept", "application/msgpack").with("accept-encoding", "br, gzip");
    let answer = packed.get(&place).await;
    assert_eq!(answer.expect(StatusCode::OK).headers["content-encoding"], "gzip");
    assert_eq!(answer.headers["content-type"], "application/msgpack");
    assert_eq!(answer.headers["etag"], "\"3-0.msgpack.gz\"");

    let answer = owner.clone().with("accept", "application/msgpack").get(&place).await;
    assert_eq!(answer.expect(StatusCode::OK).headers["etag"], "\"3-0.msgpack\"");
    let read: Snapshot = rmp_serde::from_slice(&answer.bytes).unwrap();
    assert_eq!(read.seq, Seq(0));

    let again = owner.clone().with("if-none-match", "\"3-0.json.gz\", \"3-0.json\"").get(&place).await;
    assert_eq!(again.expect(StatusCode::NOT_MODIFIED).headers["etag"], "\"3-0.json\"");
    assert!(again.bytes.is_empty());
    owner.with("if-none-match", "\"3-0.json.gz\"").get(&place).await.expect(StatusCode::OK);
}

#[tokio::test]
async fn of_a_snapshot_that_is_gone_the_newest_is_told() {
    let world = World::new().await;
    let (room, owner) = world.board().await;
    let before = place(&owner, &room).await;
    owner.post(&format!("{ROOMS}/{room}/ops"), &op(1)).await.expect(StatusCode::OK);
    let answer = owner.get(&before).await;
    answer.refused(404, "snapshot_gone");
    assert_eq!(answer.body["latest"], "3-1");
    assert_eq!(answer.headers["cache-control"], "no-store");
    owner.get(&format!("{ROOMS}/{room}/snapshots/oldest")).await.refused(400, "invalid_request");
}

#[tokio::test]
async fn snapshots_are_limited_by_address() {
    let world = World::new().await;
    let (room, owner) = world.board().await;
    let burst = LimitSettings::default().snapshots_per_address.burst();
    for n in 0..burst {
        let form = if n % 2 == 0 { "snapshot" } else { "snapshots/3-0" };
        owner.get(&format!("{ROOMS}/{room}/{form}")).await.expect(StatusCode::OK);
    }
    for form in ["snapshot", "snapshots/3-0", "snapshots/latest"] {
        owner.get(&format!("{ROOMS}/{room}/{form}")).await.refused(429, "rate_limited");
    }
    owner
        .clone()
        .from("192.0.2.77:5000")
        .get(&format!("{ROOMS}/{room}/snapshot"))
        .await
        .expect(StatusCode::OK);
}
