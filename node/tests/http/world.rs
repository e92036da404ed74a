//! A node's people and API with a clock that tests move, rooms that only remember, and a record of what
//! sockets would hear.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use enfilade_actors::bus::UserPresence;
use enfilade_node::api::{
    Api, Connection, History, PeerAddr, Rooms, Session, Sessions, Site, Submission, WrittenSnapshot, router,
};
use enfilade_node::people::{AccessChanges, Clock, Hashing, People, Refusal, Settings};
use enfilade_proto::{
    Codec, DisplayName, Epoch, ErrorCode, LoggedOp, LoginId, Member, Position, RoomId, Seq, Snapshot, UserId,
};
use enfilade_store::{Sqlite, SqliteOptions};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Semaphore;
use tower::ServiceExt;

pub(crate) const START: u64 = 1_767_225_600_000;
pub(crate) const SECOND: u64 = 1_000;
pub(crate) const HOUR: u64 = 3_600 * SECOND;
pub(crate) const DAY: u64 = 24 * HOUR;
pub(crate) const PASSWORD: &str = "a long enough one";

pub(crate) struct World {
    pub(crate) router: Router,
    pub(crate) people: Arc<People>,
    pub(crate) store: Arc<Sqlite>,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) heard: Arc<Heard>,
    pub(crate) rooms: Arc<TestRooms>,
    pub(crate) sessions: Arc<TestSessions>,
    pub(crate) folder: TempDir,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(Settings { hashing: cheap(), ..Settings::default() }, Site::default()).await
    }

    pub(crate) async fn with(settings: Settings, site: Site) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteOptions { migrate: true, ..SqliteOptions::default() };
        let store = Arc::new(Sqlite::open(folder.path().join("enfilade.db"), options).await.unwrap());
        let clock = Arc::new(TestClock(AtomicU64::new(START)));
        let heard = Arc::new(Heard::default());
        let rooms = Arc::new(TestRooms::default());
        let people = People::open(store.clone(), heard.clone(), clock.clone(), &settings).await.unwrap();
        let people = Arc::new(people);
        let sessions = Arc::new(TestSessions::default());
        let api = Api {
            people: people.clone(),
            rooms: rooms.clone(),
            sessions: sessions.clone(),
            site: Arc::new(site),
        };
        Self { router: router(api), people, store, clock, heard, rooms, sessions, folder }
    }

    /// Somebody without any credentials.
    pub(crate) fn guest(&self) -> Client {
        Client {
            router: self.router.clone(),
            headers: HeaderMap::new(),
            peer: "203.0.113.5:4711".parse().unwrap(),
            user: String::new(),
        }
    }

    pub(crate) async fn sign_up(&self, username: &str) -> Client {
        let body = json!({"username": username, "password": PASSWORD});
        let answer = self.guest().post("/api/v1/auth/sign-up", &body).await;
        answer.expect(StatusCode::CREATED);
        self.guest().signed_in(&answer)
    }

    pub(crate) async fn sign_in(&self, username: &str) -> Client {
        let body = json!({"username": username, "password": PASSWORD});
        let answer = self.guest().post("/api/v1/auth/sign-in", &body).await;
        answer.expect(StatusCode::OK);
        self.guest().signed_in(&answer)
    }

    /// A guest's board: its id and an owner of it.
    pub(crate) async fn board(&self) -> (String, Client) {
        let answer = self.guest().post("/api/v1/rooms", &json!({"kind": "board"})).await;
        answer.expect(StatusCode::CREATED);
        let owner = self.guest().with_link(answer.text("link"));
        (answer.text("id").to_owned(), owner)
    }
}

/// Hashing that takes no time. Everything else about it is as ever.
pub(crate) fn cheap() -> Hashing {
    Hashing { memory_kib: 64, passes: 1, ..Hashing::default() }
}

/// Somebody who sends requests.
#[derive(Clone)]
pub(crate) struct Client {
    router: Router,
    headers: HeaderMap,
    peer: SocketAddr,
    pub(crate) user: String,
}

impl Client {
    /// Takes the token and the cookie out of an answer, as a browser would.
    pub(crate) fn signed_in(self, answer: &Answer) -> Self {
        let user = answer.body["user"]["id"].as_str().unwrap().to_owned();
        let token = format!("Bearer {}", answer.text("access_token"));
        let client = self.with("authorization", &token).with("cookie", &answer.cookie());
        Self { user, ..client }
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(name, value.parse().unwrap());
        self
    }

    pub(crate) fn without(mut self, name: &'static str) -> Self {
        self.headers.remove(name);
        self
    }

