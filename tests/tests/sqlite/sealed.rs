//! Secrets in the file, and the keys that encrypt them.

use std::{fs, sync::Arc, time::Duration};

use async_trait::async_trait;
use batchsuite_auth::{
    Environment,
    events::EventKind,
    ids::ConsentId,
    secret::{BrowserSecret, PkceVerifier},
    store::{
        Consent, ConsentCaps, EventContent, ListQuery, NewConsent, NewEvent, Store, StoreErrorKind, StoredTokens,
        Verifier,
    },
};
use batchsuite_store::{
    SqliteStore,
    keyring::{KeySet, KeySource, KeySourceError, Keyring, StaticKeySource},
};
use batchsuite_tests::{acme, ada, company, sqlite::TestFile};
use tokio::sync::Mutex;

use crate::stage::{ACCESS, REFRESH, key, line, rotated, version};

const OLD: &str = "old:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const NEW: &str = "new:HxABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4=";

async fn keys(text: &str) -> Keyring {
    Keyring::load(StaticKeySource::new(KeySet::parse(text).unwrap())).await.unwrap()
}

async fn open(file: &TestFile, text: &str) -> Result<SqliteStore, String> {
    let store = SqliteStore::open_with_clock(file.path(), keys(text).await, file.clock.clone()).await;
    store.map_err(|error| {
        assert_eq!(error.kind(), StoreErrorKind::Misconfigured);
        line(&error)
    })
}

#[tokio::test]
async fn no_secret_is_in_the_clear_in_any_file() {
    let file = TestFile::new();
    let store = file.store().await;
    rotated(&store, &acme()).await;
    let consent = Consent {
        id: ConsentId::random(),
        environment: Environment::Cie,
        company: acme(),
        actor: ada(),
        browser: BrowserSecret::random().hash(),
        redirect_uri: "https://host.example/callback".parse().unwrap(),
        client_id: "client".to_owned(),
        return_to: None,
        removals: 0,
    };
    let (state, verifier) = (BrowserSecret::random(), PkceVerifier::new("canary-of-a-verifier"));
    let new = NewConsent { consent, state: state.hash(), verifier: Some(verifier), lifetime: Duration::from_secs(600) };
    let event = NewEvent { company: Some(acme()), event: EventContent::new(EventKind::Started) };
    store.put_consent(new, ConsentCaps { per_company: 5, per_actor: 5 }, event).await.unwrap();
    let found = store.find_consent(Environment::Cie, &state.hash()).await.unwrap().unwrap();
    assert!(matches!(found.verifier, Verifier::Readable(_)));

    let files = || fs::read_dir(file.directory()).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());

    assert!(files().any(|bytes| bytes.windows(4).any(|part| part == b"acme")), "this looks where rows are");
    for secret in [ACCESS, REFRESH, "canary", state.expose_secret()] {
        for bytes in files() {
            assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()), "{secret}");
        }
    }
}

#[tokio::test]
async fn another_key_of_a_known_name_is_refused() {
    let file = TestFile::new();
    rotated(&open(&file, OLD).await.unwrap(), &acme()).await;

    let refused = open(&file, &NEW.replace("new:", "old:")).await.unwrap_err();

    assert!(refused.contains("the key named old is another one here"), "{refused}");
    assert_eq!(version(&open(&file, OLD).await.unwrap(), &acme()).await, 1);
}

#[tokio::test]
async fn the_key_that_sealed_last_must_be_there_or_be_declared_lost() {
    let file = TestFile::new();
    rotated(&open(&file, OLD).await.unwrap(), &acme()).await;

    let refused = open(&file, NEW).await.unwrap_err();
    assert!(refused.contains("there is no key named old; add it, or, if it is lost, write old:lost"), "{refused}");

    let store = open(&file, &format!("{NEW},old:lost")).await.unwrap();
    let row = store.load(&key(&acme())).await.unwrap();
    let StoredTokens::Unreadable(error) = row.tokens else { panic!("{:?}", row.tokens) };
    assert_eq!(error.kind(), StoreErrorKind::Corrupt);
    rotated(&store, &acme()).await;
    assert_eq!(version(&store, &acme()).await, 2, "a new opt-in repairs the row");
}

#[tokio::test]
async fn a_new_first_key_is_recorded_when_it_encrypts_and_not_before() {
    let file = TestFile::new();
    rotated(&open(&file, OLD).await.unwrap(), &acme()).await;
    let both = open(&file, &format!("{NEW},{OLD}")).await.unwrap();

    let query = ListQuery { environment: Environment::Cie, listed_as: None, after: None, limit: 10 };
    assert_eq!(both.list(query).await.unwrap().items.len(), 1);
    assert_eq!(version(&both, &acme()).await, 1);
    assert_eq!(version(&open(&file, OLD).await.unwrap(), &acme()).await, 1, "reading records nothing");

    rotated(&both, &acme()).await;
    let refused = open(&file, OLD).await.unwrap_err();
    assert!(refused.contains("there is no key named new"), "{refused}");
}

#[tokio::test]
async fn a_host_that_encrypts_secrets_of_its_own_introduces_the_key() {
    let file = TestFile::new();
    open(&file, OLD).await.unwrap();

    open(&file, &format!("{NEW},{OLD}")).await.unwrap().introduce_keys().await.unwrap();

    let refused = open(&file, OLD).await.unwrap_err();
    assert!(refused.contains("there is no key named new"), "{refused}");
}

#[tokio::test]
async fn a_list_says_what_is_under_an_older_key() {
    let file = TestFile::new();
    let store = open(&file, OLD).await.unwrap();
    rotated(&store, &acme()).await;
    rotated(&store, &company("beta")).await;
    let store = open(&file, &format!("{NEW},{OLD}")).await.unwrap();
    rotated(&store, &company("beta")).await;

    let query = ListQuery { environment: Environment::Cie, listed_as: None, after: None, limit: 10 };
    let rows = store.list(query).await.unwrap().items;

    let older = rows.iter().map(|row| match row.tokens {
        StoredTokens::Sealed { with_older_key } => with_older_key,
        _ => panic!("{:?}", row.tokens),
    });
    assert_eq!(older.collect::<Vec<_>>(), [true, false]);
}

/// Keys that a test can replace.
#[derive(Clone, Debug)]
struct Exchanged(Arc<Mutex<KeySet>>);

#[async_trait]
impl KeySource for Exchanged {
    async fn load(&self) -> Result<KeySet, KeySourceError> {
        Ok(self.0.lock().await.clone())
    }
}

#[tokio::test]
async fn a_key_that_a_reload_brings_seals_and_is_known_from_then_on() {
    let file = TestFile::new();
    let source = Exchanged(Arc::new(Mutex::new(KeySet::parse(OLD).unwrap())));
    let keyring = Keyring::load(source.clone()).await.unwrap();
    let store = SqliteStore::open_with_clock(file.path(), keyring.clone(), file.clock.clone()).await.unwrap();
    rotated(&store, &acme()).await;

    *source.0.lock().await = KeySet::parse(&format!("{NEW},{OLD}")).unwrap();
    keyring.reload().await.unwrap();
    rotated(&store, &acme()).await;

    let refused = open(&file, OLD).await.unwrap_err();
    assert!(refused.contains("there is no key named new"), "{refused}");
    assert_eq!(version(&open(&file, &format!("{NEW},{OLD}")).await.unwrap(), &acme()).await, 2);
}
