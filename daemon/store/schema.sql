-- gojobd's store, schema 1. See README.md for what must hold between these tables.
--
-- The rows written for every job are `job` and, when there is one, `result`; everything
-- else is written once per message, claim or commit. No column of `job` is indexed, and
-- the columns that change keep their encoded size (states start at 2, times are set from
-- the start, flags have a base bit), so a state change overwrites the row where it lies.
--
-- Times are milliseconds since 1970.

CREATE TABLE meta (
    one        INTEGER PRIMARY KEY CHECK (one = 1),
    epoch      INTEGER NOT NULL,  -- starts of the daemon so far
    next_job   INTEGER NOT NULL,
    next_batch INTEGER NOT NULL,
    next_event INTEGER NOT NULL,
    next_sched INTEGER NOT NULL
);
INSERT INTO meta VALUES (1, 0, 1, 1, 1, 1);

CREATE TABLE job (
    id       INTEGER PRIMARY KEY,
    state    INTEGER NOT NULL,  -- enum store_state
    lane     INTEGER NOT NULL,  -- queue, suspect bit and kind: STORE_LANE
    prio     INTEGER NOT NULL,  -- higher first
    batch    INTEGER NOT NULL,
    attempt  INTEGER NOT NULL,  -- starts so far: the fence of a finish
    fails    INTEGER NOT NULL,  -- attempts spent
    crashes  INTEGER NOT NULL,  -- times it was running when the daemon died
    epoch    INTEGER NOT NULL,  -- boot epoch of its last start (before: of its submission)
    flags    INTEGER NOT NULL,  -- enum store_flag
    run_at   INTEGER NOT NULL,
    created  INTEGER NOT NULL,
    started  INTEGER NOT NULL,  -- = created until attempt > 0
    finished INTEGER NOT NULL,  -- = created until the state is final
    spec     BLOB               -- NULL: too long for here, in table spec
);

CREATE TABLE spec (
    id   INTEGER PRIMARY KEY,   -- job or, negated, schedule
    data BLOB NOT NULL
);

CREATE TABLE result (
    id   INTEGER PRIMARY KEY,
    data BLOB NOT NULL
);

-- Attempts that did not succeed, the last few of each job.
CREATE TABLE attempt (
    job      INTEGER NOT NULL,
    attempt  INTEGER NOT NULL,
    epoch    INTEGER NOT NULL,
    started  INTEGER NOT NULL,
    finished INTEGER NOT NULL,
    outcome  INTEGER NOT NULL,  -- enum store_outcome
    error    TEXT,
    PRIMARY KEY (job, attempt)
) WITHOUT ROWID;

-- Runs of ids [first, last] that hold queued jobs of this lane, priority and batch.
CREATE TABLE ready (
    lane   INTEGER NOT NULL,
    prio   INTEGER NOT NULL,
    batch  INTEGER NOT NULL,
    run_at INTEGER NOT NULL,
    first  INTEGER NOT NULL,
    last   INTEGER NOT NULL,
    PRIMARY KEY (lane, prio DESC, batch, run_at, first)
) WITHOUT ROWID;

-- The same for scheduled jobs, by time.
CREATE TABLE later (
    run_at INTEGER NOT NULL,
    lane   INTEGER NOT NULL,
    prio   INTEGER NOT NULL,
    batch  INTEGER NOT NULL,
    first  INTEGER NOT NULL,
    last   INTEGER NOT NULL,
    PRIMARY KEY (run_at, lane, prio DESC, batch, first)
) WITHOUT ROWID;

-- Runs of ids that hold every running job.
CREATE TABLE lease (
    id    INTEGER PRIMARY KEY,
    first INTEGER NOT NULL,
    last  INTEGER NOT NULL
);

CREATE TABLE batch (
    id           INTEGER PRIMARY KEY,
    name         TEXT,
    flags        INTEGER NOT NULL,  -- enum store_batch_flag
    max_parallel INTEGER NOT NULL,  -- 0: no limit
    created      INTEGER NOT NULL,
    deadline     INTEGER NOT NULL,  -- 0: none
    finished     INTEGER NOT NULL,  -- 0: jobs are left, or it is open
    pruned       INTEGER NOT NULL,  -- finished jobs that retention has taken
    schedule     INTEGER NOT NULL,  -- that made it; 0: none
    n_blocked    INTEGER NOT NULL,
    n_scheduled  INTEGER NOT NULL,
    n_queued     INTEGER NOT NULL,
    n_running    INTEGER NOT NULL,
    n_succeeded  INTEGER NOT NULL,
    n_failed     INTEGER NOT NULL,
    n_cancelled  INTEGER NOT NULL,
    n_dead       INTEGER NOT NULL
);
CREATE UNIQUE INDEX batch_open ON batch (name) WHERE name IS NOT NULL AND (flags & 1) = 0;
CREATE INDEX batch_name ON batch (name, id) WHERE name IS NOT NULL;
CREATE INDEX batch_deadline ON batch (deadline) WHERE deadline > 0 AND finished = 0;

