//! pgbench's side: the statements of the store, with pgbench's variables for their parameters.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use batchsuite_auth::{
    clock::{Clock as _, SystemClock, earlier, later},
    store::Swap,
};
use batchsuite_benches::companies::{ACCESS_LENGTH, REFRESH_LENGTH, incompressible};
use batchsuite_tests::postgres::{Server, programs};

use super::{
    ours::Saves,
    rounds::{CLIENTS, FIRST, ROW, STRIDE, Verb, WOKEN_AT_ONCE, Work},
    statement::Statement,
};

/// The events that a commit writes.
const EVENTS: &str = r#"[{"actor":null,"cause":null,"evidence":{"attempt":"0b9fb1e05d0c4c5e9d9c5d0c4c5e9d9c","code":null,"message":null,"status":null},"kind":"refreshed"}]"#;
/// The bytes of a ciphertext in addition to the secret: the header with a key name of four letters, the nonce and the
/// tag.
const SEALED: usize = 2 + 4 + 12 + 16;

/// How pgbench and the store send statements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Statements prepared once per connection.
    Prepared,
    /// Unnamed statements, parsed and planned on each call.
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
    pub(super) fn script(&self, statement: &Statement, verb: Verb) -> PathBuf {
        let path = self.directory.join(format!("{verb:?}.pgbench"));
        fs::write(&path, script(statement, variables(verb))).expect("the script can be written");
        path
    }

    /// Runs a round and returns nanoseconds per operation.
    pub(super) fn run(&self, script: &Path, mode: Mode, saves: &Saves, work: &Work) -> f64 {
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
            ("row", signed(ROW)),
            ("epoch", 1),
            ("most", signed(WOKEN_AT_ONCE)),
        ] {
            define(name, &number.to_string());
        }
        define("environment", "cie");
        define("present", "x");
        match work.verb {
            Verb::Load | Verb::Wake => {}
            Verb::Claim => saved(&saves.claim, work.version, define),
            Verb::Commit => {
                define("access", &self.tokens[0]);
                define("refresh", &self.tokens[1]);
                define("events", EVENTS);
                saved(&saves.commit, work.version + 1, define);
            }
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

/// Defines the variables of a save.
fn saved(swap: &Swap, version: u64, mut define: impl FnMut(&str, &str)) {
    let an_hour = Duration::from_secs(3600);
    // From an hour ago to an hour ahead, longer than any round.
    let (from, until) = (earlier(SystemClock.now(), an_hour), later(SystemClock.now(), an_hour));
    let wake = swap.wake.unwrap_or_default();
    define("version", &version.to_string());
    define("document", swap.document.as_str());
    define("listed_as", swap.listed_as.name());
    define("sets_wake", if swap.wake.is_some() { "true" } else { "false" });
    define("announce", if swap.announce { "true" } else { "false" });
    for (name, time) in
        [("from", Some(from)), ("until", Some(until)), ("wake_at", wake.at), ("wake_if_used", wake.if_used)]
    {
        // A script that does not use the time has NULL in its place.
        if let Some(time) = time {
            define(name, &time.to_rfc3339());
        }
    }
}

/// The value of each parameter, in order.
fn variables(verb: Verb) -> &'static [&'static str] {
    match verb {
        Verb::Load => &[":environment", ":company"],
        Verb::Claim => &[
            ":environment",
            ":company",
            ":row",
            ":from",
            ":until",
            ":document",
            ":epoch",
            ":version",
            ":listed_as",
            ":sets_wake",
            "NULL",
            "NULL",
            "NULL",
            ":announce",
            "NULL",
            "NULL",
            "NULL",
        ],
        Verb::Commit => &[
            ":environment",
            ":company",
            ":row",
            "NULL",
            "NULL",
            ":document",
            ":epoch",
            ":version",
            ":listed_as",
            ":sets_wake",
            ":wake_at",
            ":wake_if_used",
            "NULL",
            ":announce",
            ":events",
            ":access",
            ":refresh",
        ],
        Verb::Wake => &[":environment", ":most", "NULL"],
    }
}

/// pgbench sends a variable once for every mention. A short variable replaces mentions that only test for NULL, so that
/// a token is sent once, as by the store.
fn script(statement: &Statement, variables: &[&str]) -> String {
    let Statement { sql, types } = statement;
    assert_eq!(types.len(), variables.len(), "pgbench has no variable for a parameter: {sql}");
    let mut script = String::from("\\set operation :operation + 1\n");
    let turn = format!("(:turn + :client_id * :share + :operation) * {STRIDE}");
    script += &format!("\\set company :first + {turn} % :companies\n");
    let lines = sql.lines().filter(|line| !line.trim_start().starts_with("--"));
    let mut sql = lines.collect::<Vec<_>>().join("\n");
    for ((variable, of), number) in variables.iter().zip(types).zip(1..).collect::<Vec<_>>().into_iter().rev() {
        let parameter = format!("${number}");
        if of == "bytea" {
            sql = sql.replace(&format!("{parameter} IS "), ":present::bytea IS ");
        }
        sql = sql.replace(&parameter, &format!("{variable}::{of}"));
    }
    assert!(!sql.contains('$'), "pgbench has no variable for a parameter: {sql}");
    script + &sql + ";\n"
}
