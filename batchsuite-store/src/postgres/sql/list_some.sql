-- Those of some statuses come from their index, and those whose time to wake has passed from theirs. Where these are more than
-- a call reads, or a status is the one that the index leaves out ($6), the next rows are read instead.
WITH reads AS MATERIALIZED (
    -- Counted in the index alone.
    SELECT $6 OR EXISTS (
        SELECT FROM {schema}.grants WHERE environment = $1 AND wake_at <= {now} ORDER BY wake_at OFFSET {most_listed} LIMIT 1
    ) AS all_rows
), waking AS MATERIALIZED (
    SELECT company FROM {schema}.grants
    WHERE environment = $1 AND wake_at <= {now} AND NOT (SELECT all_rows FROM reads)
    ORDER BY wake_at LIMIT {most_listed}
), next AS MATERIALIZED (
    SELECT company, listed_as, wake_at FROM {schema}.grants
    WHERE environment = $1 AND company > $2 AND (SELECT all_rows FROM reads)
    ORDER BY company LIMIT {most_listed}
), found AS MATERIALIZED (
    SELECT company FROM (
        SELECT company FROM next WHERE listed_as = ANY($5) OR wake_at <= {now}
        UNION
        SELECT company FROM waking WHERE company > $2
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
CROSS JOIN (SELECT CASE WHEN count(*) = {most_listed} THEN max(company) END AS read_up_to FROM next) AS next
LEFT JOIN found ON true
LEFT JOIN {schema}.grants g ON g.environment = $1 AND g.company = found.company
{tokens}
{consents}
ORDER BY g.company
