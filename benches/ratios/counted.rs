//! Runs the program `counted`, which counts allocations and bytes. It installs its own allocator, so it is a program of
//! its own.

use std::process::Command;

use batchsuite_benches::measure::Pace;

/// Measures two rows of this group.
pub(crate) fn measure(pace: Pace) {
    let companies = pace.of("1000000", "200000");
    for arguments in [&["allocations"][..], &["memory", companies]] {
        let status = Command::new(env!("CARGO_BIN_EXE_counted")).args(arguments).status();
        assert!(status.expect("the program starts").success(), "counted {arguments:?} failed");
    }
}
