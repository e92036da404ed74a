//! `Idempotency-Key`: repeating a POST does no harm.

use std::fs;
use std::sync::Arc;

use axum::http::StatusCode;
use enfilade_node::people::Refusal;
use enfilade_proto::ErrorCode;
use serde_json::{Value, json};

use crate::world::{Client, DAY, PASSWORD, SECOND, World, op};

const ROOMS: &str = "/api/v1/rooms";

fn keyed(client: &Client, key: &str) -> Client {
    client.clone().with("idempotency-key", key)
}

fn board() -> Value {
    json!({"kind": "board"})
}

#[tokio::test]
async fn a_repeated_request_has_the_first_answer() {
    let world = World::new().await;
    let guest = keyed(&world.guest(), "my-key");
    let first = guest.post(ROOMS, &board()).await;
    first.expect(StatusCode::CREATED);
    assert!(!first.headers.contains_key("idempotency-replayed"));
    let second = guest.post(ROOMS, &board()).await;
    assert_eq!((second.status, &second.bytes), (first.status, &first.bytes));
    for header in ["location", "content-type", "cache-control"] {
        assert_eq!(second.headers[header], first.headers[header]);
    }
    assert_eq!(second.headers["idempotency-replayed"], "true");
    let other = keyed(&guest, "another-key").post(ROOMS, &board()).await;
    assert_ne!(other.text("id"), first.text("id"));
}

#[tokio::test]
async fn a_key_belongs_to_a_person_or_an_address() {
    let world = World::new().await;
    let [ada, bob] = [world.sign_up("ada").await, world.sign_up("bob").await].map(|it| keyed(&it, "k"));
    let here = keyed(&world.guest(), "k");
    let there = keyed(&world.guest().from("198.51.100.1:1"), "k");
    let mut rooms = Vec::new();
    for client in [&ada, &bob, &here, &there] {
        let answer = client.post(ROOMS, &board()).await;
        rooms.push(answer.expect(StatusCode::CREATED).text("id").to_owned());
    }
    rooms.sort();
    rooms.dedup();
    assert_eq!(rooms.len(), 4);
}

