//! The simulation is repeatable: a failing seed fails again on any machine.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::process::Command;

/// The program's output for a seed.
fn shown(seed: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_simulate")).args(["seed", seed]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn two_processes_show_the_same_trace_of_a_seed_to_the_byte() {
    let (once, again) = (shown("13"), shown("13"));

    assert!(once.lines().count() > 1_000, "{}", once.lines().count());
    let differing = once.lines().zip(again.lines()).find(|(once, again)| once != again);
    assert_eq!(differing, None);
    assert_eq!(once, again);
}
