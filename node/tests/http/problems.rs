//! Bad input of every kind: each has a problem with a code, and none does harm.

use axum::body::Bytes;
use axum::http::{Method, StatusCode};
use enfilade_node::api::document;
use serde_json::{Value, json};

use crate::world::{World, op};

const ROOMS: &str = "/api/v1/rooms";

#[tokio::test]
async fn nothing_is_found_with_a_problem() {
    let world = World::new().await;
    for path in ["/api", "/api/", "/api/v1", "/api/v1/", "/api/v2/rooms", "/api/v1/rooms/", "/api/v1/nothing"]
    {
        for method in [Method::GET, Method::POST, Method::DELETE] {
            let answer = world.guest().send_bytes(method, path, Bytes::new()).await;
            answer.refused(404, "not_found");
        }
    }
    world.guest().get(&format!("{ROOMS}/nonsense")).await.refused(404, "not_found");
    let no_room = format!("{ROOMS}/7d1e0c5c-2f4e-4a59-9d38-0d6f8f3b1a52");
    world.guest().get(&no_room).await.refused(404, "room_not_found");
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let world = World::new().await;
    let answer = world.guest().delete("/api/v1/auth/sign-in").await;
    answer.refused(405, "method_not_allowed");
    assert_eq!(answer.headers["allow"], "POST");
    let answer = world.guest().put(ROOMS).await;
    answer.refused(405, "method_not_allowed");
    let mut allowed: Vec<&str> = answer.headers["allow"].to_str().unwrap().split(',').collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["GET", "HEAD", "POST"]);
}

#[tokio::test]
async fn a_body_has_to_be_json_and_of_a_bounded_size() {
    let world = World::new().await;
    let send = async |media_type: &str, body: Vec<u8>| {
        let client = world.guest().with("content-type", media_type);
        client.send_bytes(Method::POST, ROOMS, Bytes::from(body)).await
    };
    let good = json!({"kind": "board"}).to_string().into_bytes();
    for media_type in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "json", ""] {
        send(media_type, good.clone()).await.refused(415, "unsupported_media_type");
    }
    let untyped = world.guest().send_bytes(Method::POST, ROOMS, good.clone().into()).await;
    untyped.refused(415, "unsupported_media_type");
    for media_type in ["application/json", "Application/JSON; charset=utf-8", "application/enfilade+json"] {
        send(media_type, good.clone()).await.expect(StatusCode::CREATED);
    }
    let padded = |size: usize| [good.clone(), vec![b' '; size - good.len()]].concat();
    send("application/json", padded(1024 * 1024)).await.expect(StatusCode::CREATED);
    send("application/json", padded(1024 * 1024 + 1)).await.refused(413, "payload_too_large");
    let keyed = world.guest().with("content-type", "application/json").with("idempotency-key", "k");
    let large = padded(1024 * 1024 + 1).into();
    keyed.send_bytes(Method::POST, ROOMS, large).await.refused(413, "payload_too_large");
}

#[tokio::test]
async fn what_is_no_json_is_refused_as_such() {
    let world = World::new().await;
    let client = world.guest().with("content-type", "application/json");
    let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
    for body in [
        &b""[..],
        b"{",
        b"{\"kind\":\"board\"}}",
        b"{\"kind\":\"board\"} {}",
        b"\xff\xfe",
        b"{\"kind\":\"bo\xffard\"}",
        b"nonsense",
        &deep,
    ] {
        let answer = client.send_bytes(Method::POST, ROOMS, Bytes::copy_from_slice(body)).await;
        answer.refused(400, "invalid_request");
        assert!(answer.bytes.len() < 1_000, "the answer does not echo the body");
    }
}

#[tokio::test]
async fn a_problem_says_what_in_the_body_is_wrong() {
    let world = World::new().await;
    let long = "x".repeat(100_000);
    let sign_up = "/api/v1/auth/sign-up";
    for (path, body, pointer) in [
        (sign_up, json!({"username": 7, "password": "p"}), "/username"),
        (sign_up, json!({"username": "ada", "password": null}), "/password"),
        (sign_up, json!({"username": "ada"}), ""),
        (ROOMS, json!({"kind": long}), "/kind"),
        ("/api/v1/auth/sign-out", json!({"everywhere": "yes"}), "/everywhere"),
    ] {
        let answer = world.guest().post(path, &body).await;
        answer.refused(400, "invalid_request");
        assert_eq!(answer.pointers(), [pointer]);
        assert!(answer.bytes.len() < 1_000);
    }
}

