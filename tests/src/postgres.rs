//! A throw-away Postgres server for the tests of one program, with a separate schema for each test.
//!
//! `DATABASE_URL`, if set, is used instead. Without any server the tests fail; they are never skipped.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, OnceLock},
    thread::sleep,
    time::Duration,
};

use batchsuite_store::keyring::{KeySet, Keyring, StaticKeySource};
use tokio_postgres::{Client, NoTls};

/// Stops the server when this program ends, however it ends: the pipe to the shell's standard input closes with the
/// program, and the shell, which reads the pipe, outlives it. Until then each line on the pipe is an order.
const RUN: &str = r#"
start() {
    "$1/postgres" -D "$2/data" -k "$2" -c listen_addresses= -c full_page_writes=off \
        -c synchronous_commit=off -c max_connections=300 -c unix_socket_permissions=0777 $3 \
        >>"$2/server.log" 2>&1 </dev/null &
}
start "$@"
while read -r order; do
    case $order in
        stop) kill -INT $! && wait ;;
        crash) kill -QUIT $! && wait ;;
        start) start "$@" ;;
    esac
done
kill -INT $!
wait
rm -rf "$2"
"#;

/// What a server logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Log {
    /// The server's defaults.
    Normal,
    /// Every statement with all its parameters.
    Everything,
}

/// A server that the tests may treat as they like.
#[derive(Debug)]
pub struct Server {
    url: String,
    /// `None`: the server of `DATABASE_URL`.
    own: Option<Own>,
}

#[derive(Debug)]
struct Own {
    directory: PathBuf,
    programs: PathBuf,
    /// Held for its standard input, which keeps the server running.
    shell: Mutex<Child>,
}

