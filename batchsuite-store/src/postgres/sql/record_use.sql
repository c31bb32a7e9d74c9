-- A use within five minutes of the previous one is not written, unless it wakes its company earlier. Rows are locked in
-- the order of their names, so that two keepers never deadlock.
WITH used AS MATERIALIZED (
    SELECT environment, company FROM {schema}.grants
    WHERE environment = $1 AND company = ANY($2)
      AND (used_at IS NULL OR used_at NOT BETWEEN {now} - {use_recorded_within} AND {now}
           OR wake_if_used < COALESCE(wake_at, 'infinity'))
    ORDER BY company
    FOR UPDATE
), written AS (
    UPDATE {schema}.grants g SET used_at = {now}, wake_at = LEAST(g.wake_at, g.wake_if_used)
    FROM used WHERE g.environment = used.environment AND g.company = used.company
    RETURNING true
)
SELECT {durable} AS durable FROM (SELECT count(*) FROM written) AS once
