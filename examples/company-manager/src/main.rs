//! `company-manager`: reads the settings, serves the application, and stops it gracefully.

#![allow(clippy::print_stderr, clippy::print_stdout, reason = "a program talks to its terminal")]

use std::{
    env,
    io::{self, IsTerminal},
    net::SocketAddr,
    path::{self, Path},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use batchsuite_auth::{
    BatchSuiteAuth, BatchSuiteAuthBuilder, Environment,
    clock::{Clock, SystemClock},
    error::chain,
    http::ReqwestClient,
};
use batchsuite_store::MemoryStore;
use company_manager::{
    MayAuthenticate, Parts, Site, app_behind,
    config::{Config, KeptIn, Keys, Place, RealUps, Ups},
    demo::{self, ADMIN_USER, COMPANY_ADMIN, DemoUps, UPS_USER},
    ending, files, notices, serve,
    storage::Storage,
};
use secrecy::{ExposeSecret, SecretString};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::oneshot,
    task::JoinHandle,
    time::timeout,
};
use tracing_subscriber::EnvFilter;
use url::Url;

/// Maximum time each for the demo's fake UPS, a database file and the runtime's threads at the end.
const EXIT: Duration = Duration::from_millis(200);
/// The command to run after restoring a backup.
const AFTER_RESTORE: &str = "after-restore";

fn main() -> ExitCode {
    let result = (|| {
        let restored = match env::args_os().skip(1).collect::<Vec<_>>().as_slice() {
            [] => false,
            [command] if command == AFTER_RESTORE => true,
            _ => {
                return Err(format!(
                    "it takes no arguments, only environment variables (see its README.md); {AFTER_RESTORE} is its one command"
                ));
            }
        };
        let config = Config::read(|name| env::var_os(name)).map_err(|error| error.to_string())?;
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(io::stderr().is_terminal())
            .with_writer(io::stderr)
            .init();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| error.to_string())?;
        let result = runtime.block_on(async { if restored { after_restore(config).await } else { run(config).await } });
        // A DNS lookup in progress must not delay the exit: only the operating system limits its duration.
        runtime.shutdown_timeout(EXIT);
        result
    })();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(line) => {
            eprintln!("company-manager: {line}");
            ExitCode::FAILURE
        }
    }
}

/// Marks the restored opt-ins before the program serves: some of their tokens may be spent.
async fn after_restore(config: Config) -> Result<(), String> {
    let Ups::Real(ups, kept_in) = config.ups else {
        return Err(format!("{AFTER_RESTORE} is not for the demo, which keeps nothing"));
    };
    if let Place::File { path, .. } = &kept_in.place {
        if !path.exists() {
            return Err(format!("there is no database {}: put the copy there first", shown(path)));
        }
        files::close_to_others(path).map_err(|error| error.to_string())?;
    }
    let passwords = Passwords::new(config.demo_password);
    let (auth, site) = at_site_of(*ups);
    let storage = Storage::kept_in(&kept_in, &passwords.company_admin).await.map_err(|error| error.to_string())?;
    let auth = auth.store(storage.store).redirect_uri(site.redirect_uri()).without_keeper();
    let auth = auth.http(http_client(&site.ups_base_url)?).build().map_err(|error| error.to_string())?;
    let marked = auth.after_restore().await.map_err(|error| chain(&error).to_string())?;
    let database = match &kept_in.place {
        Place::File { path, .. } => shown(path),
        Place::Postgres { .. } => "the database of DATABASE_URL".to_owned(),
    };
    println!("company-manager: ready to start after a restored backup; marked in {database}: {marked} authorizations");
    auth.shutdown().await;
    if let Some(database) = storage.database {
        database.close().await;
    }
    if let Some(file) = storage.file {
        file.close().await;
    }
    Ok(())
}

