//! The loop of a delivery: take the lease, read, hand over, move the cursor.

use std::{
    convert::Infallible,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    handle::{DeliveryEnded, DeliveryHandle, HANDLER_OF, Here, Progress},
    handler::{EventHandler, Gap, HandlerError, Reason},
    lease::{Lease, Lost},
    trouble::Trouble,
};
use crate::{
    clock::Clock,
    events::{Event, EventId},
    rotation::Engine,
    store::{EventPage, StoreError, StoreErrorKind},
};

/// How long a handler may work before the log says so.
const SLOW: Duration = Duration::from_secs(60);

/// Begins a delivery in a task of its own.
pub(crate) fn begin(engine: &Engine, consumer: &str, handler: Arc<dyn EventHandler>) -> DeliveryHandle {
    let name: Arc<str> = consumer.into();
    // Not the engine: a delivery must not keep an authenticator alive after its last handle is dropped.
    let (rotation, stopped) = (&engine.rotation, engine.tasks.quiet().child_token());
    let (progress, shown) = watch::channel(Progress::default());
    let run = Run {
        lease: Lease::new(Arc::clone(&rotation.store), rotation.environment, consumer, &rotation.policy),
        handler,
        trouble: Trouble::of(Arc::clone(&name)),
        consumer: Arc::clone(&name),
        growth: engine.tasks.log_growth(),
        interval: rotation.policy.feed_interval,
        standby: rotation.policy.lease / 2,
        stopped: stopped.clone(),
        progress,
        clock: Arc::clone(&rotation.clock),
        cursor: EventId::START,
    };
    let handle = DeliveryHandle::new(name, rotation.environment, Arc::clone(&rotation.clock), stopped, shown);
    match engine.tasks.admit() {
        Some(_admitted) => drop(engine.tasks.spawn(run.until_stopped())),
        None => run.ended(DeliveryEnded::Stopped),
    }
    handle
}

struct Run {
    consumer: Arc<str>,
    handler: Arc<dyn EventHandler>,
    lease: Lease,
    trouble: Trouble,
    growth: watch::Receiver<u64>,
    interval: Duration,
    /// The longest pause between two tries to take a delivery that another process has.
    standby: Duration,
    stopped: CancellationToken,
    progress: watch::Sender<Progress>,
    clock: Arc<dyn Clock>,
    /// The last event that needs no more work. The stored cursor may be behind.
    cursor: EventId,
}

/// Why this process does not go on with a delivery.
enum Over {
    /// Another process has it.
    Lost,
    Ended(DeliveryEnded),
}

impl From<Lost> for Over {
    fn from(Lost: Lost) -> Self {
        Self::Lost
    }
}

/// What a handler is given.
#[derive(Clone, Debug)]
enum Work {
    Event(Event),
    Gap(Gap),
}

impl Work {
    /// The cursor once the handler has succeeded.
    fn done_up_to(&self) -> EventId {
        match self {
            Self::Event(event) => event.id,
            Self::Gap(gap) => gap.up_to,
        }
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(event) => write!(f, "event {} ({})", event.id.number(), event.kind),
            Self::Gap(gap) => gap.fmt(f),
        }
    }
}

impl Run {
    async fn until_stopped(mut self) {
        let ended = loop {
            let over = match self.take().await {
                Err(over) => over,
                Ok(()) => {
                    let Err(over) = self.deliver().await;
                    if let Over::Ended(_) = over {
                        self.lease.end(self.cursor).await;
                    }
                    self.progress.send_modify(|progress| progress.here = None);
                    over
                }
            };
            if let Over::Ended(ended) = over {
                break ended;
            }
        };
        self.ended(ended);
    }

    fn is_here(&self, here: Here) {
        self.progress.send_modify(|progress| progress.here = Some(here));
    }

    fn ended(&self, ended: DeliveryEnded) {
        self.progress.send_modify(|progress| progress.ended = Some(ended));
    }

