//! People, rooms, links and what else is to be remembered, in PostgreSQL.
//!
//! Every change is one transaction. Whatever it decides upon it reads inside of it, and locks what must not change meanwhile.

use async_trait::async_trait;
use enfilade_proto::{DisplayName, LinkId, LoginId, Role, RoomId, Seq, UserId, Username};
use sqlx::Result as SqlResult;
use uuid::Uuid;

use super::connections::Connection;
use super::failure::read_failed;
use super::rows::{idempotency, link_row, login_id, login_row, member_row, room_row, user_row};
use super::{Postgres, access};
use crate::columns::{int, rank};
use crate::directory::{
    ANSWERED_MS, Access, Directory, FORGOTTEN_AT_ONCE, Idempotency, LinkRow, LoginRow, MemberRow, NewLink,
    NewRoom, NewUser, RESERVED_MS, RoomRow, UserRow, Visit,
};
use crate::error::StoreError;

#[async_trait]
impl Directory for Postgres {
    // ---- people -----------------------------------------------------------------------------------------------

    async fn create_user(&self, user: &NewUser) -> Result<(), StoreError> {
        let mut change = self.others.change().await?;
        let created = sqlx::query(
            "INSERT INTO user_account (id, username, name, password_hash, created_ms) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(user.id.0)
        .bind(user.username.as_str())
        .bind(user.name.as_str())
        .bind(&user.password_hash)
        .bind(int(user.created_ms))
        .execute(&mut *change)
        .await;
        change.settle(created).await.map(drop)
    }

    async fn user(&self, id: UserId) -> Result<Option<UserRow>, StoreError> {
        let mut turn = self.others.turn().await?;
        let found = sqlx::query(
            "SELECT id, username, name, password_hash, created_ms FROM user_account WHERE id = $1",
        )
        .bind(id.0)
        .try_map(|row| user_row(&row))
        .fetch_optional(&mut *turn)
        .await;
        turn.answer(found)
    }

    async fn user_by_name(&self, username: &Username) -> Result<Option<UserRow>, StoreError> {
        let mut turn = self.others.turn().await?;
        let found = sqlx::query(
            "SELECT id, username, name, password_hash, created_ms FROM user_account WHERE username = $1",
        )
        .bind(username.as_str())
        .try_map(|row| user_row(&row))
        .fetch_optional(&mut *turn)
        .await;
        turn.answer(found)
    }

    async fn rename_user(&self, id: UserId, name: &DisplayName) -> Result<(), StoreError> {
        let mut change = self.others.change().await?;
        let renamed = sqlx::query("UPDATE user_account SET name = $1 WHERE id = $2")
            .bind(name.as_str())
            .bind(id.0)
            .execute(&mut *change)
            .await;
        found(change.settle(renamed).await?.rows_affected())
    }

    async fn set_password_hash(&self, id: UserId, password_hash: &str) -> Result<(), StoreError> {
        let mut change = self.others.change().await?;
        let set = sqlx::query("UPDATE user_account SET password_hash = $1 WHERE id = $2")
            .bind(password_hash)
            .bind(id.0)
            .execute(&mut *change)
            .await;
        found(change.settle(set).await?.rows_affected())
    }

    // ---- logins -----------------------------------------------------------------------------------------------

    async fn create_login(&self, login: &LoginRow, most: u32) -> Result<Vec<LoginId>, StoreError> {
        let mut change = self.others.change().await?;
        let ended = create_login(&mut change, login, most).await;
        change.settle(ended).await
    }

    async fn login(&self, id: LoginId) -> Result<Option<LoginRow>, StoreError> {
        let mut turn = self.others.turn().await?;
        let found = sqlx::query(
            "SELECT id, user_id, mac_key, rotations, rotated_ms, created_ms, expires_ms, device FROM login WHERE id = $1",
        )
        .bind(id.0)
        .try_map(|row| login_row(&row))
        .fetch_optional(&mut *turn)
        .await;
        turn.answer(found)
    }

    async fn logins(&self, user: UserId) -> Result<Vec<LoginRow>, StoreError> {
        let mut turn = self.others.turn().await?;
        let found = sqlx::query(
            "SELECT id, user_id, mac_key, rotations, rotated_ms, created_ms, expires_ms, device FROM login
             WHERE user_id = $1 ORDER BY created_ms DESC, id DESC",
        )
        .bind(user.0)
        .try_map(|row| login_row(&row))
        .fetch_all(&mut *turn)
        .await;
        turn.answer(found)
    }

    async fn rotate_login(&self, id: LoginId, from: u64, now_ms: u64) -> Result<bool, StoreError> {
        let mut change = self.others.change().await?;
        let rotated = sqlx::query(
            "UPDATE login SET rotations = rotations + 1, rotated_ms = $1 WHERE id = $2 AND rotations = $3",
        )
        .bind(int(now_ms))
        .bind(id.0)
        .bind(int(from))
        .execute(&mut *change)
        .await;
        Ok(change.settle(rotated).await?.rows_affected() == 1)
    }

    async fn end_login(&self, id: LoginId) -> Result<bool, StoreError> {
        let mut change = self.others.change().await?;
        let ended = sqlx::query("DELETE FROM login WHERE id = $1").bind(id.0).execute(&mut *change).await;
        Ok(change.settle(ended).await?.rows_affected() == 1)
    }

    async fn end_logins(&self, user: UserId) -> Result<Vec<LoginId>, StoreError> {
        let mut change = self.others.change().await?;
        let ended = sqlx::query("DELETE FROM login WHERE user_id = $1 RETURNING id")
            .bind(user.0)
            .try_map(|row| login_id(&row))
            .fetch_all(&mut *change)
            .await;
        change.settle(ended).await
    }

    // ---- rooms ------------------------------------------------------------------------------------------------

    async fn create_room(&self, room: &NewRoom) -> Result<(), StoreError> {
        let mut change = self.others.change().await?;
        let created = create_room(&mut change, room).await;
        change.settle(created).await
    }

    async fn room(&self, id: RoomId) -> Result<Option<RoomRow>, StoreError> {
        let mut turn = self.others.turn().await?;
        let found = sqlx::query("SELECT id, kind, title, created_ms, NULL::int2 FROM room WHERE id = $1")
            .bind(id.0)
            .try_map(|row| room_row(&row))
            .fetch_optional(&mut *turn)
            .await;
        turn.answer(found)
    }

    async fn rename_room(&self, id: RoomId, title: &DisplayName) -> Result<bool, StoreError> {
        let mut change = self.others.change().await?;
        let renamed = sqlx::query("UPDATE room SET title = $1 WHERE id = $2")
            .bind(title.as_str())
            .bind(id.0)
            .execute(&mut *change)
            .await;
        Ok(change.settle(renamed).await?.rows_affected() == 1)
    }

    async fn delete_room(&self, id: RoomId) -> Result<bool, StoreError> {
        let mut change = self.others.change().await?;
        let deleted = delete_room(&mut change, id).await;
        let deleted = change.settle(deleted).await?;
        if deleted {
            // Gone it is already; what cannot be erased now is erased when the log is pruned.
            self.erase(id, u64::MAX).await?;
        }
        Ok(deleted)
    }

    async fn rooms_of(
        &self,
        user: UserId,
        after: Option<(u64, RoomId)>,
        limit: u32,
    ) -> Result<Vec<RoomRow>, StoreError> {
        let (before_ms, before) = after.unwrap_or((u64::MAX, RoomId(Uuid::max())));
        let mut turn = self.others.turn().await?;
        let found = sqlx::query(
            "SELECT r.id, r.kind, r.title, r.created_ms, m.role
             FROM room_member AS m JOIN room AS r ON r.id = m.room
             WHERE m.user_id = $1 AND (m.room_created_ms, m.room) < ($2, $3)
             ORDER BY m.room_created_ms DESC, m.room DESC LIMIT $4",
        )
        .bind(user.0)
        .bind(int(before_ms))
        .bind(before.0)
        .bind(i64::from(limit))
        .try_map(|row| room_row(&row))
        .fetch_all(&mut *turn)
        .await;
        turn.answer(found)
    }

    async fn share_a_room(&self, one: UserId, other: UserId) -> Result<bool, StoreError> {
        let mut turn = self.others.turn().await?;
        let found = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM room_member AS a JOIN room_member AS b ON b.room = a.room
             WHERE a.user_id = $1 AND b.user_id = $2)",
        )
        .bind(one.0)
        .bind(other.0)
        .fetch_one(&mut *turn)
        .await;
        turn.answer(found)
    }

    // ---- who may enter ----------------------------------------------------------------------------------------

    async fn accesses(
        &self,
        visits: &[Visit],
        now_ms: u64,
    ) -> Result<Vec<Result<Option<Access>, StoreError>>, StoreError> {
        let mut turn = self.others.turn().await?;
        let found = access::query(visits, now_ms).fetch_all(&mut *turn).await;
        let found = found.and_then(|rows| access::in_place(visits, &rows));
        let found = turn.answer(found)?;
        Ok(found.into_iter().map(|found| found.map_err(read_failed)).collect())
    }

    async fn create_link(&self, room: RoomId, link: &NewLink) -> Result<(), StoreError> {
        let mut change = self.others.change().await?;
        let created = create_link(&mut change, room, link).await;
        change.settle(created).await
    }

    async fn links(&self, room: RoomId) -> Result<Vec<LinkRow>, StoreError> {
        let mut turn = self.others.turn().await?;
        let found = sqlx::query(
            "SELECT id, role, created_ms, expires_ms FROM link WHERE room = $1 ORDER BY created_ms, id",
        )
        .bind(room.0)
        .try_map(|row| link_row(&row))
        .fetch_all(&mut *turn)
        .await;
        turn.answer(found)
    }

    async fn revoke_link(&self, room: RoomId, link: LinkId) -> Result<bool, StoreError> {
        let mut change = self.others.change().await?;
        // The memberships that came through it refer to it, and go with it.
        let revoked = sqlx::query("DELETE FROM link WHERE room = $1 AND id = $2")
            .bind(room.0)
            .bind(link.0)
            .execute(&mut *change)
            .await;
        Ok(change.settle(revoked).await?.rows_affected() == 1)
    }

    async fn put_member(
        &self,
        room: RoomId,
        user: UserId,
        role: Role,
        via: Option<LinkId>,
    ) -> Result<(), StoreError> {
        let mut change = self.others.change().await?;
        let put = put_member(&mut change, room, user, role, via).await;
        found(change.settle(put).await?)
    }

    async fn members(
        &self,
        room: RoomId,
        after: Option<UserId>,
        limit: u32,
    ) -> Result<Vec<MemberRow>, StoreError> {
        let mut turn = self.others.turn().await?;
        let found = sqlx::query(
            "SELECT m.user_id, u.name, m.role, m.via
             FROM room_member AS m JOIN user_account AS u ON u.id = m.user_id
             WHERE m.room = $1 AND m.user_id > $2 ORDER BY m.user_id LIMIT $3",
        )
        .bind(room.0)
        .bind(after.map_or(Uuid::nil(), |user| user.0))
        .bind(i64::from(limit))
        .try_map(|row| member_row(&row))
        .fetch_all(&mut *turn)
        .await;
        turn.answer(found)
    }

    async fn remove_member(&self, room: RoomId, user: UserId) -> Result<bool, StoreError> {
        let mut change = self.others.change().await?;
        let removed = remove_member(&mut change, room, user).await;
        match change.settle(removed).await? {
            Removal::Removed => Ok(true),
            Removal::NoMember => Ok(false),
            Removal::LastOwner => Err(StoreError::Exists),
        }
    }

    async fn mark_read(&self, room: RoomId, user: UserId, seq: Seq) -> Result<(), StoreError> {
        let mut change = self.others.change().await?;
        let marked = mark_read(&mut change, room, user, seq).await;
        change.settle(marked).await
    }

    // ---- secrets and answers ----------------------------------------------------------------------------------

    async fn secret(&self, name: &str, offered: &[u8]) -> Result<Vec<u8>, StoreError> {
        let mut change = self.others.change().await?;
        let kept = secret(&mut change, name, offered).await;
        change.settle(kept).await
    }

    async fn begin_idempotent(
        &self,
        key: &str,
        fingerprint: &[u8; 32],
        now_ms: u64,
    ) -> Result<Idempotency, StoreError> {
        let mut change = self.others.change().await?;
        let begun = begin_idempotent(&mut change, key, fingerprint, now_ms).await;
        change.settle(begun).await
    }

    async fn finish_idempotent(
        &self,
        key: &str,
        answer: Option<(u16, &str)>,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let query = match answer {
            None => sqlx::query("DELETE FROM idempotency WHERE key = $1 AND status IS NULL").bind(key),
            Some((status, body)) => {
                sqlx::query("UPDATE idempotency SET status = $2, body = $3, forget_ms = $4 WHERE key = $1 AND status IS NULL")
                    .bind(key)
                    .bind(i32::from(status))
                    .bind(body)
                    .bind(int(now_ms.saturating_add(ANSWERED_MS)))
            }
        };
        let mut change = self.others.change().await?;
        let finished = query.execute(&mut *change).await;
        change.settle(finished).await.map(drop)
    }
}

