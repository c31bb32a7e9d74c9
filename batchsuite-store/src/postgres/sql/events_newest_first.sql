SELECT {event} FROM {schema}.events
WHERE environment = $1 AND {whose} AND id > 0 AND id < $3
ORDER BY id DESC LIMIT $4
