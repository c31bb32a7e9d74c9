//! The processes of a world: started, stopped, killed and restarted over the same store.

use std::{fmt, sync::Arc, time::Duration};

use batchsuite_auth::{
    BatchSuiteAuth, Client, Environment, Shutdown, config::FeedLost, fake_ups::FakeUpsState,
    test_util::simulation::Gate,
};
use url::Url;

use crate::{broken::Break, http::Network, ledger::Incarnation, store::Database, world::World};

/// A place for one process after the other.
pub(crate) struct Slot {
    pub(crate) incarnation: Incarnation,
    pub(crate) gate: Gate,
    /// `None`: the process was killed or has ended.
    pub(crate) auth: Option<BatchSuiteAuth>,
    /// When its clock was last set or it was stopped, in microseconds of the world.
    pub(crate) disturbed_at: u64,
    pub(crate) is_frozen: bool,
}

/// A process's name in the trace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Name(pub(crate) usize, pub(crate) Incarnation);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("p{}.{}", self.0, self.1))
    }
}

impl World {
    /// Starts a process in a slot. `number`: how many processes were started before, in all slots.
    pub(crate) fn start(self: &Arc<Self>, slot: usize, number: Incarnation) {
        let gate = Gate::default();
        let client = Client::new(FakeUpsState::CLIENT_ID, FakeUpsState::CLIENT_SECRET);
        let mut policy = self.plan.policy();
        if self.broken == Some(Break::Unlimited) {
            policy.refresh_rate = 1000;
        }
        let auth = gate.within(|| {
            let auth = BatchSuiteAuth::builder(Environment::Cie, client)
                .base_url(url("http://localhost/"))
                .redirect_uri(url(FakeUpsState::REDIRECT_URI))
                .store(Database::new(self, slot, number))
                .http(Network::new(self, slot, number))
                .clock(self.clocks.of_process(slot))
                .policy(policy)
                .build();
            let auth = auth.unwrap_or_else(|error| panic!("{error}"));
            self.deliver(&auth, slot, number);
            auth
        });
        self.note(Name(slot, number), format_args!("starts"));
        let started = Slot { incarnation: number, gate, auth: Some(auth), disturbed_at: self.now(), is_frozen: false };
        let mut slots = self.slots();
        match slots.get_mut(slot) {
            Some(of) => *of = started,
            None => slots.push(started),
        }
    }

    /// Stops a process as SIGSTOP does.
    pub(crate) fn freeze(&self, slot: usize) {
        let now = self.now();
        let mut slots = self.slots();
        slots[slot].gate.freeze();
        (slots[slot].is_frozen, slots[slot].disturbed_at) = (true, now);
        let incarnation = slots[slot].incarnation;
        drop(slots);
        self.ledger(|ledger| ledger.stands_still(incarnation, true));
        // Twice: a stop counts as two silences.
        for _ in 0..2 {
            self.hindered(incarnation);
        }
    }

    /// Lets the process continue.
    pub(crate) fn thaw(&self, slot: usize, incarnation: Incarnation) {
        let now = self.now();
        let gate = {
            let mut slots = self.slots();
            let of = &mut slots[slot];
            if of.incarnation != incarnation || !of.is_frozen || of.gate.is_dead() {
                return;
            }
            (of.is_frozen, of.disturbed_at) = (false, now);
            of.gate.clone()
        };
        self.note(Name(slot, incarnation), format_args!("goes on"));
        self.ledger(|ledger| ledger.stands_still(incarnation, false));
        gate.thaw();
    }

    /// Whether a process's clock was set, or the process was stopped, since then.
    pub(crate) fn was_disturbed(&self, slot: usize, since: u64) -> bool {
        let slots = self.slots();
        slots[slot].is_frozen || slots[slot].disturbed_at >= since
    }

    /// Shuts a process down as a service does when told to stop; returns whether everything is stored.
    pub(crate) async fn shut_down(&self, slot: usize) -> bool {
        let Some((incarnation, gate, auth)) = self.process(slot) else { return true };
        auth.quiesce();
        let (send, done) = tokio::sync::oneshot::channel();
        tokio::spawn(gate.pass(async move {
            let _ = send.send(auth.shutdown().await);
        }));
        // A process that was stopped or killed meanwhile never reports that.
        let ended = tokio::time::timeout(Duration::from_secs(120), done).await;
        let is_complete = matches!(ended, Ok(Ok(Shutdown::Complete)));
        self.note(Name(slot, incarnation), format_args!("ends, complete: {is_complete}"));
        if is_complete {
            let handle = self.slots()[slot].auth.take_if(|_| true);
            gate.kill();
            self.ledger(|ledger| ledger.stopped(incarnation));
            drop(handle);
        } else {
            self.kill(slot, incarnation);
        }
        is_complete
    }

    /// How long after losing the feed a process serves cached tokens, in microseconds; `None`: until they expire.
    pub(crate) fn refuses_after(&self) -> Option<u64> {
        let policy = self.plan.policy();
        // The feed's last answer may have travelled for as long as its call may take.
        let bound = policy.cache_max_age + policy.feed_interval * 2 + policy.store_deadline;
        (policy.feed_lost == FeedLost::Refuse).then(|| batchsuite_tests::virtual_time::micros(bound))
    }
}

fn url(text: &str) -> Url {
    Url::parse(text).unwrap_or_else(|error| panic!("{error}"))
}
