(lease_until IS NULL OR lease_until <= {now} OR lease_until > {now} + interval '2 hours')
AND (retry_at IS NULL OR retry_at <= {now} OR retry_at > {now} + interval '2 hours')
AND (reserved_until IS NULL OR reserved_until <= {now} OR reserved_until > {clock} + make_interval(secs => $5))
