"""Contact lists: found, looked over, and read as a stream of calls.

    files         which files are meant
    origin        files, standard input, URLs, queries: opened as parts
    formats/      what a list may be written in: bytes become tables of text
    columns       the header and the mapping: which column is what
    expressions   the columns that a mapping computes
    numbers       a field as contact numbers
    times         a field as a start-time; the calling window, the spread
    row           one row as a call, or the reason why not: the plain definition
    feed          the tables as one stream for DuckDB
    calls_query   the same as `row` in SQL, for the rows that are usual
    calls         the query's results as blocks of calls, and what `row` says of the other rows
    do_not_call   lists of numbers that are not to be called, read
    suppression   and looked up
    seen          which keys came before: duplicates
    mended        a file of rejected rows that comes back
    contacts      all of it put together: `open_list` is what callers begin with
    proposal      a campaign for a list that nobody has described yet
    looks         what a column looks like, by its name and values

Nothing is imported here: DuckDB and Arrow take half a second to load, and who goes on with a list
that was read needs `files` alone.
"""
