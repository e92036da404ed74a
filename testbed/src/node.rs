//! A node of Enfilade as a process: its settings as a command line, and the handle that starts it again with the same ones.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::admin;
use crate::process::{Launch, Process, ProcessError};

/// Where a node, and every command that works on its database, reads the database's URL.
pub const DATABASE_URL: &str = "ENFILADE_DATABASE_URL";

/// How long it may take to be ready; a debug build on a loaded machine takes its time.
const START: Duration = Duration::from_secs(60);

/// The settings that differ between nodes; all others have their defaults.
#[derive(Clone, Debug)]
pub struct NodeSettings {
    pub name: String,
    pub listen: SocketAddr,
    pub admin: SocketAddr,
    pub data: PathBuf,
    /// None: a node that stands alone, with SQLite in its data folder.
    pub cluster: Option<Membership>,
    /// Whose X-Forwarded-For it believes.
    pub trusted_proxies: String,
    /// What to put before its command so that it runs in an enclosure.
    pub wrapper: Vec<OsString>,
    /// Further flags.
    pub flags: Vec<OsString>,
}

/// What makes a node one of several.
#[derive(Clone, Debug)]
pub struct Membership {
    pub database_url: String,
    pub nats_url: String,
    /// `edge`, `host` or both.
    pub roles: String,
    /// Over how long it tells its clients to move when it leaves.
    pub drain_seconds: u32,
}

impl NodeSettings {
    fn arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec!["serve".into()];
        let mut set = |name: &str, value: OsString| arguments.extend([format!("--{name}").into(), value]);
        set("node-name", self.name.clone().into());
        set("listen", self.listen.to_string().into());
        set("admin-listen", self.admin.to_string().into());
        set("data-dir", self.data.clone().into());
        set("trusted-proxies", self.trusted_proxies.clone().into());
        set("log-format", "json".into());
        if let Some(cluster) = &self.cluster {
            set("nats-url", cluster.nats_url.clone().into());
            set("roles", cluster.roles.clone().into());
            set("advertise-admin", self.admin.to_string().into());
            set("drain-seconds", cluster.drain_seconds.to_string().into());
        }
        arguments.extend(self.flags.iter().cloned());
        arguments
    }

    /// What is told in the environment: there is a password in it. A node that is not on this machine's own address wants to hear a token
    /// from operators.
    fn secrets(&self) -> Vec<(String, String)> {
        let database = self.cluster.as_ref().map(|cluster| (DATABASE_URL, cluster.database_url.as_str()));
        let operators = (!self.admin.ip().is_loopback()).then_some(("ENFILADE_ADMIN_TOKEN", admin::TOKEN));
        let secrets = database.into_iter().chain(operators);
        secrets.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}

/// A node, running or not.
#[derive(Debug)]
pub struct Node {
    pub settings: NodeSettings,
    binary: PathBuf,
    logs: PathBuf,
    process: Option<Process>,
}

impl Node {
    /// A node that does not run yet.
    #[must_use]
    pub fn new(binary: &Path, logs: &Path, settings: NodeSettings) -> Self {
        Self { settings, binary: binary.to_owned(), logs: logs.to_owned(), process: None }
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.settings.listen)
    }

    /// From its next start on it is another program, on the same data and at the same addresses.
    pub fn install(&mut self, binary: &Path) {
        self.binary = binary.to_owned();
    }

    /// Starts it if it does not run.
    ///
    /// # Errors
    /// When the binary does not start.
    pub fn launch(&mut self) -> Result<(), ProcessError> {
        if self.is_running() {
            return Ok(());
        }
        let mut command = self.settings.wrapper.clone();
        command.push(self.binary.clone().into());
        command.extend(self.settings.arguments());
        let launch =
            Launch::new(self.name(), command.remove(0)).args(command).secrets(self.settings.secrets());
        self.process = Some(launch.start(&self.logs)?);
        Ok(())
    }

    /// Starts it if it does not run, and waits until it takes new work.
    ///
    /// # Errors
    /// When it does not start, or is not ready in time.
    pub async fn start(&mut self) -> Result<(), ProcessError> {
        self.launch()?;
        self.wait_until_ready().await
    }

    /// # Errors
    /// When it ended or is not ready in time.
    pub async fn wait_until_ready(&mut self) -> Result<(), ProcessError> {
        let admin = self.settings.admin;
        match &mut self.process {
            None => Ok(()),
            Some(process) => process.wait_until("ready", START, async || admin::is_ready(admin).await).await,
        }
    }

    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| process.ended().is_none())
    }

    /// Its process, if it was started.
    pub fn process(&mut self) -> Option<&mut Process> {
        self.process.as_mut()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// SIGTERM; true if it ended by itself within the grace.
    pub async fn stop(&mut self, grace: Duration) -> bool {
        match self.process.take() {
            None => true,
            Some(mut process) => process.stop(grace).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::loopback;

    fn settings(cluster: Option<Membership>) -> NodeSettings {
        NodeSettings {
            name: "node-1".into(),
            listen: loopback(8081),
            admin: loopback(9091),
            data: "/data".into(),
            cluster,
            trusted_proxies: "127.0.0.1".into(),
            wrapper: Vec::new(),
            flags: vec!["--hubs".into(), "1".into()],
        }
    }

    fn line(settings: &NodeSettings) -> String {
        let arguments = settings.arguments();
        arguments.iter().map(|argument| argument.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_node_alone_is_not_told_of_a_cluster() {
        assert_eq!(
            line(&settings(None)),
            "serve --node-name node-1 --listen 127.0.0.1:8081 --admin-listen 127.0.0.1:9091 --data-dir /data \
             --trusted-proxies 127.0.0.1 --log-format json --hubs 1"
        );
    }

    #[test]
    fn a_member_is_told_where_the_others_meet() {
        let membership = Membership {
            database_url: "postgres://d".into(),
            nats_url: "nats://n".into(),
            roles: "edge".into(),
            drain_seconds: 3,
        };
        let settings = settings(Some(membership));
        assert_eq!(settings.secrets(), [(DATABASE_URL.into(), "postgres://d".into())]);
        let elsewhere = NodeSettings { admin: "10.0.0.7:9090".parse().unwrap(), ..settings.clone() };
        assert_eq!(elsewhere.secrets()[1], ("ENFILADE_ADMIN_TOKEN".into(), admin::TOKEN.into()));
        let line = line(&settings);
        let told = "--nats-url nats://n --roles edge \
                    --advertise-admin 127.0.0.1:9091 --drain-seconds 3 --hubs 1";
        assert!(line.ends_with(told), "{line}");
    }
}
