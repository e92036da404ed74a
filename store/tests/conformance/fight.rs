//! Owners who fight for a shard, and the check of what came of it: the proof that the fence is one, and that the check would
//! notice if it were not.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use async_trait::async_trait;
use bytes::Bytes;
use enfilade_proto::{Epoch, RoomId, Seq};
use enfilade_store::{Batch, LogRow, Outcome, Shard};
use futures_util::future::join_all;

use super::log::everything;
use super::{OwnedLog, Owner, batch, new_room_id};

/// How a fighter takes over and writes; whatever is to be tried in place of the store's own way.
#[async_trait]
pub(crate) trait Way: Sync {
    /// Becomes the owner in a new epoch. None if another was faster.
    async fn take_over(&self, room: RoomId) -> Option<(Owner<'_>, Epoch)>;
    /// Whether all was written; if not, nothing was.
    async fn append(&self, owner: &Owner<'_>, batches: &[Batch]) -> bool;
    /// All rows of a room, in order; rows that stand for the same seq one after the other.
    async fn rows(&self, room: RoomId) -> Vec<LogRow>;
    async fn pause(&self);
}

/// The store's own.
struct Own<'a>(&'a dyn OwnedLog);

#[async_trait]
impl Way for Own<'_> {
    async fn take_over(&self, room: RoomId) -> Option<(Owner<'_>, Epoch)> {
        let owner = Owner::new(self.0).await;
        let epoch = *owner.take(&[Shard::of(room)]).await.get(&Shard::of(room))?;
        Some((owner, epoch))
    }

    async fn append(&self, owner: &Owner<'_>, batches: &[Batch]) -> bool {
        let outcomes = self.0.append(owner.incarnation, batches).await.unwrap();
        let fenced = outcomes.contains(&Outcome::Fenced);
        assert!(!fenced || !outcomes.contains(&Outcome::Committed), "a shard is owned or not: {outcomes:?}");
        !fenced
    }

    async fn rows(&self, room: RoomId) -> Vec<LogRow> {
        everything(self.0, room).await
    }

    async fn pause(&self) {
        self.0.view().await.unwrap();
    }
}

#[derive(Default)]
pub(crate) struct Journal {
    acknowledged: Vec<Batch>,
    /// How often another owner was noticed.
    fenced: usize,
    /// In which epoch a room was taken over, and what the last seq was then.
    takeovers: Vec<(Epoch, RoomId, Seq)>,
}

/// What a fight did to the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Damage {
    /// Acknowledged batches that are not in the log.
    pub(crate) lost: usize,
    /// Rows that a former owner wrote after its successor had read where the log ends.
    pub(crate) behind_the_back: usize,
    /// Rows that do not continue what was before them: gaps, repeats, epochs that went back.
    pub(crate) disorder: usize,
}

/// Several owners take a shard from each other all the time, and write as long as they can. Nothing that one was told is
/// committed may be missing, nor be missed by the one who took over.
pub(crate) async fn owners_who_fight_for_a_shard_lose_nothing(log: &dyn OwnedLog) {
    let (damage, journals) = fight(&Own(log), 4, 100, 5).await;
    assert_eq!(damage, Damage::default());
    assert!(journals.iter().all(|journal| journal.acknowledged.len() >= 100 && journal.fenced >= 5));
}

/// Lets owners fight until each has had so many batches acknowledged, and was fenced so often.
pub(crate) async fn fight(
    way: &dyn Way,
    fighters: u64,
    batches: usize,
    fences: usize,
) -> (Damage, Vec<Journal>) {
    let rooms = rooms_of_one_shard(3);
    // Whoever has enough fights on until all have: nobody is fenced by those who went home.
    let unsatisfied = AtomicU64::new(fighters);
    let wanted = Wanted { batches, fences, unsatisfied: &unsatisfied };
    let journals = join_all((1..=fighters).map(|seed| fight_alone(way, &rooms, seed, wanted))).await;
    let mut damage = Damage::default();
    for room in &rooms {
        let rows = way.rows(*room).await;
        let found = check(*room, &rows, &journals);
        damage.lost += found.lost;
        damage.behind_the_back += found.behind_the_back;
        damage.disorder += found.disorder;
    }
    (damage, journals)
}

