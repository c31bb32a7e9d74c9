//! What a clause decides to the microsecond: the clock of these tests stands still.

use std::time::Duration;

use batchsuite_auth::{
    ActorId, CompanyId, Environment,
    clock::{Clock as _, Timestamp, later},
    events::{EventContent, EventKind},
    ids::ConsentId,
    secret::{BrowserSecret, PkceVerifier},
    status::ListedAs,
    store::{
        Consent, ConsentCaps, HIDDEN_FOR, NewConsent, NewEvent, Prune, Row, RowKey, Saved, Store, Swap, TokenChange,
        USE_RECORDED_WITHIN, USED_CONSENT_KNOWN, Verifier, Wake,
    },
};
use batchsuite_store::SqliteStore;
use batchsuite_tests::{DAY, HOUR, acme, company, log::Log, sqlite::TestFile};

use crate::stage::{key, rotated, swap};

const CIE: Environment = Environment::Cie;
const MINUTE: Duration = Duration::from_secs(60);
const LIFETIME: Duration = MINUTE;

/// Saves the row as the next rotation with these changes.
async fn save(store: &SqliteStore, key: RowKey, change: impl FnOnce(&Row, Swap) -> Swap) {
    let row = store.load(&key).await.unwrap();
    assert_ne!(store.save(change(&row, swap(&row))).await.unwrap(), Saved::Conflict);
}

fn wake(at: Option<Timestamp>, if_used: Option<Timestamp>) -> Option<Wake> {
    Some(Wake { at, if_used })
}

fn consent(environment: Environment, company: &CompanyId, number: u8) -> NewConsent {
    NewConsent {
        consent: Consent {
            id: ConsentId::random(),
            environment,
            company: company.clone(),
            actor: ActorId::new(format!("actor-{number}")).unwrap(),
            browser: BrowserSecret::random().hash(),
            redirect_uri: "https://host.example/callback".parse().unwrap(),
            client_id: "our-client".to_owned(),
            return_to: None,
            removals: 0,
        },
        state: BrowserSecret::random().hash(),
        verifier: Some(PkceVerifier::new("verifier")),
        lifetime: LIFETIME,
    }
}

async fn put(store: &SqliteStore, consent: &NewConsent) {
    let caps = ConsentCaps { per_company: 10, per_actor: 10 };
    let event =
        NewEvent { company: Some(consent.consent.company.clone()), event: EventContent::new(EventKind::Started) };
    store.put_consent(consent.clone(), caps, event).await.unwrap();
}

/// How often the file was changed, as seen by another connection.
struct Writes(rusqlite::Connection);

impl Writes {
    fn version(&self) -> i64 {
        self.0.pragma_query_value(None, "data_version", |row| row.get(0)).unwrap()
    }

    /// Whether recording a use of `acme` writes anything.
    async fn records_use(&self, store: &SqliteStore) -> bool {
        let before = self.version();
        store.record_use(CIE, &[acme()]).await.unwrap();
        self.version() != before
    }
}

#[tokio::test]
async fn a_use_is_written_once_in_five_minutes_or_if_it_wakes_the_company_earlier() {
    let file = TestFile::new();
    let (store, writes) = (file.store().await, Writes(file.connection()));
    let hour = later(file.clock.now(), HOUR);
    for at in [None, Some(later(hour, HOUR))] {
        save(&store, key(&acme()), |_, swap| Swap { wake: wake(at, Some(hour)), ..swap }).await;

        assert!(writes.records_use(&store).await, "the company wakes earlier");
        assert!(!writes.records_use(&store).await, "the use is recorded");
        file.clock.advance(USE_RECORDED_WITHIN - MINUTE);
        assert!(!writes.records_use(&store).await, "the use was recorded just before");
        file.clock.advance(MINUTE);
        assert!(writes.records_use(&store).await, "the use was recorded five minutes before");
    }
}

#[tokio::test]
async fn a_consent_ends_with_the_last_microsecond_of_its_lifetime() {
    let file = TestFile::new();
    let (store, consent) = (file.store().await, consent(CIE, &acme(), 1));
    put(&store, &consent).await;
    let (moment, state) = (Duration::from_micros(1), &consent.state);
    let has_verifier = async || {
        let found = store.find_consent(CIE, state).await.unwrap()?;
        Some(matches!(found.verifier, Verifier::Readable(_)))
    };

    file.clock.advance(LIFETIME - moment);
    assert_eq!(has_verifier().await, Some(true));
    assert_eq!(store.load(&key(&acme())).await.unwrap().consents.len(), 1);
    assert_eq!(store.overview(CIE).await.unwrap().consents_pending, 1);
    file.clock.advance(moment);
    assert_eq!(has_verifier().await, Some(false));
    assert!(store.load(&key(&acme())).await.unwrap().consents.is_empty());
    assert_eq!(store.overview(CIE).await.unwrap().consents_pending, 0);
    assert_eq!(store.use_consent(CIE, consent.consent.id, None).await.unwrap(), None);

    // It stays known for an hour.
    file.clock.advance(USED_CONSENT_KNOWN - moment);
    assert_eq!(has_verifier().await, Some(false));
    file.clock.advance(moment);
    assert_eq!(has_verifier().await, None);
    put(&store, &self::consent(CIE, &acme(), 2)).await;
    let left: i64 = file.connection().query_row("SELECT count(*) FROM consents", [], |row| row.get(0)).unwrap();
    assert_eq!(left, 1, "the old one is deleted");
}

