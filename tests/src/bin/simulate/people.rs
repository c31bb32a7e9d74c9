//! Actions of people and their programs: requesting tokens, opting in, removing, changing passwords; and mishaps of
//! machines.

use std::{sync::Arc, time::Duration};

use batchsuite_auth::{ActorId, error::TokenError};
use batchsuite_tests::virtual_time::micros;
use tokio::sync::oneshot;
use url::form_urlencoded;

use crate::{
    broken::Break,
    faults::Fault,
    ledger::Asked,
    process::Name,
    world::{World, user_name},
};

/// How long a person waits for a page.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long a changed clock or a stop can excuse a cached token: until the feed's loop has noticed.
const NOTICED_WITHIN: u64 = 60_000_000;

impl World {
    /// A program asks a process for a token. It may give up before it gets one, and an API may reject the token.
    pub(crate) async fn ask(self: Arc<Self>, slot: usize, company: usize, goes_after: Option<Duration>, rejects: bool) {
        let Some((incarnation, gate, auth)) = self.process(slot) else { return };
        let (world, id) = (Arc::clone(&self), self.companies[company].clone());
        let asking = gate.pass(async move {
            let from = world.now();
            let heard = world.ledger(|ledger| ledger.heard_by(incarnation, company));
            let moment = world.own_moment();
            let answer = auth.access_token(&id).await;
            let was_set = world.was_disturbed(slot, from.saturating_sub(NOTICED_WITHIN));
            let asked = Asked {
                by: incarnation,
                company,
                from,
                to: world.now(),
                heard,
                is_dated_wrongly: was_set,
                store_set: world.clocks.store_set(),
                refuses_after: world.refuses_after(),
            };
            world.ledger(|ledger| ledger.served(asked, &answer));
            world.pause(moment).await;
            match answer {
                Ok(token) if rejects || !world.ledger(|ledger| ledger.is_accepted(&token)) => {
                    world.suffers(Fault::Rejected, Name(slot, incarnation));
                    let _ = auth.report_rejected(&id, &token).await;
                }
                Ok(_) => {}
                Err(error) => {
                    world.note(Name(slot, incarnation), format_args!("c{company} gets no token: {}", name(&error)))
                }
            }
        });
        match goes_after {
            None => asking.await,
            Some(after) => {
                if tokio::time::timeout(after, asking).await.is_err() {
                    self.suffers(Fault::CallerDropped, Name(slot, incarnation));
                }
            }
        }
    }

