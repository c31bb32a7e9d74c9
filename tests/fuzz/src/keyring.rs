//! Ciphertexts and key files.

use std::{fs, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::PathBuf, process, sync::LazyLock};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use batchsuite_auth::{
    CompanyId, Environment,
    ids::{ConsentId, Revision},
    store::GrantKey,
};
use batchsuite_store::keyring::{
    Binding, FileKeySource, Key, KeyId, KeySet, KeySource as _, KeySourceError, Keyring, KeyringError, StaticKeySource,
};

use crate::{
    input::{Options, parts},
    runtime,
};

/// Two keys and a lost one. They protect nothing.
const KEYS: &str = "2026-11:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=,2026-05:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=,gone:lost";
const HEADER: &[u8] = b"\x01\x072026-11";

/// Ciphertexts under this key never match an input: libFuzzer learns from comparisons, and would reproduce them under
/// [`KEYS`].
const SEALING_KEY: &str = "2026-11:QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xdXl8=";

static KEYRING: LazyLock<Keyring> = LazyLock::new(|| keyring(KEYS));
static SEALING: LazyLock<Keyring> = LazyLock::new(|| keyring(SEALING_KEY));

fn keyring(keys: &str) -> Keyring {
    let keys = KeySet::parse(keys).unwrap_or_else(|error| panic!("{error}"));
    runtime().block_on(Keyring::load(StaticKeySource::new(keys))).unwrap_or_else(|error| panic!("{error}"))
}

fn place() -> GrantKey {
    let company = CompanyId::new("fuzz-company").unwrap_or_else(|error| panic!("{error}"));
    GrantKey { environment: Environment::Cie, company }
}

/// Input: a ciphertext; after separators, a secret, and pairs of bytes that say where and how to alter the secret's
/// ciphertext.
///
/// - Ciphertexts that do not open are classified by the documented layout, byte by byte: too short, another format, an
///   invalid name, an unknown key, a lost key, not authentic. Only sealed ciphertexts open.
/// - A sealed ciphertext opens at its place and nowhere else. Truncated, extended or altered in any byte, it never
///   opens.
/// - A header other than the primary's means that a ciphertext must be encrypted again.
pub fn ciphertext(data: &[u8]) {
    let [stored, secret, changes] = parts::<3>(data);
    let place = place();
    let here = Binding::refresh_token(&place, Revision { epoch: 1, version: 7 });
    let told = KEYRING.open(&here, stored).map(|opened| opened.expose_secret().to_vec());
    assert_eq!(told, Err(as_documented(stored)), "{stored:02x?}");
    let has_name = !matches!(&told, Err(KeyringError::Malformed | KeyringError::UnsupportedFormat { .. }));
    assert_eq!(Keyring::key_id_of(stored).is_ok(), has_name);
    assert_eq!(KEYRING.needs_reencryption(stored), !(has_name && stored.starts_with(HEADER)));
    assert_eq!(KEYRING.primary_header(), HEADER);

    let sealed = SEALING.seal(&here, secret).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(sealed.len(), HEADER.len() + 12 + secret.len() + 16);
    assert!(
        secret.len() < 8 || !sealed[HEADER.len() + 12..].windows(secret.len()).any(|bytes| bytes == secret),
        "the secret is not encrypted"
    );
    let opened = SEALING.open(&here, &sealed).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(opened.expose_secret(), secret);
    assert_eq!(opened.into_text().ok().as_deref(), std::str::from_utf8(secret).ok());
    for elsewhere in elsewhere(&place) {
        assert_eq!(SEALING.open(&elsewhere, &sealed).err(), Some(KeyringError::NotAuthentic), "{elsewhere:?}");
    }
    let altered = altered(&sealed, changes);
    assert!(altered == sealed || SEALING.open(&here, &altered).is_err(), "{altered:02x?} opens");
    assert!(
        SEALING.open(&here, &sealed[..sealed.len() - 1]).is_err()
            && SEALING.open(&here, &[&sealed[..], b"x"].concat()).is_err()
    );
}

fn elsewhere(place: &GrantKey) -> [Binding<'_>; 4] {
    [
        Binding::access_token(place, Revision { epoch: 1, version: 7 }),
        Binding::refresh_token(place, Revision { epoch: 1, version: 8 }),
        Binding::refresh_token(place, Revision { epoch: 7, version: 1 }),
        Binding::pkce_verifier(place, ConsentId::from_bits(1)),
    ]
}

fn altered(sealed: &[u8], changes: &[u8]) -> Vec<u8> {
    let mut altered = sealed.to_vec();
    for change in changes.chunks_exact(2) {
        let place = usize::from(change[0]) % altered.len();
        altered[place] ^= change[1];
    }
    altered
}

/// The documented error for a ciphertext that was never sealed, from the table in the keyring's documentation.
fn as_documented(stored: &[u8]) -> KeyringError {
    match stored {
        [] => KeyringError::Malformed,
        [1, length, rest @ ..] if rest.len() >= usize::from(*length) + 12 + 16 => {
            let name = &rest[..usize::from(*length)];
            match (name, std::str::from_utf8(name).ok().and_then(|name| KeyId::new(name).ok())) {
                (b"2026-11" | b"2026-05", _) => KeyringError::NotAuthentic,
                (b"gone", Some(id)) => KeyringError::LostKey { id },
                (_, Some(id)) => KeyringError::UnknownKey { id },
                (_, None) => KeyringError::Malformed,
            }
        }
        [1, ..] => KeyringError::Malformed,
        [version, ..] => KeyringError::UnsupportedFormat { version: *version },
    }
}

