//! The invariants, judged on the log and on what the clients were told. The log gives every room a total order, so each is one
//! pass and no search.

use std::collections::BTreeMap;

use enfilade_actors::bus::Writer;
use enfilade_actors::kind::{self, Contents};
use enfilade_actors::room::read_row;
use enfilade_proto::{ClientId, Epoch, LoggedOp, RoomId, RoomKind, Seq};
use enfilade_store::LogRow;

use super::database::Room;
use super::journal::{Entry, OpName};

#[derive(Debug)]
pub(super) struct Evidence<'a> {
    pub(super) entries: &'a [Entry],
    pub(super) rooms: BTreeMap<RoomId, &'a Room>,
    /// What each client has of its room in the end.
    pub(super) contents: Vec<(RoomId, Option<(Seq, Contents)>)>,
    /// The table of owners was set back. Then epochs do not tell earlier from later, and somebody who owned a room before may be
    /// its owner again without having noticed anything: what they write is fenced by the log, what they show by nothing.
    pub(super) owners_set_back: bool,
}

/// A room's log, read as an owner reads it: of two rows with the same seqs the first counts.
#[derive(Debug, Default)]
struct Log {
    ops: Vec<(Epoch, LoggedOp)>,
    seqs: BTreeMap<OpName, Seq>,
}

/// What is wrong. Empty if nothing is.
pub(super) fn judge(evidence: &Evidence<'_>) -> Vec<String> {
    let mut found = Vec::new();
    let mut logs = BTreeMap::new();
    for (id, room) in &evidence.rooms {
        if !evidence.owners_set_back {
            compare_epochs(room, &mut found);
        }
        logs.insert(*id, read_log(&room.rows, &mut found));
    }
    follow_clients(evidence, &logs, &mut found);
    compare_states(evidence, &logs, &mut found);
    found
}

pub(super) fn acknowledged(evidence: &Evidence<'_>) -> usize {
    evidence.entries.iter().filter(|entry| matches!(entry, Entry::Accepted { .. })).count()
}

/// I5, I6.
fn compare_epochs(room: &Room, found: &mut Vec<String>) {
    for (epoch, tail) in &room.takeovers {
        if let Some(row) = room.rows.iter().find(|row| row.epoch < *epoch && row.first > *tail) {
            let (first, old) = (row.first, row.epoch);
            found.push(format!("I5: epoch {epoch} began at {tail}, and {first} was written in epoch {old}"));
        }
    }
    for pair in room.rows.windows(2).filter(|pair| pair[1].epoch < pair[0].epoch) {
        found.push(format!("I6: epoch {} after {} at seq {}", pair[1].epoch, pair[0].epoch, pair[1].first));
    }
}

/// I1, I4.
fn read_log(rows: &[LogRow], found: &mut Vec<String>) -> Log {
    let mut log = Log::default();
    for row in rows {
        let next = log.ops.len() as u64 + 1;
        if row.first.0 != next {
            found.push(format!("I1: the row {}..={} comes where {next} was due", row.first, row.last));
        }
        let ops = match read_row(&row.ops) {
            Ok(ops) => ops,
            Err(error) => {
                found.push(format!("I1: the row {}..={} cannot be read: {error}", row.first, row.last));
                continue;
            }
        };
        for (place, op) in ops.into_iter().enumerate() {
            let seq = Seq(row.first.0 + place as u64);
            if seq.0 != log.ops.len() as u64 + 1 {
                continue;
            }
            let name = (Writer { author: op.author, client: op.client }, op.op_id);
            log.ops.push((row.epoch, op));
            if name.0.client == ClientId::ROOM {
                continue;
            }
            if let Some(before) = log.seqs.insert(name, seq) {
                found.push(format!("I4: {name:?} is in the log as {before} and as {seq}"));
            }
        }
    }
    log
}

/// I2, I3, I7, I9, in the order in which things happened.
fn follow_clients(evidence: &Evidence<'_>, logs: &BTreeMap<RoomId, Log>, found: &mut Vec<String>) {
    // The newest op of each room that was acknowledged, and what that was when a client began to join.
    let mut newest: BTreeMap<RoomId, Seq> = BTreeMap::new();
    let mut began: BTreeMap<(usize, u64), Seq> = BTreeMap::new();
    let mut heads: BTreeMap<usize, Seq> = BTreeMap::new();
    for entry in evidence.entries {
        match entry {
            Entry::Submitted { .. } => {}
            Entry::Accepted { client, room, op, seq } => {
                let newest = newest.entry(*room).or_default();
                *newest = (*newest).max(*seq);
                match logs[room].seqs.get(op) {
                    None => found
                        .push(format!("I2: {op:?} of client {client} was acknowledged as {seq} and is lost")),
                    Some(logged) if logged != seq => {
                        found.push(format!(
                            "I2: {op:?} of client {client} was acknowledged as {seq} and is {logged}"
                        ));
                    }
                    Some(_) => {}
                }
            }
            Entry::JoinBegan { client, room, connection } => {
                began.insert((*client, *connection), newest.get(room).copied().unwrap_or_default());
            }
            Entry::Joined { client, connection, position, base, .. } => {
                let due = began[&(*client, *connection)];
                if position.seq < due && !evidence.owners_set_back {
                    let (seq, connection) = (position.seq, *connection);
                    found.push(format!(
                        "I3: client {client} joined ({connection}) at {seq} though {due} was acknowledged"
                    ));
                }
                if let Some(base) = base {
                    heads.insert(*client, *base);
                }
            }
            Entry::Reset { client, base, .. } => _ = heads.insert(*client, *base),
            Entry::Shown { client, room, seq, op, .. } => {
                let head = heads.entry(*client).or_default();
                if *seq != head.next() {
                    found.push(format!("I7: client {client} was shown {seq} after {head}"));
                }
                *head = *seq;
                let logged = logs[room].ops.get(seq.0 as usize - 1);
                let same = logged.is_some_and(|(_, logged)| {
                    (logged.author, logged.client, logged.op_id) == (op.0.author, op.0.client, op.1)
                });
                if !same {
                    found.push(format!(
                        "I9: client {client} was shown {op:?} as {seq}, which is not in the log"
                    ));
                }
            }
            Entry::Wrong(what) => found.push(format!("wrong: {what}")),
        }
    }
}

/// I8.
fn compare_states(evidence: &Evidence<'_>, logs: &BTreeMap<RoomId, Log>, found: &mut Vec<String>) {
    let replayed: BTreeMap<RoomId, Contents> = logs.iter().map(|(room, log)| (*room, replay(log))).collect();
    for (client, (room, contents)) in evidence.contents.iter().enumerate() {
        let Some((seq, contents)) = contents else { continue };
        let last = logs[room].ops.len() as u64;
        if seq.0 != last {
            found.push(format!("I8: client {client} stands at {seq} in the end, the log at {last}"));
        } else if *contents != replayed[room] {
            found.push(format!("I8: client {client} has another state than the log"));
        }
    }
}

fn replay(log: &Log) -> Contents {
    let mut state = kind::create(RoomKind::Board).unwrap();
    kind::replay_all(&mut *state, Seq(1), log.ops.iter().map(|(_, op)| op));
    state.snapshot()
}
