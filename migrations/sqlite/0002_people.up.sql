CREATE TABLE user_account (
    id            BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    username      TEXT    NOT NULL UNIQUE CHECK (username = lower(username)),
    name          TEXT    NOT NULL,
    password_hash TEXT    NOT NULL,
    created_ms    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A signed-in device. mac_key authenticates its refresh tokens; rotations counts them.
CREATE TABLE login (
    id         BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    user_id    BLOB    NOT NULL REFERENCES user_account (id) ON DELETE CASCADE,
    mac_key    BLOB    NOT NULL CHECK (length(mac_key) = 32),
    rotations  INTEGER NOT NULL,
    rotated_ms INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL,
    device     TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX login_by_user ON login (user_id, created_ms);
