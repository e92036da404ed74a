//! People, rooms, links and what else is to be remembered, in SQLite.
//!
//! Every change is one transaction of the writer; whatever it decides upon it reads inside of it.

use async_trait::async_trait;
use enfilade_proto::{DisplayName, LinkId, LoginId, Role, RoomId, Seq, UserId, Username};
use sqlx::Result as SqlResult;
use sqlx::sqlite::SqliteConnection;
use uuid::Uuid;

use super::failure::read_failed;
use super::rows::{idempotency, link_row, login_id, login_row, member_row, room_row, user_row};
use super::{Sqlite, access};
use crate::columns::{int, rank};
use crate::directory::{
    ANSWERED_MS, Access, Directory, FORGOTTEN_AT_ONCE, Idempotency, LinkRow, LoginRow, MemberRow, NewLink,
    NewRoom, NewUser, RESERVED_MS, RoomRow, UserRow, Visit,
};
use crate::error::StoreError;

#[async_trait]
impl Directory for Sqlite {
    // ---- people -----------------------------------------------------------------------------------------------

    async fn create_user(&self, user: &NewUser) -> Result<(), StoreError> {
        let mut change = self.writer.change().await?;
        let created = sqlx::query(
            "INSERT INTO user_account (id, username, name, password_hash, created_ms) VALUES (?, ?, ?, ?, ?)",
        )
        .bind(blob(&user.id.0))
        .bind(user.username.as_str())
        .bind(user.name.as_str())
        .bind(&user.password_hash)
        .bind(int(user.created_ms))
        .execute(&mut *change)
        .await;
        change.settle(created).await.map(drop)
    }

    async fn user(&self, id: UserId) -> Result<Option<UserRow>, StoreError> {
        sqlx::query("SELECT id, username, name, password_hash, created_ms FROM user_account WHERE id = ?")
            .bind(blob(&id.0))
            .try_map(|row| user_row(&row))
            .fetch_optional(&self.readers)
            .await
            .map_err(read_failed)
    }

    async fn user_by_name(&self, username: &Username) -> Result<Option<UserRow>, StoreError> {
        sqlx::query(
            "SELECT id, username, name, password_hash, created_ms FROM user_account WHERE username = ?",
        )
        .bind(username.as_str())
        .try_map(|row| user_row(&row))
        .fetch_optional(&self.readers)
        .await
        .map_err(read_failed)
    }

    async fn rename_user(&self, id: UserId, name: &DisplayName) -> Result<(), StoreError> {
        let mut change = self.writer.change().await?;
        let renamed = sqlx::query("UPDATE user_account SET name = ? WHERE id = ?")
            .bind(name.as_str())
            .bind(blob(&id.0))
            .execute(&mut *change)
            .await;
        found(change.settle(renamed).await?.rows_affected())
    }

    async fn set_password_hash(&self, id: UserId, password_hash: &str) -> Result<(), StoreError> {
        let mut change = self.writer.change().await?;
        let set = sqlx::query("UPDATE user_account SET password_hash = ? WHERE id = ?")
            .bind(password_hash)
            .bind(blob(&id.0))
            .execute(&mut *change)
            .await;
        found(change.settle(set).await?.rows_affected())
    }

    // ---- logins -----------------------------------------------------------------------------------------------

    async fn create_login(&self, login: &LoginRow, most: u32) -> Result<Vec<LoginId>, StoreError> {
        let mut change = self.writer.change().await?;
        let ended = create_login(&mut change, login, most).await;
        change.settle(ended).await
    }

    async fn login(&self, id: LoginId) -> Result<Option<LoginRow>, StoreError> {
        sqlx::query(
            "SELECT id, user_id, mac_key, rotations, rotated_ms, created_ms, expires_ms, device FROM login WHERE id = ?",
        )
        .bind(blob(&id.0))
        .try_map(|row| login_row(&row))
        .fetch_optional(&self.readers)
        .await
        .map_err(read_failed)
    }

    async fn logins(&self, user: UserId) -> Result<Vec<LoginRow>, StoreError> {
        sqlx::query(
            "SELECT id, user_id, mac_key, rotations, rotated_ms, created_ms, expires_ms, device FROM login
             WHERE user_id = ? ORDER BY created_ms DESC, id DESC",
        )
        .bind(blob(&user.0))
        .try_map(|row| login_row(&row))
        .fetch_all(&self.readers)
        .await
        .map_err(read_failed)
    }

    async fn rotate_login(&self, id: LoginId, from: u64, now_ms: u64) -> Result<bool, StoreError> {
        let mut change = self.writer.change().await?;
        let rotated = sqlx::query(
            "UPDATE login SET rotations = rotations + 1, rotated_ms = ? WHERE id = ? AND rotations = ?",
        )
        .bind(int(now_ms))
        .bind(blob(&id.0))
        .bind(int(from))
        .execute(&mut *change)
        .await;
        Ok(change.settle(rotated).await?.rows_affected() == 1)
    }

