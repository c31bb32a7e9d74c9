use super::*;
use crate::{
    clock::{Clock, Timestamp, later},
    secret::AccessTokenSecret,
};

#[derive(Clone, Debug)]
struct Hands(Arc<Mutex<Timestamp>>);

impl Hands {
    fn move_by(&self, seconds: i64) {
        *self.0.lock().unwrap() += chrono::TimeDelta::seconds(seconds);
    }
}

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

/// A cache, its clock and a company.
fn arranged(refuse_after: Option<Duration>) -> (Cache, Hands, CompanyId) {
    let clock = Hands(Arc::new(Mutex::new(Timestamp::from_timestamp(1_800_000_000, 0).unwrap())));
    let cache = Cache::new(HotClock::Host(Arc::new(clock.clone())), refuse_after);
    (cache, clock, CompanyId::new("acme").unwrap())
}

/// A token of one hour; its early window is the last quarter.
fn token(clock: &Hands, change: u64) -> AccessToken {
    let secret = AccessTokenSecret::new(format!("token-{change}"));
    AccessToken::new(&secret, later(clock.now(), Duration::from_secs(3600)), Revision::default()).unwrap()
}

fn insert(guard: &ReadGuard<'_>, token: &AccessToken, change: u64) -> bool {
    let as_of = crate::clock::earlier(token.expires_at(), Duration::from_secs(3600));
    guard.insert(token, EventId::new(change), later(as_of, Duration::from_secs(2700)), as_of)
}

fn put(cache: &Cache, company: &CompanyId, clock: &Hands, change: u64) {
    assert!(insert(&cache.begin_read(company), &token(clock, change), change));
}

/// What a caller gets.
fn got(cache: &Cache, company: &CompanyId) -> String {
    let mut due = false;
    let Some(token) = cache.get(company, || due = true) else { return "nothing".to_owned() };
    format!("{} {}", if due { "due" } else { "fresh" }, token.expose_secret())
}

#[test]
fn a_token_is_fresh_then_due_once_then_gone() {
    let (cache, clock, acme) = arranged(None);
    assert_eq!(got(&cache, &acme), "nothing");
    put(&cache, &acme, &clock, 1);

    clock.move_by(2699);
    assert_eq!(got(&cache, &acme), "fresh token-1");
    clock.move_by(1);
    assert_eq!(got(&cache, &acme), "due token-1");
    assert_eq!(got(&cache, &acme), "fresh token-1", "one caller is told");
    clock.move_by(15);
    assert_eq!(got(&cache, &acme), "due token-1", "and another after a pause");
    clock.move_by(885);
    assert_eq!(got(&cache, &acme), "nothing");
}

#[test]
fn a_refresh_that_is_tried_at_the_end_does_not_move_the_end() {
    let (cache, clock, acme) = arranged(None);
    put(&cache, &acme, &clock, 1);

    clock.move_by(3599);
    assert_eq!(got(&cache, &acme), "due token-1");
    clock.move_by(1);
    assert_eq!(got(&cache, &acme), "nothing");
}

#[test]
fn a_clock_that_is_set_back_ends_what_it_dated() {
    let (cache, clock, acme) = arranged(None);
    put(&cache, &acme, &clock, 1);

    clock.move_by(-5 * 3600);

    assert_eq!(got(&cache, &acme), "nothing");
}

#[test]
fn the_feed_evicts_what_is_older_than_the_change() {
    let (cache, clock, acme) = arranged(None);
    put(&cache, &acme, &clock, 5);

    cache.changed(&[(acme.clone(), EventId::new(5))]);
    assert_eq!(got(&cache, &acme), "fresh token-5", "the entry includes this change");
    cache.changed(&[(acme.clone(), EventId::new(6))]);
    assert_eq!(got(&cache, &acme), "nothing");
}

#[test]
fn a_row_that_was_read_before_a_change_is_not_inserted_after_it() {
    let (cache, clock, acme) = arranged(None);
    let guard = cache.begin_read(&acme);
    let old = token(&clock, 5);

    cache.changed(&[(acme.clone(), EventId::new(6))]);

    assert!(!insert(&guard, &old, 5));
    assert_eq!(got(&cache, &acme), "nothing");
    assert!(insert(&guard, &token(&clock, 6), 6), "a row that was read again is inserted");
}

