use std::{collections::HashSet, error::Error as _, fs, path::PathBuf, process::Command};

use async_trait::async_trait;
use aws_lc_rs::aead::NONCE_LEN;
use base64::{Engine, engine::general_purpose::STANDARD};
use batchsuite_auth::{
    CompanyId, Environment,
    ids::{ConsentId, Revision},
    store::{GrantKey, StoreError, StoreErrorKind},
};

use super::{binding::CAPACITY, *};

mod files;

const SECRET: &[u8] = b"canary-refresh-token";

fn id(name: &str) -> KeyId {
    KeyId::new(name).unwrap()
}

fn key(name: &str, byte: u8) -> Key {
    Key::new(id(name), &[byte; KEY_LENGTH]).unwrap()
}

fn encoded(byte: u8) -> String {
    STANDARD.encode([byte; KEY_LENGTH])
}

async fn keyring(keys: KeySet) -> Keyring {
    Keyring::load(StaticKeySource::new(keys)).await.unwrap()
}

async fn one_key() -> Keyring {
    keyring(KeySet::new(key("2026-11", 1))).await
}

fn grant(environment: Environment, company: &str) -> GrantKey {
    GrantKey { environment, company: CompanyId::new(company).unwrap() }
}

fn acme() -> GrantKey {
    grant(Environment::Production, "acme")
}

const AT: Revision = Revision { epoch: 3, version: 7 };

#[test]
fn the_bytes_are_as_documented() {
    // Made with another implementation: AESGCMSIV of Python's `cryptography`.
    let secret: [u8; KEY_LENGTH] = std::array::from_fn(|index| index as u8);
    let nonce = std::array::from_fn(|index| 100 + index as u8);
    let key = Key::new(id("2026-11"), &secret).unwrap();
    let (production, cie) = (acme(), grant(Environment::Cie, "acme"));
    let consent = ConsentId::from_bits(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10);
    let table: [(_, &[u8], _); 2] = [
        (
            Binding::refresh_token(&production, AT),
            b"a refresh token",
            "0107323032362d31316465666768696a6b6c6d6e6f2c7efdc3dbb3567e9f75dee0a110eb2e9f6bb739d4492e0c7d459fa844ffc9",
        ),
        (
            Binding::pkce_verifier(&cie, consent),
            b"verifier",
            "0107323032362d31316465666768696a6b6c6d6e6f6319227963f4d8a67a550cb04b41f45dc074317aac685c7b",
        ),
    ];

    for (binding, secret, expected) in table {
        let ciphertext = ciphertext::seal(&key, &binding, nonce, secret).unwrap();

        let hex: String = ciphertext.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected);
    }
}

#[tokio::test]
async fn every_length_comes_back() {
    let (keyring, key) = (one_key().await, acme());
    let binding = Binding::access_token(&key, AT);

    for length in (0..=64).chain([16 * 1024]) {
        let secret: Vec<u8> = (0..length).map(|index| index as u8).collect();
        let ciphertext = keyring.seal(&binding, &secret).unwrap();

        assert_eq!(ciphertext.len(), 2 + "2026-11".len() + 12 + length + 16);
        assert_eq!(ciphertext.capacity(), ciphertext.len(), "one allocation, of the right size");
        assert_eq!(keyring.open(&binding, &ciphertext).unwrap().expose_secret(), secret);
    }
}

#[tokio::test]
async fn a_flipped_bit_anywhere_is_an_error() {
    let (keyring, key) = (one_key().await, acme());
    let binding = Binding::refresh_token(&key, AT);
    let ciphertext = keyring.seal(&binding, SECRET).unwrap();

    for position in 0..ciphertext.len() {
        for bit in 0..8 {
            let mut altered = ciphertext.clone();
            altered[position] ^= 1 << bit;

            let error = keyring.open(&binding, &altered).unwrap_err();
            let expected = match position {
                0 => matches!(error, KeyringError::UnsupportedFormat { version } if version == 1 ^ (1 << bit)),
                1..=8 => matches!(error, KeyringError::UnknownKey { .. } | KeyringError::Malformed),
                _ => error == KeyringError::NotAuthentic,
            };
            assert!(expected, "byte {position}, bit {bit}: {error:?}");
        }
    }
}

