//! The program cannot ask UPS: nothing in it speaks HTTP.

use std::process::Command;

#[test]
fn the_program_has_no_http_client() {
    let features = ["--package", "batchsuite-store", "--no-default-features", "--features", "cli"];
    let arguments = ["tree", "--locked", "--offline", "--prefix", "none", "--edges", "normal"];
    let output = Command::new(env!("CARGO")).args(arguments).args(features).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let packages = String::from_utf8(output.stdout).unwrap();

    assert!(packages.contains("\nclap v"), "{packages}");
    for unwanted in ["\nreqwest v", "\nhyper v", "\nhyper-util v", "\nwiremock v", "\nureq v"] {
        assert!(!packages.contains(unwanted), "the program has{unwanted}");
    }
}
