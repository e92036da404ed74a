//! Appending, reading, owning, checkpoints and pruning.

use std::collections::BTreeMap;

use bytes::Bytes;
use enfilade_proto::{Epoch, RoomId, Seq};
use enfilade_store::{Batch, LogRow, Outcome, Shard};
use futures_util::future::{join, join_all};

use super::{OwnedLog, Owner, batch, checkpoint, new_room_id};

use Outcome::{Committed, Fenced};

async fn append(owner: &Owner<'_>, batches: &[Batch]) -> Vec<Outcome> {
    owner.log.append(owner.incarnation, batches).await.unwrap()
}

pub(crate) async fn everything(log: &dyn OwnedLog, room: RoomId) -> Vec<LogRow> {
    log.read(room, Seq(0), usize::MAX).await.unwrap()
}

fn row(batch: &Batch) -> LogRow {
    LogRow {
        first: batch.first,
        last: batch.last,
        epoch: batch.epoch,
        at_ms: batch.at_ms,
        ops: batch.ops.clone(),
    }
}

// ---- append and read ------------------------------------------------------------------------------------------

pub(crate) async fn what_was_appended_is_read_back_in_order(log: &dyn OwnedLog) {
    let (owner, room) = (Owner::new(log).await, new_room_id());
    let epoch = owner.claim(room).await;
    let mut batches = vec![batch(room, epoch, 1, 3), batch(room, epoch, 4, 4), batch(room, epoch, 5, 400)];
    batches[1].ops = Bytes::new();
    batches[2].ops = (0..300_000_u32).map(|i| i.to_le_bytes()[i as usize % 3]).collect::<Vec<_>>().into();
    for batch in &batches {
        assert_eq!(append(&owner, std::slice::from_ref(batch)).await, [Committed]);
    }
    assert_eq!(everything(log, room).await, batches.iter().map(row).collect::<Vec<_>>());
    assert_eq!(everything(log, new_room_id()).await, []);
}

pub(crate) async fn rooms_on_record_are_listed_by_pages(log: &dyn OwnedLog) {
    let owner = Owner::new(log).await;
    let mut rooms: Vec<RoomId> = (0..5).map(|_| new_room_id()).collect();
    for room in &rooms {
        let epoch = owner.claim(*room).await;
        assert_eq!(
            append(&owner, &[batch(*room, epoch, 1, 1), batch(*room, epoch, 2, 2)]).await,
            [Committed; 2]
        );
    }
    log.put_checkpoint(&checkpoint(rooms[0], 2, "state")).await.unwrap();
    rooms.sort();
    // Other tests may have rooms of their own in the same database.
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let page = log.rooms(after, 2).await.unwrap();
        assert!(page.len() <= 2 && page.is_sorted());
        let Some(last) = page.last() else { break };
        after = Some(*last);
        listed.extend(page);
    }
    assert!(listed.is_sorted_by(|a, b| a < b), "each once");
    listed.retain(|room| rooms.contains(room));
    assert_eq!(listed, rooms);
}

pub(crate) async fn a_batch_must_continue_its_rooms_log(log: &dyn OwnedLog) {
    let (owner, room) = (Owner::new(log).await, new_room_id());
    let epoch = owner.claim(room).await;
    assert_eq!(append(&owner, &[batch(room, epoch, 2, 3)]).await, [Fenced], "a room begins at 1");
    assert_eq!(append(&owner, &[batch(room, epoch, 0, 0)]).await, [Fenced], "there is no op 0");
    assert_eq!(append(&owner, &[batch(room, epoch, 0, 3)]).await, [Fenced], "there is no op 0");
    assert_eq!(append(&owner, &[batch(room, epoch, 1, 3)]).await, [Committed]);
    assert_eq!(append(&owner, &[batch(room, epoch, 1, 3)]).await, [Fenced], "again");
    assert_eq!(append(&owner, &[batch(room, epoch, 3, 5)]).await, [Fenced], "an overlap");
    assert_eq!(append(&owner, &[batch(room, epoch, 5, 5)]).await, [Fenced], "a gap");
    assert_eq!(append(&owner, &[batch(room, epoch, u64::MAX, u64::MAX)]).await, [Fenced], "far away");
    assert_eq!(append(&owner, &[batch(room, epoch, 4, 4)]).await, [Committed]);
    assert_eq!(everything(log, room).await, [row(&batch(room, epoch, 1, 3)), row(&batch(room, epoch, 4, 4))]);
}

