//! Our code, the peers and the hand-written floor, in one run. `cargo bench -p batchsuite-benches` runs it;
//! `benches/README.md` explains the rows.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]

mod counted;
mod fake;
mod header;
mod keeper;
mod oauth;
mod refresh;
mod roundtrips;
mod server;
mod service;
mod store;
mod token;

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use batchsuite_benches::{
    bars,
    measure::Pace,
    report::{self, Ratio},
    rows::{ROWS, Row},
};
use clap::{Parser, ValueEnum};

use self::server::Role;

/// Measures and prints a table of ratios.
#[derive(Debug, Parser)]
struct Arguments {
    /// Finishes in three minutes: fewer rounds, smaller tables.
    #[arg(long)]
    quick: bool,
    /// Also measures the rows that take half an hour together.
    #[arg(long)]
    long: bool,
    /// Measures only these groups.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Group>,
    /// Also draws the table as an SVG file.
    #[arg(long)]
    svg: Option<PathBuf>,
    /// Adds figures of earlier runs to the table, from files with their output. A row measured now takes precedence.
    #[arg(long, value_delimiter = ',')]
    with: Vec<PathBuf>,
    /// Measures one group in this process.
    #[arg(long, hide = true)]
    group: Option<Group>,
    /// Runs the server of a group in this process.
    #[arg(long, hide = true)]
    serve: Option<Role>,
    /// Passed by Cargo to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

/// The rows of [`Group::Long`].
const LONG: [&str; 3] = ["store/snapshot/wake100", "store/restore", "store/reencrypt"];

/// Rows measured by one process, so that they share no heap, caches or processor time with other rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Group {
    Token,
    Peers,
    Header,
    Keeper,
    Counted,
    Refresh,
    Fake,
    Store,
    Service,
    /// Measured only with `--long` or by name.
    Long,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(role) = arguments.serve {
        server::serve(role);
        return ExitCode::SUCCESS;
    }
    let pace = Pace::new(arguments.quick);
    match arguments.group {
        None => run_groups(&arguments),
        Some(Group::Peers) => {
            eprintln!("the peers are a program of their own: --only peers");
            ExitCode::FAILURE
        }
        Some(group) => {
            group.measure(pace);
            ExitCode::SUCCESS
        }
    }
}

/// Runs each group in its own process, then prints the table of all.
fn run_groups(arguments: &Arguments) -> ExitCode {
    let all = Group::value_variants().iter().copied().filter(|group| arguments.long || *group != Group::Long);
    let groups = if arguments.only.is_empty() { all.collect() } else { arguments.only.clone() };
    let mut figures = Vec::new();
    let mut failed = Vec::new();
    for group in &groups {
        if !run(group.program(arguments.quick), &mut figures) {
            failed.push(format!("{group:?}"));
        }
    }
    for path in &arguments.with {
        if let Err(error) = add_earlier(path, &mut figures) {
            eprintln!("{} cannot be read: {error}", path.display());
            return ExitCode::FAILURE;
        }
    }
    println!("\n{}", report::table(&figures));
    if let Some(path) = &arguments.svg
        && let Err(error) = std::fs::write(path, bars::svg(&figures))
    {
        eprintln!("{} cannot be written: {error}", path.display());
        return ExitCode::FAILURE;
    }
    if arguments.only.is_empty() {
        let wanted = ROWS.iter().filter(|row| arguments.long || !LONG.contains(&row.name));
        let missing = wanted.filter(|row| figures.iter().all(|(of, _)| of.name != row.name));
        failed.extend(missing.map(|row| row.name.to_owned()));
    }
    if !failed.is_empty() {
        eprintln!("not measured to the end: {}", failed.join(", "));
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Adds the figures from the output of an earlier run, except for rows that already have one.
fn add_earlier(path: &Path, figures: &mut Vec<(&'static Row, Ratio)>) -> std::io::Result<()> {
    for (row, ratio) in std::fs::read_to_string(path)?.lines().filter_map(report::parse) {
        if figures.iter().all(|(of, _)| of.name != row.name) {
            figures.push((row, ratio));
        }
    }
    Ok(())
}

impl Group {
    /// Measures the group in this process, unless another program measures it.
    fn measure(self, pace: Pace) {
        match self {
            Group::Token => token::measure(pace),
            Group::Peers => {}
            Group::Header => header::measure(pace.in_short_batches()),
            Group::Keeper => keeper::measure(pace),
            Group::Counted => {
                counted::measure(pace);
                roundtrips::measure();
            }
            Group::Refresh => refresh::measure(pace),
            Group::Fake => fake::measure(pace),
            Group::Store => store::measure(pace),
            Group::Service => service::measure(pace),
            Group::Long => store::measure_long(pace),
        }
    }

    /// The program that measures the group.
    fn program(self, quick: bool) -> Command {
        let mut program = if self == Group::Peers { peers() } else { self.in_this_program() };
        if quick {
            program.arg("--quick");
        }
        program
    }

    fn in_this_program(self) -> Command {
        let name = self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        let mut program = Command::new(std::env::current_exe().expect("this program's path"));
        program.args(["--group", &name]);
        program
    }
}

/// Builds and runs the peers' workspace with its lock file.
fn peers() -> Command {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/Cargo.toml");
    // Next to `tmp` in the target directory, wherever that is.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("peers");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["run", "--release", "--locked", "--manifest-path"]).arg(manifest);
    cargo.arg("--target-dir").arg(target).arg("--");
    cargo
}

/// Runs a program, shows its output and keeps its figures. Returns `false` if it failed.
fn run(mut program: Command, figures: &mut Vec<(&'static Row, Ratio)>) -> bool {
    let mut child = match program.stdout(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(error) => {
            eprintln!("{program:?} does not start: {error}");
            return false;
        }
    };
    let output = BufReader::new(child.stdout.take().expect("its output is piped"));
    for line in output.lines().map_while(Result::ok) {
        println!("{line}");
        figures.extend(report::parse(&line));
    }
    child.wait().is_ok_and(|status| status.success())
}
