-- What is usual in a field, and what becomes of it. Each macro returns NULL for what is not usual:
-- row.py then decides. Where one returns a value, it is the one that row.py would return.

CREATE TEMP MACRO is_number(digits) AS
    regexp_full_match(digits, '[1-9][0-9]{7,8}|[1-5][0-9]{9}|[1-9][0-9]{10,14}');

CREATE TEMP MACRO bare_number(bare) AS
    CASE
        WHEN regexp_full_match(bare, '\+[1-9][0-9]{7,14}') THEN bare[2:]
        WHEN is_number(bare) THEN bare
    END;

-- call.clean_number. Ten digits from 6 on are a number only after a plus: the country code lacks.
CREATE TEMP MACRO clean_number(field) AS
    CASE
        WHEN field = '' THEN NULL
        WHEN is_number(field) THEN field
        ELSE bare_number(translate(field, ' ' || chr(160) || '().-', ''))
    END;

-- A client-identifier as JSON: trimmed, or the generated one if there is none.
CREATE TEMP MACRO identifier_json(field, generated) AS
    CASE
        WHEN field = '' THEN to_json(generated)
        WHEN regexp_full_match(trim(field), '[!-~]([ -~]*[!-~])?') THEN to_json(trim(field))
    END::VARCHAR;

-- The part of a start-time before an offset of +05:30 or none, with seconds.
CREATE TEMP MACRO local_clock(field) AS
    CASE length(field)
        WHEN 25 THEN CASE WHEN ends_with(field, '+05:30') THEN replace(field[:19], 'T', ' ') END
        WHEN 19 THEN replace(field, 'T', ' ')
        WHEN 16 THEN replace(field, 'T', ' ') || ':00'
    END;

-- call.read_start_time for the usual ways to write one; the cell's moment, or `otherwise`.
CREATE TEMP MACRO local_moment(field, otherwise) AS
    CASE
        WHEN field = '' THEN otherwise
        WHEN TRY_CAST(local_clock(field) AS TIMESTAMP)::VARCHAR = local_clock(field)
            THEN TRY_CAST(local_clock(field) AS TIMESTAMP)
    END;

CREATE TEMP MACRO days_since_epoch(moment) AS
    (moment::DATE - DATE '1970-01-01')::INTEGER;

-- A moment whose date has not passed at `now`.
CREATE TEMP MACRO not_past(moment, now) AS
    CASE WHEN moment::DATE >= now::DATE THEN moment END;
