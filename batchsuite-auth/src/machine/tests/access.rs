//! Every token request in every situation.

use super::{super::*, *};

const REVISION: Revision = Revision { epoch: 3, version: 2 };

fn now() -> Timestamp {
    minute(1000)
}

/// Every freshness of the stored access token, with times that lead to it.
fn freshness() -> [(Freshness, TokenTimes); 6] {
    let times = |refresh_at, end: Option<i64>| TokenTimes {
        obtained_at: minute(900),
        refresh_at: minute(refresh_at),
        access_token_end: end.map(minute),
        refresh_token_end: RefreshTokenEnd::Unknown,
    };
    [
        (Freshness::Fresh, times(1001, Some(1010))),
        (Freshness::Due, times(1000, Some(1010))),
        (Freshness::Ended, times(990, Some(1000))),
        (Freshness::Ended, times(1001, None)),
        // Dated ten minutes ahead: the clock has been set back since.
        (Freshness::Ended, TokenTimes { obtained_at: minute(1010), ..times(1070, Some(1100)) }),
        // Clocks of one installation may differ by this much.
        (Freshness::Fresh, TokenTimes { obtained_at: minute(1005), ..times(1070, Some(1100)) }),
    ]
}

const FORMER: Revision = Revision { epoch: 3, version: 1 };

const DEMANDS: [Demand; 5] = [
    Demand::Token,
    Demand::Rejected(REVISION),
    Demand::Rejected(FORMER),
    Demand::Renew(REVISION),
    Demand::Renew(FORMER),
];

const STANDINGS: [Standing; 4] = [
    Standing::Unauthenticated,
    Standing::Authenticated,
    Standing::ReauthRequired(RecordedCause::OptInInvalidated),
    Standing::ReauthRequired(RecordedCause::RotationLost),
];

/// Each phase, and when its lease ends.
fn phases() -> [(Phase, Option<Timestamp>); 7] {
    let claimed = |lease_until| Phase::Claimed { attempt: attempt(1), at: minute(999), lease_until };
    let in_doubt = |lease_until| Phase::InDoubt { lease_until };
    let (running, wrong_clock) = (minute(1001), minute(1000 + 300));
    [
        (Phase::Idle, None),
        (claimed(running), Some(running)),
        (claimed(now()), None),
        (claimed(wrong_clock), None),
        (in_doubt(running), Some(running)),
        (in_doubt(now()), None),
        (in_doubt(wrong_clock), None),
    ]
}

/// Each pause, and when it ends.
fn pauses() -> [(Option<Timestamp>, Option<Timestamp>); 4] {
    let (running, wrong_clock) = (minute(1060), minute(1000 + 300));
    [(None, None), (Some(running), Some(running)), (Some(now()), None), (Some(wrong_clock), None)]
}

fn refresh_token_ends() -> [RefreshTokenEnd; 4] {
    [RefreshTokenEnd::Absent, RefreshTokenEnd::Unknown, RefreshTokenEnd::At(minute(1001)), RefreshTokenEnd::At(now())]
}

/// One situation, in the terms of the design.
#[derive(Debug)]
struct Situation {
    standing: Standing,
    same_client: bool,
    refresh_token_end: RefreshTokenEnd,
    stored: Freshness,
    lease: Option<Timestamp>,
    pause: Option<Timestamp>,
}

/// What a caller without a token gets, by the first line that applies; whether a token that still works is served
/// meanwhile, and whether a refresh begins behind it.
fn refresh(situation: &Situation) -> (Access, bool, bool) {
    use Access::*;
    let ended = situation.refresh_token_end == RefreshTokenEnd::At(now());
    let absent = situation.refresh_token_end == RefreshTokenEnd::Absent;
    let lost = Standing::ReauthRequired(RecordedCause::RotationLost);
    let invalidated = Standing::ReauthRequired(RecordedCause::OptInInvalidated);
    #[rustfmt::skip]
    let lines = [
        // applies                                              what a caller gets without a token           serves begins
        (situation.standing == Standing::Unauthenticated,       NotAuthenticated,                            false, false),
        (situation.standing == invalidated,                     Reauthenticate(CauseKind::OptInInvalidated), false, false),
        (situation.standing == lost,                            Reauthenticate(CauseKind::RotationLost),     true,  false),
        (!situation.same_client,                                Reauthenticate(CauseKind::ClientChanged),    false, false),
        (ended,                                                 Reauthenticate(CauseKind::RefreshExpired),   true,  false),
        (absent,                                                Reauthenticate(CauseKind::NoRefreshToken),   true,  false),
        (situation.lease.is_some(),                             Leased { until: situation.lease.unwrap_or_default() }, true, false),
        (situation.pause.is_some(),                             Paused { until: situation.pause.unwrap_or_default() }, true, false),
        (true,                                                  Refresh,                                     true,  true),
    ];
    let (_, without_token, serves, begins) = lines.into_iter().find(|(applies, ..)| *applies).unwrap();
    (without_token, serves, begins)
}

