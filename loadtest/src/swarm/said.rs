//! What a frame from the server says, as far as the swarm cares.

use enfilade_proto::{ClientId, Codec, ErrorCode, RoomId, ServerMessage};

use super::mark::Mark;
use super::plan::{Place, Plan};

/// One message of a frame.
#[derive(Debug, PartialEq)]
pub enum Said {
    Signals {
        room: Option<u32>,
        heard: Box<[Heard]>,
    },
    Ops {
        room: Option<u32>,
        first: u64,
        heard: Box<[Heard]>,
    },
    Welcome {
        resume: Option<String>,
    },
    Joined {
        epoch: u64,
        seq: u64,
        snapshot: Option<u64>,
        ops: Box<[Heard]>,
    },
    Reset {
        epoch: u64,
        seq: u64,
    },
    Accepted {
        id: u32,
    },
    Refused {
        id: Option<u32>,
        code: ErrorCode,
        retry_after_ms: Option<u64>,
    },
    Ping,
    Closing {
        code: u16,
    },
    /// Presence, and what this version does not know.
    Aside,
}

/// A message of a speaker.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Heard {
    /// The speaker as a member of the room; [`STRANGER`] if it is none of the swarm's.
    pub speaker: u32,
    pub mark: Mark,
    /// It is noted when the last member heard it.
    pub followed: bool,
}

/// The speaker of what the swarm did not say.
pub const STRANGER: u32 = u32::MAX;

impl Said {
    /// # Errors
    /// When the frame is none of the protocol's; the text says why.
    pub fn read(codec: Codec, payload: &[u8], plan: &Plan, rooms: &Rooms) -> Result<Box<[Self]>, String> {
        let frames = codec.decode_server(payload).map_err(|error| error.to_string())?;
        Ok(frames.into_iter().map(|frame| Self::new(frame.id, frame.message, plan, rooms)).collect())
    }

    fn new(id: Option<u32>, message: ServerMessage, plan: &Plan, rooms: &Rooms) -> Self {
        let op = |op: &enfilade_proto::LoggedOp| Heard::new(plan, op.client, Mark::of_op(&op.op));
        match message {
            ServerMessage::Signals(signals) => {
                let signal = |signal: &enfilade_proto::SignalOut| {
                    Heard::new(plan, signal.client, Mark::of_body(&signal.body))
                };
                Self::Signals {
                    room: rooms.index(signals.room),
                    heard: signals.signals.iter().map(signal).collect(),
                }
            }
            ServerMessage::Ops(ops) => Self::Ops {
                room: rooms.index(ops.room),
                first: ops.first_seq.0,
                heard: ops.ops.iter().map(op).collect(),
            },
            ServerMessage::Welcome(welcome) => Self::Welcome { resume: welcome.resume },
            ServerMessage::Joined(joined) => Self::Joined {
                epoch: joined.position.epoch.0,
                seq: joined.position.seq.0,
                snapshot: joined.snapshot.map(|snapshot| snapshot.seq.0),
                ops: joined.ops.iter().flatten().map(op).collect(),
            },
            ServerMessage::Reset(reset) => {
                Self::Reset { epoch: reset.position.epoch.0, seq: reset.position.seq.0 }
            }
            ServerMessage::Accepted(_) => id.map_or(Self::Aside, |id| Self::Accepted { id }),
            ServerMessage::Error(error) => {
                Self::Refused { id, code: error.code, retry_after_ms: error.retry_after_ms }
            }
            ServerMessage::Ping(_) => Self::Ping,
            ServerMessage::Closing(closing) => Self::Closing { code: closing.code },
            _ => Self::Aside,
        }
    }

    /// Whether other members of the room get the same.
    #[must_use]
    pub fn is_for_all(&self) -> bool {
        matches!(self, Self::Signals { .. } | Self::Ops { .. } | Self::Aside)
    }
}

impl Heard {
    fn new(plan: &Plan, client: ClientId, mark: Option<Mark>) -> Self {
        match (plan.place(client), mark.filter(|mark| mark.number > 0)) {
            (Some(Place { member, .. }), Some(mark)) => {
                Self { speaker: member, mark, followed: plan.is_followed(member, mark.number) }
            }
            _ => Self { speaker: STRANGER, mark: Mark { number: 0, planned: 0, sent: 0 }, followed: false },
        }
    }
}

/// The rooms of the plan, by id.
#[derive(Debug)]
pub struct Rooms(std::collections::HashMap<RoomId, u32>);

impl Rooms {
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        Self(plan.rooms.iter().zip(0..).map(|(room, index)| (room.id, index)).collect())
    }

    fn index(&self, room: RoomId) -> Option<u32> {
        self.0.get(&room).copied()
    }
}
