//! Notifications of changes between processes. They are only hints to read the log.

use std::{
    fmt,
    future::{Future, poll_fn},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use batchsuite_auth::error::chain;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tokio_postgres::AsyncMessage;

use super::{
    address::Address,
    failure::{self, Result},
    pool::Shared,
    runtime::ConnectionRuntime,
};

/// How often a waiting reader reads the log when notifications arrive.
const LOOK: Duration = Duration::from_secs(5);
/// How often it does without notifications.
const LOOK_WITHOUT_HINTS: Duration = Duration::from_secs(1);
/// The minimum time between reads for waiting readers: under many writes, each read finds many changes.
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);
/// Announcements within this time are sent as one.
const COALESCE: Duration = Duration::from_millis(20);
/// The messenger's first and longest pause before it reconnects; the pause doubles.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// Sends and receives change notifications.
pub(super) struct Feed {
    channel: String,
    /// The messenger's address; `None`: there is no messenger, and waiting readers read more often.
    address: Option<Address>,
    runtime: ConnectionRuntime,
    deadline: Duration,
    /// Signalled when something may have changed.
    hints: watch::Sender<()>,
    /// Signalled when this process has changed something.
    announcements: watch::Sender<()>,
    /// Alive while the messenger runs. Dropped with the messenger's task, however that ends.
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

    /// Announces a commit. Readers in this process read at once, those in other processes after a notification.
    pub(super) fn announce(&self) {
        self.hints.send_replace(());
        self.run_messenger();
        self.announcements.send_replace(());
    }

    pub(super) fn follow(&self) -> watch::Receiver<()> {
        self.run_messenger();
        self.hints.subscribe()
    }

    /// Reserves the next time for a read and returns it.
    pub(super) fn next_look(&self) -> Instant {
        let mut last_look = self.last_look.lock().unwrap_or_else(PoisonError::into_inner);
        let next = last_look.map_or_else(Instant::now, |last| Instant::now().max(last + BETWEEN_LOOKS));
        *last_look = Some(next);
        next
    }

    pub(super) fn look_every(&self) -> Duration {
        if self.address.is_some() { LOOK } else { LOOK_WITHOUT_HINTS }
    }

    /// Starts the messenger on first use, and again if its runtime has ended.
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

/// Listens and notifies on its own connection: a notification inside a commit would make all commits of the database
/// wait for each other.
struct Messenger {
    address: Address,
    channel: String,
    deadline: Duration,
    hints: watch::Sender<()>,
    announcements: watch::Receiver<()>,
}

impl Messenger {
    async fn run(mut self) {
        let mut interruption = Interruption::default();
        // Runs until the store is dropped.
        while self.announcements.has_changed().is_ok() {
            let began = Instant::now();
            let ended = self.session().await;
            let (pause, is_first) = interruption.goes_on(began.elapsed());
            // Log once per interruption.
            if let (Err(error), true) = (ended, is_first) {
                tracing::warn!(error = %chain(&error), "change notifications are interrupted; changes are read at intervals");
            }
            sleep(pause).await;
        }
    }

    /// Runs until the connection ends or the store is dropped.
    async fn session(&mut self) -> Result<()> {
        let Self { address, channel, deadline, hints, announcements } = self;
        let (client, mut connection) = in_time(*deadline, address.config.connect(address.tls.clone())).await?;
        let hear = async {
            loop {
                match poll_fn(|context| connection.poll_message(context)).await {
                    Some(Ok(AsyncMessage::Notification(_))) => hints.send_replace(()),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(failure::of_database(&error)),
                    None => return Ok(()),
                }
            }
        };
        let tell = async {
            let (listen, notify) = (format!("LISTEN \"{channel}\""), format!("NOTIFY \"{channel}\""));
            in_time(*deadline, client.batch_execute(&listen)).await?;
            // Earlier announcements may have been missed; readers must look.
            hints.send_replace(());
            loop {
                // A connection that only listens does not notice that the server is gone.
                let next = match timeout(*deadline, announcements.changed()).await {
                    Err(_) => &listen,
                    Ok(Err(_)) => return Ok(()),
                    Ok(Ok(())) => {
                        sleep(COALESCE).await;
                        announcements.mark_unchanged();
                        &notify
                    }
                };
                in_time(*deadline, client.batch_execute(next)).await?;
            }
        };
        tokio::select! { ended = hear => ended, ended = tell => ended }
    }
}

/// The messenger's pauses while its connections fail or do not last.
#[derive(Default)]
struct Interruption {
    last_pause: Option<Duration>,
}

impl Interruption {
    /// After a connection that lasted this long: the pause before the next one, and whether the interruption is new.
    fn goes_on(&mut self, lasted: Duration) -> (Duration, bool) {
        let before = self.last_pause.filter(|_| lasted <= PAUSES.1);
        let pause = before.map_or(PAUSES.0, |pause| PAUSES.1.min(pause * 2));
        self.last_pause = Some(pause);
        (pause, before.is_none())
    }
}

/// The answer, if it arrives by the deadline.
async fn in_time<T>(deadline: Duration, answer: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T> {
    let answer = timeout(deadline, answer).await;
    let answer = answer.map_err(|_| failure::unavailable("the database did not answer in time"))?;
    answer.map_err(|error| failure::of_database(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(address: Option<Address>) -> Feed {
        Feed {
            channel: "changes".to_owned(),
            address,
            runtime: ConnectionRuntime::here(),
            deadline: Duration::from_secs(1),
            hints: watch::Sender::new(()),
            announcements: watch::Sender::new(()),
            messenger: Mutex::new(Weak::new()),
            last_look: Mutex::new(None),
        }
    }

    #[test]
    fn the_pauses_of_an_interruption_grow_and_begin_anew_after_a_connection_that_lasted() {
        let mut interruption = Interruption::default();
        let mut after = |lasted: Duration| interruption.goes_on(lasted);

        let (soon, long) = (Duration::ZERO, PAUSES.1 + Duration::from_millis(1));
        assert_eq!(
            [after(soon), after(soon), after(PAUSES.1)],
            [(PAUSES.0, true), (2 * PAUSES.0, false), (4 * PAUSES.0, false)]
        );
        for _ in 0..10 {
            after(soon);
        }
        assert_eq!(after(soon), (PAUSES.1, false));
        assert_eq!([after(long), after(soon)], [(PAUSES.0, true), (2 * PAUSES.0, false)]);
    }

    #[test]
    fn without_notifications_readers_look_more_often() {
        let address = Address::new("host=localhost").unwrap();

        assert_eq!(feed(Some(address)).look_every(), LOOK);
        assert_eq!(feed(None).look_every(), LOOK_WITHOUT_HINTS);
    }

    #[tokio::test(start_paused = true)]
    async fn the_looks_of_all_readers_keep_their_distance() {
        let (feed, now) = (feed(None), Instant::now());

        assert_eq!(
            [feed.next_look(), feed.next_look(), feed.next_look()],
            [now, now + BETWEEN_LOOKS, now + 2 * BETWEEN_LOOKS]
        );
        tokio::time::advance(LOOK).await;
        assert_eq!(feed.next_look(), now + LOOK);
    }

    #[test]
    fn debug_tells_whether_it_listens() {
        assert_eq!(format!("{:?}", feed(None)), r#"Feed { channel: "changes", listens: false }"#);
    }
}
