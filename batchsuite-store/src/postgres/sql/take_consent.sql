-- The verdict of machine::judge_consent, on a row that is locked. The browser is judged first.
WITH found AS MATERIALIZED (
    SELECT c.*, {epoch} AS epoch, g.version,
           CASE WHEN c.browser <> $3 THEN 'other_browser'
                WHEN c.actor <> $4 THEN 'other_actor'
                WHEN c.expires_at <= {clock} THEN 'expired'
                WHEN c.removals <> ({removals}) THEN 'removed_since'
                ELSE 'taken' END AS verdict
    FROM {schema}.consents c JOIN {schema}.grants g USING (environment, company)
    WHERE c.environment = $1 AND c.state = $2
    FOR UPDATE OF c
), gone AS (
    DELETE FROM {schema}.consents c USING found f
    WHERE c.number = f.number AND f.verdict IN ('taken', 'expired', 'removed_since')
), used AS (
    -- Without an event an exchange follows: the same callback again is led to the company.
    INSERT INTO {schema}.used_consents (environment, state, id, company, actor, browser, return_to, removals, used_at)
    SELECT environment, state, id, company, actor, browser, return_to, removals, {clock}
    FROM found WHERE verdict = 'taken' AND $5 IS NULL
    ON CONFLICT DO NOTHING
), forgotten AS (
    DELETE FROM {schema}.used_consents WHERE (environment, state) IN (
        SELECT environment, state FROM {schema}.used_consents
        WHERE used_at <= {now} - interval '1 hour' ORDER BY used_at LIMIT 100 FOR UPDATE SKIP LOCKED
    )
), told AS (
    INSERT INTO {schema}.events (id, at, environment, company, actor, kind, epoch, version, status, code, message, attempt)
    SELECT {schema}.next_event(), {clock}, environment, company, actor, $5, epoch, version, $6, $7, $8, $9
    FROM found WHERE verdict = 'taken' AND $5 IS NOT NULL
)
SELECT verdict, id, company, actor, verifier, redirect_uri, client_id, return_to, removals, {clock} AS used_at,
    {durable} AS durable
FROM found
