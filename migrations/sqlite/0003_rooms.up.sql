-- Roles are ranks: 1 viewer, 2 editor, 3 owner; a greater one may all that a lesser one may.

CREATE TABLE room (
    id         BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    kind       TEXT    NOT NULL,
    title      TEXT    NOT NULL,
    created_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A share link; hash is the SHA-256 of its secret. A revoked link is deleted.
CREATE TABLE link (
    room       BLOB    NOT NULL REFERENCES room (id) ON DELETE CASCADE,
    id         BLOB    NOT NULL CHECK (length(id) = 16),
    hash       BLOB    NOT NULL UNIQUE CHECK (length(hash) = 32),
    role       INTEGER NOT NULL CHECK (role BETWEEN 1 AND 3),
    created_ms INTEGER NOT NULL,
    expires_ms INTEGER,
    PRIMARY KEY (room, id)
) STRICT, WITHOUT ROWID;

-- A membership that came through a link (via) ends with it. room_created_ms never changes; it stands here too, so that
-- a person's rooms are found newest first without sorting.
CREATE TABLE room_member (
    room            BLOB    NOT NULL REFERENCES room (id) ON DELETE CASCADE,
    user_id         BLOB    NOT NULL REFERENCES user_account (id) ON DELETE CASCADE,
    role            INTEGER NOT NULL CHECK (role BETWEEN 1 AND 3),
    via             BLOB,
    room_created_ms INTEGER NOT NULL,
    PRIMARY KEY (room, user_id),
    FOREIGN KEY (room, via) REFERENCES link (room, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX room_member_by_user ON room_member (user_id, room_created_ms, room);
CREATE INDEX room_member_by_link ON room_member (room, via) WHERE via IS NOT NULL;

-- How far a person has read a room.
CREATE TABLE read_marker (
    room    BLOB    NOT NULL REFERENCES room (id) ON DELETE CASCADE,
    user_id BLOB    NOT NULL REFERENCES user_account (id) ON DELETE CASCADE,
    seq     INTEGER NOT NULL,
    PRIMARY KEY (room, user_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX read_marker_by_user ON read_marker (user_id);

-- Rooms that are deleted, but whose log and checkpoint are not wholly erased yet.
CREATE TABLE deleted_room (
    room BLOB NOT NULL PRIMARY KEY
) STRICT, WITHOUT ROWID;
