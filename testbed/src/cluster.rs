//! A whole cluster on this machine: PostgreSQL, NATS, nodes, and HAProxy in front of them, started in that order and ended in
//! the opposite one.

use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::disk::{DiskError, SmallDisk};
use crate::enclosure::Inside;
use crate::haproxy::{Backend, Haproxy, HaproxyError};
use crate::link::Link;
use crate::memory::MemoryGroup;
use crate::nats::{NatsServer, NatsServerError, NatsServerOptions};
use crate::netns::{Bridge, NetworkError, Plug};
use crate::node::{Membership, Node, NodeSettings};
use crate::ports::{self, loopback};
use crate::process::ProcessError;
use crate::{Home, Postgres, PostgresOptions, Shutdown};

#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error("{what}: {source}")]
    Io { what: &'static str, source: io::Error },
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error(transparent)]
    Haproxy(#[from] HaproxyError),
    #[error(transparent)]
    Nats(#[from] NatsServerError),
    #[error(transparent)]
    Network(#[from] NetworkError),
    #[error(transparent)]
    Disk(#[from] DiskError),
}

fn failed(what: &'static str) -> impl FnOnce(io::Error) -> ClusterError {
    move |source| ClusterError::Io { what, source }
}

/// What a cluster is made of.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The program of the nodes.
    pub binary: PathBuf,
    /// Data, configuration and logs.
    pub folder: PathBuf,
    pub ports: Ports,
    pub shape: Shape,
    pub network: Network,
    /// Over how long a leaving node tells its clients to move.
    pub drain_seconds: u32,
    /// The database is on a disk of this size: PostgreSQL's, or each node's own. Needs root, and no namespaces of the network.
    pub disk_megabytes: Option<u32>,
    /// The memory of each node can be bounded. Needs root, and neither of the two.
    pub memory_groups: bool,
    /// What each node does (`edge`, `host`), one after the other; those that are not named do both.
    pub roles: Vec<String>,
    /// Further flags of every node.
    pub flags: Vec<OsString>,
}

/// How the nodes belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One cluster on one PostgreSQL and one NATS.
    Together,
    /// Each for itself, with a SQLite of its own.
    Alone,
}

/// How the nodes reach the database, NATS and each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Directly.
    Direct,
    /// Each through a link to the database and a link to NATS of its own.
    Links,
    /// So, and each node has an address of its own. Needs root.
    Namespaces,
}

/// Where everything listens.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Ports {
    pub balancer: u16,
    pub statistics: u16,
    pub postgres: u16,
    pub nats: u16,
    /// Each node's port for people and its port for operators.
    pub nodes: Vec<(u16, u16)>,
}

impl Ports {
    /// # Errors
    /// When no port is free.
    pub fn free(nodes: usize) -> io::Result<Self> {
        Ok(Self {
            balancer: ports::free()?,
            statistics: ports::free()?,
            postgres: ports::free()?,
            nats: ports::free()?,
            nodes: (0..nodes).map(|_| Ok((ports::free()?, ports::free()?))).collect::<io::Result<_>>()?,
        })
    }

    /// These, each replaced by another where somebody listens already.
    ///
    /// # Errors
    /// When no port is free.
    pub fn preferred(&self) -> io::Result<Self> {
        let node = |(public, admin): &(u16, u16)| Ok((ports::preferred(*public)?, ports::preferred(*admin)?));
        Ok(Self {
            balancer: ports::preferred(self.balancer)?,
            statistics: ports::preferred(self.statistics)?,
            postgres: ports::preferred(self.postgres)?,
            nats: ports::preferred(self.nats)?,
            nodes: self.nodes.iter().map(node).collect::<io::Result<_>>()?,
        })
    }
}

/// The two links of a node.
#[derive(Debug)]
pub struct NodeLinks {
    pub database: Link,
    pub nats: Link,
}

