-- A piece of the oldest ones at a time, so that no statement is long. Up to where is remembered in the same write: a reader
-- whose cursor lies below it is told of the gap.
WITH gone AS (
    DELETE FROM {schema}.events WHERE id IN (
        SELECT id FROM (SELECT id, at FROM {schema}.events ORDER BY id LIMIT $2) AS oldest
        WHERE at < {clock} - make_interval(secs => $1)
    )
    RETURNING id
), remembered AS (
    INSERT INTO {schema}.event_log AS log (pruned_up_to) SELECT max(id) FROM gone HAVING count(*) > 0
    ON CONFLICT (id) DO UPDATE SET pruned_up_to = GREATEST(log.pruned_up_to, EXCLUDED.pruned_up_to)
)
SELECT count(*), {durable} AS durable FROM gone
