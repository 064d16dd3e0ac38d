"""What a list may be written in: each format's bytes become tables of text with row numbers.

    stored      bytes that can be read as often as needed: a file of the user's, or a copy of ours
    tables      the shape of the tables, and a copy on disk of rows that came in no CSV file
    values      a value of any type as the text that a person expects
    opening     which format is it? hands over to one of these:
    csv_scan    CSV, looked over byte for byte
    csv_rows    CSV, read piece by piece
    encoding    CSV in UTF-16 or Windows-1252, made UTF-8
    unpack      gzip, zstd, zip
    json_rows   JSON and NDJSON
    parquet     Parquet
    excel       Excel workbooks
    select      SQL over files, in DuckDB
    database    SQL in a database, by its URL
    remote      files that are elsewhere, by their URL

Whatever is not plain UTF-8 CSV in a file of the user's is copied once, to a file of ours that has
no name (`stored.Spool`): as CSV if it is CSV inside, else as a table.
"""
