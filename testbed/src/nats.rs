//! A NATS server.

mod secured;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;

use crate::ports;
use crate::process::{Launch, Process, ProcessError};
use crate::program;

pub use self::secured::SecuredNats;

const START: Duration = Duration::from_secs(30);
/// Ports that are tried: another process may take one between the look and the start.
const ATTEMPTS: u32 = 5;
const STOP: Duration = Duration::from_secs(5);

/// Where `make` puts it.
pub const TOOLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../.tools/python/bin");

#[derive(Debug, thiserror::Error)]
pub enum NatsServerError {
    #[error(
        "nats-server is missing: install it (version 2.10 or later), or name the program in $NATS_SERVER"
    )]
    Missing,
    #[error("there is no place for it: {0}")]
    Place(#[from] io::Error),
    #[error(transparent)]
    Process(#[from] ProcessError),
}

/// What is not the usual.
#[derive(Clone, Debug, Default)]
pub struct NatsServerOptions {
    /// Where to listen on loopback; a free port by default.
    pub port: Option<u16>,
    /// Where its log goes; a folder that is deleted in the end by default.
    pub logs: Option<PathBuf>,
    /// Who may connect: user and password. Everybody by default.
    pub login: Option<(String, String)>,
    /// Further arguments.
    pub args: Vec<OsString>,
    /// What its configuration takes from the environment.
    pub secrets: Vec<(String, String)>,
}

/// A running NATS server. Dropped, it is killed.
#[derive(Debug)]
pub struct NatsServer {
    process: Process,
    launch: Launch,
    logs: PathBuf,
    port: u16,
    _folder: Option<TempDir>,
}

impl NatsServer {
    /// Starts a server that everybody may use; returns when it takes connections.
    ///
    /// # Errors
    /// When it is not installed or does not start.
    pub async fn start() -> Result<Self, NatsServerError> {
        Self::start_with(NatsServerOptions::default()).await
    }

    /// Starts a server.
    ///
    /// # Errors
    /// When it is not installed or does not start.
    pub async fn start_with(options: NatsServerOptions) -> Result<Self, NatsServerError> {
        let program =
            program::find("NATS_SERVER", "nats-server", &[TOOLS]).ok_or(NatsServerError::Missing)?;
        let (logs, folder) = match options.logs {
            Some(logs) => (logs, None),
            None => {
                let folder = tempfile::tempdir()?;
                (folder.path().to_owned(), Some(folder))
            }
        };
        let mut launch = Launch::new("nats", program).args(options.args).secrets(options.secrets);
        if let Some((user, password)) = options.login {
            launch = launch.args(["--user".into(), user, "--pass".into(), password]);
        }
        let mut attempts = if options.port.is_some() { 1 } else { ATTEMPTS };
        loop {
            let port = options.port.map_or_else(ports::free, Ok)?;
            let launch =
                launch.clone().args(["--addr", "127.0.0.1"]).args(["--port".into(), port.to_string()]);
            attempts -= 1;
            match run(&launch, &logs, port).await {
                Err(ProcessError::Ended { .. }) if attempts > 0 => {}
                started => return Ok(Self { process: started?, launch, logs, port, _folder: folder }),
            }
        }
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://{}", ports::loopback(self.port))
    }

    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    #[must_use]
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Ends it in good order.
    pub async fn stop(&mut self) {
        self.process.stop(STOP).await;
    }

    /// Ends it without warning.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again, on the same port. If it still runs, it is killed before.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn restart(&mut self) -> Result<(), NatsServerError> {
        self.kill();
        self.process = run(&self.launch, &self.logs, self.port).await?;
        Ok(())
    }

    /// Lets it hang: connections stay, nothing moves.
    ///
    /// # Errors
    /// When it has ended.
    pub fn pause(&self) -> Result<(), NatsServerError> {
        Ok(self.process.pause()?)
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// When it has ended.
    pub fn resume(&self) -> Result<(), NatsServerError> {
        Ok(self.process.resume()?)
    }
}

async fn run(launch: &Launch, logs: &Path, port: u16) -> Result<Process, ProcessError> {
    // By its name it is told from another server that was faster on this port.
    let name = format!("testbed-{}-{port}", std::process::id());
    let mut process = launch.clone().args(["--name", &name]).start(logs)?;
    process.wait_until("listening", START, async || greets(port, &name).await.is_ok()).await?;
    Ok(process)
}

/// The server speaks first, and says its name.
async fn greets(port: u16, name: &str) -> io::Result<()> {
    let stream = TcpStream::connect(ports::loopback(port)).await?;
    let mut greeting = String::new();
    BufReader::new(stream).read_line(&mut greeting).await?;
    if greeting.contains(name) { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_comes_back_on_the_same_port_and_is_gone_in_the_end() {
        let mut server = match NatsServer::start().await {
            Err(NatsServerError::Missing) => return eprintln!("skipped: there is no nats-server"),
            started => started.unwrap(),
        };
        let (url, pid, port) = (server.url(), server.pid(), server.port());
        server.stop().await;
        assert!(greets(port, "testbed").await.is_err());
        server.restart().await.unwrap();
        assert!(greets(port, "testbed").await.is_ok());
        assert_eq!(server.url(), url);
        assert_ne!(server.pid(), pid);
        drop(server);
        assert!(greets(port, "testbed").await.is_err());
    }
}
