SELECT id, at, company, actor, kind, epoch, version, status, code, message, attempt FROM {schema}.events
WHERE environment = $1 AND {whose} AND id > 0 AND id < $3
ORDER BY id DESC LIMIT $4
