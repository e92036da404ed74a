//! Signing up, in and out, and staying signed in.

use axum::http::StatusCode;
use enfilade_node::api::Site;
use enfilade_node::people::{Hashing, LimitSettings, Settings};
use enfilade_proto::{LoginId, Username};
use enfilade_store::Directory;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::world::{Answer, Client, DAY, HOUR, News, PASSWORD, SECOND, World, cheap};

const SIGN_UP: &str = "/api/v1/auth/sign-up";
const SIGN_IN: &str = "/api/v1/auth/sign-in";
const REFRESH: &str = "/api/v1/auth/refresh";
const SIGN_OUT: &str = "/api/v1/auth/sign-out";
const LOGINS: &str = "/api/v1/auth/logins";
const ME: &str = "/api/v1/users/@me";

fn credentials(username: &str, password: &str) -> Value {
    json!({"username": username, "password": password})
}

async fn refresh(client: &Client) -> (Client, Answer) {
    let answer = client.post_nothing(REFRESH).await;
    answer.expect(StatusCode::OK);
    (client.clone().signed_in(&answer), answer)
}

async fn current_login(client: &Client) -> LoginId {
    let answer = client.get(LOGINS).await;
    let logins = answer.body["logins"].as_array().unwrap();
    let current = logins.iter().find(|login| login["current"] == true).unwrap();
    current["id"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn whoever_signs_up_is_signed_in() {
    let world = World::new().await;
    let body = json!({"username": "Ada.L", "password": PASSWORD, "name": " Ada Lovelace "});
    let answer = world.guest().post(SIGN_UP, &body).await;
    answer.expect(StatusCode::CREATED);
    assert_eq!(answer.headers["location"], ME);
    assert_eq!(answer.headers["cache-control"], "no-store");
    let cookie = answer.headers["set-cookie"].to_str().unwrap();
    let (_, attributes) = cookie.split_once(';').unwrap();
    assert_eq!(attributes, " Max-Age=1209600; Path=/; Secure; HttpOnly; SameSite=Strict");
    assert_eq!(answer.body["expires_in"], 600);
    assert_eq!(answer.body["user"]["name"], "Ada Lovelace");
    assert_eq!(answer.body.as_object().unwrap().len(), 3);

    let ada = world.guest().signed_in(&answer);
    let me = ada.get(ME).await;
    assert_eq!(me.body["username"], "ada.l");
    assert_eq!(me.body["id"], answer.body["user"]["id"]);
}

#[tokio::test]
async fn a_username_belongs_to_one_person() {
    let world = World::new().await;
    world.sign_up("ada").await;
    let answer = world.guest().post(SIGN_UP, &credentials("ADA", PASSWORD)).await;
    answer.refused(409, "username_taken");
    assert_eq!(answer.pointers(), ["/username"]);
}

#[tokio::test]
async fn a_sign_up_is_told_all_that_is_wrong_with_it() {
    let world = World::new().await;
    let body = json!({"username": "a b", "password": "1234567", "name": "\u{202E}ada"});
    let answer = world.guest().post(SIGN_UP, &body).await;
    answer.refused(422, "invalid_name");
    assert_eq!(answer.pointers(), ["/username", "/password", "/name"]);
    assert_eq!(answer.body["errors"][1]["code"], "weak_password");

    for password in ["iloveyou1", "ada-lovelace", &"x7".repeat(65)] {
        let answer = world.guest().post(SIGN_UP, &credentials("ada-lovelace", password)).await;
        answer.refused(422, "weak_password");
        assert_eq!(answer.pointers(), ["/password"]);
    }
    world.guest().post(SIGN_UP, &credentials("a", PASSWORD)).await.refused(422, "invalid_name");
}

#[tokio::test]
async fn a_wrong_password_looks_like_an_unknown_user() {
    let world = World::new().await;
    world.sign_up("ada").await;
    let wrong = world.guest().post(SIGN_IN, &credentials("ada", "not the right one")).await;
    let unknown = world.guest().post(SIGN_IN, &credentials("bob", PASSWORD)).await;
    let impossible = world.guest().post(SIGN_IN, &credentials("no such name", PASSWORD)).await;
    wrong.refused(401, "invalid_credentials");
    // But for its name, which every error has.
    let told = |answer: &Answer| {
        let mut body = answer.body.clone();
        assert!(body.as_object_mut().unwrap().remove("trace_id").is_some());
        body
    };
    assert_eq!(told(&wrong), told(&unknown));
    assert_eq!(told(&wrong), told(&impossible));
    assert_eq!(wrong.headers, unknown.headers);
    assert!(!wrong.headers.contains_key("set-cookie"));
    world.guest().post(SIGN_IN, &credentials("Ada", PASSWORD)).await.expect(StatusCode::OK);
}

#[tokio::test]
async fn a_password_hash_of_other_days_is_renewed_by_signing_in() {
    let world = World::new().await;
    world.sign_up("ada").await;
    let stored = async |world: &World| {
        let ada = Username::new("ada").unwrap();
        world.store.user_by_name(&ada).await.unwrap().unwrap().password_hash
    };
    let before = stored(&world).await;
    let whence = enfilade_node::people::Whence { address: [192, 0, 2, 1].into(), device: String::new() };
    let settings = Settings { hashing: Hashing { passes: 2, ..cheap() }, ..Settings::default() };
    let (heard, clock) = (world.heard.clone(), world.clock.clone());
    let later =
        enfilade_node::people::People::open(world.store.clone(), heard, clock, &settings).await.unwrap();

    later.sign_in("ada", "not the right one", &whence).await.unwrap_err();
    assert_eq!(stored(&world).await, before);
    later.sign_in("ada", PASSWORD, &whence).await.unwrap();
    let after = stored(&world).await;
    assert!(after.contains("t=2"), "{after}");
    later.sign_in("ada", PASSWORD, &whence).await.unwrap();
    assert_eq!(stored(&world).await, after);
}

#[tokio::test]
async fn refreshing_replaces_both_tokens() {
    let world = World::new().await;
    let ada = world.sign_up("ada").await;
    world.clock.pass(11 * 60 * SECOND);
    let late = ada.get(ME).await;
    late.refused(401, "token_expired");
    assert_eq!(late.headers["www-authenticate"], "Bearer error=\"invalid_token\"");

    let (_, first) = refresh(&ada).await;
    let ada = ada.signed_in(&first);
    ada.get(ME).await.expect(StatusCode::OK);
    world.clock.pass(60 * SECOND);
    let (_, second) = refresh(&ada).await;
    assert_ne!(second.cookie(), first.cookie());
    assert_ne!(second.text("access_token"), first.text("access_token"));
}

#[tokio::test]
async fn tabs_that_refresh_together_stay_signed_in_together() {
    let world = World::new().await;
    let ada = world.sign_up("ada").await;
    world.clock.pass(9 * 60 * SECOND);
    let answers = join_all((0..8).map(|_| ada.post_nothing(REFRESH))).await;
    for answer in &answers {
        answer.expect(StatusCode::OK);
        assert_eq!(answer.cookie(), answers[0].cookie());
    }
    let (ada, _) = refresh(&ada.signed_in(&answers[7])).await;
    ada.get(ME).await.expect(StatusCode::OK);
}

#[tokio::test]
async fn a_lost_answer_to_a_refresh_signs_nobody_out() {
    let world = World::new().await;
    let ada = world.sign_up("ada").await;
    let (_, lost) = refresh(&ada).await;
    world.clock.pass(DAY);
    let (_, found) = refresh(&ada).await;
    assert_eq!(found.cookie(), lost.cookie());
    assert_eq!(world.heard.take(), []);
}

#[tokio::test]
async fn an_old_refresh_token_ends_the_login_for_everybody() {
    let world = World::new().await;
    let stolen = world.sign_up("ada").await;
    let login = current_login(&stolen).await;
    let (ada, _) = refresh(&stolen).await;
    let (ada, _) = refresh(&ada).await;
    let elsewhere = world.sign_in("ada").await;
    world.clock.pass(11 * SECOND);

    let answer = stolen.post_nothing(REFRESH).await;
    answer.refused(401, "unauthenticated");
    assert!(answer.headers["set-cookie"].to_str().unwrap().starts_with("__Host-enfilade=; Max-Age=0;"));
    assert_eq!(world.heard.take(), [News::LoginEnded(login)]);
    ada.post_nothing(REFRESH).await.refused(401, "unauthenticated");
    ada.get(ME).await.refused(401, "unauthenticated");
    elsewhere.get(ME).await.expect(StatusCode::OK);
}

#[tokio::test]
async fn a_login_ends_by_itself_when_idle_or_old() {
    let world = World::new().await;
    let ada = world.sign_up("ada").await;
    world.clock.pass(14 * DAY);
    ada.post_nothing(REFRESH).await.refused(401, "unauthenticated");

    let mut ada = world.sign_in("ada").await;
    for _ in 0..29 {
        world.clock.pass(DAY);
        ada = refresh(&ada).await.0;
    }
    let last = ada.post_nothing(REFRESH).await;
    assert!(last.headers["set-cookie"].to_str().unwrap().contains("Max-Age=86400;"), "one day is left");
    world.clock.pass(DAY);
    ada.signed_in(&last).post_nothing(REFRESH).await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn nonsense_in_the_cookie_signs_nobody_in() {
    let world = World::new().await;
    world.guest().post_nothing(REFRESH).await.refused(401, "unauthenticated");
    for cookie in ["", "x", "AQAA", &"A".repeat(55), &"A".repeat(5_000)] {
        let client = world.guest().with("cookie", &format!("__Host-enfilade={cookie}"));
        client.post_nothing(REFRESH).await.refused(401, "unauthenticated");
    }
}

#[tokio::test]
async fn signing_out_ends_this_device_at_once_and_no_other() {
    let world = World::new().await;
    let laptop = world.sign_up("ada").await;
    let phone = world.sign_in("ada").await;
    let login = current_login(&laptop).await;

    let answer = laptop.post_nothing(SIGN_OUT).await;
    answer.expect(StatusCode::NO_CONTENT);
    assert!(answer.headers["set-cookie"].to_str().unwrap().starts_with("__Host-enfilade=; Max-Age=0;"));
    assert_eq!(world.heard.take(), [News::LoginEnded(login)]);
    laptop.get(ME).await.refused(401, "unauthenticated");
    laptop.post_nothing(REFRESH).await.refused(401, "unauthenticated");
    phone.get(ME).await.expect(StatusCode::OK);
    laptop.post_nothing(SIGN_OUT).await.expect(StatusCode::NO_CONTENT);
    assert_eq!(world.heard.take(), []);
}

#[tokio::test]
async fn signing_out_everywhere_ends_all_devices_of_this_person() {
    let world = World::new().await;
    let bob = world.sign_up("bob").await;
    let laptop = world.sign_up("ada").await;
    let phone = world.sign_in("ada").await;
    let mut logins = [current_login(&laptop).await, current_login(&phone).await].map(News::LoginEnded);
    logins.sort();

    phone.post(SIGN_OUT, &json!({"everywhere": true})).await.expect(StatusCode::NO_CONTENT);
    let mut heard = world.heard.take();
    heard.sort();
    assert_eq!(heard, logins);
    for device in [&laptop, &phone] {
        device.get(ME).await.refused(401, "unauthenticated");
        device.post_nothing(REFRESH).await.refused(401, "unauthenticated");
    }
    bob.get(ME).await.expect(StatusCode::OK);
}

#[tokio::test]
async fn signing_out_needs_the_token_or_the_cookie() {
    let world = World::new().await;
    let token_only = world.sign_up("ada").await.without("cookie");
    let login = current_login(&token_only).await;
    token_only.post(SIGN_OUT, &json!({})).await.expect(StatusCode::NO_CONTENT);
    assert_eq!(world.heard.take(), [News::LoginEnded(login)]);

    let cookie_only = world.sign_in("ada").await.without("authorization");
    cookie_only.post_nothing(SIGN_OUT).await.expect(StatusCode::NO_CONTENT);
    assert_eq!(world.heard.take().len(), 1);

    let late = world.sign_in("ada").await;
    world.clock.pass(HOUR);
    late.clone().without("cookie").post_nothing(SIGN_OUT).await.refused(401, "token_expired");
    assert_eq!(world.heard.take(), []);
    late.post_nothing(SIGN_OUT).await.expect(StatusCode::NO_CONTENT);
    assert_eq!(world.heard.take().len(), 1);

    world.guest().post_nothing(SIGN_OUT).await.expect(StatusCode::NO_CONTENT);
    assert_eq!(world.heard.take(), []);
}

#[tokio::test]
async fn a_person_sees_and_ends_their_devices() {
    let world = World::new().await;
    let agent = format!("Browser/1.0 {}", "x".repeat(300));
    let laptop = world.guest().with("user-agent", &agent);
    let answer = laptop.post(SIGN_UP, &credentials("ada", PASSWORD)).await;
    let laptop = laptop.signed_in(&answer);
    world.clock.pass(SECOND);
    let phone = world.sign_in("ada").await;
    let bob = world.sign_up("bob").await;

    let answer = laptop.get(LOGINS).await;
    let logins = answer.body["logins"].as_array().unwrap();
    assert_eq!(logins.len(), 2);
    assert_eq!((&logins[0]["current"], &logins[1]["current"]), (&json!(false), &json!(true)));
    assert_eq!(logins[1]["device"].as_str().unwrap().len(), 200);
    assert_eq!(
        logins[1]["expires_at"].as_u64().unwrap() - logins[1]["created_at"].as_u64().unwrap(),
        30 * DAY
    );

    let login = current_login(&phone).await;
    let path = format!("{LOGINS}/{login}");
    bob.delete(&path).await.refused(404, "not_found");
    world.guest().delete(&path).await.refused(401, "unauthenticated");
    laptop.delete(&path).await.expect(StatusCode::NO_CONTENT);
    assert_eq!(world.heard.take(), [News::LoginEnded(login)]);
    phone.get(ME).await.refused(401, "unauthenticated");
    laptop.delete(&path).await.refused(404, "not_found");
    laptop.delete(&format!("{LOGINS}/nonsense")).await.refused(404, "not_found");
}

#[tokio::test]
async fn one_device_too_many_ends_the_oldest() {
    let world = World::new().await;
    let oldest = world.sign_up("ada").await;
    let login = current_login(&oldest).await;
    for _ in 0..49 {
        world.clock.pass(10 * SECOND);
        world.sign_in("ada").await;
    }
    assert_eq!(world.heard.take(), []);
    world.clock.pass(10 * SECOND);
    let newest = world.sign_in("ada").await;
    assert_eq!(world.heard.take(), [News::LoginEnded(login)]);
    oldest.get(ME).await.refused(401, "unauthenticated");
    assert_eq!(newest.get(LOGINS).await.body["logins"].as_array().unwrap().len(), 50);
}

#[tokio::test]
async fn a_person_changes_their_name() {
    let world = World::new().await;
    let ada = world.sign_up("ada").await;
    let answer = ada.patch(ME, &json!({"name": " Ada L. "})).await;
    answer.expect(StatusCode::OK);
    assert_eq!(answer.body["name"], "Ada L.");
    assert_eq!(refresh(&ada).await.1.body["user"]["name"], "Ada L.");
    ada.patch(ME, &json!({})).await.expect(StatusCode::OK);
    let answer = ada.patch(ME, &json!({"name": ""})).await;
    answer.refused(422, "invalid_name");
    assert_eq!(answer.pointers(), ["/name"]);
    world.guest().patch(ME, &json!({"name": "Eve"})).await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn another_site_can_do_nothing_with_our_cookie() {
    let world = World::new().await;
    let ada = world.sign_up("ada").await.without("authorization");
    let foreign = [
        ada.clone().with("sec-fetch-site", "cross-site"),
        ada.clone().with("sec-fetch-site", "same-site"),
        ada.clone().with("origin", "https://evil.example").with("host", "board.example.org"),
    ];
    for client in &foreign {
        client.post_nothing(REFRESH).await.refused(403, "cross_site");
        client.post_nothing(SIGN_OUT).await.refused(403, "cross_site");
        client.post(SIGN_IN, &credentials("ada", PASSWORD)).await.refused(403, "cross_site");
    }
    assert_eq!(world.heard.take(), []);
    let ours = [
        ada.clone().with("sec-fetch-site", "same-origin"),
        ada.clone().with("origin", "http://board.example.org").with("host", "board.example.org"),
        ada,
    ];
    for client in &ours {
        client.post_nothing(REFRESH).await.expect(StatusCode::OK);
    }
}

#[tokio::test]
async fn guessing_a_password_becomes_slow() {
    let world = World::new().await;
    world.sign_up("ada").await;
    for n in 0..10 {
        let client = world.guest().from(&format!("198.51.100.{n}:1"));
        client.post(SIGN_IN, &credentials("ada", "a wrong one")).await.refused(401, "invalid_credentials");
    }
    let limited = world.guest().post(SIGN_IN, &credentials("ada", PASSWORD)).await;
    limited.refused(429, "rate_limited");
    assert_eq!(limited.headers["retry-after"], "6");
    world.clock.pass(6 * SECOND);
    world.guest().post(SIGN_IN, &credentials("ada", PASSWORD)).await.expect(StatusCode::OK);
}

#[tokio::test]
async fn one_address_cannot_fill_the_place_with_accounts() {
    let site = Site { trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()], ..Site::default() };
    let world = World::with(Settings { hashing: cheap(), ..Settings::default() }, site).await;
    let proxied = |client: &str| world.guest().from("10.0.0.1:99").with("x-forwarded-for", client);
    for n in 0..60 {
        // Whatever else it claims to have come through, and whatever address of its household it uses.
        let client = proxied(&format!("198.51.100.{n}, 2001:db8:1:2::{n}"));
        client.post(SIGN_UP, &credentials(&format!("user-{n}"), PASSWORD)).await.expect(StatusCode::CREATED);
    }
    let next = credentials("one-more", PASSWORD);
    proxied("2001:db8:1:2:ffff::1").post(SIGN_UP, &next).await.refused(429, "rate_limited");
    proxied("2001:db8:1:3::1").post(SIGN_UP, &next).await.expect(StatusCode::CREATED);
}

#[tokio::test]
async fn a_school_behind_one_address_signs_up_if_the_limit_allows_it() {
    let sign_up_per_address = "60/minute burst 70".parse().unwrap();
    let limits = LimitSettings { sign_up_per_address, ..LimitSettings::default() };
    let settings = Settings { hashing: cheap(), limits, ..Settings::default() };
    let world = World::with(settings, Site::default()).await;
    let pupil =
        async |n: u32| world.guest().post(SIGN_UP, &credentials(&format!("pupil-{n}"), PASSWORD)).await;
    for n in 0..70 {
        pupil(n).await.expect(StatusCode::CREATED);
    }
    let limited = pupil(70).await;
    limited.refused(429, "rate_limited");
    assert_eq!(limited.body["retry_after_ms"], 1_000);
    world.clock.pass(60 * SECOND);
    for n in 70..130 {
        pupil(n).await.expect(StatusCode::CREATED);
    }
}

#[tokio::test]
async fn more_hashing_than_the_node_can_do_is_put_off() {
    let hashing = Hashing { workers: 1, waiting: 1, ..Hashing::default() };
    let world = World::with(Settings { hashing, ..Settings::default() }, Site::default()).await;
    let guest = world.guest();
    let bodies: Vec<Value> = (0..16).map(|n| credentials(&format!("user-{n}"), PASSWORD)).collect();
    let answers = join_all(bodies.iter().map(|body| guest.post(SIGN_IN, body))).await;
    let busy: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 503).collect();
    assert!(!busy.is_empty() && busy.len() < 16, "{} of 16 were put off", busy.len());
    for answer in busy {
        answer.refused(503, "busy");
        assert_eq!(answer.headers["retry-after"], "1");
    }
}

#[tokio::test]
async fn everybody_may_have_the_keys_that_verify_tokens() {
    let world = World::new().await;
    let answer = world.guest().get("/.well-known/jwks.json").await;
    answer.expect(StatusCode::OK);
    assert_eq!(answer.headers["cache-control"], "public, max-age=600");
    let key = &answer.body["keys"][0];
    assert_eq!((&key["kty"], &key["crv"], &key["alg"]), (&json!("OKP"), &json!("Ed25519"), &json!("EdDSA")));
    assert_eq!(key.get("d"), None);
}

#[tokio::test]
async fn only_bearer_tokens_of_ours_authenticate() {
    let world = World::new().await;
    for authorization in ["Bearer x", "Bearer", "Bearer a.b.c", "Basic YWRhOmFkYQ==", "x", ""] {
        let client = world.guest().with("authorization", authorization);
        client.get(ME).await.refused(401, "unauthenticated");
        client.post("/api/v1/rooms", &json!({"kind": "board"})).await.refused(401, "unauthenticated");
    }
}
