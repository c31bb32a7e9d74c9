INSERT INTO {schema}.events (id, at, environment, company, actor, kind, epoch, version, status, code, message, attempt)
SELECT {schema}.next_event(), {clock}, $1, $2, $3, $4, COALESCE(g.epoch, 0), COALESCE(g.version, 0), $5, $6, $7, $8
FROM (SELECT) AS once LEFT JOIN {schema}.grants g ON g.environment = $1 AND g.company = $2
RETURNING id
