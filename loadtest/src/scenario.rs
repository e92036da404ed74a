//! A scenario: what the swarm does to a server. Each setting is a flag of `run` and a key of a TOML file; a flag counts
//! before the file, and the file before what is usual for the kind.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use enfilade_proto::Codec;
use serde::{Deserialize, Serialize};

use crate::swarm::plan::MAX_ROOMS;
use crate::swarm::wire::{Arrivals, Speech};
use crate::threshold::Threshold;
use crate::time::duration;

/// What is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One room: few speak, all listen.
    Fanout,
    /// Many small rooms in which everybody speaks.
    Rooms,
    /// Nobody says anything: what a connection costs.
    Idle,
    /// All vanish and come back at once.
    Storm,
    /// One room: very few draw, very many only watch.
    Audience,
    /// People come and go all the time.
    Churn,
    /// Some stop reading for a while: what the others notice.
    Slow,
}

impl Kind {
    pub const ALL: [Self; 7] =
        [Self::Fanout, Self::Rooms, Self::Idle, Self::Storm, Self::Audience, Self::Churn, Self::Slow];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fanout => "fanout",
            Self::Rooms => "rooms",
            Self::Idle => "idle",
            Self::Storm => "storm",
            Self::Audience => "audience",
            Self::Churn => "churn",
            Self::Slow => "slow",
        }
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        known.ok_or_else(|| {
            format!("{text:?} is no kind of scenario; there are {}", Self::ALL.map(Self::as_str).join(", "))
        })
    }
}

/// The codec that connections speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum CodecName {
    #[default]
    Msgpack,
    Json,
}

impl From<CodecName> for Codec {
    fn from(name: CodecName) -> Self {
        match name {
            CodecName::Msgpack => Self::MessagePack,
            CodecName::Json => Self::Json,
        }
    }
}

/// A time as people write it: `250ms`, `10s`, `2m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        duration(text).map(Self)
    }
}

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        if ms.is_multiple_of(1000) { write!(f, "{}s", ms / 1000) } else { write!(f, "{ms}ms") }
    }
}

