//! What consumers were told, and how many requests a process sends.

use std::collections::{BTreeMap, VecDeque};

use batchsuite_auth::{Event, events::EventKind};

use super::{Incarnation, Ledger};

/// Which events were handled.
#[derive(Default)]
pub(super) struct Delivered {
    /// The order in which each was handled first, and how often it was handled.
    handled: BTreeMap<String, (usize, u32)>,
    /// From when on nothing is handled twice: how many events were handled before, and what they are.
    quiet_from: Option<BTreeMap<String, (usize, u32)>>,
}

/// A process's refreshes.
#[derive(Default)]
pub(super) struct Refreshes {
    under_way: usize,
    /// The times of the last ones, in microseconds of the world.
    begun: VecDeque<u64>,
}

/// The rate is checked over this many seconds.
const SECONDS: u64 = 10;

impl Ledger {
    /// A handler has handled an event.
    pub(crate) fn delivered(&mut self, id: &str) {
        let order = self.delivered.handled.len();
        self.delivered.handled.entry(id.to_owned()).or_insert((order, 0)).1 += 1;
    }

    /// How many events were handled.
    pub(crate) fn events_delivered(&self) -> u64 {
        self.delivered.handled.len() as u64
    }

    /// From now on each event is handled once.
    pub(crate) fn deliveries_are_quiet(&mut self) {
        self.delivered.quiet_from = Some(self.delivered.handled.clone());
    }

    /// Each event of the log was handled, in its order, and once in quiet times.
    pub(crate) fn all_are_delivered(&mut self, log: &[Event]) {
        let mut last = None;
        for event in log {
            let (id, number) = (event.stable_id(), event.id.number());
            let Some((order, times)) = self.delivered.handled.get(&id).copied() else {
                return self.violated(|| format!("event {number} {} was not delivered", event.kind));
            };
            if last.is_some_and(|last| last > order) {
                return self.violated(|| format!("event {number} {} was delivered before an earlier one", event.kind));
            }
            last = Some(order);
            let before =
                self.delivered.quiet_from.as_ref().map_or(0, |quiet| quiet.get(&id).map_or(0, |known| known.1));
            let is_quiet = self.delivered.quiet_from.is_some();
            if is_quiet && times > before.max(1) {
                return self.violated(|| {
                    format!("event {number} {} was delivered {times} times, {before} before all was quiet", event.kind)
                });
            }
        }
    }

    /// The client's outages alternate: each begins once and ends once for all processes, and the last one has ended.
    pub(crate) fn outages_are_told_once(&mut self, log: &[Event]) {
        let mut is_away = false;
        for event in log {
            let begins = match event.kind {
                EventKind::OutOfReach => true,
                EventKind::InReach => false,
                _ => continue,
            };
            if begins == is_away {
                let number = event.id.number();
                return self.violated(|| format!("event {number} {} was told already", event.kind));
            }
            is_away = begins;
            self.outages += u64::from(begins);
        }
        if is_away {
            self.violated(|| "UPS is well, and its outage has not been told to be over".to_owned());
        }
    }

    /// A process begins a refresh. At most `rate` are under way at once; in ten seconds at most as many begin as the
    /// rate allows, and those whose turn came before.
    pub(crate) fn refresh_begins(&mut self, by: Incarnation, at: u64, rate: u32) {
        let (of, most) = (self.refreshes.entry(by).or_default(), rate as usize);
        of.under_way += 1;
        of.begun.push_back(at);
        while of.begun.front().is_some_and(|begun| begun + SECONDS * 1_000_000 <= at) {
            of.begun.pop_front();
        }
        let (under_way, begun) = (of.under_way, of.begun.len());
        if under_way > most {
            self.violated(|| format!("a process has {under_way} refreshes under way; its rate is {rate}"));
        }
        if begun > most * (SECONDS as usize + 1) {
            self.violated(|| format!("a process began {begun} refreshes in {SECONDS} seconds; its rate is {rate}"));
        }
    }

    pub(crate) fn refresh_ends(&mut self, by: Incarnation) {
        if let Some(of) = self.refreshes.get_mut(&by) {
            of.under_way = of.under_way.saturating_sub(1);
        }
    }
}
