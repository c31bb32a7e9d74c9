SELECT id, company, actor, browser, redirect_uri, client_id, return_to, removals, expires_at, used_at, used_with_event,
       reading.as_of, CASE WHEN expires_at > reading.as_of THEN verifier END
FROM (SELECT {clock} AS as_of) AS reading, {schema}.consents
WHERE environment = $1 AND state = $2 AND COALESCE(used_at, expires_at) > reading.as_of - {used_consent_known}
