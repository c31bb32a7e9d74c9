-- What is stored of opt-ins. `{schema}` is the schema of the host's choice; no search path is relied on.

-- Added to every time that is read from the server's clock. Tests replace it to move time; nothing else may.
-- STABLE, not IMMUTABLE: it is inlined all the same, and a plan that inlined it is made anew when it is replaced.
CREATE FUNCTION {schema}.clock_offset() RETURNS interval
    LANGUAGE sql STABLE PARALLEL SAFE AS $$ SELECT interval '0' $$;

-- Numbers the events. The order of numbers is not the order of commits, so whoever is about to draw one says so first.
CREATE SEQUENCE {schema}.event_number AS bigint;

-- Says that this transaction will draw numbers above the latest one, until it ends. The lock is shared and hinders
-- nobody; readers of the log find it in pg_locks and read no further than below it (sql/horizon.sql).
CREATE FUNCTION {schema}.announce_event() RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    latest bigint;
BEGIN
    -- Whatever the server's default is, the transaction that writes an event is durable.
    PERFORM {durable};
    -- Not `SELECT last_value FROM …`, which takes no lock on the number: every 32nd time nextval() shows one far ahead for a
    -- moment, while it writes to the log of the server.
    latest := COALESCE(pg_sequence_last_value('{schema}.event_number'::regclass), 0);
    PERFORM pg_advisory_xact_lock_shared(
        '{schema}.event_number'::regclass::oid::bigint::bit(32)::int,
        latest::bit(32)::int
    );
END $$;

-- The number of the one event that a statement writes.
CREATE FUNCTION {schema}.next_event() RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM {schema}.announce_event();
    RETURN nextval('{schema}.event_number');
END $$;

-- One row a company: where its opt-in stands. Narrow, because claims, reservations and the last use rewrite it; the
-- secrets are in `tokens`. The room left on each page keeps those rewrites out of the indexes.
CREATE TABLE {schema}.grants (
    environment        text COLLATE "C" NOT NULL,
    company            text COLLATE "C" NOT NULL,
    epoch              bigint  NOT NULL DEFAULT 0,
    version            bigint  NOT NULL DEFAULT 0,
    removals           bigint  NOT NULL DEFAULT 0,
    standing           text COLLATE "C" NOT NULL DEFAULT 'unauthenticated'
        CHECK (standing IN ('unauthenticated', 'authenticated', 'opt_in_invalidated', 'rotation_lost')),
    -- The phase. Idle: neither. Sent: both. Travelling: the lease alone.
    attempt            uuid,
    lease_until        timestamptz,
    unanswered         boolean NOT NULL DEFAULT false,
    suspect            boolean NOT NULL DEFAULT false,
    consent            uuid,
    issued_at          timestamptz,
    client_id          text,
    actor              text,
    authenticated_at   timestamptz,
    -- What decides about the tokens, without them.
    has_access_token   boolean NOT NULL DEFAULT false,
    has_refresh_token  boolean NOT NULL DEFAULT false,
    obtained_at        timestamptz,
    refresh_at         timestamptz,
    access_expires_at  timestamptz,
    refresh_expires_at timestamptz,
    -- From when on a company that is used wants another access token.
    due_at             timestamptz GENERATED ALWAYS AS
        (CASE WHEN has_access_token THEN LEAST(refresh_at, access_expires_at) ELSE obtained_at END) STORED,
    -- The recorded cause: when, and what UPS said.
    cause_at           timestamptz,
    cause_status       integer,
    cause_code         text,
    cause_message      text,
    cause_attempt      uuid,
    failures           bigint  NOT NULL DEFAULT 0,
    retry_at           timestamptz,
    used_at            timestamptz,
    -- The hour of used_at: changes seldom enough to be in an index.
    used_hour          timestamptz,
    reserved_until     timestamptz,
    -- The smallest warning window of the refresh token that was raised, in seconds; 0: its end; infinity: none.
    warned             double precision NOT NULL DEFAULT 'infinity',
    -- The number of the latest change, and the kind of its event.
    change             bigint  NOT NULL DEFAULT 0,
    change_kind        text,
    PRIMARY KEY (environment, company),
    CHECK (attempt IS NULL OR lease_until IS NOT NULL)
) WITH (fillfactor = 70);

CREATE INDEX grants_changed ON {schema}.grants (environment, change);
CREATE INDEX grants_used ON {schema}.grants (environment, used_hour, due_at)
    WHERE standing = 'authenticated' AND has_refresh_token;
CREATE INDEX grants_ending ON {schema}.grants (environment, refresh_expires_at)
    WHERE standing = 'authenticated' AND has_refresh_token;
CREATE INDEX grants_warned ON {schema}.grants (environment, warned, refresh_expires_at)
    WHERE standing = 'authenticated' AND has_refresh_token;
CREATE INDEX grants_open_ended ON {schema}.grants (environment, obtained_at)
    WHERE standing = 'authenticated' AND has_refresh_token AND refresh_expires_at IS NULL;
-- Finds what was dated by a clock that was set back since.
CREATE INDEX grants_obtained ON {schema}.grants (environment, obtained_at)
    WHERE standing = 'authenticated' AND has_refresh_token;

-- Ciphertext alone. The access token is bound to the version of its grant, the refresh token to the version that it
-- came with: a pair without one keeps the one before.
CREATE TABLE {schema}.tokens (
    environment     text COLLATE "C" NOT NULL,
    company         text COLLATE "C" NOT NULL,
    access_token    bytea,
    refresh_token   bytea,
    refresh_version bigint,
    PRIMARY KEY (environment, company)
) WITH (fillfactor = 70);
ALTER TABLE {schema}.tokens ALTER access_token SET STORAGE MAIN, ALTER refresh_token SET STORAGE MAIN;

