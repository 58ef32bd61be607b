-- A worker sees an operation as soon as its transaction is committed, and carries it out. With synchronous_commit = off
-- a crash of Postgres could take the transaction back after that: so whoever records commits to the disk.
CREATE FUNCTION meter.commit_to_disk() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF pg_catalog.current_setting('synchronous_commit') = 'off' THEN
        PERFORM pg_catalog.set_config('synchronous_commit', 'on', true);
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER operations_on_disk BEFORE INSERT ON meter.operations
    FOR EACH STATEMENT EXECUTE FUNCTION meter.commit_to_disk();
