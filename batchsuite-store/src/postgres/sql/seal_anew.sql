-- Only over the very ciphertexts that were read: a rotation in between has the primary key already.
UPDATE {schema}.tokens SET access_token = $5, refresh_token = $6
WHERE environment = $1 AND company = $2
  AND access_token IS NOT DISTINCT FROM $3 AND refresh_token IS NOT DISTINCT FROM $4
RETURNING true, {durable} AS durable
