//! Making rooms, sharing them, and who may do what.

use axum::http::StatusCode;
use enfilade_node::api::Site;
use enfilade_node::people::Settings;
use serde_json::{Value, json};

use crate::world::{Client, News, SECOND, World, cheap, op};

const ROOMS: &str = "/api/v1/rooms";

/// A signed-in owner's room, with a link of each role.
async fn shared(world: &World, owner: &Client) -> (String, [String; 3]) {
    let answer = owner.post(ROOMS, &json!({"kind": "board", "title": "Sketches"})).await;
    let room = answer.expect(StatusCode::CREATED).text("id").to_owned();
    let mut links = Vec::new();
    for role in ["viewer", "editor", "owner"] {
        links.push(link(owner, &room, role).await.1);
    }
    assert_eq!(world.heard.take(), []);
    (room, links.try_into().unwrap())
}

/// A new link: its id and its secret.
async fn link(owner: &Client, room: &str, role: &str) -> (String, String) {
    let answer = owner.post(&format!("{ROOMS}/{room}/links"), &json!({"role": role})).await;
    answer.expect(StatusCode::CREATED);
    (answer.text("id").to_owned(), answer.text("link").to_owned())
}

fn ids<'a>(answer: &'a Value, list: &str) -> Vec<&'a str> {
    answer[list].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_guest_owns_a_board_through_its_link() {
    let world = World::new().await;
    let guest = world.guest().with("host", "board.example.org:8080");
    let answer = guest.post(ROOMS, &json!({"kind": "board", "title": " Sketches "})).await;
    answer.expect(StatusCode::CREATED);
    let (room, secret) = (answer.text("id"), answer.text("link"));
    assert_eq!(answer.headers["location"], format!("{ROOMS}/{room}"));
    assert_eq!(secret.len(), 22);
    assert_eq!(answer.text("url"), format!("http://board.example.org:8080/b/{room}#{secret}"));
    assert_eq!(answer.body["role"], "owner");

    let path = format!("{ROOMS}/{room}");
    guest.get(&path).await.refused(404, "room_not_found");
    guest.clone().with_link("q1w2").get(&path).await.refused(403, "link_invalid");
    for link in [secret, answer.text("url")] {
        let seen = guest.clone().with_link(link).get(&path).await;
        let room = json!({"id": room, "kind": "board", "title": "Sketches", "role": "owner"});
        assert_eq!(seen.expect(StatusCode::OK).body, room);
    }
}

#[tokio::test]
async fn a_signed_in_person_owns_a_room_without_a_link() {
    let world = World::new().await;
    let ada = world.sign_up("ada").await;
    let answer = ada.post(ROOMS, &json!({"kind": "board"})).await;
    answer.expect(StatusCode::CREATED);
    assert_eq!((&answer.body["title"], answer.body.get("link")), (&json!("Untitled"), None));
    assert_eq!(answer.body.get("url"), None);
    let path = format!("{ROOMS}/{}", answer.text("id"));
    assert_eq!(ada.get(&path).await.body["role"], "owner");
    world.sign_up("bob").await.get(&path).await.refused(404, "room_not_found");
}

#[tokio::test]
async fn a_link_leads_to_where_the_site_is_seen() {
    let public = Site { public_url: Some("https://enfilade.example".parse().unwrap()), ..Site::default() };
    let proxied = Site { trusted_proxies: vec!["10.0.0.1".parse().unwrap()], ..Site::default() };
    for (site, peer, start) in [
        (public, "203.0.113.5:1", "https://enfilade.example/b/"),
        (proxied.clone(), "10.0.0.1:1", "https://board.example.org/b/"),
        (proxied, "10.0.0.2:1", "http://board.example.org/b/"),
    ] {
        let world = World::with(Settings { hashing: cheap(), ..Settings::default() }, site).await;
        let guest =
            world.guest().from(peer).with("host", "board.example.org").with("x-forwarded-proto", "https");
        let answer = guest.post(ROOMS, &json!({"kind": "board"})).await;
        assert!(answer.text("url").starts_with(start), "{}", answer.body);
    }
}

