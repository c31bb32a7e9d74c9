//! The program as a child process, with the settings of one test and none of the environment's.

use std::{
    ffi::OsStr,
    process::{Output, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStderr, ChildStdout, Command},
    task::JoinHandle,
    time::timeout,
};

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Everything that the programs of a test printed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said(Arc<Mutex<String>>);

impl Said {
    pub(crate) fn add(&self, text: &str) {
        let mut said = self.0.lock().unwrap();
        said.push_str(text);
        said.push('\n');
    }

    pub(crate) fn text(&self) -> String {
        self.0.lock().unwrap().clone()
    }
}

/// A run of the program that has ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// Checks the exit status.
    #[track_caller]
    pub(crate) fn ended(self, status: i32) -> Self {
        assert_eq!(self.status, Some(status), "{self:#?}");
        self
    }

    /// Checks that stdout has these words.
    #[track_caller]
    pub(crate) fn says(self, words: &str) -> Self {
        assert!(self.stdout.contains(words), "{words:?} is not in {self:#?}");
        self
    }

    /// Checks that stderr has these words.
    #[track_caller]
    pub(crate) fn complains(self, words: &str) -> Self {
        assert!(self.stderr.contains(words), "{words:?} is not in {self:#?}");
        self
    }

    /// The JSON objects that it printed.
    #[track_caller]
    pub(crate) fn objects(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
    }

    /// The only JSON object that it printed.
    #[track_caller]
    pub(crate) fn object(&self) -> Value {
        let mut objects = self.objects();
        assert_eq!(objects.len(), 1, "{self:#?}");
        objects.remove(0)
    }
}

/// The program with these settings.
pub(crate) fn command<S: AsRef<OsStr>>(arguments: &[S], variables: &[(String, String)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_batchsuite"));
    for name in [
        "DATABASE_URL",
        "DATABASE_URL_FILE",
        "BATCHSUITE_KEYS",
        "BATCHSUITE_KEYS_FILE",
        "UPS_CLIENT_ID",
        "UPS_ENVIRONMENT",
    ] {
        command.env_remove(name);
    }
    command.args(arguments).env("RUST_LOG", "trace").envs(variables.iter().cloned());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Runs a command to its end, with this input.
pub(crate) async fn run(mut command: Command, input: Option<&str>, said: &Said) -> Ran {
    if input.is_some() {
        command.stdin(Stdio::piped());
    }
    let mut child = command.spawn().unwrap();
    if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
        // A program that ends early does not read its input.
        let _ = stdin.write_all(input.as_bytes()).await;
    }
    let Output { status, stdout, stderr } = timeout(PATIENCE, child.wait_with_output()).await.unwrap().unwrap();
    let (stdout, stderr) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    said.add(&stdout);
    said.add(&stderr);
    assert!(!stderr.contains("panicked"), "{stderr}");
    Ran { status: status.code(), stdout, stderr }
}

async fn whole(mut stderr: ChildStderr) -> String {
    let mut text = String::new();
    stderr.read_to_string(&mut text).await.unwrap();
    text
}

/// A program that runs.
pub(crate) struct Running {
    pub(crate) child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// Read all the time: a program whose log lines nobody reads stops.
    stderr: JoinHandle<String>,
    said: Said,
}

impl Running {
    pub(crate) fn start(mut command: Command, said: &Said) -> Self {
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let stderr = tokio::spawn(whole(child.stderr.take().unwrap()));
        Self { child, lines, stderr, said: said.clone() }
    }

    /// The next line on stdout; `None`: there is no more.
    pub(crate) async fn line(&mut self) -> Option<String> {
        let line = timeout(PATIENCE, self.lines.next_line()).await.expect("a line in time").unwrap();
        line.inspect(|line| self.said.add(line))
    }

    /// Waits for a line with these words.
    pub(crate) async fn until(&mut self, words: &str) -> String {
        loop {
            let line = self.line().await.unwrap_or_else(|| panic!("it ended without {words:?}: {}", self.said.text()));
            if line.contains(words) {
                return line;
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = Pid::from_raw(self.child.id().unwrap().cast_signed()).unwrap();
        kill_process(id, signal).unwrap();
    }

    /// Closes the reading end of its output, and waits for its end.
    pub(crate) async fn unread(self) -> Ran {
        let Self { mut child, lines, stderr, said } = self;
        drop((lines, child.stdin.take()));
        let complaint = timeout(PATIENCE, stderr).await.unwrap().unwrap();
        said.add(&complaint);
        assert!(!complaint.contains("panicked"), "{complaint}");
        let status = timeout(PATIENCE, child.wait()).await.unwrap().unwrap();
        Ran { status: status.code(), stdout: String::new(), stderr: complaint }
    }

    /// Waits for its end.
    pub(crate) async fn ended(mut self) -> Ran {
        // Before the input is closed: the program must end by itself.
        let mut stdout = String::new();
        let mut rest = async || {
            while let Some(line) = self.line().await {
                stdout.push_str(&line);
                stdout.push('\n');
            }
        };
        rest().await;
        let ran = self.unread().await;
        Ran { stdout, ..ran }
    }
}
