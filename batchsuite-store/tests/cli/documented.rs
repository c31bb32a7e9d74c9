//! The commands in the README and in the chapters are commands of the program.

use std::collections::BTreeSet;

use crate::program::{self, Said};

const TEXTS: [&str; 3] = [
    include_str!("../../../README.md"),
    include_str!("../../../batchsuite-auth/src/docs/operating.rs"),
    include_str!("../../../batchsuite-auth/src/docs/moving_from_another_system.rs"),
];

/// The commands in a text: in backticks, or at the beginning of a line.
fn commands(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let lines = text.lines().map(|line| line.trim_start_matches("//!").trim_start());
    let at_the_beginning = lines.clone().filter_map(|line| line.strip_prefix("batchsuite "));
    let in_backticks =
        lines.flat_map(|line| line.split('`').skip(1).step_by(2).filter_map(|code| code.strip_prefix("batchsuite ")));
    at_the_beginning.chain(in_backticks).map(|command| {
        let command = command.split_once(" #").map_or(command, |(command, _)| command);
        command.split_whitespace().collect()
    })
}

#[tokio::test]
async fn each_command_in_the_documentation_is_one() {
    let mut documented = BTreeSet::new();
    for mut arguments in TEXTS.into_iter().flat_map(commands) {
        documented.insert(arguments[0]);
        // With this, the program only parses the rest.
        arguments.extend((arguments[0] != "help").then_some("--help"));
        if arguments != ["help", "COMMAND"] {
            program::run(program::command(&arguments, &[]), None, &Said::default())
                .await
                .ended(0)
                .says("Usage: batchsuite");
        }
    }
    let help = program::run(program::command(&["--help"], &[]), None, &Said::default()).await.ended(0).stdout;
    let listed = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let exist: BTreeSet<_> = listed.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(documented, exist, "the documentation on the left");
}
