-- Deletes the oldest events in batches, so that no statement takes long. The last pruned event is recorded in the same
-- write: a reader whose cursor lies below it is told of the gap.
WITH reading AS (
    SELECT {clock} AS now
), oldest AS (
    -- As many as are deleted, so that a log without old events is not read completely. An event dated ahead does not tell
    -- its age.
    SELECT id, bool_and(at < (SELECT now FROM reading) - make_interval(secs => $2)) OVER (ORDER BY id) AS are_old
    FROM {schema}.events
    WHERE environment = $1 AND at <= (SELECT now FROM reading)
      AND ($4 OR id <= ALL (SELECT cursor FROM {schema}.deliveries WHERE environment = $1))
    ORDER BY id LIMIT $3
), gone AS (
    DELETE FROM {schema}.events WHERE environment = $1 AND id = ANY (ARRAY(
        SELECT id FROM {schema}.events
        WHERE environment = $1 AND id <= (SELECT max(id) FROM oldest WHERE are_old)
        ORDER BY id LIMIT $3
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
