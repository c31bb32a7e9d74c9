-- A piece of the oldest ones at a time, so that no statement is long.
DELETE FROM {schema}.events WHERE id IN (
    SELECT id FROM (SELECT id, at FROM {schema}.events ORDER BY id LIMIT $2) AS oldest
    WHERE at < {clock} - make_interval(secs => $1)
)
RETURNING true
