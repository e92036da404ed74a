//! Who is there: people in rooms, people on their devices.

use std::sync::atomic::Ordering;

use axum::http::StatusCode;
use enfilade_node::api::Connection;
use enfilade_proto::{DisplayName, Member, Role, UserId};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::world::{START, World};

/// Connects the device of whoever asks.
async fn connect(world: &World, client: &crate::world::Client) {
    let logins = client.get("/api/v1/auth/logins").await;
    let current = logins.body["logins"].as_array().unwrap().iter().find(|login| login["current"] == true);
    let login = current.unwrap()["id"].as_str().unwrap().parse().unwrap();
    let connection = Connection { login, node: "north".into(), since_ms: START, active: true };
    let user: UserId = client.user.parse().unwrap();
    world.sessions.connections.lock().unwrap().entry(user).or_default().push(connection);
}

#[tokio::test]
async fn devices_say_where_they_are_connected() {
    let world = World::new().await;
    let ada = world.sign_up("ada").await;
    world.sign_in("ada").await;
    connect(&world, &ada).await;
    let answer = ada.get("/api/v1/auth/logins").await;
    let connected = |current: bool| {
        let logins = answer.body["logins"].as_array().unwrap();
        logins.iter().find(|login| login["current"] == current).unwrap()["connections"].clone()
    };
    assert_eq!(connected(true), json!([{"node": "north", "since": START, "active": true}]));
    assert_eq!(connected(false), json!([]));

    // To sign out, nobody but the database is needed.
    world.sessions.broken.store(true, Ordering::SeqCst);
    let answer = ada.get("/api/v1/auth/logins").await;
    assert_eq!(answer.expect(StatusCode::OK).body["logins"][0].get("connections"), None);
}

#[tokio::test]
async fn people_who_share_a_room_know_whether_the_other_is_there() {
    let world = World::new().await;
    let (ada, bob) = (world.sign_up("ada").await, world.sign_up("bob").await);
    connect(&world, &ada).await;
    let of_ada = format!("/api/v1/users/{}/presence", ada.user);
    assert_eq!(ada.get(&of_ada).await.expect(StatusCode::OK).body, json!({"presence": "online"}));
    bob.get(&of_ada).await.refused(404, "not_found");
    world.guest().get(&of_ada).await.refused(401, "unauthenticated");
    let nobody = format!("/api/v1/users/{}/presence", Uuid::new_v4());
    bob.get(&nobody).await.refused(404, "not_found");

    let (room, owner) = world.board().await;
    let link = owner.post(&format!("/api/v1/rooms/{room}/links"), &json!({"role": "viewer"})).await;
    for client in [&ada, &bob] {
        let visitor = client.clone().with_link(link.text("link"));
        visitor.put(&format!("/api/v1/rooms/{room}/members/@me")).await.expect(StatusCode::OK);
    }
    assert_eq!(bob.get(&of_ada).await.expect(StatusCode::OK).body, json!({"presence": "online"}));
    let of_bob = format!("/api/v1/users/{}/presence", bob.user);
    assert_eq!(ada.get(&of_bob).await.expect(StatusCode::OK).body, json!({"presence": "offline"}));
}

#[tokio::test]
async fn the_people_of_a_large_room_come_in_pages() {
    let world = World::new().await;
    let (room, owner) = world.board().await;
    let name = DisplayName::new("Ada").unwrap();
    let there: Vec<Member> = (1..=250u128)
        .map(|n| Member { id: UserId(Uuid::from_u128(n)), name: name.clone(), role: Role::Editor })
        .collect();
    there.clone_into(&mut world.rooms.there.lock().unwrap());
    let path = format!("/api/v1/rooms/{room}/people");
    let (mut listed, mut after) = (Vec::new(), String::new());
    loop {
        let page = owner.get(&format!("{path}?limit=100{after}")).await;
        listed.extend(page.expect(StatusCode::OK).body["members"].as_array().unwrap().clone());
        match page.body.get("next") {
            Some(Value::String(next)) => after = format!("&after={next}"),
            _ => break,
        }
    }
    let ids: Vec<UserId> = listed.iter().map(|it| it["id"].as_str().unwrap().parse().unwrap()).collect();
    assert_eq!(ids, there.iter().map(|member| member.id).collect::<Vec<_>>());
    world.guest().get(&path).await.refused(404, "room_not_found");
}
