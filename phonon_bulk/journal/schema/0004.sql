-- Version 4: rows left out on purpose, and what was changed in calls.

-- Rows of the list that became no call; only rejected ones have `fields`.
ALTER TABLE rejected RENAME TO left_out;
ALTER TABLE left_out ADD COLUMN state TEXT NOT NULL DEFAULT 'rejected'
    CHECK (state IN ('rejected', 'suppressed', 'duplicate'));

-- What was changed in calls and should be seen, added up; free of contact data.
CREATE TABLE note (
    run      INTEGER NOT NULL REFERENCES run (id),
    note     TEXT NOT NULL,
    contacts INTEGER NOT NULL CHECK (contacts > 0),
    row      INTEGER NOT NULL,              -- the first it was done to
    PRIMARY KEY (run, note)
) STRICT, WITHOUT ROWID;
