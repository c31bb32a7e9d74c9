//! Why a company works or does not, in words.

use std::fmt;

use serde::Serialize;

use crate::{
    clock::{Timestamp, later},
    error::{Responsible, TokenError, Unavailable, chain},
    events::Evidence,
    ids::{CompanyId, Revision},
    machine::{CauseKind, Fact, FindingKind, NextStep, NextStepKind, Severity, UpsTroubleKind},
    status::CompanyStatus,
    store::StoreErrorKind,
};

/// Why a company works or does not: [`BatchSuiteAuth::diagnose`](crate::BatchSuiteAuth::diagnose).
///
/// `Display` gives one line for each finding. As JSON (`Serialize`), kinds are their [`name`](FindingKind::name)s and
/// times are in RFC 3339.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Diagnosis {
    /// The company.
    pub company: CompanyId,
    /// When it was made: by the store's clock, or by this process's if the store could not be read.
    pub at: Timestamp,
    /// The company's status; `None`: the store could not be read.
    pub status: Option<CompanyStatus>,
    /// What was found, the worst first. Empty: the company works, and nothing is worth knowing.
    pub findings: Vec<Finding>,
}

/// One reason why a company works or does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// What was found.
    pub kind: FindingKind,
    /// How bad it is.
    pub severity: Severity,
    /// The finding in words, for a person.
    pub message: String,
    /// Who must act: as [`FindingKind::responsible`], except that nobody must about an end that is near while the renewal
    /// comes before it.
    pub responsible: Responsible,
    /// Since when, if known.
    pub since: Option<Timestamp>,
    /// What UPS or the store said. For operators.
    pub evidence: Option<Evidence>,
    /// What happens next by itself.
    pub next: Option<NextStep>,
}

/// The result of [`BatchSuiteAuth::check`](crate::BatchSuiteAuth::check).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Check {
    /// What a caller would have got: the revision of the access token and its end, or the error.
    pub outcome: Result<TokenInfo, TokenError>,
    /// What was found afterwards.
    pub diagnosis: Diagnosis,
}

/// An access token without the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TokenInfo {
    /// The numbers of the opt-in and of its rotation.
    pub revision: Revision,
    /// When the token ends.
    pub expires_at: Timestamp,
}

impl Diagnosis {
    pub(crate) fn new(company: CompanyId, at: Timestamp, status: Option<CompanyStatus>, facts: Vec<Fact>) -> Self {
        let mut diagnosis = Self { company, at, status, findings: facts.into_iter().map(Finding::of).collect() };
        diagnosis.sort();
        diagnosis
    }

    /// Whether callers get a token that works, as far as is known.
    pub fn works(&self) -> bool {
        self.findings.first().is_none_or(|worst| worst.severity != Severity::NoToken)
    }

    /// Adds the finding of a caller's `error`, unless another one explains that callers get no token.
    pub(crate) fn explain(&mut self, error: &TokenError) {
        if self.works() {
            let fact = fact_of(error, self.at);
            self.findings.retain(|known| known.kind != fact.kind);
            self.findings.push(Finding::of(fact));
            self.sort();
        }
    }

    fn sort(&mut self) {
        // Of two that are equally bad, the one that concerns every company explains the other.
        self.findings.sort_by_key(|finding| (finding.severity, !matches!(finding.kind, FindingKind::Ups(_))));
    }
}

impl Finding {
    fn of(fact: Fact) -> Self {
        let Fact { kind, severity, since, evidence, next } = fact;
        let responsible = match kind {
            // The renewal comes before the end.
            FindingKind::ExpiringSoon if severity == Severity::Notice => Responsible::Nobody,
            kind => kind.responsible(),
        };
        Self { kind, severity, message: kind.to_string(), responsible, since, evidence, next }
    }
}

