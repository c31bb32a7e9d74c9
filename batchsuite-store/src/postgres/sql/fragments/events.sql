, events_written AS (
    INSERT INTO {schema}.events (environment, id, at, company, epoch, version, content)
    SELECT $1, last.number - jsonb_array_length($15::jsonb) + e.place, last.at, NULLIF($2, ''), $7, $8, e.content
    FROM (
        SELECT at, CASE WHEN $14 THEN change WHEN $15 IS NOT NULL THEN {schema}.next_event() END AS number FROM written
    ) AS last
    CROSS JOIN jsonb_array_elements($15::jsonb) WITH ORDINALITY AS e (content, place)
)
