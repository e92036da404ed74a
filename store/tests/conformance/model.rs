//! The log against a model of it: whatever is done to both, in whatever order, they agree.

use std::collections::{HashMap, HashSet};

use enfilade_proto::{Epoch, RoomId, Seq};
use enfilade_store::{Batch, Checkpoint, Incarnation, LogRow, Outcome, Shard};
use proptest::prelude::*;

use super::{OwnedLog, Owner, checkpoint, new_incarnation, new_room_id, ops};

const WRITERS: usize = 3;
const ROOMS: usize = 4;

#[derive(Clone, Debug)]
pub(crate) enum Action {
    Claim { writer: usize, room: usize },
    Append { writer: usize, pieces: Vec<Piece> },
    Checkpoint { room: usize, behind: u64 },
    Prune { max_rows: u32 },
    Read { room: usize, after: u64 },
}

/// A batch, relative to what the room's log is then.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    room: usize,
    /// How far from where the log (or the piece before it) ends; 0 is right.
    off: i64,
    /// 0 makes an empty batch.
    ops: u64,
    stale: bool,
}

pub(crate) fn actions() -> impl Strategy<Value = Vec<Action>> {
    let off = prop_oneof![8 => Just(0_i64), 1 => -2..=-1_i64, 1 => 1..=2_i64];
    let piece = (0..ROOMS, off, 0..4_u64, prop::bool::weighted(0.1));
    let piece = piece.prop_map(|(room, off, ops, stale)| Piece { room, off, ops, stale });
    let action = prop_oneof![
        2 => (0..WRITERS, 0..ROOMS).prop_map(|(writer, room)| Action::Claim { writer, room }),
        8 => (0..WRITERS, prop::collection::vec(piece, 0..6)).prop_map(|(writer, pieces)| Action::Append { writer, pieces }),
        2 => (0..ROOMS, 0..5_u64).prop_map(|(room, behind)| Action::Checkpoint { room, behind }),
        1 => (0..4_u32).prop_map(|max_rows| Action::Prune { max_rows }),
        2 => (0..ROOMS, 0..20_u64).prop_map(|(room, after)| Action::Read { room, after }),
    ];
    prop::collection::vec(action, 1..60)
}

#[derive(Default)]
struct Room {
    rows: Vec<LogRow>,
    head: u64,
    checkpoint: Option<Checkpoint>,
}

struct Model {
    /// What each writer is called now. It may have been declared dead; it writes all the same, where nobody took its place.
    writers: Vec<Incarnation>,
    ids: Vec<RoomId>,
    rooms: Vec<Room>,
    owners: HashMap<Shard, (Incarnation, Epoch)>,
    /// Grows with everything that is written.
    at_ms: u64,
}

/// The store must not be shared with others at the time: pruning concerns all rooms.
pub(crate) async fn the_log_agrees_with_a_model_of_it(log: &dyn OwnedLog, actions: &[Action]) {
    let mut model = Model {
        writers: (0..WRITERS).map(|_| new_incarnation()).collect(),
        ids: (0..ROOMS).map(|_| new_room_id()).collect(),
        rooms: (0..ROOMS).map(|_| Room::default()).collect(),
        owners: HashMap::new(),
        at_ms: 1,
    };
    for action in actions {
        match action {
            Action::Claim { writer, room } => model.claim(log, *writer, *room).await,
            Action::Append { writer, pieces } => model.append(log, *writer, pieces).await,
            Action::Checkpoint { room, behind } => model.checkpoint(log, *room, *behind).await,
            Action::Prune { max_rows } => model.prune(log, *max_rows).await,
            Action::Read { room, after } => model.read(log, *room, *after).await,
        }
    }
    for room in 0..ROOMS {
        model.read(log, room, 0).await;
    }
}

impl Model {
    async fn claim(&mut self, log: &dyn OwnedLog, writer: usize, room: usize) {
        let shard = Shard::of(self.ids[room]);
        let alive = log.view().await.unwrap().nodes;
        let owner = if alive.iter().any(|row| row.node.incarnation == self.writers[writer]) {
            Owner { log, incarnation: self.writers[writer] }
        } else {
            Owner::new(log).await
        };
        self.writers[writer] = owner.incarnation;
        let epoch = owner.take(&[shard]).await[&shard];
        let before = self.owners.insert(shard, (owner.incarnation, epoch));
        assert_eq!(epoch.0, before.map_or(0, |(_, before)| before.0) + 1);
    }