    /// An administrator goes to UPS.com and comes back, perhaps to another process.
    pub(crate) async fn consent(self: Arc<Self>, company: usize) {
        if self.dice().chance(0.2) {
            return self.consent_by_link(company).await;
        }
        let actor = administrator(company);
        let id = self.companies[company].clone();
        let asked_at = self.now();
        let (first, second) = self.two_slots();
        let Some((incarnation, gate, auth)) = self.process(first) else { return };
        let (of, by) = (id.clone(), actor.clone());
        let trip = answered(gate.pass(async move { auth.authenticate(&of, &by).await })).await;
        let Some(Ok(trip)) = trip else {
            self.note(Name(first, incarnation), format_args!("c{company} cannot begin a consent"));
            return;
        };
        let began = (asked_at, self.now());
        self.person_rests().await;
        self.ups_clock.set(self.clocks.now());
        let user = user_name(self.ledger(|ledger| ledger.companies[company].user));
        let query = self.ups.consent(&trip.url, &user).await;
        let code = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "code");
        if let Some((_, code)) = code {
            self.ledger(|ledger| ledger.signed_in(&code, company, began));
        }
        self.person_rests().await;
        let Some((incarnation, gate, auth)) = self.process(second) else { return };
        let back = answered(gate.pass(async move { auth.callback(&actor, &query, &trip.browser_secret).await })).await;
        let words = match back {
            Some(Ok(_)) => "opted in".to_owned(),
            Some(Err(error)) => error.to_string(),
            None => "no page".to_owned(),
        };
        self.note(Name(second, incarnation), format_args!("c{company} comes back: {words}"));
    }

    pub(crate) async fn person_rests(&self) {
        let rest = self.dice().milliseconds(500..30_000);
        self.pause(rest).await;
    }

    pub(crate) fn two_slots(&self) -> (usize, usize) {
        let mut dice = self.dice();
        let first = dice.below(self.plan.processes);
        (first, if dice.chance(0.5) { first } else { dice.below(self.plan.processes) })
    }

    /// An administrator removes the authorization.
    pub(crate) async fn remove(self: Arc<Self>, slot: usize, company: usize) {
        let Some((incarnation, gate, auth)) = self.process(slot) else { return };
        self.suffers(Fault::Removed, Name(slot, incarnation));
        let (world, id, actor) = (Arc::clone(&self), self.companies[company].clone(), administrator(company));
        let removed = answered(gate.pass(async move {
            let removed = auth.remove_auth(&id, &actor).await;
            if removed.is_ok() {
                let now = world.now();
                world.ledger(|ledger| ledger.removed_here(incarnation, company, now));
            }
            removed
        }));
        let is_done = matches!(removed.await, Some(Ok(())));
        self.note(Name(slot, incarnation), format_args!("c{company} removed: {is_done}"));
    }

    pub(crate) fn change_password(&self, user: usize) {
        self.suffers(Fault::PasswordChanged, "UPS");
        self.note("UPS", format_args!("the password of user {user} is another"));
        self.ups_clock.set(self.clocks.now());
        self.ups.change_password(&user_name(user));
        self.ledger(|ledger| ledger.password_changed(user));
    }

    /// A process is stopped for a while.
    pub(crate) fn stop_for_a_while(self: &Arc<Self>, slot: usize, fault: Fault) {
        let Some((incarnation, ..)) = self.process(slot) else { return };
        if self.slots()[slot].is_frozen {
            return;
        }
        let rest = {
            let mut dice = self.dice();
            if fault == Fault::Frozen { dice.milliseconds(100..30_000) } else { dice.seconds(61..240) }
        };
        self.suffers(fault, Name(slot, incarnation));
        self.freeze(slot);
        let world = Arc::clone(self);
        tokio::spawn(async move {
            world.pause(rest).await;
            world.thaw(slot, incarnation);
        });
    }

    /// The whole machine is suspended, including its monotonic clock.
    pub(crate) fn suspend(&self) {
        let by = self.dice().seconds(2..200);
        self.suffers(Fault::Suspended, "");
        self.clocks.suspend(by, self.broken != Some(Break::IgnoresSuspension));
        let now = self.now();
        let mut slots = self.slots();
        slots.iter_mut().for_each(|slot| slot.disturbed_at = now);
        let suspended: Vec<_> = slots.iter().map(|slot| slot.incarnation).collect();
        drop(slots);
        for incarnation in suspended {
            self.hindered(incarnation);
            self.hindered(incarnation);
        }
    }

    pub(crate) fn set_process_clock(&self, slot: usize) {
        let beside = self.drawn_shift();
        self.suffers(Fault::ProcessClockSet, format_args!("p{slot}"));
        self.clocks.set_process(slot, beside);
        let now = self.now();
        self.slots()[slot].disturbed_at = now;
    }

    pub(crate) fn set_store_clock(&self) {
        let by = self.drawn_shift() / 4;
        self.suffers(Fault::StoreClockSet, "store");
        self.clocks.set_store(by);
    }

    /// Up to a quarter of an hour, ahead or back; mostly seconds.
    fn drawn_shift(&self) -> i64 {
        let mut dice = self.dice();
        let most = dice.one_of(&[3, 30, 900]);
        let by = micros(dice.seconds(0..most)).cast_signed();
        if dice.chance(0.5) { by } else { -by }
    }
}

/// The outcome of a process's work for a person, who does not wait for ever.
pub(crate) async fn answered<F>(deed: F) -> Option<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    let (tell, told) = oneshot::channel();
    // A task of the host: it continues without the person.
    tokio::spawn(async move {
        let _ = tell.send(deed.await);
    });
    tokio::time::timeout(PATIENCE, told).await.ok()?.ok()
}

pub(crate) fn administrator(company: usize) -> ActorId {
    ActorId::new(format!("admin-{company}")).unwrap_or_else(|error| panic!("{error}"))
}

/// A short name for an error.
fn name(error: &TokenError) -> String {
    match error {
        TokenError::ReauthRequired(cause) => cause.kind.name().to_owned(),
        TokenError::Unavailable { reason, .. } => format!("{reason:?}"),
        TokenError::Store(_) => "store".to_owned(),
        TokenError::Misconfigured { .. } => "misconfigured".to_owned(),
        other => other.to_string(),
    }
}
