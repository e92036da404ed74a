//! People as sockets meet them: who says hello, and what of their rooms.

use axum::http::StatusCode;
use enfilade_node::people::{ACCESS_LIFE_MS, Visitor, link_hash};
use enfilade_proto::{ClientId, DisplayName, ErrorCode, LoginId, Role, RoomId};
use serde_json::json;
use uuid::Uuid;

use crate::world::{DAY, PASSWORD, START, World};

async fn access_token(world: &World, username: &str) -> String {
    let body = json!({"username": username, "password": PASSWORD});
    let answer = world.guest().post("/api/v1/auth/sign-in", &body).await;
    answer.expect(StatusCode::OK).text("access_token").to_owned()
}

#[tokio::test]
async fn a_signed_in_person_resumes_until_the_token_runs_out_or_they_sign_out() {
    let world = World::new().await;
    world.sign_up("ada").await;
    let token = access_token(&world, "ada").await;
    let ada = world.people.principal(&token).unwrap();
    let signed_in = ada.signed_in.unwrap();
    assert_eq!((ada.user.guest, signed_in.expires_ms), (false, START + ACCESS_LIFE_MS));

    let resume = world.people.resume_token(&ada);
    assert_eq!(world.people.resume(&resume).unwrap(), ada);
    world.people.forget_login(LoginId(Uuid::new_v4()));
    assert_eq!(world.people.resume(&resume).unwrap(), ada);
    world.people.forget_login(signed_in.login);
    assert_eq!(world.people.resume(&resume).unwrap_err().code, ErrorCode::ResumeExpired);
    assert_eq!(world.people.principal(&token).unwrap_err().code, ErrorCode::Unauthenticated);

    let later = world.people.principal(&access_token(&world, "ada").await).unwrap();
    let resume = world.people.resume_token(&later);
    world.clock.pass(ACCESS_LIFE_MS);
    assert_eq!(world.people.resume(&resume).unwrap_err().code, ErrorCode::ResumeExpired);
}

#[tokio::test]
async fn a_guest_keeps_their_id_for_a_day() {
    let world = World::new().await;
    let guest = world.people.guest(DisplayName::new("Ada").unwrap());
    assert!(guest.user.guest);
    assert_ne!(world.people.guest(DisplayName::new("Ada").unwrap()).user.id, guest.user.id);
    let resume = world.people.resume_token(&guest);
    world.clock.pass(DAY - 1);
    assert_eq!(world.people.resume(&resume).unwrap(), guest);
    world.clock.pass(1);
    assert_eq!(world.people.resume(&resume).unwrap_err().code, ErrorCode::ResumeExpired);
    assert_eq!(world.people.resume("nonsense").unwrap_err().code, ErrorCode::ResumeExpired);
}

#[tokio::test]
async fn a_token_of_the_cluster_holds_on_another_node() {
    let world = World::new().await;
    world.sign_up("ada").await;
    let token = access_token(&world, "ada").await;
    let settings = enfilade_node::people::Settings { hashing: crate::world::cheap(), ..Default::default() };
    let (heard, clock) = (world.heard.clone(), world.clock.clone());
    let other =
        enfilade_node::people::People::open(world.store.clone(), heard, clock, &settings).await.unwrap();
    let ada = other.principal(&token).unwrap();
    assert_eq!(world.people.resume(&other.resume_token(&ada)).unwrap(), ada);
}

#[tokio::test]
async fn access_is_decided_anew_whenever_it_is_asked_for() {
    let world = World::new().await;
    let (room, owner) = world.board().await;
    let links = format!("/api/v1/rooms/{room}/links");
    let made = owner.post(&links, &json!({"role": "editor"})).await;
    let visitor = Visitor { member: None, link: Some(link_hash(made.text("url"))) };
    let id: RoomId = room.parse().unwrap();
    let admission = world.people.access(id, &visitor).await.unwrap();
    assert_eq!(admission.role, Role::Editor);
    assert_eq!(admission.link.unwrap().to_string(), made.text("id"));
    assert!(admission.require(Role::Editor).is_ok());
    assert_eq!(admission.require(Role::Owner).unwrap_err().code, ErrorCode::Forbidden);

    owner.delete(&format!("{links}/{}", made.text("id"))).await.expect(StatusCode::NO_CONTENT);
    assert_eq!(world.people.access(id, &visitor).await.unwrap_err().code, ErrorCode::LinkInvalid);
    let nobody = Visitor::default();
    assert_eq!(world.people.access(id, &nobody).await.unwrap_err().code, ErrorCode::RoomNotFound);
    let nowhere = RoomId(Uuid::new_v4());
    assert_eq!(world.people.access(nowhere, &visitor).await.unwrap_err().code, ErrorCode::RoomNotFound);
}

#[tokio::test]
async fn a_nameless_guest_is_the_same_person_for_one_client_and_link() {
    let world = World::new().await;
    let client = ClientId(Uuid::new_v4());
    let visitor = Visitor { member: None, link: Some(link_hash("a")) };
    let guest = world.people.guest_of(client, &visitor);
    assert!(guest.guest);
    assert_eq!(guest.name.as_str(), "Guest");
    assert_eq!(world.people.guest_of(client, &visitor), guest);
    let other = Visitor { link: Some(link_hash("b")), ..visitor };
    assert_ne!(world.people.guest_of(client, &other).id, guest.id);
    assert_ne!(world.people.guest_of(ClientId(Uuid::new_v4()), &visitor).id, guest.id);
}