async fn run(config: Config) -> Result<(), String> {
    // Before the first request, so that no signal is missed.
    let stop = stop().map_err(|error| format!("signals cannot be caught: {error}"))?;
    let listener = TcpListener::bind(config.listen).await.map_err(cannot_listen("LISTEN", config.listen))?;
    let address = listener.local_addr().map_err(cannot_listen("LISTEN", config.listen))?;
    let passwords = Passwords::new(config.demo_password);

    let (end_ups, ups_ends) = oneshot::channel::<()>();
    let (arranged, demo_ups) = match config.ups {
        Ups::Real(ups, kept_in) => (at_ups(*ups, &kept_in, address, &passwords).await?, None),
        Ups::Demo { fake_listen } => {
            let (arranged, served) = as_a_demo(fake_listen, address, &passwords, ups_ends).await?;
            (arranged, Some(served))
        }
    };
    let Arranged { auth, storage, site, http, clock } = arranged;
    let Storage { store, directory, sessions, database, upkeep, file, .. } = storage;
    let auth = auth
        .store(store)
        .base_url(site.ups_base_url.clone())
        .redirect_uri(site.redirect_uri())
        .http(http.clone())
        .opt_in_check(MayAuthenticate { directory: directory.clone() })
        .build()
        .map_err(|error| error.to_string())?;
    if let Some(upkeep) = upkeep {
        upkeep.begin(&auth);
    }

    notices::begin(config.notices, &auth, directory.clone(), &site.public_url)?;

    let parts = Parts { auth: auth.clone(), directory, sessions, http, clock, site };
    let app = app_behind(config.proxies, parts).map_err(|error| error.to_string())?;

    let (drain, draining) = oneshot::channel::<()>();
    let mut server = tokio::spawn(serve(listener, app, async {
        let _ = draining.await;
    }));
    // The server ends on its own only if it fails.
    tokio::select! {
        () = stop => {}
        _ = &mut server => return Err("the server failed".to_owned()),
    }
    let drained = async {
        let _ = drain.send(());
        let _ = server.await;
    };
    ending::end(&auth, drained, config.stop_timeout).await;
    if let Some(database) = database {
        let _ = timeout(EXIT, database.close()).await;
    }
    if let Some(file) = file {
        let _ = timeout(EXIT, file.close()).await;
    }
    // The fake stops last, because it may have to answer a refresh in progress.
    drop(end_ups);
    if let Some(served) = demo_ups {
        let _ = timeout(EXIT, served).await;
    }
    Ok(())
}

/// The differences between the real UPS and the demo.
struct Arranged {
    auth: BatchSuiteAuthBuilder,
    storage: Storage,
    site: Site,
    http: Arc<ReqwestClient>,
    clock: Arc<dyn Clock>,
}

/// An authenticator for the real UPS, and the application's site.
fn at_site_of(ups: RealUps) -> (BatchSuiteAuthBuilder, Site) {
    let RealUps { client, environment, base_url, public_url } = ups;
    // The hosts on which UPS is known to sign people in, and its other hosts that it may redirect to.
    let ups_hops = ["https://www.ups.com", "https://*.ups.com"].map(str::to_owned).to_vec();
    (
        BatchSuiteAuth::builder(environment, client),
        Site { public_url, ups_base_url: base_url, ups_hops, demo_ups: None },
    )
}

/// Sets up the real UPS, and reports that in the terminal.
async fn at_ups(
    ups: RealUps,
    kept_in: &KeptIn,
    address: SocketAddr,
    passwords: &Passwords,
) -> Result<Arranged, String> {
    let environment = ups.environment;
    let (auth, site) = at_site_of(ups);
    let http = Arc::new(http_client(&site.ups_base_url)?);
    let storage = Storage::kept_in(kept_in, &passwords.company_admin).await.map_err(|error| error.to_string())?;
    println!("company-manager: listening on http://{address}/ for {}", site.public_url);
    println!("  UPS         {environment} at {}", site.ups_base_url);
    println!("  Callback    {} (must be registered at UPS)", site.redirect_uri());
    println!("  Sign in     {COMPANY_ADMIN} or {ADMIN_USER}, with the password in DEMO_PASSWORD");
    match &kept_in.place {
        Place::Postgres { .. } => println!("  Everything is kept in the database of DATABASE_URL."),
        Place::File { path, keys } => tell_of_the_file(path, keys.as_ref(), storage.new_key_file.is_some()),
    }
    Ok(Arranged { auth, storage, site, http, clock: Arc::new(SystemClock) })
}

fn shown(path: &Path) -> String {
    path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}