#[tokio::test]
async fn a_hidden_row_is_shown_again_after_exactly_two_minutes() {
    let file = TestFile::new();
    let store = file.store().await;
    save(&store, key(&acme()), |row, swap| Swap { wake: wake(Some(row.as_of), None), ..swap }).await;
    let woken = async || store.wake(CIE, 10).await.unwrap().len();

    assert_eq!([woken().await, woken().await], [1, 0]);
    file.clock.advance(HIDDEN_FOR);

    assert_eq!(woken().await, 1);
}

#[tokio::test]
async fn an_event_of_exactly_that_age_is_not_pruned() {
    let file = TestFile::new();
    let store = file.store().await;
    rotated(&store, &acme()).await;
    file.clock.advance(DAY);
    let prune = Prune { environment: CIE, older_than: DAY, limit: 10, undelivered: false };

    assert_eq!(store.prune(prune).await.unwrap().events, 0);
    file.clock.advance(Duration::from_micros(1));
    assert_eq!(store.prune(prune).await.unwrap().events, 1);
}

#[tokio::test]
async fn the_overview_counts_the_companies_and_consents_of_one_environment() {
    let file = TestFile::new();
    let store = file.store().await;
    let start = file.clock.now();
    let at = |hours: u32| later(start, hours * HOUR);
    // For each of both environments: rows of all statuses, and one of the client, which counts for nothing.
    let of_both = [(CIE, &["a", "b", "c", "d"][..], at(1)), (Environment::Production, &["e", "f"], start)];
    for (environment, names, first) in of_both {
        for (number, name) in names.iter().enumerate() {
            let key = RowKey::company(environment, company(name));
            let (listed_as, wake) = match number {
                0 => (ListedAs::Authenticated, wake(Some(at(2)), None)),
                1 => (ListedAs::ReauthRequired, wake(Some(first), None)),
                2 => (ListedAs::ExpiringSoon, wake(Some(at(3)), None)),
                _ => (ListedAs::ReauthRequired, None),
            };
            save(&store, key, |_, swap| Swap { listed_as, wake, ..swap }).await;
        }
        save(&store, RowKey::client(environment), |row, swap| Swap {
            listed_as: ListedAs::ReauthRequired,
            wake: wake(Some(row.as_of), None),
            tokens: TokenChange::Keep,
            ..swap
        })
        .await;
    }
    file.clock.advance(2 * HOUR - LIFETIME);
    put(&store, &consent(CIE, &company("b"), 1)).await;
    file.clock.advance(LIFETIME);
    for (environment, number) in [(CIE, 2), (CIE, 3), (Environment::Production, 4)] {
        put(&store, &consent(environment, &company("b"), number)).await;
    }
    let used = consent(CIE, &company("c"), 5);
    put(&store, &used).await;
    store.use_consent(CIE, used.consent.id, None).await.unwrap().unwrap();

    let overview = store.overview(CIE).await.unwrap();

    let companies: Vec<_> = overview.companies.into_iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(companies, [(ListedAs::Authenticated, 1), (ListedAs::ExpiringSoon, 1), (ListedAs::ReauthRequired, 2)]);
    assert_eq!((overview.companies_due, overview.oldest_wake), (2, Some(at(1))), "one is due at this moment");
    assert_eq!(overview.consents_pending, 2);
    let empty = TestFile::new().store().await.overview(CIE).await.unwrap();
    assert_eq!((empty.total(), empty.companies_due, empty.oldest_wake), (0, 0, None));
    let elsewhere = store.overview(Environment::Production).await.unwrap();
    assert_eq!((elsewhere.total(), elsewhere.companies_due, elsewhere.consents_pending), (3, 2, 1));
}

#[tokio::test]
async fn a_company_that_is_due_at_this_moment_is_the_oldest_that_is_due() {
    let file = TestFile::new();
    let store = file.store().await;
    save(&store, key(&acme()), |row, swap| Swap { wake: wake(Some(row.as_of), None), ..swap }).await;

    assert_eq!(store.overview(CIE).await.unwrap().oldest_wake, Some(file.clock.now()));
}

#[tokio::test]
async fn the_row_of_the_client_is_no_change_that_cannot_be_read() {
    let log = Log::captured();
    let file = TestFile::new();
    let store = file.store().await;
    let start = store.changes(CIE, None, Duration::ZERO).await.unwrap().cursor;
    save(&store, RowKey::client(CIE), |_, swap| Swap { tokens: TokenChange::Keep, ..swap }).await;

    let changes = store.changes(CIE, Some(start), Duration::ZERO).await.unwrap();

    assert!(changes.changed.is_empty() && changes.cursor > start);
    // Other tests of this program damage rows; theirs have names.
    let unreadable = log.lines("cannot be read");
    assert!(!unreadable.iter().any(|line| line.contains("what=\"change\" name= ")), "{unreadable:?}");
}
