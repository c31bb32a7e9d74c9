//! An outage of UPS that lasts for hours, in virtual time: every company is served again as soon as the rate allows, UPS
//! never sees more than the rate, few events are written, and no opt-in is lost. `tests/outage` does the same with a
//! million companies, and with real processes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::process::Command;

/// The table of an outage of this kind; each demand must be met.
fn outage(kind: &str) -> String {
    let options = ["simulated", "--companies", "2000", "--in-use", "1000", "--rate", "10", "--kind", kind];
    let output = Command::new(env!("CARGO_BIN_EXE_outage")).args(options).output().unwrap();
    let (table, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{table}{errors}");
    table.into_owned()
}

/// The figure of a line.
fn figure<'a>(table: &'a str, what: &str) -> &'a str {
    let line = table.lines().find_map(|line| line.trim().strip_prefix(what));
    line.unwrap_or_else(|| panic!("{what} is not in\n{table}")).trim()
}

#[test]
fn after_refused_connections_all_are_served_within_the_rate_and_ten_events_tell_it() {
    let table = outage("refused");

    for what in ["in use, never served again", "idle, never served again", "opt-ins lost"] {
        assert_eq!(figure(&table, what), "0 (at most 0)");
    }
    assert!(figure(&table, "in use, all of 1000 served again after").ends_with("(at most 60.6 s)"), "{table}");
    assert!(figure(&table, "within any second after it").ends_with("(at most 40)"), "{table}");
    assert!(figure(&table, "events of the outage").ends_with("(at most 10)"), "{table}");
}

#[test]
fn a_silent_ups_holds_no_more_connections_than_the_rate_and_all_are_served_after_it() {
    let table = outage("hangs");

    for what in ["in use, never served again", "idle, never served again", "opt-ins lost"] {
        assert_eq!(figure(&table, what), "0 (at most 0)");
    }
    assert!(figure(&table, "connections open at once").ends_with("(at most 40)"), "{table}");
}
