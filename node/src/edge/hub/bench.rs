//! A door for benchmarks: a hub of a real edge, driven by hand instead of by its thread and its clock.

use std::io;
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use enfilade_actors::cluster::{Cluster, Edge};
use enfilade_actors::host::Offload;
use enfilade_proto::{ClientId, Codec, DisplayName, Join, RoomId, RoomKind, SignalOut};

use super::pace::Pacer;
use super::{Desk, Line, Opening};
use crate::access::Announcer;
use crate::config::{Config, Partial};
use crate::edge::entering::{Entered, Entrant, enter};
use crate::edge::inbox::Inbox;
use crate::edge::snapshot::Reads;
use crate::edge::{Allowances, EdgeNode, EdgeSettings};
use crate::node::open_offline;
use crate::people::{self, NewRoomRequest, People, Principal, SystemClock};

/// Takes a client's frame apart as a reader does, and unmasks it in place. Returns how many messages were in it.
#[must_use]
pub fn read(codec: Codec, frame: &mut [u8]) -> usize {
    Inbox::new(Some(codec)).feed(frame).len()
}

/// A hub with one room. Belongs on a runtime of one thread, so that nothing happens but what is asked for.
#[derive(Debug)]
pub struct Stage {
    edge: Arc<EdgeNode>,
    cluster: Cluster,
    desk: Rc<Desk>,
    room: RoomId,
    link: String,
}

impl Stage {
    /// Sets up an edge with a database in this folder.
    ///
    /// # Errors
    /// When the node cannot be put together.
    pub async fn set(folder: &Path) -> anyhow::Result<Self> {
        let given = Partial { data_dir: Some(folder.to_owned()), ..Partial::default() };
        let (config, _) = Config::load(given, None)?;
        let (store, cluster) = open_offline(&config).await?;
        let clock = Arc::new(SystemClock);
        let announcer = Announcer { cluster: cluster.clone(), directory: store.directory.clone() };
        let settings = people::Settings::default();
        let people = Arc::new(
            People::open(store.directory.clone(), Arc::new(announcer), clock.clone(), &settings).await?,
        );
        let request = NewRoomRequest {
            kind: RoomKind::Board,
            title: None,
            owner: None,
            address: Ipv4Addr::LOCALHOST.into(),
        };
        let made = people.create_room(&request).await?;
        let settings = EdgeSettings {
            hubs: 1,
            linger: Duration::from_secs(3_600),
            allowed_origins: Vec::new(),
            max_connections: usize::MAX,
            connection_age_s: 0,
            hellos_per_second: u32::MAX,
            allowances: Allowances::default(),
            sampling: Arc::default(),
            offload: Offload::Inline,
        };
        let (edge, inboxes) = EdgeNode::without_hubs(
            "bench".to_owned(),
            cluster.clone(),
            store.log.clone(),
            people,
            clock,
            settings,
        );
        let edge = Arc::new(edge);
        let ends: Arc<dyn Edge> = edge.clone();
        cluster.connect(Arc::downgrade(&ends));
        let handle = inboxes.into_iter().next().map(|inbox| inbox.handle);
        let handle = handle.ok_or_else(|| io::Error::other("an edge has a hub"))?;
        let desk = Desk::new(0, edge.0.clone(), handle);
        let link = made.link.map(|secret| secret.reveal().to_owned()).unwrap_or_default();
        Ok(Self { edge, cluster, desk, room: made.id, link })
    }

    /// Connects these sockets, each for a guest who joins the room.
    ///
    /// # Errors
    /// When somebody is refused.
    pub async fn seat(&self, sockets: Vec<TcpStream>, codec: Codec) -> anyhow::Result<()> {
        let entered = self.enter(sockets.len(), codec).await?;
        for (socket, (person, entered)) in sockets.into_iter().zip(entered) {
            socket.set_nonblocking(true)?;
            let socket = tokio::net::TcpStream::from_std(socket)?;
            // As after a handshake: what was never polled counts as blocked.
            socket.writable().await?;
            let opening = Opening {
                line: Line::new(socket),
                inbox: Inbox::new(Some(codec)),
                client: ClientId(person.user.id.0),
                person: Some(person),
                audience: false,
                deflate: false,
                trace: None,
                slot: self.edge.0.slot().ok_or_else(|| io::Error::other("the edge is full"))?,
            };
            self.desk.with(|hub| {
                let who = hub.open(opening);
                hub.join(who, entered);
            });
        }
        Ok(())
    }

    /// So many guests join at once, and leave again.
    ///
    /// # Errors
    /// When somebody is refused.
    pub async fn crowd(&self, count: usize, codec: Codec) -> anyhow::Result<()> {
        for (_, entered) in self.enter(count, codec).await? {
            entered.room.leave(0, entered.came);
        }
        Ok(())
    }

    async fn enter(&self, count: usize, codec: Codec) -> anyhow::Result<Vec<(Principal, Entered)>> {
        let name = DisplayName::new("Ada")?;
        let joins: Vec<_> = (0..count)
            .map(|_| {
                let person = self.edge.0.people.guest(name.clone());
                let entrant = Entrant {
                    hub: 0,
                    person: Some(person.clone()),
                    audience: false,
                    client: ClientId(person.user.id.0),
                    reads: Reads::from(codec),
                };
                let join = Join { room: self.room, link: Some(self.link.clone()), since: None };
                (person, tokio::spawn(enter(self.edge.0.clone(), entrant, Some(1), join)))
            })
            .collect();
        let mut entered = Vec::with_capacity(count);
        for (person, join) in joins {
            entered.push((person, join.await?.map_err(|error| anyhow::anyhow!("{}", error.message))?));
        }
        Ok(entered)
    }

    /// From now on nothing comes from the room's owner, and nothing goes there.
    pub async fn cut_off(&self) {
        self.cluster.stop().await;
    }

    /// Signals come in from another edge.
    pub fn signals(&self, signals: Vec<SignalOut>) {
        self.edge.signals(self.room, signals);
    }

    /// Tells everybody what came. It is as if the last time were long ago: ticks are not what is measured.
    pub fn deliver(&self) {
        self.desk.with(|hub| {
            hub.delivered_ms = u64::MAX;
            for seats in hub.rooms.values_mut().flat_map(|room| &mut room.seats) {
                seats.pacer = Pacer::default();
            }
            hub.look_at_news();
            while hub.deliver_some() {}
        });
    }
}
