SELECT {listed}
FROM (SELECT {clock} AS as_of) AS reading, (
    SELECT * FROM {schema}.grants
    WHERE environment = $1 AND company > $2
    ORDER BY company LIMIT $3
) AS g
{tokens}
{consents}
ORDER BY g.company
