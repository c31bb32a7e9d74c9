//! Where a company stands, as a person or a program reads it.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::{
    clock::Timestamp,
    events::Evidence,
    ids::{ActorId, CompanyId, Revision},
    machine::CauseKind,
};

/// Where a company stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Status {
    /// Nobody has opted in, or the authorization was removed.
    Unauthenticated,
    /// There is an opt-in.
    Authenticated {
        /// When the refresh token ends, as far as UPS said. A refresh moves it on.
        refresh_expires_at: Option<Timestamp>,
        /// Whether that is soon (inside the warning window).
        expiring_soon: bool,
        /// Whether UPS sent a refresh token: if not, the opt-in ends with the access token.
        refreshable: bool,
    },
    /// A new opt-in is needed.
    #[serde(serialize_with = "as_cause")]
    ReauthRequired(Cause),
}

/// Beside the tag, the cause is one field.
fn as_cause<S: Serializer>(cause: &Cause, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Fields<'a> {
        cause: &'a Cause,
    }
    Fields { cause }.serialize(serializer)
}

/// One company and where it stands.
///
/// As JSON (`Serialize`) one object: `status` is `unauthenticated`, `authenticated` or `reauth_required`, the fields of that
/// [`Status`] stand beside it, and times are RFC 3339.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CompanyStatus {
    /// Which company.
    pub company: CompanyId,
    /// Where it stands.
    #[serde(flatten)]
    pub status: Status,
    /// Who opted in last.
    pub actor: Option<ActorId>,
    /// Since when there is this opt-in.
    pub authenticated_at: Option<Timestamp>,
    /// Until when a consent is pending: somebody was sent to UPS.com and has not come back.
    pub consent_pending_until: Option<Timestamp>,
    /// Which opt-in, and which rotation of it.
    pub revision: Revision,
    /// Whether the stored tokens were found to be unreadable, so that none can be handed out: an operator must check keys and
    /// data, or an administrator authenticates the company again. A list does not open tokens, so it tells this only of a grant
    /// that is itself damaged, or whose tokens are gone.
    pub tokens_unreadable: bool,
}

/// Why a new opt-in is needed, with the evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Cause {
    /// Why.
    pub kind: CauseKind,
    /// Since when.
    pub at: Option<Timestamp>,
    /// What UPS said, where the cause is recorded.
    pub evidence: Option<Evidence>,
    /// When UPS is asked again, by itself: if it takes the refresh token after all, the company is authenticated again.
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
    /// The cause in words for a person who can repair it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OptInInvalidated => {
                "The UPS.com password was changed, or access was withdrawn at UPS.com. A company administrator has to \
                 authenticate again."
            }
            Self::RotationLost => {
                "UPS's answer to a renewal was lost by a crash or on the network, or the UPS.com password was changed \
                 at that very time. A company administrator has to authenticate again."
            }
            Self::RefreshExpired => {
                "The authorization at UPS.com has expired. A company administrator has to authenticate again."
            }
            Self::ClientChanged => {
                "The authorization belongs to another UPS client id than the one configured now. Correct the client \
                 id, or authenticate again."
            }
            Self::NoRefreshToken => {
                "UPS gave no permission that can be renewed. A company administrator has to authenticate again."
            }
        })
    }
}

/// The name of a company's status, by which a list finds it. The machine hands it over with each save.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ListedAs {
    /// No opt-in.
    #[default]
    Unauthenticated,
    /// An opt-in.
    Authenticated,
    /// An opt-in whose refresh token ends soon.
    ExpiringSoon,
    /// A new opt-in is needed.
    ReauthRequired,
}

impl ListedAs {
    /// All of them.
    pub const ALL: &'static [Self] =
        &[Self::Unauthenticated, Self::Authenticated, Self::ExpiringSoon, Self::ReauthRequired];

    /// A stable name, for a column.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unauthenticated => "unauthenticated",
            Self::Authenticated => "authenticated",
            Self::ExpiringSoon => "expiring_soon",
            Self::ReauthRequired => "reauth_required",
        }
    }

    /// The one of this name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|listed| listed.name() == name)
    }
}

/// Companies that stand so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StatusFilter {
    /// [`Status::Unauthenticated`]
    Unauthenticated,
    /// [`Status::Authenticated`], also those that expire soon, and those whose row cannot be read.
    Authenticated,
    /// [`Status::Authenticated`], and the refresh token ends within the warning window.
    ExpiringSoon,
    /// [`Status::ReauthRequired`]
    ReauthRequired,
}

impl StatusFilter {
    /// Whether `status` is one of them.
    pub fn accepts(self, status: &Status) -> bool {
        matches!(
            (self, status),
            (Self::Unauthenticated, Status::Unauthenticated)
                | (Self::Authenticated, Status::Authenticated { .. })
                | (Self::ExpiringSoon, Status::Authenticated { expiring_soon: true, .. })
                | (Self::ReauthRequired, Status::ReauthRequired(_))
        )
    }

    /// The names that such companies are listed under.
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
    fn a_status_is_one_json_object() {
        let company = |status| CompanyStatus {
            company: CompanyId::new("acme").unwrap(),
            status,
            actor: ActorId::new("ada").ok(),
            authenticated_at: Some(Timestamp::UNIX_EPOCH),
            consent_pending_until: None,
            revision: Revision { epoch: 2, version: 3 },
            tokens_unreadable: false,
        };
        let refused = Cause {
            at: Some(Timestamp::UNIX_EPOCH),
            evidence: Some(Evidence::of_answer(400, Some("10400"), None)),
            ..Cause::new(CauseKind::RotationLost)
        };
        let rest = r#""actor":"ada","authenticated_at":"1970-01-01T00:00:00Z","consent_pending_until":null,"revision":{"epoch":2,"version":3},"tokens_unreadable":false"#;
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
