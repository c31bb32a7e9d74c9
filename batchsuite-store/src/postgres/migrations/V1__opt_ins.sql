-- Opt-ins. `{schema}` is the host's schema; nothing relies on a search path.

-- Added to every time read from the server's clock. Tests replace this function to move time; nothing else may. STABLE,
-- not IMMUTABLE: it is inlined all the same, and replacing it invalidates plans that inlined it.
CREATE FUNCTION {schema}.clock_offset() RETURNS interval
    LANGUAGE sql STABLE PARALLEL SAFE AS $$ SELECT interval '0' $$;

-- Numbers the events. Numbers are not ordered by commit, so a transaction announces itself before it draws one. The
-- increment is the maximum number of events per save: a save's events end with the number drawn.
CREATE SEQUENCE {schema}.event_number AS bigint START {most_events} INCREMENT {most_events};

-- Announces that this transaction will draw numbers above the latest one, until it ends. The lock is shared, so writers
-- do not block each other; readers of the log find it in pg_locks and read only below it (sql/horizon.sql).
CREATE FUNCTION {schema}.announce_event() RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    latest bigint;
BEGIN
    -- Makes the transaction that writes an event durable, whatever the server's default.
    PERFORM {durable};
    -- Not `SELECT last_value FROM …`, which takes no lock on the number: every 32nd nextval() briefly exposes a number
    -- far ahead while it writes to the server's log.
    latest := COALESCE(pg_sequence_last_value('{schema}.event_number'::regclass), 0);
    PERFORM pg_advisory_xact_lock_shared(
        '{schema}.event_number'::regclass::oid::bigint::bit(32)::int,
        latest::bit(32)::int
    );
END $$;

-- The number of a statement's last event.
CREATE FUNCTION {schema}.next_event() RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM {schema}.announce_event();
    RETURN nextval('{schema}.event_number');
END $$;

-- One row per company, and one row with company '' for an environment's client-wide state. SQL never looks into the
-- state document; the columns beside it are for finding and comparing rows. The row is narrow because most writes
-- change no indexed column: with free space on each page they stay HOT updates. The secrets are in `tokens`.
CREATE TABLE {schema}.grants (
    environment   text COLLATE "C" NOT NULL,
    company       text COLLATE "C" NOT NULL,
    -- Goes up with each save; 0 means never saved.
    number        bigint NOT NULL DEFAULT 0,
    epoch         bigint NOT NULL DEFAULT 0,
    version       bigint NOT NULL DEFAULT 0,
    state         jsonb  NOT NULL DEFAULT '{}',
    listed_as     text COLLATE "C" NOT NULL,
    -- The number of the latest event announced to caches.
    change        bigint NOT NULL DEFAULT 0,
    wake_at       timestamptz,
    wake_if_used  timestamptz,
    hidden_until  timestamptz,
    used_at       timestamptz,
    PRIMARY KEY (environment, company)
) WITH (fillfactor = 70);
CREATE INDEX grants_wake ON {schema}.grants (environment, wake_at);
CREATE INDEX grants_change ON {schema}.grants (environment, change);
-- Most companies have this status and are never searched by it.
CREATE INDEX grants_listed ON {schema}.grants (environment, listed_as, company) WHERE listed_as <> 'authenticated';

-- For operators.
CREATE VIEW {schema}.companies AS
    SELECT environment, company, listed_as, epoch, version, wake_at, hidden_until, used_at, state, number, change
    FROM {schema}.grants WHERE company <> '';

-- Only ciphertext, bound to the grant's epoch and version.
CREATE TABLE {schema}.tokens (
    environment   text COLLATE "C" NOT NULL,
    company       text COLLATE "C" NOT NULL,
    access_token  bytea,
    refresh_token bytea,
    PRIMARY KEY (environment, company)
) WITH (fillfactor = 70);
ALTER TABLE {schema}.tokens ALTER access_token SET STORAGE MAIN, ALTER refresh_token SET STORAGE MAIN;

CREATE TABLE {schema}.consents (
    -- The order of creation.
    number          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    environment     text COLLATE "C" NOT NULL,
    id              uuid   NOT NULL,
    company         text COLLATE "C" NOT NULL,
    actor           text COLLATE "C" NOT NULL,
    state           bytea  NOT NULL,
    browser         bytea  NOT NULL,
    verifier        bytea,
    redirect_uri    text   NOT NULL,
    client_id       text   NOT NULL,
    return_to       text,
    removals        bigint NOT NULL,
    expires_at      timestamptz NOT NULL,
    used_at         timestamptz,
    used_with_event boolean NOT NULL DEFAULT false
);
CREATE UNIQUE INDEX consents_id ON {schema}.consents (environment, id);
CREATE UNIQUE INDEX consents_state ON {schema}.consents (environment, state);
CREATE INDEX consents_company ON {schema}.consents (environment, company);
CREATE INDEX consents_actor ON {schema}.consents (environment, actor);
CREATE INDEX consents_end ON {schema}.consents (environment, expires_at);

