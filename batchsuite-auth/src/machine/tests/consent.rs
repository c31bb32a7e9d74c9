//! Every callback that may meet a pending consent.

use super::*;
use crate::{
    ids::ActorId,
    machine::{ConsentFacts, ConsentRefusal, Presented, judge_consent},
    secret::SecretHash,
};

/// Same browser, same actor, in time, not removed since: and what comes of it, and whether it is consumed.
#[rustfmt::skip]
const TABLE: [([bool; 4], Result<(), ConsentRefusal>); 16] = [
    ([true,  true,  true,  true ], Ok(())),
    ([true,  true,  true,  false], Err(ConsentRefusal::RemovedSince)),
    ([true,  true,  false, true ], Err(ConsentRefusal::Expired)),
    ([true,  true,  false, false], Err(ConsentRefusal::Expired)),
    ([true,  false, true,  true ], Err(ConsentRefusal::OtherActor)),
    ([true,  false, true,  false], Err(ConsentRefusal::OtherActor)),
    ([true,  false, false, true ], Err(ConsentRefusal::OtherActor)),
    ([true,  false, false, false], Err(ConsentRefusal::OtherActor)),
    ([false, true,  true,  true ], Err(ConsentRefusal::OtherBrowser)),
    ([false, true,  true,  false], Err(ConsentRefusal::OtherBrowser)),
    ([false, true,  false, true ], Err(ConsentRefusal::OtherBrowser)),
    ([false, true,  false, false], Err(ConsentRefusal::OtherBrowser)),
    ([false, false, true,  true ], Err(ConsentRefusal::OtherBrowser)),
    ([false, false, true,  false], Err(ConsentRefusal::OtherBrowser)),
    ([false, false, false, true ], Err(ConsentRefusal::OtherBrowser)),
    ([false, false, false, false], Err(ConsentRefusal::OtherBrowser)),
];

#[test]
fn every_callback_gets_what_the_table_says() {
    let actors = ["mallory", "alice"].map(|name| ActorId::new(name).unwrap());
    let browsers = ["another", "the browser"].map(SecretHash::of);
    for ([same_browser, same_actor, in_time, not_removed], expected) in TABLE {
        // The end itself is too late.
        for expires_at in if in_time { [minute(11), minute(100)] } else { [minute(10), minute(0)] } {
            let consent = ConsentFacts { actor: &actors[1], browser: browsers[1], expires_at, removals: 1 };
            let presented =
                Presented { actor: &actors[usize::from(same_actor)], browser: browsers[usize::from(same_browser)] };
            let removals = if not_removed { 1 } else { 2 };

            let judged = judge_consent(consent, presented, removals, minute(10));

            assert_eq!(judged, expected, "{same_browser} {same_actor} {in_time} {not_removed}");
        }
    }
}

#[test]
fn a_stranger_ends_nothing_and_an_end_is_consumed() {
    for (refusal, consumes) in [
        (ConsentRefusal::OtherBrowser, false),
        (ConsentRefusal::OtherActor, false),
        (ConsentRefusal::Expired, true),
        (ConsentRefusal::RemovedSince, true),
    ] {
        assert_eq!(refusal.consumes(), consumes, "{refusal:?}");
    }
}