#[tokio::test]
async fn a_ciphertext_that_is_cut_or_longer_is_an_error() {
    let (keyring, key) = (one_key().await, acme());
    let binding = Binding::refresh_token(&key, AT);
    let mut ciphertext = keyring.seal(&binding, SECRET).unwrap();
    let shortest = ciphertext.len() - SECRET.len();

    for length in 0..ciphertext.len() {
        let expected = if length < shortest { KeyringError::Malformed } else { KeyringError::NotAuthentic };
        assert_eq!(keyring.open(&binding, &ciphertext[..length]).unwrap_err(), expected, "{length}");
    }
    ciphertext.push(0);
    assert_eq!(keyring.open(&binding, &ciphertext).unwrap_err(), KeyringError::NotAuthentic);
}

#[tokio::test]
async fn a_ciphertext_opens_at_its_own_place_only() {
    let keyring = one_key().await;
    let (here, other, cie) = (acme(), grant(Environment::Production, "acme2"), grant(Environment::Cie, "acme"));
    let (epoch, version) = (Revision { epoch: 4, ..AT }, Revision { version: 8, ..AT });
    let swapped = Revision { epoch: AT.version, version: AT.epoch };
    // The bits of the consent's id equal those of epoch and version, one after the other.
    let consent = ConsentId::from_bits((3 << 64) | 7);
    let places = [
        Binding::refresh_token(&here, AT),
        Binding::refresh_token(&other, AT),
        Binding::refresh_token(&cie, AT),
        Binding::refresh_token(&here, epoch),
        Binding::refresh_token(&here, version),
        Binding::refresh_token(&here, swapped),
        Binding::access_token(&here, AT),
        Binding::pkce_verifier(&here, consent),
        Binding::pkce_verifier(&here, ConsentId::from_bits(8)),
        Binding::host(&here, HostField::from_static("access key")),
        Binding::host(&here, HostField::from_static("refresh_token")),
        Binding::host(&other, HostField::from_static("access key")),
    ];

    for (sealed, from) in places.iter().enumerate() {
        let ciphertext = keyring.seal(from, SECRET).unwrap();
        for (opened, at) in places.iter().enumerate() {
            let result = keyring.open(at, &ciphertext);
            if sealed == opened {
                assert_eq!(result.unwrap().expose_secret(), SECRET);
            } else {
                assert_eq!(result.unwrap_err(), KeyringError::NotAuthentic, "{from:?} at {at:?}");
            }
        }
    }
}

/// Includes pairs that would be equal without separators.
#[test]
fn no_two_places_share_their_associated_data() {
    let table = [("ab", "c"), ("a", "bc"), ("ahostx", "y"), ("a", "xhosty")];
    let mut seen = HashSet::new();

    for (company, field) in table {
        let key = grant(Environment::Cie, company);
        let mut data = [0; CAPACITY];
        let data = Binding::host(&key, HostField::from_static(field)).associated_data(b"header", &mut data).unwrap();
        assert!(seen.insert(data.to_vec()), "{company:?} {field:?}");
    }
    let key = grant(Environment::Cie, "a");
    let mut data = [0; CAPACITY];
    let data = Binding::host(&key, HostField::from_static("bc")).associated_data(b"header", &mut data).unwrap();
    assert_eq!(data, b"header\0\x03cie\0\x01a\0\x04host\0\x02bc");
}

#[tokio::test]
async fn the_longest_place_has_room() {
    const LONGEST: &str = "0123456789012345678901234567890123456789012345678901234567890123";
    let keyring = keyring(KeySet::new(key(&"k".repeat(KeyId::MAX_LENGTH), 1))).await;
    let key = grant(Environment::Production, &"c".repeat(128));
    let binding = Binding::host(&key, HostField::from_static(LONGEST));

    let ciphertext = keyring.seal(&binding, SECRET).unwrap();

    assert_eq!(keyring.open(&binding, &ciphertext).unwrap().expose_secret(), SECRET);
}

#[tokio::test]
async fn a_nonce_never_repeats() {
    let (keyring, key) = (one_key().await, acme());
    let binding = Binding::access_token(&key, AT);
    let mut seen = HashSet::new();

    for _ in 0..100_000 {
        let ciphertext = keyring.seal(&binding, b"").unwrap();
        assert!(seen.insert(<[u8; NONCE_LEN]>::try_from(&ciphertext[9..21]).unwrap()));
    }
}

