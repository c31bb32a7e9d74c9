-- Run at each start, in one transaction: each statement does nothing where it was done before. A later version appends to this
-- file and never edits it. Each time is in microseconds since 1970, UTC.

CREATE TABLE IF NOT EXISTS company_manager_people (
    id            TEXT PRIMARY KEY,
    sign_in_name  TEXT NOT NULL,
    role          TEXT NOT NULL CHECK (role IN ('company_admin', 'admin_user')),
    -- PHC format. Whoever has none cannot sign in.
    password_hash TEXT
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS company_manager_people_by_sign_in_name
    ON company_manager_people (lower(sign_in_name));

CREATE TABLE IF NOT EXISTS company_manager_companies (
    id                    TEXT PRIMARY KEY,
    name                  TEXT NOT NULL,
    pod_retention_years   INTEGER NOT NULL CHECK (pod_retention_years BETWEEN 0 AND 10),
    batch_track           INTEGER NOT NULL,
    custom_billing        INTEGER NOT NULL,
    batch_rate            INTEGER NOT NULL,
    minimum_quality_score INTEGER NOT NULL CHECK (minimum_quality_score BETWEEN 0 AND 100),
    -- Encrypted by the keyring, bound to this company.
    access_key            BLOB
) STRICT;

CREATE TABLE IF NOT EXISTS company_manager_company_admins (
    person  TEXT NOT NULL REFERENCES company_manager_people ON DELETE CASCADE,
    company TEXT NOT NULL REFERENCES company_manager_companies ON DELETE CASCADE,
    PRIMARY KEY (person, company)
) STRICT;
CREATE INDEX IF NOT EXISTS company_manager_company_admins_by_company ON company_manager_company_admins (company);

CREATE TABLE IF NOT EXISTS company_manager_sessions (
    -- SHA-256 of the id in the browser's cookie.
    id_hash  BLOB PRIMARY KEY,
    person   TEXT NOT NULL REFERENCES company_manager_people ON DELETE CASCADE,
    began_at INTEGER NOT NULL,
    used_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS company_manager_sessions_by_used_at ON company_manager_sessions (used_at);
CREATE INDEX IF NOT EXISTS company_manager_sessions_by_person ON company_manager_sessions (person);

-- What the next page tells, once.
CREATE TABLE IF NOT EXISTS company_manager_flashes (
    session            BLOB PRIMARY KEY REFERENCES company_manager_sessions ON DELETE CASCADE,
    company            TEXT NOT NULL,
    message            TEXT NOT NULL,
    refresh_expires_at INTEGER
) STRICT;
