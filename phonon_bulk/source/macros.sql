-- What is usual in a field, and what becomes of it. Each macro returns NULL for what is not usual:
-- row.py then decides. Where one returns a value, it is the one that row.py would return.

CREATE TEMP MACRO is_number(digits) AS
    regexp_full_match(digits, '[1-9][0-9]{7,8}|[1-5][0-9]{9}|[1-9][0-9]{10,14}');

CREATE TEMP MACRO is_number_after_plus(text) AS
    regexp_full_match(text, '\+[1-9][0-9]{7,14}');

CREATE TEMP MACRO bare_number(bare) AS
    CASE
        WHEN is_number_after_plus(bare) THEN bare[2:]
        WHEN is_number(bare) THEN bare
    END;

-- call.clean_number. Ten digits from 6 on are a number only after a plus: the country code lacks.
CREATE TEMP MACRO clean_number(field) AS
    CASE
        WHEN field = '' THEN NULL
        WHEN is_number(field) THEN field
        WHEN is_number_after_plus(field) THEN field[2:]
        ELSE bare_number(translate(field, ' ' || chr(160) || '().-', ''))
    END;

CREATE TEMP MACRO is_trimmed(field) AS
    regexp_full_match(field, '[!-~]([ -~]*[!-~])?');

-- A client-identifier as JSON: trimmed, or the generated one if there is none.
CREATE TEMP MACRO identifier_json(field, generated) AS
    CASE
        WHEN field = '' THEN to_json(generated)
        WHEN is_trimmed(field) THEN to_json(field)
        WHEN is_trimmed(trim(field)) THEN to_json(trim(field))
    END::VARCHAR;
