-- Version 5: a process that is always there, single calls, and contact data that leaves.

-- 'intake': its rows are single calls, which come in over a day; there is no list.
ALTER TABLE run ADD COLUMN kind TEXT NOT NULL DEFAULT 'list' CHECK (kind IN ('list', 'intake'));
-- When a person took it back.
ALTER TABLE run ADD COLUMN cancelled_at REAL;
-- When its contact data was deleted; counts and request-ids are still there.
ALTER TABLE run ADD COLUMN pruned_at REAL;
-- What of it is left in the file: 'data' until the last was deleted, then 'traces' in unused parts
-- of pages until the file was written anew.
ALTER TABLE run ADD COLUMN remains TEXT CHECK (remains IN ('data', 'traces'));

-- A batch of single calls: when they came in. NULL for those of a list.
ALTER TABLE batch ADD COLUMN came_at REAL;
-- A batch that was replaced (state 'split') because its calls go out with others, in this one.
ALTER TABLE batch ADD COLUMN gathered_into INTEGER REFERENCES batch (id);
CREATE INDEX batch_parts ON batch (parent) WHERE parent IS NOT NULL;
CREATE INDEX batch_gathered ON batch (gathered_into) WHERE gathered_into IS NOT NULL;
-- What is ready and put off is little, what is only ready may be millions.
CREATE INDEX batch_put_off ON batch (not_before) WHERE state = 'ready' AND not_before > 0;

-- What a client of the intake has sent: one line a request. No contact data.
CREATE TABLE intake (
    id      TEXT PRIMARY KEY,               -- what the client was told, and asks by
    run     INTEGER NOT NULL REFERENCES run (id),
    batch   INTEGER NOT NULL REFERENCES batch (id), -- the calls as they came in
    came_at REAL NOT NULL,
    key     BLOB UNIQUE CHECK (length(key) = 32),   -- SHA-256 of its Idempotency-Key
    request BLOB NOT NULL CHECK (length(request) = 32) -- SHA-256 of what was asked
) STRICT, WITHOUT ROWID;
CREATE INDEX intake_of_run ON intake (run);

-- Which process is at work on which run. Whether it still lives is seen by its sign (alive.py).
CREATE TABLE at_work (
    run   INTEGER NOT NULL REFERENCES run (id),
    owner TEXT NOT NULL,
    what  TEXT NOT NULL CHECK (what IN ('reads', 'sends')),
    since REAL NOT NULL,
    PRIMARY KEY (run, owner, what)
) STRICT, WITHOUT ROWID;

-- When a worker wrote last, so that one that can't is noticed though there is nothing to write.
CREATE TABLE heartbeat (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    at REAL NOT NULL
) STRICT;

-- Whatever becomes ready in a run that was taken back is taken back too, whoever had it meanwhile.
CREATE TRIGGER cancelled_when_given_back AFTER UPDATE OF state ON batch
  WHEN NEW.state = 'ready'
   AND EXISTS (SELECT 1 FROM run WHERE id = NEW.run AND control = 'cancelled')
BEGIN
    UPDATE batch
       SET state = 'cancelled', not_before = 0,
           settled_at = (SELECT cancelled_at FROM run WHERE id = NEW.run),
           reason = (SELECT reason FROM run WHERE id = NEW.run)
     WHERE id = NEW.id;
END;
CREATE TRIGGER cancelled_when_added AFTER INSERT ON batch
  WHEN NEW.state = 'ready'
   AND EXISTS (SELECT 1 FROM run WHERE id = NEW.run AND control = 'cancelled')
BEGIN
    UPDATE batch
       SET state = 'cancelled',
           settled_at = (SELECT cancelled_at FROM run WHERE id = NEW.run),
           reason = (SELECT reason FROM run WHERE id = NEW.run)
     WHERE id = NEW.id;
END;
