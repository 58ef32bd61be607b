-- Rarely needed, and a temporary table costs every commit that touches any: it lives as long as its transaction.
CREATE TEMPORARY TABLE staged_answers (
    namespace text COLLATE "C", key text COLLATE "C", fingerprint text COLLATE "C", epoch integer, seq bigint,
    answer text COLLATE "C"
) ON COMMIT DROP
