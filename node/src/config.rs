//! Settings: each a flag, an environment variable and a key of a TOML file; the first of these that is there counts.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::Context as _;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args};
use serde::{Deserialize, Serialize};

use crate::secret::{self, Secret};

/// Settings as one source gives them (`$partial`), and all of them (`$whole`). A table has its settings to itself in the file, while flags
/// and the environment know no tables. In the file it may also have some that are not its own.
macro_rules! settings {
    (
        $partial:ident => $whole:ident;
        $(table $table:ident: $table_partial:ident => $table_whole:ident;)?
        $(also $($also:ident: $also_type:ty),+;)?
        $($(#[doc = $doc:literal])+ $name:ident: $type:ty = $default:expr, $env:literal;)*
    ) => {
        /// Settings as one source gives them: each may be absent.
        #[derive(Args, Clone, Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $partial {
            $($(#[doc = $doc])+ #[arg(long, env = $env, hide_env_values = true)] pub $name: Option<$type>,)*
            $(#[command(flatten)] #[serde(default)] pub $table: $table_partial,)?
            $($(#[arg(skip)] #[doc = "See the setting outside of the table."] pub $also: Option<$also_type>,)+)?
        }

        /// All settings.
        #[derive(Clone, Debug, Serialize)]
        pub struct $whole {
            $($(#[doc = $doc])+ pub $name: $type,)*
            $(pub $table: $table_whole,)?
        }

        impl $whole {
            /// The settings of flags and environment, then of the file, then the defaults.
            #[must_use]
            pub fn resolve(given: $partial, file: $partial) -> Self {
                Self {
                    $($name: given.$name.or(file.$name).unwrap_or_else(|| $default),)*
                    $($table: $table_whole::resolve(given.$table, file.$table),)?
                }
            }

            /// Every setting as a line of TOML, with where it came from.
            pub(in crate::config) fn lines(&self, matches: &ArgMatches, file: &$partial) -> Vec<Line> {
                vec![$(Line {
                    name: stringify!($name),
                    text: format!("{} = {}", stringify!($name), toml_value(&self.$name)),
                    origin: origin(matches, stringify!($name), file.$name.is_some()),
                },)*]
            }
        }
    };
}

mod limits;

pub use self::limits::{InvalidLimit, Limits, PartialLimits};

/// A setting as a line of TOML.
struct Line {
    name: &'static str,
    text: String,
    /// Where it comes from.
    origin: &'static str,
}

settings! {
    Partial => Config;
    table limits: PartialLimits => Limits;
    /// Where people and their browsers come in [default: 127.0.0.1:8080]
    listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 8080)), "ENFILADE_LISTEN";
    /// Where operators come in: /livez, /readyz, /startupz, /metrics and /admin. Not for the internet [default: 127.0.0.1:9090]
    admin_listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 9090)), "ENFILADE_ADMIN_LISTEN";
    /// What /admin asks for, as Authorization: Bearer; @FILE reads it from a file. Without, /admin answers to this machine alone
    /// [default: none]
    admin_token: Secret = Secret::default(), "ENFILADE_ADMIN_TOKEN";
    /// The folder of the database [default: ./data]
    data_dir: PathBuf = PathBuf::from("data"), "ENFILADE_DATA_DIR";
    /// What operators call this node [default: the address of its operators' port]
    node_name: String = String::new(), "ENFILADE_NODE_NAME";
    /// What this node does: edge (people connect to it), host (rooms run on it), or both [default: edge,host]
    roles: Roles = Roles::default(), "ENFILADE_ROLES";
    /// The NATS servers by which nodes talk, as nats://host:port or tls://host:port, separated by commas; @FILE reads them from a file
    /// [default: none, the node is alone]
    nats_url: String = String::new(), "ENFILADE_NATS_URL";
    /// A file with the credentials for NATS: a JWT and its seed, as `nsc` makes it [default: none]
    nats_credentials: PathBuf = PathBuf::new(), "ENFILADE_NATS_CREDENTIALS";
    /// A file with PEM certificates of authorities to trust about NATS, instead of the system's [default: the system's]
    nats_root_certificates: PathBuf = PathBuf::new(), "ENFILADE_NATS_ROOT_CERTIFICATES";
    /// A PEM file with the certificate that this node shows to NATS, for one that asks (`verify`) [default: none]
    nats_client_certificate: PathBuf = PathBuf::new(), "ENFILADE_NATS_CLIENT_CERTIFICATE";
    /// The PEM file with its key [default: none]
    nats_client_key: PathBuf = PathBuf::new(), "ENFILADE_NATS_CLIENT_KEY";
    /// The name of the cluster; clusters of different names can share a NATS [default: enfilade]
    cluster_name: String = "enfilade".to_owned(), "ENFILADE_CLUSTER_NAME";
    /// Where other nodes reach this one's operators' port, as host:port [default: the address of that port]
    advertise_admin: String = String::new(), "ENFILADE_ADVERTISE_ADMIN";
    /// Seconds over which people are told to move to other nodes when this one is drained [default: 20]
    drain_seconds: u64 = 20, "ENFILADE_DRAIN_SECONDS";
    /// The database, as sqlite:PATH or postgres://USER:PASSWORD@HOST/NAME; @FILE reads that from a file [default: enfilade.db in the data folder]
    database_url: String = String::new(), "ENFILADE_DATABASE_URL";
    /// Whether the node brings the database's schema up to date before it serves; if not, it refuses one that is not
    /// (`enfilade migrate up` does it) [default: true]
    migrate_on_start: bool = true, "ENFILADE_MIGRATE_ON_START";
    /// A PEM file with the certificate (and its chain) with which `listen` speaks HTTPS and wss itself. A balancer in front does that cheaper.
    /// It may change while the node runs [default: none]
    tls_certificate: PathBuf = PathBuf::new(), "ENFILADE_TLS_CERTIFICATE";
    /// The PEM file with its key [default: none]
    tls_key: PathBuf = PathBuf::new(), "ENFILADE_TLS_KEY";
    /// The address of the service as people see it, for links [default: taken from each request]
    public_url: String = String::new(), "ENFILADE_PUBLIC_URL";
    /// Other sites whose pages may connect, as https://host, separated by commas [default: none]
    allowed_origins: List = List::default(), "ENFILADE_ALLOWED_ORIGINS";
    /// Proxies whose X-Forwarded-For and X-Forwarded-Proto are believed, as addresses or networks, separated by commas [default: none]
    trusted_proxies: List = List::default(), "ENFILADE_TRUSTED_PROXIES";
    /// Connections that may be open at once [default: 16384]
    max_connections: usize = 16_384, "ENFILADE_MAX_CONNECTIONS";
    /// Seconds, a tenth more or less, after which a connection is asked to move to another node, if there is one and nobody is in the
    /// middle of a stroke, so that new nodes fill; 0 for never [default: 3600]
    connection_age_seconds: u32 = 3_600, "ENFILADE_CONNECTION_AGE_SECONDS";
    /// People who may come in each second, and twice as many at once; others are told when to come back [default: 10000]
    hellos_per_second: u32 = 10_000, "ENFILADE_HELLOS_PER_SECOND";
    /// Hubs, each a core's share of the connections [default: as many as cores]
    hubs: usize = std::thread::available_parallelism().map_or(1, usize::from), "ENFILADE_HUBS";
    /// Seconds after which a room that nobody uses goes to sleep [default: 60]
    room_idle_seconds: u64 = 60, "ENFILADE_ROOM_IDLE_SECONDS";
    /// How many days of history are kept behind a checkpoint for playback, or "forever" [default: forever]
    log_retention_days: Retention = Retention::Forever, "ENFILADE_LOG_RETENTION_DAYS";
    /// Rooms that a person, or the guests of one address, may make per hour [default: 1000]
    rooms_per_hour: u32 = 1_000, "ENFILADE_ROOMS_PER_HOUR";
    /// Of so many ops the way of one is traced through every node that it passes; 0 for none [default: 0]
    trace_one_in: u32 = 0, "ENFILADE_TRACE_ONE_IN";
    /// Traces that clients may begin each second, and twice as many at once, whatever trace_one_in is; 0 for none. Only with
    /// otlp_endpoint [default: 10]
    client_traces_per_second: u32 = 10, "ENFILADE_CLIENT_TRACES_PER_SECOND";
    /// The collector of OpenTelemetry that traces go to by OTLP over HTTP, as http://host:4318 or https://host:4318 [default: none,
    /// they go to the log]
    otlp_endpoint: String = String::new(), "ENFILADE_OTLP_ENDPOINT";
    /// Headers for the collector, as name=value, separated by commas, values percent-encoded; @FILE reads them from a file
    /// [default: none]
    otlp_headers: Secret = Secret::default(), "ENFILADE_OTLP_HEADERS";
    /// What is logged: error, warn, info, debug, trace, or per module as in enfilade_node=debug,info [default: info]
    log: String = "info".to_owned(), "ENFILADE_LOG";
    /// How it is logged: auto (pretty on a terminal, else JSON), pretty or json [default: auto]
    log_format: LogFormat = LogFormat::Auto, "ENFILADE_LOG_FORMAT";
}

impl Config {
    /// # Errors
    /// When the file cannot be read, or has a key or value that is not known; when a limit makes no sense; when the file of a secret
    /// cannot be read.
    pub fn load(given: Partial, file: Option<&Path>) -> anyhow::Result<(Self, Partial)> {
        let mut file: Partial = match file {
            Some(path) => {
                let text =
                    std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
                toml::from_str(&text).with_context(|| format!("understand {}", path.display()))?
            }
            None => Partial::default(),
        };
        file.take_out_of_limits()?;
        let mut config = Self::resolve(given, file.clone());
        config.check_limits()?;
        config.admin_token = config.admin_token.read().context("read the file of admin_token")?;
        config.database_url = secret::read(config.database_url).context("read the file of database_url")?;
        config.otlp_headers = config.otlp_headers.read().context("read the file of otlp_headers")?;
        config.nats_url = secret::read(config.nats_url).context("read the file of nats_url")?;
        if config.database_url.is_empty() {
            config.database_url = format!("sqlite:{}", config.data_dir.join("enfilade.db").display());
        }
        Ok((config, file))
    }

    /// The settings as TOML, with where each came from.
    #[must_use]
    pub fn describe(&self, matches: &ArgMatches, file: &Partial) -> String {
        let of_limits = |line: &Line| limits::ALSO.contains(&line.name);
        let (mut limits, mut others): (Vec<Line>, _) =
            self.lines(matches, file).into_iter().partition(of_limits);
        limits.extend(self.limits.lines(matches, &file.limits));
        others.iter_mut().for_each(|line| line.text = secret::without_passwords(&line.text));
        let width = others.iter().chain(&limits).map(|line| line.text.len()).max().unwrap_or(0);
        let shown = |lines: Vec<Line>| -> String {
            lines.iter().map(|Line { text, origin, .. }| format!("{text:width$}  # {origin}\n")).collect()
        };
        format!("{}\n[limits]\n{}", shown(others), shown(limits))
    }
}

fn toml_value<T: Serialize>(value: &T) -> String {
    toml::Value::try_from(value).map_or_else(|error| format!("# {error}"), |value| value.to_string())
}

fn origin(matches: &ArgMatches, name: &str, in_file: bool) -> &'static str {
    match matches.value_source(name) {
        Some(ValueSource::CommandLine) => "flag",
        Some(ValueSource::EnvVariable) => "environment",
        _ if in_file => "file",
        _ => "default",
    }
}

/// A list: separated by commas in flags and the environment, a list in TOML.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct List(pub Vec<String>);

impl FromStr for List {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()))
    }
}

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles {
    pub edge: bool,
    pub host: bool,
}

