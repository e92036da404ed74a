//! What was said over the WebSockets of HARs to us and by us, in the order of time.

use std::collections::HashMap;

use enfilade_proto::{ClientId, Request, RoomId, ServerMessage};

use super::{Har, HarError};
use crate::clock::Micros;
use crate::import::LeftOut;

/// Counts the sockets of all HARs.
pub(super) type SocketId = usize;

#[derive(Debug)]
pub(super) struct Timeline {
    pub(super) moments: Vec<Moment>,
    /// Whose page a socket belongs to.
    pub(super) clients: HashMap<SocketId, ClientId>,
    pub(super) left_out: LeftOut,
}

#[derive(Debug)]
pub(super) struct Moment {
    pub(super) at: Micros,
    pub(super) socket: SocketId,
    /// Of the request, or of the one that this answers.
    pub(super) id: Option<u32>,
    pub(super) said: Said,
}

#[derive(Debug)]
pub(super) enum Said {
    Sent(Request),
    Heard(ServerMessage),
}

impl Timeline {
    pub(super) fn read(hars: &[Har]) -> Result<Self, HarError> {
        let (mut moments, mut clients, mut left_out) = (Vec::new(), HashMap::new(), LeftOut::default());
        let sockets: Vec<_> = hars.iter().flat_map(|har| &har.sockets).collect();
        for (socket, frames) in sockets.iter().enumerate() {
            let mut said = Vec::new();
            for frame in *frames {
                let messages = decode(frame).unwrap_or_else(|| {
                    left_out.count("frames that make no sense", 1);
                    Vec::new()
                });
                said.extend(messages.into_iter().map(|(id, said)| Moment { at: frame.at, socket, id, said }));
            }
            let hello = said.iter().find_map(|moment| match &moment.said {
                Said::Sent(request) => Some(request),
                Said::Heard(_) => None,
            });
            if let Some(Request::Hello(hello)) = hello {
                clients.insert(socket, hello.client);
                moments.extend(said);
            }
        }
        if clients.is_empty() {
            let silent = hars.iter().map(|har| har.silent).sum();
            return Err(match sockets.len() {
                0 => HarError::NoMessages { sockets: silent },
                sockets => HarError::NotOurs { sockets },
            });
        }
        // Stable: what one page said and heard keeps its order.
        moments.sort_by_key(|moment| moment.at);
        Ok(Self { moments, clients, left_out })
    }

    /// The room in which the pages did most.
    pub(super) fn busiest(&self) -> Option<RoomId> {
        let mut rooms: HashMap<RoomId, (u64, std::cmp::Reverse<usize>)> = HashMap::new();
        for (i, moment) in self.moments.iter().enumerate() {
            let (room, done) = match &moment.said {
                Said::Sent(Request::Join(join)) => (join.room, 0),
                Said::Sent(Request::Submit(submit)) => (submit.room, 1),
                Said::Sent(Request::Signal(signal)) => (signal.room, 1),
                _ => continue,
            };
            rooms.entry(room).or_insert((0, std::cmp::Reverse(i))).0 += done;
        }
        // Of two that are equally busy, the first.
        rooms.into_iter().max_by_key(|(_, busy)| *busy).map(|(room, _)| room)
    }
}

/// None if it is no frame of ours.
fn decode(frame: &super::file::Frame) -> Option<Vec<(Option<u32>, Said)>> {
    if frame.sent {
        let requests = frame.codec.decode_requests(&frame.bytes).ok()?;
        // What the server could not understand either did nothing.
        Some(requests.into_iter().flatten().map(|said| (said.id, Said::Sent(said.request))).collect())
    } else {
        let messages = frame.codec.decode_server(&frame.bytes).ok()?;
        Some(messages.into_iter().map(|said| (said.id, Said::Heard(said.message))).collect())
    }
}