    async fn end_login(&self, id: LoginId) -> Result<bool, StoreError> {
        let mut change = self.writer.change().await?;
        let ended =
            sqlx::query("DELETE FROM login WHERE id = ?").bind(blob(&id.0)).execute(&mut *change).await;
        Ok(change.settle(ended).await?.rows_affected() == 1)
    }

    async fn end_logins(&self, user: UserId) -> Result<Vec<LoginId>, StoreError> {
        let mut change = self.writer.change().await?;
        let ended = sqlx::query("DELETE FROM login WHERE user_id = ? RETURNING id")
            .bind(blob(&user.0))
            .try_map(|row| login_id(&row))
            .fetch_all(&mut *change)
            .await;
        change.settle(ended).await
    }

    // ---- rooms ------------------------------------------------------------------------------------------------

    async fn create_room(&self, room: &NewRoom) -> Result<(), StoreError> {
        let mut change = self.writer.change().await?;
        let created = create_room(&mut change, room).await;
        change.settle(created).await
    }

    async fn room(&self, id: RoomId) -> Result<Option<RoomRow>, StoreError> {
        sqlx::query("SELECT id, kind, title, created_ms, NULL FROM room WHERE id = ?")
            .bind(blob(&id.0))
            .try_map(|row| room_row(&row))
            .fetch_optional(&self.readers)
            .await
            .map_err(read_failed)
    }

    async fn rename_room(&self, id: RoomId, title: &DisplayName) -> Result<bool, StoreError> {
        let mut change = self.writer.change().await?;
        let renamed = sqlx::query("UPDATE room SET title = ? WHERE id = ?")
            .bind(title.as_str())
            .bind(blob(&id.0))
            .execute(&mut *change)
            .await;
        Ok(change.settle(renamed).await?.rows_affected() == 1)
    }

    async fn delete_room(&self, id: RoomId) -> Result<bool, StoreError> {
        let mut change = self.writer.change().await?;
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
        sqlx::query(
            "SELECT r.id, r.kind, r.title, r.created_ms, m.role
             FROM room_member AS m JOIN room AS r ON r.id = m.room
             WHERE m.user_id = ? AND (m.room_created_ms, m.room) < (?, ?)
             ORDER BY m.room_created_ms DESC, m.room DESC LIMIT ?",
        )
        .bind(blob(&user.0))
        .bind(int(before_ms))
        .bind(blob(&before.0))
        .bind(limit)
        .try_map(|row| room_row(&row))
        .fetch_all(&self.readers)
        .await
        .map_err(read_failed)
    }

