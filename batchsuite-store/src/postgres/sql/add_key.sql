-- The check value of a name never changes.
INSERT INTO {schema}.keys (name, check_value, primary_since) VALUES ($1, $2, clock_timestamp())
ON CONFLICT (name) DO UPDATE SET primary_since = EXCLUDED.primary_since
RETURNING {durable} AS durable
