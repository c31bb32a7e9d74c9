SELECT count(*) FILTER (WHERE standing = 'unauthenticated'),
       count(*) FILTER (WHERE standing = 'authenticated'),
       count(*) FILTER (WHERE standing = 'authenticated' AND refresh_expires_at <= {now}),
       count(*) FILTER (WHERE standing = 'opt_in_invalidated'),
       count(*) FILTER (WHERE standing = 'rotation_lost'),
       count(*) FILTER (WHERE standing = 'authenticated' AND unanswered),
       count(*) FILTER (WHERE lease_until > {now}),
       min(due_at) FILTER (WHERE standing = 'authenticated' AND has_refresh_token AND due_at <= {now}
                             AND used_at >= {now} - make_interval(secs => $2)
                             AND (refresh_expires_at IS NULL OR refresh_expires_at > {now})),
       (SELECT count(*) FROM {schema}.consents WHERE environment = $1 AND expires_at > {now}),
       {now}
FROM {schema}.grants WHERE environment = $1
