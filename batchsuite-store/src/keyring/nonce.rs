//! Random nonces, drawn many at a time.
//!
//! One nonce from aws-lc's generator costs nearly as much as to encrypt a token; it is the call that costs, not the bytes.
//! So each thread draws a supply. A process that forks without `exec` uses what is left of it twice; under GCM-SIV that
//! shows, at worst, that two secrets for one place are equal.

use std::cell::RefCell;

use aws_lc_rs::{aead::NONCE_LEN, error::Unspecified, rand};

const SUPPLY: usize = 64;

struct Supply {
    nonces: [[u8; NONCE_LEN]; SUPPLY],
    left: usize,
}

thread_local! {
    static SUPPLIES: RefCell<Supply> = const { RefCell::new(Supply { nonces: [[0; NONCE_LEN]; SUPPLY], left: 0 }) };
}

pub(super) fn random() -> Result<[u8; NONCE_LEN], Unspecified> {
    SUPPLIES.with_borrow_mut(|supply| {
        if supply.left == 0 {
            rand::fill(supply.nonces.as_flattened_mut())?;
            supply.left = SUPPLY;
        }
        supply.left -= 1;
        Ok(supply.nonces[supply.left])
    })
}
