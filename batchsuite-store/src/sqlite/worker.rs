//! Threads that serve connections: no call blocks a runtime thread or waits without a deadline.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use batchsuite_auth::store::StoreError;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    Session, Shared,
    failure::{self, Result},
    file,
};

/// The maximum duration of a call. A statement waits at most half of it for another process.
const DEADLINE: Duration = Duration::from_secs(8);
/// The maximum number of concurrent calls that share a transaction, and so one fsync.
const MOST_AT_ONCE: usize = 64;

/// A call, run on the thread.
type Job = Box<dyn FnOnce(&mut Session<'_>) -> Answer + Send>;
/// Sends a call's answer, once the transaction has ended.
type Answer = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// A thread that serves one connection. It ends when the last clone is dropped, after the calls in progress.
#[derive(Clone, Debug)]
pub(super) struct Worker {
    /// `None` once closed, for all clones.
    jobs: Arc<Mutex<Option<mpsc::Sender<Job>>>>,
    /// Its sender is dropped when the connection is closed.
    closed: watch::Receiver<()>,
}

impl Worker {
    /// `begin` is the statement that begins a transaction.
    pub(super) fn start(connection: Connection, begin: &'static str, shared: Arc<Shared>) -> io::Result<Self> {
        let (jobs, waiting) = mpsc::channel(MOST_AT_ONCE);
        let (open, closed) = watch::channel(());
        let serve = move || {
            let (statements, transaction) = (HashMap::new(), Ok(()));
            serve(Session { connection: &connection, shared, statements, transaction }, begin, waiting);
            file::close(connection);
            drop(open);
        };
        thread::Builder::new().name("batchsuite-sqlite".to_owned()).spawn(serve)?;
        Ok(Self { jobs: Arc::new(Mutex::new(Some(jobs))), closed })
    }

    fn jobs(&self) -> MutexGuard<'_, Option<mpsc::Sender<Job>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the thread after the calls in progress, even if clones remain, and waits until the connection is closed.
    pub(super) async fn close(&self) {
        drop(self.jobs().take());
        let _ = self.closed.clone().changed().await;
    }

    /// Runs `work` on the thread, in a transaction. If the call is dropped or times out before it has begun, it does
    /// not happen; once begun, it happens completely or fails.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Session<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let Some(jobs) = self.jobs().clone() else { return Err(failure::unavailable("it is closed")) };
        let (sender, answered) = oneshot::channel();
        let job: Job = Box::new(move |session| {
            let answer = if sender.is_closed() { Err(failure::unavailable("dropped")) } else { session.attempt(work) };
            Box::new(move |ended| drop(sender.send(answer.and_then(|answer| ended.map(|()| answer)))))
        });
        let answer = async {
            jobs.send(job).await.ok()?;
            drop(jobs);
            answered.await.ok()
        };
        let answer = tokio::time::timeout(DEADLINE, answer).await.ok().flatten();
        answer.unwrap_or_else(|| Err(failure::unavailable("the disk did not answer in time")))
    }
}

fn serve(mut session: Session<'_>, begin: &str, mut waiting: mpsc::Receiver<Job>) {
    let mut jobs = Vec::with_capacity(MOST_AT_ONCE);
    while waiting.blocking_recv_many(&mut jobs, MOST_AT_ONCE) > 0 {
        let before = session.connection.total_changes();
        session.transaction = session.run(begin, []).map_err(failure::judge);
        let answers: Vec<Answer> = jobs.drain(..).map(|job| job(&mut session)).collect();
        let ended = session.end();
        // Not after a read: a reader waiting for the next change would end its own wait.
        if session.connection.total_changes() != before {
            session.shared.committed.send_replace(());
        }
        answers.into_iter().for_each(|answer| answer(ended.clone()));
    }
}

