//! What the one who leads a run and its workers tell each other: JSON, a line each, over the worker's stdin and stdout.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use enfilade_proto::Codec;
use serde::{Deserialize, Serialize};

use super::plan::Plan;
use super::spread::Spread;
use super::tally::Tally;
use super::times::Encoded;
use crate::clock::Micros;
use crate::scenario::CodecName;

/// What a worker is for; the first line it reads. All times are of the machine's monotonic clock.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    pub plan: Plan,
    pub worker: u32,
    pub workers: u32,
    /// Where the nodes are; connections are spread over them.
    pub servers: Vec<SocketAddr>,
    /// As the `Host` header has it.
    pub host: String,
    pub path: String,
    /// The address to connect from, where one alone has too few ports.
    pub source: Option<Ipv4Addr>,
    pub codec: CodecName,
    pub speech: Speech,
    /// Bytes of a message's body.
    pub payload: usize,
    /// Come back where one was, instead of anew.
    pub resume: bool,
    /// Access tokens of people, one for each connection, over and over; guests come if there are none.
    pub tokens: Vec<String>,
    /// Those who do not speak come as audience.
    pub audience: bool,
    pub seed: u64,
    /// The core to run on.
    pub cpu: Option<usize>,
}

impl Job {
    #[must_use]
    pub fn codec(&self) -> Codec {
        self.codec.into()
    }
}

/// What speakers send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Speech {
    Signals,
    Ops,
}

/// How the times between messages are spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrivals {
    /// All alike.
    #[default]
    Constant,
    /// As of many who know nothing of each other.
    Poisson,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// Everybody who is not there comes in, evenly over a time, with at most so many on the way at once.
    Gather { from: Micros, over: Micros, at_once: usize },
    /// Speakers send, all together at `rate` a second. What is planned from `measured` on counts.
    Speak { from: Micros, measured: Micros, until: Micros, rate: f64, arrivals: Arrivals },
    /// Speakers stop before their time.
    Hush,
    /// A share of those who do not speak stop reading for a while. They are not measured, before and after either.
    Deafen { share: f64, from: Micros, until: Micros },
    /// So often a second somebody who does not speak leaves and comes back.
    Churn { from: Micros, until: Micros, rate: f64 },
    /// Everybody's connection ends at once; with `reset` without a goodbye.
    Vanish { at: Micros, reset: bool },
    /// Nothing more comes: wait until everybody has heard what each speaker sent, and tell the result.
    Finish { sent: Vec<u32>, until: Micros },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The job was understood.
    Ready {
        connections: usize,
    },
    Progress(Progress),
    /// All connections of this worker are in their rooms.
    Gathered {
        at: Micros,
    },
    /// All that was to be said has been: how much each speaker sent, by number.
    Spoken {
        sent: Vec<(u32, u32)>,
    },
    /// `deaf` is what those noted who stopped reading for a while.
    Result {
        tally: Tally,
        deaf: Tally,
        complete_at: Option<Micros>,
    },
    Failed {
        reason: String,
    },
}

/// What happened since the last progress.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Progress {
    pub at: Micros,
    /// Connections in their rooms now.
    pub inside: u64,
    /// Microseconds of CPU since the process began.
    pub cpu: Micros,
    pub memory: u64,
    pub counts: Counts,
    pub times: Encoded,
    pub spreads: Vec<Spread>,
}

macro_rules! counts {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// What is counted; the counts of several workers and times add up.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub struct Counts {
            $($(#[doc = $doc])* pub $name: u64,)*
            /// Refused requests by code, lost connections by close code or reason.
            pub refused: BTreeMap<String, u64>,
            pub closed: BTreeMap<String, u64>,
        }

        impl Counts {
            pub fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
                for (mine, theirs) in [(&mut self.refused, &other.refused), (&mut self.closed, &other.closed)] {
                    theirs.iter().for_each(|(key, count)| *mine.entry(key.clone()).or_default() += count);
                }
            }

            #[must_use]
            pub fn named(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }
        }
    };
}

counts! {
    /// Connections that were opened.
    connections,
    /// Times that somebody came into a room.
    joined,
    /// Messages sent, and those of them that were planned in the measured time.
    sent,
    sent_measured,
    /// Planned while the speaker was not in its room.
    unsent,
    /// Messages heard, by everybody, and those planned in the measured time.
    deliveries,
    deliveries_measured,
    ops_accepted,
    /// Frames read, and those of them that were known.
    frames,
    frames_known,
    bytes_received,
    bytes_sent,
    pings,
    resets,
    /// Those who stopped reading for a while, and those of them who were thrown out.
    deaf,
    deaf_closed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up() {
        let mut one = Counts { sent: 1, refused: [("busy".to_owned(), 2)].into(), ..Counts::default() };
        let two = Counts { sent: 2, refused: [("busy".to_owned(), 1)].into(), pings: 3, ..Counts::default() };
        one.add(&two);
        assert_eq!((one.sent, one.pings, one.refused["busy"]), (3, 3, 3));
        let text =
            serde_json::to_string(&Event::Progress(Progress { counts: one.clone(), ..Progress::default() }));
        let Ok(Event::Progress(back)) = serde_json::from_str(&text.unwrap()) else { panic!() };
        assert_eq!(back.counts, one);
    }
}
