-- Filtered by what Snapshot::status derives.
SELECT * FROM (
    SELECT {grant},
           CASE WHEN g.standing = 'unauthenticated' THEN 'unauthenticated'
                WHEN g.standing <> 'authenticated' OR g.client_id IS DISTINCT FROM $2 THEN 'reauth_required'
                WHEN NOT g.has_refresh_token THEN
                    CASE WHEN g.has_access_token AND g.access_expires_at > reading.as_of
                              AND g.obtained_at <= reading.as_of + interval '5 minutes'
                         THEN 'authenticated' ELSE 'reauth_required' END
                WHEN g.refresh_expires_at <= reading.as_of THEN 'reauth_required'
                ELSE 'authenticated' END AS status
    FROM (SELECT {now} AS as_of) AS reading, {schema}.grants g
    WHERE g.environment = $1 AND ($4::text IS NULL OR g.company > $4)
    ORDER BY g.company
) AS listed
WHERE $3::text IS NULL OR status = $3
ORDER BY company
LIMIT $5