impl Session<'_> {
    /// Runs all of `work`, or none of it.
    fn attempt<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T, StoreError> {
        self.transaction.clone()?;
        let done = self.run("SAVEPOINT call", []).and_then(|()| work(self));
        let done = done.and_then(|done| self.run("RELEASE call", []).map(|()| done)).map_err(failure::judge);
        if done.is_err() && !self.connection.is_autocommit() {
            self.run("ROLLBACK TO call", []).map_err(failure::judge)?;
        }
        // Some errors roll back the whole transaction, including the calls before this one.
        if self.connection.is_autocommit() {
            self.transaction = Err(failure::unavailable("the transaction was rolled back"));
        }
        done
    }

    /// Ends the transaction. `Ok` if it was committed.
    fn end(&mut self) -> Result<(), StoreError> {
        let ended = self.transaction.clone().and_then(|()| self.run("COMMIT", []).map_err(failure::judge));
        if !self.connection.is_autocommit() {
            // If this fails too, the next BEGIN fails, reports the cause, and is rolled back again.
            let _ = self.run("ROLLBACK", []);
        }
        ended
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use batchsuite_auth::{clock::SystemClock, store::StoreErrorKind};
    use tokio::{join, sync::watch, task::block_in_place};

    use super::*;
    use crate::keyring::{KeySet, Keyring, StaticKeySource};

    const ALL: &str = "SELECT number FROM numbers ORDER BY number";

    /// A worker on a database with one empty table.
    async fn worker() -> Worker {
        worker_and_listener().await.0
    }

    /// The same, with a listener to its commits.
    async fn worker_and_listener() -> (Worker, watch::Receiver<()>) {
        let keys = KeySet::parse("test:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap();
        let keyring = Keyring::load(StaticKeySource::new(keys)).await.unwrap();
        let (committed, listener) = watch::channel(());
        let shared = Shared { path: "memory".into(), clock: Box::new(SystemClock), keyring, committed };
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE numbers (number INTEGER NOT NULL)").unwrap();
        (Worker::start(connection, "BEGIN IMMEDIATE", Arc::new(shared)).unwrap(), listener)
    }

    /// Inserts the number; returns the table's content, committed or not.
    async fn insert(worker: &Worker, number: Option<i64>) -> Result<Vec<i64>, StoreError> {
        let insert = move |session: &mut Session<'_>| {
            session.run("INSERT INTO numbers VALUES (?1)", [number.unwrap_or(-1)])?;
            session.run("INSERT INTO numbers VALUES (?1)", [number])?;
            session.rows(ALL, [], |row| Ok(row.get(0)?))
        };
        worker.call(insert).await
    }

    async fn numbers(worker: &Worker) -> Vec<i64> {
        worker.call(|session| session.rows(ALL, [], |row| Ok(row.get(0)?))).await.unwrap()
    }

    /// Keeps the thread busy until the returned sender is dropped.
    async fn hold(worker: &Worker) -> Sender<()> {
        let ((release, held), (begin, begun)) = (channel::<()>(), channel());
        let worker = worker.clone();
        tokio::spawn(async move {
            let wait = move |_: &mut Session<'_>| {
                begin.send(()).unwrap();
                Ok(held.recv().is_err())
            };
            worker.call(wait).await
        });
        block_in_place(|| begun.recv().unwrap());
        release
    }

    #[tokio::test]
    async fn a_transaction_that_wrote_is_heard_and_one_that_read_is_not() {
        let (worker, listener) = worker_and_listener().await;

        numbers(&worker).await;
        assert!(!listener.has_changed().unwrap());
        insert(&worker, Some(1)).await.unwrap();
        assert!(listener.has_changed().unwrap());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn of_calls_that_come_at_once_one_that_fails_spares_the_others() {
        let worker = worker().await;
        let release = hold(&worker).await;
        let release = async { drop(release) };

        let (one, broken, three, ()) =
            join!(insert(&worker, Some(1)), insert(&worker, None), insert(&worker, Some(3)), release);

        assert_eq!(one.unwrap(), [1, 1]);
        assert_eq!(broken.unwrap_err().kind(), StoreErrorKind::Misconfigured);
        assert_eq!(three.unwrap(), [1, 1, 3, 3]);
        assert_eq!(numbers(&worker).await, [1, 1, 3, 3]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn when_the_transaction_is_lost_no_call_in_it_is_told_that_it_succeeded() {
        let worker = worker().await;
        let release = hold(&worker).await;
        let lose = worker.call(|session| Ok(session.connection.execute_batch("ROLLBACK")?));
        let release = async { drop(release) };

        let (before, lost, after, ()) = join!(insert(&worker, Some(1)), lose, insert(&worker, Some(3)), release);

        lost.unwrap_err();
        for answer in [before, after] {
            assert_eq!(answer.unwrap_err().kind(), StoreErrorKind::Unavailable);
        }
        assert!(numbers(&worker).await.is_empty());
        insert(&worker, Some(4)).await.unwrap();
    }

    #[tokio::test]
    async fn a_commit_that_fails_leaves_no_transaction_open() {
        let worker = worker().await;
        let tables = "CREATE TABLE parents (id INTEGER PRIMARY KEY);
            CREATE TABLE children (parent REFERENCES parents DEFERRABLE INITIALLY DEFERRED)";
        worker.call(|session| Ok(session.connection.execute_batch(tables)?)).await.unwrap();

        let orphan = worker.call(|session| session.run("INSERT INTO children VALUES (1)", [])).await;

        assert_eq!(orphan.unwrap_err().kind(), StoreErrorKind::Misconfigured);
        insert(&worker, Some(2)).await.unwrap();
        assert_eq!(numbers(&worker).await, [2, 2]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_call_that_was_dropped_before_it_began_does_not_happen() {
        let worker = worker().await;
        let release = hold(&worker).await;

        tokio::select! {
            biased;
            _ = insert(&worker, Some(1)) => unreachable!("the thread is busy"),
            () = tokio::task::yield_now() => {}
        }
        drop(release);

        assert!(numbers(&worker).await.is_empty());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_thread_that_is_stuck_fails_a_call_in_time() {
        let worker = worker().await;
        let release = hold(&worker).await;
        let caller = worker.clone();

        // In a runtime whose time jumps to the deadline.
        let late = tokio::task::spawn_blocking(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            runtime.block_on(insert(&caller, Some(1)))
        });

        assert_eq!(late.await.unwrap().unwrap_err().kind(), StoreErrorKind::Unavailable);
        drop(release);
        assert!(numbers(&worker).await.is_empty());
    }
}
