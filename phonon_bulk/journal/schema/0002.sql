-- Version 2: a time that no setting of the clock moves, what the audit proves from, a hard end.

-- The journal's own time is `zero` plus the seconds since the machine was started; see clock.py.
CREATE TABLE clock (
    id   INTEGER PRIMARY KEY CHECK (id = 1),
    boot TEXT NOT NULL,                     -- which start of the machine
    zero REAL NOT NULL
) STRICT;

-- doubted_at on the journal's own time, as lease_until and not_before are from here on.
ALTER TABLE batch ADD COLUMN doubted_steady REAL;

-- When it was marked as sending on the journal's own time, and what stood before the calls. Both
-- are NULL in lines of version 1.
ALTER TABLE attempt ADD COLUMN steady_at REAL;
ALTER TABLE attempt ADD COLUMN head_sha256 BLOB CHECK (length(head_sha256) = 32);

-- After which try of the batch it was decided; NULL in lines of version 1.
ALTER TABLE resolution ADD COLUMN after_try INTEGER;

-- The wall clock's moment after which nothing of the run is sent; NULL is no end.
ALTER TABLE run ADD COLUMN not_after REAL;

-- By which a body equal to one that went out before is found.
CREATE INDEX batch_sent ON batch (sha256) WHERE head_sha256 IS NOT NULL;
