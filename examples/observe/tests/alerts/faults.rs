//! The faults, and the alert of each.

use std::{pin::Pin, time::Duration};

use batchsuite_auth::{
    Client, Policy, StoreErrorKind,
    fake_ups::{Endpoint, Fault, Times},
};
use batchsuite_tests::{DAY, Verb, seconds};
use serde_json::{Value, json};

use crate::world::{OWNER, World};

type Set = Box<dyn for<'a> Fn(&'a mut World) -> Pin<Box<dyn Future<Output = ()> + 'a>>>;

/// A fault in a [`World`].
pub(crate) struct Case {
    /// `None`: UPS answers in another way, which is no trouble.
    pub(crate) alert: Option<&'static str>,
    pub(crate) what: String,
    pub(crate) companies: usize,
    pub(crate) policy: fn(&mut Policy),
    pub(crate) set: Set,
    /// How long it lasts.
    pub(crate) time: Duration,
}

fn case(alert: Option<&'static str>, what: &str, set: Set) -> Case {
    Case { alert, what: what.to_owned(), companies: 4, policy: |_| {}, set, time: 15 * seconds(60) }
}

fn at_once(alert: &'static str, what: &str, set: impl Fn(&mut World) + 'static) -> Case {
    let set: Set = Box::new(move |world| {
        set(world);
        Box::pin(async {})
    });
    case(Some(alert), what, set)
}

/// Each fault of the fake that can be at its refresh endpoint.
pub(crate) fn of_ups() -> Vec<(Value, Option<&'static str>)> {
    let out_of_reach = Some("BatchsuiteUpsOutOfReach");
    vec![
        (json!("drop_answer"), out_of_reach),
        (json!("reset"), out_of_reach),
        (json!("close"), out_of_reach),
        (json!("hang"), out_of_reach),
        (json!({"delay": {"milliseconds": 60_000}}), out_of_reach),
        (json!({"trickle": {"milliseconds": 1000}}), out_of_reach),
        (json!({"truncate": {"keep_bytes": 10}}), out_of_reach),
        (json!("unavailable"), out_of_reach),
        (json!("error_page"), out_of_reach),
        (json!({"redirect": {"status": 307, "location": "https://elsewhere.example/"}}), out_of_reach),
        (json!("invalid_refresh_token"), Some("BatchsuiteRefusalWave")),
        (json!("invalid_client"), Some("BatchsuiteClientMisconfigured")),
        (json!("blocked"), Some("BatchsuiteClientBlocked")),
        (json!({"too_many_requests": {}}), Some("BatchsuiteRateLimited")),
        (
            json!({"answer": {"status": 400, "body": r#"{"code":"99","message":"New"}"#}}),
            Some("BatchsuiteUnknownAnswers"),
        ),
        (json!({"edit": {"set": {"token_type": "mac"}}}), Some("BatchsuiteOddAnswers")),
        (json!("numbers"), None),
        (json!("keep_refresh_token"), None),
    ]
}

pub(crate) fn all() -> Vec<Case> {
    let of_ups = of_ups().into_iter().map(|(json, alert)| {
        let fault: Fault = serde_json::from_value(json.clone()).unwrap();
        let set = move |world: &mut World| world.ups.fault(Endpoint::Refresh, fault.clone(), Times::UntilCleared);
        Case { alert, ..at_once("", &format!("UPS: {json}"), set) }
    });
    let offline: Set = Box::new(|world| Box::pin(world.ups.go_offline()));
    let another: Set = Box::new(|world| Box::pin(world.restart_as(Client::new("other", "secret"))));
    let others = [
        case(Some("BatchsuiteUpsOutOfReach"), "UPS is offline", offline),
        case(Some("BatchsuiteClientChanged"), "another client id", another),
        at_once("BatchsuiteOptInsLost", "a password change", |world| world.ups.change_password(OWNER)),
        Case {
            policy: |policy| policy.keep_alive_before_end = Duration::ZERO,
            ..at_once("BatchsuiteOptInsEndSoon", "nothing is kept alive", |world| {
                world.used.clear();
                world.ups.clock().advance(50 * DAY);
            })
        },
    ];
    of_ups.chain(others).chain(of_the_store()).chain(of_deliveries()).collect()
}

fn of_the_store() -> [Case; 6] {
    let without_a_store: Set = Box::new(|world| Box::pin(pair_without_a_store(world)));
    [
        at_once("BatchsuiteStoreFails", "the store is away", |world| world.process.store.go_away()),
        Case {
            time: seconds(180),
            ..case(Some("BatchsuitePairsNotStored"), "the store goes away with a pair in hand", without_a_store)
        },
        at_once("BatchsuiteStoreTakesNoWrites", "verdicts are not stored", |world| {
            world.process.store.fail_as(Verb::Verdict, StoreErrorKind::Misconfigured);
            world.ups.change_password(OWNER);
        }),
        at_once("BatchsuiteFeedStale", "the feed hangs", |world| world.process.store.hang(Verb::Changes)),
        at_once("BatchsuiteKeeperSilent", "the keeper hangs", |world| world.process.store.hang(Verb::Wake)),
        Case {
            companies: 400,
            policy: |policy| policy.refresh_rate = 1,
            ..at_once("BatchsuiteKeeperBehind", "many companies are due", many_are_due)
        },
    ]
}

fn of_deliveries() -> [Case; 3] {
    [
        at_once("BatchsuiteHandlerFails", "the handler fails", |world| world.handler.fails()),
        at_once("BatchsuiteDeliveryLags", "the handler hangs", |world| world.handler.hangs()),
        at_once("BatchsuiteDeliveryNowhere", "the handler gives up", |world| world.handler.gives_up()),
    ]
}

/// UPS answers a refresh, and the store is away before the pair is stored.
async fn pair_without_a_store(world: &mut World) {
    let answer = world.process.http.hold_answer();
    world.ups.clock().advance(seconds(120));
    drop(world.process.caller(&world.used[1]));
    answer.reached().await;
    world.process.store.go_away();
    answer.release();
}

/// The opt-ins of all companies are to be kept alive, and UPS takes its time.
fn many_are_due(world: &mut World) {
    world.used.clear();
    world.ups.fault(Endpoint::Refresh, Fault::Delay { milliseconds: 5000 }, Times::UntilCleared);
    world.ups.clock().advance(54 * DAY);
}
