-- The nodes of the cluster: processes, each from its start to its end. Here there is at most one that is not dead, because
-- the file lets in one process; the tables are those of a cluster all the same. Times are milliseconds since 1970.
-- lease_until: when others may declare it dead; of a dead one, when it was.
CREATE TABLE node (
    incarnation BLOB    NOT NULL PRIMARY KEY CHECK (length(incarnation) = 16),
    name        TEXT    NOT NULL CHECK (length(name) <= 100),
    address     TEXT    NOT NULL,
    version     TEXT    NOT NULL,
    host        INTEGER NOT NULL CHECK (host IN (0, 1)),
    edge        INTEGER NOT NULL CHECK (edge IN (0, 1)),
    state       TEXT    NOT NULL CHECK (state IN ('alive', 'draining', 'dead')),
    on_bus      INTEGER NOT NULL CHECK (on_bus IN (0, 1)),
    lease_until INTEGER NOT NULL,
    entered     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- One row. The version grows with every change of nodes or owners, in the transaction of the change.
CREATE TABLE cluster (
    one     INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    version INTEGER NOT NULL
) STRICT;

INSERT INTO cluster (one, version) VALUES (1, 0);