impl Default for Roles {
    fn default() -> Self {
        Self { edge: true, host: true }
    }
}

impl FromStr for Roles {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut roles = Self { edge: false, host: false };
        for role in text.split(',').map(str::trim) {
            match role {
                "edge" => roles.edge = true,
                "host" => roles.host = true,
                _ => return Err("edge, host, or edge,host"),
            }
        }
        Ok(roles)
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.edge, self.host) {
            (true, false) => "edge",
            (false, _) => "host",
            (true, true) => "edge,host",
        })
    }
}

impl Serialize for Roles {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Roles {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// How long history is kept behind a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    Forever,
    Days(u32),
}

impl FromStr for Retention {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "forever" => Ok(Self::Forever),
            days => days.parse().map(Self::Days).map_err(|_| "a number of days, or \"forever\""),
        }
    }
}

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forever => f.write_str("forever"),
            Self::Days(days) => days.fmt(f),
        }
    }
}

impl Serialize for Retention {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Forever => serializer.serialize_str("forever"),
            Self::Days(days) => serializer.serialize_u32(*days),
        }
    }
}

impl<'de> Deserialize<'de> for Retention {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Days(u32),
            Text(String),
        }
        match Form::deserialize(deserializer)? {
            Form::Days(days) => Ok(Self::Days(days)),
            Form::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    Auto,
    Pretty,
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partial(toml: &str) -> Partial {
        toml::from_str(toml).unwrap()
    }

    #[test]
    fn a_flag_counts_before_the_file_and_the_file_before_the_default() {
        let given = partial("listen = \"127.0.0.1:1\"");
        let file = partial("listen = \"127.0.0.1:2\"\nroom_idle_seconds = 7\nlog_retention_days = 30");
        let config = Config::resolve(given, file);
        assert_eq!(config.listen.port(), 1);
        assert_eq!(config.room_idle_seconds, 7);
        assert_eq!(config.log_retention_days, Retention::Days(30));
        assert_eq!(config.admin_listen.port(), 9090);
    }

    #[test]
    fn what_is_not_a_setting_is_refused() {
        assert!(toml::from_str::<Partial>("lisen = \"127.0.0.1:1\"").is_err());
        assert!(toml::from_str::<Partial>("log_retention_days = \"soon\"").is_err());
        assert_eq!("forever".parse(), Ok(Retention::Forever));
        assert_eq!("host".parse(), Ok(Roles { edge: false, host: true }));
        assert_eq!("host, edge".parse(), Ok(Roles::default()));
        assert!("".parse::<Roles>().is_err() && "egde".parse::<Roles>().is_err());
        assert_eq!("a, b,,".parse::<List>().unwrap().0, ["a", "b"]);
    }
}
