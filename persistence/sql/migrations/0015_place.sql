-- A place for what comes.
SELECT 1;
