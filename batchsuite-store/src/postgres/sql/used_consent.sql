-- The verdict of machine::is_repeated. A statement of its own: who waited for the taking sees what it wrote.
SELECT id, company, return_to, removals, used_at FROM {schema}.used_consents
WHERE environment = $1 AND state = $2 AND browser = $3 AND actor = $4 AND used_at > {now} - interval '1 hour'
