//! The program's own dependencies bring it no more than was chosen.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::process::Command;

/// The packages of a program as it is shipped, without those of its tests, one a line.
fn packages(program: &str) -> String {
    let arguments = ["tree", "--locked", "--offline", "--prefix", "none", "--edges", "normal", "--package", program];
    let output = Command::new(env!("CARGO")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn no_program_has_the_tests_server_and_none_speaks_http_2() {
    for program in ["company-manager", "fake-ups"] {
        let packages = packages(program);

        assert!(packages.contains("\nhyper v"), "{packages}");
        // Features add up: with wiremock in it, a program's own server would answer HTTP/2, which needs the crate h2.
        for unwanted in ["\nwiremock v", "\nh2 v"] {
            assert!(!packages.contains(unwanted), "{program} has{unwanted}");
        }
    }
}
