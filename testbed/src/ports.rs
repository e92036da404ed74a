//! Ports of this machine that nobody listens on.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Mutex, PoisonError};

/// Below what kernels give to outgoing connections, so that a port stays free while its server restarts.
const FROM: u16 = 20_000;
const TO: u16 = 30_000;

/// A port on loopback that is free now and was not given out before by this process.
///
/// # Errors
/// When there is none.
pub fn free() -> io::Result<u16> {
    static NEXT: Mutex<u16> = Mutex::new(0);
    let mut next = NEXT.lock().unwrap_or_else(PoisonError::into_inner);
    if *next == 0 {
        // Processes that start at the same time look at different places.
        *next = FROM + (std::process::id() % u32::from(TO - FROM)) as u16;
    }
    for _ in FROM..TO {
        let port = *next;
        *next = if port + 1 >= TO { FROM } else { port + 1 };
        if is_free(port) {
            return Ok(port);
        }
    }
    Err(io::Error::other("no port is free"))
}

/// The wished one if nobody listens there, else any.
///
/// # Errors
/// When there is none.
pub fn preferred(port: u16) -> io::Result<u16> {
    if is_free(port) { Ok(port) } else { free() }
}

fn is_free(port: u16) -> bool {
    // On all addresses: what listens on one of them is in the way, too.
    [Ipv4Addr::UNSPECIFIED, Ipv4Addr::LOCALHOST].iter().all(|ip| TcpListener::bind((*ip, port)).is_ok())
}

#[must_use]
pub fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_given_out_once_and_never_a_taken_one() {
        let taken = TcpListener::bind(loopback(0)).unwrap();
        let wished = taken.local_addr().unwrap().port();
        let ports = [free().unwrap(), free().unwrap(), preferred(wished).unwrap()];
        assert_ne!(ports[0], ports[1]);
        assert_ne!(ports[1], ports[2]);
        assert_ne!(ports[2], wished);
    }
}
