//! The SQLite store, for one machine.

mod consents;
mod failure;
mod file;
mod grants;
mod log;
mod store;
#[cfg(test)]
mod tests;
mod worker;

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use batchsuite_auth::{
    clock::{Clock, Timestamp},
    ids::Revision,
    store::{StoreError, StoreErrorKind},
};
use rusqlite::{Connection, Params, Row, Statement};
use tokio::sync::watch;

use self::failure::Result;
use crate::{
    keyring::{KeySet, Keyring},
    seal::{KnownKey, exchanged_key, missing_key},
};

pub use self::store::SqliteStore;

/// A connection and its prepared statements, owned by one thread.
struct Session<'c> {
    connection: &'c Connection,
    shared: Arc<Shared>,
    statements: HashMap<String, Statement<'c>>,
    /// Whether a transaction is open, or why not.
    transaction: Result<(), StoreError>,
}

impl Session<'_> {
    /// The store's time, at stored precision.
    fn now(&self) -> Timestamp {
        timestamp(micros(self.shared.clock.now()))
    }

    /// Runs a statement to its end and returns its rows.
    fn rows<T>(&mut self, sql: &str, with: impl Params, read: impl Fn(&Row<'_>) -> Result<T>) -> Result<Vec<T>> {
        if !self.statements.contains_key(sql) {
            self.statements.insert(sql.to_owned(), self.connection.prepare(sql)?);
        }
        let statement = self.statements.get_mut(sql).ok_or("a statement is missing")?;
        statement.query_and_then(with, read)?.collect()
    }

    /// The only row that a statement returns, if any.
    fn row<T>(&mut self, sql: &str, with: impl Params, read: impl Fn(&Row<'_>) -> Result<T>) -> Result<Option<T>> {
        Ok(self.rows(sql, with, read)?.pop())
    }

    /// Runs a statement that returns nothing.
    fn run(&mut self, sql: &str, with: impl Params) -> Result<()> {
        self.rows(sql, with, |_| Ok(())).map(drop)
    }

    /// The process's keys, if they agree with the file's, and the keys that the file records.
    fn compare_keys(&mut self) -> Result<(Arc<KeySet>, Vec<KnownKey>)> {
        let keys = self.shared.keyring.keys();
        let known = "SELECT name, check_value FROM keys ORDER BY since";
        let known = self.rows(known, [], |row| Ok(KnownKey { name: row.get(0)?, check_value: row.get(1)? }))?;
        match exchanged_key(&known, &keys).or_else(|| missing_key(&known, &keys)) {
            Some(why) => Err(failure::new(StoreErrorKind::Misconfigured, why).into()),
            None => Ok((keys, known)),
        }
    }

    /// The keys for encryption, if they agree with the file's. The file then records the primary key.
    fn sealing_keys(&mut self) -> Result<Arc<KeySet>> {
        let (keys, known) = self.compare_keys()?;
        let name = keys.primary().as_str();
        if known.last().is_none_or(|latest| latest.name != name) {
            let introduce = "INSERT INTO keys (name, check_value, since)
                VALUES (?1, ?2, (SELECT ifnull(max(since), 0) + 1 FROM keys))
                ON CONFLICT (name) DO UPDATE SET since = excluded.since";
            self.run(introduce, (name, keys.check_value(name).map(<[u8; 16]>::as_slice)))?;
        }
        Ok(keys)
    }
}

/// State shared by the store and its threads.
#[derive(Debug)]
struct Shared {
    path: PathBuf,
    clock: Box<dyn Clock>,
    keyring: Keyring,
    /// Signalled after every transaction that wrote.
    committed: watch::Sender<()>,
}

fn micros(time: Timestamp) -> i64 {
    time.timestamp_micros()
}

fn timestamp(micros: i64) -> Timestamp {
    Timestamp::from_timestamp_micros(micros).unwrap_or(Timestamp::MAX_UTC)
}

/// A time column.
fn time(row: &Row<'_>, column: &str) -> Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(timestamp))
}

/// A column with the 128 bits of an id.
fn bits(row: &Row<'_>, column: &str) -> Result<u128> {
    Ok(u128::from_be_bytes(row.get(column)?))
}

/// The epoch and version columns.
fn revision(row: &Row<'_>) -> Result<Revision> {
    Ok(Revision { epoch: row.get("epoch")?, version: row.get("version")? })
}
