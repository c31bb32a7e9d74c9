-- The smallest window that has been entered, 0 for the end itself, unless it or a smaller one was raised.
WITH RECURSIVE raised_before (warned) AS (
    -- The windows that were raised last of some grant, one look at the index each.
    (SELECT min(warned) FROM {schema}.grants
     WHERE environment = $1 AND standing = 'authenticated' AND has_refresh_token)
    UNION ALL
    SELECT (SELECT min(warned) FROM {schema}.grants
            WHERE environment = $1 AND standing = 'authenticated' AND has_refresh_token AND warned > before.warned)
    FROM raised_before AS before WHERE before.warned IS NOT NULL
), candidates AS (
    -- Of each, those that have entered the next smaller one: what was raised already is not looked at.
    SELECT entering.company
    FROM raised_before AS before
    CROSS JOIN LATERAL (
        SELECT max(seconds) AS seconds FROM unnest($3 || 0::double precision) AS seconds WHERE seconds < before.warned
    ) AS smaller
    CROSS JOIN LATERAL (
        SELECT company FROM {schema}.grants
        WHERE environment = $1 AND standing = 'authenticated' AND has_refresh_token AND client_id = $2
          AND warned = before.warned AND refresh_expires_at <= {now} + make_interval(secs => smaller.seconds)
        ORDER BY refresh_expires_at LIMIT $4
    ) AS entering
), entered AS MATERIALIZED (
    SELECT g.environment, g.company, entered.seconds
    FROM candidates
    JOIN {schema}.grants g ON g.environment = $1 AND g.company = candidates.company
    CROSS JOIN LATERAL (
        SELECT min(seconds) AS seconds FROM unnest($3 || 0::double precision) AS seconds
        WHERE g.refresh_expires_at <= {now} + make_interval(secs => seconds)
    ) AS entered
    WHERE g.standing = 'authenticated' AND g.has_refresh_token AND g.client_id = $2 AND entered.seconds < g.warned
    ORDER BY g.refresh_expires_at
    LIMIT $4
    FOR UPDATE OF g SKIP LOCKED
), raised AS (
    UPDATE {schema}.grants g SET warned = entered.seconds
    FROM entered WHERE g.environment = entered.environment AND g.company = entered.company
    RETURNING g.environment, g.company, g.epoch, g.version, g.warned
), announced AS MATERIALIZED (
    -- Once for all: an announcement is a lock, and the server has room for so many.
    SELECT {schema}.announce_event() WHERE EXISTS (SELECT FROM entered)
), told AS (
    INSERT INTO {schema}.events (id, at, environment, company, kind, epoch, version)
    SELECT nextval('{schema}.event_number'), {clock}, environment, company,
           CASE WHEN warned = 0 THEN 'expired' ELSE 'expiring_soon' END, epoch, version
    FROM announced, raised
)
SELECT count(*) AS raised FROM raised
