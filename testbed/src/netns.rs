//! Nodes with addresses of their own: a bridge, and a network namespace for each node on it. Pulling a plug makes its address
//! vanish without a word: nothing is refused, nothing is reset. Needs root, `ip`, and a kernel that allows it.

use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::enclosure::{Enclosure, Kind};
use crate::process::ProcessError;

/// Every bridge of ours is called this and the process that made it.
const PREFIX: &str = "enf";

#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    #[error("{command}: {problem}")]
    Ip { command: String, problem: String },
    #[error("`ip` of the package iproute2 cannot be started: {0}")]
    NoIp(#[from] io::Error),
    #[error(transparent)]
    Process(#[from] ProcessError),
}

/// A bridge of this machine with a subnet of its own; gone when dropped.
#[derive(Debug)]
pub struct Bridge {
    name: String,
    host: Ipv4Addr,
}

/// A namespace that is plugged into a bridge; gone when dropped.
#[derive(Debug)]
pub struct Plug {
    bridge: String,
    cable: String,
    enclosure: Enclosure,
    pub address: IpAddr,
}

impl Bridge {
    /// # Errors
    /// When this user or kernel may not, or there is no `ip`.
    pub fn build() -> Result<Self, NetworkError> {
        sweep()?;
        let id = std::process::id();
        let host = Ipv4Addr::new(10, 213, (id % 250) as u8, 1);
        let name = format!("{PREFIX}{id}");
        ip(&["link", "add", &name, "type", "bridge"])?;
        let bridge = Self { name, host };
        ip(&["addr", "add", &format!("{host}/24"), "dev", &bridge.name])?;
        ip(&["link", "set", &bridge.name, "up"])?;
        Ok(bridge)
    }

    /// This machine's address on the bridge.
    #[must_use]
    pub fn host(&self) -> Ipv4Addr {
        self.host
    }

    /// A new namespace with the last byte of its address, 2 to 254.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn plug(&self, number: u8, logs: &Path) -> Result<Plug, NetworkError> {
        let cable = format!("{}n{number}", self.name);
        let [a, b, c, _] = self.host.octets();
        let address = Ipv4Addr::new(a, b, c, number);
        let furnish = "ip link set lo up";
        let enclosure = Enclosure::build(&format!("network-{number}"), Kind::Network, furnish, logs).await?;
        let inside = enclosure.pid().to_string();
        ip(&["link", "add", &cable, "type", "veth", "peer", "name", "eth0", "netns", &inside])?;
        let plug = Plug { bridge: self.name.clone(), cable, enclosure, address: address.into() };
        plug.inside(&["addr", "add", &format!("{address}/24"), "dev", "eth0"])?;
        plug.inside(&["link", "set", "eth0", "up"])?;
        ip(&["link", "set", &plug.cable, "up"])?;
        plug.plug_in()?;
        Ok(plug)
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        // The next one that is built sweeps up what is left.
        let _ = ip(&["link", "del", &self.name]);
    }
}

impl Plug {
    /// What to put before a command so that it has this address.
    #[must_use]
    pub fn wrapper(&self) -> Vec<OsString> {
        self.enclosure.inside().wrapper
    }

    /// The address vanishes.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn pull(&self) -> Result<(), NetworkError> {
        ip(&["link", "set", &self.cable, "nomaster"])
    }

    /// The address is there again.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn plug_in(&self) -> Result<(), NetworkError> {
        ip(&["link", "set", &self.cable, "master", &self.bridge])
    }

    fn inside(&self, arguments: &[&str]) -> Result<(), NetworkError> {
        let mut wrapped = self.wrapper();
        wrapped.push("ip".into());
        wrapped.extend(arguments.iter().map(Into::into));
        run(Command::new(&wrapped[0]).args(&wrapped[1..]))
    }
}

/// Removes the bridges of processes that are gone: killed, they could not.
fn sweep() -> Result<(), NetworkError> {
    let listed = Command::new("ip").args(["-o", "link", "show", "type", "bridge"]).output()?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let names = listed.lines().filter_map(|line| line.split(": ").nth(1));
    for name in names {
        let owner = name.strip_prefix(PREFIX).and_then(|id| id.parse::<u32>().ok());
        if owner.is_some_and(|id| !Path::new(&format!("/proc/{id}")).exists()) {
            ip(&["link", "del", name])?;
        }
    }
    Ok(())
}

fn ip(arguments: &[&str]) -> Result<(), NetworkError> {
    run(Command::new("ip").args(arguments))
}

fn run(command: &mut Command) -> Result<(), NetworkError> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let command = format!("{command:?}").replace('"', "");
    Err(NetworkError::Ip { command, problem: String::from_utf8_lossy(&output.stderr).trim().to_owned() })
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::time::{Duration, Instant};

    use super::*;

    /// Nobody listens there: a refusal is an answer.
    fn answers(address: IpAddr) -> bool {
        let tried = TcpStream::connect_timeout(&(address, 9).into(), Duration::from_millis(300));
        tried.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    }

    #[tokio::test]
    async fn a_pulled_plug_is_silence_and_comes_back_and_nothing_is_left() {
        let Ok(bridge) = Bridge::build() else {
            return eprintln!("skipped: network namespaces are not permitted here");
        };
        let logs = tempfile::tempdir().unwrap();
        let plug = bridge.plug(2, logs.path()).await.unwrap();
        let until = |wanted: bool| {
            let deadline = Instant::now() + Duration::from_secs(30);
            while answers(plug.address) != wanted {
                assert!(Instant::now() < deadline, "answers: {}", !wanted);
            }
        };
        until(true);
        plug.pull().unwrap();
        until(false);
        plug.plug_in().unwrap();
        until(true);
        let name = bridge.name.clone();
        drop((plug, bridge));
        let deadline = Instant::now() + Duration::from_secs(30);
        // The kernel takes namespaces down in its own time.
        while Path::new("/sys/class/net").join(&name).exists()
            || Path::new("/sys/class/net").join(format!("{name}n2")).exists()
        {
            assert!(Instant::now() < deadline, "{name} is still there");
        }
    }
}
