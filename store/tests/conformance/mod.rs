//! What every store must do, whatever it is made of: the same functions run against each implementation.
//!
//! They share one store with each other if need be: all ids are new in each, except shards, which are claimed where needed.

pub(crate) mod directory;
pub(crate) mod log;
pub(crate) mod model;
pub(crate) mod rooms;

use bytes::Bytes;
use enfilade_proto::{DisplayName, Epoch, LinkId, LoginId, Role, RoomId, RoomKind, Seq, UserId, Username};
use enfilade_store::{
    Batch, Checkpoint, Directory, Incarnation, LinkHash, LoginRow, NewLink, NewRoom, NewUser, RoomLog, Shard,
};
use uuid::Uuid;

pub(crate) fn new_room_id() -> RoomId {
    RoomId(Uuid::new_v4())
}

pub(crate) fn new_incarnation() -> Incarnation {
    Incarnation(Uuid::new_v4())
}

/// A process that owns rooms.
pub(crate) struct Owner<'a> {
    pub(crate) log: &'a dyn RoomLog,
    pub(crate) incarnation: Incarnation,
}

impl<'a> Owner<'a> {
    pub(crate) fn new(log: &'a dyn RoomLog) -> Self {
        Self { log, incarnation: new_incarnation() }
    }

    pub(crate) async fn claim(&self, room: RoomId) -> Epoch {
        self.log.claim(self.incarnation, &[Shard::of(room)]).await.unwrap()[0].1
    }
}

/// A batch of the ops `first` to `last`, the bytes of which tell them from every other.
pub(crate) fn batch(room: RoomId, epoch: Epoch, first: u64, last: u64) -> Batch {
    Batch {
        room,
        epoch,
        first: Seq(first),
        last: Seq(last),
        at_ms: first.saturating_add(1_000),
        ops: ops(room, epoch, first, last),
    }
}

pub(crate) fn ops(room: RoomId, epoch: Epoch, first: u64, last: u64) -> Bytes {
    format!("{room}/{epoch}/{first}-{last}").into()
}

pub(crate) fn checkpoint(room: RoomId, seq: u64, body: impl Into<Bytes>) -> Checkpoint {
    Checkpoint { room, seq: Seq(seq), epoch: Epoch(1), format: 3, body: body.into(), at_ms: 77 }
}

pub(crate) fn name(text: &str) -> DisplayName {
    DisplayName::new(text).unwrap()
}

pub(crate) fn new_user(username: &str) -> NewUser {
    NewUser {
        id: UserId(Uuid::new_v4()),
        username: Username::new(username).unwrap(),
        name: name("Ada 👩‍🎨"),
        password_hash: "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA".into(),
        created_ms: 1_700_000_000_000,
    }
}

/// A person with a username that nobody else has.
pub(crate) async fn somebody(directory: &dyn Directory) -> UserId {
    let user = new_user(&format!("u{}", &Uuid::new_v4().simple().to_string()[..20]));
    directory.create_user(&user).await.unwrap();
    user.id
}

pub(crate) fn new_login(user: UserId, created_ms: u64) -> LoginRow {
    LoginRow {
        id: LoginId(Uuid::new_v4()),
        user,
        key: [9; 32],
        counter: 0,
        rotated_ms: created_ms,
        created_ms,
        expires_ms: created_ms + 1_000_000,
        device: "Firefox on a fridge".into(),
    }
}

pub(crate) fn new_hash() -> LinkHash {
    let (a, b) = (Uuid::new_v4(), Uuid::new_v4());
    let bytes: Vec<u8> = a.as_bytes().iter().chain(b.as_bytes()).copied().collect();
    LinkHash(bytes.try_into().unwrap())
}

pub(crate) fn new_link(role: Role) -> NewLink {
    NewLink { id: LinkId(Uuid::new_v4()), hash: new_hash(), role, created_ms: 5, expires_ms: None }
}

pub(crate) fn new_room(owner: Option<UserId>) -> NewRoom {
    NewRoom {
        id: new_room_id(),
        kind: RoomKind::Board,
        title: name("Plans"),
        created_ms: 10,
        owner,
        link: None,
    }
}

pub(crate) async fn a_room(directory: &dyn Directory, owner: Option<UserId>) -> RoomId {
    let room = new_room(owner);
    directory.create_room(&room).await.unwrap();
    room.id
}
