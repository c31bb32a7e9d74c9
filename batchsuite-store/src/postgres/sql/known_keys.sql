-- The one that encrypted last comes last.
SELECT name, check_value FROM {schema}.keys ORDER BY primary_since, name
