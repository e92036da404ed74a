-- Requests that were made under an Idempotency-Key: reserved while status is null, answered afterwards.
CREATE TABLE idempotency (
    key         TEXT    NOT NULL PRIMARY KEY,
    fingerprint BLOB    NOT NULL CHECK (length(fingerprint) = 32),
    status      INTEGER,
    body        TEXT,
    forget_ms   INTEGER NOT NULL,
    CHECK ((status IS NULL) = (body IS NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_by_age ON idempotency (forget_ms);
