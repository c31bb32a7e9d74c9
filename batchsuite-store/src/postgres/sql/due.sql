-- Four ways to be due, each from its index: used lately and in the early window; used lately, and dated by a clock so far
-- ahead that the access token cannot be used; used or not, and the refresh token ends soon (not before three quarters of its
-- life); used or not, of unknown end, and obtained long ago. Reserved, never claimed.
--
-- To plan it takes as long as to run it, so the plan that is kept must look no worse than one for these parameters: times
-- that hang on them are subqueries, which the planner never sees through, and a limit that it does not know, a tenth to it,
-- is a tenth of a thousand. More than a thousand are not asked for.
WITH RECURSIVE hours (hour) AS (
    -- The hours in which companies were used last, one look at the index each.
    (SELECT min(used_hour) FROM {schema}.grants
     WHERE environment = $1 AND standing = 'authenticated' AND has_refresh_token
       AND used_hour > (SELECT {now} - make_interval(secs => $3) - interval '1 hour'))
    UNION ALL
    SELECT (SELECT min(used_hour) FROM {schema}.grants
            WHERE environment = $1 AND standing = 'authenticated' AND has_refresh_token AND used_hour > hours.hour)
    FROM hours WHERE hours.hour IS NOT NULL
), share AS (
    -- As many of each hour as make twelve times what is asked for together: other keepers may be taking the first ones.
    SELECT LEAST(1000, 2 * $6, 1 + 12 * $6 / GREATEST(count(hour), 1)) AS most FROM hours
), firsts AS MATERIALIZED (
    SELECT hour, company, epoch, version, due_at
    FROM hours
    CROSS JOIN LATERAL (
        SELECT * FROM (
            SELECT company, epoch, version, due_at FROM {schema}.grants
            WHERE environment = $1 AND standing = 'authenticated' AND has_refresh_token AND client_id = $2
              AND used_hour = hour AND due_at <= {now} AND used_at >= (SELECT {now} - make_interval(secs => $3))
              AND {free}
            ORDER BY due_at LIMIT 1000
        ) AS longest LIMIT (SELECT most FROM share)
    ) AS used
), cut_short AS (
    -- The hours of which more may be among the first that are asked for.
    SELECT hour, max(due_at) AS reached FROM firsts GROUP BY hour
    HAVING count(*) >= (SELECT most FROM share)
       AND max(due_at) < COALESCE((SELECT due_at FROM firsts ORDER BY due_at OFFSET GREATEST($6 - 1, 0) LIMIT 1), 'infinity')
), candidates AS (
    SELECT company, epoch, version, due_at AS since FROM firsts
    UNION ALL
    SELECT used.company, used.epoch, used.version, used.due_at
    FROM cut_short
    CROSS JOIN LATERAL (
        SELECT * FROM (
            SELECT company, epoch, version, due_at FROM {schema}.grants
            WHERE environment = $1 AND standing = 'authenticated' AND has_refresh_token AND client_id = $2
              AND used_hour = hour AND due_at >= reached AND due_at <= {now}
              AND used_at >= (SELECT {now} - make_interval(secs => $3))
              AND {free}
            ORDER BY due_at LIMIT 1000
        ) AS longest LIMIT $6
    ) AS used
    UNION ALL
    (SELECT * FROM (
        SELECT company, epoch, version, due_at AS since
        FROM {schema}.grants
        WHERE environment = $1 AND standing = 'authenticated' AND has_refresh_token AND client_id = $2
          AND obtained_at > {now} + interval '5 minutes' AND used_at >= (SELECT {now} - make_interval(secs => $3))
          AND {free}
        ORDER BY obtained_at LIMIT 1000
    ) AS dated_ahead LIMIT $6)
    UNION ALL
    (SELECT * FROM (
        SELECT company, epoch, version,
               GREATEST(refresh_expires_at - make_interval(secs => $4),
                        obtained_at + 0.75 * (refresh_expires_at - obtained_at)) AS since
        FROM {schema}.grants
        WHERE environment = $1 AND standing = 'authenticated' AND has_refresh_token AND client_id = $2
          AND refresh_expires_at > {now} AND refresh_expires_at <= (SELECT {now} + make_interval(secs => $4))
          AND obtained_at + 0.75 * (refresh_expires_at - obtained_at) <= {now}
          AND {free}
        ORDER BY refresh_expires_at LIMIT 1000
    ) AS ending LIMIT $6)
    UNION ALL
    (SELECT * FROM (
        SELECT company, epoch, version, obtained_at + make_interval(secs => $4) AS since
        FROM {schema}.grants
        WHERE environment = $1 AND standing = 'authenticated' AND has_refresh_token AND client_id = $2
          AND refresh_expires_at IS NULL AND obtained_at <= (SELECT {now} - make_interval(secs => $4))
          AND {free}
        ORDER BY obtained_at LIMIT 1000
    ) AS open_ended LIMIT $6)
), picked AS MATERIALIZED (
    SELECT g.environment, g.company, due.since
    FROM (
        SELECT company, epoch, version, min(since) AS since FROM candidates
        GROUP BY company, epoch, version ORDER BY since, company
    ) AS due
    -- One look at the index each, until there are enough.
    CROSS JOIN LATERAL (
        SELECT environment, company FROM {schema}.grants
        -- The row that is locked may be newer than what was read until now; the tokens below are not. So it is compared:
        -- what was rotated or replaced meanwhile is not due, and its tokens would not open.
        WHERE environment = $1 AND company = due.company AND epoch = due.epoch AND version = due.version
          AND standing = 'authenticated' AND has_refresh_token
          AND (refresh_expires_at IS NULL OR refresh_expires_at > {now})
          AND {free}
        FOR UPDATE SKIP LOCKED
    ) AS g
    ORDER BY due.since, due.company
    LIMIT $6
), reserved AS (
    UPDATE {schema}.grants g SET reserved_until = {now} + make_interval(secs => $5)
    FROM picked WHERE g.environment = picked.environment AND g.company = picked.company
    RETURNING g.*, picked.since
)
SELECT {grant}, t.access_token, t.refresh_token, t.refresh_version, {durable} AS durable
FROM (SELECT {clock} AS as_of) AS reading, reserved g
-- One look at the index each, however many the planner expects.
LEFT JOIN LATERAL (
    SELECT access_token, refresh_token, refresh_version FROM {schema}.tokens
    WHERE environment = g.environment AND company = g.company
    OFFSET 0
) AS t ON true
ORDER BY g.since, g.company
