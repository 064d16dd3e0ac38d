-- Version 1 of the journal.
--
-- A change of the schema is a new file beside this one, with the next number; this one stays as it
-- is. Moments are seconds since the epoch, UTC. Contact data is in body, answer and rejected only.

CREATE TABLE run (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    campaign    TEXT NOT NULL,
    account     TEXT NOT NULL,
    endpoint    TEXT NOT NULL CHECK (endpoint IN ('bulk', 'realtime')),
    flow_id     TEXT NOT NULL,
    definition  TEXT NOT NULL CHECK (json_valid(definition)), -- the campaign file, as it was read
    list        TEXT NOT NULL CHECK (json_valid(list)),       -- the files it was read from
    list_sha256 TEXT NOT NULL,
    identity    TEXT NOT NULL UNIQUE,       -- of campaign and list: what was begun is not begun anew
    variant     INTEGER NOT NULL DEFAULT 0 CHECK (variant BETWEEN 0 AND 16), -- its bodies' first
    created_at  REAL NOT NULL,
    read_at     REAL,                       -- when the last row of the list was in the journal
    whole       INTEGER NOT NULL DEFAULT 1 CHECK (whole IN (0, 1)), -- 0: the rest was given up
    control     TEXT NOT NULL DEFAULT 'go'
                CHECK (control IN ('go', 'paused', 'stopped', 'cancelled')),
    reason      TEXT,                       -- why it was stopped, for the operator
    -- Promise 1, first half: every row of the list is accounted for, in every committed state.
    rows        INTEGER NOT NULL DEFAULT 0,
    rejected    INTEGER NOT NULL DEFAULT 0 CHECK (rejected >= 0),
    suppressed  INTEGER NOT NULL DEFAULT 0 CHECK (suppressed >= 0),
    duplicates  INTEGER NOT NULL DEFAULT 0 CHECK (duplicates >= 0),
    calls       INTEGER NOT NULL DEFAULT 0 CHECK (calls >= 0),
    CHECK (rows = rejected + suppressed + duplicates + calls)
) STRICT;

CREATE TABLE batch (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    run         INTEGER NOT NULL REFERENCES run (id),
    parent      INTEGER REFERENCES batch (id), -- the batch it was split from
    first_row   INTEGER NOT NULL,
    calls       INTEGER NOT NULL CHECK (calls BETWEEN 1 AND 500),
    size        INTEGER NOT NULL CHECK (size BETWEEN 1 AND 256000), -- bytes of calls as sent
    start_date  TEXT NOT NULL,              -- the earliest among its calls, YYYY-MM-DD at +05:30
    sha256      BLOB NOT NULL CHECK (length(sha256) = 32), -- of the calls as they are sent
    variant     INTEGER NOT NULL DEFAULT 0 CHECK (variant BETWEEN 0 AND 16),
    head_sha256 BLOB CHECK (length(head_sha256) = 32),     -- of what was sent before the calls
    state       TEXT NOT NULL CHECK (state IN (
                    'ready', 'claimed', 'sending', 'accepted', 'refused', 'split',
                    'in_doubt', 'expired', 'cancelled', 'abandoned')),
    not_before  REAL NOT NULL DEFAULT 0,    -- a batch that was put off is not claimed earlier
    owner       TEXT,
    lease_until REAL,
    attempts    INTEGER NOT NULL DEFAULT 0,
    doubted_at  REAL,                       -- when bytes first left that may have arrived
    denied      INTEGER NOT NULL DEFAULT 0 CHECK (denied IN (0, 1)),   -- these bytes were answered no
    accepted    INTEGER NOT NULL DEFAULT 0 CHECK (accepted BETWEEN 0 AND calls),
    request_id  TEXT,
    reason      TEXT,
    settled_at  REAL,
    -- Whoever is at it holds a lease, and nobody else does.
    CHECK ((state IN ('claimed', 'sending')) = (owner IS NOT NULL)),
    CHECK ((owner IS NULL) = (lease_until IS NULL)),
    CHECK (accepted = 0 OR state = 'accepted'),
    CHECK (state <> 'accepted' OR accepted > 0),
    CHECK (state <> 'in_doubt' OR doubted_at IS NOT NULL),
    CHECK ((settled_at IS NOT NULL) = (state IN (
        'accepted', 'refused', 'split', 'expired', 'cancelled', 'abandoned')))
) STRICT;

CREATE INDEX batch_ready ON batch (run, first_row, id) WHERE state = 'ready';
CREATE INDEX batch_leased ON batch (run, lease_until) WHERE state IN ('claimed', 'sending');
CREATE INDEX batch_in_doubt ON batch (run, not_before) WHERE state = 'in_doubt';
CREATE INDEX batch_by_row ON batch (run, first_row);

-- The calls of a batch, frozen: zstd of the calls joined by commas, and the rows they came from
-- (NULL where these follow one another without a gap). Apart from batch, which stays quick to scan.
CREATE TABLE body (
    batch INTEGER PRIMARY KEY REFERENCES batch (id),
    calls BLOB NOT NULL,
    rows  BLOB
) STRICT;

-- What the provider answered where that says more than a request-id: zstd of its body.
CREATE TABLE answer (
    batch INTEGER PRIMARY KEY REFERENCES batch (id),
    body  BLOB NOT NULL
) STRICT;

-- One line for every time the bytes of a batch were handed to the network.
CREATE TABLE attempt (
    batch       INTEGER NOT NULL REFERENCES batch (id),
    n           INTEGER NOT NULL CHECK (n >= 1),
    sent_at     REAL NOT NULL,
    ended_at    REAL,
    verdict     TEXT,
    http_status INTEGER,
    code        INTEGER,                    -- api-response-code, which is no HTTP status
    message     TEXT,
    PRIMARY KEY (batch, n)
) STRICT, WITHOUT ROWID;

-- What persons decided about doubts.
CREATE TABLE resolution (
    batch   INTEGER NOT NULL REFERENCES batch (id),
    at      REAL NOT NULL,
    who     TEXT NOT NULL,
    outcome TEXT NOT NULL CHECK (outcome IN ('accepted', 'ready', 'abandoned')),
    PRIMARY KEY (batch, at)
) STRICT, WITHOUT ROWID;

-- Rows of the list that became no call.
CREATE TABLE rejected (
    run               INTEGER NOT NULL REFERENCES run (id),
    row               INTEGER NOT NULL,
    reason            TEXT NOT NULL,
    client_identifier TEXT,
    contact_numbers   TEXT NOT NULL CHECK (json_valid(contact_numbers)),
    fields            TEXT NOT NULL,        -- the row as it was read, JSON
    PRIMARY KEY (run, row)
) STRICT, WITHOUT ROWID;
