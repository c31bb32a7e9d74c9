-- OptIn::on(Connect). The epoch is compared, because the tokens are sealed for it; whoever was overtaken seals anew.
WITH request AS MATERIALIZED (
    SELECT {clock} - make_interval(secs => $11) AS obtained_at
), written AS (
    INSERT INTO {schema}.grants AS g (
        environment, company, epoch, version, standing, consent, issued_at, client_id, actor, authenticated_at,
        has_access_token, has_refresh_token, obtained_at, refresh_at, access_expires_at, refresh_expires_at, failures,
        change, change_kind
    )
    SELECT $1, $2, $3, 1, 'authenticated', $4, COALESCE($6, obtained_at), $7, $8, {clock},
           $9 IS NOT NULL, $10 IS NOT NULL, obtained_at, obtained_at + make_interval(secs => $12),
           obtained_at + make_interval(secs => $13), obtained_at + make_interval(secs => $14), $15,
           {schema}.next_event(), 'authenticated'
    FROM request
    -- A consent that saw a removal saw a row.
    WHERE $5 = 0 OR EXISTS (SELECT FROM {schema}.grants WHERE environment = $1 AND company = $2)
    ON CONFLICT (environment, company) DO UPDATE SET
        epoch = ({epoch}) + 1, version = 1, removals = {removals}, standing = 'authenticated',
        attempt = NULL, lease_until = NULL, unanswered = false, suspect = false,
        consent = EXCLUDED.consent, client_id = EXCLUDED.client_id,
        issued_at = GREATEST(EXCLUDED.issued_at, CASE WHEN g.issued_at <= {clock} + interval '1 day' THEN g.issued_at END),
        actor = EXCLUDED.actor, authenticated_at = EXCLUDED.authenticated_at,
        has_access_token = EXCLUDED.has_access_token, has_refresh_token = EXCLUDED.has_refresh_token,
        obtained_at = EXCLUDED.obtained_at, refresh_at = EXCLUDED.refresh_at,
        access_expires_at = EXCLUDED.access_expires_at, refresh_expires_at = EXCLUDED.refresh_expires_at,
        cause_at = NULL, cause_status = NULL, cause_code = NULL, cause_message = NULL, cause_attempt = NULL,
        failures = EXCLUDED.failures, retry_at = NULL, reserved_until = NULL, warned = 'infinity',
        change = {schema}.next_event(), change_kind = EXCLUDED.change_kind
    WHERE ({removals}) = $5
      AND g.consent IS DISTINCT FROM EXCLUDED.consent
      -- One that is dated more than a day ahead is no rival: its date is wrong.
      AND NOT (g.standing = 'authenticated' AND g.issued_at <= {clock} + interval '1 day'
               AND CASE WHEN $17 THEN g.issued_at >= EXCLUDED.issued_at  -- Turn::Retry
                        WHEN $16 > g.authenticated_at THEN false         -- Turn::Newer
                        ELSE g.issued_at > EXCLUDED.issued_at END)
      AND ({epoch}) + 1 = $3
    RETURNING g.*
), kept AS (
    INSERT INTO {schema}.tokens AS t (environment, company, access_token, refresh_token, refresh_version)
    SELECT environment, company, $9, $10, version FROM written
    ON CONFLICT (environment, company) DO UPDATE SET
        access_token = EXCLUDED.access_token, refresh_token = EXCLUDED.refresh_token,
        refresh_version = EXCLUDED.refresh_version
    RETURNING t.*
), told AS (
    INSERT INTO {schema}.events (id, at, environment, company, actor, kind, epoch, version)
    SELECT change, authenticated_at, environment, company, actor, change_kind, epoch, version FROM written
)
SELECT {grant}, t.access_token, t.refresh_token, t.refresh_version FROM (SELECT {clock} AS as_of) AS reading, written g, kept t
