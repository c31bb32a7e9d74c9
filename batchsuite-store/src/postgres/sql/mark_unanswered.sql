-- OptIn::on(Restore), of every authenticated grant; in the order of their names, like every statement that locks many.
WITH authenticated AS MATERIALIZED (
    SELECT environment, company FROM {schema}.grants
    WHERE environment = $1 AND standing = 'authenticated'
    ORDER BY company
    FOR UPDATE
), marked AS (
    UPDATE {schema}.grants g SET unanswered = true
    FROM authenticated a WHERE g.environment = a.environment AND g.company = a.company
    RETURNING 1
), told AS (
    INSERT INTO {schema}.events (id, at, environment, kind, epoch, version)
    VALUES ({schema}.next_event(), {clock}, $1, 'restored', 0, 0)
)
SELECT count(*) AS marked FROM marked
