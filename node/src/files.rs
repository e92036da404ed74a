//! How many files this process may have open, and how many connections that is enough for.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;

/// What is open besides connections at the most: the database, the bus, requests over HTTP.
const OTHERS: u64 = 1_024;
/// Descriptors of a connection, and of one that this process encrypts itself: its socket, and the pair of sockets behind it.
const PLAIN: u64 = 1;
const ENCRYPTED: u64 = 3;

/// Takes all the files that the machine grants, for a service manager or a container runtime may begin with 1,024 of them, and
/// lets in no more people than they are enough for: those above it would hang before the door instead of being sent elsewhere.
pub(crate) fn make_room(config: Config) -> Config {
    let limit = raise();
    let each = if config.tls_certificate.as_os_str().is_empty() { PLAIN } else { ENCRYPTED };
    let max_connections = config.max_connections.min(enough_for(limit, each));
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

fn raise() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum.unwrap_or(u64::MAX),
        Err(error) => {
            tracing::warn!(%error, "the limit of open files cannot be raised");
            current.unwrap_or(u64::MAX)
        }
    }
}

/// So many connections that need `each` descriptors; where there are few, most of them are for connections all the same.
fn enough_for(limit: u64, each: u64) -> usize {
    let others = OTHERS.min(limit / 4);
    usize::try_from((limit - others) / each).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_everything_else() {
        assert_eq!(enough_for(20_000, PLAIN), 18_976);
        assert_eq!(enough_for(20_000, ENCRYPTED), 6_325);
        assert_eq!(enough_for(1_024, PLAIN), 768);
        assert_eq!(enough_for(1_024, ENCRYPTED), 256);
        assert_eq!(enough_for(0, PLAIN), 0);
        assert_eq!(enough_for(u64::MAX, PLAIN), usize::try_from(u64::MAX - OTHERS).unwrap_or(usize::MAX));
    }
}
