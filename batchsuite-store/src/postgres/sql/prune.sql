-- Deletes the oldest events in batches, so that no statement takes long. The last pruned event is recorded in the same
-- write: a reader whose cursor lies below it is told of the gap.
WITH gone AS (
    DELETE FROM {schema}.events WHERE environment = $1 AND id = ANY (ARRAY(
        SELECT id FROM (
            SELECT id, at FROM {schema}.events
            WHERE environment = $1
              AND ($4 OR id <= ALL (SELECT cursor FROM {schema}.deliveries WHERE environment = $1))
            ORDER BY id LIMIT $3
        ) AS oldest
        WHERE at < {clock} - make_interval(secs => $2)
    ))
    RETURNING id
), remembered AS (
    INSERT INTO {schema}.event_log AS log (environment, pruned_up_to) SELECT $1, max(id) FROM gone HAVING count(*) > 0
    ON CONFLICT (environment) DO UPDATE SET pruned_up_to = GREATEST(log.pruned_up_to, EXCLUDED.pruned_up_to)
    RETURNING pruned_up_to
)
SELECT (SELECT count(*) FROM gone),
       COALESCE((SELECT pruned_up_to FROM remembered),
                (SELECT pruned_up_to FROM {schema}.event_log WHERE environment = $1), 0),
       {durable} AS durable
