//! The NATS server that operators are told to run: `deploy/nats/enfilade.conf`, with certificates and passwords of its own.

use std::path::PathBuf;

use tempfile::TempDir;

use super::{NatsServer, NatsServerError, NatsServerOptions};
use crate::authority::Authority;

const CONFIGURATION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/nats/enfilade.conf");
/// The names that it has, each with what stands in the place of its password.
const USERS: [(&str, &str); 3] =
    [("edge", "NATS_EDGE_PASSWORD"), ("host", "NATS_HOST_PASSWORD"), ("node", "NATS_NODE_PASSWORD")];
const LOG: &str = "nats.log";

/// A running server, and what one has to know to talk to it.
#[derive(Debug)]
pub struct SecuredNats {
    pub server: NatsServer,
    folder: TempDir,
}

impl SecuredNats {
    /// # Errors
    /// When it is not installed or does not start.
    pub async fn start() -> Result<Self, NatsServerError> {
        let folder = tempfile::tempdir()?;
        let write = |name: &str, text: &str| -> std::io::Result<String> {
            let path = folder.path().join(name);
            std::fs::write(&path, text)?;
            Ok(path.display().to_string())
        };
        let authority = Authority::new("of NATS").map_err(std::io::Error::other)?;
        let identity = authority.sign("nats", 2090).map_err(std::io::Error::other)?;
        let files = [
            ("NATS_CERTIFICATE", write("server.crt", &identity.certificate)?),
            ("NATS_KEY", write("server.key", &identity.key)?),
            ("NATS_AUTHORITY", write("ca.crt", authority.certificate())?),
        ];
        let passwords = USERS.map(|(user, variable)| (variable, password(user)));
        let secrets = files.into_iter().chain(passwords);
        let server = NatsServer::start_with(NatsServerOptions {
            args: vec!["--config".into(), CONFIGURATION.into()],
            logs: Some(folder.path().to_owned()),
            secrets: secrets.map(|(name, value)| (name.to_owned(), value)).collect(),
            ..NatsServerOptions::default()
        });
        Ok(Self { server: server.await?, folder })
    }

    /// Where somebody reaches it: `edge`, `host` or `node`.
    #[must_use]
    pub fn url(&self, user: &str) -> String {
        self.server.url().replace("nats://", &format!("tls://{user}:{}@", password(user)))
    }

    /// A file with the certificate of its authority.
    #[must_use]
    pub fn root_certificates(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// What it had to complain about: whoever tried what they may not.
    ///
    /// # Errors
    /// When there is no log.
    pub fn violations(&self) -> std::io::Result<Vec<String>> {
        let log = std::fs::read_to_string(self.folder.path().join(LOG))?;
        Ok(log.lines().filter(|line| line.contains("Violation")).map(str::to_owned).collect())
    }
}

fn password(user: &str) -> String {
    format!("the password of {user}").replace(' ', "-")
}
