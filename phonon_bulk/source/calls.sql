-- Writes each row of `list` as a call with a comma after it, byte for byte as call.encode would.
-- Where the row is not usual, there is no call, and row.py decides. calls_query.py fills this in.
--
-- orjson and DuckDB write control characters without a short form differently, as \u001f and
-- \u001F; a call with one is left to row.py.
SELECT
    row,
    CASE WHEN strlen(whole) <= $room + 1 AND NOT contains(whole, '\u00') THEN whole END AS call,
    day,
    $more
FROM (
    SELECT *, $day AS day, CASE WHEN $usual THEN concat($parts) END AS whole
    FROM (SELECT *, $derived FROM list)
)
