//! People, their logins, rooms, who may enter them, and the answers to remember.

use std::fmt;

use async_trait::async_trait;
use enfilade_proto::{DisplayName, LinkId, LoginId, Role, RoomId, RoomKind, Seq, UserId, Username};

use crate::error::StoreError;

/// How long a key stays reserved for a request that does not answer.
pub(crate) const RESERVED_MS: u64 = 60_000;
/// How long an answer is remembered.
pub(crate) const ANSWERED_MS: u64 = 24 * 60 * 60 * 1_000;
/// Keys that are forgotten with each one that is reserved: more than one, so that they get fewer.
pub(crate) const FORGOTTEN_AT_ONCE: u32 = 16;

/// SHA-256 of the secret of a share link; the secret itself is never stored.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LinkHash(pub [u8; 32]);

impl fmt::Debug for LinkHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkHash(…)")
    }
}

#[derive(Clone, PartialEq)]
pub struct NewUser {
    pub id: UserId,
    pub username: Username,
    pub name: DisplayName,
    /// A PHC string.
    pub password_hash: String,
    pub created_ms: u64,
}

#[derive(Clone, PartialEq)]
pub struct UserRow {
    pub id: UserId,
    pub username: Username,
    pub name: DisplayName,
    pub password_hash: String,
    pub created_ms: u64,
}

// Whoever prints a person or a login prints no secret.

impl fmt::Debug for NewUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewUser")
            .field("id", &self.id)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for UserRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserRow")
            .field("id", &self.id)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for LoginRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut row = f.debug_struct("LoginRow");
        row.field("id", &self.id)
            .field("user", &self.user)
            .field("counter", &self.counter)
            .finish_non_exhaustive()
    }
}

/// A signed-in device: one row as long as it stays signed in. Its refresh tokens are (id, counter, MAC under `key`).
#[derive(Clone, PartialEq)]
pub struct LoginRow {
    pub id: LoginId,
    pub user: UserId,
    pub key: [u8; 32],
    /// How often the refresh token was rotated.
    pub counter: u64,
    /// When it was rotated last.
    pub rotated_ms: u64,
    pub created_ms: u64,
    /// Not to be refreshed after this, whatever happens.
    pub expires_ms: u64,
    /// What the person would recognise the device by, at most 200 characters.
    pub device: String,
}

#[derive(Clone, Debug)]
pub struct NewRoom {
    pub id: RoomId,
    pub kind: RoomKind,
    pub title: DisplayName,
    pub created_ms: u64,
    /// The signed-in owner; a guest's room has an owner's link instead.
    pub owner: Option<UserId>,
    pub link: Option<NewLink>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct RoomRow {
    pub id: RoomId,
    pub kind: RoomKind,
    pub title: DisplayName,
    pub created_ms: u64,
    /// The role of the person who asked, where the question was a person's.
    pub role: Option<Role>,
}

#[derive(Clone, Debug)]
pub struct NewLink {
    pub id: LinkId,
    pub hash: LinkHash,
    pub role: Role,
    pub created_ms: u64,
    pub expires_ms: Option<u64>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct LinkRow {
    pub id: LinkId,
    pub role: Role,
    pub created_ms: u64,
    pub expires_ms: Option<u64>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct MemberRow {
    pub user: UserId,
    pub name: DisplayName,
    pub role: Role,
    /// The link through which they became a member; revoking it ends the membership.
    pub via: Option<LinkId>,
}

/// What one person with one link may do in a room. No access is both absent.
#[derive(Clone, Debug, PartialEq)]
pub struct Access {
    pub kind: RoomKind,
    pub title: DisplayName,
    pub member: Option<Role>,
    pub link: Option<(LinkId, Role)>,
}

/// Visits that are looked up with one statement.
pub const VISITS: usize = 256;

/// Somebody at the door of a room: a membership (only signed-in people have any), a link, both or neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Visit {
    pub room: RoomId,
    pub user: Option<UserId>,
    pub link: Option<LinkHash>,
}

impl Access {
    /// The better of the membership and the link.
    #[must_use]
    pub fn role(&self) -> Option<Role> {
        self.member.max(self.link.map(|(_, role)| role))
    }
}

/// What is known of an `Idempotency-Key`.
#[derive(Clone, Debug, PartialEq)]
pub enum Idempotency {
    /// Never seen: it is now reserved for this request.
    New,
    /// The same request is being worked on.
    InProgress,
    /// It was used for a request with another fingerprint.
    Mismatch,
    /// The same request was answered so.
    Done { status: u16, body: String },
}

#[async_trait]
pub trait Directory: fmt::Debug + Send + Sync + 'static {
    /// # Errors
    /// `Exists` when the username or the id is taken.
    async fn create_user(&self, user: &NewUser) -> Result<(), StoreError>;
    async fn user(&self, id: UserId) -> Result<Option<UserRow>, StoreError>;
    async fn user_by_name(&self, username: &Username) -> Result<Option<UserRow>, StoreError>;
    /// # Errors
    /// `Missing` when there is no such person.
    async fn rename_user(&self, id: UserId, name: &DisplayName) -> Result<(), StoreError>;
    /// # Errors
    /// `Missing` when there is no such person.
    async fn set_password_hash(&self, id: UserId, password_hash: &str) -> Result<(), StoreError>;