#[tokio::test]
async fn an_unknown_key_is_named_and_the_same_name_for_another_key_opens_nothing() {
    let grant = acme();
    let binding = Binding::refresh_token(&grant, AT);
    let ciphertext = one_key().await.seal(&binding, SECRET).unwrap();

    let unknown = keyring(KeySet::new(key("2027-01", 1))).await.open(&binding, &ciphertext).unwrap_err();
    let other = keyring(KeySet::new(key("2026-11", 2))).await.open(&binding, &ciphertext).unwrap_err();

    assert_eq!(unknown, KeyringError::UnknownKey { id: id("2026-11") });
    assert_eq!(other, KeyringError::NotAuthentic);
    assert_eq!(Keyring::key_id_of(&ciphertext), Ok(id("2026-11")));
}

#[test]
fn a_store_tells_an_operator() {
    let table = [
        (KeyringError::UnknownKey { id: id("a") }, StoreErrorKind::Corrupt),
        (KeyringError::UnsupportedFormat { version: 9 }, StoreErrorKind::Corrupt),
        (KeyringError::Malformed, StoreErrorKind::Corrupt),
        (KeyringError::NotAuthentic, StoreErrorKind::Corrupt),
        (KeyringError::NotText, StoreErrorKind::Corrupt),
        (KeyringError::Cipher, StoreErrorKind::Misconfigured),
    ];

    for (error, kind) in table {
        let told = StoreError::from(error.clone());
        assert_eq!(told.kind(), kind, "{error:?}");
        assert_eq!(told.source().unwrap().to_string(), error.to_string());
    }
}

/// Two processes share a key file; each has its own keyring.
#[tokio::test]
async fn a_new_key_rolls_out_in_two_phases() {
    let file = KeyFile::new("two-phases");
    let (old, new) = (format!("old:{}\n", encoded(1)), format!("new:{}\n", encoded(2)));
    let grant = acme();
    let binding = Binding::refresh_token(&grant, AT);
    file.write(&old);
    let (a, b) = (file.load().await.unwrap(), file.load().await.unwrap());
    let under_old = a.seal(&binding, SECRET).unwrap();
    let both_read = |ciphertext: &[u8]| {
        for keyring in [&a, &b] {
            assert_eq!(keyring.open(&binding, ciphertext).unwrap().expose_secret(), SECRET);
        }
    };

    file.write(&format!("{old}{new}"));
    for process in [&a, &b] {
        process.reload().await.unwrap();
        both_read(&a.seal(&binding, SECRET).unwrap());
        both_read(&b.seal(&binding, SECRET).unwrap());
    }
    assert!(!a.needs_reencryption(&under_old));

    file.write(&format!("{new}{old}"));
    let clone = a.clone();
    a.reload().await.unwrap();
    let under_new = clone.seal(&binding, SECRET).unwrap();
    assert_eq!(Keyring::key_id_of(&under_new), Ok(id("new")));
    both_read(&under_new);
    both_read(&b.seal(&binding, SECRET).unwrap());
    assert!(a.needs_reencryption(&under_old) && !a.needs_reencryption(&under_new));
    assert!(under_new.starts_with(&a.primary_header()) && !under_old.starts_with(&a.primary_header()));

    file.write(&new);
    b.reload().await.unwrap();
    assert_eq!(b.open(&binding, &under_old).unwrap_err(), KeyringError::UnknownKey { id: id("old") });
}

#[tokio::test]
async fn what_is_no_ciphertext_is_looked_at_by_a_reencryption() {
    let keyring = one_key().await;

    for bytes in [&b""[..], b"plain text", b"\x01\xff"] {
        assert!(keyring.needs_reencryption(bytes));
        assert!(Keyring::key_id_of(bytes).is_err());
    }
}

#[tokio::test]
async fn a_reload_that_fails_leaves_the_keys() {
    let file = KeyFile::new("reload-fails");
    file.write(&format!("a:{}", encoded(1)));
    let keyring = file.load().await.unwrap();

    file.write("");
    assert!(matches!(keyring.reload().await, Err(KeySourceError::Invalid(InvalidKeys::Empty))));
    file.write(&format!("b:{}\na:{}", encoded(3), encoded(2)));
    assert!(matches!(keyring.reload().await, Err(KeySourceError::Exchanged { id }) if id.as_str() == "a"));

    assert_eq!(keyring.keys().ids().collect::<Vec<_>>(), [&id("a")]);
}

