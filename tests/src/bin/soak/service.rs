//! Actions of people and programs: callers that request tokens; administrators who opt in, change passwords and remove;
//! and a watcher of the rows.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use batchsuite_auth::{
    Environment,
    store::{ListQuery, Store as _},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};
use url::Url;

use crate::{
    ledger::{Truth, number},
    stage::{COMPANIES, Checked, Stage, name, order, user},
};

/// How soon an ended or lost opt-in must be reported: after the longest fault, a lease, and a pause.
const TOLD_WITHIN: Duration = Duration::from_secs(240);
/// How long a cached token may outlive a removal: the bounded age, and the rest of a token's life.
const REMOVED_WITHIN: Duration = Duration::from_secs(40);

/// Programs that request tokens of random companies ten times a second, until `end`.
pub(crate) async fn callers(stage: Arc<Stage>, seed: u64, end: Arc<AtomicBool>) {
    let mut random = StdRng::seed_from_u64(seed);
    while !end.load(SeqCst) {
        let (stage, mut own) = (Arc::clone(&stage), StdRng::seed_from_u64(random.random()));
        tokio::spawn(async move {
            let company = own.random_range(0..COMPANIES);
            call(&stage, &mut own, company).await;
        });
        sleep(Duration::from_millis(100)).await;
    }
}

/// A call to some worker that uses the token and reports it if UPS's API refuses it; returns the worker's answer.
pub(crate) async fn call(stage: &Stage, random: &mut StdRng, company: usize) -> Value {
    let (changes, truth) = stage.ledger.book().stands(company);
    let asked = Instant::now();
    let told = stage.ask(random, order("token", company)).await.unwrap_or_default();
    let checked = match told["token"].as_str() {
        Some(token) => Some(stage.check(token).await),
        None => None,
    };
    let is_the_same = stage.ledger.book().stands(company) == (changes, truth);
    match (truth, checked) {
        (Truth::Alive, Some(Checked::Refused)) if is_the_same && stage.ledger.book().is_settled(company) => {
            stage.ledger.book().wrong(format!("company-{company}: a token that UPS's API refuses"));
        }
        (Truth::Removed(at), Some(_)) if is_the_same && asked > at + REMOVED_WITHIN => {
            stage.ledger.book().wrong(format!("company-{company}: a token after its removal"));
        }
        _ => {}
    }
    stage.ledger.book().called(company, changes, asked, checked == Some(Checked::Accepted));
    if checked == Some(Checked::Refused) {
        let rejected = json!({"do": "rejected", "company": name(company), "token": told["token"]});
        return stage.ask(random, rejected).await.unwrap_or_default();
    }
    told
}

/// One company's life until `end`; its last state remains.
pub(crate) async fn company(stage: Arc<Stage>, seed: u64, company: usize, end: Arc<AtomicBool>) {
    let mut random = StdRng::seed_from_u64(seed);
    opt_in(&stage, &mut random, company).await;
    while !end.load(SeqCst) {
        if !lives(&stage, &mut random, company, &end).await {
            opt_in(&stage, &mut random, company).await;
            continue;
        }
        let is_last = end.load(SeqCst);
        match random.random_range(0..10) {
            0..5 => password_changes(&stage, &mut random, company).await,
            5..8 => is_removed(&stage, &mut random, company).await,
            _ => {}
        }
        // At the end some companies stay as they are.
        if !is_last {
            sleep(Duration::from_secs(random.random_range(0..10))).await;
            opt_in(&stage, &mut random, company).await;
        }
    }
}

/// Lets some time pass; returns whether the opt-in survives. A lost opt-in is judged.
async fn lives(stage: &Stage, random: &mut StdRng, company: usize, end: &AtomicBool) -> bool {
    let until = Instant::now() + Duration::from_secs(random.random_range(20..120));
    while Instant::now() < until && !end.load(SeqCst) {
        sleep(Duration::from_secs(2)).await;
        if call(stage, random, company).await["error"] == "reauth" {
            // It may be a false alarm, repaired when a stopped process continues.
            sleep(Duration::from_secs(random.random_range(2..90))).await;
            if !is_lost(stage, random, company).await {
                continue;
            }
            return false;
        }
    }
    true
}

/// Whether a new opt-in is needed although the old one is alive at UPS. A fault must have caused that.
pub(crate) async fn is_lost(stage: &Stage, random: &mut StdRng, company: usize) -> bool {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let told = call(stage, random, company).await;
        if told["token"].is_string() {
            return false;
        }
        if told["error"] == "reauth" && stage.ledger.book().told_lost(company, &told) {
            return true;
        }
        if told["error"] == "reauth" && Instant::now() > until {
            stage
                .ledger
                .book()
                .wrong(format!("company-{company}: {} while UPS takes its refresh token", told["cause"]));
            return true;
        }
        sleep(Duration::from_secs(2)).await;
    }
}

