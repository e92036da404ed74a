//! Sessions over real sockets: who is online, on which devices, and signing out of them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::time::{Duration, Instant};

use enfilade_proto::{Activity, Codec, Hello, Request};
use serde_json::{Value, json};
use support::{Client, TestNode};

/// A person signed in on one device.
struct Device {
    token: String,
    user: String,
}

impl Device {
    async fn of(node: &TestNode, action: &str) -> Self {
        let body = json!({"username": "ada", "password": "a long enough one"});
        let (status, answer) = node.http("POST", &format!("/api/v1/auth/{action}"), &[], Some(body)).await;
        assert!(status < 300, "{answer}");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Self { token: text(&answer["access_token"]), user: text(&answer["user"]["id"]) }
    }

    async fn connect(&self, node: &TestNode) -> Client {
        let mut client = node.connect(Codec::MessagePack).await;
        let hello = Hello { token: Some(self.token.clone()), ..Hello::new(client.id) };
        client.hello(hello).await;
        client
    }

    async fn get(&self, node: &TestNode, path: &str) -> Value {
        let (status, body) = node.http("GET", path, &[self.bearer()], None).await;
        assert_eq!(status, 200, "{body}");
        body
    }

    fn bearer(&self) -> String {
        format!("authorization: Bearer {}", self.token)
    }

    async fn presence(&self, node: &TestNode) -> String {
        let body = self.get(node, &format!("/api/v1/users/{}/presence", self.user)).await;
        body["presence"].as_str().unwrap().to_owned()
    }

    /// How many of the person's devices are connected.
    async fn connected(&self, node: &TestNode) -> usize {
        let body = self.get(node, "/api/v1/auth/logins").await;
        let logins = body["logins"].as_array().unwrap();
        logins.iter().filter(|login| !login["connections"].as_array().unwrap().is_empty()).count()
    }

    async fn becomes(&self, node: &TestNode, presence: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let now = self.presence(node).await;
            if now == presence {
                return;
            }
            assert!(Instant::now() < deadline, "{now} and never {presence}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_is_online_while_a_device_is_in_use_and_away_while_none_is() {
    let node = TestNode::start().await;
    let desk = Device::of(&node, "sign-up").await;
    assert_eq!(desk.presence(&node).await, "offline");
    let mut tab = desk.connect(&node).await;
    desk.becomes(&node, "online").await;
    tab.ask(&Request::Activity(Activity { active: false })).await;
    desk.becomes(&node, "away").await;
    let phone = Device::of(&node, "sign-in").await;
    let other = phone.connect(&node).await;
    desk.becomes(&node, "online").await;
    assert_eq!(desk.connected(&node).await, 2);
    other.vanish();
    desk.becomes(&node, "away").await;
    assert_eq!(desk.connected(&node).await, 1);
    tab.ask(&Request::Activity(Activity { active: true })).await;
    desk.becomes(&node, "online").await;
    node.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_out_everywhere_closes_every_socket_and_the_person_is_gone_at_once() {
    let node = TestNode::start().await;
    let desk = Device::of(&node, "sign-up").await;
    let phone = Device::of(&node, "sign-in").await;
    let mut sockets = [desk.connect(&node).await, desk.connect(&node).await, phone.connect(&node).await];
    desk.becomes(&node, "online").await;
    let body = json!({"everywhere": true});
    let (status, _) = node.http("POST", "/api/v1/auth/sign-out", &[desk.bearer()], Some(body)).await;
    assert_eq!(status, 204);
    for socket in &mut sockets {
        assert_eq!(socket.close_code().await, 4501);
    }
    let again = Device::of(&node, "sign-in").await;
    again.becomes(&node, "offline").await;
    assert_eq!(again.connected(&node).await, 0);
    node.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_may_say_that_they_are_active_and_nobody_minds() {
    let node = TestNode::start().await;
    let mut guest = node.guest("Ada").await;
    let reply = guest.ask(&Request::Activity(Activity { active: false })).await;
    assert!(matches!(reply, enfilade_proto::ServerMessage::Done(_)), "{reply:?}");
    node.node.stop().await;
}