fn expected(situation: &Situation, demand: Demand) -> Access {
    let (without_token, serves, begins) = refresh(situation);
    let rejected = demand == Demand::Rejected(REVISION);
    let renewed = demand == Demand::Renew(REVISION);
    match situation.stored {
        _ if !serves || rejected => without_token,
        Freshness::Ended => without_token,
        Freshness::Due if begins => Access::ServeAndRefresh,
        Freshness::Fresh if begins && renewed => Access::ServeAndRefresh,
        Freshness::Due | Freshness::Fresh => Access::Serve,
    }
}

fn grant(standing: Standing, tokens: Option<TokenTimes>) -> Grant {
    Grant { revision: REVISION, standing, client_id: Some(CLIENT.to_owned()), tokens, ..Grant::default() }
}

#[test]
fn every_demand_in_every_situation_gets_what_the_lines_say() {
    let mut cases = 0;
    for (stored, times) in freshness() {
        for standing in STANDINGS {
            for (phase, lease) in phases() {
                for (retry_at, pause) in pauses() {
                    for refresh_token_end in refresh_token_ends() {
                        for same_client in [true, false] {
                            let tokens = Some(TokenTimes { refresh_token_end, ..times });
                            let grant = Grant { phase, retry_at, ..grant(standing, tokens) };
                            let client_id = if same_client { CLIENT } else { "another" };
                            let situation =
                                Situation { standing, same_client, refresh_token_end, stored, lease, pause };
                            for demand in DEMANDS {
                                let access = grant.access(client_id, demand, now());

                                assert_eq!(access, expected(&situation, demand), "{demand:?} in {situation:?}");
                                cases += 1;
                            }
                        }
                    }
                }
            }
        }
    }
    assert_eq!(cases, 6 * 4 * 7 * 4 * 4 * 2 * DEMANDS.len());
}

#[test]
fn freshness_follows_from_the_times() {
    for (expected, times) in freshness() {
        assert_eq!(times.freshness(now()), expected, "{times:?}");
    }
}

#[test]
fn without_tokens_a_recorded_cause_is_told_all_the_same() {
    let invalidated = Standing::ReauthRequired(RecordedCause::OptInInvalidated);
    for (standing, expected) in [
        (Standing::Unauthenticated, Access::NotAuthenticated),
        (invalidated, Access::Reauthenticate(CauseKind::OptInInvalidated)),
    ] {
        for demand in DEMANDS {
            assert_eq!(grant(standing, None).access(CLIENT, demand, now()), expected, "{demand:?} in {standing:?}");
        }
    }
}

#[test]
fn a_derived_cause_goes_away_with_the_wrong_clock_or_client_id() {
    let times = TokenTimes { refresh_token_end: RefreshTokenEnd::At(minute(1001)), ..freshness()[0].1 };
    let grant = grant(Standing::Authenticated, Some(times));

    assert_eq!(grant.cause(CLIENT, minute(1001)), Some(CauseKind::RefreshExpired));
    assert_eq!(grant.cause("another", now()), Some(CauseKind::ClientChanged));
    assert_eq!(grant.cause(CLIENT, now()), None);
}

#[test]
fn every_cause_has_a_name_of_its_own() {
    for &cause in CauseKind::ALL {
        assert_eq!(CauseKind::of_name(cause.name()), Some(cause));
    }
    assert_eq!(CauseKind::of_name(""), None);
}
