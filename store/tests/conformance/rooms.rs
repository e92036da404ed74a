//! Rooms, links, members, and who may enter.

use enfilade_proto::{LinkId, Role, RoomId, RoomKind, Seq, UserId};
use enfilade_store::{Access, Directory, LinkHash, LinkRow, NewLink, NewRoom, Outcome, RoomRow, StoreError};
use futures_util::future::join_all;
use uuid::Uuid;

use super::{
    OwnedLog, Owner, a_room, batch, checkpoint, name, new_hash, new_link, new_room, new_room_id, somebody,
};

use Role::{Editor, Owner as RoomOwner, Viewer};

fn row(room: &NewRoom, role: Option<Role>) -> RoomRow {
    RoomRow { id: room.id, kind: room.kind, title: room.title.clone(), created_ms: room.created_ms, role }
}

fn shown(link: &NewLink) -> LinkRow {
    LinkRow { id: link.id, role: link.role, created_ms: link.created_ms, expires_ms: link.expires_ms }
}

async fn roles(directory: &dyn Directory, room: RoomId) -> Vec<(UserId, Role)> {
    let members = directory.members(room, None, 1_000).await.unwrap();
    members.into_iter().map(|member| (member.user, member.role)).collect()
}

// ---- rooms ----------------------------------------------------------------------------------------------------

pub(crate) async fn a_room_is_created_with_its_owner_and_link(directory: &dyn Directory) {
    let owner = somebody(directory).await;
    let link = new_link(Editor);
    let room = NewRoom { kind: RoomKind::Document, link: Some(link.clone()), ..new_room(Some(owner)) };
    directory.create_room(&room).await.unwrap();
    assert_eq!(directory.room(room.id).await.unwrap(), Some(row(&room, None)));
    assert_eq!(roles(directory, room.id).await, [(owner, RoomOwner)]);
    assert_eq!(directory.links(room.id).await.unwrap(), [shown(&link)]);

    assert!(matches!(directory.create_room(&room).await, Err(StoreError::Exists)));
    assert_eq!(directory.room(new_room_id()).await.unwrap(), None);
}

pub(crate) async fn a_room_is_created_wholly_or_not(directory: &dyn Directory) {
    let owner = somebody(directory).await;
    let taken = new_link(Viewer);
    directory.create_room(&NewRoom { link: Some(taken.clone()), ..new_room(None) }).await.unwrap();

    let same_hash = NewLink { hash: taken.hash, ..new_link(Viewer) };
    let room = NewRoom { link: Some(same_hash), ..new_room(Some(owner)) };
    assert!(matches!(directory.create_room(&room).await, Err(StoreError::Exists)));
    assert_eq!(directory.room(room.id).await.unwrap(), None);
    assert_eq!(directory.rooms_of(owner, None, 10).await.unwrap(), []);

    let room = new_room(Some(UserId(Uuid::new_v4())));
    assert!(matches!(directory.create_room(&room).await, Err(StoreError::Missing)));
    assert_eq!(directory.room(room.id).await.unwrap(), None);
}

pub(crate) async fn a_room_changes_its_title(directory: &dyn Directory) {
    let room = a_room(directory, None).await;
    assert!(directory.rename_room(room, &name("Other plans")).await.unwrap());
    assert_eq!(directory.room(room).await.unwrap().unwrap().title, name("Other plans"));
    assert!(!directory.rename_room(new_room_id(), &name("x")).await.unwrap());
}

pub(crate) async fn a_persons_rooms_come_in_pages_the_newest_first(directory: &dyn Directory) {
    let (user, other) = (somebody(directory).await, somebody(directory).await);
    let mut rooms = Vec::new();
    for i in 0..23 {
        // Several rooms of the same millisecond.
        let room =
            NewRoom { created_ms: 100 + i / 4, ..new_room(Some(if i % 5 == 0 { other } else { user })) };
        directory.create_room(&room).await.unwrap();
        let role = if i % 5 == 0 { Viewer } else { RoomOwner };
        directory.put_member(room.id, user, Viewer, None).await.unwrap();
        rooms.push(row(&room, Some(role)));
    }
    rooms.sort_by_key(|room| std::cmp::Reverse((room.created_ms, room.id)));
    let mut seen: Vec<RoomRow> = Vec::new();
    loop {
        let after = seen.last().map(|room| (room.created_ms, room.id));
        let page = directory.rooms_of(user, after, 4).await.unwrap();
        assert!(page.len() <= 4);
        if page.is_empty() {
            break;
        }
        seen.extend(page);
        // A room that appears in front meanwhile shifts nothing.
        directory.create_room(&NewRoom { created_ms: 9_999, ..new_room(Some(user)) }).await.unwrap();
    }
    assert_eq!(seen, rooms);
    assert_eq!(directory.rooms_of(other, None, 100).await.unwrap().len(), 5);
    assert_eq!(directory.rooms_of(UserId(Uuid::new_v4()), None, 100).await.unwrap(), []);
}

