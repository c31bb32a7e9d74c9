//! The statements' use of indexes.

use std::{path::PathBuf, time::Duration};

use batchsuite_auth::{
    ActorId, CompanyId, Environment,
    events::{EventContent, EventId, EventKind},
    ids::ConsentId,
    secret::{BrowserSecret, RefreshToken},
    store::{
        Consent, ConsentCaps, Delivery, DeliveryEnd, EventOrder, EventQuery, ListQuery, ListedAs, NewConsent, NewEvent,
        Prune, RowKey, Saved, Store, Swap, TokenChange, Tokens, Wake,
    },
};

use super::SqliteStore;
use crate::keyring::{KeySet, Keyring, StaticKeySource};

const CIE: Environment = Environment::Cie;

/// A file that is removed on drop.
struct File(PathBuf);

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn acme() -> CompanyId {
    CompanyId::new("acme").unwrap()
}

fn event() -> EventContent {
    EventContent::new(EventKind::Failed)
}

async fn saved(store: &SqliteStore, tokens: TokenChange) {
    let row = store.load(&RowKey::company(CIE, acme())).await.unwrap();
    let swap = Swap {
        key: row.key,
        expected: row.number,
        decided_at: Some(row.as_of),
        step: "test",
        document: row.document,
        revision: row.revision,
        listed_as: ListedAs::Authenticated,
        tokens,
        wake: Some(Wake { at: Some(row.as_of), if_used: None }),
        used_at: row.used_at,
        events: vec![event()],
        announce: true,
    };
    assert_ne!(store.save(swap).await.unwrap(), Saved::Conflict);
}

/// Runs every statement of the store once.
async fn say_everything(store: &SqliteStore) {
    let consent = Consent {
        id: ConsentId::random(),
        environment: CIE,
        company: acme(),
        actor: ActorId::new("alice").unwrap(),
        browser: BrowserSecret::random().hash(),
        redirect_uri: "https://host.example/callback".parse().unwrap(),
        client_id: "client".to_owned(),
        return_to: None,
        removals: 0,
    };
    let (id, state) = (consent.id, BrowserSecret::random().hash());
    let new = NewConsent { consent, state, verifier: None, lifetime: Duration::from_secs(600) };
    let told = NewEvent { company: Some(acme()), event: event() };
    store.put_consent(new, ConsentCaps { per_company: 1, per_actor: 1 }, told.clone()).await.unwrap();
    store.find_consent(CIE, &state).await.unwrap().expect("the consent is there");
    store.use_consent(CIE, id, None).await.unwrap().expect("the consent is used");
    let pair = Tokens { access: None, refresh: Some(RefreshToken::new("refresh")) };
    for tokens in [TokenChange::Replace(pair), TokenChange::Keep, TokenChange::Erase] {
        saved(store, tokens).await;
    }
    assert_eq!(store.wake(CIE, 10).await.unwrap().len(), 1);
    store.record_use(CIE, &[acme()]).await.unwrap();
    for listed_as in [None, Some(vec![ListedAs::ReauthRequired]), Some(ListedAs::ALL.to_vec())] {
        store.list(ListQuery { environment: CIE, listed_as, after: None, limit: 10 }).await.unwrap();
    }
    for (order, company) in [
        (EventOrder::OldestFirst, None),
        (EventOrder::OldestFirst, Some(acme())),
        (EventOrder::NewestFirst, None),
        (EventOrder::NewestFirst, Some(acme())),
    ] {
        store.events(EventQuery { environment: CIE, company, order, after: None, limit: 10 }).await.unwrap();
    }
    store.append(CIE, told).await.unwrap();
    store.changes(CIE, Some(EventId::START), Duration::ZERO).await.unwrap();
    let delivery = Delivery { consumer: "mails".to_owned(), holder: uuid::Uuid::nil() };
    let cursor = store.take_delivery(CIE, &delivery, Duration::from_secs(60)).await.unwrap().unwrap();
    assert!(store.advance_delivery(CIE, &delivery, cursor, DeliveryEnd::End).await.unwrap());
    let prune = Prune { environment: CIE, older_than: Duration::from_secs(3600), limit: 10, undelivered: false };
    store.prune(prune).await.unwrap();
}

/// The statements sent to SQLite, and their query plans.
async fn plans(store: &SqliteStore) -> Vec<(String, String)> {
    let mut plans = Vec::new();
    for worker in [&store.writer, &store.reader] {
        let of_one = worker.call(|session| {
            let mut plans = Vec::new();
            for statement in session.statements.keys() {
                let mut explain = session.connection.prepare(&format!("EXPLAIN QUERY PLAN {statement}"))?;
                let parameters = vec![None::<i64>; explain.parameter_count()];
                let steps = explain.query_map(rusqlite::params_from_iter(parameters), |row| row.get::<_, String>(3))?;
                plans.push((statement.clone(), steps.collect::<Result<Vec<_>, _>>()?.join("\n")));
            }
            Ok(plans)
        });
        plans.extend(of_one.await.unwrap());
    }
    plans
}