/// Input: options, then the content of a key file. Option `o`: other users may read the file.
///
/// - A file that other users may read is refused, whatever its content. So is a file that is not UTF-8, or larger than
///   64 KiB.
/// - Names, keys and lost names match those of an independent reader (lines, commas, the first colon, base64 of the
///   `base64` crate): the same names in the same order, each with the same key.
/// - A refusal shows no key, and no text in the place of a key.
/// - Comments and blank entries change nothing.
pub fn key_file(data: &[u8]) {
    let [options, content] = parts::<2>(data);
    let is_open = Options(options).has(b'o');
    let read = read_file(content, is_open);
    if is_open {
        return assert!(matches!(read, Err(KeySourceError::Exposed { .. })), "{read:?}");
    }
    let Ok(text) = std::str::from_utf8(content) else {
        return assert!(matches!(read, Err(KeySourceError::Unreadable(_))), "{read:?}");
    };
    let independent = independent(text);
    match &read {
        Ok(keys) => {
            let Some(expected) = independent else { panic!("{keys:?} from an invalid key file") };
            assert_eq!(
                keys.ids().map(KeyId::as_str).collect::<Vec<_>>(),
                expected.keys.iter().map(|(name, _)| *name).collect::<Vec<_>>()
            );
            assert!(expected.lost.iter().all(|name| KeyId::new(name).is_ok_and(|id| keys.is_lost(&id))));
            are_these_keys(keys, &expected);
        }
        Err(error) => {
            assert!(independent.is_none(), "{error} for a valid key file");
            shows_no_key(&format!("{error} {error:?}"), text);
        }
    }
    if text.len() < 8192 {
        let commented = read_file(format!("# {text:?}\n,\n{text}\n# end").as_bytes(), false);
        assert_eq!(commented.is_ok(), read.is_ok(), "a comment changes the result: {commented:?}");
    }
}

/// The set encrypts and decrypts with exactly these keys.
fn are_these_keys(keys: &KeySet, expected: &KeyFile<'_>) {
    let keyring =
        runtime().block_on(Keyring::load(StaticKeySource::new(keys.clone()))).unwrap_or_else(|error| panic!("{error}"));
    let place = place();
    let here = Binding::refresh_token(&place, Revision::default());
    for (name, secret) in &expected.keys {
        let id = KeyId::new(name).unwrap_or_else(|error| panic!("{error}"));
        let key = Key::new(id, secret).unwrap_or_else(|error| panic!("{error}"));
        let alone = runtime()
            .block_on(Keyring::load(StaticKeySource::new(KeySet::new(key))))
            .unwrap_or_else(|error| panic!("{error}"));
        let sealed = alone.seal(&here, b"secret").unwrap_or_else(|error| panic!("{error}"));
        assert!(keyring.open(&here, &sealed).is_ok(), "the key {name} differs");
    }
    let sealed = keyring.seal(&here, b"secret").unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(
        Keyring::key_id_of(&sealed).ok().as_ref().map(KeyId::as_str),
        expected.keys.first().map(|(name, _)| *name)
    );
}

/// A key file as the independent reader sees it.
struct KeyFile<'a> {
    keys: Vec<(&'a str, Vec<u8>)>,
    lost: Vec<&'a str>,
}

fn independent(text: &str) -> Option<KeyFile<'_>> {
    if text.len() > 64 * 1024 {
        return None;
    }
    let mut file = KeyFile { keys: Vec::new(), lost: Vec::new() };
    let lines = text.split('\n').filter(|line| !line.trim_start().starts_with('#'));
    for entry in lines.flat_map(|line| line.split(',')).map(str::trim).filter(|entry| !entry.is_empty()) {
        let (name, key) = entry.split_once(':')?;
        let (name, key) = (name.trim(), key.trim());
        let is_name = (1..=32).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        let is_known = file.keys.iter().any(|(known, _)| *known == name) || file.lost.contains(&name);
        if !is_name || is_known {
            return None;
        }
        if key == "lost" {
            file.lost.push(name);
            continue;
        }
        let secret = STANDARD.decode(key).ok().filter(|secret| secret.len() == 32)?;
        if file.keys.iter().any(|(_, known)| *known == secret) {
            return None;
        }
        file.keys.push((name, secret));
    }
    (!file.keys.is_empty()).then_some(file)
}

/// A refusal shows no text after a colon, unless that text is also part of a name.
fn shows_no_key(shown: &str, text: &str) {
    let entries: Vec<_> = text.split(['\n', ',']).map(|entry| entry.split_once(':').unwrap_or(("", entry))).collect();
    for (_, key) in &entries {
        let key = key.trim();
        let is_name = entries.iter().any(|(name, _)| name.contains(key));
        assert!(key.len() < 12 || is_name || !shown.contains(key), "{shown}");
    }
}

/// Writes the file, reads it as a service does, and removes it.
fn read_file(content: &[u8], is_open: bool) -> Result<KeySet, KeySourceError> {
    static PATH: LazyLock<PathBuf> =
        LazyLock::new(|| std::env::temp_dir().join(format!("batchsuite-fuzz-{}.keys", process::id())));
    let mode = if is_open { 0o644 } else { 0o600 };
    // An earlier finding may have left the file behind.
    let _ = fs::remove_file(&*PATH);
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&*PATH)
        .unwrap_or_else(|error| panic!("{error}"));
    file.write_all(content).unwrap_or_else(|error| panic!("{error}"));
    let read = runtime().block_on(FileKeySource::new(&*PATH).load());
    fs::remove_file(&*PATH).unwrap_or_else(|error| panic!("{error}"));
    read
}
