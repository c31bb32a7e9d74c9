//! The dashboard's queries are valid, and its metrics and those of the alerts are those that a service has.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::promtool::{file, run};

fn dashboard() -> Value {
    serde_json::from_str(&std::fs::read_to_string(file("dashboard.json")).unwrap()).unwrap()
}

/// The queries of all panels.
fn queries() -> Vec<String> {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets =
        panels.iter().filter(|panel| panel["type"] != "row").flat_map(|panel| panel["targets"].as_array().unwrap());
    targets.map(|target| target["expr"].as_str().unwrap().replace("$__rate_interval", "1m")).collect()
}

/// Every metric that is named in a text.
fn named(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("batchsuite_")).collect()
}

/// Every metric that the code of the libraries names.
fn exported() -> BTreeSet<String> {
    let files =
        ["auth/src/telemetry.rs", "auth/src/telemetry/gauges.rs", "store/src/overview.rs", "store/src/left_out.rs"];
    let code = files.map(|name| std::fs::read_to_string(file(&format!("../../batchsuite-{name}"))).unwrap()).concat();
    let literals = code.split('"').skip(1).step_by(2).filter(|literal| literal.starts_with("batchsuite_"));
    literals.map(str::to_owned).collect()
}

#[test]
fn the_queries_are_valid() {
    let rules: Vec<_> = queries().iter().map(|query| json!({"record": "panel", "expr": query})).collect();
    assert!(rules.len() > 10);

    run(&["check", "rules", "--lint=none"], &json!({"groups": [{"name": "dashboard", "rules": rules}]})).unwrap();
}

#[test]
fn the_dashboard_shows_each_metric_and_no_other() {
    let queries = queries().join("\n");
    let shown = named(&queries).into_iter().map(|name| name.trim_end_matches("_bucket").to_owned());

    assert_eq!(shown.collect::<BTreeSet<_>>(), exported());
}
