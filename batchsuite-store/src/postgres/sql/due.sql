-- Four ways to be due, each from its index: used lately and in the early window; used lately, and dated by a clock so far
-- ahead that the access token cannot be used; used or not, and the refresh token ends soon (not before three quarters of its
-- life); used or not, of unknown end, and obtained long ago. Reserved, never claimed.
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
    SELECT used.company, used.epoch, used.version, used.due_at AS since
    FROM hours
    CROSS JOIN LATERAL (
        SELECT company, epoch, version, due_at FROM {schema}.grants
        WHERE environment = $1 AND standing = 'authenticated' AND has_refresh_token AND client_id = $2
          AND used_hour = hour AND due_at <= {now} AND used_at >= {now} - make_interval(secs => $3)
          AND {free}
        ORDER BY due_at LIMIT $6
    ) AS used
    UNION ALL
    SELECT company, epoch, version, since FROM (
        SELECT company, epoch, version, due_at AS since
        FROM {schema}.grants
        WHERE environment = $1 AND standing = 'authenticated' AND has_refresh_token AND client_id = $2
          AND obtained_at > {now} + interval '5 minutes' AND used_at >= {now} - make_interval(secs => $3)
          AND {free}
        ORDER BY obtained_at LIMIT $6
    ) AS dated_ahead
    UNION ALL
    SELECT company, epoch, version, since FROM (
        SELECT company, epoch, version,
               GREATEST(refresh_expires_at - make_interval(secs => $4),
                        obtained_at + 0.75 * (refresh_expires_at - obtained_at)) AS since
        FROM {schema}.grants
        WHERE environment = $1 AND standing = 'authenticated' AND has_refresh_token AND client_id = $2
          AND refresh_expires_at > {now} AND refresh_expires_at <= {now} + make_interval(secs => $4)
          AND obtained_at + 0.75 * (refresh_expires_at - obtained_at) <= {now}
          AND {free}
        ORDER BY refresh_expires_at LIMIT $6
    ) AS ending
    UNION ALL
    SELECT company, epoch, version, since FROM (
        SELECT company, epoch, version, obtained_at + make_interval(secs => $4) AS since
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
        SELECT company, epoch, version, min(since) AS since FROM candidates
        GROUP BY company, epoch, version ORDER BY since, company LIMIT 4 * $6
    ) AS due
    -- The row that is locked may be newer than what was read until now; the tokens below are not. So it is compared: what
    -- was rotated or replaced meanwhile is not due, and its tokens would not open.
    JOIN {schema}.grants g
      ON g.environment = $1 AND g.company = due.company AND g.epoch = due.epoch AND g.version = due.version
    WHERE g.standing = 'authenticated' AND g.has_refresh_token
      AND (g.refresh_expires_at IS NULL OR g.refresh_expires_at > {now})
      AND {free}
    ORDER BY due.since, g.company
    LIMIT $6
    FOR UPDATE OF g SKIP LOCKED
), reserved AS (
    UPDATE {schema}.grants g SET reserved_until = {now} + make_interval(secs => $5)
    FROM picked WHERE g.environment = picked.environment AND g.company = picked.company
    RETURNING g.*, picked.since
)
SELECT {grant}, t.access_token, t.refresh_token, t.refresh_version
FROM (SELECT {clock} AS as_of) AS reading, reserved g
-- One look at the index each, however many the planner expects.
LEFT JOIN LATERAL (
    SELECT access_token, refresh_token, refresh_version FROM {schema}.tokens
    WHERE environment = g.environment AND company = g.company
    OFFSET 0
) AS t ON true
ORDER BY g.since, g.company
