-- A place for what comes, which brings this function.
-- A namespace as it stands in the tables: long ones as their key (see 0007_long_names.sql).
CREATE OR REPLACE FUNCTION meter.namespace_key(name text) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog AS $$
DECLARE
    encoded bytea := convert_to(name, 'UTF8');
    start text := left(name, 40);
    crc bigint := 4294967295;
BEGIN
    IF length(encoded) <= 800 THEN
        RETURN name;
    END IF;
    WHILE octet_length(start) > 40 LOOP
        start := left(start, -1);
    END LOOP;
    FOR place IN 0 .. length(encoded) - 1 LOOP
        crc := crc # get_byte(encoded, place);
        FOR bit IN 1 .. 8 LOOP
            crc := (crc >> 1) # (3988292384 * (crc & 1));
        END LOOP;
    END LOOP;
    RETURN start || chr(1) || encode(sha256(encoded), 'hex') || '@' || ((crc # 4294967295) & 127);
END
$$;
