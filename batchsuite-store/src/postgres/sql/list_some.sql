-- Rows of certain statuses come from the status index, overdue rows from the wake-time index. If more rows are overdue
-- than one call reads, or if $6 says that a wanted status is not indexed, the next rows by company are read instead.
WITH reads AS MATERIALIZED (
    -- An index-only count.
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
