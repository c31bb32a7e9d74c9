//! Time as a queue, over months: a row, a keeper that serves the queue, and a UPS that always answers.

use super::{super::*, *};

const TICK: Duration = Duration::from_secs(5 * 60);
/// A wake time further ahead than this was set by a wrong clock (the contract of `Store::wake`).
const ABSURD: Duration = Duration::from_secs(48 * 3600);
const REFRESH_LIFETIME: Duration = Duration::from_secs(60 * 86_400);

/// A company's row, and what really happens to it. The company's own times are true; the store's clock may be wrong.
struct Company {
    grant: Grant,
    wake: Wake,
    used_at: Option<Timestamp>,
    settings: Settings,
    now: Timestamp,
    /// How far the store's clock is ahead, in days.
    ahead: i64,
    is_kept: bool,
    is_in_use: bool,
    /// Why the company cannot be refreshed.
    obstacle: Option<Obstacle>,
    /// How many of the next requests get no answer.
    unanswered: u32,
    attempts: u128,
    /// When its refresh token and its access token really end.
    refresh_end: Timestamp,
    access_end: Timestamp,
    /// When it was refreshed, in days.
    refreshed: Vec<f64>,
    notified: Vec<Notice>,
}

impl Company {
    /// A company that opts in at the start.
    fn opted_in(ahead: i64) -> Self {
        let mut company = Self {
            grant: Grant::default(),
            wake: Wake::default(),
            used_at: None,
            settings: settings(),
            now: day(0),
            ahead,
            is_kept: true,
            is_in_use: false,
            obstacle: None,
            unanswered: 0,
            attempts: 100,
            refresh_end: day(60),
            access_end: minute(60),
            refreshed: Vec::new(),
            notified: Vec::new(),
        };
        let connect = Connect { pair: pair(company.store_now()), ..connect(&company.grant, day(0), day(0)) };
        company.take(&GrantEvent::Connect(Box::new(connect)));
        company
    }

    fn store_now(&self) -> Timestamp {
        match u64::try_from(self.ahead) {
            Ok(days) => later(self.now, Duration::from_secs(days * 86_400)),
            Err(_) => earlier(self.now, Duration::from_secs(self.ahead.unsigned_abs() * 86_400)),
        }
    }

    /// Applies an event and saves the step.
    fn take(&mut self, event: &GrantEvent) {
        let now = self.store_now();
        let step =
            self.grant.on(event, &self.settings.pauses, now).unwrap().with_notice_that_holds(&self.settings, now);
        self.wake = step.wake(self.wake.at, self.used_at, &self.settings, now).unwrap_or(self.wake);
        self.grant = step.grant;
    }

    /// Runs until day `until`.
    fn live_until(&mut self, until: i64) {
        while self.now < day(until) {
            self.now = later(self.now, TICK);
            if self.is_in_use {
                self.record_use();
            }
            // The keeper looks more often than once a tick, but a company needs no more than one token per tick.
            for round in 0.. {
                let now = self.store_now();
                if !self.is_kept || !self.wake.at.is_some_and(|at| at <= now || later(now, ABSURD) < at) {
                    break;
                }
                assert!(round < 4, "it wakes again and again: {:?}", self.grant);
                self.keep();
            }
            assert!(self.now < self.refresh_end, "its refresh token has ended on day {}", days(self.now));
        }
    }

    /// The same in shorter steps, during which the access token must not end.
    fn live_in_use_until(&mut self, until: i64) {
        while self.now < day(until) {
            self.live_until(days(self.now).floor() as i64 + 1);
            assert!(self.now < self.access_end, "its access token has ended on day {}", days(self.now));
        }
    }

    fn record_use(&mut self) {
        self.used_at = Some(self.store_now());
        self.wake.at = self.wake.at.min(self.wake.if_used.or(self.wake.at));
    }

    /// The keeper does the chore. The keeper's own clock is right.
    fn keep(&mut self) {
        let clocks_agree = self.ahead == 0;
        match self.grant.chore(self.used_at, self.obstacle, &self.settings, clocks_agree, self.store_now()) {
            Chore::Refresh => self.refresh(),
            Chore::Notify(notice) => {
                self.notified.push(notice);
                self.take(&GrantEvent::Notify(notice));
            }
            Chore::Erase => self.take(&GrantEvent::Erase),
            Chore::Look => self.take(&GrantEvent::Look),
            Chore::Postpone => self.wake = Wake::of_unreadable(self.store_now()),
            // The row stays hidden for a while, which is shorter than a tick.
            Chore::Leave => panic!("it wakes during a lease: {:?}", self.grant),
        }
    }

