SELECT id, at, company, actor, kind, epoch, version, status, code, message, attempt FROM {schema}.events
WHERE environment = $1 AND {whose} AND id > $3 AND id <= $4
ORDER BY id LIMIT $5