/// The finding of a caller's error at `now`.
pub(crate) fn fact_of(error: &TokenError, now: Timestamp) -> Fact {
    let (kind, evidence) = match error {
        TokenError::NotAuthenticated => (FindingKind::NotAuthenticated, None),
        TokenError::ReauthRequired(cause) => (FindingKind::ReauthRequired(cause.kind), cause.evidence.clone()),
        TokenError::Unavailable { reason, .. } => (
            match reason {
                Unavailable::NotSent => FindingKind::RefreshNotSent,
                Unavailable::Unanswered => FindingKind::RefreshUnanswered,
                Unavailable::RateLimited => FindingKind::Ups(UpsTroubleKind::RateLimited),
                Unavailable::UnknownAnswer => FindingKind::Ups(UpsTroubleKind::UnknownAnswer),
                Unavailable::UnderWay => FindingKind::RefreshUnderWay,
                Unavailable::Busy => FindingKind::KeeperBehind,
                Unavailable::Unusable => FindingKind::TokensUnusable,
                Unavailable::Paused => FindingKind::Paused,
            },
            None,
        ),
        TokenError::Misconfigured { evidence, .. } => {
            (FindingKind::Ups(UpsTroubleKind::ClientMisconfigured), Some((**evidence).clone()))
        }
        TokenError::Store(error) => {
            let kind = match error.kind() {
                StoreErrorKind::Corrupt => FindingKind::TokensUnreadable,
                _ => FindingKind::StoreFails,
            };
            (kind, Some(Evidence::message(chain(error).to_string())))
        }
        TokenError::ShutDown => (FindingKind::Stopping, None),
    };
    let next = error.retry_after().map(|pause| NextStep { kind: NextStepKind::Retry, at: Some(later(now, pause)) });
    let since = match error {
        TokenError::ReauthRequired(cause) => cause.at,
        _ => None,
    };
    Fact { kind, severity: Severity::NoToken, since, evidence, next }
}

impl FindingKind {
    /// Who must act.
    pub fn responsible(self) -> Responsible {
        match self {
            Self::ReauthRequired(CauseKind::ClientChanged)
            | Self::RowDamaged
            | Self::TokensUnreadable
            | Self::RefreshRejected
            | Self::Overdue
            | Self::ClockSetBack
            | Self::FreshTokenRejected
            | Self::Ups(UpsTroubleKind::ClientMisconfigured | UpsTroubleKind::ClientBlocked)
            | Self::StoreFails
            | Self::FeedStale
            | Self::KeeperSilent
            | Self::KeeperBehind
            | Self::PairsNotStored => Responsible::Operator,
            Self::NotAuthenticated | Self::ReauthRequired(_) | Self::NotRenewable | Self::ExpiringSoon => {
                Responsible::CompanyAdministrator
            }
            Self::RefreshUnanswered
            | Self::RefreshNotSent
            | Self::TokensUnusable
            | Self::Ups(
                UpsTroubleKind::UnknownAnswer
                | UpsTroubleKind::RefusalWave
                | UpsTroubleKind::RateLimited
                | UpsTroubleKind::OutOfReach,
            ) => Responsible::Ups,
            Self::RefreshUnderWay
            | Self::RefreshAbandoned
            | Self::Paused
            | Self::Doubtful
            | Self::ConsentPending
            | Self::ConnectLinkPending
            | Self::TokenRejected
            | Self::Stopping => Responsible::Nobody,
        }
    }
}