pub(crate) async fn each_batch_of_a_call_has_its_own_outcome(log: &dyn OwnedLog) {
    let owner = Owner::new(log).await;
    let rooms = rooms_of_different_shards(5);
    let mut epochs = Vec::new();
    for room in &rooms {
        epochs.push(owner.claim(*room).await);
    }
    Owner::new(log).await.claim(rooms[2]).await;
    let batches = [
        batch(rooms[0], epochs[0], 1, 1),
        batch(rooms[1], epochs[1], 7, 9),
        batch(rooms[2], epochs[2], 1, 1),
        batch(rooms[3], epochs[3], 1, 2),
        batch(rooms[4], Epoch(epochs[4].0 + 1), 1, 1),
    ];
    assert_eq!(append(&owner, &batches).await, [Committed, Fenced, Fenced, Committed, Fenced]);
    for (i, room) in rooms.iter().enumerate() {
        let kept = if i == 0 || i == 3 { vec![row(&batches[i])] } else { vec![] };
        assert_eq!(everything(log, *room).await, kept);
    }
}

pub(crate) async fn batches_of_one_room_may_follow_one_another_in_a_call(log: &dyn OwnedLog) {
    let owner = Owner::new(log).await;
    let [room, other] = rooms_of_different_shards(2)[..] else { unreachable!() };
    let (epoch, other_epoch) = (owner.claim(room).await, owner.claim(other).await);
    let batches = [
        batch(room, epoch, 1, 2),
        batch(other, other_epoch, 1, 1),
        batch(room, epoch, 3, 3),
        batch(room, epoch, 4, 9),
    ];
    assert_eq!(append(&owner, &batches).await, [Committed; 4]);
    let kept: Vec<LogRow> = [0, 2, 3].map(|i| row(&batches[i])).into();
    assert_eq!(everything(log, room).await, kept);

    let late = [batch(room, epoch, 9, 9), batch(other, other_epoch, 2, 2), batch(room, epoch, 10, 10)];
    assert_eq!(
        append(&owner, &late).await,
        [Fenced, Committed, Fenced],
        "what continues a fenced batch is fenced"
    );
    for (next, wrong) in [(10, 12), (11, 11), (12, 11)] {
        let broken = [
            batch(room, epoch, next, next),
            batch(room, epoch, wrong, wrong),
            batch(room, epoch, next + 1, next + 1),
        ];
        assert_eq!(append(&owner, &broken).await, [Committed, Fenced, Fenced], "{wrong} after {next}");
    }
    let stale =
        [batch(room, epoch, 13, 13), batch(room, Epoch(epoch.0 + 1), 14, 14), batch(room, epoch, 14, 14)];
    assert_eq!(append(&owner, &stale).await, [Committed, Fenced, Fenced]);
    let lasts: Vec<u64> = everything(log, room).await.iter().map(|row| row.last.0).collect();
    assert_eq!(lasts, [2, 3, 9, 10, 11, 12, 13]);
}

pub(crate) async fn an_empty_batch_only_asks_the_fence(log: &dyn OwnedLog) {
    let (owner, room) = (Owner::new(log).await, new_room_id());
    assert_eq!(append(&owner, &[]).await, []);
    assert_eq!(append(&owner, &[batch(room, Epoch(1), 1, 0)]).await, [Fenced], "a shard that nobody claimed");
    let epoch = owner.claim(room).await;
    let ask = batch(room, epoch, 1, 0);
    assert_eq!(append(&owner, &[ask.clone(), batch(room, epoch, 1, 4), ask.clone()]).await, [Committed; 3]);
    assert_eq!(
        append(&owner, &[batch(room, epoch, 5, 4), batch(room, Epoch(epoch.0 + 1), 5, 4)]).await,
        [Committed, Fenced]
    );
    Owner::new(log).await.claim(room).await;
    assert_eq!(append(&owner, &[ask]).await, [Fenced]);
    assert_eq!(everything(log, room).await.len(), 1);
}

