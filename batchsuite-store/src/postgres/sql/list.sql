SELECT {listed}
FROM (SELECT {clock} AS as_of) AS reading, (
    SELECT environment, company, number, epoch, version, state, change, wake_at, used_at FROM {schema}.grants
    WHERE environment = $1 AND company > $2
    ORDER BY company LIMIT $3
) AS g
{tokens}
{consents}
ORDER BY g.company