    /// Waits until this process has the delivery.
    async fn take(&mut self) -> Result<(), Over> {
        loop {
            self.unless_stopped()?;
            let pause = match self.lease.take().await {
                Ok(taken) => {
                    self.progress.send_if_modified(|progress| !std::mem::replace(&mut progress.begun, true));
                    if let Some(cursor) = taken {
                        self.cursor = cursor;
                        self.is_here(Here::default());
                        return Ok(());
                    }
                    None
                }
                Err(pause) => Some(pause),
            };
            tokio::select! {
                biased;
                () = self.stopped.cancelled() => {}
                () = standby(&mut self.growth, pause, self.interval, self.standby) => {}
            }
        }
    }

    /// Delivers events until this process loses the delivery or ends it.
    async fn deliver(&mut self) -> Result<Infallible, Over> {
        loop {
            self.unless_stopped()?;
            if self.lease.is_due() {
                self.lease.store(self.cursor).await?;
            }
            // Before the read, so that what is written during the read wakes the wait.
            self.growth.mark_unchanged();
            let answer = self.lease.events(self.cursor).await;
            if let Err(StoreErrorKind::Pruned { up_to }) = answer.as_ref().map_err(StoreError::kind) {
                self.report_gap(up_to, Reason::Pruned).await?;
                continue;
            }
            match self.lease.seen(answer) {
                Err(pause) => self.wait(sleep(pause)).await?,
                Ok(page) if page.items.is_empty() && page.unreadable.is_empty() => {
                    self.cursor = page.next.unwrap_or(self.cursor).max(self.cursor);
                    let (mut growth, interval) = (self.growth.clone(), self.interval);
                    self.wait(async move { drop(timeout(interval, grown(&mut growth)).await) }).await?;
                }
                Ok(page) => self.deliver_page(page).await?,
            }
        }
    }

    async fn deliver_page(&mut self, page: EventPage) -> Result<(), Over> {
        for event in page.items {
            self.report_unreadable(&page.unreadable, event.id).await?;
            // A handler that panics here gets to see the event, and panics again or not.
            if catch_unwind(AssertUnwindSafe(|| self.handler.wants(&event))).unwrap_or(true) {
                self.hand_over(Work::Event(event)).await?;
            } else {
                // Stored with the next wanted event or the next renewal.
                self.cursor = event.id;
            }
        }
        self.report_unreadable(&page.unreadable, EventId::new(u64::MAX)).await
    }

    /// Reports the unreadable events between the cursor and `end`.
    async fn report_unreadable(&mut self, unreadable: &[EventId], end: EventId) -> Result<(), Over> {
        let between = unreadable.iter().copied().filter(|id| *id > self.cursor && *id < end);
        match between.max() {
            Some(last) => self.report_gap(last, Reason::Unreadable).await,
            None => Ok(()),
        }
    }

    async fn report_gap(&mut self, up_to: EventId, reason: Reason) -> Result<(), Over> {
        let gap = Gap::new(self.lease.environment(), self.cursor, up_to, reason);
        let (consumer, after, up_to) = (&*self.consumer, gap.after.number(), gap.up_to.number());
        match reason {
            Reason::Pruned => {
                tracing::error!(consumer, after, up_to, "events were pruned that this consumer has not seen");
            }
            Reason::Unreadable => {
                tracing::error!(consumer, after, up_to, "this release cannot read events that this consumer is to see");
            }
        }
        self.hand_over(Work::Gap(gap)).await
    }