    async fn append(&mut self, log: &dyn OwnedLog, writer: usize, pieces: &[Piece]) {
        let batches = self.batches(pieces);
        let outcomes = log.append(self.writers[writer], &batches).await.unwrap();
        let expected = self.outcomes(writer, &batches);
        assert_eq!(outcomes, expected, "{batches:?}");
    }

    fn batches(&mut self, pieces: &[Piece]) -> Vec<Batch> {
        let mut heads: Vec<u64> = self.rooms.iter().map(|room| room.head).collect();
        pieces.iter().map(|piece| self.batch(piece, &mut heads[piece.room])).collect()
    }

    fn batch(&mut self, piece: &Piece, head: &mut u64) -> Batch {
        let room = self.ids[piece.room];
        let epoch = self.owners.get(&Shard::of(room)).map_or(Epoch(1), |(_, epoch)| *epoch);
        let epoch = if piece.stale { Epoch(epoch.0 - 1) } else { epoch };
        let first = (*head + 1).saturating_add_signed(piece.off).max(1);
        let last = first + piece.ops - 1;
        *head = (*head).max(last);
        self.at_ms += 1;
        Batch {
            room,
            epoch,
            first: Seq(first),
            last: Seq(last),
            at_ms: self.at_ms,
            ops: ops(room, epoch, first, last),
        }
    }

    /// Applies the batches one after the other.
    fn outcomes(&mut self, writer: usize, batches: &[Batch]) -> Vec<Outcome> {
        let mut broken: HashSet<RoomId> = HashSet::new();
        let mut outcomes = Vec::new();
        for batch in batches {
            let owned = self.owners.get(&Shard::of(batch.room)) == Some(&(self.writers[writer], batch.epoch));
            let index = self.ids.iter().position(|id| *id == batch.room).unwrap();
            let room = &mut self.rooms[index];
            let fits = batch.first.0 == room.head + 1 && !broken.contains(&batch.room);
            let held = owned && (batch.is_empty() || fits);
            outcomes.push(if held { Outcome::Committed } else { Outcome::Fenced });
            if batch.is_empty() {
                continue;
            }
            if held {
                room.head = batch.last.0;
                let Batch { first, last, epoch, at_ms, ref ops, .. } = *batch;
                room.rows.push(LogRow { first, last, epoch, at_ms, ops: ops.clone() });
            } else {
                broken.insert(batch.room);
            }
        }
        outcomes
    }

    async fn checkpoint(&mut self, log: &dyn OwnedLog, room: usize, behind: u64) {
        let id = self.ids[room];
        let room = &mut self.rooms[room];
        let new = checkpoint(id, room.head.saturating_sub(behind), format!("{} of {}", behind, room.head));
        log.put_checkpoint(&new).await.unwrap();
        if room.checkpoint.as_ref().is_none_or(|stored| stored.seq <= new.seq) {
            room.checkpoint = Some(new);
        }
        assert_eq!(log.checkpoint(id).await.unwrap(), room.checkpoint);
    }

    async fn prune(&mut self, log: &dyn OwnedLog, max_rows: u32) {
        // Half of what was written is old.
        let before_ms = self.at_ms / 2;
        let prunable = |room: &Room| {
            let behind = room.checkpoint.as_ref().map_or(Seq(0), |checkpoint| checkpoint.seq);
            room.rows.iter().take_while(|row| row.last <= behind && row.at_ms < before_ms).count()
        };
        let expected: usize = self.rooms.iter().map(prunable).sum();
        let pruned = log.prune(before_ms, max_rows).await.unwrap();
        assert_eq!(pruned, expected.min(max_rows as usize) as u64);
        let mut gone = 0;
        for (id, room) in self.ids.iter().zip(&mut self.rooms) {
            let left = log.read(*id, Seq(0), usize::MAX).await.unwrap();
            let deleted = room.rows.len() - left.len();
            assert!(deleted <= prunable(room), "more than was to be pruned");
            room.rows.drain(..deleted);
            gone += deleted;
        }
        assert_eq!(gone as u64, pruned);
    }

    async fn read(&self, log: &dyn OwnedLog, room: usize, after: u64) {
        let rows = log.read(self.ids[room], Seq(after), usize::MAX).await.unwrap();
        let expected: Vec<LogRow> =
            self.rooms[room].rows.iter().filter(|row| row.last.0 > after).cloned().collect();
        assert_eq!(rows, expected);
    }
}