pub(crate) async fn a_call_takes_thousands_of_batches(log: &dyn OwnedLog) {
    let owner = Owner::new(log).await;
    let shards: Vec<Shard> = Shard::all().collect();
    let epochs = owner.take(&shards).await;
    let epoch = |room| epochs[&Shard::of(room)];
    let rooms: Vec<RoomId> = (0..3_000).map(|_| new_room_id()).collect();
    let mut batches: Vec<Batch> = rooms.iter().map(|room| batch(*room, epoch(*room), 1, 2)).collect();
    // The first room comes back again and again, also far from its beginning.
    let first = rooms[0];
    for (place, seq) in [(500, 3), (1_100, 4), (1_101, 5), (2_999, 6)] {
        batches.insert(place, batch(first, epoch(first), seq, seq));
    }
    // One is refused, and so is what continues it much later.
    let refused = batches[10].room;
    batches[10].epoch.0 += 1;
    batches.push(batch(refused, epoch(refused), 1, 1));
    let outcomes = append(&owner, &batches).await;
    let fenced: Vec<usize> = (0..outcomes.len()).filter(|i| outcomes[*i] == Fenced).collect();
    assert_eq!(fenced, [10, batches.len() - 1]);
    assert_eq!(everything(log, refused).await, []);
    assert_eq!(everything(log, first).await.last().unwrap().last, Seq(6));
    for room in [rooms[1], rooms[1_023], rooms[1_024], rooms[2_999]] {
        assert_eq!(everything(log, room).await, [row(&batch(room, epoch(room), 1, 2))]);
    }
}

pub(crate) async fn a_read_begins_with_the_row_that_has_the_next_op(log: &dyn OwnedLog) {
    let (owner, room) = (Owner::new(log).await, new_room_id());
    let epoch = owner.claim(room).await;
    let batches = [batch(room, epoch, 1, 10), batch(room, epoch, 11, 11), batch(room, epoch, 12, 20)];
    append(&owner, &batches).await;
    for (after, expected) in [(0, 0), (1, 0), (9, 0), (10, 1), (11, 2), (12, 2), (19, 2), (20, 3), (21, 3)] {
        let rows = log.read(room, Seq(after), usize::MAX).await.unwrap();
        assert_eq!(rows, batches[expected..].iter().map(row).collect::<Vec<_>>(), "after {after}");
    }
    assert_eq!(log.read(room, Seq(u64::MAX), usize::MAX).await.unwrap(), []);
}

pub(crate) async fn a_read_stops_at_its_bound(log: &dyn OwnedLog) {
    let (owner, room) = (Owner::new(log).await, new_room_id());
    let epoch = owner.claim(room).await;
    for seq in 1..=100 {
        let batch = Batch { ops: vec![1; 1_000].into(), ..batch(room, epoch, seq, seq) };
        assert_eq!(append(&owner, &[batch]).await, [Committed]);
    }
    for (max_bytes, rows) in
        [(0, 1), (999, 1), (1_000, 1), (1_999, 1), (2_000, 2), (50_500, 50), (1_000_000, 100)]
    {
        let read = log.read(room, Seq(0), max_bytes).await.unwrap();
        assert_eq!(read.len(), rows, "{max_bytes} bytes");
        assert!(read.iter().zip(1..).all(|(row, seq)| row.first == Seq(seq)));
    }
    // A reader that goes on from where it was stopped sees everything once.
    let mut seen = Vec::new();
    while let Some(last) = log.read(room, Seq(seen.len() as u64), 7_000).await.unwrap().last() {
        seen.extend(seen.len() as u64 + 1..=last.last.0);
    }
    assert_eq!(seen, (1..=100).collect::<Vec<_>>());
}

// ---- owners ---------------------------------------------------------------------------------------------------

