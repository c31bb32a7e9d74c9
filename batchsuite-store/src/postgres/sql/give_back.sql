-- OptIn::on(GiveBack): fenced by revision and attempt; `unanswered` stays.
WITH written AS (
    UPDATE {schema}.grants SET
        attempt = NULL,
        lease_until = NULL,
        retry_at = {clock} + make_interval(secs => $6),
        failures = failures + CASE WHEN $7 IS NULL THEN 0 ELSE 1 END
    WHERE environment = $1 AND company = $2 AND epoch = $3 AND version = $4 AND attempt = $5
    RETURNING environment, company, epoch, version
), told AS (
    INSERT INTO {schema}.events (id, at, environment, company, kind, epoch, version, status, code, message, attempt)
    SELECT {schema}.next_event(), {clock}, environment, company, $7, epoch, version, $8, $9, $10, $11
    FROM written WHERE $7 IS NOT NULL
)
SELECT true AS written, {durable} AS durable FROM written
