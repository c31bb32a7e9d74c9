-- OptIn::on(Remove): never refused. The tokens are overwritten where they are: a DELETE would not see those that a connect
-- committed while this statement waited for it.
WITH written AS (
    INSERT INTO {schema}.grants AS g (environment, company, epoch, removals, change, change_kind)
    VALUES ($1, $2, 1, 1, {schema}.next_event(), 'removed')
    ON CONFLICT (environment, company) DO UPDATE SET
        epoch = ({epoch}) + 1, version = 0, removals = ({removals}) + 1, standing = 'unauthenticated',
        attempt = NULL, lease_until = NULL, unanswered = false, suspect = false, consent = NULL, issued_at = NULL,
        client_id = NULL, actor = NULL, authenticated_at = NULL, has_access_token = false, has_refresh_token = false,
        obtained_at = NULL, refresh_at = NULL, access_expires_at = NULL, refresh_expires_at = NULL,
        cause_at = NULL, cause_status = NULL, cause_code = NULL, cause_message = NULL, cause_attempt = NULL,
        failures = 0, retry_at = NULL, reserved_until = NULL, warned = 'infinity',
        change = {schema}.next_event(), change_kind = EXCLUDED.change_kind
    RETURNING g.*
), kept AS (
    INSERT INTO {schema}.tokens AS t (environment, company) SELECT environment, company FROM written
    ON CONFLICT (environment, company) DO UPDATE SET access_token = NULL, refresh_token = NULL, refresh_version = NULL
    RETURNING t.*
), dropped AS (
    DELETE FROM {schema}.consents WHERE number IN (
        SELECT number FROM {schema}.consents WHERE environment = $1 AND company = $2 ORDER BY number FOR UPDATE
    )
), told AS (
    INSERT INTO {schema}.events (id, at, environment, company, actor, kind, epoch, version)
    SELECT change, {clock}, environment, company, $3, change_kind, epoch, version FROM written
)
SELECT {grant}, t.access_token, t.refresh_token, t.refresh_version FROM (SELECT {clock} AS as_of) AS reading, written g, kept t