#[test]
fn keys_are_read_with_the_primary_first() {
    let (one, two) = (encoded(1), encoded(2));

    for text in [format!("new:{one},old:{two}"), format!("# keys\r\n\n new : {one}\r\nold:{two} ,\n")] {
        let keys = KeySet::parse(&text).unwrap();
        assert_eq!(keys.ids().map(KeyId::as_str).collect::<Vec<_>>(), ["new", "old"]);
        assert_eq!(keys.primary().as_str(), "new");
    }
}

#[test]
fn what_are_no_keys_is_refused_and_never_shown() {
    let (one, two) = (encoded(1), encoded(2));
    let (short, long) = (STANDARD.encode([1; 31]), STANDARD.encode([1; 33]));
    let url_safe = one.trim_end_matches('=');
    let table = [
        ("# none\n\n".to_owned(), InvalidKeys::Empty),
        (one.clone(), InvalidKeys::Malformed { entry: 1 }),
        (format!("a:{one},{two}"), InvalidKeys::Malformed { entry: 2 }),
        (format!("{one}:a"), InvalidKeys::Id { entry: 1 }),
        (format!("{url_safe}:a"), InvalidKeys::Id { entry: 1 }),
        (format!(":{one}"), InvalidKeys::Id { entry: 1 }),
        (format!("a:{url_safe}"), InvalidKeys::Encoding { entry: 1 }),
        (format!("a:!{one}"), InvalidKeys::Encoding { entry: 1 }),
        ("a:".to_owned(), InvalidKeys::Length { id: id("a"), bytes: 0 }),
        (format!("a:{short}"), InvalidKeys::Length { id: id("a"), bytes: 31 }),
        (format!("a:{long}"), InvalidKeys::Length { id: id("a"), bytes: 33 }),
        (format!("a:{one},a:{two}"), InvalidKeys::RepeatedId { id: id("a") }),
        (format!("a:{one},b:{one}"), InvalidKeys::RepeatedKey { first: id("a"), second: id("b") }),
    ];

    for (text, expected) in table {
        let error = KeySet::parse(&text).unwrap_err();
        assert_eq!(error, expected);
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("AQEB") && !shown.contains("AgIC"), "{shown}");
    }
}

