-- $5: the renewed lease's duration.
UPDATE {schema}.deliveries SET
    cursor = GREATEST(cursor, $4),
    held_until = {clock} + make_interval(secs => $5)
WHERE environment = $1 AND consumer = $2 AND holder = $3 AND held_until > {clock}
RETURNING true, {durable} AS durable
