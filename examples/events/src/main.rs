//! How does a service hear of each company that must authenticate again?
//!
//! ```sh
//! cargo run -p example-events
//! ```
//! The reader keeps a cursor: the id of the last event that it has handled. There is one cursor for each environment, because each has
//! its own log. It is saved *after* the event was handled, so a crash in between repeats an event and misses none. In a service of
//! several processes, let one of them follow the log, or each sends the mail; or call `deliver`, as the example `mail` does, which keeps
//! the cursor in the store.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

use std::{error::Error, fs, io, path::PathBuf};

use batchsuite_auth::{
    ActorId, BatchSuiteAuth, CompanyId, Environment, error::chain, events::EventId, fake_ups::FakeUps,
};
use batchsuite_store::MemoryStore;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// Tells of companies until the authenticator is shut down.
async fn follow(auth: BatchSuiteAuth, cursor: PathBuf, tell: UnboundedSender<CompanyId>) -> io::Result<()> {
    let handled = match fs::read_to_string(&cursor) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => EventId::START,
        number => EventId::new(number?.parse().map_err(io::Error::other)?),
    };
    let mut events = auth.event_stream(Some(handled));
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                if event.kind.needs_reauthorization() {
                    event.company.and_then(|company| tell.send(company).ok());
                }
                fs::write(cursor.with_extension("new"), event.id.number().to_string())?;
                fs::rename(cursor.with_extension("new"), &cursor)?;
            }
            // The stream itself pauses before it reads again.
            Err(error) => eprintln!("{}", chain(&error)),
        }
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let ups = FakeUps::start().await;
    let store = MemoryStore::with_clock(ups.clock());
    let cursor = std::env::temp_dir().join(format!("events-{}-{}", std::process::id(), Environment::Cie));
    for company in ["acme", "bolt"] {
        println!("{} must authenticate again", run(&ups, &store, cursor.clone(), company).await?);
    }
    Ok(fs::remove_file(cursor)?)
}

/// A run of the service, in which `company` opts in and its password at UPS.com is changed. Returns who is heard of first.
async fn run(ups: &FakeUps, store: &MemoryStore, cursor: PathBuf, company: &str) -> Result<CompanyId, Box<dyn Error>> {
    let auth = ups.authenticator().store(store.clone()).build()?;
    let (tell, mut tells) = unbounded_channel();
    let following = tokio::spawn(follow(auth.clone(), cursor, tell));
    let (company, administrator) = (company.parse()?, ActorId::new("ada")?);
    let trip = auth.authenticate(&company, &administrator).await?;
    let query = ups.consent(&trip.url, FakeUps::USER).await;
    auth.callback(&administrator, &query, &trip.browser_secret).await?;
    let token = auth.access_token(&company).await?;
    ups.change_password(FakeUps::USER);
    let _ = auth.report_rejected(&company, &token).await;
    let first = tells.recv().await.ok_or("the log was not followed to its end")?;
    auth.shutdown().await;
    following.await??;
    Ok(first)
}

#[tokio::test]
async fn a_restarted_service_does_not_hear_of_a_company_again() {
    let ups = FakeUps::start().await;
    let store = MemoryStore::with_clock(ups.clock());
    let cursor = std::env::temp_dir().join(format!("events-test-{}", std::process::id()));
    for company in ["acme", "bolt"] {
        assert_eq!(run(&ups, &store, cursor.clone(), company).await.unwrap().as_str(), company);
    }
    fs::remove_file(cursor).unwrap();
}
