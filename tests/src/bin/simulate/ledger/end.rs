//! The final check, after hours without faults: every opt-in must be in the state that UPS and people left it in.

use batchsuite_auth::{AccessToken, error::TokenError, machine::CauseKind, status::Status};

use super::{Ended, Ledger, Pair, PairId, Stands, digest};
use crate::plan::Plan;

/// By how much clocks may disagree, in microseconds: the machine's five minutes.
const CLOCK_TOLERANCE: u64 = 300_000_000;

/// The expected state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Unauthenticated,
    /// The stored pair is UPS's latest, and the opt-in is alive.
    Authenticated(PairId),
    /// The stored pair is unused, and UPS has ended the opt-in.
    Withdrawn,
    /// The stored pair is spent, and nobody has its successor.
    Lost,
    /// UPS refused a living token by mistake until it was given up.
    GivenUp,
}

impl Ledger {
    /// Compares a process's status of a company with the truth. `is_accepted`: a UPS API accepts the token.
    pub(crate) fn at_the_end(
        &mut self,
        index: usize,
        status: &Status,
        token: &Result<AccessToken, TokenError>,
        is_accepted: bool,
    ) {
        let expected = match self.expected(index) {
            Ok(expected) => expected,
            Err(violation) => return self.violated(|| violation),
        };
        let kind = match status {
            Status::ReauthRequired(cause) => Some(cause.kind),
            _ => None,
        };
        let is_right = match expected {
            Expected::Unauthenticated => {
                *status == Status::Unauthenticated && matches!(token, Err(TokenError::NotAuthenticated))
            }
            Expected::Authenticated(stored) => {
                let served =
                    token.as_ref().ok().and_then(|token| self.access_tokens.get(&digest(token.expose_secret())));
                matches!(status, Status::Authenticated { .. })
                    && is_accepted
                    && served.is_some_and(|served| served.grant == stored.grant)
            }
            // The doubt behind the cause was checked when it was recorded.
            Expected::Withdrawn => matches!(kind, Some(CauseKind::OptInInvalidated | CauseKind::RotationLost)),
            Expected::Lost => kind == Some(CauseKind::RotationLost),
            Expected::GivenUp => kind.is_some() || matches!(status, Status::Authenticated { .. }),
        };
        let is_told =
            matches!(token, Err(TokenError::ReauthRequired(cause)) if Some(cause.kind) == kind) || token.is_ok();
        if !is_right || (kind.is_some() && !is_told) {
            let token = token.as_ref().map(|_| "a token").map_err(ToString::to_string);
            self.violated(|| format!("company {index} at the end: {status:?}, {token:?}; expected is {expected:?}"));
        }
    }

    fn expected(&self, index: usize) -> Result<Expected, String> {
        let company = &self.companies[index];
        let (Some(stored), true) = (company.stored, company.stands != Stands::Unauthenticated) else {
            return Ok(Expected::Unauthenticated);
        };
        let (grant, pair) = (self.grant(stored), self.pair(stored));
        let latest = grant.pairs.len() - 1;
        if stored.rotation < latest {
            // A process that has a later pair must store it. (A pair that was stored earlier and is missing now was
            // lost with a restored backup.)
            let held = (stored.rotation + 1..=latest).find(|later| {
                let Pair { holder, has_landed, .. } = grant.pairs[*later];
                !has_landed && holder.is_some_and(|holder| !self.dead.contains(&holder))
            });
            return match held {
                Some(later) => Err(format!(
                    "company {index}: rotation {later} of grant {} reached process {:?} and was thrown away; stored is rotation {}",
                    stored.grant, grant.pairs[later].holder, stored.rotation
                )),
                None => Ok(Expected::Lost),
            };
        }
        Ok(match grant.ended {
            Some(Ended::Withdrawn | Ended::Family(_)) => Expected::Withdrawn,
            None if pair.refused_unused >= Plan::most_refusals() => Expected::GivenUp,
            None => Expected::Authenticated(stored),
        })
    }

    /// Each first pair that reached a living process is stored, or was removed or replaced.
    ///
    /// If the store's clock went back by more than five minutes between two consents, UPS's date of the second one is not
    /// believed (the design's tolerance), and the first one, which works as well, may win. These are counted.
    pub(crate) fn no_opt_in_is_thrown_away(&mut self) {
        let is_thrown_away = |grant: &super::Grant| {
            let first = &grant.pairs[0];
            let is_held = first.holder.is_some_and(|holder| !self.dead.contains(&holder));
            let company = &self.companies[grant.company];
            let was_removed = company.removals.iter().any(|at| *at > grant.began.0);
            // Of two concurrent ones, the one that UPS issued later wins; UPS's dates have millisecond precision.
            let was_replaced = self.grants.iter().any(|other| {
                other.company == grant.company
                    && other.pairs[0].has_landed
                    && other.pairs[0].issued_at + 1_000 > first.issued_at
            });
            is_held && !first.has_landed && !was_removed && !was_replaced
        };
        let is_the_clocks = |grant: &super::Grant| {
            let first = &grant.pairs[0];
            self.grants.iter().any(|other| {
                let earlier = &other.pairs[0];
                other.company == grant.company
                    && earlier.has_landed
                    && earlier.issued_at <= first.issued_at
                    && first.issued_at - earlier.issued_at <= first.store_set
                    && earlier.store_set < first.store_set
                    && first.store_set > CLOCK_TOLERANCE
            })
        };
        let thrown_away = || self.grants.iter().enumerate().filter(|(_, grant)| is_thrown_away(grant));
        let superseded = thrown_away().filter(|(_, grant)| is_the_clocks(grant)).count();
        let lost =
            thrown_away().find(|(_, grant)| !is_the_clocks(grant)).map(|(number, grant)| (number, grant.company));
        self.superseded_by_clock = superseded as u64;
        if let Some((number, company)) = lost {
            self.violated(|| format!("company {company}: the first pair of grant {number} was thrown away"));
        }
    }
}
