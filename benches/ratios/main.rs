//! Ours, the peers and the hand-written floor, in one run. `cargo bench -p batchsuite-benches`; `benches/README.md` explains
//! the rows.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]

mod header;
mod store;
mod token;

use std::{
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
};

use batchsuite_benches::{
    measure::Pace,
    report::{self, Ratio},
    rows::Row,
};
use clap::{Parser, ValueEnum};

/// Measures, and prints a table of ratios.
#[derive(Debug, Parser)]
struct Arguments {
    /// Everything in three minutes: fewer rounds, smaller tables.
    #[arg(long)]
    quick: bool,
    /// Only these groups.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Group>,
    /// Also draws the table, as an SVG file.
    #[arg(long)]
    svg: Option<PathBuf>,
    /// Measures one group in this process.
    #[arg(long, hide = true)]
    group: Option<Group>,
    /// Cargo says that this is a bench.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Rows that are measured by one process, so that none finds the heap, the caches or the processor time of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Group {
    Token,
    Header,
    Store,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let pace = Pace::new(arguments.quick);
    if let Some(group) = arguments.group {
        match group {
            Group::Token => token::measure(pace),
            Group::Header => header::measure(pace),
            Group::Store => store::measure(pace),
        }
        return ExitCode::SUCCESS;
    }
    let groups = if arguments.only.is_empty() { Group::value_variants() } else { &arguments.only };
    let mut figures = Vec::new();
    let mut failed = Vec::new();
    for group in groups {
        if !run(group.program(arguments.quick), &mut figures) {
            failed.push(format!("{group:?}"));
        }
    }
    println!("\n{}", report::table(&figures));
    if !failed.is_empty() {
        eprintln!("not measured to the end: {}", failed.join(", "));
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

impl Group {
    /// What measures the group.
    fn program(self, quick: bool) -> Command {
        let name = self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        let mut program = Command::new(std::env::current_exe().expect("this program's path"));
        program.args(["--group", &name]);
        if quick {
            program.arg("--quick");
        }
        program
    }
}

/// Runs a program, shows what it prints, and keeps its figures. `false`: it failed.
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