    pub(crate) fn with_link(self, secret: &str) -> Self {
        self.with("enfilade-link", secret)
    }

    pub(crate) fn at(self, router: Router) -> Self {
        Self { router, ..self }
    }

    pub(crate) fn from(self, peer: &str) -> Self {
        Self { peer: peer.parse().unwrap(), ..self }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, Some(body)).await
    }

    pub(crate) async fn post_nothing(&self, path: &str) -> Answer {
        self.send(Method::POST, path, None).await
    }

    pub(crate) async fn put(&self, path: &str) -> Answer {
        self.send(Method::PUT, path, None).await
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::PATCH, path, Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, None).await
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        match body {
            Some(body) => {
                let client = self.clone().with("content-type", "application/json");
                client.send_bytes(method, path, body.to_string().into()).await
            }
            None => self.send_bytes(method, path, Bytes::new()).await,
        }
    }

    /// Sends whatever bytes, with whatever headers it has.
    pub(crate) async fn send_bytes(&self, method: Method, path: &str, body: Bytes) -> Answer {
        let mut request = Request::builder().method(method).uri(path).body(Body::from(body)).unwrap();
        *request.headers_mut() = self.headers.clone();
        request.extensions_mut().insert(PeerAddr(self.peer));
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Answer { status: parts.status, headers: parts.headers, bytes, body }
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Bytes,
    /// Null if it is no JSON.
    pub(crate) body: Value,
}

impl Answer {
    #[track_caller]
    pub(crate) fn expect(&self, status: StatusCode) -> &Self {
        assert_eq!(self.status, status, "{}", self.body);
        self
    }

    /// Checks that this is a whole problem of such a code.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) -> &Self {
        assert_eq!((self.status.as_u16(), &self.body["code"]), (status, &json!(code)), "{}", self.body);
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(self.body["status"], status);
        assert_eq!(self.body["type"], format!("urn:enfilade:error:{code}"));
        assert!(!self.text("title").is_empty());
        assert!(!self.text("detail").is_empty());
        let retry_after_s =
            self.headers.get("retry-after").map(|it| it.to_str().unwrap().parse::<u64>().unwrap());
        let retry_after_ms = self.body.get("retry_after_ms").map(|it| it.as_u64().unwrap());
        assert_eq!(retry_after_s, retry_after_ms.map(|it| it.div_ceil(1_000)));
        self
    }

    /// The JSON pointers of what is wrong.
    pub(crate) fn pointers(&self) -> Vec<&str> {
        let errors = self.body["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
        errors.iter().map(|error| error["pointer"].as_str().unwrap()).collect()
    }

    #[track_caller]
    pub(crate) fn text(&self, field: &str) -> &str {
        self.body[field].as_str().unwrap_or_else(|| panic!("no {field} in {}", self.body))
    }

    /// The cookie as it is to be sent back.
    #[track_caller]
    pub(crate) fn cookie(&self) -> String {
        let cookie = self.headers["set-cookie"].to_str().unwrap();
        cookie.split(';').next().unwrap().to_owned()
    }
}

#[derive(Debug)]
pub(crate) struct TestClock(AtomicU64);

