-- The latest number, and the point up to which the log is settled: below any number still being drawn. The latest
-- number is read first. A writer that drew a number up to it announced itself before, so it either shows in pg_locks or
-- has ended. Only the *next* statement sees the writes of one that has ended, so the log is read in a separate
-- statement.
WITH latest AS MATERIALIZED (
    SELECT COALESCE(pg_catalog.pg_sequence_last_value('{schema}.event_number'::regclass), 0) AS number
)
SELECT latest.number AS latest, LEAST(latest.number, (
    -- The lock holds the lower half of a number, which may be slightly above the latest number read.
    SELECT min(latest.number - (latest.number - objid::bigint)::bit(32)::int)
    FROM pg_catalog.pg_locks
    WHERE locktype = 'advisory' AND objsubid = 2 AND granted
      AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
      AND classid = '{schema}.event_number'::regclass
)) AS settled
FROM latest
