//! How do opt-ins outlive the program, without a database server?
//!
//! ```sh
//! cargo run -p example-sqlite
//! ```
//! They are in one file, which any number of processes on this machine may share. Tokens in it are encrypted. A service reads its
//! keys from `BATCHSUITE_KEYS` (`EnvKeySource`) or a file (`FileKeySource`) and keeps them apart from the database: together they
//! open everything.

use std::{error::Error, path::Path};

use batchsuite_auth::{ActorId, BatchSuiteAuth, CompanyId, fake_ups::FakeUps};
use batchsuite_store::{
    Keyring, SqliteStore,
    keyring::{KeySet, StaticKeySource},
};

/// For this example alone.
const KEYS: &str = "example:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// The service, as it starts each time. A real one needs no clock: `SqliteStore::open(path, keyring)`.
async fn start(ups: &FakeUps, path: &Path) -> Result<(SqliteStore, BatchSuiteAuth), Box<dyn Error>> {
    let keyring = Keyring::load(StaticKeySource::new(KeySet::parse(KEYS)?)).await?;
    let store = SqliteStore::open_with_clock(path, keyring, ups.clock()).await?;
    Ok((store.clone(), ups.authenticator().store(store).build()?))
}

/// First what is under way comes home and is stored, then the file is closed.
async fn stop(store: SqliteStore, auth: BatchSuiteAuth) {
    auth.shutdown().await;
    store.close().await;
}

async fn two_lives(path: &Path) -> Result<String, Box<dyn Error>> {
    let ups = FakeUps::start().await;
    let (company, administrator) = (CompanyId::new("acme")?, ActorId::new("ada")?);

    let (store, auth) = start(&ups, path).await?;
    let trip = auth.authenticate(&company, &administrator).await?;
    let query = ups.consent(&trip.url, FakeUps::USER).await;
    auth.callback(&administrator, &query, &trip.browser_secret).await?;
    stop(store, auth).await;

    let (store, auth) = start(&ups, path).await?;
    auth.access_token(&company).await?;
    let status = auth.status(&company).await?.status.to_string();
    stop(store, auth).await;
    Ok(status)
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "a program for the terminal")]
async fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::temp_dir().join(format!("example-sqlite-{}.db", std::process::id()));
    let status = two_lives(&path).await;
    std::fs::remove_file(&path)?;
    println!("after a restart: {}", status?);
    Ok(())
}

#[tokio::test]
async fn a_restarted_service_still_has_the_opt_in() {
    let path = std::env::temp_dir().join(format!("example-sqlite-test-{}.db", std::process::id()));

    let status = two_lives(&path).await.unwrap();

    std::fs::remove_file(&path).unwrap();
    assert!(status.starts_with("Refresh expires: "), "{status}");
}
