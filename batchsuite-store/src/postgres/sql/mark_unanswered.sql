-- OptIn::on(Restore), of every authenticated grant.
WITH marked AS (
    UPDATE {schema}.grants SET unanswered = true WHERE environment = $1 AND standing = 'authenticated' RETURNING 1
), told AS (
    INSERT INTO {schema}.events (id, at, environment, kind, epoch, version)
    VALUES ({schema}.next_event(), {clock}, $1, 'restored', 0, 0)
)
SELECT count(*) AS marked FROM marked