impl TestClock {
    pub(crate) fn pass(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum News {
    LoginEnded(LoginId),
    AccessChanged(RoomId),
    Renamed(RoomId, String),
}

impl News {
    pub(crate) fn access_changed(room: &str) -> Self {
        Self::AccessChanged(room.parse().unwrap())
    }

    pub(crate) fn renamed(room: &str, title: &str) -> Self {
        Self::Renamed(room.parse().unwrap(), title.to_owned())
    }
}

/// What the sockets were told.
#[derive(Debug, Default)]
pub(crate) struct Heard(Mutex<Vec<News>>);

impl Heard {
    /// What was heard since the last time.
    pub(crate) fn take(&self) -> Vec<News> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    fn hear(&self, news: News) {
        self.0.lock().unwrap().push(news);
    }
}

#[async_trait]
impl AccessChanges for Heard {
    async fn login_ended(&self, _: UserId, login: LoginId) {
        self.hear(News::LoginEnded(login));
    }

    async fn access_changed(&self, room: RoomId) {
        self.hear(News::AccessChanged(room));
    }

    async fn room_renamed(&self, room: RoomId, title: DisplayName) {
        self.hear(News::Renamed(room, title.to_string()));
    }
}

/// Rooms that keep their ops and apply none.
#[derive(Debug)]
pub(crate) struct TestRooms {
    logs: Mutex<HashMap<RoomId, Vec<LoggedOp>>>,
    /// Who is in any of them, by id.
    pub(crate) there: Mutex<Vec<Member>>,
    /// What the next submits fail with.
    pub(crate) failures: Mutex<Vec<Refusal>>,
    /// A submit waits for a permit before it does anything.
    pub(crate) gate: Semaphore,
    /// A submit that waits has left one here.
    pub(crate) waiting: Semaphore,
}

impl Default for TestRooms {
    fn default() -> Self {
        Self {
            logs: Mutex::default(),
            there: Mutex::default(),
            failures: Mutex::default(),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
            waiting: Semaphore::new(0),
        }
    }
}

impl TestRooms {
    pub(crate) fn log(&self, room: &str) -> Vec<LoggedOp> {
        self.logs.lock().unwrap().get(&room.parse().unwrap()).cloned().unwrap_or_default()
    }

    pub(crate) fn close_gate(&self) {
        self.gate.forget_permits(Semaphore::MAX_PERMITS);
    }
}

#[async_trait]
impl Rooms for TestRooms {
    async fn snapshot(&self, room: RoomId, codec: Codec) -> Result<(Position, Bytes), Refusal> {
        let seq = Seq(self.log(&room.to_string()).len() as u64);
        let snapshot = codec.encode_value(&Snapshot { seq, elements: None });
        Ok((Position { epoch: Epoch(3), seq }, snapshot.into()))
    }

    async fn latest_snapshot(&self, room: RoomId) -> Result<Position, Refusal> {
        Ok(Position { epoch: Epoch(3), seq: Seq(self.log(&room.to_string()).len() as u64) })
    }

    /// Only the newest.
    async fn named_snapshot(
        &self,
        room: RoomId,
        position: Position,
        codec: Codec,
        gzipped: bool,
    ) -> Result<Option<WrittenSnapshot>, Refusal> {
        if position != self.latest_snapshot(room).await? {
            return Ok(None);
        }
        let (_, plain) = self.snapshot(room, codec).await?;
        let bytes = if gzipped { Bytes::from_static(b"\x1f\x8b...") } else { plain };
        Ok(Some(WrittenSnapshot { bytes, gzipped }))
    }

    async fn history(&self, room: RoomId, after: Seq, limit: usize) -> Result<History, Refusal> {
        let log = self.log(&room.to_string());
        let first = log.len().min(after.0 as usize);
        let more = log.len() - first > limit;
        let ops = log.into_iter().skip(first).take(limit).collect();
        Ok(History { first_seq: Seq(first as u64 + 1), ops, more })
    }

    async fn people(&self, _: RoomId, after: Option<UserId>, limit: u32) -> Result<Vec<Member>, Refusal> {
        let there = self.there.lock().unwrap();
        let next = there.iter().filter(|member| after.is_none_or(|after| member.id > after));
        Ok(next.take(limit as usize).cloned().collect())
    }

    async fn submit(&self, submission: Submission) -> Result<Seq, Refusal> {
        self.waiting.add_permits(1);
        self.gate.acquire().await.unwrap().forget();
        if let Some(refusal) = self.failures.lock().unwrap().pop() {
            return Err(refusal);
        }
        let mut logs = self.logs.lock().unwrap();
        let log = logs.entry(submission.room).or_default();
        let name = (submission.client, submission.op_id);
        let known = log.iter().position(|op| (op.client, op.op_id) == name);
        let index = known.unwrap_or_else(|| {
            log.push(LoggedOp {
                author: submission.author.id,
                client: submission.client,
                op_id: submission.op_id,
                at: START,
                op: submission.op,
            });
            log.len() - 1
        });
        Ok(Seq(index as u64 + 1))
    }
}

/// People who are online while they have connections; none of them can be asked for if `broken`.
#[derive(Debug, Default)]
pub(crate) struct TestSessions {
    pub(crate) connections: Mutex<HashMap<UserId, Vec<Connection>>>,
    pub(crate) broken: AtomicBool,
}

#[async_trait]
impl Sessions for TestSessions {
    async fn session(&self, user: UserId) -> Result<Session, Refusal> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(Refusal::new(ErrorCode::Busy, "the owner is away"));
        }
        let connections = self.connections.lock().unwrap().get(&user).cloned().unwrap_or_default();
        let presence = if connections.is_empty() { UserPresence::Offline } else { UserPresence::Online };
        Ok(Session { presence, connections })
    }
}

pub(crate) fn op(op_id: u64) -> Value {
    json!({
        "client": "0b63bd0c-8d0f-4c5a-9e1a-0d8f5c1d2e3f",
        "op_id": op_id,
        "op": {"type": "delete", "data": {"elements": ["a1"]}},
    })
}
