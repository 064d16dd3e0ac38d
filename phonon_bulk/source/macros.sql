-- What is usual in a field, and what becomes of it. Each macro returns NULL for what is not usual:
-- row.py then decides. Where one returns a value, it is the one that row.py would return.
-- calls_query.py fills in the country: $code, $trunk, and $ordinary, a pattern (numbers.py).

CREATE TEMP MACRO bare_number(bare) AS
    CASE
        WHEN regexp_full_match(bare, '\+?$code$ordinary') THEN ltrim(bare, '+')
        WHEN regexp_full_match(bare, '$ordinary') THEN '$code' || bare
        WHEN regexp_full_match(bare, '$trunk$ordinary') THEN '$code' || bare[length('$trunk') + 1:]
    END;

CREATE TEMP MACRO any_number(field) AS
    CASE
        WHEN field = '' THEN NULL
        WHEN regexp_full_match(field, '$code$ordinary') THEN field
        ELSE bare_number(translate(field, ' ' || chr(160) || '()-', ''))
    END;

-- numbers.NumberReader, for one ordinary number. A dot is not usual: it may be that of a decimal
-- number.
CREATE TEMP MACRO clean_number(field) AS
    CASE WHEN strlen(any_number(field)) BETWEEN $least AND $most THEN any_number(field) END;

CREATE TEMP MACRO is_trimmed(field) AS
    regexp_full_match(field, '[!-~]([ -~]*[!-~])?');

-- A client-identifier as JSON: trimmed, or the generated one if there is none.
CREATE TEMP MACRO identifier_json(field, generated) AS
    CASE
        WHEN field = '' THEN to_json(generated)
        WHEN is_trimmed(field) THEN to_json(field)
        WHEN is_trimmed(trim(field)) THEN to_json(trim(field))
    END::VARCHAR;

-- row.identifier_key.
CREATE TEMP MACRO identifier_key(field, json) AS
    CASE WHEN trim(field) <> '' THEN unhex(md5(json)) END;
