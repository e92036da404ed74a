//! The hands that break a cluster and mend it again, and start again what ended by itself, as a machine's supervisor would.

use std::io;
use std::time::{Duration, Instant};

use enfilade_proto::RoomId;

use super::catalogue::{Act, Fault, HANDOVER, Server, Victims};
use super::marks::Marks;
use crate::cluster::Cluster;
use crate::link::{Condition, Link};
use crate::nats::NatsServerError;
use crate::netns::NetworkError;
use crate::process::{ProcessError, Signal, signal_family};
use crate::{Shutdown, admin};

const LOOK: Duration = Duration::from_millis(100);
/// A node that ended by itself is started again after this.
const RESTART: Duration = Duration::from_secs(1);
/// How long all nodes may take to be ready again when everything is mended.
const READY: Duration = Duration::from_secs(60);
/// How long a node may take to leave, the time that it gives its clients included.
const LEAVE: Duration = Duration::from_secs(20);
/// For the load balancer to see that a node is back.
const NOTICED: Duration = Duration::from_millis(1_500);

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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// The nodes that were struck.
    pub struck: Vec<String>,
    /// How often nodes ended by themselves and were started again.
    pub restarts: usize,
}

/// Breaks a cluster and mends it.
#[derive(Debug)]
pub struct Tormentor<'a> {
    pub cluster: &'a mut Cluster,
    pub marks: &'a mut Marks,
    /// The room by which owner and edge are told apart.
    pub room: RoomId,
    /// Limits of time are so many times as long: other work shares the machine.
    pub patience: f64,
    done: Done,
}

impl<'a> Tormentor<'a> {
    pub fn new(cluster: &'a mut Cluster, marks: &'a mut Marks, room: RoomId, patience: f64) -> Self {
        Self { cluster, marks, room, patience, done: Done::default() }
    }

    /// Breaks, waits, mends, and waits until all nodes are ready.
    ///
    /// # Errors
    /// When it cannot be done, or the cluster does not come back.
    pub async fn perform(mut self, fault: &Fault) -> Result<Done, InjectError> {
        match fault.act {
            Act::RollingRestart => self.rolling_restart().await?,
            act => {
                let victims = self.choose(act).await?;
                self.done.struck = victims.iter().map(|i| self.cluster.nodes[*i].name().to_owned()).collect();
                self.marks.inject(fault.name, fault.limit().mul_f64(self.patience))?;
                self.begin(act, &victims).await?;
                // What was killed stays down for the time.
                let down = if matches!(act, Act::Kill(_)) { victims.clone() } else { Vec::new() };
                self.hold(fault.lasts(), &down).await?;
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
            Act::OwnersLink(..) | Act::Vanish(_) | Act::FullDisk(_) => Victims::Owner,
            Act::PauseServer(..) | Act::EveryLink(..) | Act::RestartNats | Act::RestartDatabase => {
                return Ok(Vec::new());
            }
            Act::RollingRestart => return Ok((0..self.cluster.nodes.len()).collect()),
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
            Act::RollingRestart => {}
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
            Act::RestartNats | Act::RestartDatabase | Act::RollingRestart => {}
        }
        Ok(())
    }

    /// Each node leaves in good order and comes back before the next one goes.
    async fn rolling_restart(&mut self) -> Result<(), InjectError> {
        for i in self.all() {
            let name = self.cluster.nodes[i].name().to_owned();
            let mark = format!("drain {name}");
            self.done.struck.push(name.clone());
            self.marks.inject(&mark, HANDOVER.mul_f64(self.patience))?;
            let patience = LEAVE.mul_f64(self.patience);
            if !self.cluster.nodes[i].stop(patience).await {
                return Err(InjectError::StaysOn(name, patience.as_secs()));
            }
            self.cluster.nodes[i].start().await?;
            tokio::time::sleep(NOTICED).await;
            self.marks.heal(&mark)?;
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
        for i in self.all() {
            if !down.contains(&i) && !self.cluster.nodes[i].is_running() {
                tokio::time::sleep(RESTART).await;
                self.cluster.nodes[i].launch()?;
                self.done.restarts += 1;
            }
        }
        Ok(())
    }

    async fn until_ready(&mut self) -> Result<(), InjectError> {
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

    fn all(&self) -> Vec<usize> {
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

    fn disk(&self) -> Result<&crate::disk::SmallDisk, InjectError> {
        self.cluster.disks.first().ok_or(InjectError::Missing("a small disk"))
    }
}