impl Server {
    /// This program's server, started by the first call.
    ///
    /// # Panics
    /// If no server is available, with the reason.
    pub fn shared(log: Log) -> &'static Self {
        static SERVER: OnceLock<Server> = OnceLock::new();
        SERVER.get_or_init(|| match std::env::var("DATABASE_URL") {
            Ok(url) => Self { url, own: None },
            Err(_) => Self::start(log),
        })
    }

    /// A server of our own, even if `DATABASE_URL` is set.
    ///
    /// # Panics
    /// If it does not start, with the reason.
    pub fn start(log: Log) -> Self {
        Self::start_with(log, &[], "")
    }

    /// [`start`](Self::start) with more settings (`-c name=value …`, without blanks in them) and with files in its
    /// directory, which the settings call `{directory}`.
    ///
    /// # Panics
    /// If it does not start, with the reason.
    pub fn start_with(log: Log, files: &[(&str, &str)], settings: &str) -> Self {
        let programs = programs();
        let directory = std::env::temp_dir().join(format!("batchsuite-pg-{:08x}", rand::random::<u32>()));
        fs::create_dir(&directory).expect("a directory for the server");
        for (name, text) in files {
            let file = directory.join(name);
            fs::write(&file, text).expect("a file for the server");
            fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600))
                .expect("the file's permissions");
        }
        let user = unprivileged_user();
        if let Some(user) = user {
            run(Command::new("chown").args(["-R", user]).arg(&directory), "the directory's owner cannot be set");
        }
        let mut initdb = as_user(user, &programs.join("initdb"));
        initdb.args(["--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "-D"]);
        run(initdb.arg(directory.join("data")), "initdb fails");

        let logging = match log {
            Log::Normal => "",
            Log::Everything => "-c log_statement=all -c log_min_duration_statement=0 -c log_parameter_max_length=-1",
        };
        let settings = settings.replace("{directory}", &directory.display().to_string());
        let mut shell = as_user(user, Path::new("/bin/sh"));
        shell.args(["-c", RUN, "sh"]).arg(&programs).arg(&directory).arg(format!("{logging} {settings}"));
        // A separate process group: an interrupt of the tests must not reach the server before its own end.
        std::os::unix::process::CommandExt::process_group(&mut shell, 0);
        let shell = shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let shell = Mutex::new(shell.expect("the server's shell starts"));
        let url = server_url(&directory, &settings);
        let server = Self { url, own: Some(Own { directory, programs, shell }) };
        wait_until_it_answers(&server.url, || server.log());
        server
    }

    /// The server's address, as a connection string.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The directory of its socket, if it is our own server.
    pub fn directory(&self) -> Option<&Path> {
        self.own.as_ref().map(|own| own.directory.as_path())
    }

    /// The server's log.
    ///
    /// # Panics
    /// If it is not our own server.
    pub fn log(&self) -> String {
        let own = self.own.as_ref().expect("a server of our own");
        String::from_utf8_lossy(&fs::read(own.directory.join("server.log")).expect("the log")).into_owned()
    }

    /// The output of `pg_dump` for one schema.
    ///
    /// # Panics
    /// If `pg_dump` fails.
    pub fn dump(&self, schema: &str) -> String {
        let programs = self.own.as_ref().map_or_else(programs, |own| own.programs.clone());
        let dump = Command::new(programs.join("pg_dump")).arg(format!("--schema={schema}")).arg(&self.url).output();
        let dump = dump.expect("pg_dump starts");
        assert!(dump.status.success(), "pg_dump fails: {}", String::from_utf8_lossy(&dump.stderr));
        String::from_utf8_lossy(&dump.stdout).into_owned()
    }

    /// Stops the server as an operator does: all connections end, whatever is running. Returns once the server accepts
    /// no connections.
    ///
    /// # Panics
    /// If it is not our own server, or does not stop.
    pub fn stop(&self) {
        self.end("stop\n");
    }

    /// Stops the server like a power cut: data only in its memory are lost. Returns once the server accepts no
    /// connections.
    ///
    /// # Panics
    /// If it is not our own server, or does not stop.
    pub fn crash(&self) {
        self.end("crash\n");
    }

    fn end(&self, order: &str) {
        let own = self.own.as_ref().expect("a server of our own");
        own.order(order);
        for _ in 0..600 {
            if !own.directory.join("data/postmaster.pid").exists() {
                return;
            }
            sleep(Duration::from_millis(50));
        }
        panic!("the server does not end: {}", self.log());
    }

    /// Makes the server a standby without a primary, from its next start on.
    ///
    /// # Panics
    /// If it is not our own server.
    pub fn become_standby(&self) {
        let own = self.own.as_ref().expect("a server of our own");
        fs::write(own.directory.join("data/standby.signal"), "").expect("a file for the server");
    }

    /// Starts the server again after [`stop`](Self::stop) or [`crash`](Self::crash); returns once it answers.
    ///
    /// # Panics
    /// If it is not our own server, or does not answer.
    pub fn start_again(&self) {
        self.own.as_ref().expect("a server of our own").order("start\n");
        wait_until_it_answers(&self.url, || self.log());
    }

    /// A plain connection, for statements that a test runs beside a store.
    ///
    /// # Panics
    /// If the server does not answer.
    pub async fn client(&self) -> Client {
        let (client, connection) = tokio_postgres::connect(&self.url, NoTls).await.expect("the server answers");
        tokio::spawn(connection);
        client
    }
}

impl Own {
    fn order(&self, line: &str) {
        let mut shell = self.shell.lock().expect("no test panicked here");
        let input = shell.stdin.as_mut().expect("the shell's standard input");
        input.write_all(line.as_bytes()).expect("the server's shell listens");
    }
}

/// The server's socket is named after its port.
fn server_url(directory: &Path, settings: &str) -> String {
    let port = settings.split_whitespace().find_map(|setting| setting.strip_prefix("port=")).unwrap_or("5432");
    format!("host={} port={port} user=postgres dbname=postgres", directory.display())
}

/// When PgBouncer gives a server connection to another client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolMode {
    /// When the client disconnects.
    Session,
    /// After each transaction.
    Transaction,
}

