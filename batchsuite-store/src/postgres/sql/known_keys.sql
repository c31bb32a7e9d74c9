-- The latest encryption key comes last.
SELECT name, check_value FROM {schema}.keys ORDER BY primary_since, name
