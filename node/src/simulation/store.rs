//! SimLog: one node's way to the database of the simulation, on which calls are slow, fail, are answered by nobody, or are carried
//! out when nobody waits for them any more.

use std::time::Duration;

use async_trait::async_trait;
use enfilade_proto::{DisplayName, Epoch, LinkId, LoginId, Role, RoomId, RoomKind, Seq, UserId, Username};
use enfilade_store::{
    Access, Batch, Checkpoint, Directory, Idempotency, Incarnation, Lease, LinkRow, LogRow, LoginRow,
    MemberRow, NewLink, NewNode, NewRoom, NewUser, Outcome, Ownership, Renewal, Renewed, RoomLog, RoomRow,
    Shard, StoreError, UserRow, View, Visit,
};
use tokio::sync::oneshot;

use super::settings::Mutation;
use super::world::{State, World};

/// A node's handle.
#[derive(Debug)]
pub(super) struct SimLog {
    pub(super) me: Incarnation,
    pub(super) world: World,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Answered,
    /// It does not arrive.
    Refused,
    /// It is carried out, and the answer is lost.
    AnswerLost,
    /// It is not carried out, and nobody says so.
    Lost,
    /// It is carried out when its caller has given up.
    Late,
}

/// How long it takes until a node notices that the database does not answer, at most.
const PATIENCE_MS: u64 = 3_000;
/// How late what was given up is carried out, at most.
const LATE_MS: u64 = 2_500;

fn unavailable() -> StoreError {
    StoreError::Unavailable("simulated".into())
}

fn unknown() -> StoreError {
    StoreError::UnknownOutcome("simulated".into())
}

impl SimLog {
    async fn write<T: Send + 'static>(
        &self,
        name: &'static str,
        apply: impl FnOnce(&mut State) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.call(name, true, apply).await
    }

    async fn look<T: Send + 'static>(
        &self,
        name: &'static str,
        apply: impl FnOnce(&mut State) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        self.call(name, false, |state| Ok(apply(state))).await
    }

    async fn call<T: Send + 'static>(
        &self,
        name: &'static str,
        writes: bool,
        apply: impl FnOnce(&mut State) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (tell, answer) = oneshot::channel();
        self.world.lock().call(self.me, name, writes, apply, tell);
        match answer.await {
            Ok(result) => result,
            Err(_) => std::future::pending().await,
        }
    }
}

impl State {
    fn fate(&mut self, me: Incarnation, writes: bool) -> Fate {
        let faults = self.database.faults;
        let unknown = |state: &mut Self| match state.chance.below(4) {
            0 => Fate::Lost,
            1 => Fate::AnswerLost,
            _ => Fate::Late,
        };
        if self.database.cut.contains(&me) {
            return if writes && self.chance.one_in(2) { Fate::Lost } else { Fate::Refused };
        }
        if self.chance.per_mille(faults.unavailable) {
            return Fate::Refused;
        }
        if writes && self.chance.per_mille(faults.unknown) { unknown(self) } else { Fate::Answered }
    }

    fn call<T: Send + 'static>(
        &mut self,
        me: Incarnation,
        name: &'static str,
        writes: bool,
        apply: impl FnOnce(&mut Self) -> Result<T, StoreError> + Send + 'static,
        tell: oneshot::Sender<Result<T, StoreError>>,
    ) {
        let fate = self.fate(me, writes);
        let slow = self.chance.per_mille(self.database.faults.slow);
        let way_ms = if slow { self.chance.between(20, 400) } else { self.chance.between(1, 6) };
        let way_ms = way_ms + self.database.far_ms.get(&me).copied().unwrap_or_default();
        let back_ms = if slow { self.chance.between(20, 400) } else { self.chance.between(1, 6) };
        let starts = self.database.starts;
        if fate != Fate::Answered {
            self.note("database", [fate as u64, me.0.as_u64_pair().0, 0], || {
                format!("{name} of {}: {fate:?}", short(me))
            });
        }
        let now_ms = self.now_ms;
        let give_up_ms =
            now_ms + way_ms + if fate == Fate::Answered { 0 } else { self.chance.below(PATIENCE_MS) };
        match fate {
            Fate::Refused => self.tell_at(give_up_ms, tell, unavailable()),
            Fate::Lost => self.tell_at(give_up_ms, tell, unknown()),
            Fate::AnswerLost | Fate::Late => {
                self.tell_at(give_up_ms, tell, unknown());
                let late_ms = if fate == Fate::Late {
                    give_up_ms + self.chance.below(LATE_MS)
                } else {
                    now_ms + way_ms
                };
                self.at(late_ms, move |state| {
                    if !state.database.is_down(state.now_ms) && state.database.starts == starts {
                        state.note("database", [9, me.0.as_u64_pair().0, 0], || {
                            format!("{name} of {} is carried out unheard", short(me))
                        });
                        _ = apply(state);
                    }
                });
            }
            Fate::Answered => self.at(now_ms + way_ms, move |state| {
                if state.database.is_down(state.now_ms) {
                    _ = tell.send(Err(unavailable()));
                    return;
                }
                let result = apply(state);
                let starts = state.database.starts;
                state.at(state.now_ms + back_ms, move |state| {
                    let lost = state.database.starts != starts || state.database.cut.contains(&me);
                    _ = tell.send(match (lost, writes) {
                        (false, _) => result,
                        (true, true) => Err(unknown()),
                        (true, false) => Err(unavailable()),
                    });
                });
            }),
        }
    }
}

