//! Every callback that a pending consent may meet.

use super::*;
use crate::{
    machine::{
        ConsentFacts, ConsentOutcome, ConsentRefusal, LinkFacts, LinkRefusal, Presented, UsedFacts, consent_outcome,
        is_repeated, judge_consent, judge_link,
    },
    secret::SecretHash,
};

/// Same browser, same actor, in time, not removed since; and the outcome.
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
        // The end itself is already too late.
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
fn a_used_consent_is_known_to_its_person_and_browser_for_an_hour() {
    let actors = ["mallory", "alice"].map(|name| ActorId::new(name).unwrap());
    let browsers = ["another", "the browser"].map(SecretHash::of);
    for (same_browser, same_actor, minutes, expected) in [
        (true, true, 0, true),
        (true, true, 59, true),
        (true, true, 60, false),
        (false, true, 0, false),
        (true, false, 0, false),
        (false, false, 0, false),
    ] {
        let used = UsedFacts { actor: &actors[1], browser: browsers[1], used_at: minute(5) };
        let presented =
            Presented { actor: &actors[usize::from(same_actor)], browser: browsers[usize::from(same_browser)] };

        let repeated = is_repeated(used, presented, minute(5 + minutes));

        assert_eq!(repeated, expected, "{same_browser} {same_actor} {minutes}");
    }
}

#[test]
fn the_grant_tells_what_came_of_a_used_consent() {
    let id = ConsentId::random();
    let ended = Standing::ReauthRequired(RecordedCause::OptInInvalidated);
    for (removals, opt_in, standing, authenticated_at, now, expected) in [
        // It led to the current opt-in, or to one that has ended since.
        (1, Some(id), Standing::Authenticated, Some(6), 50, ConsentOutcome::Authenticated),
        (1, Some(id), ended, Some(6), 50, ConsentOutcome::AskTheCompany),
        // A later opt-in replaced it.
        (1, Some(ConsentId::random()), Standing::Authenticated, Some(6), 50, ConsentOutcome::Authenticated),
        // Its exchange may still be under way: there is no opt-in yet, or only an earlier one.
        (1, None, Standing::Unauthenticated, None, 5, ConsentOutcome::AskTheCompany),
        (1, Some(ConsentId::random()), Standing::Authenticated, Some(5), 5, ConsentOutcome::AskTheCompany),
        // It failed.
        (1, None, Standing::Unauthenticated, None, 6, ConsentOutcome::Failed),
        (1, Some(ConsentId::random()), Standing::Authenticated, Some(4), 6, ConsentOutcome::Failed),
        (2, None, Standing::Unauthenticated, None, 5, ConsentOutcome::RemovedSince),
        (2, Some(ConsentId::random()), Standing::Authenticated, Some(8), 50, ConsentOutcome::RemovedSince),
    ] {
        let authenticated_at = authenticated_at.map(minute);
        let grant = Grant { removals, opt_in, standing, authenticated_at, ..Grant::default() };

        let told = consent_outcome((id, 1, minute(5)), &grant, MINUTE, minute(now));

        assert_eq!(told, expected, "{grant:?} {now}");
    }
}

#[test]
fn a_connect_link_is_followed_once_in_time_and_unless_the_authorization_was_removed() {
    for (is_used, end, removals, expected) in [
        (false, 31, 1, Ok(())),
        (true, 31, 1, Err(LinkRefusal::Used)),
        (true, 10, 2, Err(LinkRefusal::Used)),
        // The end itself is too late.
        (false, 30, 1, Err(LinkRefusal::Expired)),
        (false, 30, 2, Err(LinkRefusal::Expired)),
        (false, 31, 2, Err(LinkRefusal::RemovedSince)),
    ] {
        let link = LinkFacts { is_used, expires_at: minute(end), removals: 1 };

        assert_eq!(judge_link(link, removals, minute(30)), expected, "{is_used} {end} {removals}");
    }
}
