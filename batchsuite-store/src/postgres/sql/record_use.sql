-- Coarsely: a use within five minutes of the one before is not written.
UPDATE {schema}.grants SET used_at = {now}, used_hour = date_trunc('hour', {now}, 'UTC')
WHERE environment = $1 AND company = ANY($2)
  AND (used_at IS NULL OR used_at NOT BETWEEN {now} - interval '5 minutes' AND {now})
