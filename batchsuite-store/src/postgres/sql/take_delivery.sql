-- $5: the end of the log, where a new consumer begins.
INSERT INTO {schema}.deliveries AS d (environment, consumer, cursor, holder, held_until)
VALUES ($1, $2, $5, $3, {clock} + make_interval(secs => $4))
ON CONFLICT (environment, consumer) DO UPDATE SET holder = EXCLUDED.holder, held_until = EXCLUDED.held_until
WHERE d.holder = $3 OR d.held_until NOT BETWEEN {clock} AND {clock} + {longest_delivery_lease}
RETURNING cursor, {durable} AS durable
