-- Another step of the schema comes here.
SELECT 1;
