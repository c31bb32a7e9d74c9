//! The change feed: the log is the truth, notifications are a hint.

use std::{
    fmt,
    future::{Future, poll_fn},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use batchsuite_auth::{
    CompanyId, Environment,
    error::chain,
    events::EventId,
    store::{Changes, StoreError},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_postgres::AsyncMessage;

use super::{
    PostgresStore,
    address::Address,
    database::Parameter,
    failure,
    pool::Shared,
    row::{Columns, signed},
    runtime::{AbortOnDrop, ConnectionRuntime},
};
use crate::left_out::LeftOut;

/// How often a waiting reader looks without a hint, if it is given hints.
const LOOK: Duration = Duration::from_secs(5);
/// And if it is not.
const LOOK_WITHOUT_HINTS: Duration = Duration::from_secs(1);
/// The least time between two looks of waiting readers: under many writes, each look finds many changes.
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);
/// How long a change waits for a writer before it that has not ended. (A statement takes milliseconds.)
const PATIENCE_WITH_WRITERS: Duration = Duration::from_secs(1);
/// Announcements that come within this are sent as one.
const COALESCE: Duration = Duration::from_millis(20);
/// The pause before the messenger connects again, doubled from the one to the other.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

impl PostgresStore {
    pub(super) async fn read_changes(
        &self,
        environment: Environment,
        after: Option<EventId>,
        wait: Duration,
    ) -> Result<Changes, StoreError> {
        let Some(after) = after else {
            return Ok(Changes { changed: Vec::new(), cursor: self.horizon().await?.settled });
        };
        // Subscribed before looking: what is written in between wakes the wait.
        let mut hints = self.0.feed.follow();
        let began = Instant::now();
        let end = began.checked_add(wait);
        loop {
            if !wait.is_zero() {
                sleep_until(self.0.feed.next_look()).await;
            }
            let (settled, ahead) = self.look(environment, after).await?;
            let now = Instant::now();
            let is_over = end.is_some_and(|end| end <= now);
            // Also for an event that announces nothing: a reader of the log reads on then.
            if !settled.changed.is_empty() || settled.cursor > after {
                return Ok(settled);
            }
            // Something changed behind a writer that has not ended. Its readers hear of it all the same; the cursor stays
            // below that writer, so they hear of it again, and not without a pause.
            let pause = began + PATIENCE_WITH_WRITERS;
            if is_over || (!ahead.is_empty() && pause <= now) {
                return Ok(Changes { changed: ahead, ..settled });
            }
            let next_look = now + self.0.feed.look_every();
            let next_look = if ahead.is_empty() { next_look } else { next_look.min(pause) };
            tokio::select! {
                _ = hints.changed() => {}
                () = sleep_until(end.map_or(next_look, |end| end.min(next_look))) => {}
            }
        }
    }

    /// What changed up to where the log is settled, and what changed beyond.
    async fn look(
        &self,
        environment: Environment,
        after: EventId,
    ) -> Result<(Changes, Vec<(CompanyId, EventId)>), StoreError> {
        let Horizon { latest, settled } = self.horizon().await?;
        // Beyond the end of the log: it was restored, or lost its latest writes with a fail-over, and will give out the same
        // numbers again. So everything may have changed.
        let after = if after > latest { EventId::START } else { after };
        let parameters: &[Parameter<'_>] = &[&environment.name(), &signed(after.number()), &signed(latest.number())];
        let rows = self.0.database.rows(&self.0.statements.changes, parameters).await?;
        let change = |row| {
            let mut columns = Columns::of(row);
            Ok((columns.company()?, EventId::new(columns.number()?)))
        };
        let mut left_out = LeftOut::of("change");
        let readable = |row| change(row).inspect_err(|error| left_out.add(&"of a company", error)).ok();
        let changed: Vec<_> = rows.iter().filter_map(readable).collect();
        let (changed, ahead) = changed.into_iter().partition(|(_, change)| *change <= settled);
        Ok((Changes { changed, cursor: after.max(settled) }, ahead))
    }

    /// How far the log goes, for the *next* statement.
    pub(super) async fn horizon(&self) -> Result<Horizon, StoreError> {
        let row = self.0.database.one(&self.0.statements.horizon, &[]).await?;
        let mut columns = Columns::of(&row);
        Ok(Horizon { latest: EventId::new(columns.number()?), settled: EventId::new(columns.number()?) })
    }
}

/// How far the log goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Horizon {
    /// The latest number that was drawn.
    latest: EventId,
    /// Up to here, everything that will ever be in the log is in it.
    pub(super) settled: EventId,
}

/// Tells and hears that something changed.
pub(super) struct Feed {
    channel: String,
    /// Where the messenger connects to; `None`: there is none, and waiting readers look more often.
    address: Option<Address>,
    runtime: ConnectionRuntime,
    deadline: Duration,
    /// Sent to when something may have changed.
    hints: watch::Sender<()>,
    /// Sent to when this process has changed something.
    announcements: watch::Sender<()>,
    /// Whether the messenger is at work. It is dropped with the messenger's task, whatever ends that.
    messenger: Mutex<Weak<()>>,
    last_look: Mutex<Option<Instant>>,
}

impl Feed {
    pub(super) fn new(channel: String, address: Option<Address>, shared: &Shared) -> Self {
        Self {
            channel,
            address,
            runtime: shared.runtime.clone(),
            deadline: shared.deadline,
            hints: watch::Sender::new(()),
            announcements: watch::Sender::new(()),
            messenger: Mutex::new(Weak::new()),
            last_look: Mutex::new(None),
        }
    }

    /// Something was committed. Readers of this process look at once, those of others after a notification.
    pub(super) fn announce(&self) {
        self.hints.send_replace(());
        self.run_messenger();
        self.announcements.send_replace(());
    }

    fn follow(&self) -> watch::Receiver<()> {
        self.run_messenger();
        self.hints.subscribe()
    }

    /// When the next look may be, which is the caller's from now on.
    fn next_look(&self) -> Instant {
        let mut last_look = self.last_look.lock().unwrap_or_else(PoisonError::into_inner);
        let next = last_look.map_or_else(Instant::now, |last| Instant::now().max(last + BETWEEN_LOOKS));
        *last_look = Some(next);
        next
    }

    fn look_every(&self) -> Duration {
        if self.address.is_some() { LOOK } else { LOOK_WITHOUT_HINTS }
    }

    /// It is started with the first use, and again if the runtime that ran it has ended.
    fn run_messenger(&self) {
        let Some(address) = &self.address else { return };
        let mut messenger = self.messenger.lock().unwrap_or_else(PoisonError::into_inner);
        if messenger.strong_count() == 0 {
            let at_work = Arc::new(());
            *messenger = Arc::downgrade(&at_work);
            let run = Messenger {
                address: address.clone(),
                channel: self.channel.clone(),
                deadline: self.deadline,
                hints: self.hints.clone(),
                announcements: self.announcements.subscribe(),
            };
            self.runtime.spawn(async move {
                run.run().await;
                drop(at_work);
            });
        }
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").field("channel", &self.channel).field("listens", &self.address.is_some()).finish()
    }
}

/// Listens and notifies, on a connection of its own: a notification inside a commit would make all commits of the
/// database wait for each other.
struct Messenger {
    address: Address,
    channel: String,
    deadline: Duration,
    hints: watch::Sender<()>,
    announcements: watch::Receiver<()>,
}

/// How a session of the messenger ended.
enum Ended {
    /// The store was dropped.
    Dropped,
    /// The server closed it.
    Closed,
}

impl Messenger {
    async fn run(mut self) {
        let mut pause = PAUSES.0;
        let mut is_told = false;
        loop {
            let began = Instant::now();
            let ended = self.session().await;
            if began.elapsed() > PAUSES.1 {
                (pause, is_told) = (PAUSES.0, false);
            }
            match ended {
                Ok(Ended::Dropped) => return,
                Ok(Ended::Closed) => {}
                // Once until it is better.
                Err(error) if !is_told => {
                    is_told = true;
                    tracing::warn!(error = %chain(&error), "no notifications of changes for now; they are read at intervals");
                }
                Err(_) => {}
            }
            sleep(pause).await;
            if self.announcements.has_changed().is_err() {
                return;
            }
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    async fn session(&mut self) -> Result<Ended, StoreError> {
        let (client, mut connection) = self.in_time(self.address.config.connect(self.address.tls.clone())).await?;
        let hints = self.hints.clone();
        let mut listener = tokio::spawn(async move {
            loop {
                match poll_fn(|context| connection.poll_message(context)).await {
                    Some(Ok(AsyncMessage::Notification(_))) => hints.send_replace(()),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(error),
                    None => return Ok(()),
                }
            }
        });
        let _abort = AbortOnDrop::of(&listener);
        let listen = format!("LISTEN \"{}\"", self.channel);
        self.in_time(client.batch_execute(&listen)).await?;
        // What was announced before that is heard now.
        self.hints.send_replace(());
        let notify = format!("NOTIFY \"{}\"", self.channel);
        loop {
            let next = tokio::select! {
                announced = self.announcements.changed() => {
                    if announced.is_err() {
                        return Ok(Ended::Dropped);
                    }
                    sleep(COALESCE).await;
                    self.announcements.mark_unchanged();
                    &notify
                }
                // A connection that only listens does not notice that the server is gone.
                () = sleep(self.deadline) => &listen,
                ended = &mut listener => {
                    let ended = ended.unwrap_or(Ok(())).map(|()| Ended::Closed);
                    return ended.map_err(|error| failure::of_database(&error));
                }
            };
            self.in_time(client.batch_execute(next)).await?;
        }
    }

    /// An answer, if it comes by the deadline.
    async fn in_time<T>(
        &self,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, StoreError> {
        let answer = timeout(self.deadline, answer).await;
        let answer = answer.map_err(|_| failure::unavailable("the database did not answer in time"))?;
        answer.map_err(|error| failure::of_database(&error))
    }
}
