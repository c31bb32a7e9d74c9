//! A company's status, for people and programs.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::{
    clock::Timestamp,
    events::Evidence,
    ids::{ActorId, CompanyId, Revision},
    machine::CauseKind,
};

/// A company's status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Status {
    /// Nobody has opted in, or the authorization was removed.
    Unauthenticated,
    /// There is an opt-in.
    Authenticated {
        /// When the refresh token ends, if UPS said so. Each refresh moves it.
        refresh_expires_at: Option<Timestamp>,
        /// Whether it ends within the warning window.
        expiring_soon: bool,
        /// Whether there is a refresh token; if not, the opt-in ends with the access token.
        refreshable: bool,
    },
    /// A new opt-in is needed.
    #[serde(serialize_with = "as_cause")]
    ReauthRequired(Cause),
}

/// In words for a person, as UPS's guide has them; times are UTC: `Refresh expires: 2027-01-25 14:03:22`.
///
/// ```
/// assert_eq!(batchsuite_auth::Status::Unauthenticated.to_string(), "Not authenticated");
/// ```
impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unauthenticated => f.write_str("Not authenticated"),
            Self::Authenticated { refresh_expires_at: None, .. } => f.write_str("Authenticated"),
            Self::Authenticated { refresh_expires_at: Some(at), expiring_soon, .. } => {
                let soon = if *expiring_soon { " (expiring soon)" } else { "" };
                write!(f, "Refresh expires: {}{soon}", at.format("%F %T"))
            }
            Self::ReauthRequired(cause) => write!(f, "Authenticate again: {cause}"),
        }
    }
}

/// Puts the cause next to the tag, as one field.
fn as_cause<S: Serializer>(cause: &Cause, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Fields<'a> {
        cause: &'a Cause,
    }
    Fields { cause }.serialize(serializer)
}

/// A company and its status.
///
/// As JSON (`Serialize`) one object: `status` is `unauthenticated`, `authenticated` or `reauth_required`, the fields of
/// that [`Status`] are next to it, and times are in RFC 3339.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CompanyStatus {
    /// The company.
    pub company: CompanyId,
    /// Its status.
    #[serde(flatten)]
    pub status: Status,
    /// Who opted in last.
    pub actor: Option<ActorId>,
    /// When the current opt-in was stored.
    pub authenticated_at: Option<Timestamp>,
    /// When the pending consent expires: somebody was sent to UPS.com and has not come back yet.
    pub consent_pending_until: Option<Timestamp>,
    /// Until when a connect link can be followed that nobody has followed yet.
    pub connect_link_until: Option<Timestamp>,
    /// The numbers of the opt-in and of its rotation.
    pub revision: Revision,
    /// Whether the stored tokens are known to be unreadable, so that none can be served: an operator must check keys
    /// and data, or an administrator must authenticate the company again. A list does not open tokens, so it reports
    /// only damaged grants and missing tokens here.
    pub tokens_unreadable: bool,
}

/// Why a new opt-in is needed, with evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Cause {
    /// The cause.
    pub kind: CauseKind,
    /// Since when it is needed.
    pub at: Option<Timestamp>,
    /// What UPS said, if the cause is recorded.
    pub evidence: Option<Evidence>,
    /// When UPS will be asked again without any action. If UPS then accepts the refresh token, the company is
    /// authenticated again.
    pub asked_again_at: Option<Timestamp>,
}

impl Cause {
    pub(crate) fn new(kind: CauseKind) -> Self {
        Self { kind, at: None, evidence: None, asked_again_at: None }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.kind, f)
    }
}

impl fmt::Display for CauseKind {
    /// The cause in words, for a person who can fix it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OptInInvalidated => {
                "The UPS.com password was changed, access was withdrawn at UPS.com, or UPS ended it, e.g. after a change \
                 of billing. A company administrator has to authenticate again."
            }
            Self::RotationLost => {
                "UPS's answer to a renewal was lost by a crash or on the network, the UPS.com password was changed at \
                 that very time, or another system used the same refresh token. A company administrator has to authenticate again."
            }
            Self::RefreshExpired => {
                "The authorization at UPS.com has expired. A company administrator has to authenticate again."
            }
            Self::ClientChanged => {
                "The authorization belongs to another UPS client id than the one configured now. An operator has to \
                 correct the client id, or a company administrator authenticates again."
            }
            Self::NoRefreshToken => {
                "UPS gave no permission that can be renewed. A company administrator has to authenticate again."
            }
        })
    }
}

/// The status under which a company is listed. The machine sets it with each save.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ListedAs {
    /// There is no opt-in.
    #[default]
    Unauthenticated,
    /// There is an opt-in.
    Authenticated,
    /// There is an opt-in, and its refresh token ends soon.
    ExpiringSoon,
    /// A new opt-in is needed.
    ReauthRequired,
}

