//! Rooms as people deal with them: making, sharing, entering and leaving. What happens inside is the room's
//! own.

use std::net::IpAddr;

use enfilade_proto::{DisplayName, ErrorCode, LinkId, Role, RoomId, RoomKind, UserId};
use enfilade_store::{Access, LinkRow, MemberRow, NewLink, NewRoom, RoomRow, StoreError, Visit};
use uuid::Uuid;

use super::limit::Maker;
use super::links::LinkSecret;
use super::{People, Refusal, Visitor, may_have_happened, signing};

/// Links of one room. Nobody reads a longer list.
const LINKS: usize = 200;

/// What somebody may do in a room, and what the room is.
#[derive(Clone, Debug, PartialEq)]
pub struct Admission {
    pub room: RoomId,
    pub kind: RoomKind,
    pub title: DisplayName,
    pub role: Role,
    /// The link that holds, if one was brought.
    pub link: Option<LinkId>,
}

impl Admission {
    /// # Errors
    /// `forbidden` for lesser roles.
    pub fn require(&self, role: Role) -> Result<(), Refusal> {
        if self.role >= role {
            return Ok(());
        }
        let message = format!("only an {} may do this", role.as_str());
        Err(Refusal::new(ErrorCode::Forbidden, message))
    }
}

/// A room to be made.
#[derive(Clone, Debug)]
pub struct NewRoomRequest {
    pub kind: RoomKind,
    pub title: Option<String>,
    /// Its owner. A guest's room has an owner's link instead.
    pub owner: Option<UserId>,
    pub address: IpAddr,
}

/// A room that was made.
#[derive(Clone, Debug)]
pub struct MadeRoom {
    pub id: RoomId,
    pub kind: RoomKind,
    pub title: DisplayName,
    pub link: Option<LinkSecret>,
}

impl People {
    /// What a visitor may do in a room. Asked again, with the same visitor, whenever access has changed.
    ///
    /// # Errors
    /// `room_not_found` when there is none for this visitor, `link_invalid` when only the link is at fault.
    pub async fn access(&self, room: RoomId, visitor: &Visitor) -> Result<Admission, Refusal> {
        let visit = Visit { room, user: visitor.member, link: visitor.link };
        self.accesses(&[visit]).await.pop().unwrap_or_else(|| Err(no_such_room()))
    }

    /// As [`People::access`], for each of several visits.
    pub async fn accesses(&self, visits: &[Visit]) -> Vec<Result<Admission, Refusal>> {
        match self.directory.accesses(visits, self.now_ms()).await {
            Ok(found) => {
                let each = visits.iter().zip(found);
                each.map(|(visit, access)| admission(visit, access?)).collect()
            }
            Err(failure) => {
                let refusal = Refusal::from(failure);
                visits.iter().map(|_| Err(refusal.clone())).collect()
            }
        }
    }

    /// # Errors
    /// `invalid_name`, `rate_limited`, `invalid_request` for a kind that cannot be made yet.
    pub async fn create_room(&self, request: &NewRoomRequest) -> Result<MadeRoom, Refusal> {
        let now_ms = self.now_ms();
        let title = title(request.title.as_deref().unwrap_or("Untitled"))?;
        if request.kind != RoomKind::Board {
            let message = format!("a {} cannot be made here yet", request.kind.as_str());
            return Err(Refusal::of_field("kind", ErrorCode::InvalidRequest, message));
        }
        self.limits.room(Maker::of(request.owner, request.address), now_ms)?;

        let link = request.owner.is_none().then(LinkSecret::random);
        let room = NewRoom {
            // Random through and through: whoever has a room's id learns nothing of another's.
            id: RoomId(Uuid::new_v4()),
            kind: request.kind,
            title: title.clone(),
            created_ms: now_ms,
            owner: request.owner,
            link: link.as_ref().map(|secret| new_link(secret, Role::Owner, now_ms)),
        };
        self.directory.create_room(&room).await?;
        Ok(MadeRoom { id: room.id, kind: room.kind, title, link })
    }