/// A running cluster. Dropped, everything is killed.
#[derive(Debug)]
pub struct Cluster {
    // Fields are dropped in this order.
    pub balancer: Option<Haproxy>,
    pub nodes: Vec<Node>,
    /// As many as nodes, or none.
    pub links: Vec<NodeLinks>,
    pub nats: Option<NatsServer>,
    pub postgres: Option<Postgres>,
    /// As many as nodes, or none.
    pub plugs: Vec<Plug>,
    /// As many as databases, or none.
    pub disks: Vec<SmallDisk>,
    /// As many as nodes, or none.
    pub memory: Vec<MemoryGroup>,
    _bridge: Option<Bridge>,
    pub logs: PathBuf,
}

impl Cluster {
    /// Starts everything and waits until it is ready.
    ///
    /// # Errors
    /// When a program is missing, does not start, or is not ready in time.
    pub async fn start(plan: &Plan) -> Result<Self, ClusterError> {
        let logs = plan.folder.join("logs");
        std::fs::create_dir_all(&logs).map_err(failed("the folder cannot be made"))?;
        let bridge = match plan.network {
            Network::Namespaces => Some(Bridge::build()?),
            Network::Direct | Network::Links => None,
        };
        let mut cluster = Self {
            balancer: None,
            nodes: Vec::new(),
            links: Vec::new(),
            nats: None,
            postgres: None,
            plugs: Vec::new(),
            disks: Vec::new(),
            memory: Vec::new(),
            _bridge: None,
            logs,
        };
        if plan.shape == Shape::Together {
            cluster.start_servers(plan).await?;
        }
        let host = bridge.as_ref().map_or(Ipv4Addr::LOCALHOST, Bridge::host);
        for number in 0..plan.ports.nodes.len() {
            if let Some(bridge) = &bridge {
                cluster.plugs.push(bridge.plug(number as u8 + 11, &cluster.logs).await?);
            }
            cluster.add_node(plan, number, host).await?;
        }
        cluster._bridge = bridge;
        for node in &mut cluster.nodes {
            node.launch()?;
        }
        for node in &mut cluster.nodes {
            node.wait_until_ready().await?;
        }
        cluster.start_balancer(plan).await?;
        Ok(cluster)
    }

    async fn start_servers(&mut self, plan: &Plan) -> Result<(), ClusterError> {
        let folder = plan.folder.join("postgres");
        let inside = self.inside(plan, &folder).await?;
        let home = Home { folder, inside, log: self.logs.join("postgres.log"), port: plan.ports.postgres };
        let postgres = Postgres::start_in(home, PostgresOptions::default());
        self.postgres = Some(postgres.map_err(failed("PostgreSQL does not start"))?);
        let options = NatsServerOptions {
            port: Some(plan.ports.nats),
            logs: Some(self.logs.clone()),
            ..NatsServerOptions::default()
        };
        self.nats = Some(NatsServer::start_with(options).await?);
        Ok(())
    }

