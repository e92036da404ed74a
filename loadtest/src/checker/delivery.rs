//! I7: each client is shown a room's ops in seq order, without gap or repeat, over all its connections, moves, resumes and
//! resets. Two connections that overlap are two streams, each of them without gap or repeat; and a stream that goes on
//! where another stood goes on from what the client really had.

use std::collections::HashMap;

use enfilade_proto::{ClientId, Epoch, Position, RoomId, Seq};

use super::{Check, Fact, Invariant, Record, Tally, Violation};
use crate::journal::{By, Entry, Moment, Shown};

#[derive(Debug, Default)]
pub(super) struct Delivery {
    clients: HashMap<(RoomId, ClientId), Member>,
}

#[derive(Debug, Default)]
struct Member {
    /// The furthest that any of its connections came.
    position: Position,
    /// By connection.
    streams: HashMap<u32, Stream>,
}

#[derive(Debug, Default)]
struct Stream {
    /// Where it stands; nowhere before `joined`.
    position: Option<Position>,
    /// Where the client stood when it asked, and what it asked for.
    asked: Option<(Position, Option<Position>)>,
}

impl Check for Delivery {
    fn invariant(&self) -> Invariant {
        Invariant::I7
    }

    fn take(&mut self, moment: &Moment, fact: Fact<'_>, _: &Record, tally: &mut Tally) {
        let Fact::Entry(entry) = fact else { return };
        match entry {
            Entry::Join { client, connection, room, since } => {
                let member = self.member(*room, *client);
                let asked = Some((member.position, *since));
                member.streams.entry(*connection).or_default().asked = asked;
            }
            Entry::Joined { client, connection, room, position, shown } => {
                self.enter(moment, (*room, *client, *connection), *position, shown, "joined", tally);
            }
            Entry::Reset { client, connection, room, position, shown } => {
                self.enter(moment, (*room, *client, *connection), *position, shown, "reset", tally);
            }
            Entry::Ops { client, connection, room, epoch, first, last, .. } => {
                let range = (*epoch, *first, *last);
                self.pushed(moment, (*room, *client, *connection), range, tally);
            }
            Entry::Closed { client, connection, by, code } => self.closed(*client, *connection, *by, *code),
            _ => {}
        }
    }
}

type Name = (RoomId, ClientId, u32);

impl Delivery {
    fn member(&mut self, room: RoomId, client: ClientId) -> &mut Member {
        self.clients.entry((room, client)).or_default()
    }

    fn enter(
        &mut self,
        moment: &Moment,
        name: Name,
        position: Position,
        shown: &Shown,
        how: &str,
        tally: &mut Tally,
    ) {
        tally.fact();
        let (room, client, connection) = name;
        let member = self.member(room, client);
        let stream = member.streams.entry(connection).or_default();
        let mut wrong = |detail: String| {
            tally.violated(|| Violation::new(moment, detail).of(room).at(position.seq).by(client));
        };
        let (stood, since) = match how {
            "joined" => stream.asked.take().unwrap_or_default(),
            _ => (stream.position.unwrap_or_default(), None),
        };
        if let Some(since) = since.filter(|since| since.seq > stood.seq) {
            wrong(format!("asked to go on after {}, but stood at {}", since.seq, stood.seq));
        }
        if position.seq < stood.seq || position.epoch < stood.epoch {
            wrong(format!("{how} at {} after it stood at {}", text(position), text(stood)));
        }
        let from = match (shown.snapshot, since) {
            (Some(snapshot), _) => snapshot.seq,
            (None, since) => since.unwrap_or_default().seq,
        };
        if from.0.saturating_add(shown.ops) != position.seq.0 {
            wrong(format!("{how} from {from} to {}, but got {} ops", position.seq, shown.ops));
        }
        stream.position = Some(position);
        member.advance(position);
    }

    fn pushed(&mut self, moment: &Moment, name: Name, range: (Epoch, Seq, Seq), tally: &mut Tally) {
        tally.fact();
        let ((room, client, connection), (epoch, first, last)) = (name, range);
        let member = self.member(room, client);
        let stream = member.streams.entry(connection).or_default();
        let wrong = match stream.position {
            _ if last < first => Some(format!("ops {first} to {last}")),
            None => Some(format!("ops from {first} on, before it joined")),
            Some(stood) if first > stood.seq.next() => {
                Some(format!("stood at {}, then came {first}", stood.seq))
            }
            Some(stood) if first <= stood.seq => {
                Some(format!("stood at {}, then came {first} again", stood.seq))
            }
            Some(stood) if epoch < stood.epoch => Some(format!("epoch {epoch} after epoch {}", stood.epoch)),
            Some(_) => None,
        };
        if let Some(wrong) = wrong {
            tally.violated(|| Violation::new(moment, wrong).of(room).at(first).by(client));
        }
        let stood = stream.position.unwrap_or_default();
        let position = Position { epoch: epoch.max(stood.epoch), seq: last.max(stood.seq) };
        stream.position = Some(position);
        member.advance(position);
    }

    fn closed(&mut self, client: ClientId, connection: u32, by: By, code: Option<u16>) {
        let told_to_forget = by == By::Server && code.is_some_and(|code| (4300..4400).contains(&code));
        for ((_, member_client), member) in &mut self.clients {
            if *member_client == client {
                member.streams.remove(&connection);
                if told_to_forget {
                    member.position = Position::default();
                }
            }
        }
    }
}

impl Member {
    fn advance(&mut self, to: Position) {
        self.position.epoch = self.position.epoch.max(to.epoch);
        self.position.seq = self.position.seq.max(to.seq);
    }
}

fn text(position: Position) -> String {
    format!("{} of epoch {}", position.seq, position.epoch)
}
