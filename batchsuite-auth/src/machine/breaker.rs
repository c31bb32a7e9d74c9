//! The breaker of a whole client: one bad secret must not walk through every company.

use std::time::Duration;

use super::Backoff;
use crate::{
    clock::{Timestamp, later, within},
    ids::CompanyId,
};

/// How many companies in a row must get the same refusal that nobody has described before it concerns the client.
const UNKNOWN_IN_A_ROW: usize = 3;

/// The longest pause that UPS can ask for.
const MOST_RATE_LIMIT: Duration = Duration::from_secs(3600);

/// What speaks against sending anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// UPS refuses our configuration: client id, secret, redirect URI, grant type, header.
    Ours,
    /// UPS blocks the client (403).
    Blocked,
    /// A refusal that nobody has described; the text tells one from another.
    Unknown(String),
}

/// Whether a request may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permit {
    /// Yes.
    Granted,
    /// Yes, as the one trial whose outcome decides for all.
    Trial,
    /// No, until then.
    Refused {
        /// When to ask again.
        until: Timestamp,
    },
}

/// Closed at first; opened by what concerns every company; half-open after a pause, for one trial at a time.
#[derive(Clone, Debug)]
pub struct Breaker {
    pause: Backoff,
    open: Option<Open>,
    rate_limited_until: Option<Timestamp>,
    unknown: Option<(String, Vec<CompanyId>)>,
}

#[derive(Clone, Debug)]
struct Open {
    fault: Fault,
    /// Failed trials in a row, the fault that opened it included.
    times: u32,
    until: Timestamp,
    /// A trial is under way.
    trial: bool,
}

impl Breaker {
    /// A closed breaker whose pauses grow as `pause` says.
    pub fn new(pause: Backoff) -> Self {
        Self { pause, open: None, rate_limited_until: None, unknown: None }
    }

    /// Whether a request may be sent now. A granted trial holds everybody else back for one more pause.
    pub fn permit(&mut self, now: Timestamp) -> Permit {
        if let Some(until) = self.rate_limited_until.filter(|until| within(*until, now, MOST_RATE_LIMIT)) {
            return Permit::Refused { until };
        }
        match &mut self.open {
            None => Permit::Granted,
            Some(open) if within(open.until, now, self.pause.most) => Permit::Refused { until: open.until },
            Some(open) => {
                open.until = later(now, self.pause.after(open.times, 1.0));
                open.trial = true;
                Permit::Trial
            }
        }
    }

    /// What keeps it open, if it is.
    pub fn fault(&self) -> Option<&Fault> {
        self.open.as_ref().map(|open| &open.fault)
    }

    /// Until when it lets nothing through, if it is open.
    pub fn open_until(&self) -> Option<Timestamp> {
        self.open.as_ref().map(|open| open.until)
    }

    /// UPS accepted us, as a pair or a refused refresh token shows.
    pub fn accepted(&mut self) {
        self.open = None;
        self.unknown = None;
    }

    /// A fault came up for `company`. Whether the breaker opened because of it, having been closed.
    pub fn failed(&mut self, company: &CompanyId, fault: Fault, now: Timestamp) -> bool {
        if let Fault::Unknown(text) = &fault
            && !self.unknown_in_a_row(company, text)
        {
            // A trial that ends so has shown that UPS accepts the client itself no worse than before.
            return false;
        }
        let times = match &self.open {
            None => 1,
            Some(open) if open.trial => open.times.saturating_add(1),
            // It was on its way already when the breaker opened: it proves nothing more.
            Some(_) => return false,
        };
        let until = later(now, self.pause.after(times, 1.0));
        self.open.replace(Open { fault, times, until, trial: false }).is_none()
    }

    /// UPS asked for a pause (429): nothing is sent for that long.
    pub fn rate_limited(&mut self, pause: Duration, now: Timestamp) {
        let until = later(now, pause.min(MOST_RATE_LIMIT));
        self.rate_limited_until = Some(self.rate_limited_until.map_or(until, |stored| stored.max(until)));
    }

