//! What every store must do, whatever it is made of: the same functions run against each implementation.
//!
//! They share one store with each other if need be: all ids are new in each, except shards, which are taken where needed.

/// Hands the tests of every store to a macro that runs them on one: functions that take a store, by module.
macro_rules! every_store {
    ($run:ident) => {
        $run! {
            log:
                what_was_appended_is_read_back_in_order
                rooms_on_record_are_listed_by_pages
                a_batch_must_continue_its_rooms_log
                each_batch_of_a_call_has_its_own_outcome
                batches_of_one_room_may_follow_one_another_in_a_call
                an_empty_batch_only_asks_the_fence
                a_call_takes_thousands_of_batches
                a_read_begins_with_the_row_that_has_the_next_op
                a_read_stops_at_its_bound
                only_the_owner_writes_and_only_in_its_epoch
                a_newer_checkpoint_replaces_an_older
                a_checkpoint_is_never_ahead_of_the_log
                a_checkpoint_may_be_empty_or_large
                checkpoints_written_at_once_do_not_mix
                pruning_deletes_only_what_is_old_and_behind_a_checkpoint
                a_log_goes_on_after_all_of_it_was_pruned
                clocks_that_go_back_leave_no_hole;
            fight:
                owners_who_fight_for_a_shard_lose_nothing;
            ownership:
                a_node_enters_once
                a_node_says_how_it_is
                a_node_that_leaves_does_not_come_back
                a_lease_that_is_over_can_be_renewed_until_the_node_is_buried
                only_nodes_that_are_there_are_buried
                every_claim_raises_the_epoch
                what_nobody_alive_owns_can_be_claimed
                whoever_is_not_alive_gets_nothing
                the_version_grows_with_every_change_and_only_then;
            directory:
                a_person_is_found_by_id_and_by_username
                a_username_is_taken_in_every_case
                of_many_who_want_a_username_one_gets_it
                a_person_changes_name_and_password
                a_login_is_kept_until_it_ends
                nobody_logs_in_without_an_account
                a_refresh_token_is_rotated_once
                the_oldest_logins_end_when_there_are_too_many
                signing_out_everywhere_ends_all_logins_of_one_person
                the_first_secret_offered_is_everybodys
                a_request_that_is_repeated_gets_the_same_answer
                a_key_is_free_again_when_its_request_failed_or_hangs
                of_many_equal_requests_one_is_worked_on;
            rooms:
                a_room_is_created_with_its_owner_and_link
                a_room_is_created_wholly_or_not
                a_room_changes_its_title
                a_persons_rooms_come_in_pages_the_newest_first
                access_is_the_better_of_membership_and_link
                a_link_that_is_not_good_gives_nothing
                links_are_listed_without_their_secrets_the_oldest_first
                a_link_has_one_room_and_one_secret
                a_revoked_link_ends_the_memberships_that_came_through_it
                a_better_role_stays
                membership_needs_a_room_a_person_and_its_own_link
                members_come_in_pages
                the_last_owner_stays_while_there_are_others
                owners_who_leave_at_once_leave_one
                marks_are_kept_of_people_and_rooms_that_exist;
        }
    };
}

pub(crate) mod cluster;
pub(crate) mod directory;
pub(crate) mod fight;
pub(crate) mod log;
pub(crate) mod model;
pub(crate) mod ownership;
pub(crate) mod rooms;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use enfilade_proto::{DisplayName, Epoch, LinkId, LoginId, Role, RoomId, RoomKind, Seq, UserId, Username};
use enfilade_store::{
    Batch, Checkpoint, Directory, Incarnation, LinkHash, LoginRow, NewLink, NewNode, NewRoom, NewUser,
    Ownership, RoomLog, Shard,
};
use uuid::Uuid;

pub(crate) fn new_room_id() -> RoomId {
    RoomId(Uuid::new_v4())
}

pub(crate) fn new_incarnation() -> Incarnation {
    Incarnation(Uuid::new_v4())
}

pub(crate) fn new_node() -> NewNode {
    NewNode {
        incarnation: new_incarnation(),
        name: "Ada’s machine".into(),
        address: "127.0.0.1:7070".into(),
        version: "0.1.0".into(),
        host: true,
        edge: false,
    }
}

/// Longer than any test takes.
pub(crate) const LEASE: Duration = Duration::from_secs(3_600);

/// A log together with who owns it.
pub(crate) trait OwnedLog: RoomLog + Ownership {}

impl<T: RoomLog + Ownership> OwnedLog for T {}

/// A process that owns rooms.
pub(crate) struct Owner<'a> {
    pub(crate) log: &'a dyn OwnedLog,
    pub(crate) incarnation: Incarnation,
}

impl<'a> Owner<'a> {
    /// A new one. Where there can be one only, it is the death of all others.
    pub(crate) async fn new(log: &'a dyn OwnedLog) -> Self {
        let node = new_node();
        log.enter(&node, LEASE).await.unwrap();
        Self { log, incarnation: node.incarnation }
    }

    /// Takes shards from whoever has them. Gets none if it was declared dead itself.
    pub(crate) async fn take(&self, shards: &[Shard]) -> BTreeMap<Shard, Epoch> {
        let view = self.log.view().await.unwrap();
        let in_the_way = view
            .owners
            .iter()
            .filter(|(shard, owner, _)| shards.contains(shard) && *owner != self.incarnation);
        let in_the_way: Vec<Incarnation> = in_the_way.map(|(_, owner, _)| *owner).collect();
        self.log.bury(&in_the_way).await.unwrap();
        self.log.claim(self.incarnation, shards).await.unwrap().into_iter().collect()
    }

    /// Takes the shard of a room.
    pub(crate) async fn claim(&self, room: RoomId) -> Epoch {
        self.take(&[Shard::of(room)]).await[&Shard::of(room)]
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