impl State {
    fn tell_at<T: Send + 'static>(
        &mut self,
        at_ms: u64,
        tell: oneshot::Sender<Result<T, StoreError>>,
        error: StoreError,
    ) {
        self.at(at_ms, move |_| _ = tell.send(Err(error)));
    }
}

pub(super) fn short(node: Incarnation) -> String {
    node.0.simple().to_string()[..6].to_owned()
}

#[async_trait]
impl RoomLog for SimLog {
    async fn append(&self, writer: Incarnation, batches: &[Batch]) -> Result<Vec<Outcome>, StoreError> {
        let batches = batches.to_vec();
        let (admitted, early) = {
            let state = self.world.lock();
            (
                state.database.look_at_fence(writer, &batches),
                state.settings.mutation == Mutation::AnsweredEarly,
            )
        };
        if early {
            let mut state = self.world.lock();
            let outcomes =
                admitted.iter().map(|ours| if *ours { Outcome::Committed } else { Outcome::Fenced });
            let outcomes = outcomes.collect();
            let at_ms = state.now_ms + state.chance.between(20, 200);
            state.at(at_ms, move |state| {
                if !state.database.is_down(state.now_ms) && !state.database.cut.contains(&writer) {
                    state.database.append(writer, &batches, &admitted);
                }
            });
            return Ok(outcomes);
        }
        self.write("append", move |state| {
            let outcomes = state.database.append(writer, &batches, &admitted);
            for (batch, outcome) in batches.iter().zip(&outcomes) {
                let numbers = [batch.first.0, batch.last.0, batch.epoch.0];
                state.note("append", numbers, || {
                    let (room, by) = (&batch.room.0.simple().to_string()[30..], short(writer));
                    format!(
                        "room {room} seq {}..={} epoch {} by {by}: {outcome:?}",
                        batch.first, batch.last, batch.epoch
                    )
                });
            }
            Ok(outcomes)
        })
        .await
    }

    async fn read(&self, room: RoomId, after: Seq, max_bytes: usize) -> Result<Vec<LogRow>, StoreError> {
        self.look("read", move |state| state.database.read(room, after, max_bytes)).await
    }

    async fn rooms(&self, _: Option<RoomId>, _: u32) -> Result<Vec<RoomId>, StoreError> {
        Err(unavailable())
    }

    async fn checkpoint(&self, room: RoomId) -> Result<Option<Checkpoint>, StoreError> {
        self.look("checkpoint", move |state| state.database.checkpoint(room)).await
    }

    async fn put_checkpoint(&self, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        let checkpoint = checkpoint.clone();
        self.write("put_checkpoint", move |state| {
            state.database.put_checkpoint(checkpoint);
            Ok(())
        })
        .await
    }

    async fn prune(&self, _before_ms: u64, _max_rows: u32) -> Result<u64, StoreError> {
        self.write("prune", |state| Ok(state.database.prune())).await
    }
}

#[async_trait]
impl Ownership for SimLog {
    async fn enter(&self, node: &NewNode, lease: Duration) -> Result<(), StoreError> {
        let node = node.clone();
        self.write("enter", move |state| state.database.enter(&node, lease, state.now_ms)).await
    }

    async fn renew(
        &self,
        node: Incarnation,
        renewal: Renewal,
        lease: Duration,
    ) -> Result<Option<Renewed>, StoreError> {
        self.write("renew", move |state| Ok(state.database.renew(node, renewal, lease, state.now_ms))).await
    }

    async fn view(&self) -> Result<View, StoreError> {
        self.look("view", |state| state.database.view(state.now_ms)).await
    }

    async fn bury(&self, gone: &[Incarnation]) -> Result<Vec<Incarnation>, StoreError> {
        let gone = gone.to_vec();
        self.write("bury", move |state| {
            let buried = state.database.bury(&gone);
            note_buried(state, &buried);
            Ok(buried)
        })
        .await
    }

    async fn expire(&self, seen: &[Lease], grace: Duration) -> Result<Vec<Incarnation>, StoreError> {
        let seen = seen.to_vec();
        self.write("expire", move |state| {
            let buried = state.database.expire(&seen, grace, state.now_ms);
            note_buried(state, &buried);
            Ok(buried)
        })
        .await
    }

    async fn claim(&self, owner: Incarnation, shards: &[Shard]) -> Result<Vec<(Shard, Epoch)>, StoreError> {
        let shards = shards.to_vec();
        self.write("claim", move |state| {
            let given = state.database.claim(owner, &shards);
            let numbers = [owner.0.as_u64_pair().0, given.len() as u64, 0];
            state.note("claim", numbers, || {
                format!("{} gets {} of {}", short(owner), given.len(), shards.len())
            });
            Ok(given)
        })
        .await
    }

