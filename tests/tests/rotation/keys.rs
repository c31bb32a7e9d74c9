//! A new key: what was sealed with an older one is sealed again, over a store that seals.

use std::sync::Arc;

use batchsuite_auth::{
    Client, Environment, Reencrypted,
    fake_ups::FakeUps,
    store::{RowKey, Store as _, StoredTokens},
};
use batchsuite_store::{
    SqliteStore,
    keyring::{KeySet, Keyring, StaticKeySource},
};
use batchsuite_tests::{FlakyStore, Gate, Process, companies, opt_in, sqlite::TestFile};

const OLD: &str = "old:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const NEW: &str = "new:HxABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4=";

async fn open(file: &TestFile, keys: &str) -> SqliteStore {
    let keyring = Keyring::load(StaticKeySource::new(KeySet::parse(keys).unwrap())).await.unwrap();
    SqliteStore::open_with_clock(file.path(), keyring, file.clock.clone()).await.unwrap()
}

async fn process(ups: &FakeUps, file: &TestFile, keys: &str) -> Process {
    let store = Arc::new(FlakyStore::over(open(file, keys).await));
    let client = Client::new(ups.client_id(), ups.client_secret());
    Process::start(ups, client, store, Arc::new(Gate::before(ups.in_process())), |builder| builder.without_keeper())
}

async fn reencrypted(process: &Process) -> (u64, Vec<String>) {
    let Reencrypted { companies, unreadable, .. } = process.auth.reencrypt().await.unwrap();
    (companies, unreadable.iter().map(|company| company.as_str().to_owned()).collect())
}

#[tokio::test]
async fn after_a_re_encryption_the_old_key_is_needed_for_nothing_that_could_be_read() {
    let (file, all) = (TestFile::new(), companies(0..4));
    let ups = FakeUps::builder().manual_clock(file.clock.clone()).start().await;
    let before = process(&ups, &file, OLD).await;
    for company in &all {
        opt_in(&before.auth, &ups, company).await;
    }
    let damage = "UPDATE tokens SET access_token = refresh_token
                  WHERE id = (SELECT id FROM grants WHERE company = 'company-0001')";
    assert_eq!(file.connection().execute(damage, ()).unwrap(), 1);
    let both = process(&ups, &file, &format!("{NEW},{OLD}")).await;
    let unreadable = || vec!["company-0001".to_owned()];

    assert_eq!(reencrypted(&both).await, (3, unreadable()));
    assert_eq!(reencrypted(&both).await, (0, unreadable()), "the others are sealed with the new key");

    let new = open(&file, &format!("{NEW},old:lost")).await;
    for (number, company) in all.into_iter().enumerate() {
        let row = new.load(&RowKey::company(Environment::Cie, company)).await.unwrap();
        assert_eq!(matches!(row.tokens, StoredTokens::Readable(_)), number != 1, "{row:?}");
    }
}
