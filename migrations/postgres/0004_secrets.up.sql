-- What all nodes must agree upon and nobody else may know: signing keys and the like.
CREATE TABLE secret (
    name  TEXT  COLLATE "C" NOT NULL PRIMARY KEY,
    value BYTEA NOT NULL
);
