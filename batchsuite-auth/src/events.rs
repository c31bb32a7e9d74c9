//! Events in the life of a company's opt-in, for people and programs.
//!
//! An event is written together with the change that it reports. It contains no secret.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    config::Environment,
    ids::{ActorId, AttemptId, CompanyId, Revision},
    machine::CauseKind,
};

/// An event's position in the store's log; later events have larger ids.
///
/// Also the cursor for reading on, and the number of a grant's change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(u64);

impl EventId {
    /// The position before the first event.
    pub const START: Self = Self(0);

    /// The id with this number; a store counts from 1.
    pub fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    pub fn number(self) -> u64 {
        self.0
    }
}

/// The kind of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventKind {
    /// A person was sent to UPS.com.
    Started,
    /// A connect link was made, for somebody else to follow.
    LinkIssued,
    /// A connect link was followed. It is used up; that browser's trip to UPS.com begins with the next event.
    LinkFollowed,
    /// The person declined at UPS.com.
    Declined,
    /// A consent did not lead to an opt-in: UPS refused the code or did not answer, or the host refused the opt-in.
    Failed,
    /// A consent completed, or another system's tokens were imported.
    Authenticated,
    /// A new pair replaced the old one.
    Refreshed,
    /// A refresh did not take place; the same token will be used again.
    RefreshFailed,
    /// UPS did not answer a refresh; it will be asked again with the same token.
    RefreshUnanswered,
    /// The refresh token ends soon.
    ExpiringSoon,
    /// A new opt-in is needed because a token has expired; the [cause](Event::cause) says which.
    Expired,
    /// A new opt-in is needed because UPS refused the refresh token; the [cause](Event::cause) says why.
    Invalidated,
    /// The host removed the authorization.
    Removed,
    /// For operators: UPS refuses our configuration, blocks the client, or gives an unknown error.
    Misconfigured,
    /// A pair arrived after its opt-in had been given up; the company is authenticated again.
    Recovered,
    /// For operators: UPS's answer was odd, but its tokens are stored.
    OddAnswer,
    /// For operators: a backup was restored. Next, every grant with an older pair is marked as unanswered.
    Restored,
    /// For operators, once for all companies: the configured client id is not the one that the grants belong to.
    ClientChanged,
    /// For operators, once for all companies: UPS cannot be reached or does not answer. Until the next event of its kind,
    /// only single requests are sent, as trials.
    OutOfReach,
    /// For operators, once for all companies: UPS answers again.
    InReach,
}

