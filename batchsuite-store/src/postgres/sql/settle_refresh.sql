-- OptIn::on(Settle): fenced by revision and attempt; the cause comes from the row.
WITH written AS (
    UPDATE {schema}.grants g SET
        standing = CASE WHEN NOT $6 THEN g.standing
                        WHEN g.unanswered OR g.suspect THEN 'rotation_lost'
                        ELSE 'opt_in_invalidated' END,
        -- Refused: idle. Unanswered: the request may be travelling until the lease ends.
        attempt = NULL,
        lease_until = CASE WHEN NOT $6 THEN g.lease_until END,
        unanswered = g.unanswered OR NOT $6,
        has_access_token = CASE WHEN NOT $6 OR g.unanswered OR g.suspect THEN g.has_access_token ELSE false END,
        has_refresh_token = CASE WHEN NOT $6 OR g.unanswered OR g.suspect THEN g.has_refresh_token ELSE false END,
        obtained_at = CASE WHEN NOT $6 OR g.unanswered OR g.suspect THEN g.obtained_at END,
        refresh_at = CASE WHEN NOT $6 OR g.unanswered OR g.suspect THEN g.refresh_at END,
        access_expires_at = CASE WHEN NOT $6 OR g.unanswered OR g.suspect THEN g.access_expires_at END,
        refresh_expires_at = CASE WHEN NOT $6 OR g.unanswered OR g.suspect THEN g.refresh_expires_at END,
        cause_at = CASE WHEN $6 THEN {clock} ELSE g.cause_at END,
        cause_status = CASE WHEN $6 THEN $9 ELSE g.cause_status END,
        cause_code = CASE WHEN $6 THEN $10 ELSE g.cause_code END,
        cause_message = CASE WHEN $6 THEN $11 ELSE g.cause_message END,
        cause_attempt = CASE WHEN $6 THEN $12 ELSE g.cause_attempt END,
        retry_at = CASE WHEN $6 THEN g.retry_at ELSE g.lease_until + make_interval(secs => $7) END,
        failures = g.failures + CASE WHEN $6 THEN 0 ELSE 1 END,
        change = {schema}.next_event(),
        change_kind = $8
    WHERE g.environment = $1 AND g.company = $2 AND g.epoch = $3 AND g.version = $4 AND g.attempt = $5
    RETURNING g.*
), erased AS (
    -- Of an opt-in that was withdrawn. After a lost rotation the tokens stay: its pair may still come.
    INSERT INTO {schema}.tokens AS t (environment, company)
    SELECT environment, company FROM written WHERE standing = 'opt_in_invalidated'
    ON CONFLICT (environment, company) DO UPDATE SET access_token = NULL, refresh_token = NULL, refresh_version = NULL
), told AS (
    INSERT INTO {schema}.events (id, at, environment, company, kind, epoch, version, status, code, message, attempt)
    SELECT change, {clock}, environment, company, change_kind, epoch, version, $9, $10, $11, $12 FROM written
)
SELECT true AS written FROM written
