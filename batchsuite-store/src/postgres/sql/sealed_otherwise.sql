-- Tokens that are not under the primary key. What was done is no longer found, so it can be broken off and begun again.
SELECT t.company, g.epoch, g.version, t.access_token, t.refresh_token, t.refresh_version
FROM {schema}.tokens t JOIN {schema}.grants g USING (environment, company)
WHERE t.environment = $1 AND ($2::text IS NULL OR t.company > $2)
  AND (substring(t.access_token FOR length($3)) <> $3 OR substring(t.refresh_token FOR length($3)) <> $3)
ORDER BY t.company
LIMIT $4