#[test]
fn each_of_two_readers_hears_of_a_change() {
    let (cache, clock, acme) = arranged(None);
    let guards = [cache.begin_read(&acme), cache.begin_read(&acme)];
    let old = token(&clock, 5);

    cache.changed(&[(acme.clone(), EventId::new(6))]);

    assert_eq!(guards.each_ref().map(|guard| insert(guard, &old, 5)), [false, false]);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_ends_in_this_process_wakes_its_readers_alone() {
    let (cache, _, acme) = arranged(None);
    let bolt = CompanyId::new("bolt").unwrap();
    let (of_acme, of_bolt) = (cache.begin_read(&acme), cache.begin_read(&bolt));

    cache.wake(&acme);

    let wait = Duration::from_secs(1);
    assert!(tokio::time::timeout(wait, of_acme.changed()).await.is_ok());
    assert!(tokio::time::timeout(wait, of_bolt.changed()).await.is_err());
}

#[test]
fn an_older_row_does_not_replace_a_newer_one() {
    let (cache, clock, acme) = arranged(None);
    put(&cache, &acme, &clock, 6);
    put(&cache, &acme, &clock, 5);

    assert_eq!(got(&cache, &acme), "fresh token-6");
}

#[test]
fn what_is_outdated_is_not_handed_out_nor_is_what_was_being_read() {
    let (cache, clock, acme) = arranged(None);
    put(&cache, &acme, &clock, 1);
    let guard = cache.begin_read(&acme);
    let read = token(&clock, 1);

    cache.outdate();

    assert!(insert(&guard, &read, 1), "the caller may use what it read");
    assert_eq!(got(&cache, &acme), "nothing");
    put(&cache, &acme, &clock, 1);
    assert_eq!(got(&cache, &acme), "fresh token-1");
}

#[test]
fn a_reader_knows_the_rotation_that_was_cached_though_it_has_ended_or_is_outdated() {
    let (cache, clock, acme) = arranged(None);
    assert_eq!(cache.begin_read(&acme).cached(), Revision::default());
    let revision = Revision { epoch: 1, version: 7 };
    let secret = AccessTokenSecret::new("token-1");
    let token = AccessToken::new(&secret, later(clock.now(), Duration::from_secs(3600)), revision).unwrap();
    assert!(insert(&cache.begin_read(&acme), &token, 1));

    clock.move_by(7200);
    assert_eq!(cache.begin_read(&acme).cached(), revision);
    cache.outdate();
    assert_eq!(cache.begin_read(&acme).cached(), revision);
}

#[test]
fn when_the_numbers_of_changes_were_set_back_lower_ones_count_again() {
    let (cache, clock, acme) = arranged(None);
    put(&cache, &acme, &clock, 9);

    cache.outdate_changes();
    assert_eq!(got(&cache, &acme), "nothing");
    put(&cache, &acme, &clock, 5);
    assert_eq!(got(&cache, &acme), "fresh token-5");
    cache.changed(&[(acme.clone(), EventId::new(6))]);
    assert_eq!(got(&cache, &acme), "nothing");
}

#[test]
fn without_the_feed_nothing_is_served_if_the_policy_says_so() {
    let (cache, clock, acme) = arranged(Some(Duration::from_secs(30)));
    put(&cache, &acme, &clock, 1);

    clock.move_by(29);
    assert_eq!(got(&cache, &acme), "fresh token-1");
    clock.move_by(1);
    assert_eq!(got(&cache, &acme), "nothing");
    cache.changed(&[]);
    assert_eq!(got(&cache, &acme), "nothing", "our own change is not a read of the feed");
    cache.feed_reported(&[]);
    assert_eq!(got(&cache, &acme), "fresh token-1");
}

#[test]
fn a_use_is_told_once() {
    let (cache, clock, acme) = arranged(None);
    put(&cache, &acme, &clock, 1);
    assert!(cache.take_used().is_empty(), "caching is not a use");

    for _ in 0..2 {
        got(&cache, &acme);
        assert_eq!(cache.take_used(), std::slice::from_ref(&acme));
        assert!(cache.take_used().is_empty());
    }

    cache.mark_used(&acme);
    put(&cache, &acme, &clock, 2);
    assert_eq!(cache.take_used(), [acme], "a use of the former token counts");
}

#[test]
fn readers_leave_nothing_behind() {
    let (cache, _, acme) = arranged(None);

    drop((cache.begin_read(&acme), cache.begin_read(&acme)));

    assert!(cache.readers().by_company.is_empty());
}
