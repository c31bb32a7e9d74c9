turn AS MATERIALIZED (
    -- A row that does not exist cannot be locked.
    SELECT {schema}.take_turns(ARRAY['company ' || $1 || ' ' || $2])
), written AS (
    INSERT INTO {schema}.grants AS g
        (environment, company, number, epoch, version, state, listed_as, wake_at, wake_if_used, change)
    SELECT $1, $2, {microseconds}, $7, $8, $6::jsonb, $9, $11, $12, CASE WHEN $14 THEN {schema}.next_event() ELSE 0 END
    FROM turn
    WHERE $4 IS NULL OR {clock} BETWEEN $4 AND $5
    -- The row exists if the company was seen.
    ON CONFLICT (environment, company) DO UPDATE SET
        number = EXCLUDED.number, epoch = $7, version = $8, state = EXCLUDED.state, listed_as = $9,
        wake_at = CASE WHEN g.used_at > COALESCE($13, '-infinity') THEN LEAST($11, $12) ELSE $11 END,
        wake_if_used = $12, change = EXCLUDED.change
    WHERE g.number = $3
    RETURNING number, change, 'epoch'::timestamptz + number * interval '1 microsecond' AS at
)