#[tokio::test]
async fn a_key_is_for_one_request() {
    let world = World::new().await;
    let (room, owner) = world.board().await;
    let owner = keyed(&owner, "k");
    let links = format!("{ROOMS}/{room}/links");
    owner.post(&links, &json!({"role": "viewer"})).await.expect(StatusCode::CREATED);
    owner.post(&links, &json!({"role": "owner"})).await.refused(422, "idempotency_mismatch");
    owner
        .post(&format!("{links}?x=1"), &json!({"role": "viewer"}))
        .await
        .refused(422, "idempotency_mismatch");
    owner.post(ROOMS, &json!({"role": "viewer"})).await.refused(422, "idempotency_mismatch");
    let without = owner.clone().without("enfilade-link");
    without.post(&links, &json!({"role": "viewer"})).await.refused(422, "idempotency_mismatch");
    assert_eq!(owner.get(&links).await.body["links"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_request_that_is_still_worked_on_is_not_started_again() {
    let world = World::new().await;
    let (room, owner) = world.board().await;
    let path = format!("{ROOMS}/{room}/ops");
    let owner = keyed(&owner, "k");
    world.rooms.close_gate();
    let first = tokio::spawn({
        let (owner, path) = (owner.clone(), path.clone());
        async move { owner.post(&path, &op(1)).await }
    });
    world.rooms.waiting.acquire().await.unwrap().forget();
    let second = owner.post(&path, &op(1)).await;
    second.refused(409, "idempotency_in_progress");
    assert_eq!(second.headers["retry-after"], "1");
    world.rooms.gate.add_permits(1);
    assert_eq!(first.await.unwrap().expect(StatusCode::OK).body, json!({"seq": 1}));
    assert_eq!(owner.post(&path, &op(1)).await.body, json!({"seq": 1}));
    assert_eq!(world.rooms.log(&room).len(), 1);
}

#[tokio::test]
async fn a_refusal_that_may_pass_is_not_remembered() {
    let world = World::new().await;
    let (room, owner) = world.board().await;
    let owner = keyed(&owner, "k");
    let path = format!("{ROOMS}/{room}/ops");
    for (code, status) in [(ErrorCode::Busy, 503), (ErrorCode::Internal, 500), (ErrorCode::RateLimited, 429)]
    {
        world.rooms.failures.lock().unwrap().push(Refusal::new(code, "not now"));
        owner.post(&path, &op(1)).await.refused(status, code.as_str());
    }
    owner.post(&path, &op(1)).await.expect(StatusCode::OK);
}

#[tokio::test]
async fn a_mistake_is_remembered_as_well() {
    let world = World::new().await;
    let (room, owner) = world.board().await;
    let owner = keyed(&owner, "k");
    let path = format!("{ROOMS}/{room}/ops");
    world.rooms.failures.lock().unwrap().push(Refusal::new(ErrorCode::UnknownElement, "no such element"));
    let first = owner.post(&path, &op(1)).await;
    first.refused(422, "unknown_element");
    let second = owner.post(&path, &op(1)).await;
    assert_eq!(second.refused(422, "unknown_element").bytes, first.bytes);
    assert!(world.rooms.log(&room).is_empty());
}

#[tokio::test]
async fn an_answer_is_forgotten_after_a_day() {
    let world = World::new().await;
    let guest = keyed(&world.guest(), "k");
    let first = guest.post(ROOMS, &board()).await;
    world.clock.pass(DAY - SECOND);
    assert_eq!(guest.post(ROOMS, &board()).await.bytes, first.bytes);
    world.clock.pass(SECOND);
    assert_ne!(guest.post(ROOMS, &board()).await.bytes, first.bytes);
}

#[tokio::test]
async fn signing_in_is_never_answered_from_memory() {
    let world = World::new().await;
    world.sign_up("ada").await;
    let guest = keyed(&world.guest(), "k");
    let body = json!({"username": "ada", "password": PASSWORD});
    let first = guest.post("/api/v1/auth/sign-in", &body).await;
    let second = guest.post("/api/v1/auth/sign-in", &body).await;
    assert_ne!(first.expect(StatusCode::OK).cookie(), second.expect(StatusCode::OK).cookie());
}

#[tokio::test]
async fn a_key_has_a_form() {
    let world = World::new().await;
    for key in ["", "a b", "ü", &"k".repeat(256)] {
        keyed(&world.guest(), key).post(ROOMS, &board()).await.refused(400, "invalid_request");
    }
    keyed(&world.guest(), &"k".repeat(255)).post(ROOMS, &board()).await.expect(StatusCode::CREATED);
}

#[tokio::test]
async fn nobody_has_the_store_remember_without_end() {
    let world = World::new().await;
    let bad = json!({"kind": "castle"});
    for n in 0..1_000 {
        keyed(&world.guest(), &format!("k{n}")).post(ROOMS, &bad).await.refused(400, "invalid_request");
    }
    keyed(&world.guest(), "one-more").post(ROOMS, &bad).await.refused(429, "rate_limited");
    world.guest().post(ROOMS, &bad).await.refused(400, "invalid_request");
    world.clock.pass(SECOND);
    keyed(&world.guest(), "one-more").post(ROOMS, &bad).await.refused(400, "invalid_request");
}

#[tokio::test]
async fn the_store_never_learns_the_secret_of_a_link() {
    let world = World::new().await;
    let answer = keyed(&world.guest(), "0c1f4d86").post(ROOMS, &board()).await;
    let secret = answer.expect(StatusCode::CREATED).text("link").to_owned();
    let World { folder, store, people, router, .. } = world;
    drop((people, router));
    Arc::into_inner(store).unwrap().close().await;
    let mut found = false;
    for file in fs::read_dir(folder.path()).unwrap() {
        let bytes = fs::read(file.unwrap().path()).unwrap();
        let contains = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        assert!(!contains(&secret) && !contains("0c1f4d86"));
        found |= contains("Untitled");
    }
    assert!(found, "the room itself is there");
}
