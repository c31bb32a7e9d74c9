//! The SQLite store beside the Postgres store: the same operations on the same number of companies.

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

use batchsuite_auth::{CompanyId, Environment, ids::Revision, store::GrantKey};
use batchsuite_benches::{
    companies::{ACCESS_LENGTH, REFRESH_LENGTH, text_of},
    life::Life,
    measure::{median, nanoseconds, now},
    report,
};
use batchsuite_store::{
    SqliteStore,
    keyring::{Binding, Keyring},
};
use batchsuite_tests::postgres::keyring;
use rusqlite::{Connection, params};

use super::{
    Bed, ours,
    pgbench::Mode,
    rounds::{FIRST, ROW, Verb, Work},
    tables::AGE,
};

impl Bed {
    /// The rows of SQLite. Each round uses untouched companies.
    pub(super) fn sqlite(&mut self) {
        let file = self.runtime.block_on(File::filled(self.many.companies()));
        self.open(&file);
        let store = self.runtime.block_on(file.opened());
        let mut turn = 0;
        for (row, verb) in [
            ("store/sqlite/load", Verb::Load),
            ("store/sqlite/claim", Verb::Claim),
            ("store/sqlite/commit", Verb::Commit),
        ] {
            // Half of Postgres's share, because a single writer takes longer.
            let share = self.share(verb) / 2;
            let (mut ours, mut reference) = (Vec::new(), Vec::new());
            for round in 0..=self.rounds(verb) {
                let work = Work { verb, share, companies: file.companies.clone(), turn, version: 1 };
                turn += share * super::CLIENTS;
                let time = self.runtime.block_on(ours::run(&store, &self.saves, &work));
                let next = self.runtime.block_on(self.many.next(&self.server, verb, share));
                let postgres = self.store("many", Mode::Prepared);
                let beside = self.runtime.block_on(async {
                    ours::connect(&postgres).await;
                    ours::run(&postgres, &self.saves, &next).await
                });
                // The first round warms up.
                if round > 0 {
                    ours.push(time);
                    reference.push(beside);
                }
            }
            super::told(row, &ours, &reference);
            report::ratio(row, median(ours), median(reference));
        }
    }

    fn open(&self, file: &File) {
        let (mut ours, mut reference) = (Vec::new(), Vec::new());
        for _ in 0..11 {
            let start = now();
            let store = self.runtime.block_on(file.opened());
            ours.push(nanoseconds(start.elapsed(), 1));
            drop(store);
            let start = now();
            let store = self.store("many", Mode::Prepared);
            self.runtime.block_on(store.check()).expect("the store is fine");
            reference.push(nanoseconds(start.elapsed(), 1));
        }
        report::ratio("store/sqlite/open", median(ours), median(reference));
    }
}

/// A database in a temporary directory, which is removed on drop.
struct File {
    directory: PathBuf,
    companies: Range<u64>,
}

impl File {
    /// A database with this many companies, inserted directly and not through the store.
    async fn filled(companies: u64) -> Self {
        let directory = std::env::temp_dir().join(format!("batchsuite-bench-{}", std::process::id()));
        fs::create_dir(&directory).expect("a directory");
        let file = Self { directory, companies: 0..companies };
        drop(file.opened().await);
        let life = Life::begun_ago(AGE).await;
        let connect = life.step("connect");
        fill(&file.path(), companies, &keyring().await, connect.document.as_str(), connect.listed_as.name())
            .expect("the file can be filled");
        file
    }

    fn path(&self) -> PathBuf {
        self.directory.join("batchsuite.db")
    }

    async fn opened(&self) -> SqliteStore {
        SqliteStore::open(self.path(), keyring().await).await.expect("a store")
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // If this fails, the rest stays among the temporary files.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn fill(path: &Path, companies: u64, keyring: &Keyring, document: &str, listed_as: &str) -> rusqlite::Result<()> {
    let mut connection = Connection::open(path)?;
    let transaction = connection.transaction()?;
    {
        let mut grant = transaction.prepare(
            "INSERT INTO grants (id, environment, company, number, epoch, version, change, listed_as, wake_at, wake_if_used, document)
             VALUES (?1, 'cie', ?2, ?3, 1, 1, ?1, ?4, (unixepoch() + 86400) * 1000000, (unixepoch() + 1800) * 1000000, ?5)",
        )?;
        let mut tokens =
            transaction.prepare("INSERT INTO tokens (id, access_token, refresh_token) VALUES (?1, ?2, ?3)")?;
        let revision = Revision { epoch: 1, version: 1 };
        for number in 0..companies {
            let company = CompanyId::new((FIRST + number).to_string()).expect("a valid name");
            let key = GrantKey { environment: Environment::Cie, company };
            let seal = |binding, length| keyring.seal(&binding, text_of(length).as_bytes()).expect("a ciphertext");
            grant.execute(params![number + 1, key.company.as_str(), ROW, listed_as, document])?;
            let access = seal(Binding::access_token(&key, revision), ACCESS_LENGTH);
            let refresh = seal(Binding::refresh_token(&key, revision), REFRESH_LENGTH);
            tokens.execute(params![number + 1, access, refresh])?;
        }
    }
    transaction.commit()
}
