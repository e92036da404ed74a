-- Who owns a shard now, and how many owners it has had. The writer of ops must match both: the fence.
CREATE TABLE shard_owner (
    shard       INTEGER NOT NULL PRIMARY KEY CHECK (shard BETWEEN 0 AND 4095),
    incarnation BLOB    NOT NULL CHECK (length(incarnation) = 16),
    epoch       INTEGER NOT NULL CHECK (epoch >= 1)
) STRICT;

-- The ops of rooms: one row per room and batch. The primary key is the second fence.
-- It keeps its rowid: so the ops of a commit lie side by side and only the small keys are scattered, and the rowids tell
-- in which order rows were written.
CREATE TABLE room_log (
    room     BLOB    NOT NULL,
    seq_from INTEGER NOT NULL CHECK (seq_from >= 1),
    seq_to   INTEGER NOT NULL CHECK (seq_to >= seq_from),
    epoch    INTEGER NOT NULL,
    at_ms    INTEGER NOT NULL,
    ops      BLOB    NOT NULL,
    PRIMARY KEY (room, seq_from)
) STRICT;

-- The latest state of a room: the parts of one body, in order; checksum is the CRC-32 of them all.
CREATE TABLE checkpoint (
    room     BLOB    NOT NULL PRIMARY KEY,
    seq      INTEGER NOT NULL,
    epoch    INTEGER NOT NULL,
    format   INTEGER NOT NULL,
    at_ms    INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    body     INTEGER NOT NULL CHECK (body >= 1),
    parts    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A body is written part by part, so that no commit has to wait for a large one. One that no checkpoint names is not
-- finished, or no longer needed.
CREATE TABLE checkpoint_part (
    room  BLOB    NOT NULL,
    body  INTEGER NOT NULL,
    part  INTEGER NOT NULL,
    bytes BLOB    NOT NULL,
    PRIMARY KEY (room, body, part)
) STRICT;
