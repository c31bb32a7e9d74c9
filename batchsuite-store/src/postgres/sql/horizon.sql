-- The latest number, and up to where the log is settled: below the numbers that are still being drawn. The latest one is
-- read first: whoever drew one up to it had announced itself before, and either shows in pg_locks or has ended. What has
-- ended is seen by the *next* statement, so the log is read in another one than this.
WITH latest AS MATERIALIZED (
    SELECT COALESCE(pg_catalog.pg_sequence_last_value('{schema}.event_number'::regclass), 0) AS number
)
SELECT latest.number AS latest, LEAST(latest.number, (
    -- The lock has the lower half of a number, which may also be a little above the latest that was read.
    SELECT min(latest.number - (latest.number - objid::bigint)::bit(32)::int)
    FROM pg_catalog.pg_locks
    WHERE locktype = 'advisory' AND objsubid = 2 AND granted
      AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
      AND classid = '{schema}.event_number'::regclass
)) AS settled
FROM latest
