use std::sync::OnceLock;

use async_trait::async_trait;
use batchsuite_auth::test_util::{
    ManualClock,
    store_contract::{self, Clause, Harness, Part},
};
use batchsuite_store::keyring::{KeySet, StaticKeySource};

/// A store in a new directory, on a manual clock.
#[derive(Debug)]
struct InDirectory {
    directory: PathBuf,
    clock: ManualClock,
    store: OnceLock<FileStore>,
}

impl InDirectory {
    fn new() -> Self {
        let directory = std::env::temp_dir().join(format!("file-store-{}", ConsentId::random()));
        Self { directory, clock: ManualClock::new(), store: OnceLock::new() }
    }

    /// Opens the store. Each call reads the directory anew.
    async fn store(&self) -> FileStore {
        let keys = KeySet::parse("2026-11:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").expect("a key");
        let keyring = Keyring::load(StaticKeySource::new(keys)).await.expect("a keyring");
        FileStore::open(&self.directory, keyring, self.clock.clone()).expect("a directory")
    }
}

impl Drop for InDirectory {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.directory);
    }
}

#[async_trait]
impl Harness for InDirectory {
    async fn fresh(&self) -> Arc<dyn Store> {
        let store = self.store().await;
        Arc::new(self.store.get_or_init(|| store).clone())
    }

    async fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    async fn set_back(&self, by: Duration) {
        self.clock.set(earlier(self.clock.now(), by));
    }

    async fn damage(&self, key: &RowKey, part: Part) -> bool {
        let (store, key) = (self.store.get().expect("a store"), key.clone());
        let damaged = store.run(key.environment, move |verb| {
            if part == Part::Event {
                let of_row = |(_, event): &(_, Option<Event>)| event.as_ref().is_some_and(|e| e.company == key.company);
                let Some((id, _)) = verb.log().filter(of_row).last() else {
                    return Err(failed(io::Error::other("none")));
                };
                return verb.put("event", &format!("{:020}", id.number()), &"of a later release");
            }
            let mut row = verb.row(&key)?;
            match part {
                Part::Document => row.document = Some("[]".to_owned()),
                Part::Tokens => (row.access_token, row.refresh_token) = (row.refresh_token, row.access_token),
                Part::Event => {}
            }
            verb.put("row", key.name(), &row)
        });
        damaged.await.is_ok()
    }
}