CREATE TABLE {schema}.events (
    environment text COLLATE "C" NOT NULL,
    id          bigint NOT NULL,
    at          timestamptz NOT NULL,
    company     text COLLATE "C",
    epoch       bigint NOT NULL,
    version     bigint NOT NULL,
    -- The event itself: what happened, the actor, UPS's answer, and the cause of a needed opt-in.
    content     jsonb  NOT NULL,
    PRIMARY KEY (environment, id)
);
CREATE INDEX events_company ON {schema}.events (environment, company, id);

-- The last pruned event.
CREATE TABLE {schema}.event_log (
    environment  text COLLATE "C" PRIMARY KEY,
    pruned_up_to bigint NOT NULL
);

-- Each consumer's cursor, and the process that reads for it.
CREATE TABLE {schema}.deliveries (
    environment text COLLATE "C" NOT NULL,
    consumer    text COLLATE "C" NOT NULL,
    cursor      bigint NOT NULL,
    holder      uuid   NOT NULL,
    held_until  timestamptz NOT NULL,
    PRIMARY KEY (environment, consumer)
);

-- The keys that have encrypted stored data. A name always stands for the same key. A check value identifies a key
-- without revealing it.
CREATE TABLE {schema}.keys (
    name          text COLLATE "C" PRIMARY KEY,
    check_value   bytea NOT NULL,
    primary_since timestamptz NOT NULL
);

-- Appends one event, of a company or of all, at the revision of the company's grant.
CREATE FUNCTION {schema}.append_event(p_environment text, p_company text, p_content jsonb) RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    drawn bigint := {schema}.next_event();
BEGIN
    INSERT INTO {schema}.events (environment, id, at, company, epoch, version, content)
    SELECT p_environment, drawn, {clock}, p_company, COALESCE(g.epoch, 0), COALESCE(g.version, 0), p_content
    FROM (SELECT) AS once LEFT JOIN {schema}.grants g ON g.environment = p_environment AND g.company = p_company;
    RETURN drawn;
END $$;

-- Serializes transactions that take the same name. The names are sorted, so that two transactions never deadlock.
CREATE FUNCTION {schema}.take_turns(names text[]) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(key) FROM (
        SELECT DISTINCT hashtextextended(name, '{schema}.consents'::regclass::oid::bigint) AS key
        FROM unnest(names) AS name ORDER BY key
    ) AS keys;
END $$;

-- Stores a pending consent. A function, because the caps must be checked after its locks are held: each statement in it
-- sees everything committed before that statement began.
CREATE FUNCTION {schema}.put_consent(
    p_environment text, p_id uuid, p_company text, p_actor text, p_state bytea, p_browser bytea, p_verifier bytea,
    p_redirect_uri text, p_client_id text, p_return_to text, p_removals bigint, p_lifetime double precision,
    p_per_company bigint, p_per_actor bigint, p_listed_as text
) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    clock timestamptz;
BEGIN
    PERFORM {schema}.take_turns(
        ARRAY['company ' || p_environment || ' ' || p_company, 'actor ' || p_environment || ' ' || p_actor]);
    clock := {clock};

    -- Records the company as seen.
    INSERT INTO {schema}.grants (environment, company, listed_as) VALUES (p_environment, p_company, p_listed_as)
    ON CONFLICT DO NOTHING;

    -- An expired consent is kept for a while, so that its person can be told that it expired. Two different consents
    -- never share a state; a repeated call replaces its own consent.
    DELETE FROM {schema}.consents WHERE number IN (
        SELECT number FROM {schema}.consents
        WHERE environment = p_environment AND (expires_at <= clock - {used_consent_known} OR state = p_state)
        FOR UPDATE SKIP LOCKED
    );
    INSERT INTO {schema}.consents (
        environment, id, company, actor, state, browser, verifier, redirect_uri, client_id, return_to, removals, expires_at
    ) VALUES (
        p_environment, p_id, p_company, p_actor, p_state, p_browser, p_verifier, p_redirect_uri, p_client_id,
        p_return_to, p_removals, clock + make_interval(secs => p_lifetime)
    );
    DELETE FROM {schema}.consents WHERE number IN (
        SELECT number FROM {schema}.consents WHERE number IN (
            (SELECT number FROM {schema}.consents
             WHERE environment = p_environment AND company = p_company AND used_at IS NULL AND expires_at > clock
             ORDER BY number DESC OFFSET p_per_company)
            UNION ALL
            (SELECT number FROM {schema}.consents
             WHERE environment = p_environment AND actor = p_actor AND used_at IS NULL AND expires_at > clock
             ORDER BY number DESC OFFSET p_per_actor)
        )
        ORDER BY number FOR UPDATE
    );
END $$;