    /// Gives `work` to the handler until it succeeds, and moves the cursor.
    async fn hand_over(&mut self, work: Work) -> Result<(), Over> {
        let waiting_since = Some(match &work {
            Work::Event(event) => event.at,
            Work::Gap(_) => self.clock.now(),
        });
        self.is_here(Here { waiting_since, fails: false });
        loop {
            self.unless_stopped()?;
            // This process may have been stopped, or the store away, for longer than the lease.
            while !self.lease.is_held() {
                if !self.lease.store(self.cursor).await? {
                    self.until_due().await?;
                }
            }
            let Err(error) = self.handle(&work).await? else {
                self.trouble.over();
                self.is_here(Here::default());
                return self.settle(work.done_up_to()).await;
            };
            self.is_here(Here { waiting_since, fails: true });
            let pause = self.trouble.failed(&work, &error).ok_or(Over::Ended(DeliveryEnded::GivenUp))?;
            self.wait(sleep(pause)).await?;
        }
    }

    /// Gives `work` to the handler once, and keeps the lease meanwhile.
    async fn handle(&mut self, work: &Work) -> Result<Result<(), HandlerError>, Over> {
        let (handler, given, begun) = (Arc::clone(&self.handler), work.clone(), Instant::now());
        // A task of its own: a handler that blocks its thread or panics does not end this loop.
        let handled = async move {
            match &given {
                Work::Event(event) => handler.handle(event).await,
                Work::Gap(gap) => handler.missed(*gap).await,
            }
        };
        let mut handling = AbortOnDrop(tokio::spawn(HANDLER_OF.scope(Arc::clone(&self.consumer), handled)));
        let mut told = false;
        loop {
            tokio::select! {
                biased;
                outcome = &mut handling.0 => return match outcome {
                    Ok(outcome) => Ok(outcome),
                    Err(error) if error.is_panic() => Ok(Err(HandlerError::new("the handler panicked"))),
                    // The runtime ends.
                    Err(_) => Err(Over::Ended(DeliveryEnded::Stopped)),
                },
                () = self.lease.due() => drop(self.lease.store(self.cursor).await?),
            }
            if begun.elapsed() >= SLOW && !std::mem::replace(&mut told, true) {
                let seconds = begun.elapsed().as_secs();
                tracing::warn!(consumer = &*self.consumer, %work, seconds, "a handler has worked for long");
            }
        }
    }

    /// Moves the cursor. While the store is away, it is tried again.
    async fn settle(&mut self, cursor: EventId) -> Result<(), Over> {
        self.cursor = cursor;
        while !self.lease.store(cursor).await? {
            self.until_due().await?;
        }
        Ok(())
    }

    async fn until_due(&self) -> Result<(), Over> {
        tokio::select! {
            biased;
            () = self.stopped.cancelled() => self.unless_stopped(),
            () = self.lease.due() => Ok(()),
        }
    }

    /// Waits, and keeps the lease meanwhile. Ends early if the delivery is stopped.
    async fn wait(&mut self, wait: impl Future<Output = ()> + Send) -> Result<(), Over> {
        let mut wait = pin!(wait);
        loop {
            tokio::select! {
                biased;
                () = self.stopped.cancelled() => return Ok(()),
                () = self.lease.due() => drop(self.lease.store(self.cursor).await?),
                () = &mut wait => return Ok(()),
            }
        }
    }

    fn unless_stopped(&self) -> Result<(), Over> {
        if self.stopped.is_cancelled() { Err(Over::Ended(DeliveryEnded::Stopped)) } else { Ok(()) }
    }
}

/// The pause of a process whose turn it is not. New events end it early, but not before `interval`, so that processes
/// without the delivery ask the store seldom.
async fn standby(growth: &mut watch::Receiver<u64>, pause: Option<Duration>, interval: Duration, longest: Duration) {
    sleep(pause.unwrap_or(interval)).await;
    if pause.is_none() {
        let rest = longest.saturating_sub(interval);
        let _ = timeout(rest, grown(growth)).await;
    }
}

/// Completes when the log may have new events.
async fn grown(growth: &mut watch::Receiver<u64>) {
    if growth.changed().await.is_err() {
        // The authenticator is gone, and the delivery is about to be stopped.
        std::future::pending::<()>().await;
    }
}

struct AbortOnDrop(JoinHandle<Result<(), HandlerError>>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