CREATE TABLE {schema}.consents (
    number       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id           uuid   NOT NULL,
    environment  text COLLATE "C" NOT NULL,
    company      text COLLATE "C" NOT NULL,
    actor        text COLLATE "C" NOT NULL,
    state        bytea  NOT NULL,
    browser      bytea  NOT NULL,
    verifier     bytea,
    redirect_uri text   NOT NULL,
    client_id    text   NOT NULL,
    return_to    text,
    removals     bigint NOT NULL,
    expires_at   timestamptz NOT NULL
);
CREATE UNIQUE INDEX consents_state ON {schema}.consents (environment, state);
CREATE INDEX consents_company ON {schema}.consents (environment, company);
CREATE INDEX consents_actor ON {schema}.consents (environment, actor);
CREATE INDEX consents_end ON {schema}.consents (environment, expires_at);

-- Those that were used, for an hour and without their verifier: the same callback again is led to the company.
CREATE TABLE {schema}.used_consents (
    environment text COLLATE "C" NOT NULL,
    state       bytea  NOT NULL,
    id          uuid   NOT NULL,
    company     text COLLATE "C" NOT NULL,
    actor       text COLLATE "C" NOT NULL,
    browser     bytea  NOT NULL,
    return_to   text,
    removals    bigint NOT NULL,
    used_at     timestamptz NOT NULL,
    PRIMARY KEY (environment, state)
);
CREATE INDEX used_consents_end ON {schema}.used_consents (used_at);

CREATE TABLE {schema}.events (
    id          bigint PRIMARY KEY,
    at          timestamptz NOT NULL,
    environment text COLLATE "C" NOT NULL,
    company     text COLLATE "C",
    actor       text,
    kind        text   NOT NULL,
    epoch       bigint NOT NULL,
    version     bigint NOT NULL,
    status      integer,
    code        text,
    message     text,
    attempt     uuid
);
CREATE INDEX events_company ON {schema}.events (environment, company, id);

-- One row: up to where events were pruned.
CREATE TABLE {schema}.event_log (
    id           boolean PRIMARY KEY DEFAULT true CHECK (id),
    pruned_up_to bigint NOT NULL DEFAULT 0
);
INSERT INTO {schema}.event_log DEFAULT VALUES;

-- Which keys have encrypted what is stored: a name stands for one key for ever. A check value tells keys apart and says
-- nothing about them.
CREATE TABLE {schema}.keys (
    name          text COLLATE "C" PRIMARY KEY,
    check_value   bytea NOT NULL,
    primary_since timestamptz NOT NULL
);

-- Stores a pending consent. A function, because the caps need a look that comes after its locks: each statement in it
-- sees what committed before that statement began.
CREATE FUNCTION {schema}.begin_consent(
    p_id uuid, p_environment text, p_company text, p_actor text, p_state bytea, p_browser bytea, p_verifier bytea,
    p_redirect_uri text, p_client_id text, p_return_to text, p_lifetime double precision, p_per_company bigint,
    p_per_actor bigint
) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    clock timestamptz;
    seen  {schema}.grants;
BEGIN
    -- The company's and the actor's consents begin one after the other. Sorted, so that two never wait for each other.
    PERFORM pg_advisory_xact_lock(key) FROM (
        SELECT DISTINCT hashtextextended(name, '{schema}.consents'::regclass::oid::bigint) AS key
        FROM unnest(ARRAY['company ' || p_environment || ' ' || p_company, 'actor ' || p_environment || ' ' || p_actor])
            AS name
        ORDER BY key
    ) AS keys;
    clock := clock_timestamp() + {schema}.clock_offset();

    INSERT INTO {schema}.grants (environment, company) VALUES (p_environment, p_company) ON CONFLICT DO NOTHING;
    SELECT * INTO seen FROM {schema}.grants g WHERE environment = p_environment AND company = p_company;
    -- Those of a damaged row, as its next opt-in counts on from them.
    SELECT {epoch}, {removals} INTO seen.epoch, seen.removals FROM (SELECT seen.*) AS g;

    -- An expired one stays known for an hour, so that its person is told that it expired. Two with one state do not
    -- happen by chance; a repeated call replaces its own.
    DELETE FROM {schema}.consents WHERE number IN (
        SELECT number FROM {schema}.consents
        WHERE environment = p_environment AND (expires_at <= clock - interval '1 hour' OR state = p_state)
        ORDER BY number FOR UPDATE SKIP LOCKED
    );
    INSERT INTO {schema}.consents (
        id, environment, company, actor, state, browser, verifier, redirect_uri, client_id, return_to, removals, expires_at
    ) VALUES (
        p_id, p_environment, p_company, p_actor, p_state, p_browser, p_verifier, p_redirect_uri, p_client_id,
        p_return_to, seen.removals, clock + make_interval(secs => p_lifetime)
    );
    DELETE FROM {schema}.consents WHERE number IN (
        SELECT number FROM {schema}.consents WHERE number IN (
            (SELECT number FROM {schema}.consents
             WHERE environment = p_environment AND company = p_company AND expires_at > clock
             ORDER BY number DESC OFFSET p_per_company)
            UNION ALL
            (SELECT number FROM {schema}.consents
             WHERE environment = p_environment AND actor = p_actor AND expires_at > clock
             ORDER BY number DESC OFFSET p_per_actor)
        )
        ORDER BY number FOR UPDATE
    );

    INSERT INTO {schema}.events (id, at, environment, company, actor, kind, epoch, version)
    VALUES ({schema}.next_event(), clock, p_environment, p_company, p_actor, 'started', seen.epoch, seen.version);
END $$;