#[tokio::test]
async fn the_same_request_goes_on_without_the_one_who_asked() {
    let world = World::new().await;
    let (room, owner) = world.board().await;
    world.rooms.close_gate();
    let path = format!("{ROOMS}/{room}/ops");
    {
        let body = op(1);
        let request = owner.post(&path, &body);
        tokio::pin!(request);
        tokio::select! {
            answer = &mut request => panic!("answered behind a closed gate: {answer:?}"),
            permit = world.rooms.waiting.acquire() => permit.unwrap().forget(),
        }
        // The request is dropped here, as by a connection that closes.
    }
    world.rooms.gate.add_permits(1);
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    while world.rooms.log(&room).is_empty() {
        assert!(tokio::time::Instant::now() < deadline, "the op was dropped with its request");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_rest_of_the_site_is_somebody_elses() {
    let world = World::new().await;
    let site = axum::Router::new().fallback(async || "the page").merge(world.router.clone());
    let guest = world.guest().at(site);
    assert_eq!(guest.get("/b/7d1e").await.bytes, "the page");
    guest.get("/api/v1/nothing").await.refused(404, "not_found");
    guest.delete(ROOMS).await.refused(405, "method_not_allowed");
}

/// Every operation of the document, with paths, headers and bodies that make no sense.
#[tokio::test]
async fn nonsense_never_breaks_anything() {
    let world = World::new().await;
    let ada = world.sign_up("ada").await;
    let document = serde_json::to_value(document()).unwrap();
    let ids = ["7d1e0c5c-2f4e-4a59-9d38-0d6f8f3b1a52", "@me", "%00", "..%2f..", "😀", &"9".repeat(5_000)];
    let bodies = [
        json!(null),
        json!([]),
        json!({}),
        json!(""),
        json!(1e300),
        json!({"kind": {}}),
        json!({"role": []}),
        json!({"username": "\u{0}", "password": "\u{0}".repeat(9)}),
        json!({"title": "\u{202E}"}),
    ];
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let method: Method = method.to_uppercase().parse().unwrap();
            for (n, id) in ids.iter().enumerate() {
                let id = uri_safe(id);
                let path = path.replace("{id}", &id).replace("{link}", &id).replace("{user}", &id);
                let path = format!("{path}?limit={}&after={id}", "1".repeat(n));
                for body in &bodies {
                    for client in [world.guest(), ada.clone()] {
                        let client = client.with_link(&id).with("content-type", "application/json");
                        let body = Bytes::from(body.to_string());
                        let answer = client.send_bytes(method.clone(), &path, body).await;
                        let status = answer.status.as_u16();
                        assert!(status < 500, "{method} {path}: {}", answer.body);
                        if status >= 400 {
                            answer.refused(status, answer.body["code"].as_str().unwrap_or_default());
                        }
                    }
                }
            }
        }
    }
}

/// What a URI cannot have is sent in percents.
fn uri_safe(text: &str) -> String {
    let escape = |byte: &u8| {
        if byte.is_ascii() { (*byte as char).to_string() } else { format!("%{byte:02X}") }
    };
    text.as_bytes().iter().map(escape).collect()
}

#[tokio::test]
async fn nothing_changes_by_getting() {
    let world = World::new().await;
    let ada = world.sign_up("ada").await;
    let document = serde_json::to_value(document()).unwrap();
    let before: Value = ada.get(ROOMS).await.body;
    for path in document["paths"].as_object().unwrap().keys() {
        let path = path.replace("{id}", &ada.user).replace("{link}", &ada.user).replace("{user}", &ada.user);
        ada.get(&path).await;
    }
    assert_eq!(world.heard.take(), []);
    assert_eq!(ada.get(ROOMS).await.body, before);
    ada.get("/api/v1/users/@me").await.expect(StatusCode::OK);
}