impl EventKind {
    /// Every kind, for a legend or a filter.
    pub const ALL: &'static [Self] = &[
        Self::Started,
        Self::LinkIssued,
        Self::LinkFollowed,
        Self::Declined,
        Self::Failed,
        Self::Authenticated,
        Self::Refreshed,
        Self::RefreshFailed,
        Self::RefreshUnanswered,
        Self::ExpiringSoon,
        Self::Expired,
        Self::Invalidated,
        Self::Removed,
        Self::Misconfigured,
        Self::Recovered,
        Self::OddAnswer,
        Self::Restored,
        Self::ClientChanged,
        Self::OutOfReach,
        Self::InReach,
    ];

    /// A stable name for columns and metrics, such as `refresh_failed`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::LinkIssued => "link_issued",
            Self::LinkFollowed => "link_followed",
            Self::Declined => "declined",
            Self::Failed => "failed",
            Self::Authenticated => "authenticated",
            Self::Refreshed => "refreshed",
            Self::RefreshFailed => "refresh_failed",
            Self::RefreshUnanswered => "refresh_unanswered",
            Self::ExpiringSoon => "expiring_soon",
            Self::Expired => "expired",
            Self::Invalidated => "invalidated",
            Self::Removed => "removed",
            Self::Misconfigured => "misconfigured",
            Self::Recovered => "recovered",
            Self::OddAnswer => "odd_answer",
            Self::Restored => "restored",
            Self::ClientChanged => "client_changed",
            Self::OutOfReach => "out_of_reach",
            Self::InReach => "in_reach",
        }
    }

    /// The kind with this name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }

    /// Whether only a new opt-in by an administrator helps, so that a host should notify people. (False for
    /// [`Removed`](Self::Removed), which the host did itself.) A later [`Recovered`](Self::Recovered) takes it back.
    pub fn needs_reauthorization(self) -> bool {
        match self {
            Self::Expired | Self::Invalidated => true,
            Self::Started
            | Self::LinkIssued
            | Self::LinkFollowed
            | Self::Declined
            | Self::Failed
            | Self::Authenticated
            | Self::Refreshed
            | Self::RefreshFailed
            | Self::RefreshUnanswered
            | Self::ExpiringSoon
            | Self::Removed
            | Self::Misconfigured
            | Self::Recovered
            | Self::OddAnswer
            | Self::Restored
            | Self::ClientChanged
            | Self::OutOfReach
            | Self::InReach => false,
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An event of the log.
///
/// As JSON (`Serialize`), `kind` and `cause` are the names from [`EventKind::name`] and [`CauseKind::name`], and `at`
/// is in RFC 3339.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Event {
    /// Its position in the log.
    pub id: EventId,
    /// When it happened, by the store's clock.
    pub at: Timestamp,
    /// The UPS environment.
    pub environment: Environment,
    /// The company; `None`: it concerns all companies.
    pub company: Option<CompanyId>,
    /// The person who did it; `None`: no person.
    pub actor: Option<ActorId>,
    /// What happened.
    pub kind: EventKind,
    /// The opt-in and rotation afterwards.
    pub revision: Revision,
    /// What UPS said, if it matters.
    pub evidence: Option<Evidence>,
    /// Why a new opt-in is needed, if one is.
    pub cause: Option<CauseKind>,
}

impl Event {
    /// An id that is the same whenever this event is delivered, and that no other event has: `cie_42_1795701600000000`,
    /// from the environment, the number and the time in microseconds. (The number alone repeats if the store is set
    /// back by a restore.)
    pub fn stable_id(&self) -> String {
        format!("{}_{}_{}", self.environment, self.id.number(), self.at.timestamp_micros())
    }

    /// An event of the log, as a store reads it.
    pub fn new(
        id: EventId,
        at: Timestamp,
        environment: Environment,
        company: Option<CompanyId>,
        revision: Revision,
        content: EventContent,
    ) -> Self {
        let EventContent { kind, actor, evidence, cause } = content;
        Self { id, at, environment, company, actor, kind, revision, evidence, cause }
    }
}

/// An event to write. The store adds its time, id, company and revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EventContent {
    /// What happened.
    pub kind: EventKind,
    /// Who did it.
    pub actor: Option<ActorId>,
    /// What UPS said.
    pub evidence: Option<Evidence>,
    /// Why a new opt-in is needed, if one is.
    pub cause: Option<CauseKind>,
}

impl EventContent {
    /// An event of this kind without details.
    pub fn new(kind: EventKind) -> Self {
        Self { kind, actor: None, evidence: None, cause: None }
    }

    /// Sets the person who did it.
    #[must_use]
    pub fn with_actor(self, actor: ActorId) -> Self {
        Self { actor: Some(actor), ..self }
    }

    /// Sets what UPS said.
    #[must_use]
    pub fn with_evidence(self, evidence: Evidence) -> Self {
        Self { evidence: Some(evidence), ..self }
    }

    /// Sets why a new opt-in is needed.
    #[must_use]
    pub fn with_cause(self, cause: CauseKind) -> Self {
        Self { cause: Some(cause), ..self }
    }
}

/// The kept part of UPS's answer: enough to explain a verdict, without secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Evidence {
    /// The HTTP status, if there was an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// UPS's error code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// UPS's message or ours: printable, at most 200 characters. Everything that we sent is cut out, in any encoding,
    /// and so is every long word that looks like a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<AttemptId>,
}

/// The longest message that is kept, in characters.
const MESSAGE_CHARACTERS: usize = 200;
/// The longest code that is kept, in characters.
const CODE_CHARACTERS: usize = 40;

impl Evidence {
    /// Evidence in our own words.
    pub fn message(text: impl AsRef<str>) -> Self {
        Self { message: Some(printable(text.as_ref(), MESSAGE_CHARACTERS)), ..Self::default() }
    }

    /// Evidence from an answer whose secrets are already cut out; made printable and cut to length.
    pub(crate) fn of_answer(status: u16, code: Option<&str>, message: Option<&str>) -> Self {
        Self {
            status: Some(status),
            code: code.map(|code| printable(code, CODE_CHARACTERS)),
            message: message.map(|message| printable(message, MESSAGE_CHARACTERS)),
            attempt: None,
        }
    }