pub(crate) async fn only_the_owner_writes_and_only_in_its_epoch(log: &dyn OwnedLog) {
    let (old, room) = (Owner::new(log).await, new_room_id());
    assert_eq!(append(&old, &[batch(room, Epoch(1), 1, 1)]).await, [Fenced], "nobody owns the shard");
    let first = old.claim(room).await;
    assert_eq!(append(&old, &[batch(room, first, 1, 1)]).await, [Committed]);
    let new = Owner::new(log).await;
    assert_eq!(append(&new, &[batch(room, first, 2, 2)]).await, [Fenced], "another's epoch");
    let second = new.claim(room).await;
    assert_eq!(append(&old, &[batch(room, first, 2, 2)]).await, [Fenced], "the former owner");
    assert_eq!(
        append(&old, &[batch(room, second, 2, 2)]).await,
        [Fenced],
        "the former owner in the new epoch"
    );
    assert_eq!(
        append(&new, &[batch(room, first, 2, 2)]).await,
        [Fenced],
        "the new owner in the former epoch"
    );
    assert_eq!(append(&new, &[batch(room, second, 2, 2)]).await, [Committed]);
    let third = new.claim(room).await;
    assert_eq!(append(&new, &[batch(room, second, 3, 3)]).await, [Fenced], "itself, before it claimed again");
    assert_eq!(append(&new, &[batch(room, third, 3, 3)]).await, [Committed]);
}

fn rooms_of_different_shards(count: usize) -> Vec<RoomId> {
    let mut rooms = BTreeMap::new();
    while rooms.len() < count {
        let room = new_room_id();
        rooms.insert(Shard::of(room), room);
    }
    rooms.into_values().collect()
}

// ---- checkpoints ----------------------------------------------------------------------------------------------

/// A room with `ops` ops, one a row.
async fn a_room_with(owner: &Owner<'_>, ops: u64) -> (RoomId, Epoch) {
    let room = new_room_id();
    let epoch = owner.claim(room).await;
    for seq in 1..=ops {
        assert_eq!(append(owner, &[batch(room, epoch, seq, seq)]).await, [Committed]);
    }
    (room, epoch)
}

pub(crate) async fn a_newer_checkpoint_replaces_an_older(log: &dyn OwnedLog) {
    let (room, _) = a_room_with(&Owner::new(log).await, 10).await;
    assert_eq!(log.checkpoint(room).await.unwrap(), None);
    for (seq, body, latest) in
        [(3, "three", "three"), (7, "seven", "seven"), (5, "five", "seven"), (7, "VII", "VII")]
    {
        log.put_checkpoint(&checkpoint(room, seq, body)).await.unwrap();
        let stored = log.checkpoint(room).await.unwrap().unwrap();
        assert_eq!(stored.body, latest);
    }
    assert_eq!(log.checkpoint(room).await.unwrap(), Some(checkpoint(room, 7, "VII")));
    assert_eq!(log.checkpoint(new_room_id()).await.unwrap(), None);
}

pub(crate) async fn a_checkpoint_is_never_ahead_of_the_log(log: &dyn OwnedLog) {
    let (room, _) = a_room_with(&Owner::new(log).await, 2).await;
    log.put_checkpoint(&checkpoint(room, 3, "the future")).await.unwrap();
    assert_eq!(log.checkpoint(room).await.unwrap(), None);
    log.put_checkpoint(&checkpoint(room, 2, "now")).await.unwrap();
    log.put_checkpoint(&checkpoint(room, 3, "the future")).await.unwrap();
    assert_eq!(log.checkpoint(room).await.unwrap(), Some(checkpoint(room, 2, "now")));
}

pub(crate) async fn a_checkpoint_may_be_empty_or_large(log: &dyn OwnedLog) {
    let (room, _) = a_room_with(&Owner::new(log).await, 1).await;
    let megabyte = 1_u32 << 20;
    let sizes = [0, 1, megabyte / 4, megabyte / 4 + 1, 3 * megabyte + 17, 5, megabyte, 0];
    for size in sizes {
        let body: Vec<u8> = (0..size).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let checkpoint = checkpoint(room, 1, body);
        log.put_checkpoint(&checkpoint).await.unwrap();
        assert!(log.checkpoint(room).await.unwrap() == Some(checkpoint), "{size} bytes");
    }
}

