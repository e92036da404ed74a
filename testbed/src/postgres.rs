//! A PostgreSQL server of one's own: in a temporary folder, on a free port, gone with its handle.
//!
//! Tests that only need a database share one server a process, [`Postgres::shared`], and take a database each. Whoever stops
//! or restarts a server starts one, [`Postgres::start`]. Whoever wants to find the data again gives it a home,
//! [`Postgres::start_in`].
//!
//! The server must not outlive the tests, however they end. So a small shell stands by whose standard input is a pipe from
//! here: when that closes (and it does even if this process is killed), it ends the server and removes the folder.

mod account;

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use self::account::Account;
use crate::enclosure::Inside;

/// How long a server may take to come up or to go down: machines that test are loaded.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// Another process may take the port that was found free.
const ATTEMPTS: u32 = 5;
/// The superuser of the server, and of nothing else.
const USER: &str = "enfilade";

/// How a server is started.
#[derive(Clone, Copy, Debug)]
pub struct PostgresOptions {
    /// Whether a commit waits for the disk. Without, a server that is killed still loses nothing, only a machine does.
    pub fsync: bool,
    pub max_connections: u32,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self { fsync: true, max_connections: 200 }
    }
}

/// Where a server lives whose data stay.
#[derive(Clone, Debug)]
pub struct Home {
    pub folder: PathBuf,
    pub log: PathBuf,
    pub port: u16,
    /// Where it runs.
    pub inside: Inside,
}

/// A running server.
#[derive(Debug)]
pub struct Postgres {
    options: PostgresOptions,
    programs: PathBuf,
    inside: Inside,
    folder: PathBuf,
    log: PathBuf,
    port: u16,
    /// None while it is stopped.
    server: Mutex<Option<Child>>,
    databases: AtomicU32,
    guard: Mutex<Child>,
}

/// How a server ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Connections are closed, everything is written.
    Fast,
    /// As if the power failed: nothing is tidied up, the next start recovers.
    Immediate,
}

impl Postgres {
    /// Starts a server with one empty database.
    ///
    /// # Errors
    /// When PostgreSQL is not installed, or does not start.
    pub fn start(options: PostgresOptions) -> io::Result<Self> {
        let programs = programs()?;
        let folder = tempfile::Builder::new().prefix("enfilade-postgres-").tempdir()?;
        let account = Account::for_server(folder.path())?;
        let inside = Inside::default();
        let guard = guard(&inside, folder.path(), Afterwards::Remove)?;
        // From here on the guard removes it.
        let folder = folder.keep();
        initialise(&programs, &inside, &folder, account)?;
        let mut server = Self {
            options,
            programs,
            inside,
            log: folder.join("log"),
            folder,
            port: 0,
            server: Mutex::new(None),
            databases: AtomicU32::new(0),
            guard: Mutex::new(guard),
        };
        let mut attempt = 1;
        loop {
            server.port = free_port()?;
            match server.run() {
                Ok(()) => return Ok(server),
                Err(error) if attempt == ATTEMPTS => return Err(error),
                Err(_) => attempt += 1,
            }
        }
    }

    /// Starts the server that lives there, or a new one with one empty database. Its data stay when it is dropped.
    ///
    /// # Errors
    /// When PostgreSQL is not installed, or does not start.
    pub fn start_in(home: Home, options: PostgresOptions) -> io::Result<Self> {
        let programs = programs()?;
        let Home { folder, log, port, inside } = home;
        let folder = std::path::absolute(folder)?;
        let outside = inside.outside(&folder);
        fs::create_dir_all(&outside)?;
        let account = Account::for_server(&outside)?;
        if !outside.join("data/PG_VERSION").exists() {
            initialise(&programs, &inside, &folder, account)?;
        }
        let guard = Mutex::new(guard(&inside, &folder, Afterwards::Keep)?);
        let server = Self {
            options,
            programs,
            inside,
            folder,
            log,
            port,
            server: Mutex::new(None),
            databases: AtomicU32::new(0),
            guard,
        };
        server.run()?;
        Ok(server)
    }

