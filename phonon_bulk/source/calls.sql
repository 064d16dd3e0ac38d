-- Writes each row of `piece` as a call with a comma after it, byte for byte as call.encode would.
-- NULL: the row is not usual, and row.py decides. query.py fills this in.
--
-- orjson and DuckDB write control characters without a short form differently, as \u001f and
-- \u001F; a call with one is left to row.py.
SELECT
    CASE WHEN strlen(call) <= $room + 1 AND NOT contains(call, '\u00') THEN call END AS call,
    day
FROM (
    SELECT $day AS day, CASE WHEN $usual THEN concat($parts) END AS call
    FROM (SELECT *, $derived FROM piece)
)
