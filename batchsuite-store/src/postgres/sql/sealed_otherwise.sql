-- The next grants, and the tokens of those that are not under the primary key.
SELECT company, otherwise, epoch, version, CASE WHEN otherwise THEN access_token END,
       CASE WHEN otherwise THEN refresh_token END, refresh_version
FROM (
    SELECT t.*, g.epoch, g.version,
           COALESCE(substring(t.access_token FOR length($3)) <> $3, false)
           OR COALESCE(substring(t.refresh_token FOR length($3)) <> $3, false) AS otherwise
    FROM {schema}.tokens t JOIN {schema}.grants g USING (environment, company)
    WHERE t.environment = $1 AND ($2::text IS NULL OR t.company > $2)
    ORDER BY t.company
    LIMIT $4
) AS next
ORDER BY company