fn found(rows: u64) -> Result<(), StoreError> {
    if rows == 0 { Err(StoreError::Missing) } else { Ok(()) }
}

// ---- changes of several steps ---------------------------------------------------------------------------------

async fn create_login(connection: &mut Connection, login: &LoginRow, most: u32) -> SqlResult<Vec<LoginId>> {
    sqlx::query(
        "INSERT INTO login (id, user_id, mac_key, rotations, rotated_ms, created_ms, expires_ms, device)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(login.id.0)
    .bind(login.user.0)
    .bind(&login.key[..])
    .bind(int(login.counter))
    .bind(int(login.rotated_ms))
    .bind(int(login.created_ms))
    .bind(int(login.expires_ms))
    .bind(&login.device)
    .execute(&mut *connection)
    .await?;
    // The logins of a person are counted by one at a time.
    sqlx::query("SELECT 1 FROM user_account WHERE id = $1 FOR NO KEY UPDATE")
        .bind(login.user.0)
        .execute(&mut *connection)
        .await?;
    // The new one is the newest, whatever the clocks say.
    sqlx::query(
        "DELETE FROM login WHERE id IN (
             SELECT id FROM login WHERE user_id = $1 AND id <> $2 ORDER BY created_ms DESC, id DESC OFFSET $3)
         RETURNING id",
    )
    .bind(login.user.0)
    .bind(login.id.0)
    .bind(i64::from(most.saturating_sub(1)))
    .try_map(|row| login_id(&row))
    .fetch_all(connection)
    .await
}

