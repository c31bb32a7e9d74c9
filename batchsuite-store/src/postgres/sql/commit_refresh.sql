-- OptIn::on(Commit): epoch and version are compared, and nothing else but that there is an opt-in. $14: the stored
-- refresh token stays.
WITH request AS MATERIALIZED (
    SELECT {clock} - make_interval(secs => $7) AS obtained_at
), written AS (
    UPDATE {schema}.grants g SET
        version = g.version + 1,
        standing = 'authenticated',
        attempt = NULL,
        lease_until = NULL,
        unanswered = false,
        suspect = g.suspect OR g.unanswered OR g.standing <> 'authenticated' OR $14,
        has_access_token = $5 IS NOT NULL,
        has_refresh_token = $6 IS NOT NULL OR ($14 AND g.has_refresh_token),
        obtained_at = request.obtained_at,
        refresh_at = request.obtained_at + make_interval(secs => $8),
        access_expires_at = request.obtained_at + make_interval(secs => $9),
        refresh_expires_at = CASE WHEN $14 THEN g.refresh_expires_at
                                  ELSE request.obtained_at + make_interval(secs => $10) END,
        cause_at = NULL, cause_status = NULL, cause_code = NULL, cause_message = NULL, cause_attempt = NULL,
        failures = $11,
        retry_at = {clock} + make_interval(secs => $12),
        reserved_until = NULL,
        warned = CASE WHEN $14 THEN g.warned ELSE 'infinity' END,
        change = {schema}.next_event(),
        change_kind = CASE WHEN g.standing = 'authenticated' THEN 'refreshed' ELSE 'recovered' END
    FROM request
    WHERE g.environment = $1 AND g.company = $2 AND g.epoch = $3 AND g.version = $4
      AND g.standing <> 'unauthenticated'
    RETURNING g.*
), kept AS (
    INSERT INTO {schema}.tokens AS t (environment, company, access_token, refresh_token, refresh_version)
    SELECT environment, company, $5, $6, version FROM written
    ON CONFLICT (environment, company) DO UPDATE SET
        access_token = EXCLUDED.access_token,
        refresh_token = CASE WHEN $14 THEN t.refresh_token ELSE EXCLUDED.refresh_token END,
        refresh_version = CASE WHEN $14 THEN t.refresh_version ELSE EXCLUDED.refresh_version END
    RETURNING t.*
), told AS (
    INSERT INTO {schema}.events (id, at, environment, company, kind, epoch, version, attempt)
    SELECT change, {clock}, environment, company, change_kind, epoch, version, $13 FROM written
)
SELECT {grant}, t.access_token, t.refresh_token, t.refresh_version FROM (SELECT {clock} AS as_of) AS reading, written g, kept t
