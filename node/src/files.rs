//! How many files this process may have open, and how many connections that is enough for.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;

/// What is open besides what people opened: the database, the bus, the operators' port.
const OTHERS: u64 = 1_024;
/// Connections that speak HTTP at the same time, or have not spoken yet, at the most.
const REQUESTS: u64 = 4_096;
/// Descriptors of a connection, and of one that this process encrypts itself: its socket, and the pair of sockets behind it.
const PLAIN: u64 = 1;
const ENCRYPTED: u64 = 3;

/// Takes all the files that the machine grants, for a service manager or a container runtime may begin with 1,024 of them, and
/// lets in no more people than they are enough for: those above it would hang before the door instead of being sent elsewhere.
pub(crate) fn make_room(config: Config) -> Config {
    raise();
    let limit = limit();
    let each = if config.tls_certificate.as_os_str().is_empty() { PLAIN } else { ENCRYPTED };
    let max_connections = config.max_connections.min(size(people(limit, each)));
    if max_connections < config.max_connections {
        tracing::warn!(
            open_files = limit,
            wanted = config.max_connections,
            max_connections,
            "fewer connections fit than max_connections says: raise the limit of open files (ulimit -Hn, LimitNOFILE)"
        );
    }
    Config { max_connections, ..config }
}

/// How many connections may speak HTTP at the same time, or have not spoken yet. WebSockets do not count.
pub(crate) fn requests() -> usize {
    size(requests_of(limit()))
}

fn raise() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
}

fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Where there are few files, most of them are for people all the same.
fn requests_of(limit: u64) -> u64 {
    REQUESTS.min(limit / 8)
}

/// So many connections of people, each with so many descriptors.
fn people(limit: u64, each: u64) -> u64 {
    let others = OTHERS.min(limit / 4);
    ((limit - others) / each).saturating_sub(requests_of(limit))
}

fn size(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_everything_else() {
        assert_eq!((people(20_000, PLAIN), requests_of(20_000)), (16_476, 2_500));
        assert_eq!(people(20_000, ENCRYPTED), 3_825);
        assert_eq!((people(1_024, PLAIN), requests_of(1_024)), (640, 128));
        assert_eq!(people(1_024, ENCRYPTED), 128);
        assert_eq!(people(0, PLAIN), 0);
        assert_eq!(people(u64::MAX, PLAIN), u64::MAX - OTHERS - REQUESTS);
        for limit in [100, 1_000, 10_000, 100_000, 1_000_000] {
            for each in [PLAIN, ENCRYPTED] {
                let all = (people(limit, each) + requests_of(limit)) * each + OTHERS.min(limit / 4);
                assert!(all <= limit, "{all} of {limit}");
            }
        }
    }
}