async fn create_room(connection: &mut Connection, room: &NewRoom) -> SqlResult<()> {
    sqlx::query("INSERT INTO room (id, kind, title, created_ms) VALUES ($1, $2, $3, $4)")
        .bind(room.id.0)
        .bind(room.kind.as_str())
        .bind(room.title.as_str())
        .bind(int(room.created_ms))
        .execute(&mut *connection)
        .await?;
    if let Some(owner) = room.owner {
        put_member(connection, room.id, owner, Role::Owner, None).await?;
    }
    if let Some(link) = &room.link {
        create_link(connection, room.id, link).await?;
    }
    Ok(())
}

/// Members, links and marks refer to the room, and go with it. The log may be long; only a note is made of it here.
async fn delete_room(connection: &mut Connection, id: RoomId) -> SqlResult<bool> {
    let room = sqlx::query("DELETE FROM room WHERE id = $1").bind(id.0).execute(&mut *connection).await?;
    if room.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query("DELETE FROM checkpoint WHERE room = $1").bind(id.0).execute(&mut *connection).await?;
    sqlx::query("INSERT INTO deleted_room (room) VALUES ($1)").bind(id.0).execute(connection).await?;
    Ok(true)
}

async fn create_link(connection: &mut Connection, room: RoomId, link: &NewLink) -> SqlResult<()> {
    sqlx::query(
        "INSERT INTO link (room, id, hash, role, created_ms, expires_ms) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(room.0)
    .bind(link.id.0)
    .bind(&link.hash.0[..])
    .bind(rank(link.role))
    .bind(int(link.created_ms))
    .bind(link.expires_ms.map(int))
    .execute(connection)
    .await?;
    Ok(())
}

/// Returns 0 if there is no such room. Of two equal roles, the one that depends on no link is the better.
async fn put_member(
    connection: &mut Connection,
    room: RoomId,
    user: UserId,
    role: Role,
    via: Option<LinkId>,
) -> SqlResult<u64> {
    let room_created_ms: Option<i64> = sqlx::query_scalar("SELECT created_ms FROM room WHERE id = $1")
        .bind(room.0)
        .fetch_optional(&mut *connection)
        .await?;
    let Some(room_created_ms) = room_created_ms else { return Ok(0) };
    sqlx::query(
        "INSERT INTO room_member (room, user_id, role, via, room_created_ms) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (room, user_id) DO UPDATE SET role = excluded.role, via = excluded.via
         WHERE excluded.role > room_member.role OR (excluded.role = room_member.role AND excluded.via IS NULL)",
    )
    .bind(room.0)
    .bind(user.0)
    .bind(rank(role))
    .bind(via.map(|link| link.0))
    .bind(room_created_ms)
    .execute(connection)
    .await?;
    Ok(1)
}

enum Removal {
    Removed,
    NoMember,
    LastOwner,
}

async fn remove_member(connection: &mut Connection, room: RoomId, user: UserId) -> SqlResult<Removal> {
    // Nobody else leaves meanwhile, and nobody comes: new members refer to the row that is locked.
    sqlx::query("SELECT 1 FROM room WHERE id = $1 FOR UPDATE").bind(room.0).execute(&mut *connection).await?;
    let (last_owner, has_others): (bool, bool) = sqlx::query_as(
        "SELECT EXISTS (SELECT 1 FROM room_member WHERE room = $1 AND user_id = $2 AND role = $3)
             AND NOT EXISTS (SELECT 1 FROM room_member WHERE room = $1 AND user_id <> $2 AND role = $3),
             EXISTS (SELECT 1 FROM room_member WHERE room = $1 AND user_id <> $2)",
    )
    .bind(room.0)
    .bind(user.0)
    .bind(rank(Role::Owner))
    .fetch_one(&mut *connection)
    .await?;
    if last_owner && has_others {
        return Ok(Removal::LastOwner);
    }
    let removed = sqlx::query("DELETE FROM room_member WHERE room = $1 AND user_id = $2")
        .bind(room.0)
        .bind(user.0)
        .execute(connection)
        .await?;
    Ok(if removed.rows_affected() == 0 { Removal::NoMember } else { Removal::Removed })
}

async fn mark_read(connection: &mut Connection, room: RoomId, user: UserId, seq: Seq) -> SqlResult<()> {
    sqlx::query(
        "INSERT INTO read_marker (room, user_id, seq)
         SELECT r.id, u.id, $3 FROM room AS r, user_account AS u WHERE r.id = $1 AND u.id = $2
         ON CONFLICT (room, user_id) DO UPDATE SET seq = excluded.seq WHERE excluded.seq > read_marker.seq",
    )
    .bind(room.0)
    .bind(user.0)
    .bind(int(seq.0))
    .execute(connection)
    .await?;
    Ok(())
}

async fn secret(connection: &mut Connection, name: &str, offered: &[u8]) -> SqlResult<Vec<u8>> {
    sqlx::query("INSERT INTO secret (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(name)
        .bind(offered)
        .execute(&mut *connection)
        .await?;
    sqlx::query_scalar("SELECT value FROM secret WHERE name = $1").bind(name).fetch_one(connection).await
}

async fn begin_idempotent(
    connection: &mut Connection,
    key: &str,
    fingerprint: &[u8; 32],
    now_ms: u64,
) -> SqlResult<Idempotency> {
    let forgotten = sqlx::query(
        "DELETE FROM idempotency WHERE key IN (
             SELECT key FROM idempotency WHERE forget_ms <= $1 AND key <> $2 ORDER BY forget_ms LIMIT $3
             FOR UPDATE SKIP LOCKED)",
    );
    forgotten
        .bind(int(now_ms))
        .bind(key)
        .bind(i64::from(FORGOTTEN_AT_ONCE))
        .execute(&mut *connection)
        .await?;
    // If it is there, this locks it: what is found then is what was in the way.
    let reserved = sqlx::query(
        "INSERT INTO idempotency AS i (key, fingerprint, forget_ms) VALUES ($1, $2, $3)
         ON CONFLICT (key) DO UPDATE
         SET fingerprint = excluded.fingerprint, status = NULL, body = NULL, forget_ms = excluded.forget_ms
         WHERE i.forget_ms <= $4",
    );
    let reserved = reserved
        .bind(key)
        .bind(&fingerprint[..])
        .bind(int(now_ms.saturating_add(RESERVED_MS)))
        .bind(int(now_ms))
        .execute(&mut *connection)
        .await?;
    if reserved.rows_affected() == 1 {
        return Ok(Idempotency::New);
    }
    sqlx::query("SELECT fingerprint, status, body FROM idempotency WHERE key = $1")
        .bind(key)
        .try_map(|row| idempotency(&row, fingerprint))
        .fetch_one(connection)
        .await
}
