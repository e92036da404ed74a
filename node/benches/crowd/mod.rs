//! A crowd in one room: a hub, and the far ends of its sockets, which are read between measurements.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "shared by benchmarks; each uses another part, and one that cannot go on has failed"
)]

use std::io::{ErrorKind, Read as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use enfilade_node::bench::Stage;
use enfilade_proto::Codec;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

/// Nothing takes longer, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(20);
/// More than is ever sent in one go.
const READ_BYTES: usize = 64 * 1024;

pub struct Crowd {
    pub stage: Stage,
    pub runtime: Runtime,
    /// The hub's sockets once more, for whoever writes to them past it.
    pub sockets: Vec<TcpStream>,
    far_ends: Vec<TcpStream>,
    _folder: TempDir,
}

impl Crowd {
    /// So many members of a room, who have been told everything so far.
    pub fn of(count: usize) -> Self {
        allow_many_sockets();
        let folder = tempfile::tempdir().unwrap();
        // Of one thread: what goes on beside the hub waits while that is measured.
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let stage = runtime.block_on(Stage::set(folder.path())).unwrap();
        let (sockets, far_ends): (Vec<_>, Vec<_>) = (0..count).map(|_| connection()).unzip();
        let near_ends = sockets.iter().map(|socket| socket.try_clone().unwrap()).collect();
        runtime.block_on(stage.seat(near_ends, Codec::MessagePack)).unwrap();
        let crowd = Self { stage, runtime, sockets, far_ends, _folder: folder };
        crowd.settle();
        crowd
    }

    /// Everything that was on its way arrives, and nothing comes after it.
    fn settle(&self) {
        self.runtime.block_on(self.stage.cut_off());
        self.stage.deliver();
        for end in &self.far_ends {
            end.set_nonblocking(true).unwrap();
            while read_some(end).is_some() {}
            end.set_nonblocking(false).unwrap();
        }
    }

    /// Waits until everybody was sent something, and returns what that was: the same for all.
    pub fn hear(&self) -> Vec<u8> {
        let mut heard = self.far_ends.iter().map(|end| read_some(end).unwrap());
        let first = heard.next().unwrap();
        assert!(heard.all(|other| other == first), "everybody is told the same");
        first
    }
}

fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let far_end = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    far_end.set_read_timeout(Some(PATIENCE)).unwrap();
    let (near_end, _) = listener.accept().unwrap();
    near_end.set_nodelay(true).unwrap();
    (near_end, far_end)
}

/// None if there is nothing to read.
fn read_some(mut socket: &TcpStream) -> Option<Vec<u8>> {
    let mut buffer = vec![0; READ_BYTES];
    match socket.read(&mut buffer) {
        Ok(0) => panic!("the hub hung up"),
        Ok(count) => Some(buffer[..count].to_vec()),
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        Err(error) => panic!("{error}"),
    }
}

fn allow_many_sockets() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}