impl fmt::Display for FindingKind {
    /// The finding in words, for a person who may act on it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAuthenticated => "Nobody has authenticated this company, or its authorization was removed. A company administrator has to authenticate.",
            Self::ReauthRequired(cause) => return fmt::Display::fmt(cause, f),
            Self::RowDamaged => {
                "The company's stored row is damaged. An operator has to restore it, or an administrator authenticates again."
            }
            Self::TokensUnreadable => {
                "The company's stored tokens cannot be read: a key is missing, or the data is damaged. An operator has to look, or an administrator authenticates again."
            }
            Self::NotRenewable => "UPS gave a permission that cannot be renewed. A company administrator has to authenticate again when it ends.",
            Self::ExpiringSoon => "The authorization at UPS.com ends soon.",
            Self::RefreshUnderWay => "The access token is being refreshed.",
            Self::RefreshAbandoned => "A refresh did not end in time: its process has died, or cannot reach the store.",
            Self::RefreshUnanswered => "The last refresh got neither tokens nor a refusal from UPS. Whether UPS used the refresh token is not known; nothing is lost yet.",
            Self::RefreshNotSent => "UPS could not be reached for the last refresh; nothing was sent.",
            Self::RefreshRejected => {
                "UPS refused the last refresh for a reason other than its token. If only this company is concerned, its client may differ; an operator has to look."
            }
            Self::TokensUnusable => "UPS issues tokens that cannot be used.",
            Self::Paused => "The last refresh failed; the next one is not due yet.",
            Self::Overdue => "The company has needed attention for minutes, and no keeper has given it. No keeper runs, or it is behind.",
            Self::Doubtful => {
                "An earlier request was lost, a backup was restored, or another system may have used the token. A refusal now would be told as a lost rotation."
            }
            Self::ClockSetBack => "The stored tokens are dated in the future: a clock was wrong, or is wrong now.",
            Self::ConsentPending => "Somebody went to UPS.com for this company and has not come back.",
            Self::ConnectLinkPending => "A connect link of this company has not been followed.",
            Self::TokenRejected => "An API answered 401 to an access token of this company; the token was refreshed.",
            Self::FreshTokenRejected => {
                "An API answers 401 even to an access token that UPS has just issued. The API may not be enabled for this application (UPS says 250002 then), or UPS has an outage."
            }
            Self::Ups(trouble) => return fmt::Display::fmt(trouble, f),
            Self::StoreFails => "The store fails.",
            Self::FeedStale => "This process cannot read the changes of other processes.",
            Self::KeeperSilent => "The keeper of this process gives no sign of life: nothing is refreshed ahead of time.",
            Self::KeeperBehind => "Refreshes are behind: more companies need one than this process may begin.",
            Self::PairsNotStored => {
                "New tokens could not be stored yet and exist only in this process. Do not stop it before the store works again."
            }
            Self::Stopping => "This process is stopping. Another one serves.",
        })
    }
}

impl fmt::Display for UpsTroubleKind {
    /// The trouble in words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ClientMisconfigured => {
                "UPS refuses this application: its client id, secret or redirect URI. An operator has to correct it; all companies are concerned."
            }
            Self::ClientBlocked => "UPS blocks this application. An operator has to ask UPS; all companies are concerned.",
            Self::UnknownAnswer => "UPS gave several companies in a row an error that nobody has described. UPS is asked less for a while.",
            Self::RefusalWave => {
                "UPS refused the refresh tokens of several companies in a row, as it does in outages. No other company is tried for a while."
            }
            Self::RateLimited => "UPS limits the rate of requests.",
            Self::OutOfReach => "UPS cannot be reached, or does not answer.",
        })
    }
}