async fn opened() -> (File, SqliteStore) {
    let file = File(std::env::temp_dir().join(format!("batchsuite-plans-{:032x}.db", ConsentId::random().to_bits())));
    let keys = KeySet::parse("test:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap();
    let keyring = Keyring::load(StaticKeySource::new(keys)).await.unwrap();
    let store = SqliteStore::open(&file.0, keyring).await.unwrap();
    (file, store)
}

/// A later release, in another process, migrates the file while this one is running.
#[tokio::test]
async fn a_further_column_in_every_table_breaks_no_statement_and_keeps_its_value() {
    let (file, store) = opened().await;
    say_everything(&store).await;
    let pair = Tokens { access: None, refresh: Some(RefreshToken::new("refresh")) };
    saved(&store, TokenChange::Replace(pair.clone())).await;
    let later = rusqlite::Connection::open(&file.0).unwrap();
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
    let tables: Vec<String> =
        later.prepare(tables).unwrap().query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
    assert!(tables.len() > 6, "{tables:?}");
    for table in &tables {
        let add = format!(
            "ALTER TABLE {table} ADD COLUMN of_a_later_release TEXT; UPDATE {table} SET of_a_later_release = 'kept'"
        );
        later.execute_batch(&add).unwrap();
    }

    let kept = |table: &str| {
        let kept = format!("SELECT count(*) FROM {table} WHERE of_a_later_release = 'kept'");
        later.query_row(&kept, [], |row| row.get::<_, i64>(0)).unwrap()
    };

    saved(&store, TokenChange::Replace(pair)).await;
    assert_eq!(kept("tokens"), 1);
    say_everything(&store).await;
    for table in ["grants", "pruned", "deliveries", "keys"] {
        assert_eq!(kept(table), 1, "{table}");
    }
    drop(later);
    store.close().await;
}

#[tokio::test]
async fn each_statement_goes_by_an_index() {
    let (_file, store) = opened().await;
    say_everything(&store).await;

    let plans = plans(&store).await;
    // So that no log is left beside the file.
    store.close().await;

    for (statement, plan) in &plans {
        let is_scan = |table| plan.contains(&format!("SCAN {table}"));
        assert!(!["grants", "tokens", "consents", "events"].iter().any(is_scan), "{statement}\n{plan}");
        // A handful of keys may be sorted.
        assert!(!plan.contains("TEMP B-TREE") || plan.contains("SCAN keys"), "{statement}\n{plan}");
    }
    for (part, index) in [
        ("FROM grants LEFT JOIN tokens", "company=?"),
        ("is_old FROM events", "events_environment (environment=?)"),
        ("FROM consents\n            WHERE environment = ?1 AND company", "consents_company"),
        ("FROM consents WHERE environment = ?1 AND state", "(environment=? AND state=?)"),
        ("UPDATE consents", "(environment=? AND id=?)"),
        ("AND company = ?2 AND used_at IS NULL AND expires_at > ?3\n                    ORDER", "consents_company"),
        ("AND actor = ?2 AND used_at IS NULL", "consents_actor"),
        ("DELETE FROM consents WHERE ifnull(used_at, expires_at)", "consents_ended"),
        ("wake_at > ?2 AND wake_at <= ?3", "grants_waking (environment=? AND wake_at>? AND wake_at<?)"),
        ("wake_at <= ?2 AND company > ?3", "grants_waking (environment=? AND wake_at<?)"),
        ("wake_at <= ?2\n            LIMIT 1 OFFSET", "COVERING INDEX grants_waking (environment=? AND wake_at<?)"),
        ("listed_as <> 'authenticated'", "grants_listed (environment=? AND listed_as=? AND company>?)"),
        ("ifnull(wake_at <= ?4, 0)", "(environment=? AND company>?)"),
        ("change > ?2", "grants_changed (environment=? AND change>?)"),
        (
            "FROM events WHERE environment = ?1 AND ?4 IS NULL AND id >",
            "events_environment (environment=? AND rowid>?)",
        ),
        (
            "FROM events WHERE environment = ?1 AND ?4 IS NULL AND id <",
            "events_environment (environment=? AND rowid<?)",
        ),
        ("AND company = ?4 AND id >", "events_company (environment=? AND company=? AND rowid>?)"),
        ("AND company = ?4 AND id <", "events_company (environment=? AND company=? AND rowid<?)"),
        ("DELETE FROM events", "events_environment (environment=? AND rowid<?)"),
    ] {
        let found: Vec<_> = plans.iter().filter(|(statement, _)| statement.contains(part)).collect();
        assert!(!found.is_empty(), "nothing says {part}");
        for (statement, plan) in found {
            assert!(plan.contains(index), "no {index} for\n{statement}\n{plan}");
        }
    }
}