fn check(room: RoomId, rows: &[LogRow], journals: &[Journal]) -> Damage {
    let written: BTreeSet<(Seq, Seq, Bytes)> =
        rows.iter().map(|row| (row.first, row.last, row.ops.clone())).collect();
    let acknowledged = journals.iter().flat_map(|journal| &journal.acknowledged);
    let is_lost = |batch: &&Batch| {
        batch.room == room && !written.contains(&(batch.first, batch.last, batch.ops.clone()))
    };
    let takeovers: Vec<(Epoch, Seq)> = journals
        .iter()
        .flat_map(|journal| &journal.takeovers)
        .filter(|takeover| takeover.1 == room)
        .map(|(epoch, _, head)| (*epoch, *head))
        .collect();
    let is_behind =
        |row: &&LogRow| takeovers.iter().any(|(epoch, head)| row.epoch < *epoch && row.last > *head);
    let mut end = (Seq(0), Epoch(0));
    let mut disorder = 0;
    for row in rows {
        let follows = row.first == end.0.next() && row.last >= row.first && row.epoch >= end.1;
        disorder += usize::from(!follows);
        end = (row.last, row.epoch);
    }
    Damage {
        lost: acknowledged.filter(is_lost).count(),
        behind_the_back: rows.iter().filter(is_behind).count(),
        disorder,
    }
}

#[derive(Clone, Copy)]
struct Wanted<'a> {
    batches: usize,
    fences: usize,
    /// How many fighters have less than that.
    unsatisfied: &'a AtomicU64,
}

async fn fight_alone(way: &dyn Way, rooms: &[RoomId], seed: u64, wanted: Wanted<'_>) -> Journal {
    let mut journal = Journal::default();
    let mut chance = seed;
    let mut satisfied = false;
    while wanted.unsatisfied.load(Relaxed) > 0 {
        assert!(journal.takeovers.len() < 100_000, "no progress with {} writes", journal.acknowledged.len());
        // Lets the others be for a while, as long as some reads take.
        for _ in 0..next(&mut chance) % 40 {
            way.pause().await;
        }
        let Some((owner, epoch)) = way.take_over(rooms[0]).await else { continue };
        let mut heads = Vec::new();
        for room in rooms {
            let head = way.rows(*room).await.last().map_or(Seq(0), |row| row.last);
            journal.takeovers.push((epoch, *room, head));
            heads.push(head);
        }
        write_until_fenced(way, &owner, epoch, rooms, heads, &mut chance, &mut journal).await;
        let enough = journal.acknowledged.len() >= wanted.batches && journal.fenced >= wanted.fences;
        if enough && !satisfied {
            satisfied = true;
            wanted.unsatisfied.fetch_sub(1, Relaxed);
        }
    }
    journal
}

async fn write_until_fenced(
    way: &dyn Way,
    owner: &Owner<'_>,
    epoch: Epoch,
    rooms: &[RoomId],
    mut heads: Vec<Seq>,
    chance: &mut u64,
    journal: &mut Journal,
) {
    for _ in 0..next(chance) % 20 {
        let mut batches = Vec::new();
        for (room, head) in rooms.iter().zip(&mut heads) {
            for _ in 0..next(chance) % 3 {
                let last = head.0 + 1 + next(chance) % 5;
                batches.push(batch(*room, epoch, head.0 + 1, last));
                *head = Seq(last);
            }
        }
        if !way.append(owner, &batches).await {
            journal.fenced += 1;
            return;
        }
        journal.acknowledged.extend(batches);
    }
}

pub(crate) fn rooms_of_one_shard(count: usize) -> Vec<RoomId> {
    let mut rooms = vec![new_room_id()];
    while rooms.len() < count {
        let room = new_room_id();
        if Shard::of(room) == Shard::of(rooms[0]) {
            rooms.push(room);
        }
    }
    rooms
}

/// A generator by George Marsaglia (xorshift): the same fight every time, as far as the scheduler permits.
fn next(chance: &mut u64) -> u64 {
    *chance ^= *chance << 13;
    *chance ^= *chance >> 7;
    *chance ^= *chance << 17;
    *chance >> 33
}