    /// The server that all tests of this process share. It does not wait for the disk.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub fn shared() -> io::Result<&'static Self> {
        static SHARED: OnceLock<io::Result<Postgres>> = OnceLock::new();
        let shared = SHARED
            .get_or_init(|| Self::start(PostgresOptions { fsync: false, ..PostgresOptions::default() }));
        shared.as_ref().map_err(|error| io::Error::new(error.kind(), error.to_string()))
    }

    /// The URL of the database that is there from the beginning.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// Makes the server speak TLS with a certificate, which takes a restart.
    ///
    /// # Errors
    /// When it does not come back.
    pub fn encrypt(&self, certificate: &str, key: &str) -> io::Result<()> {
        self.stop(Shutdown::Fast)?;
        let (data, account) = (self.folder.join("data"), Account::for_server(&self.folder)?);
        for (name, text) in [("server.crt", certificate), ("server.key", key)] {
            let path = data.join(name);
            fs::write(&path, text)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
            account.give(&path)?;
        }
        let mut settings = File::options().append(true).open(data.join("postgresql.conf"))?;
        settings.write_all(b"\nssl = on\n")?;
        self.resume()
    }

    /// Creates an empty database and returns its URL.
    ///
    /// # Errors
    /// When the server does not do it.
    pub fn create_database(&self) -> io::Result<String> {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let port = self.port.to_string();
        succeed(
            Command::new(self.programs.join("createdb"))
                .args(["--host", "127.0.0.1", "--port", &port, "--username", USER, "--no-password", &name])
                .stdin(Stdio::null()),
        )?;
        Ok(self.url_of(&name))
    }

    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process that all others of the server come from; None while it is stopped.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.server().as_ref().map(Child::id)
    }

    /// Ends the server and waits until it is gone. Its data stay.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop(&self, how: Shutdown) -> io::Result<()> {
        let Some(mut server) = self.server().take() else { return Ok(()) };
        let signal = if how == Shutdown::Fast { "-INT" } else { "-QUIT" };
        succeed(Command::new("kill").args([signal, &server.id().to_string()]))?;
        wait_until("the server is still there", || Ok(server.try_wait()?.is_some()))?;
        self.forget_pid()
    }

    /// Whether the server ended by itself. Then it can be started as one that was stopped.
    ///
    /// # Errors
    /// When what it left behind cannot be removed.
    pub fn has_ended(&self) -> io::Result<bool> {
        let mut slot = self.server();
        let ended =
            slot.as_mut().is_some_and(|server| server.try_wait().is_ok_and(|status| status.is_some()));
        if ended {
            *slot = None;
            self.forget_pid()?;
        }
        Ok(ended)
    }

    /// Starts the stopped server on the port it had; returns when it takes connections.
    ///
    /// # Errors
    /// When it does not start.
    pub fn resume(&self) -> io::Result<()> {
        self.run()
    }

    /// Ends the server as a power failure would, and starts it again.
    ///
    /// # Errors
    /// When it does not end or start.
    pub fn restart_immediate(&self) -> io::Result<()> {
        self.stop(Shutdown::Immediate)?;
        self.resume()
    }

    fn url_of(&self, database: &str) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{database}", self.port)
    }

    fn server(&self) -> MutexGuard<'_, Option<Child>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pid_file(&self) -> PathBuf {
        self.inside.outside(&self.folder).join("data/postmaster.pid")
    }

    /// Left behind by a server that ended at once; the number may be another's soon.
    fn forget_pid(&self) -> io::Result<()> {
        match fs::remove_file(self.pid_file()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn run(&self) -> io::Result<()> {
        let mut slot = self.server();
        if slot.is_some() {
            return Ok(());
        }
        let log = File::options().create(true).append(true).open(&self.log)?;
        let fsync = if self.options.fsync { "fsync=on" } else { "fsync=off" };
        let server = Account::for_server(&self.inside.outside(&self.folder))?
            .command(&self.inside, self.programs.join("postgres"))
            .arg("-D")
            .arg(self.folder.join("data"))
            .args(["-c", fsync, "-c", "listen_addresses=127.0.0.1", "-c", "shared_buffers=64MB"])
            .args(["-c", &format!("port={}", self.port)])
            .args(["-c", &format!("max_connections={}", self.options.max_connections)])
            .args(["-c", &format!("unix_socket_directories={}", self.folder.display())])
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // A Ctrl-C at the terminal is for the tests; the guard ends the server.
            .process_group(0)
            .spawn()?;
        let server = slot.insert(server);
        let ready = wait_until("the server does not take connections", || {
            if let Some(status) = server.try_wait()? {
                return Err(io::Error::other(format!("the server ended with {status}")));
            }
            Ok(is_ready(&self.pid_file(), server.id()))
        });
        ready.map_err(|error| {
            if let Some(mut failed) = slot.take() {
                // It may have ended by itself; what matters is that it is not there.
                let _ = failed.kill();
                let _ = failed.wait();
            }
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            io::Error::other(format!("{error}\n{log}"))
        })
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let mut guard = self.guard.lock().unwrap_or_else(PoisonError::into_inner);
        drop(guard.stdin.take());
        let _ = guard.wait();
        if let Some(mut server) = self.server().take() {
            let _ = server.wait();
        }
    }
}

/// What becomes of the folder when the server is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Afterwards {
    Keep,
    Remove,
}