pub(crate) async fn checkpoints_written_at_once_do_not_mix(log: &dyn OwnedLog) {
    let (room, _) = a_room_with(&Owner::new(log).await, 8).await;
    let checkpoints: Vec<_> =
        (1..=8).map(|n| checkpoint(room, n, vec![n as u8; 400_000 + n as usize])).collect();
    let reader = async {
        let mut latest = Seq(0);
        while latest < Seq(8) {
            // Whatever is read meanwhile is whole, and never older than what was read before.
            if let Some(read) = log.checkpoint(room).await.unwrap() {
                assert!(read == checkpoints[read.seq.0 as usize - 1]);
                assert!(read.seq >= latest);
                latest = read.seq;
            }
        }
    };
    let (done, ()) = join(join_all(checkpoints.iter().map(|c| log.put_checkpoint(c))), reader).await;
    done.into_iter().for_each(|put| put.unwrap());
}

// ---- pruning --------------------------------------------------------------------------------------------------

/// Prunes until nothing is left to prune, in steps. Other tests may share the store, so the count says nothing.
async fn prune_all(log: &dyn OwnedLog, before_ms: u64, step: u32) {
    loop {
        let pruned = log.prune(before_ms, step).await.unwrap();
        assert!(pruned <= u64::from(step));
        if pruned == 0 {
            break;
        }
    }
}

pub(crate) async fn pruning_deletes_only_what_is_old_and_behind_a_checkpoint(log: &dyn OwnedLog) {
    let owner = Owner::new(log).await;
    // The op with seq n is from 1,000 + n.
    let (room, epoch) = a_room_with(&owner, 10).await;
    append(&owner, &[batch(room, epoch, 11, 15)]).await;
    let (bare, _) = a_room_with(&owner, 4).await;
    log.put_checkpoint(&checkpoint(room, 13, "state")).await.unwrap();

    prune_all(log, 0, 100).await;
    assert_eq!(everything(log, room).await.len(), 11, "nothing is that old");
    prune_all(log, 1_004, 2).await;
    assert_eq!(everything(log, room).await[0].first, Seq(4), "those from before 1,004 are gone");
    prune_all(log, u64::MAX, 3).await;
    let rest = everything(log, room).await;
    assert_eq!(rest, [row(&batch(room, epoch, 11, 15))], "part of this row is not in the checkpoint");
    assert_eq!(everything(log, bare).await.len(), 4, "without a checkpoint the log is all there is");
    assert_eq!(log.checkpoint(room).await.unwrap(), Some(checkpoint(room, 13, "state")));
}

pub(crate) async fn a_log_goes_on_after_all_of_it_was_pruned(log: &dyn OwnedLog) {
    let owner = Owner::new(log).await;
    let (room, epoch) = a_room_with(&owner, 6).await;
    log.put_checkpoint(&checkpoint(room, 6, "state")).await.unwrap();
    prune_all(log, u64::MAX, 1_000).await;
    assert_eq!(everything(log, room).await, []);
    assert_eq!(append(&owner, &[batch(room, epoch, 1, 1)]).await, [Fenced]);
    assert_eq!(append(&owner, &[batch(room, epoch, 8, 8)]).await, [Fenced]);
    assert_eq!(append(&owner, &[batch(room, epoch, 7, 8)]).await, [Committed]);
    log.put_checkpoint(&checkpoint(room, 8, "newer")).await.unwrap();
    prune_all(log, u64::MAX, 1_000).await;
    log.put_checkpoint(&checkpoint(room, 8, "newer still")).await.unwrap();
    assert_eq!(log.checkpoint(room).await.unwrap(), Some(checkpoint(room, 8, "newer still")));
}

pub(crate) async fn clocks_that_go_back_leave_no_hole(log: &dyn OwnedLog) {
    let (owner, room) = (Owner::new(log).await, new_room_id());
    let epoch = owner.claim(room).await;
    for (seq, at_ms) in [(1, 10), (2, 20), (3, 500), (4, 30), (5, 40), (6, 600)] {
        assert_eq!(append(&owner, &[Batch { at_ms, ..batch(room, epoch, seq, seq) }]).await, [Committed]);
    }
    log.put_checkpoint(&checkpoint(room, 6, "state")).await.unwrap();
    prune_all(log, 100, 1_000).await;
    let left: Vec<u64> = everything(log, room).await.iter().map(|row| row.first.0).collect();
    assert_eq!(left, [3, 4, 5, 6]);
}