    async fn share_a_room(&self, one: UserId, other: UserId) -> Result<bool, StoreError> {
        sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM room_member AS a JOIN room_member AS b ON b.room = a.room
             WHERE a.user_id = ? AND b.user_id = ?)",
        )
        .bind(blob(&one.0))
        .bind(blob(&other.0))
        .fetch_one(&self.readers)
        .await
        .map_err(read_failed)
    }

    // ---- who may enter ----------------------------------------------------------------------------------------

    async fn accesses(
        &self,
        visits: &[Visit],
        now_ms: u64,
    ) -> Result<Vec<Result<Option<Access>, StoreError>>, StoreError> {
        access::accesses(&self.readers, visits, now_ms).await
    }

    async fn create_link(&self, room: RoomId, link: &NewLink) -> Result<(), StoreError> {
        let mut change = self.writer.change().await?;
        let created = create_link(&mut change, room, link).await;
        change.settle(created).await
    }

    async fn links(&self, room: RoomId) -> Result<Vec<LinkRow>, StoreError> {
        sqlx::query(
            "SELECT id, role, created_ms, expires_ms FROM link WHERE room = ? ORDER BY created_ms, id",
        )
        .bind(blob(&room.0))
        .try_map(|row| link_row(&row))
        .fetch_all(&self.readers)
        .await
        .map_err(read_failed)
    }

    async fn revoke_link(&self, room: RoomId, link: LinkId) -> Result<bool, StoreError> {
        let mut change = self.writer.change().await?;
        // The memberships that came through it refer to it, and go with it.
        let revoked = sqlx::query("DELETE FROM link WHERE room = ? AND id = ?")
            .bind(blob(&room.0))
            .bind(blob(&link.0))
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
        let mut change = self.writer.change().await?;
        let put = put_member(&mut change, room, user, role, via).await;
        found(change.settle(put).await?)
    }

    async fn members(
        &self,
        room: RoomId,
        after: Option<UserId>,
        limit: u32,
    ) -> Result<Vec<MemberRow>, StoreError> {
        sqlx::query(
            "SELECT m.user_id, u.name, m.role, m.via
             FROM room_member AS m JOIN user_account AS u ON u.id = m.user_id
             WHERE m.room = ? AND m.user_id > ? ORDER BY m.user_id LIMIT ?",
        )
        .bind(blob(&room.0))
        .bind(after.as_ref().map_or(&[][..], |user| blob(&user.0)))
        .bind(limit)
        .try_map(|row| member_row(&row))
        .fetch_all(&self.readers)
        .await
        .map_err(read_failed)
    }

    async fn remove_member(&self, room: RoomId, user: UserId) -> Result<bool, StoreError> {
        let mut change = self.writer.change().await?;
        let removed = remove_member(&mut change, room, user).await;
        match change.settle(removed).await? {
            Removal::Removed => Ok(true),
            Removal::NoMember => Ok(false),
            Removal::LastOwner => Err(StoreError::Exists),
        }
    }

    async fn mark_read(&self, room: RoomId, user: UserId, seq: Seq) -> Result<(), StoreError> {
        let mut change = self.writer.change().await?;
        let marked = mark_read(&mut change, room, user, seq).await;
        change.settle(marked).await
    }

    // ---- secrets and answers ----------------------------------------------------------------------------------

    async fn secret(&self, name: &str, offered: &[u8]) -> Result<Vec<u8>, StoreError> {
        let mut change = self.writer.change().await?;
        let kept = secret(&mut change, name, offered).await;
        change.settle(kept).await
    }

    async fn begin_idempotent(
        &self,
        key: &str,
        fingerprint: &[u8; 32],
        now_ms: u64,
    ) -> Result<Idempotency, StoreError> {
        let mut change = self.writer.change().await?;
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
            None => sqlx::query("DELETE FROM idempotency WHERE key = ? AND status IS NULL").bind(key),
            Some((status, body)) => {
                sqlx::query("UPDATE idempotency SET status = ?2, body = ?3, forget_ms = ?4 WHERE key = ?1 AND status IS NULL")
                    .bind(key)
                    .bind(status)
                    .bind(body)
                    .bind(int(now_ms.saturating_add(ANSWERED_MS)))
            }
        };
        let mut change = self.writer.change().await?;
        let finished = query.execute(&mut *change).await;
        change.settle(finished).await.map(drop)
    }
}

pub(super) fn blob(id: &Uuid) -> &[u8] {
    id.as_bytes()
}

fn found(rows: u64) -> Result<(), StoreError> {
    if rows == 0 { Err(StoreError::Missing) } else { Ok(()) }
}

// ---- changes of several steps ---------------------------------------------------------------------------------

async fn create_login(
    connection: &mut SqliteConnection,
    login: &LoginRow,
    most: u32,
) -> SqlResult<Vec<LoginId>> {
    sqlx::query(
        "INSERT INTO login (id, user_id, mac_key, rotations, rotated_ms, created_ms, expires_ms, device)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(blob(&login.id.0))
    .bind(blob(&login.user.0))
    .bind(&login.key[..])
    .bind(int(login.counter))
    .bind(int(login.rotated_ms))
    .bind(int(login.created_ms))
    .bind(int(login.expires_ms))
    .bind(&login.device)
    .execute(&mut *connection)
    .await?;
    // The new one is the newest, whatever the clocks say.
    sqlx::query(
        "DELETE FROM login WHERE id IN (
             SELECT id FROM login WHERE user_id = ?1 AND id <> ?2 ORDER BY created_ms DESC, id DESC LIMIT -1 OFFSET ?3)
         RETURNING id",
    )
    .bind(blob(&login.user.0))
    .bind(blob(&login.id.0))
    .bind(most.saturating_sub(1))
    .try_map(|row| login_id(&row))
    .fetch_all(connection)
    .await
}