/// A real PgBouncer in front of our own server.
#[derive(Debug)]
pub struct PgBouncer {
    url: String,
    /// Held for its standard input, which keeps the pooler running.
    _shell: Child,
}

/// As for the server: it ends with this program, however that ends.
const RUN_POOLER: &str = r#"
/usr/sbin/pgbouncer "$1/pgbouncer.ini" >"$1/pgbouncer.out" 2>&1 </dev/null &
cat >/dev/null
kill -INT $!
wait
"#;

impl PgBouncer {
    /// Starts a pooler in transaction mode with fewer server connections than clients.
    ///
    /// # Panics
    /// If it does not start, with the reason.
    pub fn start(server: &Server) -> Self {
        Self::start_with(server, PoolMode::Transaction, "default_pool_size = 3\nmax_client_conn = 200\n")
    }

    /// Starts a pooler whose other settings are PgBouncer's defaults.
    ///
    /// # Panics
    /// If it does not start, with the reason.
    pub fn with_defaults(server: &Server, mode: PoolMode) -> Self {
        Self::start_with(server, mode, "")
    }

    /// Starts a pooler in session mode that accepts at most this many clients.
    ///
    /// # Panics
    /// If it does not start, with the reason.
    pub fn with_room_for(server: &Server, clients: usize) -> Self {
        Self::start_with(server, PoolMode::Session, &format!("max_client_conn = {clients}\n"))
    }

    fn start_with(server: &Server, mode: PoolMode, settings: &str) -> Self {
        let mode = match mode {
            PoolMode::Session => "session",
            PoolMode::Transaction => "transaction",
        };
        let program = Path::new("/usr/sbin/pgbouncer");
        assert!(program.exists(), "no pgbouncer in /usr/sbin: install the package `pgbouncer`");
        let socket = server.directory().expect("a server of our own");
        let directory = socket.join(format!("bouncer-{:08x}", rand::random::<u32>()));
        fs::create_dir(&directory).expect("a directory for the pooler");
        let settings = format!(
            "[databases]\npostgres = host={} user=postgres\n[pgbouncer]\npool_mode = {mode}\n{settings}\
             auth_type = any\nlisten_addr =\nlisten_port = 6432\n\
             unix_socket_dir = {}\nunix_socket_mode = 0777\n",
            socket.display(),
            directory.display()
        );
        fs::write(directory.join("pgbouncer.ini"), settings).expect("the pooler's settings");
        let user = unprivileged_user();
        if let Some(user) = user {
            run(Command::new("chown").args(["-R", user]).arg(&directory), "the directory's owner cannot be set");
        }
        let mut shell = as_user(user, Path::new("/bin/sh"));
        shell.args(["-c", RUN_POOLER, "sh"]).arg(&directory);
        std::os::unix::process::CommandExt::process_group(&mut shell, 0);
        let shell = shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let url = format!("host={} port=6432 user=postgres dbname=postgres", directory.display());
        wait_until_it_answers(&url, || fs::read_to_string(directory.join("pgbouncer.out")).unwrap_or_default());
        Self { url, _shell: shell.expect("the pooler's shell starts") }
    }

    /// The pooler's address, as a connection string.
    pub fn url(&self) -> &str {
        &self.url
    }
}

fn wait_until_it_answers(url: &str, log: impl Fn() -> String) {
    for _ in 0..600 {
        if apart(async || tokio_postgres::connect(url, NoTls).await.is_ok()) {
            return;
        }
        sleep(Duration::from_millis(50));
    }
    panic!("{url} does not answer: {}", log());
}

/// Runs an async wait on its own thread and runtime: the caller may be inside a runtime.
fn apart<T: Send>(wait: impl AsyncFnOnce() -> T + Send) -> T {
    let wait = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(wait())
    };
    std::thread::scope(|scope| scope.spawn(wait).join().expect("no panic while waiting"))
}