impl fmt::Display for NextStep {
    /// The step in words; times are UTC.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            NextStepKind::SecondOpinion => "UPS is asked about the refresh token once more",
            NextStepKind::Retry => "UPS is asked again",
            NextStepKind::RefreshOnRejection => "another rejection has the token refreshed",
            NextStepKind::Refresh => "the tokens are renewed",
            NextStepKind::TakeOver => "the refresh ends, or is taken over",
            NextStepKind::Trial => "one request is sent as a trial",
            NextStepKind::Look => "it is looked at again",
            NextStepKind::End => "the opt-in ends",
            NextStepKind::Expiry => "it expires",
            NextStepKind::Clearance => "the doubt ends with the next rotation",
            NextStepKind::Repetition => "it is repeated until it succeeds",
            NextStepKind::CaughtUp => "the refreshes have caught up",
        })?;
        match (self.kind, self.at) {
            (_, None) => Ok(()),
            (NextStepKind::Clearance, Some(at)) => write!(f, " after {}", at.format("%F %T")),
            (NextStepKind::RefreshOnRejection, Some(at)) => write!(f, ", from {}", at.format("%F %T")),
            (NextStepKind::TakeOver, Some(at)) => write!(f, " by {}", at.format("%F %T")),
            (NextStepKind::CaughtUp, Some(at)) => write!(f, " at about {}", at.format("%F %T")),
            (_, Some(at)) => write!(f, " at {}", at.format("%F %T")),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(since) = self.since {
            write!(f, " Since {}.", since.format("%F %T"))?;
        }
        if let Some(evidence) = &self.evidence {
            write!(f, " ({evidence})")?;
        }
        match self.next {
            Some(next) => write!(f, " Next: {next}."),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.status {
            Some(company) => write!(f, "{}: {}", self.company, company.status)?,
            None => write!(f, "{}: the store could not be read", self.company)?,
        }
        self.findings.iter().try_for_each(|finding| write!(f, "\n- {finding}"))
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, time::Duration};

    use super::*;
    use crate::{status::Cause, store::StoreError};

    #[test]
    fn each_finding_has_a_name_and_words_of_its_own() {
        let names: HashSet<_> = FindingKind::ALL.iter().map(|kind| kind.name()).collect();
        let words: HashSet<_> = FindingKind::ALL.iter().map(ToString::to_string).collect();

        assert_eq!((names.len(), words.len()), (FindingKind::ALL.len(), FindingKind::ALL.len()));
        assert_eq!(FindingKind::ALL.len(), 25 + CauseKind::ALL.len() + UpsTroubleKind::ALL.len());
        for &cause in CauseKind::ALL {
            assert!(FindingKind::ALL.contains(&FindingKind::ReauthRequired(cause)), "{cause:?}");
        }
        for &trouble in UpsTroubleKind::ALL {
            assert!(FindingKind::ALL.contains(&FindingKind::Ups(trouble)), "{trouble:?}");
        }
    }

    #[test]
    fn the_chapter_lists_each_finding_beside_the_one_who_must_act() {
        let chapter = include_str!("docs/operating.rs");
        for kind in FindingKind::ALL {
            let who = match kind.responsible() {
                Responsible::CompanyAdministrator => "company administrator",
                Responsible::Operator => "operator",
                Responsible::Ups => "UPS",
                _ => "nobody",
            };
            let row =
                chapter.lines().find(|line| line.contains(&format!("`{}`", kind.name())) && line.contains("//! | "));
            assert!(row.is_some_and(|row| row.starts_with(&format!("//! | {who} | `"))), "{}: {row:?}", kind.name());
        }
    }

    #[test]
    fn each_error_of_a_token_has_a_finding_that_explains_it() {
        let wait = Duration::from_secs(60);
        let unavailable = |reason| TokenError::Unavailable { reason, retry_after: wait };
        let store = |kind| TokenError::Store(StoreError::new(kind));
        let cause = Cause { at: Some(Timestamp::UNIX_EPOCH), ..Cause::new(CauseKind::RotationLost) };
        let evidence = Evidence::message("no").into();
        for (error, kind) in [
            (TokenError::NotAuthenticated, FindingKind::NotAuthenticated),
            (TokenError::ReauthRequired(cause.into()), FindingKind::ReauthRequired(CauseKind::RotationLost)),
            (unavailable(Unavailable::NotSent), FindingKind::RefreshNotSent),
            (unavailable(Unavailable::Unanswered), FindingKind::RefreshUnanswered),
            (unavailable(Unavailable::RateLimited), FindingKind::Ups(UpsTroubleKind::RateLimited)),
            (unavailable(Unavailable::UnknownAnswer), FindingKind::Ups(UpsTroubleKind::UnknownAnswer)),
            (unavailable(Unavailable::UnderWay), FindingKind::RefreshUnderWay),
            (unavailable(Unavailable::Busy), FindingKind::KeeperBehind),
            (unavailable(Unavailable::Unusable), FindingKind::TokensUnusable),
            (unavailable(Unavailable::Paused), FindingKind::Paused),
            (
                TokenError::Misconfigured { evidence, retry_after: wait },
                FindingKind::Ups(UpsTroubleKind::ClientMisconfigured),
            ),
            (store(StoreErrorKind::Unavailable), FindingKind::StoreFails),
            (store(StoreErrorKind::Misconfigured), FindingKind::StoreFails),
            (store(StoreErrorKind::Corrupt), FindingKind::TokensUnreadable),
            (TokenError::ShutDown, FindingKind::Stopping),
        ] {
            let now = Timestamp::UNIX_EPOCH;
            let company = CompanyId::new("acme").unwrap();
            let mut diagnosis = Diagnosis::new(company, now, None, Vec::new());
            assert!(diagnosis.works());

            diagnosis.explain(&error);

            let [finding] = &diagnosis.findings[..] else { panic!("{error:?}: {diagnosis}") };
            assert_eq!((finding.kind, finding.severity), (kind, Severity::NoToken), "{error:?}");
            assert_eq!(finding.next.and_then(|next| next.at), error.retry_after().map(|wait| later(now, wait)));
            let is_caused = matches!(error, TokenError::ReauthRequired(_));
            assert_eq!(finding.since.is_some(), is_caused, "{error:?}");
            let has_words = matches!(error, TokenError::Misconfigured { .. } | TokenError::Store(_));
            assert_eq!(finding.evidence.is_some(), has_words, "{error:?}");
        }
    }

    #[test]
    fn nobody_must_act_about_an_end_that_is_near_while_the_renewal_comes_before_it() {
        let responsible = |severity| {
            let kind = FindingKind::ExpiringSoon;
            Finding::of(Fact { kind, severity, since: None, evidence: None, next: None }).responsible
        };

        assert_eq!(responsible(Severity::Notice), Responsible::Nobody);
        assert_eq!(responsible(Severity::AtRisk), Responsible::CompanyAdministrator);
    }

    #[test]
    fn a_diagnosis_reads_like_a_report_the_worst_first() {
        let at = |seconds| Timestamp::from_timestamp(seconds, 0).unwrap();
        let fact = |kind, severity| Fact { kind, severity, since: None, evidence: None, next: None };
        let next = NextStep { kind: NextStepKind::Retry, at: Some(at(120)) };
        let unanswered = fact(FindingKind::RefreshUnanswered, Severity::NoToken);
        let facts = vec![
            fact(FindingKind::Doubtful, Severity::Notice),
            fact(FindingKind::FeedStale, Severity::AtRisk),
            Fact { since: Some(at(60)), evidence: Some(Evidence::message("reset")), next: Some(next), ..unanswered },
        ];

        let diagnosis = Diagnosis::new(CompanyId::new("acme").unwrap(), at(90), None, facts);

        assert!(!diagnosis.works());
        assert_eq!(
            diagnosis.to_string(),
            "acme: the store could not be read\n\
             - The last refresh got neither tokens nor a refusal from UPS. Whether UPS used the refresh token is not known; nothing is lost yet. \
             Since 1970-01-01 00:01:00. (reset) Next: UPS is asked again at 1970-01-01 00:02:00.\n\
             - This process cannot read the changes of other processes.\n\
             - An earlier request was lost, a backup was restored, or another system may have used the token. A refusal now would be told as a lost rotation."
        );
        let json = serde_json::to_value(&diagnosis).unwrap();
        let first = &json["findings"][0];
        assert_eq!((&first["kind"], &first["severity"]), (&"refresh_unanswered".into(), &"no_token".into()));
        assert_eq!((&first["responsible"], &first["next"]["kind"]), (&"ups".into(), &"retry".into()));
        assert_eq!(first["since"], "1970-01-01T00:01:00Z");
    }
}
