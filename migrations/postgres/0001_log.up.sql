-- Who owns a shard now, and how many owners it has had. The writer of ops must match both: the fence.
-- Every shard has its row from the beginning, with nobody in it, so that there is always something to lock. Half of each
-- page stays free: a lock or a new owner then needs no other page and no change of the index.
CREATE TABLE shard_owner (
    shard       SMALLINT NOT NULL PRIMARY KEY CHECK (shard BETWEEN 0 AND 4095),
    incarnation UUID,
    epoch       BIGINT   NOT NULL CHECK (epoch >= 0),
    CHECK ((incarnation IS NULL) = (epoch = 0))
) WITH (fillfactor = 50);

INSERT INTO shard_owner (shard, incarnation, epoch) SELECT shard, NULL, 0 FROM generate_series(0, 4095) AS shard;

-- The ops of rooms: one row per room and batch. The primary key is the second fence.
-- Large batches are not compressed: a commit has better things to do.
CREATE TABLE room_log (
    room     UUID   NOT NULL,
    seq_from BIGINT NOT NULL CHECK (seq_from >= 1),
    seq_to   BIGINT NOT NULL CHECK (seq_to >= seq_from),
    epoch    BIGINT NOT NULL,
    at_ms    BIGINT NOT NULL,
    ops      BYTEA  NOT NULL,
    PRIMARY KEY (room, seq_from)
);

ALTER TABLE room_log ALTER COLUMN ops SET STORAGE EXTERNAL;

-- What is pruned is found by its age. New rows are the youngest, so this index grows at its end alone.
CREATE INDEX room_log_by_age ON room_log (at_ms);

-- The latest state of a room; checksum is the CRC-32 of body.
CREATE TABLE checkpoint (
    room     UUID    NOT NULL PRIMARY KEY,
    seq      BIGINT  NOT NULL,
    epoch    BIGINT  NOT NULL,
    format   BIGINT  NOT NULL,
    at_ms    BIGINT  NOT NULL,
    checksum BIGINT  NOT NULL,
    body     BYTEA   NOT NULL
);

ALTER TABLE checkpoint ALTER COLUMN body SET STORAGE EXTERNAL;
