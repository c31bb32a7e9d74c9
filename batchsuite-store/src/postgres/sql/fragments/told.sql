, told AS (
    INSERT INTO {schema}.events (environment, id, at, company, epoch, version, kind, actor, cause, evidence)
    SELECT $1, last.number - jsonb_array_length($15::jsonb) + e.place, last.at, NULLIF($2, ''), $7, $8,
           e.kind, e.actor, e.cause, e.evidence
    FROM (
        SELECT at, CASE WHEN $14 THEN change WHEN $15 IS NOT NULL THEN {schema}.next_event() END AS number FROM written
    ) AS last
    CROSS JOIN ROWS FROM (
        jsonb_to_recordset($15::jsonb) AS (kind text, actor text, cause text, evidence jsonb)
    ) WITH ORDINALITY AS e (kind, actor, cause, evidence, place)
)