    /// Removes UPS's words, for a store that permanently rejects them; only ASCII remains.
    pub(crate) fn without_words(&self) -> Self {
        let is_plain = |code: &String| code.bytes().all(|byte| byte.is_ascii_graphic());
        Self {
            code: self.code.clone().filter(is_plain),
            message: self.message.as_ref().map(|_| "(the store rejected UPS's message)".to_owned()),
            ..self.clone()
        }
    }

    /// Sets the attempt.
    #[must_use]
    pub(crate) fn with_attempt(mut self, attempt: AttemptId) -> Self {
        self.attempt = Some(attempt);
        self
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.status.map(|status| status.to_string());
        let parts = [status.as_deref(), self.code.as_deref(), self.message.as_deref()];
        for (index, part) in parts.into_iter().flatten().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            f.write_str(part)?;
        }
        Ok(())
    }
}

fn printable(text: &str, characters: usize) -> String {
    text.chars().map(|c| if c.is_control() || is_invisible(c) { ' ' } else { c }).take(characters).collect()
}

/// Characters that are invisible, or that move or hide the text around them: Unicode's categories Cf, Zl and Zp,
/// default-ignorable characters (DerivedCoreProperties 16.0), and characters with an empty glyph.
pub(crate) fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}' | '\u{8e2}'
        | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d159}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_has_one_name_in_columns_and_in_documents() {
        for &kind in EventKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
    }

    #[test]
    fn a_message_is_printable_and_at_most_200_characters() {
        let evidence = Evidence::message(format!("a\r\nb\u{202e}c\0{}", "é".repeat(300)));

        let shown = evidence.message.unwrap();
        assert_eq!(shown.chars().count(), 200);
        assert!(shown.starts_with("a  b c é"), "{shown}");
        for invisible in
            "\u{ad}\u{34f}\u{61c}\u{180e}\u{200b}\u{200f}\u{2028}\u{202a}\u{2066}\u{fe0f}\u{feff}\u{e0041}".chars()
        {
            assert_eq!(Evidence::message(format!("a{invisible}b")).message.unwrap(), "a b", "{invisible:?}");
        }
    }

    #[test]
    fn a_message_has_no_character_that_shows_nothing() {
        for hidden in
            "\u{ad}\u{34f}\u{61c}\u{115f}\u{180e}\u{200b}\u{202e}\u{2066}\u{206f}\u{3164}\u{fe0f}\u{ffa0}\u{e0041}"
                .chars()
        {
            assert_eq!(Evidence::message(format!("a{hidden}b")).message.unwrap(), "a b", "{hidden:?}");
        }
        let shown = "Zürich 漢字 م \u{301} – 😀";
        assert_eq!(Evidence::message(shown).message.unwrap(), shown);
    }

    #[test]
    fn without_ups_words_the_evidence_is_ascii_and_keeps_what_is_not_text() {
        let attempt = AttemptId::random();
        let told = Evidence::of_answer(400, Some("10400"), Some("Refresh → denied")).with_attempt(attempt);

        let left = told.without_words();

        assert_eq!((left.status, left.code.as_deref(), left.attempt), (Some(400), Some("10400"), Some(attempt)));
        assert!(left.message.unwrap().is_ascii());
        assert_eq!(Evidence::of_answer(400, Some("10→400"), None).without_words().code, None);
    }

    #[test]
    fn only_an_opt_in_that_ended_by_itself_needs_a_new_one() {
        let needed: Vec<_> = EventKind::ALL.iter().copied().filter(|kind| kind.needs_reauthorization()).collect();

        assert_eq!(needed, [EventKind::Expired, EventKind::Invalidated]);
    }

    #[test]
    fn an_event_is_one_json_object() {
        let content = EventContent::new(EventKind::Invalidated).with_cause(CauseKind::RotationLost);
        let acme = CompanyId::new("acme").ok();
        let (id, at) = (EventId::new(7), Timestamp::UNIX_EPOCH);
        let event = Event::new(id, at, Environment::Cie, acme, Revision { epoch: 1, version: 2 }, content);

        let expected = serde_json::json!({
            "id": 7, "at": "1970-01-01T00:00:00Z", "environment": "cie", "company": "acme", "actor": null,
            "kind": "invalidated", "revision": {"epoch": 1, "version": 2}, "evidence": null, "cause": "rotation_lost",
        });
        assert_eq!(serde_json::to_value(event).unwrap(), expected);
    }

    #[test]
    fn every_kind_has_a_name_of_its_own() {
        let names: std::collections::HashSet<_> = EventKind::ALL.iter().map(|kind| kind.name()).collect();

        assert_eq!(names.len(), EventKind::ALL.len());
    }
}
