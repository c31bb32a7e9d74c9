g.company, g.epoch, g.version, g.removals, g.standing, g.attempt, g.lease_until, g.unanswered, g.suspect, g.consent,
g.issued_at, g.client_id, g.actor, g.authenticated_at, g.has_access_token, g.has_refresh_token, g.obtained_at,
g.refresh_at, g.access_expires_at, g.refresh_expires_at, g.cause_at, g.cause_status, g.cause_code, g.cause_message,
g.cause_attempt, g.failures, g.retry_at, g.change, reading.as_of,
(SELECT max(c.expires_at) FROM {schema}.consents c
 WHERE c.environment = g.environment AND c.company = g.company AND c.removals = ({removals})
   AND c.expires_at > reading.as_of) AS consent_pending_until