#[tokio::test]
async fn nothing_shows_a_secret() {
    let text = format!("2026-11:{}", encoded(1));
    let source = StaticKeySource::new(KeySet::parse(&text).unwrap());
    let file = FileKeySource::new(format!("/canary/{}", encoded(1)));
    let keyring = Keyring::load(source.clone()).await.unwrap();
    let grant = acme();
    let binding = Binding::access_token(&grant, AT);
    let opened = keyring.open(&binding, &keyring.seal(&binding, SECRET).unwrap()).unwrap();
    let missing = file.load().await.unwrap_err();

    let shown = format!("{keyring:?} {source:?} {file:?} {opened:?} {missing} {missing:?} {:?}", key("k", 1));

    for secret in ["canary", &encoded(1), "[1, 1", "AQEB", "99, 97, 110"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    let names = r#"["2026-11"]"#;
    assert!(format!("{keyring:?}").contains(names) && format!("{source:?}").contains("2026-11"), "{shown}");
    assert_eq!((format!("{opened:?}"), key("k", 1).id().to_string()), ("Opened([REDACTED])".into(), "k".into()));
    assert!(shown.contains("FileKeySource") && shown.contains(r#"Key { id: "k""#), "{shown}");
}

#[tokio::test]
async fn a_secret_becomes_text_or_is_refused() {
    let (keyring, key) = (one_key().await, acme());
    let binding = Binding::access_token(&key, AT);
    let reopened = |secret: &[u8]| keyring.open(&binding, &keyring.seal(&binding, secret).unwrap()).unwrap();

    assert_eq!(reopened(SECRET).into_text().unwrap().as_bytes(), SECRET);
    assert_eq!(reopened(b"\xff").into_text().unwrap_err(), KeyringError::NotText);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_secret_that_was_looked_at_is_wiped() {
    let (keyring, grant, secret) = (one_key().await, acme(), b"opened-canary-5d20c7e1".repeat(50));
    let binding = Binding::access_token(&grant, Default::default());
    let opened = keyring.open(&binding, &keyring.seal(&binding, &secret).unwrap()).unwrap();
    let place = batchsuite_auth::test_util::memory::left_of(opened.expose_secret());
    assert!(place.holds(b"opened-canary-5d20c7e1"), "the test looks at the right place");

    drop(opened);

    assert!(!place.holds(b"opened-canary-5d20c7e1"));
}

#[tokio::test]
async fn a_key_can_be_declared_lost() {
    let keys = KeySet::parse(&format!("new:{},old:lost", encoded(2))).unwrap();

    assert!(keys.is_lost(&id("old")) && !keys.is_lost(&id("new")));
    assert_eq!(keys.ids().collect::<Vec<_>>(), [&id("new")]);
    assert!(format!("{keys:?}").contains("old"));
    let (acme, old) = (acme(), keyring(KeySet::new(key("old", 1))).await);
    let binding = Binding::refresh_token(&acme, AT);
    let error = keyring(keys).await.open(&binding, &old.seal(&binding, SECRET).unwrap()).unwrap_err();
    assert_eq!(error, KeyringError::LostKey { id: id("old") });

    for (text, expected) in [
        ("old:lost".to_owned(), InvalidKeys::Empty),
        (format!("a:{},a:lost", encoded(1)), InvalidKeys::RepeatedId { id: id("a") }),
        (format!("a:{},b:lost,b:lost", encoded(1)), InvalidKeys::RepeatedId { id: id("b") }),
    ] {
        assert_eq!(KeySet::parse(&text).unwrap_err(), expected, "{text}");
    }
}

#[test]
fn a_check_value_tells_keys_apart_and_does_not_depend_on_the_name() {
    assert_eq!(key("a", 1).check_value(), key("b", 1).check_value());
    assert_ne!(key("a", 1).check_value(), key("a", 2).check_value());
    assert_ne!(&key("a", 1).check_value()[..], &[1; 16]);
}

const CHILD: &str = "BATCHSUITE_KEYS_TEST_EXPECTS";

/// Runs itself with the variable set: a process must not change its own environment while threads run.
#[tokio::test]
async fn keys_come_from_the_environment() {
    let loaded = Keyring::load(EnvKeySource::default()).await;
    match std::env::var(CHILD) {
        Ok(expected) => assert_eq!(loaded.unwrap().keys().primary().as_str(), expected),
        Err(_) => {
            assert!(matches!(loaded, Err(KeySourceError::Unset { variable: "BATCHSUITE_KEYS" })));
            let child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "keyring::tests::keys_come_from_the_environment"])
                .env(EnvKeySource::DEFAULT_VARIABLE, format!("new:{},old:{}", encoded(2), encoded(1)))
                .env(CHILD, "new")
                .output()
                .unwrap();
            assert!(child.status.success() && String::from_utf8_lossy(&child.stdout).contains("1 passed"), "{child:?}");
        }
    }
}

/// Stands for a key management service.
#[derive(Debug)]
struct Unreachable;

#[async_trait]
impl KeySource for Unreachable {
    async fn load(&self) -> Result<KeySet, KeySourceError> {
        Err(KeySourceError::Unavailable("away".into()))
    }
}

#[tokio::test]
async fn a_source_stands_behind_a_trait_object() {
    let source: Arc<dyn KeySource> = Arc::new(Unreachable);

    assert!(matches!(Keyring::load(source).await, Err(KeySourceError::Unavailable(_))));
}

/// A key file for one test, mode 0600, removed on drop.
struct KeyFile(PathBuf);

impl KeyFile {
    fn new(test: &str) -> Self {
        Self(std::env::temp_dir().join(format!("batchsuite-keys-{}-{test}", std::process::id())))
    }

    fn write(&self, text: &str) {
        fs::write(&self.0, text).unwrap();
        #[cfg(unix)]
        fs::set_permissions(&self.0, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }

    async fn load(&self) -> Result<Keyring, KeySourceError> {
        Keyring::load(FileKeySource::new(&self.0)).await
    }
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
