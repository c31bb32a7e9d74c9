CROSS JOIN LATERAL (
    SELECT array_agg(id ORDER BY number) AS ids, array_agg(removals ORDER BY number) AS removals,
           array_agg(expires_at ORDER BY number) AS ends
    FROM {schema}.consents
    WHERE environment = g.environment AND company = g.company AND used_at IS NULL AND expires_at > reading.as_of
) AS c