    /// Stores a login and ends the person's oldest ones beyond `most` (the new one stays in any case). Returns those
    /// that were ended.
    ///
    /// # Errors
    /// `Missing` when there is no such person, `Exists` when the id is taken.
    async fn create_login(&self, login: &LoginRow, most: u32) -> Result<Vec<LoginId>, StoreError>;
    async fn login(&self, id: LoginId) -> Result<Option<LoginRow>, StoreError>;
    /// The logins of a person, the newest first.
    async fn logins(&self, user: UserId) -> Result<Vec<LoginRow>, StoreError>;
    /// Moves the counter from `from` to `from + 1`. False if it was not at `from`.
    async fn rotate_login(&self, id: LoginId, from: u64, now_ms: u64) -> Result<bool, StoreError>;
    /// False if there was none.
    async fn end_login(&self, id: LoginId) -> Result<bool, StoreError>;
    /// Ends all logins of a person and returns them.
    async fn end_logins(&self, user: UserId) -> Result<Vec<LoginId>, StoreError>;

    /// Stores a room with its owner as a member, and its link.
    ///
    /// # Errors
    /// `Exists` when the id (or the hash of the link) is taken, `Missing` when there is no such owner.
    async fn create_room(&self, room: &NewRoom) -> Result<(), StoreError>;
    async fn room(&self, id: RoomId) -> Result<Option<RoomRow>, StoreError>;
    /// False if there is no such room.
    async fn rename_room(&self, id: RoomId, title: &DisplayName) -> Result<bool, StoreError>;
    /// Deletes a room with its log, checkpoint, links and members. False if there is no such room.
    ///
    /// Once begun it is gone for everybody; what a failure leaves of its log goes with the next
    /// [`prune`](crate::RoomLog::prune).
    async fn delete_room(&self, id: RoomId) -> Result<bool, StoreError>;
    /// The rooms a person is a member of, newest first, after the one that `after` names (created_ms, id).
    async fn rooms_of(
        &self,
        user: UserId,
        after: Option<(u64, RoomId)>,
        limit: u32,
    ) -> Result<Vec<RoomRow>, StoreError>;

    /// Whether there is a room of which both are members.
    async fn share_a_room(&self, one: UserId, other: UserId) -> Result<bool, StoreError>;

    /// What each visit may do, in their order, as one moment has it. None when there is no such room. A link that is unknown, of
    /// another room, revoked, or expired at `now_ms` gives nothing. What is damaged concerns only those who ask for it.
    async fn accesses(
        &self,
        visits: &[Visit],
        now_ms: u64,
    ) -> Result<Vec<Result<Option<Access>, StoreError>>, StoreError>;

    /// As [`Directory::accesses`], for one visit.
    async fn access(
        &self,
        room: RoomId,
        user: Option<UserId>,
        link: Option<LinkHash>,
        now_ms: u64,
    ) -> Result<Option<Access>, StoreError> {
        let found = self.accesses(&[Visit { room, user, link }], now_ms).await?;
        found.into_iter().next().unwrap_or(Ok(None))
    }

    /// # Errors
    /// `Missing` when there is no such room, `Exists` when the id or the hash is taken.
    async fn create_link(&self, room: RoomId, link: &NewLink) -> Result<(), StoreError>;
    /// The links of a room, the oldest first; those that expired, too.
    async fn links(&self, room: RoomId) -> Result<Vec<LinkRow>, StoreError>;
    /// Revokes a link and ends the memberships that came through it. False if the room has no such link.
    async fn revoke_link(&self, room: RoomId, link: LinkId) -> Result<bool, StoreError>;
    /// Makes a person a member; a better role that they have already stays. Of two equal roles, the one that came
    /// through no link is the better.
    ///
    /// # Errors
    /// `Missing` when there is no such room or person, or the room has no such link.
    async fn put_member(
        &self,
        room: RoomId,
        user: UserId,
        role: Role,
        via: Option<LinkId>,
    ) -> Result<(), StoreError>;
    /// The members of a room by id, after the one given.
    async fn members(
        &self,
        room: RoomId,
        after: Option<UserId>,
        limit: u32,
    ) -> Result<Vec<MemberRow>, StoreError>;
    /// False if they were no member. The last owner cannot be removed while there are other members: `Exists`.
    async fn remove_member(&self, room: RoomId, user: UserId) -> Result<bool, StoreError>;
    /// The person has seen everything through `seq`; an older mark does not replace a newer. Guests, who have no
    /// account, get no mark, nor does a room that does not exist.
    async fn mark_read(&self, room: RoomId, user: UserId, seq: Seq) -> Result<(), StoreError>;

    /// A secret of the whole cluster, by name: the first one offered is kept for ever, and everybody gets that one.
    async fn secret(&self, name: &str, offered: &[u8]) -> Result<Vec<u8>, StoreError>;

    /// Reserves a key for a request of `fingerprint`, or says what became of it. Reservations older than a minute without an answer
    /// and answers older than a day are forgotten.
    async fn begin_idempotent(
        &self,
        key: &str,
        fingerprint: &[u8; 32],
        now_ms: u64,
    ) -> Result<Idempotency, StoreError>;
    /// Remembers the answer, or (None) frees the key because the request failed on our side. Nothing happens if the
    /// key was answered or forgotten meanwhile.
    async fn finish_idempotent(
        &self,
        key: &str,
        answer: Option<(u16, &str)>,
        now_ms: u64,
    ) -> Result<(), StoreError>;
}
