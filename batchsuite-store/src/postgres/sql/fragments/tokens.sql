-- Forces one index lookup per row, whatever number of rows the planner expects.
LEFT JOIN LATERAL (
    SELECT access_token, refresh_token FROM {schema}.tokens
    WHERE environment = g.environment AND company = g.company
    OFFSET 0
) AS t ON true
