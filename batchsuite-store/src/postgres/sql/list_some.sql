-- Those of some statuses come from their index, and those whose time to wake has passed from theirs. Where these are many, or
-- a status is the one that the index leaves out ($6), the next thousand rows are read instead.
WITH waking AS MATERIALIZED (
    SELECT company FROM {schema}.grants WHERE environment = $1 AND wake_at <= {now} ORDER BY wake_at LIMIT 1001
), reads AS MATERIALIZED (
    SELECT $6 OR count(*) > 1000 AS all_rows FROM waking
), next AS MATERIALIZED (
    SELECT company, listed_as, wake_at FROM {schema}.grants
    WHERE environment = $1 AND company > $2 AND (SELECT all_rows FROM reads)
    ORDER BY company LIMIT 1000
), found AS MATERIALIZED (
    SELECT company FROM (
        SELECT company FROM next WHERE listed_as = ANY($5) OR wake_at <= {now}
        UNION
        SELECT company FROM waking WHERE company > $2 AND NOT (SELECT all_rows FROM reads)
        UNION
        SELECT listed.company
        FROM unnest($5) AS status
        CROSS JOIN LATERAL (
            SELECT company FROM {schema}.grants
            WHERE environment = $1 AND listed_as = status AND listed_as <> 'authenticated' AND company > $2
              AND NOT (SELECT all_rows FROM reads)
            ORDER BY company LIMIT $3
        ) AS listed
    ) AS found
    ORDER BY company LIMIT $3
)
SELECT {listed}, next.read_up_to
FROM (SELECT {clock} AS as_of) AS reading
CROSS JOIN (SELECT CASE WHEN count(*) = 1000 THEN max(company) END AS read_up_to FROM next) AS next
LEFT JOIN found ON true
LEFT JOIN {schema}.grants g ON g.environment = $1 AND g.company = found.company
{tokens}
{consents}
ORDER BY g.company
