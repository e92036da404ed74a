-- Requests that were made under an Idempotency-Key: reserved while status is null, answered afterwards.
CREATE TABLE idempotency (
    key         TEXT    COLLATE "C" NOT NULL PRIMARY KEY,
    fingerprint BYTEA   NOT NULL CHECK (length(fingerprint) = 32),
    status      INTEGER,
    body        TEXT,
    forget_ms   BIGINT  NOT NULL,
    CHECK ((status IS NULL) = (body IS NULL))
);

CREATE INDEX idempotency_by_age ON idempotency (forget_ms);
