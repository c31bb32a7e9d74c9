//! Secrets that must never appear, and the search for them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Mutex,
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use url::form_urlencoded;

/// Every secret that occurred, with its kind.
#[derive(Debug, Default)]
pub struct Secrets(Mutex<BTreeMap<String, &'static str>>);

impl Secrets {
    /// Adds a secret.
    ///
    /// # Panics
    /// If it is too short to search for.
    pub fn add(&self, what: &'static str, secret: impl Into<String>) {
        let secret = secret.into();
        assert!(secret.len() >= 16, "this {what} is too short to search for: {secret:?}");
        self.0.lock().expect("no test panicked here").insert(secret, what);
    }

    /// Adds the values of a form or query under these names.
    pub fn add_parameters(&self, form: &str, names: &[(&str, &'static str)]) {
        for (name, value) in form_urlencoded::parse(form.trim_start_matches('?').as_bytes()) {
            if let Some((_, what)) = names.iter().find(|(known, _)| *known == name) {
                self.add(what, value);
            }
        }
    }

    /// The kinds of secrets collected.
    ///
    /// # Panics
    /// Never.
    pub fn kinds(&self) -> Vec<&'static str> {
        let mut kinds: Vec<_> = self.0.lock().expect("no test panicked here").values().copied().collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    }

    /// The secrets that appear in `text`, with their places.
    ///
    /// # Panics
    /// Never.
    pub fn seen_in(&self, text: &str) -> Vec<String> {
        let secrets = self.0.lock().expect("no test panicked here");
        let mut forms: Vec<_> =
            secrets.iter().flat_map(|(secret, what)| forms(secret).into_iter().map(move |form| (what, form))).collect();
        // There are thousands of them, so they are found by their first bytes, in one pass over the text.
        let mut by_beginning: HashMap<Vec<u8>, Vec<usize>> = HashMap::new();
        for (number, (_, (_, shown))) in forms.iter().enumerate() {
            by_beginning.entry(shown.as_bytes()[..BEGINNING].to_vec()).or_default().push(number);
        }
        let mut seen = Vec::new();
        for (at, beginning) in text.as_bytes().windows(BEGINNING).enumerate() {
            for &number in by_beginning.get(beginning).into_iter().flatten() {
                let (what, (form, shown)) = &mut forms[number];
                if !shown.is_empty() && text.as_bytes()[at..].starts_with(shown.as_bytes()) {
                    // Reported once.
                    shown.clear();
                    let from = text[..at].rfind('\n').map_or(0, |end| end + 1);
                    let line: String = text[from..].lines().next().unwrap_or_default().chars().take(600).collect();
                    seen.push(format!("a {what}, {form}: {line}"));
                }
            }
        }
        seen
    }
}

/// The minimum length of a form.
const BEGINNING: usize = 8;

/// The forms in which a secret can appear, whole or in part.
fn forms(secret: &str) -> Vec<(&'static str, String)> {
    let encoded: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let bytes = |text: &str| text.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>();
    let mut forms = vec![
        ("percent-encoded", encoded),
        ("as bytes", bytes(secret).join(", ")),
        ("as bytes, a line each", bytes(secret)[..8].join(",\n")),
    ];
    // A part is enough, e.g. in a truncated message.
    for start in [0, secret.len() / 2 - 8, secret.len() - 16] {
        if let Some(part) = secret.get(start..start + 16) {
            forms.push(("plain", part.to_owned()));
        }
    }
    // In base64, a text has three encodings, depending on its offset in a larger text.
    for shift in 0..3 {
        let shifted = [vec![b'x'; shift], secret.as_bytes().to_vec()].concat();
        let length = shifted.len() / 3 * 4 - 4;
        for encoded in [STANDARD_NO_PAD.encode(&shifted), URL_SAFE_NO_PAD.encode(&shifted)] {
            forms.push(("in base64", encoded[4.min(length)..length].to_owned()));
        }
    }
    forms
}
