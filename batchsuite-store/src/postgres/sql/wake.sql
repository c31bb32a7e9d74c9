-- Rows whose wake time has passed, from $3 on, followed by rows whose wake time is so far ahead that a wrong clock must
-- have set it.
WITH due AS MATERIALIZED (
    SELECT due.company, due.number, due.wake_at, span.place
    FROM (VALUES (1, COALESCE($3, '-infinity'), {now}), (2, {now} + {furthest_wake}, 'infinity')) AS span (place, after, until)
    CROSS JOIN LATERAL (
        SELECT company, number, wake_at FROM {schema}.grants
        WHERE environment = $1 AND company <> '' AND wake_at >= span.after AND wake_at <= span.until
          -- The current time, not the statement's: after a wait for the row, this sees that another call has hidden it
          -- meanwhile.
          AND (hidden_until IS NULL OR hidden_until <= {now} OR hidden_until > {clock} + {hidden_for})
        ORDER BY wake_at LIMIT $2
        FOR UPDATE SKIP LOCKED
    ) AS due
    ORDER BY span.place, due.wake_at LIMIT $2
), hidden AS (
    -- A locked row may be newer than this statement's snapshot, but the tokens below are not. So the row number is
    -- compared.
    UPDATE {schema}.grants g SET hidden_until = {now} + {hidden_for}
    FROM due WHERE g.environment = $1 AND g.company = due.company AND g.number = due.number
    RETURNING g.environment, g.company, g.number, g.epoch, g.version, g.state, g.change, g.wake_at, g.used_at
)
SELECT {row}, t.access_token, t.refresh_token, {durable} AS durable, reached.wake_at AS reached
FROM (SELECT {clock} AS as_of) AS reading
LEFT JOIN (
    -- Where the next read begins, if there are many dead rows. A read that found fewer rows than requested reached the
    -- present; a statement takes less than ten seconds.
    SELECT CASE WHEN count(*) < $2 THEN {now} - interval '10 seconds' ELSE max(wake_at) END AS wake_at
    FROM due WHERE place = 1
    HAVING pg_stat_get_dead_tuples('{schema}.grants'::regclass) >= 10000
) AS reached ON true
LEFT JOIN hidden g ON true
{tokens}
{consents}
ORDER BY g.wake_at
