//! The bounds of counted rows. Load on the machine does not change these figures.

use std::process::Command;

use batchsuite_benches::report;

/// Runs `counted` and compares its row with the row's bound.
fn is_within_its_bound(row: &str, arguments: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_counted")).args(arguments).output().expect("the program starts");
    let printed = String::from_utf8(output.stdout).expect("a text");
    let (measured, figures) = printed.lines().find_map(report::parse).unwrap_or_else(|| panic!("{:?}", output.status));

    assert_eq!(measured.name, row);
    assert!(report::is_within(measured, figures), "{printed}");
}

#[test]
fn a_cached_token_and_its_header_value_allocate_nothing() {
    is_within_its_bound("token/allocations", &["allocations"]);
}

#[test]
fn a_cached_company_costs_little_beyond_its_token() {
    is_within_its_bound("memory/company", &["memory", "20000"]);
}
