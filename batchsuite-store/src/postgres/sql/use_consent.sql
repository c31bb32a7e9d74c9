WITH used AS (
    UPDATE {schema}.consents SET used_at = {clock}, used_with_event = $4 IS NOT NULL, verifier = NULL
    WHERE environment = $1 AND id = $2 AND used_at IS NULL AND expires_at > {clock}
    RETURNING used_at
)
SELECT used_at, CASE WHEN $4 IS NOT NULL THEN {schema}.append_event($1, $3, $4::jsonb) END, {durable} AS durable FROM used
