//! What must never be seen, and the search for it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Mutex,
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use url::form_urlencoded;

/// Every secret that came up, by its text, with what it is.
#[derive(Debug, Default)]
pub struct Secrets(Mutex<BTreeMap<String, &'static str>>);

impl Secrets {
    /// One more.
    ///
    /// # Panics
    /// If it is too short to be searched for.
    pub fn add(&self, what: &'static str, secret: impl Into<String>) {
        let secret = secret.into();
        assert!(secret.len() >= 16, "a {what} that short would be found anywhere: {secret:?}");
        self.0.lock().expect("no test panicked here").insert(secret, what);
    }

    /// Adds what a form or query has under these names.
    pub fn add_parameters(&self, form: &str, names: &[(&str, &'static str)]) {
        for (name, value) in form_urlencoded::parse(form.trim_start_matches('?').as_bytes()) {
            if let Some((_, what)) = names.iter().find(|(known, _)| *known == name) {
                self.add(what, value);
            }
        }
    }

    /// What there is.
    ///
    /// # Panics
    /// Never.
    pub fn kinds(&self) -> Vec<&'static str> {
        let mut kinds: Vec<_> = self.0.lock().expect("no test panicked here").values().copied().collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    }

    /// What of them can be seen in `text`, with the place.
    ///
    /// # Panics
    /// Never.
    pub fn seen_in(&self, text: &str) -> Vec<String> {
        let secrets = self.0.lock().expect("no test panicked here");
        let mut forms: Vec<_> =
            secrets.iter().flat_map(|(secret, what)| forms(secret).into_iter().map(move |form| (what, form))).collect();
        // Thousands of them: found by their first bytes, in one walk over the text.
        let mut by_beginning: HashMap<Vec<u8>, Vec<usize>> = HashMap::new();
        for (number, (_, (_, shown))) in forms.iter().enumerate() {
            by_beginning.entry(shown.as_bytes()[..BEGINNING].to_vec()).or_default().push(number);
        }
        let mut seen = Vec::new();
        for (at, beginning) in text.as_bytes().windows(BEGINNING).enumerate() {
            for &number in by_beginning.get(beginning).into_iter().flatten() {
                let (what, (form, shown)) = &mut forms[number];
                if !shown.is_empty() && text.as_bytes()[at..].starts_with(shown.as_bytes()) {
                    // Told once.
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

/// No form is shorter.
const BEGINNING: usize = 8;

/// How a secret can look, whole or in part.
fn forms(secret: &str) -> Vec<(&'static str, String)> {
    let encoded: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let bytes = |text: &str| text.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>();
    let mut forms = vec![
        ("percent-encoded", encoded),
        ("as bytes", bytes(secret).join(", ")),
        ("as bytes, a line each", bytes(secret)[..8].join(",\n")),
    ];
    // A part is enough, e.g. of a message that was cut to length.
    for start in [0, secret.len() / 2 - 8, secret.len() - 16] {
        if let Some(part) = secret.get(start..start + 16) {
            forms.push(("plain", part.to_owned()));
        }
    }
    // In base64 a text looks differently at each of three places within a larger one.
    for shift in 0..3 {
        let shifted = [vec![b'x'; shift], secret.as_bytes().to_vec()].concat();
        let length = shifted.len() / 3 * 4 - 4;
        for encoded in [STANDARD_NO_PAD.encode(&shifted), URL_SAFE_NO_PAD.encode(&shifted)] {
            forms.push(("in base64", encoded[4.min(length)..length].to_owned()));
        }
    }
    forms
}
