//! Prometheus's own evaluation of the rules, `for` included: `promtool`, of Debian's package `prometheus`.

use std::{collections::BTreeMap, path::PathBuf, process::Command};

use serde_json::{Value, json};

/// The seconds between two scrapes, and between two evaluations.
pub(crate) const INTERVAL: u64 = 15;

/// What Prometheus scraped of one process.
#[derive(Default)]
pub(crate) struct Scrapes {
    pub(crate) count: usize,
    /// The values of each series; a missing one is `_`.
    series: BTreeMap<String, Vec<String>>,
}

impl Scrapes {
    /// Adds a scrape in the text format.
    pub(crate) fn add(&mut self, text: &str) {
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (series, value) = line.rsplit_once(' ').expect("a series and its value");
            let values = self.series.entry(of_instance(series)).or_default();
            values.resize(self.count, "_".to_owned());
            values.push(value.to_owned());
        }
        self.count += 1;
    }

    /// The seconds of the last scrape.
    pub(crate) fn seconds(&self) -> u64 {
        (self.count as u64 - 1) * INTERVAL
    }

    /// Has Prometheus evaluate the rules over these scrapes. Fails unless at each of these times, in seconds, exactly
    /// the alerts named with it fire.
    pub(crate) fn expect(&self, firing: &[(u64, &[&str])]) -> Result<(), String> {
        let input: Vec<_> =
            self.series.iter().map(|(series, values)| json!({"series": series, "values": values.join(" ")})).collect();
        let tests: Vec<_> = firing
            .iter()
            .map(|(seconds, alerts)| {
                let sample = |alert: &&str| json!({"labels": format!("{{alertname=\"{alert}\"}}"), "value": 1});
                json!({
                    "expr": "count by (alertname) (count by (alertname, environment) (ALERTS{alertstate=\"firing\"}))",
                    "eval_time": format!("{seconds}s"),
                    "exp_samples": alerts.iter().map(sample).collect::<Vec<_>>(),
                })
            })
            .collect();
        let interval = format!("{INTERVAL}s");
        let test = json!({"interval": interval, "input_series": input, "promql_expr_test": tests});
        let rules = file("alerts.yml");
        run(&["test", "rules"], &json!({"rule_files": [rules], "evaluation_interval": interval, "tests": [test]}))
    }
}

/// As Prometheus labels what it scrapes.
fn of_instance(series: &str) -> String {
    match series.split_once('{') {
        Some((name, labels)) => format!("{name}{{instance=\"a\",{labels}"),
        None => format!("{series}{{instance=\"a\"}}"),
    }
}

/// A file of this package.
pub(crate) fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Runs `promtool` with a file of this content, which it reads as YAML.
pub(crate) fn run(command: &[&str], content: &Value) -> Result<(), String> {
    let path = std::env::temp_dir().join(format!("observe-{:016x}.yml", rand::random::<u64>()));
    std::fs::write(&path, content.to_string()).expect("a temporary file");
    let installed = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/bin/promtool");
    let promtool = if installed.exists() { installed } else { "promtool".into() };
    let output = Command::new(&promtool).args(command).arg(&path).output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}; tests/run installs it", promtool.display()));
    std::fs::remove_file(&path).expect("the temporary file");
    match output.status.success() {
        true => Ok(()),
        false => Err([output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat()),
    }
}