impl ListedAs {
    /// Every listed status.
    pub const ALL: &'static [Self] =
        &[Self::Unauthenticated, Self::Authenticated, Self::ExpiringSoon, Self::ReauthRequired];

    /// A stable name for a column.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unauthenticated => "unauthenticated",
            Self::Authenticated => "authenticated",
            Self::ExpiringSoon => "expiring_soon",
            Self::ReauthRequired => "reauth_required",
        }
    }

    /// The listed status with this name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|listed| listed.name() == name)
    }
}

/// Selects companies by status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StatusFilter {
    /// [`Status::Unauthenticated`]
    Unauthenticated,
    /// [`Status::Authenticated`], including companies that expire soon and those whose row cannot be read.
    Authenticated,
    /// [`Status::Authenticated`] with a refresh token that ends within the warning window.
    ExpiringSoon,
    /// [`Status::ReauthRequired`]
    ReauthRequired,
}

impl StatusFilter {
    /// Whether `status` is selected.
    pub fn accepts(self, status: &Status) -> bool {
        matches!(
            (self, status),
            (Self::Unauthenticated, Status::Unauthenticated)
                | (Self::Authenticated, Status::Authenticated { .. })
                | (Self::ExpiringSoon, Status::Authenticated { expiring_soon: true, .. })
                | (Self::ReauthRequired, Status::ReauthRequired(_))
        )
    }

    /// The listed statuses that it selects.
    pub(crate) fn listed_as(self) -> Vec<ListedAs> {
        match self {
            Self::Unauthenticated => vec![ListedAs::Unauthenticated],
            Self::Authenticated => vec![ListedAs::Authenticated, ListedAs::ExpiringSoon],
            Self::ExpiringSoon => vec![ListedAs::ExpiringSoon],
            Self::ReauthRequired => vec![ListedAs::ReauthRequired],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_status_has_a_name_of_its_own() {
        for &listed in ListedAs::ALL {
            assert_eq!(ListedAs::of_name(listed.name()), Some(listed));
        }
        assert_eq!(ListedAs::of_name(""), None);
    }

    #[test]
    fn a_status_is_told_in_the_words_of_the_guide() {
        let authenticated = |refresh_expires_at, expiring_soon| Status::Authenticated {
            refresh_expires_at,
            expiring_soon,
            refreshable: true,
        };
        for (status, words) in [
            (Status::Unauthenticated, "Not authenticated"),
            (authenticated(None, false), "Authenticated"),
            (authenticated(Some(Timestamp::UNIX_EPOCH), false), "Refresh expires: 1970-01-01 00:00:00"),
            (authenticated(Some(Timestamp::UNIX_EPOCH), true), "Refresh expires: 1970-01-01 00:00:00 (expiring soon)"),
        ] {
            assert_eq!(status.to_string(), words);
        }
        let refused = Status::ReauthRequired(Cause::new(CauseKind::RefreshExpired)).to_string();
        assert!(refused.starts_with("Authenticate again: The authorization at UPS.com has expired."), "{refused}");
    }

    #[test]
    fn a_status_is_one_json_object() {
        let company = |status| CompanyStatus {
            company: CompanyId::new("acme").unwrap(),
            status,
            actor: ActorId::new("ada").ok(),
            authenticated_at: Some(Timestamp::UNIX_EPOCH),
            consent_pending_until: None,
            connect_link_until: None,
            revision: Revision { epoch: 2, version: 3 },
            tokens_unreadable: false,
        };
        let refused = Cause {
            at: Some(Timestamp::UNIX_EPOCH),
            evidence: Some(Evidence::of_answer(400, Some("10400"), None)),
            ..Cause::new(CauseKind::RotationLost)
        };
        let rest = r#""actor":"ada","authenticated_at":"1970-01-01T00:00:00Z","consent_pending_until":null,"connect_link_until":null,"revision":{"epoch":2,"version":3},"tokens_unreadable":false"#;
        for (status, fields) in [
            (Status::Unauthenticated, r#""status":"unauthenticated""#),
            (
                Status::Authenticated { refresh_expires_at: None, expiring_soon: true, refreshable: true },
                r#""status":"authenticated","refresh_expires_at":null,"expiring_soon":true,"refreshable":true"#,
            ),
            (
                Status::ReauthRequired(refused),
                r#""status":"reauth_required","cause":{"kind":"rotation_lost","at":"1970-01-01T00:00:00Z","evidence":{"status":400,"code":"10400"},"asked_again_at":null}"#,
            ),
        ] {
            let json = serde_json::to_string(&company(status)).unwrap();

            assert_eq!(json, format!(r#"{{"company":"acme",{fields},{rest}}}"#));
        }
    }
}
