//! A cluster in which everything is encrypted, and every role has a name of its own: NATS as `deploy/nats/enfilade.conf` says, and a
//! PostgreSQL whose certificate is looked at.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use enfilade_node::Partial;
use enfilade_proto::Seq;
use enfilade_testbed::authority::Authority;
use enfilade_testbed::nats::SecuredNats;
use enfilade_testbed::{Postgres, PostgresOptions};
use support::TestNode;
use tempfile::TempDir;

/// A PostgreSQL that speaks TLS, and the authority of its certificate.
struct Encrypted {
    server: Postgres,
    folder: TempDir,
}

impl Encrypted {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new("of PostgreSQL").unwrap();
        std::fs::write(folder.path().join("ca.crt"), authority.certificate()).unwrap();
        let stranger = Authority::new("of somebody else").unwrap();
        std::fs::write(folder.path().join("stranger.crt"), stranger.certificate()).unwrap();
        let identity = authority.sign("postgres", 2090).unwrap();
        let server = Postgres::start(PostgresOptions { fsync: false, ..PostgresOptions::default() }).unwrap();
        server.encrypt(&identity.certificate, &identity.key).unwrap();
        Self { server, folder }
    }

    /// A URL that asks for a certificate of one of these authorities.
    fn url(&self, roots: &str) -> String {
        self.url_as("127.0.0.1", roots)
    }

    fn url_as(&self, host: &str, roots: &str) -> String {
        let url = self.server.url().replace("127.0.0.1", host);
        format!("{url}?sslmode=verify-full&sslrootcert={}", self.folder.path().join(roots).display())
    }
}

async fn encrypted() -> Encrypted {
    tokio::task::spawn_blocking(Encrypted::start).await.unwrap()
}

async fn wait(what: &str, reached: impl Fn() -> bool) {
    let patience = async {
        while !reached() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), patience).await.unwrap_or_else(|_| panic!("never: {what}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn people_draw_together_where_everything_is_encrypted_and_every_role_has_its_name() {
    let nats = SecuredNats::start().await.unwrap();
    let postgres = encrypted().await;
    let mut nodes = Vec::new();
    for (user, roles) in [("edge", "edge"), ("host", "host"), ("node", "edge,host")] {
        let given = Partial {
            database_url: Some(postgres.url("ca.crt")),
            nats_url: Some(nats.url(user)),
            nats_root_certificates: Some(nats.root_certificates()),
            node_name: Some(user.to_owned()),
            roles: Some(roles.parse().unwrap()),
            drain_seconds: Some(0),
            ..Partial::default()
        };
        nodes.push(TestNode::start_with(tempfile::tempdir().unwrap(), given).await);
    }
    let owned = |node: &TestNode| node.node.host().map_or(0, |host| host.owned().len());
    wait("both hosts have their share", || {
        owned(&nodes[1]) > 1_000 && owned(&nodes[1]) + owned(&nodes[2]) == 4_096
    })
    .await;
    // Rooms of both hosts, seen from both edges.
    for _ in 0..8 {
        let board = nodes[0].board().await;
        let mut ada = nodes[0].member("Ada", &board).await;
        let mut bob = nodes[2].member("Bob", &board).await;
        for op in 1..=3 {
            assert_eq!(ada.draw(board.id, op).await, Seq(2 * op - 1));
            assert_eq!(bob.draw(board.id, op).await, Seq(2 * op));
        }
        for client in [&mut ada, &mut bob] {
            assert_eq!(client.ops_through(Seq(0), Seq(6)).await.len(), 6);
        }
    }
    // The host leaves, and its rooms move.
    nodes.remove(1).node.stop().await;
    wait("the other has them all", || owned(&nodes[1]) == 4_096).await;
    assert_eq!(nats.violations().unwrap(), Vec::<String>::new());
    for node in nodes {
        node.node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_whose_certificate_is_not_trusted_is_refused_and_the_reason_said() {
    let postgres = encrypted().await;
    let migrate = |url: String| {
        let output = Command::new(env!("CARGO_BIN_EXE_enfilade"))
            .args(["migrate", "up"])
            .env_clear()
            .env("ENFILADE_DATABASE_URL", url)
            .output()
            .unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    for (url, reason) in [
        (postgres.url("stranger.crt"), "UnknownIssuer"),
        (postgres.url_as("localhost", "ca.crt"), "not valid for name"),
        (postgres.url("nowhere.crt"), "No such file"),
    ] {
        let (done, told) = migrate(url);
        assert!(!done && told.contains("database is not available") && told.contains(reason), "{told}");
    }
    let (done, told) = migrate(postgres.url("ca.crt"));
    assert!(done, "{told}");
    // One that cannot encrypt is refused as well, where that is asked for.
    let plain = Postgres::shared().unwrap();
    let (done, told) = migrate(format!("{}?sslmode=verify-full", plain.url()));
    assert!(!done && told.to_lowercase().contains("tls"), "{told}");
}

/// What operators are told to copy is what is tested here.
#[test]
fn the_documentation_names_the_files_that_are_tested() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = std::fs::read_to_string(root.join("docs/security.md")).unwrap();
    for file in ["deploy/nats/enfilade.conf", "sslmode=verify-full", "sslrootcert"] {
        assert!(page.contains(file), "{file}");
    }
    let exists: PathBuf = root.join("deploy/nats/enfilade.conf");
    assert!(exists.exists());
}
