-- The latest number, and up to where the log is settled: below the numbers that are still being drawn. The latest one is
-- read first: whoever drew one up to it had announced itself before, and either shows in pg_locks or has ended. What has
-- ended is seen by the *next* statement, so the log is read in another one than this.
WITH latest AS MATERIALIZED (
    SELECT CASE WHEN is_called THEN last_value ELSE 0 END AS number FROM {schema}.event_number
)
SELECT latest.number AS latest, LEAST(latest.number, (
    SELECT min(latest.number - ((latest.number - objid::bigint) & 4294967295))
    FROM pg_catalog.pg_locks
    WHERE locktype = 'advisory' AND objsubid = 2 AND granted
      AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
      AND classid = '{schema}.event_number'::regclass
)) AS settled
FROM latest
