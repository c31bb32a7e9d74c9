//! What is changed, and the tests that must notice.

/// A part of the code, and the test programs that belong to it.
#[derive(Debug)]
pub(crate) struct Area {
    pub(crate) name: &'static str,
    pub(crate) package: &'static str,
    /// Globs of cargo-mutants; with an exclamation mark, files to leave alone.
    pub(crate) files: &'static [&'static str],
    /// Whether clauses of SQL change, in these files and directories.
    pub(crate) is_sql: bool,
    /// Test programs, fastest first. The next one runs for changes that those before did not notice.
    pub(crate) tests: &'static [&'static str],
}

/// The unit tests of the two libraries.
pub(crate) const AUTH: &str = "batchsuite_auth";
pub(crate) const STORE: &str = "batchsuite_store";

pub(crate) const AREAS: &[Area] = &[
    Area {
        name: "machine",
        package: "batchsuite-auth",
        files: &["batchsuite-auth/src/machine/**"],
        is_sql: false,
        tests: &[AUTH, "rotation", "health", "life"],
    },
    Area {
        name: "rotation",
        package: "batchsuite-auth",
        files: &["batchsuite-auth/src/rotation/**", "batchsuite-auth/src/steps/**"],
        is_sql: false,
        tests: &[AUTH, "rotation", "health", "bad_inputs", "life", "metrics", "stored", "axum_adapter", "deliveries"],
    },
    Area {
        name: "ups",
        package: "batchsuite-auth",
        // `door.rs` is no part of the library: it lets the fuzzing in.
        files: &["batchsuite-auth/src/ups/**", "!batchsuite-auth/src/ups/door.rs"],
        is_sql: false,
        tests: &[AUTH, "bad_inputs", "rotation", "life"],
    },
    Area {
        name: "adapters",
        package: "batchsuite-auth",
        files: &["batchsuite-auth/src/adapters/**", "batchsuite-auth/src/browser.rs", "batchsuite-auth/src/browser/**"],
        is_sql: false,
        tests: &[AUTH, "adapters", "axum_adapter", "deliveries"],
    },
    Area {
        name: "deliveries",
        package: "batchsuite-auth",
        files: &["batchsuite-auth/src/deliveries.rs", "batchsuite-auth/src/deliveries/**"],
        is_sql: false,
        tests: &[AUTH, "deliveries"],
    },
    // The path of a cached token.
    Area {
        name: "hot",
        package: "batchsuite-auth",
        files: &["batchsuite-auth/src/cache.rs", "batchsuite-auth/src/cache/**", "batchsuite-auth/src/clock.rs"],
        is_sql: false,
        tests: &[AUTH, "rotation"],
    },
    Area {
        name: "http",
        package: "batchsuite-auth",
        files: &["batchsuite-auth/src/http.rs", "batchsuite-auth/src/http/**"],
        is_sql: false,
        tests: &[AUTH, "reqwest_client", "bad_inputs"],
    },
    Area {
        name: "keyring",
        package: "batchsuite-store",
        files: &["batchsuite-store/src/keyring.rs", "batchsuite-store/src/keyring/**", "batchsuite-store/src/seal.rs"],
        is_sql: false,
        tests: &[STORE, "contract", "stored", "sqlite", "postgres"],
    },
    Area {
        name: "memory",
        package: "batchsuite-store",
        files: &["batchsuite-store/src/memory.rs", "batchsuite-store/src/memory/**"],
        is_sql: false,
        tests: &[STORE, "contract", "rotation"],
    },
    Area {
        name: "sqlite",
        package: "batchsuite-store",
        files: &["batchsuite-store/src/sqlite.rs", "batchsuite-store/src/sqlite/**"],
        is_sql: false,
        tests: &[STORE, "contract", "sqlite", "stored", "cli"],
    },
    Area {
        name: "postgres",
        package: "batchsuite-store",
        files: &["batchsuite-store/src/postgres.rs", "batchsuite-store/src/postgres/**"],
        is_sql: false,
        tests: &[STORE, "contract", "pool", "postgres", "stored", "cli"],
    },
    Area {
        name: "sql-sqlite",
        package: "batchsuite-store",
        files: &["batchsuite-store/src/sqlite", "batchsuite-store/src/sqlite.rs"],
        is_sql: true,
        tests: &[STORE, "contract", "sqlite", "stored", "cli"],
    },
    Area {
        name: "sql-postgres",
        package: "batchsuite-store",
        files: &[
            "batchsuite-store/src/postgres/sql",
            "batchsuite-store/src/postgres/migrations",
            "batchsuite-store/src/postgres/check.rs",
            "batchsuite-store/src/postgres/migrate.rs",
        ],
        is_sql: true,
        tests: &["contract", "postgres", "stored", "cli"],
    },
];
