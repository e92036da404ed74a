-- Roles are ranks: 1 viewer, 2 editor, 3 owner; a greater one may all that a lesser one may.

CREATE TABLE room (
    id         UUID   NOT NULL PRIMARY KEY,
    kind       TEXT   NOT NULL,
    title      TEXT   NOT NULL,
    created_ms BIGINT NOT NULL
);

-- A share link; hash is the SHA-256 of its secret. A revoked link is deleted.
CREATE TABLE link (
    room       UUID     NOT NULL REFERENCES room (id) ON DELETE CASCADE,
    id         UUID     NOT NULL,
    hash       BYTEA    NOT NULL UNIQUE CHECK (length(hash) = 32),
    role       SMALLINT NOT NULL CHECK (role BETWEEN 1 AND 3),
    created_ms BIGINT   NOT NULL,
    expires_ms BIGINT,
    PRIMARY KEY (room, id)
);

-- A membership that came through a link (via) ends with it. room_created_ms never changes; it stands here too, so that
-- a person's rooms are found newest first without sorting.
CREATE TABLE room_member (
    room            UUID     NOT NULL REFERENCES room (id) ON DELETE CASCADE,
    user_id         UUID     NOT NULL REFERENCES user_account (id) ON DELETE CASCADE,
    role            SMALLINT NOT NULL CHECK (role BETWEEN 1 AND 3),
    via             UUID,
    room_created_ms BIGINT   NOT NULL,
    PRIMARY KEY (room, user_id),
    FOREIGN KEY (room, via) REFERENCES link (room, id) ON DELETE CASCADE
);

CREATE INDEX room_member_by_user ON room_member (user_id, room_created_ms, room);
CREATE INDEX room_member_by_link ON room_member (room, via) WHERE via IS NOT NULL;

-- How far a person has read a room.
CREATE TABLE read_marker (
    room    UUID   NOT NULL REFERENCES room (id) ON DELETE CASCADE,
    user_id UUID   NOT NULL REFERENCES user_account (id) ON DELETE CASCADE,
    seq     BIGINT NOT NULL,
    PRIMARY KEY (room, user_id)
);

CREATE INDEX read_marker_by_user ON read_marker (user_id);

-- Rooms that were deleted. An append or a checkpoint that began before may end after it, so a room stays in here for a
-- while and is erased once more.
CREATE TABLE deleted_room (
    room UUID        NOT NULL PRIMARY KEY,
    at   TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp()
);
