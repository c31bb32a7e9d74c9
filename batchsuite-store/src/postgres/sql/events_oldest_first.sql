-- With each event, or alone if there is none, up to where events were pruned: in one reading, so that nothing is pruned
-- between the two.
SELECT e.*, log.pruned_up_to
FROM (SELECT (SELECT pruned_up_to FROM {schema}.event_log WHERE environment = $1) AS pruned_up_to) AS log
LEFT JOIN LATERAL (
    SELECT {event} FROM {schema}.events
    WHERE environment = $1 AND {whose} AND id > $3 AND id <= $4
    ORDER BY id LIMIT $5
) AS e ON true
ORDER BY e.id
