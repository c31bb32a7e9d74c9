//! The cost of encryption at rest, beside the bare cipher.

use std::hint::black_box;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use batchsuite_auth::ids::Revision;
use batchsuite_benches::{
    companies::{self, ACCESS_LENGTH, text_of},
    measure::Pace,
    report,
};
use batchsuite_store::keyring::Binding;
use batchsuite_tests::postgres::keyring;

/// The length of our associated data: header 2 + 4, environment 2 + 3, company 2 + 36, field 2 + 12, epoch 2 + 8,
/// version 2 + 8.
const ASSOCIATED: usize = 83;

pub(super) fn measure(pace: Pace) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let keyring = runtime.block_on(keyring());
    let key = companies::key(&companies::name(1));
    let secret = text_of(ACCESS_LENGTH);
    let mut ours = |operations| {
        for version in 0..operations {
            let binding = Binding::access_token(&key, Revision { epoch: 1, version });
            let ciphertext = keyring.seal(&binding, black_box(secret.as_bytes())).expect("a ciphertext");
            black_box(keyring.open(&binding, black_box(&ciphertext)).expect("a secret").expose_secret());
        }
    };
    // As long as our associated data.
    let data = [7; ASSOCIATED];
    let aead = LessSafeKey::new(UnboundKey::new(&AES_256_GCM_SIV, &[7; 32]).expect("a key"));
    let mut buffer = secret.clone().into_bytes();
    let mut reference = |operations: u64| {
        for number in 0..operations {
            let mut nonce = [0; NONCE_LEN];
            nonce[..8].copy_from_slice(&number.to_le_bytes());
            let nonce = || Nonce::assume_unique_for_key(nonce);
            // In place, in an existing buffer, with a nonce that costs nothing.
            buffer.truncate(ACCESS_LENGTH);
            aead.seal_in_place_append_tag(nonce(), Aad::from(&data), black_box(&mut buffer)).expect("a ciphertext");
            black_box(aead.open_in_place(nonce(), Aad::from(&data), black_box(&mut buffer)).expect("a secret"));
        }
    };
    // The first nonce initializes its generator, which takes tens of milliseconds. It must not count when the batch
    // size is chosen.
    ours(1000);
    // Batches short enough that most run without an interruption.
    let pace = Pace { rounds: pace.rounds * 10, batch: pace.batch / 10, ..pace };
    let [ours, reference] = pace.medians([&mut ours, &mut reference]);
    report::note("store/seal: AES-256-GCM-SIV of aws-lc-rs, both");
    report::ratio("store/seal", ours, reference);
}