/// Keys for tests.
///
/// # Panics
/// Never.
pub async fn keyring() -> Keyring {
    let keys = KeySet::parse("test:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").expect("a key");
    Keyring::load(StaticKeySource::new(keys)).await.expect("a keyring")
}

/// A schema for one test.
#[derive(Debug)]
pub struct TestSchema {
    server: &'static Server,
    name: String,
    /// In microseconds.
    offset: Mutex<i128>,
}

impl TestSchema {
    /// A new name; the store's `migrate()` creates the schema.
    pub fn new(server: &'static Server) -> Self {
        let name = format!("test_{:016x}", rand::random::<u64>());
        Self { server, name, offset: Mutex::default() }
    }

    /// The schema's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The schema's server.
    pub fn server(&self) -> &'static Server {
        self.server
    }

    /// Moves the store's time ahead.
    ///
    /// # Panics
    /// If the schema was not migrated.
    pub async fn advance(&self, by: Duration) {
        self.shift(by.as_micros().cast_signed()).await;
    }

    /// Moves the store's time back.
    ///
    /// # Panics
    /// If the schema was not migrated.
    pub async fn set_back(&self, by: Duration) {
        self.shift(-by.as_micros().cast_signed()).await;
    }

    async fn shift(&self, by: i128) {
        let offset = {
            let mut offset = self.offset.lock().expect("no test panicked here");
            *offset += by;
            *offset
        };
        let function = format!(
            "CREATE OR REPLACE FUNCTION {}.clock_offset() RETURNS interval LANGUAGE sql STABLE PARALLEL SAFE
             AS $$ SELECT interval '{} microseconds' $$",
            self.name, offset
        );
        self.server.client().await.batch_execute(&function).await.expect("the clock moves");
    }
}

impl Drop for TestSchema {
    /// Our own server disappears with all its schemas.
    fn drop(&mut self) {
        if self.server.own.is_some() {
            return;
        }
        let drop_schema = format!("DROP SCHEMA IF EXISTS {} CASCADE", self.name);
        apart(async || {
            if let Ok((client, connection)) = tokio_postgres::connect(&self.server.url, NoTls).await {
                tokio::spawn(connection);
                let _ = client.batch_execute(&drop_schema).await;
            }
        });
    }
}

/// The directory of the newest server programs on this machine.
///
/// # Panics
/// If there are none.
pub fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut programs: Vec<(u32, PathBuf)> = versions
        .filter_map(|version| Some((version.file_name().to_str()?.parse().ok()?, version.path().join("bin"))))
        .filter(|(_, programs)| programs.join("postgres").exists())
        .collect();
    programs.sort();
    let newest = programs.pop().map(|(_, programs)| programs);
    newest.expect("no Postgres server in /usr/lib/postgresql: install the package `postgresql`, or set DATABASE_URL")
}

/// Postgres refuses to run as root.
fn unprivileged_user() -> Option<&'static str> {
    let id = Command::new("id").arg("-u").output().expect("`id` runs").stdout;
    let has_user = |user: &&str| Command::new("id").arg(user).output().is_ok_and(|id| id.status.success());
    (id.trim_ascii() == b"0")
        .then(|| ["postgres", "nobody"].into_iter().find(has_user).expect("a user that is not root"))
}

fn as_user(user: Option<&str>, program: &Path) -> Command {
    let Some(user) = user else { return Command::new(program) };
    let mut command = Command::new("setpriv");
    command.args(["--reuid", user, "--regid"]).arg(if user == "nobody" { "nogroup" } else { user });
    command.args(["--clear-groups", "--"]).arg(program).current_dir("/");
    command
}

fn run(command: &mut Command, failure: &str) {
    let output = command.output().unwrap_or_else(|error| panic!("{failure}: {error}"));
    assert!(output.status.success(), "{failure}: {}", String::from_utf8_lossy(&output.stderr));
}
