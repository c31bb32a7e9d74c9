-- Opt-ins. Times are in microseconds since 1970, UTC; NULL: never.

-- One row per company, and the environment's client row, which has no name. Narrow, because each step rewrites it: the
-- secrets are in `tokens`.
CREATE TABLE grants (
    id           INTEGER PRIMARY KEY,
    environment  TEXT    NOT NULL,
    company      TEXT    NOT NULL,
    number       INTEGER NOT NULL DEFAULT 0,
    epoch        INTEGER NOT NULL DEFAULT 0,
    version      INTEGER NOT NULL DEFAULT 0,
    -- The number of the latest announced event.
    change       INTEGER NOT NULL DEFAULT 0,
    listed_as    TEXT    NOT NULL,
    wake_at      INTEGER,
    wake_if_used INTEGER,
    hidden_until INTEGER,
    used_at      INTEGER,
    -- The state, a JSON object.
    document     TEXT    NOT NULL DEFAULT '{}',
    UNIQUE (environment, company),
    CHECK (min(number, epoch, version, change) >= 0)
) STRICT;
CREATE INDEX grants_waking ON grants (environment, wake_at);
CREATE INDEX grants_changed ON grants (environment, change);
-- Most companies have this status and are never searched by it.
CREATE INDEX grants_listed ON grants (environment, listed_as, company) WHERE listed_as <> 'authenticated';

-- Only ciphertext, bound to the epoch and version of its row.
CREATE TABLE tokens (
    id            INTEGER PRIMARY KEY REFERENCES grants ON DELETE CASCADE,
    access_token  BLOB,
    refresh_token BLOB
) STRICT;

CREATE TABLE consents (
    number       INTEGER PRIMARY KEY,
    id           BLOB    NOT NULL,
    environment  TEXT    NOT NULL,
    company      TEXT    NOT NULL,
    actor        TEXT    NOT NULL,
    state        BLOB    NOT NULL,
    browser      BLOB    NOT NULL,
    verifier     BLOB,
    redirect_uri TEXT    NOT NULL,
    client_id    TEXT    NOT NULL,
    return_to    TEXT,
    removals     INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    used_at      INTEGER,
    -- Whether its use wrote an event.
    with_event   INTEGER NOT NULL DEFAULT 0,
    UNIQUE (environment, state),
    UNIQUE (environment, id)
) STRICT;
CREATE INDEX consents_company ON consents (environment, company);
CREATE INDEX consents_actor ON consents (environment, actor);
CREATE INDEX consents_ended ON consents (ifnull(used_at, expires_at));

CREATE TABLE events (
    id          INTEGER PRIMARY KEY,
    environment TEXT    NOT NULL,
    company     TEXT,
    at          INTEGER NOT NULL,
    epoch       INTEGER NOT NULL,
    version     INTEGER NOT NULL,
    -- The rest of the event, a JSON object.
    content     TEXT    NOT NULL
) STRICT;
CREATE INDEX events_environment ON events (environment);
CREATE INDEX events_company ON events (environment, company);

-- The last pruned event of each log. Its number and those below are never reused.
CREATE TABLE pruned (
    environment TEXT    PRIMARY KEY,
    up_to       INTEGER NOT NULL
) STRICT;

CREATE TABLE deliveries (
    environment TEXT    NOT NULL,
    consumer    TEXT    NOT NULL,
    cursor      INTEGER NOT NULL,
    holder      BLOB    NOT NULL,
    lease_until INTEGER NOT NULL,
    PRIMARY KEY (environment, consumer)
) STRICT;

-- The keys that have encrypted stored data, the latest one last. A check value identifies a key without revealing it.
CREATE TABLE keys (
    name        TEXT    PRIMARY KEY,
    check_value BLOB    NOT NULL,
    since       INTEGER NOT NULL
) STRICT;

-- For people with an SQLite shell.
CREATE VIEW companies AS
SELECT environment, company, listed_as, datetime(wake_at / 1000000, 'unixepoch') AS wakes,
    datetime(used_at / 1000000, 'unixepoch') AS used, document
FROM grants WHERE company <> '';