macro_rules! settings {
    ($($(#[doc = $doc:literal])+ $(#[arg($($arg:tt)+)])? $name:ident: $type:ty,)*) => {
        /// The settings of one source: each may be absent.
        #[derive(Args, Clone, Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct Settings {
            /// What is tried; in a file only.
            #[arg(skip)]
            pub kind: Option<Kind>,
            /// What has to be reached; in a file only, beside those of the command line.
            #[arg(skip)]
            pub thresholds: Option<Vec<Threshold>>,
            /// What the run is called [default: its kind]
            #[arg(long)]
            pub name: Option<String>,
            $($(#[doc = $doc])+ #[arg(long, $($($arg)+)?)] pub $name: Option<$type>,)*
        }

        impl Settings {
            /// These, and those of `other` that are absent here.
            #[must_use]
            pub fn or(self, other: Self) -> Self {
                Self {
                    kind: self.kind.or(other.kind),
                    thresholds: self.thresholds.or(other.thresholds),
                    name: self.name.or(other.name),
                    $($name: self.$name.or(other.$name),)*
                }
            }
        }
    };
}

settings! {
    /// Connections in each room [default: 1000; 5000 in `audience`; 10 in `rooms`, `idle`, `storm` and `churn`]
    #[arg(value_name = "N", help_heading = "Load")]
    members: u32,
    /// Rooms [default: 1; 100 in `rooms`; in `idle`, `storm` and `churn` as many as make 1000 connections]
    #[arg(value_name = "N", help_heading = "Load")]
    rooms: u32,
    /// Members of each room who speak [default: as many as the rate needs, 10 at least; everybody in `rooms`]
    #[arg(value_name = "N", help_heading = "Load")]
    speakers: u32,
    /// Messages a second, all speakers of all rooms together [default: 50; in `rooms` half of one for each connection]
    #[arg(value_name = "N", help_heading = "Load")]
    rate: f64,
    /// What speakers send: signals or ops [default: signals]
    #[arg(value_name = "KIND", value_parser = speech, help_heading = "Load")]
    speech: Speech,
    /// How messages follow on each other: constant or poisson [default: constant]
    #[arg(value_name = "KIND", value_parser = arrivals, help_heading = "Load")]
    arrivals: Arrivals,
    /// Bytes of what a message says [default: 100]
    #[arg(value_name = "BYTES", help_heading = "Load")]
    payload: u32,
    /// The codec that is spoken [default: msgpack]
    #[arg(value_enum, help_heading = "Load")]
    codec: CodecName,
    /// Those who do not speak come as audience: counted, not listed [default: only in `audience`]
    #[arg(num_args = 0..=1, default_missing_value = "true", help_heading = "Load")]
    audience: bool,
    /// Signed-in people instead of guests: a file that `people` wrote. Each connection is somebody else as far as they go
    #[arg(value_name = "FILE", help_heading = "Load")]
    people: PathBuf,
    /// How many leave and come back every second (`churn`) [default: 100]
    #[arg(value_name = "N", help_heading = "Load")]
    churn: f64,
    /// The share of the members who stop reading (`slow`) [default: 0.05]
    #[arg(value_name = "SHARE", help_heading = "Load")]
    slow_share: f64,
    /// Come back with the position where one was, and be told only what was missed (`storm`)
    #[arg(num_args = 0..=1, default_missing_value = "true", help_heading = "Load")]
    resume: bool,
    /// Seed of everything that is left to chance [default: 1]
    #[arg(value_name = "N", help_heading = "Load")]
    seed: u64,
    /// Over how long the connections come in [default: 1 s for every 5,000]
    #[arg(value_name = "TIME", help_heading = "Times")]
    ramp: Span,
    /// How long it goes on before it is measured [default: 2s]
    #[arg(value_name = "TIME", help_heading = "Times")]
    warm_up: Span,
    /// How long it is measured; in `slow` so long before some stop reading, and so long after [default: 10s]
    #[arg(value_name = "TIME", help_heading = "Times")]
    measure: Span,
    /// How long everybody has to hear the last messages [default: 5s]
    #[arg(value_name = "TIME", help_heading = "Times")]
    drain: Span,
    /// How long connections may take to come in, beyond the ramp [default: 30s]
    #[arg(value_name = "TIME", help_heading = "Times")]
    patience: Span,
    /// Connections that are on their way at once [default: 1000; all in a `storm`]
    #[arg(value_name = "N", help_heading = "Load")]
    at_once: usize,
    /// The share of the messages that must arrive [default: 1]
    #[arg(value_name = "SHARE", help_heading = "What must hold")]
    min_delivered: f64,
    /// The 99th percentile of planned to heard, at the most
    #[arg(value_name = "TIME", help_heading = "What must hold")]
    max_p99: Span,
    /// How late the generator may be, 99th percentile, before the run is invalid [default: 20ms]
    #[arg(value_name = "TIME", help_heading = "What must hold")]
    max_lag: Span,
    /// The generator may be the bottleneck: the figures are then lower bounds
    #[arg(num_args = 0..=1, default_missing_value = "true", help_heading = "What must hold")]
    may_saturate: bool,
    /// Worker processes [default: one for each 15,000 connections]
    #[arg(value_name = "N", help_heading = "Generator")]
    workers: u32,
}

fn speech(text: &str) -> Result<Speech, String> {
    match text {
        "signals" => Ok(Speech::Signals),
        "ops" => Ok(Speech::Ops),
        _ => Err("signals or ops".into()),
    }
}

fn arrivals(text: &str) -> Result<Arrivals, String> {
    match text {
        "constant" => Ok(Arrivals::Constant),
        "poisson" => Ok(Arrivals::Poisson),
        _ => Err("constant or poisson".into()),
    }
}

/// All settings.
#[derive(Clone, Debug, Serialize)]
pub struct Scenario {
    pub kind: Kind,
    pub name: String,
    pub members: u32,
    pub rooms: u32,
    pub speakers: u32,
    pub rate: f64,
    pub speech: Speech,
    pub arrivals: Arrivals,
    pub payload: usize,
    pub codec: CodecName,
    pub audience: bool,
    pub people: Option<PathBuf>,
    pub churn: f64,
    pub slow_share: f64,
    pub resume: bool,
    pub seed: u64,
    pub ramp: Span,
    pub warm_up: Span,
    pub measure: Span,
    pub drain: Span,
    pub patience: Span,
    pub at_once: usize,
    pub min_delivered: f64,
    pub max_p99: Option<Span>,
    pub max_lag: Span,
    pub may_saturate: bool,
    pub workers: u32,
    #[serde(skip)]
    pub thresholds: Vec<Threshold>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidScenario {
    #[error("a scenario needs its kind")]
    Kind,
    #[error("{0} is out of bounds: {1}")]
    Bounds(&'static str, String),
}

/// Messages a second that one speaker is given: servers take 100.
const RATE_PER_SPEAKER: f64 = 50.0;
/// Connections that one worker is given.
const PER_WORKER: u64 = 15_000;
/// What all members together may remember of all speakers: four bytes for each pair.
const PAIRS: u64 = 500_000_000;

impl Scenario {
    /// # Errors
    /// When a setting is missing or out of bounds.
    pub fn new(settings: Settings) -> Result<Self, InvalidScenario> {
        let kind = settings.kind.ok_or(InvalidScenario::Kind)?;
        let members = settings.members.unwrap_or(match kind {
            Kind::Fanout | Kind::Slow => 1_000,
            Kind::Audience => 5_000,
            Kind::Rooms | Kind::Idle | Kind::Storm | Kind::Churn => 10,
        });
        let rooms = settings.rooms.unwrap_or(match kind {
            Kind::Fanout | Kind::Audience | Kind::Slow => 1,
            Kind::Rooms => 100,
            Kind::Idle | Kind::Storm | Kind::Churn => (1_000 / members.max(1)).max(1),
        });
        let connections = u64::from(members) * u64::from(rooms);
        let rate = settings.rate.unwrap_or(match kind {
            Kind::Fanout | Kind::Audience | Kind::Slow => 50.0,
            Kind::Rooms => connections as f64 / 2.0,
            Kind::Idle | Kind::Storm | Kind::Churn => 0.0,
        });
        let speakers = settings.speakers.unwrap_or(match kind {
            _ if rate == 0.0 => 0,
            Kind::Rooms => members,
            Kind::Audience => members.min(5),
            _ => ((rate / f64::from(rooms.max(1)) / RATE_PER_SPEAKER).ceil() as u32).max(10).min(members),
        });
        let span = |given: Option<Span>, usual: u64| given.unwrap_or(Span(Duration::from_millis(usual)));
        let scenario = Self {
            kind,
            name: settings.name.unwrap_or_else(|| kind.as_str().to_owned()),
            members,
            rooms,
            speakers,
            rate,
            speech: settings.speech.unwrap_or(Speech::Signals),
            arrivals: settings.arrivals.unwrap_or_default(),
            payload: settings.payload.unwrap_or(100) as usize,
            codec: settings.codec.unwrap_or_default(),
            audience: settings.audience.unwrap_or(kind == Kind::Audience),
            people: settings.people,
            churn: settings.churn.unwrap_or(100.0),
            slow_share: settings.slow_share.unwrap_or(0.05),
            resume: settings.resume.unwrap_or(false),
            seed: settings.seed.unwrap_or(1),
            ramp: span(settings.ramp, connections / 5),
            warm_up: span(settings.warm_up, 2_000),
            measure: span(settings.measure, 10_000),
            drain: span(settings.drain, 5_000),
            patience: span(settings.patience, 30_000),
            at_once: settings.at_once.unwrap_or(if kind == Kind::Storm { usize::MAX } else { 1_000 }),
            min_delivered: settings.min_delivered.unwrap_or(1.0),
            max_p99: settings.max_p99,
            max_lag: span(settings.max_lag, 20),
            may_saturate: settings.may_saturate.unwrap_or(false),
            workers: settings.workers.unwrap_or(connections.div_ceil(PER_WORKER).max(1) as u32),
            thresholds: settings.thresholds.unwrap_or_default(),
        };
        scenario.check()?;
        Ok(scenario)
    }

    fn check(&self) -> Result<(), InvalidScenario> {
        let bounds = |name, holds: bool, what: String| {
            if holds { Ok(()) } else { Err(InvalidScenario::Bounds(name, what)) }
        };
        bounds("members", (1..=1_000_000).contains(&self.members), "1 to 1,000,000".into())?;
        bounds("rooms", (1..MAX_ROOMS as u32).contains(&self.rooms), format!("1 to {MAX_ROOMS}"))?;
        bounds("speakers", self.speakers <= self.members, format!("at most {} members", self.members))?;
        bounds("rate", (0.0..=1e6).contains(&self.rate), "0 to 1,000,000".into())?;
        bounds("rate", self.rate == 0.0 || self.speakers > 0, "nobody speaks".into())?;
        bounds("payload", (32..=3_900).contains(&self.payload), "32 to 3,900 bytes".into())?;
        bounds("min_delivered", (0.0..=1.0).contains(&self.min_delivered), "0 to 1".into())?;
        bounds("churn", self.churn > 0.0 && self.churn <= 1e6, "above 0, to 1,000,000".into())?;
        bounds("slow_share", (0.0..1.0).contains(&self.slow_share), "0 to 1".into())?;
        bounds("at_once", self.at_once > 0, "at least 1".into())?;
        bounds("workers", (1..=64).contains(&self.workers), "1 to 64".into())?;
        let pairs = self.connections() * u64::from(self.speakers);
        bounds("speakers", pairs <= PAIRS, "so many members cannot remember so many speakers".into())
    }

    /// The same scenario with another rate, and as many speakers as that needs if nobody said how many.
    ///
    /// # Errors
    /// When that is out of bounds.
    pub fn at_rate(settings: &Settings, rate: f64) -> Result<Self, InvalidScenario> {
        Self::new(Settings { rate: Some(rate), ..settings.clone() })
    }

    /// The same scenario with another number of members.
    ///
    /// # Errors
    /// When that is out of bounds.
    pub fn with_members(settings: &Settings, members: u32) -> Result<Self, InvalidScenario> {
        Self::new(Settings { members: Some(members), ..settings.clone() })
    }

    #[must_use]
    pub fn connections(&self) -> u64 {
        u64::from(self.members) * u64::from(self.rooms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(toml: &str) -> Settings {
        toml::from_str(toml).unwrap()
    }

    #[test]
    fn what_is_not_said_is_what_is_usual() {
        let fanout = Scenario::new(settings("kind = \"fanout\"\nrate = 11000.0")).unwrap();
        assert_eq!((fanout.members, fanout.rooms, fanout.speakers, fanout.workers), (1_000, 1, 220, 1));
        let rooms = Scenario::new(settings("kind = \"rooms\"\nrooms = 1000")).unwrap();
        assert_eq!((rooms.members, rooms.speakers, rooms.rate), (10, 10, 5_000.0));
        let idle = Scenario::new(settings("kind = \"idle\"\nrooms = 4000")).unwrap();
        assert_eq!((idle.speakers, idle.workers, idle.connections()), (0, 3, 40_000));
    }

    #[test]
    fn a_flag_counts_before_the_file() {
        let flags = Settings { rate: Some(7.0), ..Settings::default() };
        let both = flags.or(settings("kind = \"fanout\"\nrate = 9.0\nmeasure = \"250ms\""));
        let scenario = Scenario::new(both).unwrap();
        assert_eq!((scenario.rate, scenario.measure), (7.0, Span(Duration::from_millis(250))));
    }

    #[test]
    fn the_samples_are_scenarios_of_every_kind() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");
        let mut kinds = Vec::new();
        for file in std::fs::read_dir(folder).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            kinds.push(Scenario::new(settings(&text)).unwrap().kind);
        }
        for kind in Kind::ALL {
            assert!(kinds.contains(&kind), "{kind:?}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for wrong in [
            "members = 0",
            "speakers = 11\nmembers = 10",
            "payload = 5000",
            "min_delivered = 1.5",
            "rate = -1.0",
        ] {
            let toml = format!("kind = \"fanout\"\n{wrong}");
            assert!(matches!(Scenario::new(settings(&toml)), Err(InvalidScenario::Bounds(..))), "{wrong}");
        }
        assert_eq!(Scenario::new(Settings::default()).unwrap_err(), InvalidScenario::Kind);
        for wrong in ["kind = \"moon\"", "member = 3", "measure = \"soon\""] {
            assert!(toml::from_str::<Settings>(wrong).is_err(), "{wrong}");
        }
    }
}
