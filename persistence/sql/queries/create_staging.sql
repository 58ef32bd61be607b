-- Where what settles or extends holds of earlier batches waits inside one posting transaction; one for each connection.
CREATE TEMPORARY TABLE IF NOT EXISTS staged_holds (
    namespace text COLLATE "C", hold_id text COLLATE "C", leg smallint, status text COLLATE "C", amount bigint,
    consumed bigint, expires_at timestamptz, settled_at timestamptz, late boolean, settled_body json
) ON COMMIT DELETE ROWS