    fn refresh(&mut self) {
        self.attempts += 1;
        let attempt = attempt(self.attempts);
        self.take(&claim(attempt));
        let claim = self.grant.claim_of(attempt);
        if self.unanswered > 0 {
            self.unanswered -= 1;
            self.take(&unanswered(claim));
            return;
        }
        self.take(&commit(claim, pair(self.store_now())));
        self.refreshed.push(days(self.now));
        (self.access_end, self.refresh_end) = (later(self.now, HOUR), later(self.now, REFRESH_LIFETIME));
    }

    /// The days between refreshes, starting with the opt-in.
    fn intervals(&self) -> Vec<f64> {
        let from = std::iter::once(&0.0).chain(&self.refreshed);
        self.refreshed.iter().zip(from).map(|(at, before)| at - before).collect()
    }

    /// Asserts that nobody was notified, and that the renewals were this many days apart.
    fn assert_kept_alive(&self, between: std::ops::RangeInclusive<f64>) {
        assert_eq!(self.notified, []);
        assert!(!self.refreshed.is_empty());
        let are_in_time = self.intervals().iter().all(|days| between.contains(days));
        assert!(are_in_time, "{:?} are not within {between:?}", self.intervals());
    }
}

fn days(at: Timestamp) -> f64 {
    (at - day(0)).num_seconds() as f64 / 86_400.0
}

#[test]
fn an_unused_opt_in_is_renewed_a_week_before_its_end() {
    let mut company = Company::opted_in(0);
    company.live_until(400);
    company.assert_kept_alive(52.99..=53.1);
}

#[test]
fn an_opt_in_in_use_has_a_token_that_works_at_any_time() {
    let mut company = Company::opted_in(0);
    company.is_in_use = true;
    company.live_in_use_until(20);
    // Once in each early window of a one-hour token.
    company.assert_kept_alive(0.75 / 24.0..=0.85 / 24.0);

    // From here on it is idle.
    company.is_in_use = false;
    company.live_until(150);
    let last = company.intervals().split_off(company.refreshed.len() - 2);
    assert!(last.iter().all(|days| (52.99..=53.1).contains(days)), "{last:?}");
    assert_eq!(company.notified, []);
}

#[test]
fn a_use_after_a_long_time_makes_the_token_fresh_at_once() {
    let mut company = Company::opted_in(0);
    company.live_until(10);
    company.is_in_use = true;
    company.live_in_use_until(11);
    assert!(company.refreshed[0] < 10.01, "{:?}", company.refreshed);
}

#[test]
fn a_wrong_client_id_for_a_day_delays_nothing_and_tells_nobody() {
    for (from, is_in_use) in [(20, false), (52, false), (53, false), (20, true)] {
        let mut company = Company::opted_in(0);
        company.is_in_use = is_in_use;
        company.live_until(from);
        company.settings.client_id = "a typing error".to_owned();
        let refreshed = company.refreshed.len();
        company.live_until(from + 1);
        assert_eq!(company.refreshed.len(), refreshed, "another client's token is not sent");

        company.settings.client_id = CLIENT.to_owned();
        company.is_in_use = false;
        company.live_until(300);

        assert_eq!(company.notified, [], "from day {from}");
        let idle: Vec<_> = company.intervals().into_iter().filter(|days| *days > 2.0).collect();
        assert!(idle.iter().all(|days| (52.99..=55.1).contains(days)), "from day {from}: {idle:?}");
        assert!(idle.len() >= 4, "from day {from}: {idle:?}");
    }
}

#[test]
fn a_changed_client_is_used_again_within_a_day_of_its_correction() {
    let mut company = Company::opted_in(0);
    company.settings.client_id = "a typing error".to_owned();
    company.live_until(55);
    company.settings.client_id = CLIENT.to_owned();

    company.live_until(100);

    assert_eq!(company.notified, []);
    assert!(company.refreshed.first().is_some_and(|day| (55.0..=56.1).contains(day)), "{:?}", company.refreshed);
}

/// The store's clock is wrong from day `from` to day `until`, by `ahead` days. `looks`: the keeper looks at the row
/// meanwhile.
fn with_a_wrong_clock(from: i64, until: i64, ahead: i64, looks: bool, is_in_use: bool) -> Company {
    let mut company = Company::opted_in(0);
    company.live_until(from);
    company.ahead = ahead;
    (company.is_kept, company.is_in_use) = (looks, is_in_use);
    company.live_until(until);
    company.ahead = 0;
    (company.is_kept, company.is_in_use) = (true, false);
    company.live_until(until + 300);
    company
}

#[test]
fn a_store_whose_clock_was_a_year_ahead_delays_nothing_and_tells_nobody() {
    for looks in [true, false] {
        for (from, until) in [(10, 12), (40, 54)] {
            let company = with_a_wrong_clock(from, until, 365, looks, false);
            company.assert_kept_alive(52.99..=54.1);
        }
        // A company used meanwhile does not count as in use for the whole year ahead.
        let company = with_a_wrong_clock(10, 12, 365, looks, true);
        assert!(company.refreshed.len() <= 6, "looks: {looks}, {:?}", company.refreshed);
        assert_eq!(company.notified, []);
    }
}