#[tokio::test]
async fn each_role_may_do_what_it_may_and_no_more() {
    let world = World::new().await;
    let ada = world.sign_up("ada").await;
    let (room, [viewer, editor, owner]) = shared(&world, &ada).await;
    let path = |rest: &str| format!("{ROOMS}/{room}{rest}");
    let [viewer, editor, owner] = [viewer, editor, owner].map(|secret| world.guest().with_link(&secret));

    for client in [&viewer, &editor, &owner, &ada] {
        for rest in ["", "/snapshot", "/ops", "/members"] {
            client.get(&path(rest)).await.expect(StatusCode::OK);
        }
    }
    viewer.post(&path("/ops"), &op(1)).await.refused(403, "forbidden");
    for (op_id, client) in [&editor, &owner, &ada].into_iter().enumerate() {
        client.post(&path("/ops"), &op(op_id as u64 + 1)).await.expect(StatusCode::OK);
    }
    for client in [&viewer, &editor] {
        client.patch(&path(""), &json!({"title": "Mine"})).await.refused(403, "forbidden");
        client.delete(&path("")).await.refused(403, "forbidden");
        client.get(&path("/links")).await.refused(403, "forbidden");
        client.post(&path("/links"), &json!({"role": "owner"})).await.refused(403, "forbidden");
        client.delete(&path(&format!("/links/{}", ada.user))).await.refused(403, "forbidden");
        client.delete(&path(&format!("/members/{}", ada.user))).await.refused(403, "forbidden");
    }
    assert_eq!(world.heard.take(), []);
    owner.patch(&path(""), &json!({"title": "Ours"})).await.expect(StatusCode::OK);
    owner.get(&path("/links")).await.expect(StatusCode::OK);

    let stranger = world.sign_up("eve").await;
    for rest in ["", "/snapshot", "/ops", "/members", "/links"] {
        stranger.get(&path(rest)).await.refused(404, "room_not_found");
    }
    stranger.post(&path("/ops"), &op(9)).await.refused(404, "room_not_found");
    stranger.delete(&path("")).await.refused(404, "room_not_found");
    assert_eq!(world.rooms.log(&room).len(), 3);
}

#[tokio::test]
async fn the_better_of_link_and_membership_counts() {
    let world = World::new().await;
    let ada = world.sign_up("ada").await;
    let (room, [viewer, editor, _]) = shared(&world, &ada).await;
    let path = format!("{ROOMS}/{room}");
    assert_eq!(ada.clone().with_link(&viewer).get(&path).await.body["role"], "owner");
    assert_eq!(ada.clone().with_link("nonsense").get(&path).await.body["role"], "owner");
    let bob = world.sign_up("bob").await;
    bob.clone().with_link(&viewer).put(&format!("{path}/members/@me")).await.expect(StatusCode::OK);
    assert_eq!(bob.clone().with_link(&editor).get(&path).await.body["role"], "editor");
    assert_eq!(bob.get(&path).await.body["role"], "viewer");
}

#[tokio::test]
async fn links_are_listed_without_their_secrets() {
    let world = World::new().await;
    let (room, owner) = world.board().await;
    let (id, secret) = link(&owner, &room, "viewer").await;
    let answer = owner.get(&format!("{ROOMS}/{room}/links")).await;
    let links = answer.expect(StatusCode::OK).body["links"].as_array().unwrap();
    assert_eq!(links.len(), 2);
    assert!(links.iter().any(|link| link["role"] == "owner"));
    assert!(links.iter().any(|link| link["id"] == id && link["role"] == "viewer"));
    assert!(!answer.body.to_string().contains(&secret));
}

#[tokio::test]
async fn a_revoked_link_takes_with_it_who_came_through() {
    let world = World::new().await;
    let ada = world.sign_up("ada").await;
    let (room, [viewer, editor, _]) = shared(&world, &ada).await;
    let (id, secret) = link(&ada, &room, "editor").await;
    let path = format!("{ROOMS}/{room}");
    let through = world.guest().with_link(&secret);
    let bob = world.sign_up("bob").await;
    bob.clone().with_link(&secret).put(&format!("{path}/members/@me")).await.expect(StatusCode::OK);
    let cy = world.sign_up("cy1").await;
    cy.clone().with_link(&editor).put(&format!("{path}/members/@me")).await.expect(StatusCode::OK);

    ada.delete(&format!("{path}/links/{id}")).await.expect(StatusCode::NO_CONTENT);
    assert_eq!(world.heard.take(), [News::access_changed(&room)]);
    through.get(&path).await.refused(403, "link_invalid");
    bob.get(&path).await.refused(404, "room_not_found");
    cy.get(&path).await.expect(StatusCode::OK);
    world.guest().with_link(&viewer).get(&path).await.expect(StatusCode::OK);
    ada.delete(&format!("{path}/links/{id}")).await.refused(404, "not_found");
    ada.delete(&format!("{path}/links/nonsense")).await.refused(404, "not_found");
}