    async fn add_node(&mut self, plan: &Plan, number: usize, host: Ipv4Addr) -> Result<(), ClusterError> {
        let (public, admin) = plan.ports.nodes[number];
        let name = format!("node-{}", number + 1);
        let data = plan.folder.join(&name);
        std::fs::create_dir_all(&data).map_err(failed("the node's folder cannot be made"))?;
        let wrapper = match self.plugs.get(number) {
            Some(plug) => plug.wrapper(),
            None if plan.memory_groups => {
                let group = MemoryGroup::make(&name).map_err(failed("no control group"))?;
                self.memory.push(group);
                self.memory[number].wrapper()
            }
            None if plan.shape == Shape::Alone => self.inside(plan, &data).await?.wrapper,
            None => Vec::new(),
        };
        let plug = self.plugs.get(number);
        let ip = plug.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |plug| plug.address);
        let settings = NodeSettings {
            listen: SocketAddr::new(ip, public),
            admin: SocketAddr::new(ip, admin),
            data,
            trusted_proxies: host.to_string(),
            wrapper,
            flags: plan.flags.clone(),
            cluster: self.membership(plan, number, host)?,
            name,
        };
        self.nodes.push(Node::new(&plan.binary, &self.logs, settings));
        Ok(())
    }

    /// Where a database in a folder runs: with a disk of its own, if it is to have one.
    async fn inside(&mut self, plan: &Plan, folder: &Path) -> Result<Inside, ClusterError> {
        let Some(megabytes) = plan.disk_megabytes else { return Ok(Inside::default()) };
        std::fs::create_dir_all(folder).map_err(failed("the database's folder cannot be made"))?;
        let disk = SmallDisk::mount(folder, megabytes, &self.logs).await?;
        let inside = disk.inside();
        self.disks.push(disk);
        Ok(inside)
    }

    /// Where the next node finds the others, through links of its own if it gets some.
    fn membership(
        &mut self,
        plan: &Plan,
        number: usize,
        host: Ipv4Addr,
    ) -> Result<Option<Membership>, ClusterError> {
        let (Some(postgres), Some(nats)) = (&self.postgres, &self.nats) else { return Ok(None) };
        let (mut database_url, mut nats_url) = (postgres.url(), nats.url());
        if plan.network != Network::Direct {
            let open = |to: u16| Link::open((host, 0).into(), loopback(to)).map_err(failed("no link"));
            let links = NodeLinks { database: open(postgres.port())?, nats: open(nats.port())? };
            let through = |url: &str, port: u16, link: &Link| {
                url.replace(&format!("127.0.0.1:{port}"), &link.address().to_string())
            };
            database_url = through(&database_url, postgres.port(), &links.database);
            nats_url = through(&nats_url, nats.port(), &links.nats);
            self.links.push(links);
        }
        let roles = plan.roles.get(number).cloned().unwrap_or_else(|| "edge,host".to_owned());
        Ok(Some(Membership { database_url, nats_url, roles, drain_seconds: plan.drain_seconds }))
    }

    async fn start_balancer(&mut self, plan: &Plan) -> Result<(), ClusterError> {
        let backends: Vec<Backend> = self
            .nodes
            .iter()
            .map(|node| Backend {
                name: node.name().to_owned(),
                address: node.settings.listen.to_string(),
                admin_port: node.settings.admin.port(),
            })
            .collect();
        let (address, statistics) = (loopback(plan.ports.balancer), loopback(plan.ports.statistics));
        let balancer = Haproxy::start(&plan.folder, &self.logs, address, statistics, &backends).await?;
        self.balancer = Some(balancer);
        Ok(())
    }

    /// Ends everything in good order: the nodes at once, then what they use.
    pub async fn stop(mut self, grace: Duration) {
        self.let_disks_flow();
        for node in &mut self.nodes {
            if let Some(process) = node.process() {
                // One that ended already needs no telling.
                let _ = process.resume();
                let _ = process.terminate();
            }
        }
        for node in &mut self.nodes {
            node.stop(grace).await;
        }
        if let Some(balancer) = &mut self.balancer {
            balancer.stop().await;
        }
        if let Some(nats) = &mut self.nats {
            nats.stop().await;
        }
        if let Some(postgres) = &self.postgres {
            // Otherwise it is ended less gently in a moment.
            let _ = postgres.stop(Shutdown::Fast);
        }
    }

    /// Whoever waits for a disk that stands still cannot even be killed.
    fn let_disks_flow(&self) {
        for disk in &self.disks {
            // One that cannot be told to stand still does not.
            let _ = disk.flow();
        }
    }

    #[must_use]
    pub fn url(&self) -> Option<String> {
        self.balancer.as_ref().map(|balancer| format!("http://{}", balancer.address))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.let_disks_flow();
    }
}

/// A folder for a cluster that nobody wants to see again. PostgreSQL may run as another user, who has to get in.
///
/// # Errors
/// When there is no room for it.
pub fn temporary_folder() -> io::Result<tempfile::TempDir> {
    let folder = tempfile::Builder::new().prefix("enfilade-cluster-").tempdir()?;
    open_to_all(folder.path())?;
    Ok(folder)
}

fn open_to_all(folder: &Path) -> io::Result<()> {
    std::fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o755))
}