async fn opt_in(stage: &Stage, random: &mut StdRng, company: usize) {
    stage.ledger.book().change(company);
    let until = Instant::now() + TOLD_WITHIN;
    while Instant::now() < until {
        if let Some(code) = try_opt_in(stage, random, company).await {
            stage.ledger.book().opted_in(company, &code);
            return;
        }
        sleep(Duration::from_secs(2)).await;
    }
    stage.ledger.book().wrong(format!("company-{company}: cannot opt in"));
}

/// The consent's code, if the consent completed.
async fn try_opt_in(stage: &Stage, random: &mut StdRng, company: usize) -> Option<String> {
    let trip = stage.ask(random, order("authenticate", company)).await?;
    let (url, browser) = (trip["url"].as_str()?, trip["browser"].as_str()?);
    let consent = stage.control("consent", json!({"authorize_url": url, "user": user(company)})).await;
    let callback: Url = consent["callback"].as_str()?.parse().ok()?;
    let parameter =
        |wanted: &str| callback.query_pairs().find(|(name, _)| name == wanted).map(|(_, value)| value.into_owned());
    let code = parameter("code")?;
    {
        let mut book = stage.ledger.book();
        book.code(&code, company);
        book.secrets.add("browser secret", browser);
        book.secrets.add("state", parameter("state")?);
    }
    // The browser may come back to any process.
    let back = json!({"do": "callback", "query": callback.query(), "browser": browser});
    stage.ask(random, back).await.filter(|told| told["done"] == true).map(|_| code)
}

async fn password_changes(stage: &Stage, random: &mut StdRng, company: usize) {
    stage.ledger.book().ends(company);
    if random.random_bool(0.8) {
        let password = format!("password-{:x}", random.random::<u64>());
        stage.control("password", json!({"user": user(company), "password": password})).await;
    } else {
        stage.control("revoke", json!({"user": user(company)})).await;
    }
    let until = Instant::now() + TOLD_WITHIN;
    let mut told = Value::Null;
    while Instant::now() < until {
        sleep(Duration::from_secs(1)).await;
        told = call(stage, random, company).await;
        if told["error"] == "reauth" && stage.ledger.book().told_ended(company, &told) {
            return;
        }
    }
    stage.ledger.book().wrong(format!("company-{company}: {told} after a password change"));
}

async fn is_removed(stage: &Stage, random: &mut StdRng, company: usize) {
    stage.ledger.book().change(company);
    let until = Instant::now() + TOLD_WITHIN;
    while stage.ask(random, order("remove", company)).await.is_none_or(|told| told["done"] != true) {
        if Instant::now() > until {
            return stage.ledger.book().wrong(format!("company-{company}: cannot be removed"));
        }
        sleep(Duration::from_secs(1)).await;
    }
    let mut book = stage.ledger.book();
    book.removed(company);
    book.ending("removed");
}

/// Reads the rows every two seconds until `end`.
pub(crate) async fn watch(stage: Arc<Stage>, end: Arc<AtomicBool>) {
    while !end.load(SeqCst) {
        let all = ListQuery { environment: Environment::Cie, listed_as: None, after: None, limit: 1000 };
        if let Ok(Ok(page)) = timeout(Duration::from_secs(10), stage.store.list(all)).await {
            let mut book = stage.ledger.book();
            for row in page.items {
                let document = serde_json::from_str(row.document.as_str());
                if let (Some(number), Ok(document)) = (number(row.key.name()), document) {
                    book.row(number, &document);
                }
            }
        }
        sleep(Duration::from_secs(2)).await;
    }
}

/// Whether the company's status matches the ledger after some time without faults; if not, the actual status.
pub(crate) async fn stands_right(
    stage: &Stage,
    random: &mut StdRng,
    company: usize,
    before: u64,
) -> Result<(), String> {
    let told = call(stage, random, company).await;
    let (_, truth) = stage.ledger.book().stands(company);
    let mut book = stage.ledger.book();
    let is_right = match truth {
        Truth::Alive if told["token"].is_string() => book.rotations_of(company) > before,
        Truth::Alive => told["error"] == "reauth" && book.told_lost(company, &told),
        Truth::Ended => told["error"] == "reauth",
        Truth::Removed(_) => told["error"] == "not authenticated",
        Truth::Changing => false,
    };
    if is_right {
        return Ok(());
    }
    let shown = if told["token"].is_string() { "served, and not rotated".to_owned() } else { told.to_string() };
    Err(format!("company-{company}: {truth:?}, and it is {shown}"))
}