#[tokio::test]
async fn a_link_of_one_room_opens_no_other() {
    let world = World::new().await;
    let (_, owner) = world.board().await;
    let (other, _) = world.board().await;
    owner.get(&format!("{ROOMS}/{other}")).await.refused(403, "link_invalid");
    let answer = owner.post(&format!("{ROOMS}/{other}/links"), &json!({"role": "viewer"})).await;
    answer.refused(403, "link_invalid");
}

#[tokio::test]
async fn a_room_has_a_bounded_number_of_links() {
    let world = World::new().await;
    let (room, owner) = world.board().await;
    for _ in 1..200 {
        link(&owner, &room, "viewer").await;
    }
    let answer = owner.post(&format!("{ROOMS}/{room}/links"), &json!({"role": "viewer"})).await;
    answer.refused(403, "forbidden");
}

#[tokio::test]
async fn members_come_and_go() {
    let world = World::new().await;
    let ada = world.sign_up("ada").await;
    let (room, [viewer, editor, _]) = shared(&world, &ada).await;
    let me = format!("{ROOMS}/{room}/members/@me");
    let bob = world.sign_up("bob").await;
    bob.put(&me).await.refused(404, "room_not_found");
    bob.clone().with_link("nonsense").put(&me).await.refused(403, "link_invalid");
    world.guest().with_link(&viewer).put(&me).await.refused(401, "unauthenticated");

    assert_eq!(bob.clone().with_link(&viewer).put(&me).await.body["role"], "viewer");
    assert_eq!(bob.clone().with_link(&editor).put(&me).await.body["role"], "editor");
    assert_eq!(bob.clone().with_link(&viewer).put(&me).await.body["role"], "editor", "the better one stays");
    assert_eq!(ada.clone().with_link(&viewer).put(&me).await.body["role"], "owner");
    assert_eq!(ids(&bob.get(ROOMS).await.body, "rooms"), [&room]);

    let members = ada.get(&format!("{ROOMS}/{room}/members")).await;
    let mut expected = [ada.user.as_str(), bob.user.as_str()];
    expected.sort_unstable();
    assert_eq!(ids(&members.body, "members"), expected);

    ada.delete(&me).await.refused(403, "forbidden");
    assert_eq!(world.heard.take(), []);
    bob.delete(&me).await.expect(StatusCode::NO_CONTENT);
    assert_eq!(world.heard.take(), [News::access_changed(&room)]);
    bob.get(&format!("{ROOMS}/{room}")).await.refused(404, "room_not_found");

    bob.clone().with_link(&viewer).put(&me).await.expect(StatusCode::OK);
    let his = format!("{ROOMS}/{room}/members/{}", bob.user);
    ada.delete(&his).await.expect(StatusCode::NO_CONTENT);
    assert_eq!(world.heard.take(), [News::access_changed(&room)]);
    ada.delete(&his).await.refused(404, "not_found");
    ada.delete(&me).await.expect(StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn renaming_and_deleting_are_announced() {
    let world = World::new().await;
    let (room, owner) = world.board().await;
    let path = format!("{ROOMS}/{room}");
    let answer = owner.patch(&path, &json!({"title": " Plans  "})).await;
    assert_eq!(answer.expect(StatusCode::OK).body["title"], "Plans");
    assert_eq!(world.heard.take(), [News::renamed(&room, "Plans")]);
    for title in ["", "a\u{200B}b", &"x".repeat(65)] {
        let answer = owner.patch(&path, &json!({"title": title})).await;
        answer.refused(422, "invalid_name");
        assert_eq!(answer.pointers(), ["/title"]);
    }
    assert_eq!(owner.patch(&path, &json!({})).await.expect(StatusCode::OK).body["title"], "Plans");
    assert_eq!(world.heard.take(), []);

    owner.delete(&path).await.expect(StatusCode::NO_CONTENT);
    assert_eq!(world.heard.take(), [News::access_changed(&room)]);
    owner.get(&path).await.refused(404, "room_not_found");
    owner.delete(&path).await.refused(404, "room_not_found");
}

#[tokio::test]
async fn only_boards_can_be_made_so_far() {
    let world = World::new().await;
    for (body, status, pointer) in [
        (json!({"kind": "chat"}), 400, "/kind"),
        (json!({"kind": "castle"}), 400, "/kind"),
        (json!({"kind": "board", "title": 7}), 400, "/title"),
        (json!({"title": "Sketches"}), 400, ""),
    ] {
        let answer = world.guest().post(ROOMS, &body).await;
        answer.refused(status, "invalid_request");
        assert_eq!(answer.pointers(), [pointer]);
    }
    let answer = world.guest().post(ROOMS, &json!({"kind": "board", "title": ""})).await;
    answer.refused(422, "invalid_name");
}

#[tokio::test]
async fn rooms_are_listed_in_pages_newest_first() {
    let world = World::new().await;
    let ada = world.sign_up("ada").await;
    let mut made = Vec::new();
    for n in 0..5 {
        world.clock.pass(n % 2);
        let answer = ada.post(ROOMS, &json!({"kind": "board", "title": format!("{n}")})).await;
        made.push(answer.text("id").to_owned());
    }
    let mut seen = Vec::new();
    let mut path = format!("{ROOMS}?limit=2");
    for expected in [2, 2, 1] {
        let page = ada.get(&path).await;
        let rooms = ids(&page.expect(StatusCode::OK).body, "rooms");
        assert_eq!(rooms.len(), expected);
        seen.extend(rooms.into_iter().map(str::to_owned));
        match page.body.get("next") {
            Some(next) => path = format!("{ROOMS}?limit=2&after={}", next.as_str().unwrap()),
            None => assert_eq!(expected, 1),
        }
    }
    // Made at 0, 1, 1, 2 and 2 ms; those of one millisecond are in no particular order.
    assert_eq!(seen[4], made[0]);
    for (pages, times) in [(0..2, 3..5), (2..4, 1..3), (4..5, 0..1)] {
        let (mut pages, mut times) = (seen[pages].to_vec(), made[times].to_vec());
        pages.sort();
        times.sort();
        assert_eq!(pages, times);
    }

    assert_eq!(ids(&ada.get(&format!("{ROOMS}?limit=5")).await.body, "rooms").len(), 5);
    assert_eq!(ada.get(&format!("{ROOMS}?limit=5")).await.body.get("next"), None);
    for query in ["limit=0", "limit=101", "limit=x", "after=x", "after=", "after=AAAA"] {
        ada.get(&format!("{ROOMS}?{query}")).await.refused(400, "invalid_request");
    }
    world.guest().get(ROOMS).await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn members_are_listed_in_pages() {
    let world = World::new().await;
    let ada = world.sign_up("ada").await;
    let (room, [viewer, ..]) = shared(&world, &ada).await;
    let mut expected = vec![ada.user.clone()];
    for n in 0..4 {
        let member = world.sign_up(&format!("member-{n}")).await.with_link(&viewer);
        member.put(&format!("{ROOMS}/{room}/members/@me")).await.expect(StatusCode::OK);
        expected.push(member.user);
    }
    expected.sort();
    let first = ada.get(&format!("{ROOMS}/{room}/members?limit=3")).await;
    let rest = ada.get(&format!("{ROOMS}/{room}/members?after={}", first.text("next"))).await;
    assert_eq!([ids(&first.body, "members"), ids(&rest.body, "members")].concat(), expected);
    assert_eq!(rest.body.get("next"), None);
}

#[tokio::test]
async fn one_address_cannot_make_rooms_without_end() {
    let world = World::new().await;
    let board = json!({"kind": "board"});
    for _ in 0..300 {
        world.guest().post(ROOMS, &board).await.expect(StatusCode::CREATED);
    }
    let limited = world.guest().post(ROOMS, &board).await;
    limited.refused(429, "rate_limited");
    assert_eq!(limited.body["retry_after_ms"], 3_600);
    world.guest().from("203.0.113.6:1").post(ROOMS, &board).await.expect(StatusCode::CREATED);
    world.sign_up("ada").await.post(ROOMS, &board).await.expect(StatusCode::CREATED);
    world.clock.pass(4 * SECOND);
    world.guest().post(ROOMS, &board).await.expect(StatusCode::CREATED);
}
