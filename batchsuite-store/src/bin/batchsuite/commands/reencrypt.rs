//! `reencrypt`: encrypts all tokens with the first key.

use serde_json::json;

use super::{Outcome, counted, long};
use crate::{client::Use, failure::Failure, output::Output, settings::Settings};

pub(super) async fn run(settings: &Settings, output: &mut Output) -> Result<Outcome, Failure> {
    let key = settings.keyring().await?.keys().primary().to_string();
    let progress = "{spinner} {pos} companies' tokens encrypted again, {elapsed}";
    let done = long(settings, Use::Write, progress, async |opened| {
        // Without a company, nothing is encrypted, and the older keys would still be required.
        opened.database.introduce_keys().await?;
        opened.auth.reencrypt().await
    })
    .await?;
    if output.is_json {
        output.json(&json!({ "key": key, "companies": done.companies, "unreadable": done.unreadable }));
    } else {
        let companies = counted(done.companies, "company", "companies");
        output.line(format_args!("Encrypted the tokens of {companies} again, with the key {key}."));
        for company in &done.unreadable {
            output.line(format_args!("{company}: its tokens cannot be read, and are as they were"));
        }
        output.line(if done.unreadable.is_empty() {
            "In ten minutes, when no trip to UPS.com of before is under way, older keys can be removed."
        } else {
            "Keep the older keys until these can be read, or their companies have authenticated again."
        });
    }
    Ok(if done.unreadable.is_empty() { Outcome::Fine } else { Outcome::Found })
}
