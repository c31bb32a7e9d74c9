-- Run at a start, under a lock, unless this very text was run before: each statement does nothing where it was done before.
-- A later version appends to this file and never edits it.

CREATE SCHEMA IF NOT EXISTS company_manager;

CREATE TABLE IF NOT EXISTS company_manager.people (
    id            text PRIMARY KEY,
    sign_in_name  text COLLATE "C" NOT NULL,
    role          text NOT NULL CHECK (role IN ('company_admin', 'admin_user')),
    -- PHC format. Whoever has none cannot sign in.
    password_hash text
);
CREATE UNIQUE INDEX IF NOT EXISTS people_by_sign_in_name ON company_manager.people (lower(sign_in_name));

CREATE TABLE IF NOT EXISTS company_manager.companies (
    id                    text COLLATE "C" PRIMARY KEY,
    name                  text COLLATE "C" NOT NULL,
    pod_retention_years   smallint NOT NULL CHECK (pod_retention_years BETWEEN 0 AND 10),
    batch_track           boolean NOT NULL,
    custom_billing        boolean NOT NULL,
    batch_rate            boolean NOT NULL,
    minimum_quality_score smallint NOT NULL CHECK (minimum_quality_score BETWEEN 0 AND 100),
    -- Encrypted by the keyring, bound to this company.
    access_key            bytea
);

CREATE TABLE IF NOT EXISTS company_manager.company_admins (
    person  text NOT NULL REFERENCES company_manager.people ON DELETE CASCADE,
    company text COLLATE "C" NOT NULL REFERENCES company_manager.companies ON DELETE CASCADE,
    PRIMARY KEY (person, company)
);
CREATE INDEX IF NOT EXISTS company_admins_by_company ON company_manager.company_admins (company);

CREATE TABLE IF NOT EXISTS company_manager.sessions (
    -- SHA-256 of the id in the browser's cookie.
    id_hash  bytea PRIMARY KEY,
    person   text NOT NULL REFERENCES company_manager.people ON DELETE CASCADE,
    began_at timestamptz NOT NULL,
    used_at  timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS sessions_by_used_at ON company_manager.sessions (used_at);
CREATE INDEX IF NOT EXISTS sessions_by_person ON company_manager.sessions (person);

-- What the next page tells, once.
CREATE TABLE IF NOT EXISTS company_manager.flashes (
    session            bytea PRIMARY KEY REFERENCES company_manager.sessions ON DELETE CASCADE,
    company            text NOT NULL,
    message            text NOT NULL,
    refresh_expires_at timestamptz
);

-- Which versions of this file were run.
CREATE TABLE IF NOT EXISTS company_manager.applied (
    checksum   bytea PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
);
