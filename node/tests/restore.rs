//! Clients come back to a database that was restored to an earlier time: they are reset, not confused.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod support;

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use enfilade_node::Partial;
use enfilade_proto::{ClientId, Codec, Guest, Hello, Joined, Op, Position, RoomId, Seq, ServerMessage};
use enfilade_testbed::{Postgres, postgres_program};
use serde_json::{Value, json};
use support::{Board, Client, TestNode, stroke};
use tempfile::TempDir;

const PASSWORD: &str = "a good long password";

fn enfilade(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_enfilade"));
    command.args(arguments).env_clear().env("ENFILADE_DATA_DIR", folder);
    command.env("ENFILADE_SEED_PASSWORD", PASSWORD).output().unwrap()
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn refused(output: &Output) -> String {
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Somebody as they remember the service: who they are, and how far they came.
struct Memory {
    client: ClientId,
    resume: String,
    position: Position,
}

/// A guest who draws until the room has come to a seq.
async fn draw(client: &mut Client, room: RoomId, ops: impl IntoIterator<Item = u64>, last: Seq) {
    let mut seq = Seq(0);
    for op in ops {
        seq = client.draw(room, op).await;
    }
    assert_eq!(seq, last);
}

/// Comes back as an SDK does, and is told everything anew.
async fn come_back(node: &TestNode, board: &Board, memory: &Memory) -> (Client, Joined) {
    let mut client = node.connect(Codec::MessagePack).await;
    client.id = memory.client;
    let guest = Some(Guest { name: "a fallback".into() });
    let welcome =
        client.hello(Hello { resume: Some(memory.resume.clone()), guest, ..Hello::new(memory.client) }).await;
    assert_ne!(welcome.user.unwrap().name.as_str(), "a fallback", "the resume token is good");
    let joined = client.join(board.id, &board.link, Some(memory.position)).await;
    (client, joined)
}

/// The names of the strokes that a client has after it joined anew.
fn drawn(joined: &Joined) -> Vec<String> {
    let snapshot = joined.snapshot.as_ref().expect("a reset");
    let snapshot: Value = serde_json::to_value(snapshot).unwrap();
    let elements = snapshot["elements"].as_array().unwrap();
    let mut names: Vec<String> =
        elements.iter().map(|it| it["element"].as_str().unwrap().to_owned()).collect();
    for logged in joined.ops.iter().flatten() {
        if let Op::AddStroke(stroke) = &logged.op {
            names.push(stroke.element.as_str().to_owned());
        }
    }
    names
}

fn names(client: ClientId, ops: impl IntoIterator<Item = u64>) -> Vec<String> {
    ops.into_iter().map(|op| format!("{}-{op}", &client.to_string()[..8])).collect()
}

/// What everybody does before and after a service goes back in time, whatever makes it do so.
struct Story {
    board: Board,
    ada: Memory,
    bob: Memory,
}

impl Story {
    /// Ada draws five strokes, and Bob sees them. This is what will be restored.
    async fn begin(node: &TestNode) -> (Self, Client) {
        let board = node.board().await;
        let (mut ada, mut bob) =
            (node.connect(Codec::MessagePack).await, node.connect(Codec::MessagePack).await);
        let (ada_is, bob_is) = (ada.greet("Ada").await, bob.greet("Bob").await);
        ada.join(board.id, &board.link, None).await;
        draw(&mut ada, board.id, 1..=5, Seq(5)).await;
        let position = bob.join(board.id, &board.link, None).await.position;
        let memory = |client: &Client, resume| Memory { client: client.id, resume, position };
        let story = Self {
            board,
            ada: memory(&ada, ada_is.resume.unwrap()),
            bob: memory(&bob, bob_is.resume.unwrap()),
        };
        bob.vanish();
        (story, ada)
    }

    /// Ada draws four more, which will be lost.
    async fn go_on(&mut self, mut ada: Client) {
        draw(&mut ada, self.board.id, 6..=9, Seq(9)).await;
        self.ada.position.seq = Seq(9);
        ada.vanish();
    }

    /// The room has gone on in its own way when Ada and Bob come back.
    async fn come_back(&self, node: &TestNode) {
        let board = &self.board;
        let mut carol = node.guest("Carol").await;
        let joined = carol.join(board.id, &board.link, None).await;
        assert_eq!(drawn(&joined), names(self.ada.client, 1..=5));
        assert_eq!(joined.position.seq, Seq(5));
        draw(&mut carol, board.id, 1..=6, Seq(11)).await;
        let now = [names(self.ada.client, 1..=5), names(carol.id, 1..=6)].concat();
        // Ada stood where Carol has drawn something else meanwhile, Bob where the backup was made. Neither can be told apart from
        // somebody who saw what is lost, so both are given the room as it is.
        for memory in [&self.ada, &self.bob] {
            let (client, joined) = come_back(node, board, memory).await;
            assert_eq!(drawn(&joined), now);
            assert!(joined.position.epoch > memory.position.epoch);
            client.vanish();
        }
        let (mut ada, joined) = come_back(node, board, &self.ada).await;
        // What was acknowledged and restored is known. What was acknowledged and lost, and what never was, counts once.
        for (op, seq) in [(5, 5), (10, 12), (10, 12), (9, 13), (9, 13)] {
            let name = &names(ada.id, [op])[0];
            match ada.submit(board.id, op, stroke(name)).await {
                ServerMessage::Accepted(accepted) => assert_eq!(accepted.seq, Seq(seq), "op {op}"),
                other => panic!("not accepted: {other:?}"),
            }
        }
        ada.vanish();
        // From now on a position is good again.
        let memory = Memory {
            client: self.ada.client,
            resume: self.ada.resume.clone(),
            position: Position { seq: Seq(11), ..joined.position },
        };
        let (ada, joined) = come_back(node, board, &memory).await;
        assert!(joined.snapshot.is_none() && joined.ops.as_ref().unwrap().len() == 2, "{joined:?}");
        ada.vanish();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_backup_resets_clients_and_doubles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup");
    let file = file.to_str().unwrap();
    let data = tempfile::tempdir().unwrap();
    let path = data.path().to_owned();
    let node = TestNode::start_with(data, Partial::default()).await;
    let (mut story, ada) = Story::begin(&node).await;
    let told = said(&enfilade(&path, &["backup", "--to", file]));
    assert!(told.contains("1 rooms, 5 ops"), "{told}");
    story.go_on(ada).await;

    assert!(refused(&enfilade(&path, &["backup", "--to", file])).contains("exists already"));
    assert!(refused(&enfilade(&path, &["restore", "--from", file])).contains("in use by another process"));
    let node = node
        .restart_after(|| {
            assert!(refused(&enfilade(&path, &["restore", "--from", file])).contains("--force"));
            assert!(said(&enfilade(&path, &["restore", "--from", file, "--dry-run"])).contains("is whole"));
            let told = said(&enfilade(&path, &["restore", "--from", file, "--force"]));
            assert!(told.contains("1 rooms, 5 ops") && told.contains("enfilade.db.before-"), "{told}");
        })
        .await;
    story.come_back(&node).await;
    node.node.stop().await;
}

#[test]
fn a_backup_can_be_sent_to_standard_output() {
    let folder = tempfile::tempdir().unwrap();
    said(&enfilade(folder.path(), &["seed", "--boards", "2"]));
    let file = folder.path().join("backup");
    let sent = Command::new(env!("CARGO_BIN_EXE_enfilade"))
        .args(["backup", "--to", "-"])
        .env("ENFILADE_DATA_DIR", folder.path())
        .stdout(Stdio::from(std::fs::File::create(&file).unwrap()))
        .output()
        .unwrap();
    let told = String::from_utf8(sent.stderr).unwrap();
    assert!(sent.status.success() && told.contains("3 people, 2 rooms"), "{told}");
    let elsewhere = tempfile::tempdir().unwrap();
    let data = elsewhere.path().join("a new folder");
    said(&enfilade(&data, &["restore", "--from", file.to_str().unwrap()]));
    assert_eq!(rows(&data), rows(folder.path()));
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_str().unwrap().contains("sending")), "{left:?}");
}

/// The rows of all rooms' logs.
fn rows(folder: &Path) -> Vec<String> {
    let exported = said(&enfilade(folder, &["export", "--all"]));
    exported.lines().filter(|line| line.contains("\"row\"")).map(str::to_owned).collect()
}

#[test]
fn a_restore_that_is_killed_at_any_moment_leaves_one_database_or_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let seed = |boards| said(&enfilade(folder.path(), &["seed", "--boards", boards]));
    let [few, many] = ["few", "many"].map(|name| folder.path().join(name).to_str().unwrap().to_owned());
    seed("1");
    said(&enfilade(folder.path(), &["backup", "--to", &few]));
    let few_rows = rows(folder.path());
    seed("5");
    said(&enfilade(folder.path(), &["backup", "--to", &many]));
    let many_rows = rows(folder.path());
    assert!(few_rows.len() < many_rows.len());
    let began = Instant::now();
    said(&enfilade(folder.path(), &["restore", "--from", &many, "--force"]));
    let whole = began.elapsed();
    let mut outcomes = [0, 0];
    for moment in 0..24 {
        let mut restoring = Command::new(env!("CARGO_BIN_EXE_enfilade"))
            .args(["restore", "--from", &few, "--force"])
            .env("ENFILADE_DATA_DIR", folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // From its beginning until well after its end.
        std::thread::sleep(whole * moment / 16);
        // It may be done already.
        let _ = restoring.kill();
        restoring.wait().unwrap();
        let found = rows(folder.path());
        assert!(found == few_rows || found == many_rows, "after {moment} sixteenths of {whole:?}");
        outcomes[usize::from(found == few_rows)] += 1;
        if found == few_rows {
            said(&enfilade(folder.path(), &["restore", "--from", &many, "--force"]));
        }
    }
    println!("{} times the former database was left, {} times the restored one", outcomes[0], outcomes[1]);
}

#[test]
fn a_backup_cut_off_in_transfer_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    said(&enfilade(folder.path(), &["seed", "--boards", "1"]));
    let file = folder.path().join("backup");
    said(&enfilade(folder.path(), &["backup", "--to", file.to_str().unwrap()]));
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() - 4_096]).unwrap();
    let before = std::fs::read(folder.path().join("enfilade.db")).unwrap();
    for arguments in [&["--force"][..], &["--dry-run"]] {
        let told = refused(&enfilade(
            folder.path(),
            &[&["restore", "--from", file.to_str().unwrap()], arguments].concat(),
        ));
        assert!(told.contains("not a whole backup"), "{told}");
    }
    assert_eq!(std::fs::read(folder.path().join("enfilade.db")).unwrap(), before);
}

