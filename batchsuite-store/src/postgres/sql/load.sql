SELECT {row}, t.access_token, t.refresh_token
FROM (SELECT {clock} AS as_of) AS reading
LEFT JOIN {schema}.grants g ON g.environment = $1 AND g.company = $2
LEFT JOIN {schema}.tokens t ON t.environment = g.environment AND t.company = g.company
{consents}
