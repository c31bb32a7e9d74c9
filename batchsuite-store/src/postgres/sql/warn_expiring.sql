-- The smallest window that has been entered, 0 for the end itself, unless it or a smaller one was raised.
WITH entered AS MATERIALIZED (
    SELECT g.environment, g.company, entered.seconds
    FROM {schema}.grants g
    CROSS JOIN LATERAL (
        SELECT min(seconds) AS seconds FROM unnest($3 || 0::double precision) AS seconds
        WHERE g.refresh_expires_at <= {now} + make_interval(secs => seconds)
    ) AS entered
    WHERE g.environment = $1 AND g.standing = 'authenticated' AND g.has_refresh_token AND g.client_id = $2
      AND g.refresh_expires_at <= {now} + make_interval(secs => $4)
      AND (g.warned IS NULL OR g.warned > entered.seconds)
    ORDER BY g.refresh_expires_at
    LIMIT $5
    FOR UPDATE OF g SKIP LOCKED
), raised AS (
    UPDATE {schema}.grants g SET warned = entered.seconds
    FROM entered WHERE g.environment = entered.environment AND g.company = entered.company
    RETURNING g.environment, g.company, g.epoch, g.version, g.warned
), told AS (
    INSERT INTO {schema}.events (id, at, environment, company, kind, epoch, version)
    SELECT {schema}.next_event(), {clock}, environment, company,
           CASE WHEN warned = 0 THEN 'expired' ELSE 'expiring_soon' END, epoch, version
    FROM raised
)
SELECT count(*) AS raised FROM raised