/// A signed-in browser: what it sends, and what it was given.
struct Browser {
    cookie: String,
}

impl Browser {
    async fn ask(&mut self, node: &TestNode, path: &str, body: Option<Value>) -> u16 {
        let headers = [format!("cookie: {}", self.cookie), format!("origin: http://{}", node.address())];
        let (head, _) = node.answer("POST", path, &headers, body).await;
        let cookie = head.lines().find_map(|line| line.strip_prefix("set-cookie: "));
        if let Some((pair, _)) = cookie.and_then(|cookie| cookie.split_once(';')) {
            self.cookie = pair.to_owned();
        }
        head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    async fn sign_up(node: &TestNode, username: &str) -> Self {
        let mut browser = Self { cookie: String::new() };
        let body = json!({"username": username, "password": PASSWORD});
        assert_eq!(browser.ask(node, "/api/v1/auth/sign-up", Some(body)).await, 201);
        browser
    }

    async fn refresh(&mut self, node: &TestNode) -> u16 {
        self.ask(node, "/api/v1/auth/refresh", None).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_signed_in_stays_so_and_whoever_came_later_signs_in_anew() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup");
    let file = file.to_str().unwrap();
    let data = tempfile::tempdir().unwrap();
    let path = data.path().to_owned();
    let node = TestNode::start_with(data, Partial::default()).await;
    let mut ada = Browser::sign_up(&node, "ada").await;
    said(&enfilade(&path, &["backup", "--to", file]));
    for _ in 0..3 {
        assert_eq!(ada.refresh(&node).await, 200);
    }
    let mut bob = Browser::sign_up(&node, "bob").await;
    let node =
        node.restart_after(|| drop(said(&enfilade(&path, &["restore", "--from", file, "--force"])))).await;
    for _ in 0..3 {
        assert_eq!(ada.refresh(&node).await, 200);
    }
    assert_eq!(bob.refresh(&node).await, 401);
    Browser::sign_up(&node, "bob").await;
    node.node.stop().await;
}

/// PostgreSQL as it was, in a database beside it: what a restore to a point in time comes to.
fn copy_of(url: &str) -> String {
    let copy = Postgres::shared().unwrap().create_database().unwrap();
    let run = |program: &str, arguments: &[&str], input: Stdio| {
        let mut command = Command::new(postgres_program(program).unwrap());
        command.args(arguments).stdin(input).stdout(Stdio::piped()).spawn().unwrap()
    };
    let mut dump = run("pg_dump", &[url], Stdio::null());
    let read = run(
        "psql",
        &["--quiet", "--set", "ON_ERROR_STOP=1", "--dbname", &copy],
        dump.stdout.take().unwrap().into(),
    );
    let read = read.wait_with_output().unwrap();
    assert!(dump.wait().unwrap().success() && read.status.success());
    copy
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_restored_to_an_earlier_time_resets_clients_and_doubles_nothing() {
    let on = |url: &str| Partial { database_url: Some(url.to_owned()), ..Partial::default() };
    let url = Postgres::shared().unwrap().create_database().unwrap();
    let node = TestNode::start_with(TempDir::new().unwrap(), on(&url)).await;
    let (mut story, ada) = Story::begin(&node).await;
    let earlier = tokio::task::spawn_blocking({
        let url = url.clone();
        move || copy_of(&url)
    });
    let earlier = earlier.await.unwrap();
    story.go_on(ada).await;
    let command = |arguments: &[&str], url: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_enfilade"));
        command.args(arguments).env_clear().env("ENFILADE_DATABASE_URL", url).output().unwrap()
    };
    assert!(refused(&command(&["after-restore"], &url)).contains("in use"));
    assert!(refused(&command(&["backup", "--to", "nowhere"], &url)).contains("pg_basebackup"));
    assert!(refused(&command(&["restore", "--from", "nowhere"], &url)).contains("pg_basebackup"));
    node.node.stop().await;
    // The copy still has the node of then for alive until its lease is over.
    let deadline = Instant::now() + Duration::from_secs(60);
    let told = loop {
        let output = command(&["after-restore"], &earlier);
        if output.status.success() {
            break said(&output);
        }
        assert!(refused(&output).contains("in use") && Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    assert!(told.contains("go on from epoch"), "{told}");
    let node = TestNode::start_with(TempDir::new().unwrap(), on(&earlier)).await;
    story.come_back(&node).await;
    node.node.stop().await;
}