-- The ids of a batch's jobs, as runs: one row a message.
CREATE TABLE span (
    batch INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last  INTEGER NOT NULL,
    PRIMARY KEY (batch, first)
) WITHOUT ROWID;

-- Batches whose cancellation is still being carried out, and how far it came.
CREATE TABLE sweep (
    batch INTEGER PRIMARY KEY,
    next  INTEGER NOT NULL
);

CREATE TABLE queue (
    id          INTEGER PRIMARY KEY,
    name        TEXT NOT NULL UNIQUE,
    paused      INTEGER NOT NULL,
    parallel    INTEGER NOT NULL,  -- 0: no limit
    rate        REAL NOT NULL,     -- starts a second; 0: no limit
    burst       INTEGER NOT NULL,
    n_blocked   INTEGER NOT NULL,
    n_scheduled INTEGER NOT NULL,
    n_queued    INTEGER NOT NULL,
    n_running   INTEGER NOT NULL,
    n_succeeded INTEGER NOT NULL,
    n_failed    INTEGER NOT NULL,
    n_cancelled INTEGER NOT NULL,
    n_dead      INTEGER NOT NULL,
    pruned      INTEGER NOT NULL
);
INSERT INTO queue VALUES (0, 'default', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);

-- A queue's entry in the configuration file as it was last applied.
CREATE TABLE queue_file (
    id       INTEGER PRIMARY KEY,
    paused   INTEGER NOT NULL,
    parallel INTEGER NOT NULL,
    rate     REAL NOT NULL,
    burst    INTEGER NOT NULL
);

-- Job `job` waits for a node: a batch (id * 2) or a job (id * 2 + 1).
CREATE TABLE dep (
    node INTEGER NOT NULL,
    job  INTEGER NOT NULL,
    mode INTEGER NOT NULL,  -- enum store_dep_mode
    PRIMARY KEY (node, job)
) WITHOUT ROWID;
CREATE INDEX dep_job ON dep (job);

-- Batch `batch` has, or had, a job that waits for `node`: the graph in which cycles are looked
-- for, see depend.c.
CREATE TABLE edge (
    batch INTEGER NOT NULL,
    node  INTEGER NOT NULL,
    PRIMARY KEY (batch, node)
) WITHOUT ROWID;
CREATE INDEX edge_node ON edge (node);

-- Nodes that have ended and whose dependents are still being released.
CREATE TABLE fire (
    node INTEGER PRIMARY KEY,
    ok   INTEGER NOT NULL
);

CREATE TABLE idem (
    key TEXT PRIMARY KEY,
    job INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX idem_job ON idem (job);

CREATE TABLE label (
    node  INTEGER NOT NULL,  -- as in dep
    key   TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (node, key)
) WITHOUT ROWID;
CREATE INDEX label_value ON label (key, value, node);

-- Mutating calls already carried out, by the id their client gave them.
CREATE TABLE request (
    id      BLOB PRIMARY KEY,
    created INTEGER NOT NULL,
    reply   BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX request_created ON request (created);

-- The log of events: those of one commit in one row, numbered from `first`.
CREATE TABLE event (
    first INTEGER PRIMARY KEY,
    count INTEGER NOT NULL,
    at    INTEGER NOT NULL,
    data  BLOB NOT NULL
);

CREATE TABLE schedule (
    id      INTEGER PRIMARY KEY,
    name    TEXT NOT NULL UNIQUE,
    paused  INTEGER NOT NULL,
    config  INTEGER NOT NULL,  -- stands in the configuration file
    created INTEGER NOT NULL,
    next_at INTEGER NOT NULL,  -- 0: never again
    last_at INTEGER NOT NULL,  -- the nominal time of the last run; 0: none
    runs    INTEGER NOT NULL,
    missed_runs  INTEGER NOT NULL,
    skipped_runs INTEGER NOT NULL,
    batch   INTEGER NOT NULL  -- of the last run; 0: none
);
