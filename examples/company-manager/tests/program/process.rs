//! The program as a child process, on free ports, without the environment's settings; it ends with its handle.

use std::{process::Stdio, time::Duration};

use company_manager::config::VARIABLES;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpStream,
    process::{Child, ChildStdout, Command},
    time::timeout,
};
use url::Url;

pub(crate) fn command(variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_company-manager"));
    for name in VARIABLES {
        command.env_remove(name);
    }
    command.envs(variables.iter().copied()).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// A demo that runs.
pub(crate) struct Program {
    pub(crate) child: Child,
    /// What it said in the terminal when it began.
    pub(crate) said: String,
    /// Where it is.
    pub(crate) url: Url,
    /// Where its fake UPS is.
    pub(crate) fake: Url,
    /// Kept open, so that it can go on talking.
    _stdout: BufReader<ChildStdout>,
}

impl Program {
    pub(crate) async fn start(variables: &[(&str, &str)]) -> Self {
        let mut command = command(variables);
        let mut child =
            command.env("LISTEN", "127.0.0.1:0").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut said = String::new();
        while !said.contains("/__fake/") {
            let line = timeout(Duration::from_secs(30), stdout.read_line(&mut said)).await;
            assert!(line.expect("it says where it is").unwrap() > 0, "it ended: {said}");
        }
        let address = |label: &str| -> Url {
            let line =
                said.lines().find_map(|line| line.trim().strip_prefix(label)).unwrap_or_else(|| panic!("{said}"));
            line.trim().parse().unwrap()
        };
        let (url, fake) = (address("Open"), address("Fake UPS"));
        Self { child, said, url, fake, _stdout: stdout }
    }

    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.url.port().unwrap())
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.host()).await.unwrap()
    }

    pub(crate) async fn accepts(&self) -> bool {
        TcpStream::connect(self.host()).await.is_ok()
    }

    /// Sends it SIGTERM.
    pub(crate) fn terminate(&self) {
        let id = rustix::process::Pid::from_raw(self.child.id().unwrap().cast_signed()).unwrap();
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    }
}
