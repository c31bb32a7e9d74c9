//! Random nonces, generated in batches.
//!
//! Generating a single nonce with aws-lc costs nearly as much as encrypting a token: the call is expensive, the bytes
//! are not. So each thread keeps a supply. After a `fork` without `exec`, parent and child use the rest of the supply
//! twice; with GCM-SIV that reveals, at worst, that two secrets with the same binding are equal.

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