    fn unknown_in_a_row(&mut self, company: &CompanyId, text: &str) -> bool {
        let companies = match &mut self.unknown {
            Some((known, companies)) if known == text => companies,
            other => &mut other.insert((text.to_owned(), Vec::new())).1,
        };
        if companies.len() < UNKNOWN_IN_A_ROW && !companies.contains(company) {
            companies.push(company.clone());
        }
        companies.len() >= UNKNOWN_IN_A_ROW
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Backoff = Backoff { first: Duration::from_secs(30), most: Duration::from_secs(900) };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    fn company(name: &str) -> CompanyId {
        CompanyId::new(name).unwrap()
    }

    #[test]
    fn a_fault_of_ours_opens_it_for_everybody_and_once() {
        let mut breaker = Breaker::new(PAUSE);
        assert_eq!(breaker.permit(at(0)), Permit::Granted);

        assert!(breaker.failed(&company("a"), Fault::Ours, at(0)));
        assert!(!breaker.failed(&company("b"), Fault::Ours, at(1)), "it is open already");

        assert_eq!(breaker.fault(), Some(&Fault::Ours));
        assert!(matches!(breaker.permit(at(29)), Permit::Refused { .. }));
    }

    #[test]
    fn failures_that_were_on_their_way_together_count_as_one() {
        let mut breaker = Breaker::new(PAUSE);
        for _ in 0..10 {
            breaker.failed(&company("a"), Fault::Ours, at(0));
        }

        assert_eq!(breaker.permit(at(30)), Permit::Trial);
    }

    #[test]
    fn half_open_lets_one_trial_through_and_its_success_closes_it() {
        let mut breaker = Breaker::new(PAUSE);
        breaker.failed(&company("a"), Fault::Blocked, at(0));

        assert_eq!(breaker.permit(at(30)), Permit::Trial);
        assert_eq!(breaker.permit(at(30)), Permit::Refused { until: at(60) }, "one trial at a time");

        breaker.accepted();
        assert_eq!(breaker.permit(at(31)), Permit::Granted);
    }

    #[test]
    fn each_failed_trial_doubles_the_pause_up_to_the_most() {
        let mut breaker = Breaker::new(PAUSE);
        let (mut now, mut pauses) = (0, Vec::new());
        for _ in 0..7 {
            breaker.failed(&company("a"), Fault::Ours, at(now));
            let Permit::Refused { until } = breaker.permit(at(now)) else { panic!("it is open") };
            assert_eq!(breaker.open_until(), Some(until));
            pauses.push((until - at(now)).num_seconds());
            now += pauses.last().unwrap();
            assert_eq!(breaker.permit(at(now)), Permit::Trial);
        }
        assert_eq!(pauses, [30, 60, 120, 240, 480, 900, 900]);
    }

    #[test]
    fn a_trial_that_never_reports_is_followed_by_another() {
        let mut breaker = Breaker::new(PAUSE);
        breaker.failed(&company("a"), Fault::Ours, at(0));

        assert_eq!(breaker.permit(at(30)), Permit::Trial);
        assert_eq!(breaker.permit(at(60)), Permit::Trial);
    }

    #[test]
    fn an_unknown_refusal_opens_it_only_when_three_companies_in_a_row_got_the_same() {
        let same = || Fault::Unknown("400 new".into());
        let mut breaker = Breaker::new(PAUSE);

        for name in ["a", "a", "a", "b", "a"] {
            assert!(!breaker.failed(&company(name), same(), at(0)), "two companies are not enough");
        }
        breaker.failed(&company("x"), Fault::Unknown("400 other".into()), at(0));
        for name in ["a", "b"] {
            assert!(!breaker.failed(&company(name), same(), at(0)), "another refusal began a new row");
        }
        breaker.accepted();
        for name in ["a", "b"] {
            assert!(!breaker.failed(&company(name), same(), at(0)), "a success began a new row");
        }

        assert!(breaker.failed(&company("c"), same(), at(0)));
    }

    #[test]
    fn a_pause_that_was_set_by_a_wrong_clock_ends_with_it() {
        let mut breaker = Breaker::new(PAUSE);
        let year = 365 * 86_400;
        breaker.failed(&company("a"), Fault::Ours, at(year));
        breaker.rate_limited(Duration::from_secs(60), at(year));

        assert_eq!(breaker.permit(at(0)), Permit::Trial);
    }

    #[test]
    fn a_rate_limit_is_obeyed_for_an_hour_at_most() {
        let mut breaker = Breaker::new(PAUSE);
        breaker.rate_limited(Duration::MAX, at(0));

        assert_eq!(breaker.permit(at(3599)), Permit::Refused { until: at(3600) });
        assert_eq!(breaker.permit(at(3600)), Permit::Granted);
    }

    #[test]
    fn a_rate_limit_pauses_the_whole_client_and_the_longer_pause_wins() {
        let mut breaker = Breaker::new(PAUSE);
        breaker.rate_limited(Duration::from_secs(60), at(0));
        breaker.rate_limited(Duration::from_secs(5), at(1));

        assert_eq!(breaker.permit(at(59)), Permit::Refused { until: at(60) });
        assert_eq!(breaker.permit(at(60)), Permit::Granted);
    }
}
