//! The faults, and the alert of each.

use std::{pin::Pin, time::Duration};

use batchsuite_auth::{
    Client, Policy, StoreErrorKind,
    fake_ups::{Answer, Edit, Endpoint, Fault, Times},
};
use batchsuite_tests::{DAY, Verb, seconds};
use serde_json::json;

use crate::world::{OWNER, World};

type Set = for<'a> fn(&'a mut World) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

/// A fault in a [`World`].
pub(crate) struct Case {
    pub(crate) alert: &'static str,
    pub(crate) companies: usize,
    pub(crate) policy: fn(&mut Policy),
    pub(crate) set: Set,
    /// How long it lasts.
    pub(crate) time: Duration,
}

fn case(alert: &'static str, set: Set) -> Case {
    Case { alert, companies: 4, policy: |_| {}, set, time: 15 * seconds(60) }
}

/// A fault at UPS's refresh endpoint.
macro_rules! refresh {
    ($fault:expr) => {
        |world| Box::pin(async { world.ups.fault(Endpoint::Refresh, $fault, Times::UntilCleared) })
    };
}

/// Anything else that is done to the world at once.
macro_rules! at_once {
    ($what:expr) => {
        |world| {
            let what: fn(&mut World) = $what;
            what(world);
            Box::pin(async {})
        }
    };
}

pub(crate) fn all() -> Vec<Case> {
    vec![
        case("BatchsuiteStoreFails", at_once!(|world| world.process.store.go_away())),
        Case { time: seconds(180), ..case("BatchsuitePairsNotStored", |world| Box::pin(pair_without_a_store(world))) },
        case(
            "BatchsuiteStoreTakesNoWrites",
            at_once!(|world| {
                world.process.store.fail_as(Verb::Verdict, StoreErrorKind::Misconfigured);
                world.ups.change_password(OWNER);
            }),
        ),
        case("BatchsuiteFeedStale", at_once!(|world| world.process.store.hang(Verb::Changes))),
        case("BatchsuiteKeeperSilent", at_once!(|world| world.process.store.hang(Verb::Wake))),
        Case {
            companies: 150,
            policy: |policy| policy.refresh_rate = 1,
            ..case("BatchsuiteKeeperBehind", at_once!(many_are_due))
        },
        case("BatchsuiteClientMisconfigured", refresh!(Fault::InvalidClient)),
        case("BatchsuiteClientBlocked", refresh!(Fault::Blocked)),
        case(
            "BatchsuiteUnknownAnswers",
            refresh!(Answer::status(400).with_json(json!({"code": "99", "message": "New"}))),
        ),
        case("BatchsuiteRefusalWave", refresh!(Fault::InvalidRefreshToken)),
        case("BatchsuiteRateLimited", refresh!(Fault::TooManyRequests { retry_after: None })),
        case("BatchsuiteUpsOutOfReach", |world| Box::pin(world.ups.go_offline())),
        case("BatchsuiteUpsOutOfReach", refresh!(Fault::Hang)),
        case("BatchsuiteUpsOutOfReach", refresh!(Fault::Unavailable)),
        case("BatchsuiteOddAnswers", refresh!(Edit::default().set("token_type", "mac"))),
        case("BatchsuiteClientChanged", |world| Box::pin(world.restart_as(Client::new("other", "secret")))),
        case("BatchsuiteOptInsLost", at_once!(|world| world.ups.change_password(OWNER))),
        Case {
            policy: |policy| policy.keep_alive_before_end = Duration::ZERO,
            ..case(
                "BatchsuiteOptInsEndSoon",
                at_once!(|world| {
                    world.used.clear();
                    world.ups.clock().advance(50 * DAY);
                }),
            )
        },
        case("BatchsuiteHandlerFails", at_once!(|world| world.handler.fails())),
        case("BatchsuiteDeliveryLags", at_once!(|world| world.handler.hangs())),
        case("BatchsuiteDeliveryNowhere", at_once!(|world| world.handler.gives_up())),
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