/// Waits for the end of its standard input; then ends the server of the folder, and may remove that.
fn guard(inside: &Inside, folder: &Path, afterwards: Afterwards) -> io::Result<Child> {
    const SCRIPT: &str = r#"
        cat > /dev/null
        pid=$(head -n 1 "$0/data/postmaster.pid" 2> /dev/null)
        if [ -n "$pid" ]; then
            kill -QUIT "$pid" 2> /dev/null
            while kill -0 "$pid" 2> /dev/null && [ -e "$0/data/postmaster.pid" ]; do sleep 0.05; done
        fi
        [ "$1" = keep ] || rm -rf "$0"
    "#;
    inside
        .command("sh")
        .args(["-c", SCRIPT])
        .arg(folder)
        .arg(if afterwards == Afterwards::Keep { "keep" } else { "remove" })
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
}

fn initialise(programs: &Path, inside: &Inside, folder: &Path, account: Account) -> io::Result<()> {
    succeed(
        account
            .command(inside, programs.join("initdb"))
            .args(["--username", USER, "--auth", "trust", "--encoding", "UTF8", "--no-locale", "--no-sync"])
            .arg("--pgdata")
            .arg(folder.join("data"))
            .current_dir("/")
            .stdin(Stdio::null()),
    )
}

/// One of PostgreSQL's programs, if it is installed.
#[must_use]
pub fn postgres_program(name: &str) -> Option<PathBuf> {
    programs().ok().map(|folder| folder.join(name))
}

/// The folder with PostgreSQL's programs: that of the `postgres` on the path, or the newest of Debian's.
fn programs() -> io::Result<PathBuf> {
    let on_path = std::env::var_os("PATH")
        .into_iter()
        .flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>())
        // A link leads to where the others are.
        .find_map(|folder| folder.join("postgres").canonicalize().ok()?.parent().map(Path::to_owned));
    let is_whole = |folder: &PathBuf| ["initdb", "createdb"].iter().all(|name| folder.join(name).exists());
    on_path.filter(is_whole).or_else(|| newest().filter(is_whole)).ok_or_else(|| {
        let text = "PostgreSQL is missing: install the package `postgresql` (version 14 or later)";
        io::Error::new(io::ErrorKind::NotFound, text)
    })
}

fn newest() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?.filter_map(|entry| {
        let path = entry.ok()?.path();
        let version: u32 = path.file_name()?.to_str()?.parse().ok()?;
        Some((version, path.join("bin")))
    });
    versions.max().map(|(_, programs)| programs)
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// The server says so in the eighth line of its file; the first tells whose it is, for one that crashed leaves it behind.
fn is_ready(pid_file: &Path, server: u32) -> bool {
    let text = fs::read_to_string(pid_file).unwrap_or_default();
    text.lines().next() == Some(&server.to_string())
        && text.lines().nth(7).is_some_and(|status| status.trim() == "ready")
}

fn wait_until(otherwise: &str, mut is_so: impl FnMut() -> io::Result<bool>) -> io::Result<()> {
    let end = Instant::now() + PATIENCE;
    while !is_so()? {
        if Instant::now() > end {
            return Err(io::Error::new(io::ErrorKind::TimedOut, otherwise));
        }
        thread::sleep(LOOK_AGAIN);
    }
    Ok(())
}

fn succeed(command: &mut Command) -> io::Result<()> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    let program = command.get_program().to_string_lossy().into_owned();
    Err(io::Error::other(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "what a test did not expect ends it")]

    use super::*;

    #[test]
    fn a_server_comes_goes_and_leaves_nothing_behind() {
        let server = Postgres::start(PostgresOptions { fsync: false, ..PostgresOptions::default() }).unwrap();
        let pid = server.pid().unwrap();
        assert_ne!(server.create_database().unwrap(), server.create_database().unwrap());
        server.restart_immediate().unwrap();
        assert_ne!(server.pid().unwrap(), pid);
        server.create_database().unwrap();
        server.stop(Shutdown::Fast).unwrap();
        assert_eq!(server.pid(), None);
        assert!(server.create_database().is_err());
        server.resume().unwrap();
        let (folder, pid) = (server.folder.clone(), server.pid().unwrap());
        drop(server);
        assert!(!folder.exists());
        assert!(!Command::new("kill").args(["-0", &pid.to_string()]).output().unwrap().status.success());
    }

    #[test]
    fn a_server_with_a_home_finds_its_data_again() {
        let folder = tempfile::Builder::new().prefix("enfilade-postgres-").tempdir().unwrap();
        let home = Home {
            folder: folder.path().join("home"),
            log: folder.path().join("log"),
            port: free_port().unwrap(),
            inside: Inside::default(),
        };
        fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let options = PostgresOptions { fsync: false, ..PostgresOptions::default() };
        let server = Postgres::start_in(home.clone(), options).unwrap();
        server.create_database().unwrap();
        drop(server);
        let server = Postgres::start_in(home, options).unwrap();
        let refused = server.create_database().unwrap_err().to_string();
        assert!(refused.contains("already exists"), "{refused}");
    }
}