pub(crate) async fn a_deleted_room_takes_everything_with_it(directory: &dyn Directory, log: &dyn OwnedLog) {
    let user = somebody(directory).await;
    let link = new_link(Editor);
    let room = NewRoom { link: Some(link.clone()), ..new_room(Some(user)) };
    directory.create_room(&room).await.unwrap();
    directory.mark_read(room.id, user, Seq(3)).await.unwrap();
    let owner = Owner::new(log).await;
    let epoch = owner.claim(room.id).await;
    for seq in 1..=600 {
        log.append(owner.incarnation, &[batch(room.id, epoch, seq, seq)]).await.unwrap();
    }
    let large = checkpoint(room.id, 400, vec![1; 3_000_000]);
    log.put_checkpoint(&large).await.unwrap();

    assert!(directory.delete_room(room.id).await.unwrap());
    assert!(!directory.delete_room(room.id).await.unwrap());
    assert_eq!(directory.room(room.id).await.unwrap(), None);
    assert_eq!(directory.access(room.id, Some(user), Some(link.hash), 0).await.unwrap(), None);
    assert_eq!(directory.links(room.id).await.unwrap(), []);
    assert_eq!(directory.rooms_of(user, None, 10).await.unwrap(), []);
    assert_eq!(roles(directory, room.id).await, []);
    assert_eq!(log.read(room.id, Seq(0), usize::MAX).await.unwrap(), []);
    assert_eq!(log.checkpoint(room.id).await.unwrap(), None);

    // An owner that has not heard of it yet brings nothing back.
    let late = log.append(owner.incarnation, &[batch(room.id, epoch, 601, 601)]).await.unwrap();
    assert_eq!(late, [Outcome::Fenced]);
    log.put_checkpoint(&checkpoint(room.id, 600, "late")).await.unwrap();
    assert_eq!(log.checkpoint(room.id).await.unwrap(), None);
}

// ---- access ---------------------------------------------------------------------------------------------------

pub(crate) async fn access_is_the_better_of_membership_and_link(directory: &dyn Directory) {
    let (owner, guest) = (somebody(directory).await, UserId(Uuid::new_v4()));
    let (view, edit) = (new_link(Viewer), new_link(Editor));
    let room = a_room(directory, Some(owner)).await;
    directory.create_link(room, &view).await.unwrap();
    directory.create_link(room, &edit).await.unwrap();
    let access = |user, link: Option<&NewLink>| {
        let hash = link.map(|link| link.hash);
        async move { directory.access(room, user, hash, 1_000).await.unwrap().unwrap() }
    };
    let expect = |member, link: Option<&NewLink>| Access {
        kind: RoomKind::Board,
        title: name("Plans"),
        member,
        link: link.map(|link| (link.id, link.role)),
    };
    assert_eq!(access(None, None).await, expect(None, None));
    assert_eq!(access(None, None).await.role(), None);
    assert_eq!(access(Some(guest), None).await.role(), None);
    assert_eq!(access(Some(guest), Some(&view)).await, expect(None, Some(&view)));
    assert_eq!(access(Some(guest), Some(&view)).await.role(), Some(Viewer));
    assert_eq!(access(None, Some(&edit)).await.role(), Some(Editor));
    assert_eq!(access(Some(owner), Some(&view)).await, expect(Some(RoomOwner), Some(&view)));
    assert_eq!(access(Some(owner), Some(&view)).await.role(), Some(RoomOwner));

    let viewer = somebody(directory).await;
    directory.put_member(room, viewer, Viewer, None).await.unwrap();
    assert_eq!(access(Some(viewer), None).await.role(), Some(Viewer));
    assert_eq!(access(Some(viewer), Some(&edit)).await.role(), Some(Editor));
    assert_eq!(directory.access(new_room_id(), Some(owner), Some(edit.hash), 1_000).await.unwrap(), None);
}