    /// The rooms a person is a member of, newest first, after the one named.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn rooms_of(
        &self,
        user: UserId,
        after: Option<(u64, RoomId)>,
        limit: u32,
    ) -> Result<Vec<RoomRow>, Refusal> {
        Ok(self.directory.rooms_of(user, after, limit).await?)
    }

    /// # Errors
    /// As [`Self::access`]; `forbidden` for all but owners; `invalid_name`.
    pub async fn rename_room(
        &self,
        room: RoomId,
        visitor: &Visitor,
        new_title: &str,
    ) -> Result<Admission, Refusal> {
        let admission = self.access(room, visitor).await?;
        admission.require(Role::Owner)?;
        let title = title(new_title)?;
        let outcome = self.directory.rename_room(room, &title).await;
        if may_have_happened(&outcome) {
            self.changes.room_renamed(room, title.clone()).await;
        }
        if outcome? { Ok(Admission { title, ..admission }) } else { Err(no_such_room()) }
    }

    /// # Errors
    /// As [`Self::access`]; `forbidden` for all but owners.
    pub async fn delete_room(&self, room: RoomId, visitor: &Visitor) -> Result<(), Refusal> {
        self.access(room, visitor).await?.require(Role::Owner)?;
        let outcome = self.directory.delete_room(room).await;
        self.announce_access(room, outcome, no_such_room).await
    }

    /// Makes a link, and its secret, which is not stored.
    ///
    /// # Errors
    /// As [`Self::access`]; `forbidden` for all but owners, and for one link too many.
    pub async fn create_link(
        &self,
        room: RoomId,
        visitor: &Visitor,
        role: Role,
    ) -> Result<(LinkId, LinkSecret), Refusal> {
        self.access(room, visitor).await?.require(Role::Owner)?;
        if self.directory.links(room).await?.len() >= LINKS {
            let message = format!("a room has at most {LINKS} links; revoke one first");
            return Err(Refusal::new(ErrorCode::Forbidden, message));
        }
        let secret = LinkSecret::random();
        let link = new_link(&secret, role, self.now_ms());
        self.directory.create_link(room, &link).await?;
        Ok((link.id, secret))
    }

    /// # Errors
    /// As [`Self::access`]; `forbidden` for all but owners.
    pub async fn links(&self, room: RoomId, visitor: &Visitor) -> Result<Vec<LinkRow>, Refusal> {
        self.access(room, visitor).await?.require(Role::Owner)?;
        Ok(self.directory.links(room).await?)
    }

    /// Revokes a link, and the memberships that came through it.
    ///
    /// # Errors
    /// As [`Self::access`]; `forbidden` for all but owners; `not_found`.
    pub async fn revoke_link(&self, room: RoomId, visitor: &Visitor, link: LinkId) -> Result<(), Refusal> {
        self.access(room, visitor).await?.require(Role::Owner)?;
        let outcome = self.directory.revoke_link(room, link).await;
        self.announce_access(room, outcome, || not_found("the room has no such link")).await
    }

    /// Makes a person a member with the role of the link that they bring.
    ///
    /// # Errors
    /// As [`Self::access`].
    pub async fn become_member(
        &self,
        room: RoomId,
        user: UserId,
        visitor: &Visitor,
    ) -> Result<Admission, Refusal> {
        let through_link = Visitor { member: None, ..*visitor };
        if visitor.link.is_some() {
            let granted = self.access(room, &through_link).await?;
            self.directory.put_member(room, user, granted.role, granted.link).await?;
        }
        self.access(room, visitor).await
    }

    /// Members in the order of their ids, after the one named.
    ///
    /// # Errors
    /// As [`Self::access`].
    pub async fn members(
        &self,
        room: RoomId,
        visitor: &Visitor,
        after: Option<UserId>,
        limit: u32,
    ) -> Result<Vec<MemberRow>, Refusal> {
        self.access(room, visitor).await?;
        Ok(self.directory.members(room, after, limit).await?)
    }

    /// Whether somebody may know how another person is: their own, or that of people with whom they share a room.
    ///
    /// # Errors
    /// `not_found` if not.
    pub async fn require_acquaintance(&self, asking: UserId, other: UserId) -> Result<(), Refusal> {
        if asking == other || self.directory.share_a_room(asking, other).await? {
            return Ok(());
        }
        Err(not_found("there is no such person in your rooms"))
    }

    /// Ends a membership: an owner anybody's, everybody their own.
    ///
    /// # Errors
    /// As [`Self::access`]; `forbidden` for others and for the last owner of a room with members;
    /// `not_found`.
    pub async fn remove_member(&self, room: RoomId, visitor: &Visitor, user: UserId) -> Result<(), Refusal> {
        let admission = self.access(room, visitor).await?;
        if visitor.member != Some(user) {
            admission.require(Role::Owner)?;
        }
        let outcome = match self.directory.remove_member(room, user).await {
            Err(StoreError::Exists) => {
                let message = "the last owner stays as long as there are other members";
                return Err(Refusal::new(ErrorCode::Forbidden, message));
            }
            outcome => outcome,
        };
        self.announce_access(room, outcome, || not_found("the room has no such member")).await
    }

    async fn announce_access(
        &self,
        room: RoomId,
        outcome: Result<bool, StoreError>,
        nothing_there: impl FnOnce() -> Refusal,
    ) -> Result<(), Refusal> {
        if may_have_happened(&outcome) {
            self.changes.access_changed(room).await;
        }
        if outcome? { Ok(()) } else { Err(nothing_there()) }
    }
}

fn admission(visit: &Visit, access: Option<Access>) -> Result<Admission, Refusal> {
    let access = access.ok_or_else(no_such_room)?;
    let Some(role) = access.role() else {
        return Err(if visit.link.is_some() { no_such_link() } else { no_such_room() });
    };
    let link = access.link.map(|(link, _)| link);
    Ok(Admission { room: visit.room, kind: access.kind, title: access.title, role, link })
}

fn new_link(secret: &LinkSecret, role: Role, created_ms: u64) -> NewLink {
    NewLink { id: LinkId(Uuid::new_v4()), hash: secret.hash(), role, created_ms, expires_ms: None }
}

fn title(text: &str) -> Result<DisplayName, Refusal> {
    DisplayName::new(text).map_err(|error| signing::invalid_name("title", error))
}

fn no_such_room() -> Refusal {
    Refusal::new(ErrorCode::RoomNotFound, "there is no such room for you")
}

fn no_such_link() -> Refusal {
    Refusal::new(ErrorCode::LinkInvalid, "the link is unknown, expired or revoked")
}

fn not_found(message: &str) -> Refusal {
    Refusal::new(ErrorCode::NotFound, message)
}
