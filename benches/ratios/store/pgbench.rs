//! pgbench's side: the statements of the store, with pgbench's variables for their parameters.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use batchsuite_benches::companies::CLIENT_ID;
use batchsuite_store::PostgresStore;
use batchsuite_tests::postgres::{Server, programs};

use super::{
    ours::{KEEP_ALIVE, LEASE, RESERVE_FOR, USED_WITHIN},
    rounds::{CLIENTS, DUE_AT_ONCE, FIRST, STRIDE, Verb, Work},
    tables::{ACCESS_LENGTH, REFRESH_LENGTH},
};

/// The attempt of every claim and commit.
const ATTEMPT: &str = "0b9fb1e0-5d0c-4c5e-9d9c-5d0c4c5e9d9c";
/// What a ciphertext has beside the secret: its header with a key's name of four letters, nonce and tag.
const SEALED: usize = 2 + 4 + 12 + 16;

/// How pgbench sends, and the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Statements that are prepared once a connection.
    Prepared,
    /// Statements without a name, parsed and planned each time.
    Extended,
}

pub(super) struct Pgbench {
    program: PathBuf,
    directory: PathBuf,
    tokens: [String; 2],
}

impl Pgbench {
    pub(super) fn of(server: &Server) -> Self {
        Self {
            program: programs().join("pgbench"),
            directory: server.directory().expect("a server of our own").to_owned(),
            tokens: [ACCESS_LENGTH, REFRESH_LENGTH].map(|length| incompressible(length + SEALED)),
        }
    }

    pub(super) fn version(&self) -> String {
        let version = Command::new(&self.program).arg("--version").output().expect("pgbench starts");
        String::from_utf8_lossy(&version.stdout).trim().to_owned()
    }

    /// Writes the script of a verb.
    pub(super) fn script(&self, store: &PostgresStore, verb: Verb) -> PathBuf {
        let name = match verb {
            Verb::Load => "load",
            Verb::Claim => "claim_refresh",
            Verb::Commit => "commit_refresh",
            Verb::Due => "due",
        };
        let (_, sql) = store.statements().find(|(of, _)| *of == name).expect("the store has the statement");
        let path = self.directory.join(format!("{name}.pgbench"));
        fs::write(&path, script(sql, variables(verb))).expect("the script can be written");
        path
    }

    /// Does a round; nanoseconds an operation.
    pub(super) fn run(&self, script: &Path, mode: Mode, work: &Work) -> f64 {
        let mut pgbench = Command::new(&self.program);
        let mode = match mode {
            Mode::Prepared => "prepared",
            Mode::Extended => "extended",
        };
        pgbench.args(["-n", "-M", mode, "-j", "2", "-c", &CLIENTS.to_string(), "-t", &work.share.to_string()]);
        pgbench.arg("-h").arg(&self.directory).args(["-U", "postgres", "-f"]).arg(script);
        let mut define = |name: &str, value: &str| {
            pgbench.args(["-D", &format!("{name}={value}")]);
        };
        for (name, number) in [
            ("operation", -1),
            ("turn", signed(work.turn)),
            ("share", signed(work.share)),
            ("companies", signed(work.companies.end - work.companies.start)),
            ("first", signed(FIRST + work.companies.start)),
            ("version", signed(work.version)),
            ("epoch", 1),
            ("lease", signed(LEASE.as_secs())),
            ("used_within", signed(USED_WITHIN.as_secs())),
            ("keep_alive", signed(KEEP_ALIVE.as_secs())),
            ("reserve_for", signed(RESERVE_FOR.as_secs())),
            ("most", signed(DUE_AT_ONCE)),
            ("age", 0),
            ("refresh_after", 3 * 3600),
            ("access_lifetime", 4 * 3600),
            ("refresh_lifetime", 90 * 86_400),
            ("failures", 0),
        ] {
            define(name, &number.to_string());
        }
        define("environment", "cie");
        define("client", CLIENT_ID);
        define("attempt", ATTEMPT);
        define("present", "x");
        if work.verb == Verb::Commit {
            define("access", &self.tokens[0]);
            define("refresh", &self.tokens[1]);
        }
        let output = pgbench.arg("postgres").output().expect("pgbench starts");
        let told = String::from_utf8_lossy(&output.stdout);
        let failed = || panic!("pgbench: {told}{}", String::from_utf8_lossy(&output.stderr));
        let all = format!("transactions actually processed: {0}/{0}", work.share * CLIENTS);
        if !output.status.success() || !told.contains(&all) {
            failed();
        }
        let throughput = told.lines().find_map(|line| {
            line.strip_prefix("tps = ")?.strip_suffix(" (without initial connection time)")?.parse::<f64>().ok()
        });
        1e9 / throughput.unwrap_or_else(failed)
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).expect("a number that pgbench knows")
}

/// What stands for each parameter, cast to the type that the store declares.
fn variables(verb: Verb) -> &'static [&'static str] {
    match verb {
        Verb::Load => &[":environment::text", ":company::text"],
        Verb::Claim => &[
            ":environment::text",
            ":company::text",
            ":epoch::int8",
            ":version::int8",
            ":attempt::uuid",
            ":lease::float8",
        ],
        Verb::Commit => &[
            ":environment::text",
            ":company::text",
            ":epoch::int8",
            ":version::int8",
            ":access::bytea",
            ":refresh::bytea",
            ":age::float8",
            ":refresh_after::float8",
            ":access_lifetime::float8",
            ":refresh_lifetime::float8",
            ":failures::int8",
            "NULL::float8",
            ":attempt::uuid",
            "false::bool",
        ],
        Verb::Due => &[
            ":environment::text",
            ":client::text",
            ":used_within::float8",
            ":keep_alive::float8",
            ":reserve_for::float8",
            ":most::int8",
        ],
    }
}

/// pgbench sends a variable as often as it is named. Where only its absence is asked for, a short one does, so that a token
/// is sent once, as by the store.
fn script(sql: &str, variables: &[&str]) -> String {
    let mut script = String::from("\\set operation :operation + 1\n");
    let turn = format!("(:turn + :client_id * :share + :operation) * {STRIDE}");
    script += &format!("\\set company :first + {turn} % :companies\n");
    let lines = sql.lines().filter(|line| !line.trim_start().starts_with("--"));
    let mut sql = lines.collect::<Vec<_>>().join("\n");
    let next = format!("${}", variables.len() + 1);
    assert!(!sql.contains(&next), "pgbench has no variable for the parameter {next}: {sql}");
    for (index, variable) in variables.iter().enumerate().rev() {
        let parameter = format!("${}", index + 1);
        if variable.ends_with("::bytea") {
            sql = sql.replace(&format!("{parameter} IS "), ":present::bytea IS ");
        }
        sql = sql.replace(&parameter, variable);
    }
    assert!(!sql.contains('$'), "pgbench has no variable for a parameter: {sql}");
    script + &sql + ";\n"
}

/// Letters and digits in which the server finds nothing to compress, as in a ciphertext; one byte each, as pgbench sends text.
fn incompressible(length: usize) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut order = batchsuite_benches::measure::Shuffled::below(LETTERS.len());
    (0..length).map(|_| char::from(LETTERS[order.index()])).collect()
}
