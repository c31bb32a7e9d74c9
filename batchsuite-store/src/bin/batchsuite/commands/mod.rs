//! The commands, a file each.

mod after_restore;
mod check;
mod confirm;
mod events;
mod import;
mod list;
mod migrate;
mod overview;
mod prune;
mod reencrypt;
mod why;

use std::sync::Arc;

use batchsuite_auth::{BatchSuiteAuth, StoreError, Timestamp};
use indicatif::ProgressBar;

use crate::{
    client::{self, Use},
    database::Database,
    failure::Failure,
    interrupt::{interrupted, until_interrupted},
    options::{Command, Options},
    output::Output,
    progress::{self, Watched},
    settings::Settings,
};

/// How a command that did its work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Fine,
    /// It found something that needs attention.
    Found,
}

/// A database, and the library over it.
struct Opened {
    database: Database,
    auth: BatchSuiteAuth,
}

impl Opened {
    /// Opens the database; each change of a company's row moves `bar`.
    async fn new(settings: &Settings, purpose: Use, bar: ProgressBar) -> Result<Self, Failure> {
        let database = Database::open(settings).await?;
        let store = Arc::new(Watched::new(database.store(), bar));
        let auth = client::authenticator(settings, store, purpose).await?;
        Ok(Self { database, auth })
    }

    /// Finishes the work in progress.
    async fn close(self) {
        self.auth.shutdown().await;
        self.database.close().await;
    }
}

/// Does long work on all companies, with this line of progress, until it is done or interrupted.
async fn long<T>(
    settings: &Settings,
    purpose: Use,
    progress: &str,
    work: impl AsyncFnOnce(&Opened) -> Result<T, StoreError>,
) -> Result<T, Failure> {
    let bar = progress::bar(progress, None);
    let opened = Opened::new(settings, purpose, bar.clone()).await?;
    let done = until_interrupted(work(&opened)).await;
    bar.finish_and_clear();
    opened.close().await;
    Ok(done?.ok_or_else(interrupted)??)
}

/// Runs the command.
pub(crate) async fn run(options: Options, output: &mut Output) -> Result<Outcome, Failure> {
    let settings = Settings::read(&options, |name| std::env::var_os(name))?;
    match &options.command {
        Command::Migrate => migrate::run(&settings, output).await,
        Command::Check => check::run(&settings, output).await,
        Command::List(list) => list::run(&settings, list.filter(), output).await,
        Command::Why { company } => why::run(&settings, company, output).await,
        Command::Overview { watch } => overview::run(&settings, *watch, output).await,
        Command::Events(events) => events::run(&settings, events, output).await,
        Command::Import(import) => import::run(&settings, import, output).await,
        Command::Reencrypt => reencrypt::run(&settings, output).await,
        Command::Prune(prune) => prune::run(&settings, prune, output).await,
        Command::AfterRestore { yes } => after_restore::run(&settings, *yes, output).await,
    }
}

/// A time for people, in UTC.
fn shown(at: Timestamp) -> String {
    at.format("%F %T").to_string()
}

/// `1 company`, `2 companies`.
fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
