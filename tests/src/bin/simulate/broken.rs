//! Faults added around the library on purpose: a simulation that does not find each of them proves nothing.

use batchsuite_auth::store::Document;
use serde_json::Value;

macro_rules! breaks {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {
        /// The broken property.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Break {
            $($(#[$doc])* $name,)*
        }

        impl Break {
            pub(crate) const ALL: &[Self] = &[$(Self::$name,)*];

            pub(crate) fn word(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }
        }
    };
}

breaks! {
    /// A claim is saved whatever the current row is.
    NoCompare = "no-compare",
    /// Some commits are published but never saved.
    PublishesFirst = "publishes-first",
    /// A claim of unknown outcome is neither fenced nor released.
    Unfenced = "unfenced",
    /// No row remembers an attempt in doubt.
    ForgetsDoubt = "forgets-doubt",
    /// An import leaves no mark.
    TrustsImports = "trusts-imports",
    /// The feed reports no changes.
    DeafFeed = "deaf-feed",
    /// The HTTP client does not check whether a request may still be sent.
    SendsLate = "sends-late",
    /// The HTTP client resends an unanswered request.
    Retries = "retries",
    /// The HTTP client gets a pair and reports no answer.
    ThrowsAway = "throws-away",
    /// The time of a suspended machine is not counted.
    IgnoresSuspension = "ignores-suspension",
    /// A process sends more refreshes than it may.
    Unlimited = "unlimited",
    /// A delivery goes on behind an event that was not handled.
    SkipsEvents = "skips-events",
    /// The client row forgets that UPS is out of reach.
    ForgetsOutages = "forgets-outages",
}

impl Break {
    pub(crate) fn of(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|broken| broken.word() == word)
    }
}

/// The document without these fields.
pub(crate) fn without(document: &Document, names: &[&str]) -> Document {
    let mut value: Value = serde_json::from_str(document.as_str()).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        names.iter().for_each(|name| drop(fields.remove(*name)));
    }
    Document::new(value.to_string())
}
