-- ON CONFLICT locks the row before its condition is judged, by the row as it is then and by the time of that moment. So it is
-- right also after a wait for another save, whatever became of that save.
WITH turn AS MATERIALIZED (
    -- A row that is not there cannot be locked.
    SELECT CASE WHEN $3 = 0 THEN {schema}.take_turns(ARRAY['company ' || $1 || ' ' || $2]) END
), written AS (
    INSERT INTO {schema}.grants AS g
        (environment, company, number, epoch, version, state, listed_as, wake_at, wake_if_used, change)
    SELECT $1, $2, {microseconds}, $7, $8, $6::jsonb, $9, $11, $12, CASE WHEN $3 = 0 AND $14 THEN {schema}.next_event() ELSE 0 END
    FROM turn
    WHERE ($3 = 0 OR EXISTS (SELECT FROM {schema}.grants WHERE environment = $1 AND company = $2))
      AND ($4 IS NULL OR {clock} BETWEEN $4 AND $5)
    ON CONFLICT (environment, company) DO UPDATE SET
        -- A number that cannot go up was damaged.
        number = GREATEST(CASE WHEN g.number < 9223372036854775807 THEN g.number + 1 END, {microseconds}),
        epoch = EXCLUDED.epoch, version = EXCLUDED.version, state = EXCLUDED.state, listed_as = EXCLUDED.listed_as,
        wake_at = CASE WHEN NOT $10 THEN g.wake_at
                       WHEN g.used_at > COALESCE($13, '-infinity') THEN LEAST($11, $12)
                       ELSE $11 END,
        wake_if_used = CASE WHEN $10 THEN $12 ELSE g.wake_if_used END,
        hidden_until = CASE WHEN NOT $10 THEN g.hidden_until END,
        change = CASE WHEN NOT $14 THEN g.change WHEN $3 = 0 THEN EXCLUDED.change ELSE {schema}.next_event() END
    WHERE g.number = $3 AND ($4 IS NULL OR {clock} BETWEEN $4 AND $5)
    -- The time that its number tells, unless that is ahead of the clock.
    RETURNING number, change, 'epoch'::timestamptz + LEAST(number, {microseconds}) * interval '1 microsecond' AS at
),
{token_change}
told AS (
    INSERT INTO {schema}.events
        (environment, id, at, company, epoch, version, kind, actor, cause, evidence)
    SELECT $1, last.number - jsonb_array_length($15::jsonb) + e.place, last.at, NULLIF($2, ''), $7, $8,
           e.kind, e.actor, e.cause, e.evidence
    FROM (
        SELECT at, CASE WHEN $14 THEN change WHEN $15 IS NOT NULL THEN {schema}.next_event() END AS number FROM written
    ) AS last
    CROSS JOIN ROWS FROM (
        jsonb_to_recordset($15::jsonb) AS (kind text, actor text, cause text, evidence jsonb)
    ) WITH ORDINALITY AS e (kind, actor, cause, evidence, place)
)
SELECT number, change, at, {durable} AS durable FROM written
