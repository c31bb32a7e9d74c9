locked AS MATERIALIZED (
    SELECT number, used_at FROM {schema}.grants WHERE environment = $1 AND company = $2 FOR UPDATE
), judged AS MATERIALIZED (
    -- The time at which the lock was acquired. A condition of the UPDATE itself would be evaluated before the wait.
    SELECT number, {clock} AS at FROM locked
), written AS (
    UPDATE {schema}.grants g SET
        -- A number that cannot be incremented was damaged.
        number = GREATEST(CASE WHEN g.number < 9223372036854775807 THEN g.number + 1 END,
                          (1000000 * extract(epoch FROM judged.at))::bigint),
        epoch = $7, version = $8, state = $6::jsonb, listed_as = $9,
        wake_at = CASE WHEN NOT $10 THEN g.wake_at
                       WHEN g.used_at > COALESCE($13, '-infinity') THEN LEAST($11, $12)
                       ELSE $11 END,
        wake_if_used = CASE WHEN $10 THEN $12 ELSE g.wake_if_used END,
        hidden_until = CASE WHEN NOT $10 THEN g.hidden_until END,
        change = CASE WHEN $14 THEN {schema}.next_event() ELSE g.change END
    FROM judged
    WHERE g.environment = $1 AND g.company = $2
      AND judged.number = $3 AND ($4 IS NULL OR judged.at BETWEEN $4 AND $5)
    RETURNING g.number, g.change, judged.at
)
