-- Each event with the last pruned event, or that alone if there is no event: read together, so that nothing is pruned
-- in between.
SELECT e.*, log.pruned_up_to
FROM (SELECT (SELECT pruned_up_to FROM {schema}.event_log WHERE environment = $1) AS pruned_up_to) AS log
LEFT JOIN LATERAL (
    SELECT {event} FROM {schema}.events
    WHERE environment = $1 AND {whose} AND id > $3 AND id <= $4
    ORDER BY id LIMIT $5
) AS e ON true
ORDER BY e.id