#[test]
fn a_store_whose_clock_was_some_hours_or_days_ahead_delays_nothing_and_tells_nobody() {
    for ahead in [1, 2, 3, 30] {
        for looks in [true, false] {
            let company = with_a_wrong_clock(10, 12, ahead, looks, false);
            company.assert_kept_alive(48.0..=55.1);
        }
    }
}

#[test]
fn an_opt_in_of_a_store_a_year_ahead_is_renewed_once_the_clock_is_right() {
    for looks in [true, false] {
        let mut company = Company::opted_in(365);
        company.is_kept = looks;
        company.live_until(2);
        (company.ahead, company.is_kept) = (0, true);
        company.live_until(120);

        let rest = company.refreshed.split_off(1);
        assert!((2.0..=2.1).contains(&company.refreshed[0]), "its end is known again: {:?}", company.refreshed);
        assert!(rest.len() == 2 && rest.iter().all(|day| *day > 55.0), "{rest:?}");
        assert_eq!(company.notified, []);
    }
}

#[test]
fn a_longer_keep_alive_reaches_every_opt_in() {
    for from in [1, 30, 44, 46, 52] {
        let mut company = Company::opted_in(0);
        company.live_until(from);
        company.settings.keep_alive_before_end = 20 * DAY;
        company.live_until(300);

        // Not before three quarters of its life.
        assert_eq!(company.notified, []);
        let intervals = company.intervals();
        assert!((44.99..=f64::from(from as i32 + 1).max(45.1)).contains(&intervals[0]), "{from}: {intervals:?}");
        assert!(intervals[1..].iter().all(|days| (44.99..=45.1).contains(days)), "{from}: {intervals:?}");
    }
}

#[test]
fn without_keep_alive_people_are_told_and_nothing_is_sent() {
    let mut company = Company::opted_in(0);
    company.settings.keep_alive_before_end = Duration::ZERO;
    company.live_until(60 - 1);
    company.refresh_end = day(1000);
    company.live_until(90);

    let soon = |days: u64| Notice::ExpiringSoon { within: days * 86_400 };
    let expired = Notice::Ended(CauseKind::RefreshExpired);
    assert_eq!(company.notified, [soon(14), soon(7), soon(3), soon(1), expired]);
    assert!(company.refreshed.is_empty(), "{:?}", company.refreshed);
}

#[test]
fn people_are_told_of_a_grant_whose_tokens_cannot_be_read_in_use_or_not() {
    for is_in_use in [false, true] {
        let mut company = Company::opted_in(0);
        (company.is_in_use, company.obstacle) = (is_in_use, Some(Obstacle::Unreadable));
        company.live_until(45);
        assert_eq!(company.notified, [], "an operator has time until then");
        company.live_until(60 - 1);
        company.refresh_end = day(1000);
        company.live_until(90);

        let soon = |days: u64| Notice::ExpiringSoon { within: days * 86_400 };
        let expired = Notice::Ended(CauseKind::RefreshExpired);
        assert_eq!(company.notified, [soon(14), soon(7), soon(3), soon(1), expired], "in use: {is_in_use}");
        assert!(company.refreshed.is_empty(), "{:?}", company.refreshed);
    }
}

#[test]
fn an_unanswered_refresh_is_followed_by_probes_until_ups_answers_and_tells_nobody() {
    for (unanswered, until) in [(1, 53.1), (3, 53.1), (10, 53.2), (40, 53.5)] {
        let mut company = Company::opted_in(0);
        company.unanswered = unanswered;
        company.live_until(200);

        assert_eq!((company.notified.as_slice(), company.unanswered), ([].as_slice(), 0), "{unanswered}");
        assert!((52.99..=until).contains(&company.refreshed[0]), "{unanswered}: {:?}", company.refreshed);
        assert!(company.intervals()[1..].iter().all(|days| (52.99..=53.1).contains(days)), "{unanswered}");
    }
}

#[test]
fn a_renewal_that_stays_unanswered_for_days_concerns_a_person_until_it_succeeds() {
    let mut company = Company::opted_in(0);
    company.unanswered = u32::MAX;
    company.live_until(58);
    assert_eq!(
        company.notified,
        [Notice::ExpiringSoon { within: 7 * 86_400 }, Notice::ExpiringSoon { within: 3 * 86_400 }]
    );

    company.unanswered = 0;
    company.live_until(150);
    assert_eq!(company.notified.len(), 2, "{:?}", company.notified);
}
