-- Three ways to be due, each from its index: used lately and in the early window; unused, and the refresh token ends soon
-- (not before three quarters of its life); unused, of unknown end, and obtained long ago. Reserved, never claimed.
WITH RECURSIVE hours (hour) AS (
    -- The hours in which companies were used last, one look at the index each.
    (SELECT min(used_hour) FROM {schema}.grants
     WHERE environment = $1 AND standing = 'authenticated' AND has_refresh_token
       AND used_hour > {now} - make_interval(secs => $3) - interval '1 hour')
    UNION ALL
    SELECT (SELECT min(used_hour) FROM {schema}.grants
            WHERE environment = $1 AND standing = 'authenticated' AND has_refresh_token AND used_hour > hours.hour)
    FROM hours WHERE hours.hour IS NOT NULL
), candidates AS (
    SELECT used.company, used.due_at AS since
    FROM hours
    CROSS JOIN LATERAL (
        SELECT company, due_at FROM {schema}.grants
        WHERE environment = $1 AND standing = 'authenticated' AND has_refresh_token AND client_id = $2
          AND used_hour = hour AND due_at <= {now} AND used_at >= {now} - make_interval(secs => $3)
          AND {free}
        ORDER BY due_at LIMIT $6
    ) AS used
    UNION ALL
    SELECT company, since FROM (
        SELECT company, GREATEST(refresh_expires_at - make_interval(secs => $4),
                                 obtained_at + 0.75 * (refresh_expires_at - obtained_at)) AS since
        FROM {schema}.grants
        WHERE environment = $1 AND standing = 'authenticated' AND has_refresh_token AND client_id = $2
          AND refresh_expires_at > {now} AND refresh_expires_at <= {now} + make_interval(secs => $4)
          AND obtained_at + 0.75 * (refresh_expires_at - obtained_at) <= {now}
          AND {free}
        ORDER BY refresh_expires_at LIMIT $6
    ) AS ending
    UNION ALL
    SELECT company, since FROM (
        SELECT company, obtained_at + make_interval(secs => $4) AS since
        FROM {schema}.grants
        WHERE environment = $1 AND standing = 'authenticated' AND has_refresh_token AND client_id = $2
          AND refresh_expires_at IS NULL AND obtained_at <= {now} - make_interval(secs => $4)
          AND {free}
        ORDER BY obtained_at LIMIT $6
    ) AS open_ended
), picked AS MATERIALIZED (
    SELECT g.environment, g.company, due.since
    FROM (
        -- More than are asked for: other keepers may be taking the first ones.
        SELECT company, min(since) AS since FROM candidates GROUP BY company ORDER BY since, company LIMIT 4 * $6
    ) AS due
    JOIN {schema}.grants g ON g.environment = $1 AND g.company = due.company
    WHERE g.standing = 'authenticated' AND g.has_refresh_token
      AND (g.refresh_expires_at IS NULL OR g.refresh_expires_at > {now})
      AND {free}
    ORDER BY due.since, g.company
    LIMIT $6
    FOR UPDATE OF g SKIP LOCKED
), reserved AS (
    UPDATE {schema}.grants g SET reserved_until = {now} + make_interval(secs => $5)
    FROM picked WHERE g.environment = picked.environment AND g.company = picked.company
    RETURNING g.company, g.epoch, g.version, picked.since
)
SELECT company, epoch, version FROM reserved ORDER BY since, company
