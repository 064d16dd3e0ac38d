-- Version 3: one limit for all processes.

-- How an endpoint is used, for all who use it; schedule.py says what is counted how. Moments are of
-- the journal's own time.
CREATE TABLE bucket (
    account          TEXT NOT NULL,
    endpoint         TEXT NOT NULL CHECK (endpoint IN ('bulk', 'realtime')),
    last_at          REAL NOT NULL DEFAULT 0,    -- the last slot that was granted
    calls_at         REAL NOT NULL DEFAULT 0,    -- where the pace of the calls stands
    began_at         REAL NOT NULL DEFAULT 0,    -- when the ramp began
    hold_until       REAL NOT NULL DEFAULT 0,    -- no slot before
    ordered_requests INTEGER CHECK (ordered_requests > 0), -- what an operator has set, a minute
    ordered_calls    INTEGER CHECK (ordered_calls > 0),
    throttle         TEXT CHECK (throttle IS NULL OR json_valid(throttle)), -- how it is held back, if it said no
    PRIMARY KEY (account, endpoint)
) STRICT, WITHOUT ROWID;

-- Who asks for slots, with the limits of its settings.
CREATE TABLE sender (
    account  TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    owner    TEXT NOT NULL,
    run      INTEGER NOT NULL,
    weight   REAL NOT NULL CHECK (weight > 0),
    requests INTEGER,
    calls    INTEGER,
    headroom REAL NOT NULL,
    next_at  REAL NOT NULL,                 -- where its own schedule stands
    waits    INTEGER NOT NULL CHECK (waits IN (0, 1)), -- whether it asked for more than it got
    until    REAL NOT NULL,                 -- up to when it counts among those that ask
    PRIMARY KEY (account, endpoint, owner)
) STRICT, WITHOUT ROWID;

-- The calls of the last minute's slots, by the sixteenth of a second.
CREATE TABLE spent (
    account  TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    tick     INTEGER NOT NULL,
    at       REAL NOT NULL,                 -- the last slot among them
    calls    INTEGER NOT NULL,
    PRIMARY KEY (account, endpoint, tick)
) STRICT, WITHOUT ROWID;

-- The limits in force, from when on. NULL is no limit.
CREATE TABLE limit_change (
    id       INTEGER PRIMARY KEY,
    account  TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    at       REAL NOT NULL,                 -- by the wall clock
    steady   REAL NOT NULL,
    requests INTEGER,
    calls    INTEGER,
    why      TEXT NOT NULL
) STRICT;
CREATE INDEX limit_change_of ON limit_change (account, endpoint, id);

-- By which what was let through in the last minute is found.
CREATE INDEX attempt_sent ON attempt (steady_at);
