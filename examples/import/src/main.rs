//! How do I bring in the refresh tokens of the system that I have?
//!
//! ```sh
//! cargo run -p import
//! ```
//! Stop that system first: the chapter "Moving from another system" tells why. UPS is the fake one here; a real program reads the
//! other system's export, and keeps the opt-ins in a database. It can be interrupted and started again.

use std::{error::Error, time::Duration};

use batchsuite_auth::{
    ActorId, BatchSuiteAuth, CompanyId, Imported, ImportedTokens, clock::Timestamp, error::chain, fake_ups::FakeUps,
    secret::RefreshToken, status::Status,
};
use batchsuite_store::MemoryStore;

/// Moves one company. A line of the export has the company, UPS's `refresh_token` and its `refresh_token_issued_at`.
async fn move_in(auth: &BatchSuiteAuth, line: &str) -> Result<Imported, Box<dyn Error>> {
    let [company, refresh_token, issued_at] = *line.split(',').collect::<Vec<_>>() else {
        return Err("the line does not have three fields".into());
    };
    let (company, actor) = (CompanyId::new(company)?, ActorId::new("import-2026-11")?);
    let issued_at = Timestamp::from_timestamp_millis(issued_at.parse()?).ok_or("this is no time")?;
    let tokens = ImportedTokens::new(RefreshToken::new(refresh_token))?.with_issued_at(issued_at);
    let before = auth.status(&company).await?;
    if before.status == Status::Unauthenticated && before.revision.epoch > 0 {
        return Err("the authorization was removed here; it stays so".into());
    }
    let imported = loop {
        match auth.import(&company, &actor, tokens.clone()).await {
            // Not stored yet, or unknown: the same tokens again do no harm.
            Err(error) if error.is_transient() => tokio::time::sleep(Duration::from_secs(1)).await,
            imported => break imported?,
        }
    };
    // Asks UPS, so that a token that the other system has used is found today.
    auth.access_token(&company).await?;
    Ok(imported)
}

/// The other system's export; that system used globex's token after it was written.
fn export(ups: &FakeUps) -> String {
    let lines = ["acme", "globex", "initech"].map(|company| {
        let kept = ups.opt_in_elsewhere(FakeUps::USER);
        if company == "globex" {
            ups.refresh_elsewhere(&kept.refresh_token);
        }
        format!("{company},{},{}", kept.refresh_token.expose_secret(), kept.issued_at.timestamp_millis())
    });
    lines.join("\n")
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "a program for the terminal")]
async fn main() -> Result<(), Box<dyn Error>> {
    let ups = FakeUps::start().await;
    let auth = ups.authenticator().store(MemoryStore::with_clock(ups.clock())).build()?;
    for (number, line) in export(&ups).lines().enumerate() {
        match move_in(&auth, line).await {
            Ok(imported) => println!("line {}: {imported:?}", number + 1),
            Err(error) => println!("line {}: {}", number + 1, chain(&*error)),
        }
    }
    auth.shutdown().await;
    Ok(())
}

#[cfg(test)]
#[tokio::test]
async fn a_spent_token_is_told_and_a_second_run_changes_nothing() {
    let ups = FakeUps::start().await;
    let auth = ups.authenticator().store(MemoryStore::with_clock(ups.clock())).build().unwrap();
    let export = export(&ups);
    let lines: Vec<_> = export.lines().collect();
    for expected in [Imported::Stored, Imported::AlreadyStored] {
        assert_eq!(move_in(&auth, lines[0]).await.unwrap(), expected);
        assert!(move_in(&auth, lines[1]).await.unwrap_err().to_string().contains("another system"));
    }
}