    async fn hand_over(
        &self,
        from: Incarnation,
        to: Incarnation,
        shards: &[Shard],
    ) -> Result<Vec<(Shard, Epoch)>, StoreError> {
        let shards = shards.to_vec();
        self.write("hand_over", move |state| {
            let given = state.database.hand_over(from, to, &shards);
            let numbers = [from.0.as_u64_pair().0, to.0.as_u64_pair().0, given.len() as u64];
            state.note("hand over", numbers, || {
                format!("{} gives {} to {}", short(from), given.len(), short(to))
            });
            Ok(given)
        })
        .await
    }
}

fn note_buried(state: &mut State, buried: &[Incarnation]) {
    for node in buried {
        state.note("buried", [node.0.as_u64_pair().0, 0, 0], || short(*node));
    }
}

/// Rooms are there; of everything else the simulation has nothing.
#[async_trait]
impl Directory for SimLog {
    async fn room(&self, id: RoomId) -> Result<Option<RoomRow>, StoreError> {
        self.look("room", move |state| {
            state.database.has_room(id).then(|| RoomRow {
                id,
                kind: RoomKind::Board,
                title: DisplayName::new("Room").unwrap(),
                created_ms: 0,
                role: None,
            })
        })
        .await
    }

    async fn secret(&self, _name: &str, _offered: &[u8]) -> Result<Vec<u8>, StoreError> {
        Ok(vec![7; 32])
    }

    async fn create_user(&self, _: &NewUser) -> Result<(), StoreError> {
        Err(unavailable())
    }
    async fn user(&self, _: UserId) -> Result<Option<UserRow>, StoreError> {
        Err(unavailable())
    }
    async fn user_by_name(&self, _: &Username) -> Result<Option<UserRow>, StoreError> {
        Err(unavailable())
    }
    async fn rename_user(&self, _: UserId, _: &DisplayName) -> Result<(), StoreError> {
        Err(unavailable())
    }
    async fn set_password_hash(&self, _: UserId, _: &str) -> Result<(), StoreError> {
        Err(unavailable())
    }
    async fn create_login(&self, _: &LoginRow, _: u32) -> Result<Vec<LoginId>, StoreError> {
        Err(unavailable())
    }
    async fn login(&self, _: LoginId) -> Result<Option<LoginRow>, StoreError> {
        Err(unavailable())
    }
    async fn logins(&self, _: UserId) -> Result<Vec<LoginRow>, StoreError> {
        Err(unavailable())
    }
    async fn rotate_login(&self, _: LoginId, _: u64, _: u64) -> Result<bool, StoreError> {
        Err(unavailable())
    }
    async fn end_login(&self, _: LoginId) -> Result<bool, StoreError> {
        Err(unavailable())
    }
    async fn end_logins(&self, _: UserId) -> Result<Vec<LoginId>, StoreError> {
        Err(unavailable())
    }
    async fn create_room(&self, _: &NewRoom) -> Result<(), StoreError> {
        Err(unavailable())
    }
    async fn rename_room(&self, _: RoomId, _: &DisplayName) -> Result<bool, StoreError> {
        Err(unavailable())
    }
    async fn delete_room(&self, _: RoomId) -> Result<bool, StoreError> {
        Err(unavailable())
    }
    async fn rooms_of(
        &self,
        _: UserId,
        _: Option<(u64, RoomId)>,
        _: u32,
    ) -> Result<Vec<RoomRow>, StoreError> {
        Err(unavailable())
    }
    async fn accesses(
        &self,
        _: &[Visit],
        _: u64,
    ) -> Result<Vec<Result<Option<Access>, StoreError>>, StoreError> {
        Err(unavailable())
    }
    async fn create_link(&self, _: RoomId, _: &NewLink) -> Result<(), StoreError> {
        Err(unavailable())
    }
    async fn links(&self, _: RoomId) -> Result<Vec<LinkRow>, StoreError> {
        Err(unavailable())
    }
    async fn revoke_link(&self, _: RoomId, _: LinkId) -> Result<bool, StoreError> {
        Err(unavailable())
    }
    async fn put_member(&self, _: RoomId, _: UserId, _: Role, _: Option<LinkId>) -> Result<(), StoreError> {
        Err(unavailable())
    }
    async fn members(&self, _: RoomId, _: Option<UserId>, _: u32) -> Result<Vec<MemberRow>, StoreError> {
        Err(unavailable())
    }
    async fn remove_member(&self, _: RoomId, _: UserId) -> Result<bool, StoreError> {
        Err(unavailable())
    }
    async fn share_a_room(&self, _: UserId, _: UserId) -> Result<bool, StoreError> {
        Err(unavailable())
    }
    async fn mark_read(&self, _: RoomId, _: UserId, _: Seq) -> Result<(), StoreError> {
        Err(unavailable())
    }
    async fn begin_idempotent(&self, _: &str, _: &[u8; 32], _: u64) -> Result<Idempotency, StoreError> {
        Err(unavailable())
    }
    async fn finish_idempotent(&self, _: &str, _: Option<(u16, &str)>, _: u64) -> Result<(), StoreError> {
        Err(unavailable())
    }
}