/// Prints the paths of the files, and which ones to back up.
fn tell_of_the_file(database: &Path, keys: Option<&Keys>, is_first_start: bool) {
    let file = shown(database);
    let keys = match keys {
        Some(Keys::Environment) => "in BATCHSUITE_KEYS".to_owned(),
        Some(Keys::File(path)) => shown(path),
        None if is_first_start => format!("{}, created by this first start", shown(&files::key_file(database))),
        None => shown(&files::key_file(database)),
    };
    println!("  Kept in     {file}");
    println!("  Keys        {keys}");
    println!("  Back up     The keys once, at another place than the database, which nobody can read without them.");
    println!("              The database often: sqlite3 \"{file}\" \".backup COPY\"; or, while this program");
    println!("              is stopped, a copy of the file, and of its -wal if there is one.");
    println!("  Restore     Stop this program, delete the database, its -wal and -shm, put the copy there, and run");
    println!("              company-manager {AFTER_RESTORE} once before the next start.");
}

/// Sets up a fake UPS inside this process, served until `ups_ends`, and reports that in the terminal.
async fn as_a_demo(
    fake_listen: SocketAddr,
    address: SocketAddr,
    passwords: &Passwords,
    ups_ends: oneshot::Receiver<()>,
) -> Result<(Arranged, JoinHandle<io::Result<()>>), String> {
    let public_url = Url::parse(&format!("http://{address}/")).map_err(|error| error.to_string())?;
    let mut site = Site { ups_base_url: public_url.clone(), public_url, ups_hops: Vec::new(), demo_ups: None };
    let ups = DemoUps::bind(fake_listen, address, &site.redirect_uri(), &passwords.ups_user)
        .await
        .map_err(cannot_listen("FAKE_UPS_LISTEN", fake_listen))?;
    site.ups_base_url = ups.base_url.clone();
    site.demo_ups = Some(ups.page());
    let http = Arc::new(http_client(&site.ups_base_url)?);
    let clock = ups.clock();
    let auth = BatchSuiteAuth::builder(Environment::Cie, ups.client.clone()).clock(clock.clone());
    let storage = passwords.in_memory(MemoryStore::with_clock(clock.clone())).await?;
    passwords.introduce(&site, &ups);
    let served = tokio::spawn(fake_ups::serve(ups.listener, ups.state, async {
        let _ = ups_ends.await;
    }));
    Ok((Arranged { auth, storage, site, http, clock: Arc::new(clock) }, served))
}

/// Completes on SIGTERM or SIGINT.
fn stop() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

fn cannot_listen(name: &str, address: SocketAddr) -> impl FnOnce(io::Error) -> String {
    move |error| format!("{name}: cannot listen on {address}: {error}")
}

fn http_client(ups: &Url) -> Result<ReqwestClient, String> {
    let builder = ReqwestClient::builder();
    let builder = if ups.scheme() == "http" { builder.allow_loopback_http() } else { builder };
    builder.build().map_err(|error| chain(&error).to_string())
}

/// The passwords of the demo sign-ins and of the fake's UPS.com user.
struct Passwords {
    are_random: bool,
    company_admin: SecretString,
    admin_user: SecretString,
    ups_user: SecretString,
}

impl Passwords {
    fn new(set: Option<SecretString>) -> Self {
        let are_random = set.is_none();
        let password = || set.clone().unwrap_or_else(demo::random_password);
        Self { are_random, company_admin: password(), admin_user: password(), ups_user: password() }
    }

    async fn in_memory(&self, store: MemoryStore) -> Result<Storage, String> {
        let storage = Storage::in_memory(store, &self.company_admin, &self.admin_user).await;
        storage.map_err(|error| error.to_string())
    }

    /// Prints, to the terminal only, how to use the demo.
    fn introduce(&self, site: &Site, ups: &DemoUps) {
        let shown = |password: &SecretString| match self.are_random {
            true => password.expose_secret().to_owned(),
            false => "(the password in DEMO_PASSWORD)".to_owned(),
        };
        println!("company-manager: a demo, with a fake UPS inside; nothing is kept when it ends");
        println!();
        println!("  Open          {}", site.public_url);
        println!(
            "  Sign in       {COMPANY_ADMIN}  {}   sees its companies, authenticates them",
            shown(&self.company_admin)
        );
        println!("                {ADMIN_USER}          {}   sees authenticated companies", shown(&self.admin_user));
        println!();
        println!("  Fake UPS      {}", ups.base_url);
        println!("  UPS.com user  {UPS_USER}  {}", shown(&self.ups_user));
        println!("  Its page, to change the UPS.com password or make UPS fail:  {}", ups.page());
        println!("  (The company notices a changed password at its next use of a token, e.g. in BATCH TRACK.)");
        println!();
    }
}
