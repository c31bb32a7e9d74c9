//! A seed's world: its size and its rate of faults.

use std::time::Duration;

use batchsuite_auth::{Policy, config::FeedLost};

use crate::dice::Dice;

/// When UPS is asked again about a refused token: earlier than the library's defaults, so that a world ends sooner.
const SECOND_OPINIONS: [u64; 3] = [300, 900, 2400];

/// The parameters of one world.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) processes: usize,
    pub(crate) companies: usize,
    /// UPS.com users; several companies may share one.
    pub(crate) users: usize,
    pub(crate) access_lifetime: Duration,
    /// UPS ends the whole family of a reused refresh token.
    pub(crate) ends_families: bool,
    pub(crate) feed_lost: FeedLost,
    /// How many refreshes a second a process may send.
    pub(crate) refresh_rate: u32,
    /// How long faults occur.
    pub(crate) troubled_for: Duration,
    /// The approximate time between two actions of people.
    pub(crate) pace: Duration,
    /// The fraction of store calls with a fault.
    pub(crate) store: f64,
    /// The fraction of requests with a fault.
    pub(crate) http: f64,
    /// The fraction of saves and requests at which a process is killed.
    pub(crate) deaths: f64,
    /// The fraction of actions that are a disaster: an outage, a kill, a changed clock.
    pub(crate) disasters: f64,
    /// Clocks are set.
    pub(crate) sets_clocks: bool,
}

impl Plan {
    pub(crate) fn draw(dice: &mut Dice) -> Self {
        Self {
            processes: 2 + dice.below(3),
            companies: 16 + dice.below(25),
            users: 6 + dice.below(20),
            access_lifetime: dice.seconds(150..600),
            ends_families: dice.chance(0.5),
            feed_lost: if dice.chance(0.5) { FeedLost::Refuse } else { FeedLost::Serve },
            refresh_rate: dice.one_of(&[100, 20, 4, 2]),
            troubled_for: dice.seconds(2 * 3600..5 * 3600),
            pace: dice.milliseconds(2000..8000),
            store: dice.one_of(&[0.0, 0.001, 0.005, 0.02, 0.05]),
            http: dice.one_of(&[0.0, 0.002, 0.01, 0.03, 0.08]),
            deaths: dice.one_of(&[0.0, 0.000_2, 0.001, 0.003]),
            disasters: dice.one_of(&[0.0, 0.002, 0.005, 0.01, 0.02]),
            sets_clocks: dice.chance(0.4),
        }
    }

    pub(crate) fn policy(&self) -> Policy {
        let mut policy = Policy::default();
        policy.second_opinions = SECOND_OPINIONS.map(Duration::from_secs).to_vec();
        policy.feed_lost = self.feed_lost;
        policy.refresh_rate = self.refresh_rate;
        policy
    }

    /// How long after the last fault each opt-in must be as the ledger says: the last second opinion, the longest pause
    /// of the breaker and of a probe, and the answer's way back.
    pub(crate) fn calm_for() -> Duration {
        Duration::from_secs(SECOND_OPINIONS[2] + 2 * 3600)
    }

    /// How often UPS is asked about a refresh token at most before it is given up.
    pub(crate) fn most_refusals() -> usize {
        1 + SECOND_OPINIONS.len()
    }
}
