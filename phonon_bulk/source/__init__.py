"""Contact lists: found, looked over, and read as a stream of calls.

    files     which files are meant
    scan      one file, byte for byte: is it whole UTF-8 text in well-formed rows?
    columns   the header and the mapping: which column is what
    rows      a piece of a file as a table with row numbers
    row       one row as a call, or the reason why not: the plain definition
    feed      the tables as one stream for DuckDB
    query     the same as `row` in SQL, for the rows that are usual
    calls     the query's results as blocks of calls, and what `row` says of the other rows
    contacts  all of it put together: `open_list` is what callers begin with

Nothing is imported here: DuckDB and Arrow take half a second to load, and who goes on with a list
that was read needs `files` alone.
"""
