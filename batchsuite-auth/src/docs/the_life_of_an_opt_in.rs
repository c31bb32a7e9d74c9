//! The life of an opt-in: its states, what ends it, and how the library knows why.
//!
#![doc = include_str!("../../docs/opt-in.svg")]
//!
//! | state | shown as | left by |
//! |---|---|---|
//! | [`Unauthenticated`](crate::Status::Unauthenticated) | not authenticated | authenticate, import |
//! | (a consent is pending; it never changes the state) | waiting for UPS.com | callback, denial, 10 minutes |
//! | [`Authenticated`](crate::Status::Authenticated) | Refresh expires: yyyy-mm-dd hh:mm:ss; *expiring soon* inside the warning window | refresh, expiry, invalidation, removal |
//! | [`ReauthRequired`](crate::Status::ReauthRequired) | Authenticate again, and why | a new consent, removal, a late pair, a second opinion |
//!
//! After a removal a company is *unauthenticated* again, with its history. A company that starts another consent keeps working: only a
//! successful callback replaces the opt-in.
//!
//! # Why a new opt-in is needed
//! | cause | how it is known | recorded? |
//! |---|---|---|
//! | [`OptInInvalidated`](crate::CauseKind::OptInInvalidated) | UPS refused a refresh token that was certainly ours and unused: the UPS.com password was changed, access was withdrawn, or UPS ended it | yes |
//! | [`RotationLost`](crate::CauseKind::RotationLost) | an attempt stayed unanswered, and its token is now refused: the answer was lost, or the password was changed at that very time | yes |
//! | [`RefreshExpired`](crate::CauseKind::RefreshExpired) | the refresh token's end has passed | no |
//! | [`ClientChanged`](crate::CauseKind::ClientChanged) | the opt-in belongs to another client id than the one configured now | no |
//! | [`NoRefreshToken`](crate::CauseKind::NoRefreshToken) | UPS sent no refresh token, and the access token has ended | no |
//!
//! The last three are derived each time the row is read and erase nothing, so a wrong clock or a typing error repairs itself. A lifetime
//! that is missing or implausible is *unknown*, and UPS is asked.
//!
//! Each recorded cause carries [`Evidence`](crate::Evidence): when, UPS's code and message, and which attempt.
//!
//! # The second opinion
//! UPS has been seen to refuse in waves, so one refusal discards nothing. The company is reported at once, but its refresh token stays
//! sealed in quarantine, and UPS is asked again after 15 minutes, 1 hour and 24 hours
//! ([`Policy::second_opinions`](crate::Policy::second_opinions)). If UPS answers with a pair, the company is authenticated again
//! ([`Recovered`](crate::EventKind::Recovered)). After the last refusal, a new consent or a removal the token is erased. Three companies
//! that are refused within ten minutes, with no success in between, pause the whole client, so that a wave does not go through every company.
//!
//! # Two opt-ins of one company
//! A consent that began before a *removal* is refused. Otherwise the opt-in that UPS issued later wins, whichever is stored first; an
//! opt-in that has ended is no rival. Removal erases the tokens, keeps the history and ends what is under way.
//!
//! # Password changes
//! UPS.com tells nobody of a password change, and it ends the access token, too. A service therefore learns of it first by a 401 of an API:
//! hand that token to [`report_rejected`](crate::BatchSuiteAuth::report_rejected), or let an adapter do so. The refresh that follows
//! is refused, and the company's status says why. One UPS.com login that opted in for several companies ends all of them at once.
