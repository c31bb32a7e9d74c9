//! A client that has UPS's hosts built in reaches the fake, by the README's recipe.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::{
    fs,
    process::{Command, Output},
    sync::atomic::{AtomicU32, Ordering},
};

const RECIPE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/in-place-of-ups");

/// The output of `script`, run where UPS's hosts resolve to the fake.
fn in_place_of_ups(options: &[&str], script: &str) -> Output {
    // A different address for each run, so that concurrent runs do not collide.
    static RUNS: AtomicU32 = AtomicU32::new(1);
    let process = std::process::id();
    let address = format!("127.{}.{}.{}", 64 + process % 64, process / 64 % 256, RUNS.fetch_add(1, Ordering::Relaxed));
    Command::new(RECIPE)
        .args(options)
        .args(["--", "bash", "-euo", "pipefail", "-c", script])
        .env("FAKE_UPS", env!("CARGO_BIN_EXE_fake-ups"))
        .env("FAKE_UPS_ADDRESS", address)
        .output()
        .unwrap()
}

/// curl as an ordinary client: it knows UPS's hosts and, of the fake, only how to give consent.
const CLIENT: &str = r#"
ups=https://onlinetools.ups.com/security/v1/oauth
query='client_id=id&redirect_uri=http%3A%2F%2Flocalhost%3A3000%2Fcallback&response_type=code&state=s'
curl -sS -o /dev/null -w '%{http_code} %{http_version} %{redirect_url}\n' "$ups/authorize?$query"
consent=$(curl -sS -d "{\"authorize_url\":\"$ups/authorize?$query\",\"user\":\"one\"}" https://www.ups.com/__fake/consent)
code=$(sed 's/.*code=\([^&]*\)&.*/\1/' <<<"$consent")
pair=$(curl -sS -u id:secret -d "grant_type=authorization_code&code=$code" --data-urlencode redirect_uri=http://localhost:3000/callback "$ups/token")
refresh_token=$(sed 's/.*"refresh_token":"\([^"]*\)".*/\1/' <<<"$pair")
curl -sS -o /dev/null -w '%{http_code}\n' -u id:secret -d grant_type=refresh_token --data-urlencode "refresh_token=$refresh_token" "$ups/refresh"
curl -sS -o /dev/null -w '%{http_code}\n' https://wwwcie.ups.com/security/v1/oauth/validate-client
curl -sS -d '{"endpoint":"refresh","fault":"drop_answer"}' https://onlinetools.ups.com/__fake/faults
curl -sS -d grant_type=refresh_token "$ups/refresh" 2>&1 || true
"#;

#[test]
fn a_client_that_hard_codes_upss_hosts_meets_the_fake_and_nobody_else_does() {
    let hosts_before = fs::read_to_string("/etc/hosts").unwrap();
    let options = ["--client-id", "id", "--client-secret", "secret", "--user", "one:p"];
    let options = [&options[..], &["--redirect-uri", "http://localhost:3000/callback"]].concat();

    let Output { status, stdout, stderr } = in_place_of_ups(&options, CLIENT);

    let (told, errors) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert!(status.success(), "{told}\n{errors}");
    let lines: Vec<_> = told.lines().collect();
    assert!(lines[0].starts_with("302 1.1 https://www.ups.com/lasso/signin?client_id=id&"), "{told}");
    assert_eq!(lines[1..3], ["200", "401"], "{told}\n{errors}");
    assert!(
        lines[3].contains("fault set at refresh") && lines[3].contains("curl: ("),
        "a dropped answer, over TLS: {told}"
    );
    assert_eq!(fs::read_to_string("/etc/hosts").unwrap(), hosts_before);
}

#[test]
fn the_commands_exit_status_is_told_and_a_fake_that_cannot_start_runs_no_command() {
    assert_eq!(in_place_of_ups(&[], "exit 7").status.code(), Some(7));

    let Output { status, stdout, stderr } = in_place_of_ups(&["--code-lifetime", "0"], "echo began");

    assert_eq!((status.code(), stdout.len()), (Some(1), 0));
    assert!(String::from_utf8(stderr).unwrap().contains("at least one second"));
}