pub(crate) async fn a_link_that_is_not_good_gives_nothing(directory: &dyn Directory) {
    let (room, other) = (a_room(directory, None).await, a_room(directory, None).await);
    let (good, foreign, revoked) = (new_link(Editor), new_link(Editor), new_link(Editor));
    let expiring = NewLink { expires_ms: Some(500), ..new_link(Editor) };
    directory.create_link(room, &good).await.unwrap();
    directory.create_link(room, &expiring).await.unwrap();
    directory.create_link(room, &revoked).await.unwrap();
    directory.create_link(other, &foreign).await.unwrap();
    assert!(directory.revoke_link(room, revoked.id).await.unwrap());
    let role = |hash: LinkHash, now_ms| async move {
        directory.access(room, None, Some(hash), now_ms).await.unwrap().unwrap().role()
    };
    assert_eq!(role(good.hash, u64::MAX).await, Some(Editor));
    assert_eq!(role(expiring.hash, 499).await, Some(Editor));
    assert_eq!(role(expiring.hash, 500).await, None);
    assert_eq!(role(foreign.hash, 0).await, None);
    assert_eq!(role(revoked.hash, 0).await, None);
    assert_eq!(role(new_hash(), 0).await, None);
    // Membership does not depend on the link that is shown beside it.
    let member = somebody(directory).await;
    directory.put_member(room, member, Viewer, None).await.unwrap();
    let access = directory.access(room, Some(member), Some(foreign.hash), 0).await.unwrap().unwrap();
    assert_eq!((access.member, access.link), (Some(Viewer), None));
}

// ---- links ----------------------------------------------------------------------------------------------------

pub(crate) async fn links_are_listed_without_their_secrets_the_oldest_first(directory: &dyn Directory) {
    let room = a_room(directory, None).await;
    let mut links: Vec<NewLink> = Vec::new();
    for (i, role) in [Viewer, Editor, RoomOwner, Viewer].into_iter().enumerate() {
        let link = NewLink { created_ms: 100 - i as u64, expires_ms: Some(i as u64), ..new_link(role) };
        directory.create_link(room, &link).await.unwrap();
        links.insert(0, link);
    }
    assert_eq!(directory.links(room).await.unwrap(), links.iter().map(shown).collect::<Vec<_>>());
    assert_eq!(directory.links(new_room_id()).await.unwrap(), []);
}

pub(crate) async fn a_link_has_one_room_and_one_secret(directory: &dyn Directory) {
    let (room, other) = (a_room(directory, None).await, a_room(directory, None).await);
    let link = new_link(Viewer);
    directory.create_link(room, &link).await.unwrap();
    assert!(matches!(directory.create_link(room, &link).await, Err(StoreError::Exists)));
    let same_hash = NewLink { hash: link.hash, ..new_link(Editor) };
    assert!(matches!(directory.create_link(other, &same_hash).await, Err(StoreError::Exists)));
    assert!(matches!(
        directory.create_link(new_room_id(), &new_link(Viewer)).await,
        Err(StoreError::Missing)
    ));
    assert!(!directory.revoke_link(other, link.id).await.unwrap(), "that room has no such link");
    assert!(directory.revoke_link(room, link.id).await.unwrap());
    assert!(!directory.revoke_link(room, link.id).await.unwrap());
}

pub(crate) async fn a_revoked_link_ends_the_memberships_that_came_through_it(directory: &dyn Directory) {
    let owner = somebody(directory).await;
    let room = a_room(directory, Some(owner)).await;
    let (kept, revoked) = (new_link(Viewer), new_link(Editor));
    directory.create_link(room, &kept).await.unwrap();
    directory.create_link(room, &revoked).await.unwrap();
    let (through, elsewhere, invited) =
        (somebody(directory).await, somebody(directory).await, somebody(directory).await);
    directory.put_member(room, through, Editor, Some(revoked.id)).await.unwrap();
    directory.put_member(room, elsewhere, Viewer, Some(kept.id)).await.unwrap();
    // Invited in person after having come through the link.
    directory.put_member(room, invited, Editor, Some(revoked.id)).await.unwrap();
    directory.put_member(room, invited, Editor, None).await.unwrap();

    assert!(directory.revoke_link(room, revoked.id).await.unwrap());
    let mut left =
        vec![(owner, RoomOwner, None), (elsewhere, Viewer, Some(kept.id)), (invited, Editor, None)];
    left.sort();
    let members = directory.members(room, None, 10).await.unwrap();
    assert_eq!(members.iter().map(|m| (m.user, m.role, m.via)).collect::<Vec<_>>(), left);
    assert_eq!(directory.rooms_of(through, None, 10).await.unwrap(), []);
}

// ---- members --------------------------------------------------------------------------------------------------

