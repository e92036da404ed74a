CREATE TABLE user_account (
    id            UUID   NOT NULL PRIMARY KEY,
    username      TEXT   COLLATE "C" NOT NULL UNIQUE CHECK (username = lower(username)),
    name          TEXT   NOT NULL,
    password_hash TEXT   NOT NULL,
    created_ms    BIGINT NOT NULL
);

-- A signed-in device. mac_key authenticates its refresh tokens; rotations counts them.
CREATE TABLE login (
    id         UUID   NOT NULL PRIMARY KEY,
    user_id    UUID   NOT NULL REFERENCES user_account (id) ON DELETE CASCADE,
    mac_key    BYTEA  NOT NULL CHECK (length(mac_key) = 32),
    rotations  BIGINT NOT NULL,
    rotated_ms BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL,
    device     TEXT   NOT NULL
);

CREATE INDEX login_by_user ON login (user_id, created_ms);
