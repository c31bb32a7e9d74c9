-- OptIn::on(Claim), and Facts::paused_until. A lease or a pause that ends later than any can was set by a wrong clock.
UPDATE {schema}.grants SET
    unanswered = unanswered OR attempt IS NOT NULL,
    attempt = $5,
    lease_until = {clock} + make_interval(secs => $6)
WHERE environment = $1 AND company = $2 AND epoch = $3 AND version = $4
  AND standing = 'authenticated'
  AND (lease_until IS NULL OR lease_until <= {clock}
       OR lease_until > {clock} + make_interval(secs => GREATEST($6, 3600)))
  AND (retry_at IS NULL OR retry_at <= {clock} OR retry_at > {clock} + interval '2 hours')
RETURNING true AS claimed, {durable} AS durable