pub(crate) async fn a_better_role_stays(directory: &dyn Directory) {
    let (room, user) = (a_room(directory, None).await, somebody(directory).await);
    for (given, has) in
        [(Viewer, Viewer), (Editor, Editor), (Viewer, Editor), (RoomOwner, RoomOwner), (Editor, RoomOwner)]
    {
        directory.put_member(room, user, given, None).await.unwrap();
        assert_eq!(roles(directory, room).await, [(user, has)]);
    }
    // A link does not take the place of an invitation to the same role.
    let link = new_link(RoomOwner);
    directory.create_link(room, &link).await.unwrap();
    directory.put_member(room, user, RoomOwner, Some(link.id)).await.unwrap();
    assert_eq!(directory.members(room, None, 10).await.unwrap()[0].via, None);
}

pub(crate) async fn membership_needs_a_room_a_person_and_its_own_link(directory: &dyn Directory) {
    let (room, other, user) =
        (a_room(directory, None).await, a_room(directory, None).await, somebody(directory).await);
    let foreign = new_link(Editor);
    directory.create_link(other, &foreign).await.unwrap();
    let missing = [
        directory.put_member(new_room_id(), user, Viewer, None).await,
        directory.put_member(room, UserId(Uuid::new_v4()), Viewer, None).await,
        directory.put_member(room, user, Viewer, Some(LinkId(Uuid::new_v4()))).await,
        directory.put_member(room, user, Viewer, Some(foreign.id)).await,
    ];
    assert!(missing.iter().all(|result| matches!(result, Err(StoreError::Missing))), "{missing:?}");
    assert_eq!(roles(directory, room).await, []);
}

pub(crate) async fn members_come_in_pages(directory: &dyn Directory) {
    let room = a_room(directory, None).await;
    let mut expected = Vec::new();
    for _ in 0..11 {
        let user = somebody(directory).await;
        directory.put_member(room, user, Viewer, None).await.unwrap();
        expected.push(user);
    }
    expected.sort();
    let mut seen: Vec<UserId> = Vec::new();
    loop {
        let page = directory.members(room, seen.last().copied(), 3).await.unwrap();
        assert!(page.len() <= 3);
        if page.is_empty() {
            break;
        }
        assert!(page.iter().all(|member| member.name == name("Ada 👩‍🎨")));
        seen.extend(page.iter().map(|member| member.user));
        // Somebody who was seen already leaves; nobody is skipped for it.
        directory.remove_member(room, seen[0]).await.unwrap();
    }
    assert_eq!(seen, expected);
}

pub(crate) async fn the_last_owner_stays_while_there_are_others(directory: &dyn Directory) {
    let (owner, second, viewer) =
        (somebody(directory).await, somebody(directory).await, somebody(directory).await);
    let room = a_room(directory, Some(owner)).await;
    directory.put_member(room, second, RoomOwner, None).await.unwrap();
    directory.put_member(room, viewer, Viewer, None).await.unwrap();
    assert!(directory.remove_member(room, owner).await.unwrap());
    assert!(!directory.remove_member(room, owner).await.unwrap(), "they are no member any more");
    assert!(matches!(directory.remove_member(room, second).await, Err(StoreError::Exists)));
    assert!(directory.remove_member(room, viewer).await.unwrap());
    assert!(directory.remove_member(room, second).await.unwrap(), "nobody is left behind");
    assert_eq!(roles(directory, room).await, []);
}

pub(crate) async fn owners_who_leave_at_once_leave_one(directory: &dyn Directory) {
    let room = a_room(directory, None).await;
    let mut owners = Vec::new();
    for _ in 0..6 {
        let user = somebody(directory).await;
        directory.put_member(room, user, RoomOwner, None).await.unwrap();
        owners.push(user);
    }
    directory.put_member(room, somebody(directory).await, Viewer, None).await.unwrap();
    let left = join_all(owners.iter().map(|owner| directory.remove_member(room, *owner))).await;
    assert_eq!(left.iter().filter(|result| matches!(result, Ok(true))).count(), 5);
    assert_eq!(left.iter().filter(|result| matches!(result, Err(StoreError::Exists))).count(), 1);
    assert_eq!(roles(directory, room).await.len(), 2);
}

pub(crate) async fn marks_are_kept_of_people_and_rooms_that_exist(directory: &dyn Directory) {
    let (room, user) = (a_room(directory, None).await, somebody(directory).await);
    for seq in [5, 3, 9, u64::MAX] {
        directory.mark_read(room, user, Seq(seq)).await.unwrap();
    }
    directory.mark_read(room, UserId(Uuid::new_v4()), Seq(1)).await.unwrap();
    directory.mark_read(new_room_id(), user, Seq(1)).await.unwrap();
}
