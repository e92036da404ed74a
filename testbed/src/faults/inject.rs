//! The hands that break a cluster and mend it again, and start again what ended by itself, as a machine's supervisor would.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use enfilade_proto::RoomId;

use super::catalogue::{AWAY, Act, Fault, Server, Victims};
use super::marks::Marks;
use super::oversight::{Overseer, Seen, Subjects};
use super::rolling::Leg;
use super::trial::Stage;
use crate::cluster::Cluster;
use crate::disk::DiskError;
use crate::link::{Condition, Link};
use crate::nats::NatsServerError;
use crate::netns::NetworkError;
use crate::process::{ProcessError, Signal, signal_family};
use crate::{Shutdown, admin};

pub(super) const LOOK: Duration = Duration::from_millis(100);
/// A node that ended by itself is started again after this.
const RESTART: Duration = Duration::from_secs(1);
/// How long all nodes may take to be ready again when everything is mended.
const READY: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
pub enum InjectError {
    #[error("no node says that it owns {0}")]
    NoOwner(RoomId),
    #[error("there is no second node")]
    NoEdge,
    #[error("{0} is none of this cluster's parts")]
    Missing(&'static str),
    #[error("the nodes are not all ready {0} s after everything was mended")]
    NotReady(u64),
    #[error("{0} did not leave within {1} s of SIGTERM")]
    StaysOn(String, u64),
    #[error("there is no node of the release before this one: tools/previous builds it")]
    NoPrevious,
    #[error("{0} lives on, whatever is taken from it")]
    Survives(String),
    #[error("{0} was not killed for its memory, but ended with {1}")]
    OtherEnd(String, String),
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error(transparent)]
    Nats(#[from] NatsServerError),
    #[error(transparent)]
    Network(#[from] NetworkError),
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Done {
    /// The nodes that were struck.
    pub struck: BTreeSet<String>,
    /// How often nodes ended by themselves and were started again.
    pub restarts: usize,
    /// What was done one after the other, if that is told apart.
    pub legs: Vec<Leg>,
    /// What operators saw, if somebody looked.
    pub seen: Option<Seen>,
}

/// Breaks a cluster and mends it.
#[derive(Debug)]
pub struct Tormentor<'a> {
    pub cluster: &'a mut Cluster,
    pub marks: &'a mut Marks,
    /// The room by which owner and edge are told apart.
    pub room: RoomId,
    pub stage: &'a Stage,
    /// Who judges by the alerts, if somebody does.
    pub prometheus: Option<SocketAddr>,
    pub(super) done: Done,
}

impl<'a> Tormentor<'a> {
    pub fn new(cluster: &'a mut Cluster, marks: &'a mut Marks, room: RoomId, stage: &'a Stage) -> Self {
        Self { cluster, marks, room, stage, prometheus: None, done: Done::default() }
    }

    /// Breaks, waits, mends, and waits until all nodes are ready.
    ///
    /// # Errors
    /// When it cannot be done, or the cluster does not come back.
    pub async fn perform(mut self, fault: &Fault) -> Result<Done, InjectError> {
        match fault.act {
            Act::RollingRestart => self.restart_each().await?,
            Act::RollingUpgrade => self.upgrade_each_and_back().await?,
            act => {
                let victims = self.choose(act).await?;
                self.done.struck = victims.iter().map(|i| self.cluster.nodes[*i].name().to_owned()).collect();
                self.marks.inject(fault.name, fault.limit().mul_f64(self.stage.patience))?;
                let overseer = fault.visible.map(|_| Overseer::begin(self.subjects()));
                self.begin(act, &victims).await?;
                // What was killed stays down for the time.
                let down =
                    if matches!(act, Act::Kill(_) | Act::Starve(_)) { victims.clone() } else { Vec::new() };
                let time = if matches!(act, Act::Starve(_)) { AWAY } else { fault.lasts() };
                self.hold(time, &down).await?;
                if let Some(overseer) = overseer {
                    self.done.seen = Some(overseer.end().await);
                }
                self.end(act, &victims).await?;
                self.marks.heal(fault.name)?;
            }
        }
        self.until_ready().await?;
        Ok(self.done)
    }

    /// Who is struck, by ownership at this moment.
    async fn choose(&self, act: Act) -> Result<Vec<usize>, InjectError> {
        let victims = match act {
            Act::Kill(victims) | Act::Pause(victims, _) => victims,
            Act::OwnersLink(..) | Act::Vanish(_) | Act::Starve(_) => Victims::Owner,
            Act::PauseServer(..)
            | Act::EveryLink(..)
            | Act::FullDisk(_)
            | Act::StalledDisk(_)
            | Act::RestartNats
            | Act::RestartDatabase => return Ok(Vec::new()),
            Act::RollingRestart | Act::RollingUpgrade => return Ok(self.all()),
        };
        let owner = self.owner().await?;
        let edge = || (0..self.cluster.nodes.len()).find(|i| *i != owner).ok_or(InjectError::NoEdge);
        Ok(match victims {
            Victims::Owner => vec![owner],
            Victims::Edge => vec![edge()?],
            Victims::Both => vec![owner, edge()?],
        })
    }

    /// The node on which the room is awake. It may be on its way from one to another just now.
    async fn owner(&self) -> Result<usize, InjectError> {
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            for (i, node) in self.cluster.nodes.iter().enumerate() {
                let path = format!("/admin/rooms/{}", self.room);
                if admin::get(node.settings.admin, &path).await.is_ok_and(|answer| answer.status == 200) {
                    return Ok(i);
                }
            }
            tokio::time::sleep(LOOK).await;
        }
        Err(InjectError::NoOwner(self.room))
    }

    async fn begin(&mut self, act: Act, victims: &[usize]) -> Result<(), InjectError> {
        match act {
            Act::Kill(_) => victims.iter().for_each(|i| self.cluster.nodes[*i].kill()),
            Act::Pause(..) => self.signal(victims, Signal::STOP)?,
            Act::PauseServer(server, _) => self.signal_server(server, Signal::STOP)?,
            Act::RestartNats => self.nats()?.restart().await?,
            Act::RestartDatabase => {
                let postgres = self.cluster.postgres.as_ref().ok_or(InjectError::Missing("PostgreSQL"))?;
                // The server's handle waits; the links go on in the other threads.
                tokio::task::block_in_place(|| {
                    postgres.stop(Shutdown::Immediate)?;
                    postgres.resume()
                })?;
            }
            Act::OwnersLink(server, condition, _) => self.set_links(victims, server, condition)?,
            Act::EveryLink(server, condition, _) => self.set_links(&self.all(), server, condition)?,
            Act::Vanish(_) => {
                for i in victims {
                    self.cluster.plugs.get(*i).ok_or(InjectError::Missing("a plug"))?.pull()?;
                }
            }
            Act::FullDisk(_) => self.disk()?.fill()?,
            Act::StalledDisk(_) => self.disk()?.stall()?,
            Act::Starve(near) => {
                for i in victims {
                    self.starve(*i, near).await?;
                }
            }
            Act::RollingRestart | Act::RollingUpgrade => {}
        }
        Ok(())
    }

    async fn end(&mut self, act: Act, victims: &[usize]) -> Result<(), InjectError> {
        match act {
            Act::Kill(_) => {
                for i in victims {
                    self.cluster.nodes[*i].start().await?;
                }
            }
            Act::Pause(..) => self.signal(victims, Signal::CONT)?,
            Act::PauseServer(server, _) => self.signal_server(server, Signal::CONT)?,
            Act::OwnersLink(server, ..) => self.set_links(victims, server, Condition::Pass)?,
            Act::EveryLink(server, ..) => self.set_links(&self.all(), server, Condition::Pass)?,
            Act::Vanish(_) => {
                for i in victims {
                    self.cluster.plugs.get(*i).ok_or(InjectError::Missing("a plug"))?.plug_in()?;
                }
            }
            Act::FullDisk(_) => self.disk()?.free()?,
            Act::StalledDisk(_) => self.disk()?.flow()?,
            Act::Starve(_) => {
                for i in victims {
                    self.feed(*i)?;
                    self.cluster.nodes[*i].start().await?;
                }
            }
            Act::RestartNats | Act::RestartDatabase | Act::RollingRestart | Act::RollingUpgrade => {}
        }
        Ok(())
    }

    /// Lets time pass; nodes that end by themselves are started again, but for those that are to stay down.
    async fn hold(&mut self, time: Duration, down: &[usize]) -> Result<(), InjectError> {
        let deadline = Instant::now() + time;
        while Instant::now() < deadline {
            tokio::time::sleep(LOOK.min(deadline.saturating_duration_since(Instant::now()))).await;
            self.restart_ended(down).await?;
        }
        Ok(())
    }

    async fn restart_ended(&mut self, down: &[usize]) -> Result<(), InjectError> {
        if let Some(postgres) = &self.cluster.postgres
            && (postgres.has_ended()? || postgres.pid().is_none())
        {
            tokio::time::sleep(RESTART).await;
            // As long as the disk is full it ends again.
            let resumed = tokio::task::block_in_place(|| postgres.resume());
            self.done.restarts += usize::from(resumed.is_ok());
        }
        for i in self.all() {
            if !down.contains(&i) && !self.cluster.nodes[i].is_running() {
                tokio::time::sleep(RESTART).await;
                self.cluster.nodes[i].launch()?;
                self.done.restarts += 1;
            }
        }
        Ok(())
    }

    pub(super) async fn until_ready(&mut self) -> Result<(), InjectError> {
        let deadline = Instant::now() + READY;
        loop {
            self.restart_ended(&[]).await?;
            let mut ready = true;
            for node in &self.cluster.nodes {
                ready &= admin::is_ready(node.settings.admin).await;
            }
            if ready {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(InjectError::NotReady(READY.as_secs()));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    pub(super) fn all(&self) -> Vec<usize> {
        (0..self.cluster.nodes.len()).collect()
    }

    fn signal(&mut self, nodes: &[usize], signal: Signal) -> Result<(), InjectError> {
        for i in nodes {
            let process = self.cluster.nodes[*i].process().ok_or(InjectError::Missing("the node"))?;
            signal_family(process.pid(), signal)?;
        }
        Ok(())
    }

    fn signal_server(&mut self, server: Server, signal: Signal) -> Result<(), InjectError> {
        let pid = match server {
            Server::Nats => self.nats()?.pid(),
            Server::Database => {
                let postgres = self.cluster.postgres.as_ref();
                let pid = postgres.and_then(super::super::postgres::Postgres::pid);
                pid.ok_or(InjectError::Missing("PostgreSQL"))?
            }
        };
        Ok(signal_family(pid, signal)?)
    }

    fn set_links(&self, nodes: &[usize], server: Server, condition: Condition) -> Result<(), InjectError> {
        for i in nodes {
            let links = self.cluster.links.get(*i).ok_or(InjectError::Missing("a link"))?;
            let link: &Link = match server {
                Server::Database => &links.database,
                Server::Nats => &links.nats,
            };
            link.set(condition);
        }
        Ok(())
    }

    fn nats(&mut self) -> Result<&mut crate::nats::NatsServer, InjectError> {
        self.cluster.nats.as_mut().ok_or(InjectError::Missing("NATS"))
    }

    fn subjects(&self) -> Subjects {
        let nodes = self.cluster.nodes.iter().map(|node| (node.name().to_owned(), node.settings.admin));
        Subjects { nodes: nodes.collect(), struck: self.done.struck.clone(), prometheus: self.prometheus }
    }

    fn disk(&self) -> Result<&crate::disk::SmallDisk, InjectError> {
        self.cluster.disks.first().ok_or(InjectError::Missing("a small disk"))
    }
}
