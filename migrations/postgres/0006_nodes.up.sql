-- The nodes of the cluster: processes, each from its start to its end.
-- lease_until: when others may declare it dead, by this database's clock; of a dead one, when it was declared so.
-- Rows are changed every second, so there is room beside them and no index over what changes.
CREATE TABLE node (
    incarnation UUID        NOT NULL PRIMARY KEY,
    name        TEXT        NOT NULL CHECK (length(name) <= 100),
    address     TEXT        NOT NULL,
    version     TEXT        NOT NULL,
    host        BOOLEAN     NOT NULL,
    edge        BOOLEAN     NOT NULL,
    state       TEXT        NOT NULL CHECK (state IN ('alive', 'draining', 'dead')),
    on_bus      BOOLEAN     NOT NULL,
    lease_until TIMESTAMPTZ NOT NULL,
    entered     TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50);

-- One row. The version grows with every change of nodes or owners, in the transaction of the change.
CREATE TABLE cluster (
    one     INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    version BIGINT  NOT NULL
) WITH (fillfactor = 50);

INSERT INTO cluster (one, version) VALUES (1, 0);