async fn create_room(connection: &mut SqliteConnection, room: &NewRoom) -> SqlResult<()> {
    sqlx::query("INSERT INTO room (id, kind, title, created_ms) VALUES (?, ?, ?, ?)")
        .bind(blob(&room.id.0))
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
async fn delete_room(connection: &mut SqliteConnection, id: RoomId) -> SqlResult<bool> {
    let room =
        sqlx::query("DELETE FROM room WHERE id = ?").bind(blob(&id.0)).execute(&mut *connection).await?;
    if room.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query("DELETE FROM checkpoint WHERE room = ?").bind(blob(&id.0)).execute(&mut *connection).await?;
    sqlx::query("INSERT INTO deleted_room (room) VALUES (?)").bind(blob(&id.0)).execute(connection).await?;
    Ok(true)
}

async fn create_link(connection: &mut SqliteConnection, room: RoomId, link: &NewLink) -> SqlResult<()> {
    sqlx::query("INSERT INTO link (room, id, hash, role, created_ms, expires_ms) VALUES (?, ?, ?, ?, ?, ?)")
        .bind(blob(&room.0))
        .bind(blob(&link.id.0))
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
    connection: &mut SqliteConnection,
    room: RoomId,
    user: UserId,
    role: Role,
    via: Option<LinkId>,
) -> SqlResult<u64> {
    let room_created_ms: Option<i64> = sqlx::query_scalar("SELECT created_ms FROM room WHERE id = ?")
        .bind(blob(&room.0))
        .fetch_optional(&mut *connection)
        .await?;
    let Some(room_created_ms) = room_created_ms else { return Ok(0) };
    sqlx::query(
        "INSERT INTO room_member (room, user_id, role, via, room_created_ms) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT (room, user_id) DO UPDATE SET role = excluded.role, via = excluded.via
         WHERE excluded.role > room_member.role OR (excluded.role = room_member.role AND excluded.via IS NULL)",
    )
    .bind(blob(&room.0))
    .bind(blob(&user.0))
    .bind(rank(role))
    .bind(via.as_ref().map(|link| blob(&link.0)))
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

async fn remove_member(connection: &mut SqliteConnection, room: RoomId, user: UserId) -> SqlResult<Removal> {
    let (last_owner, has_others): (bool, bool) = sqlx::query_as(
        "SELECT EXISTS (SELECT 1 FROM room_member WHERE room = ?1 AND user_id = ?2 AND role = ?3)
             AND NOT EXISTS (SELECT 1 FROM room_member WHERE room = ?1 AND user_id <> ?2 AND role = ?3),
             EXISTS (SELECT 1 FROM room_member WHERE room = ?1 AND user_id <> ?2)",
    )
    .bind(blob(&room.0))
    .bind(blob(&user.0))
    .bind(rank(Role::Owner))
    .fetch_one(&mut *connection)
    .await?;
    if last_owner && has_others {
        return Ok(Removal::LastOwner);
    }
    let removed = sqlx::query("DELETE FROM room_member WHERE room = ? AND user_id = ?")
        .bind(blob(&room.0))
        .bind(blob(&user.0))
        .execute(connection)
        .await?;
    Ok(if removed.rows_affected() == 0 { Removal::NoMember } else { Removal::Removed })
}

async fn mark_read(connection: &mut SqliteConnection, room: RoomId, user: UserId, seq: Seq) -> SqlResult<()> {
    sqlx::query(
        "INSERT INTO read_marker (room, user_id, seq)
         SELECT r.id, u.id, ?3 FROM room AS r, user_account AS u WHERE r.id = ?1 AND u.id = ?2
         ON CONFLICT (room, user_id) DO UPDATE SET seq = excluded.seq WHERE excluded.seq > read_marker.seq",
    )
    .bind(blob(&room.0))
    .bind(blob(&user.0))
    .bind(int(seq.0))
    .execute(connection)
    .await?;
    Ok(())
}

async fn secret(connection: &mut SqliteConnection, name: &str, offered: &[u8]) -> SqlResult<Vec<u8>> {
    sqlx::query("INSERT INTO secret (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING")
        .bind(name)
        .bind(offered)
        .execute(&mut *connection)
        .await?;
    sqlx::query_scalar("SELECT value FROM secret WHERE name = ?").bind(name).fetch_one(connection).await
}

async fn begin_idempotent(
    connection: &mut SqliteConnection,
    key: &str,
    fingerprint: &[u8; 32],
    now_ms: u64,
) -> SqlResult<Idempotency> {
    let known =
        sqlx::query("SELECT fingerprint, status, body FROM idempotency WHERE key = ? AND forget_ms > ?")
            .bind(key)
            .bind(int(now_ms))
            .try_map(|row| idempotency(&row, fingerprint))
            .fetch_optional(&mut *connection)
            .await?;
    if let Some(known) = known {
        return Ok(known);
    }
    sqlx::query(
        "DELETE FROM idempotency WHERE key IN (
             SELECT key FROM idempotency WHERE forget_ms <= ? ORDER BY forget_ms LIMIT ?)",
    )
    .bind(int(now_ms))
    .bind(FORGOTTEN_AT_ONCE)
    .execute(&mut *connection)
    .await?;
    sqlx::query("INSERT OR REPLACE INTO idempotency (key, fingerprint, forget_ms) VALUES (?, ?, ?)")
        .bind(key)
        .bind(&fingerprint[..])
        .bind(int(now_ms.saturating_add(RESERVED_MS)))
        .execute(connection)
        .await?;
    Ok(Idempotency::New)
}
