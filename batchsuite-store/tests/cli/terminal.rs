//! What a person sees on a terminal: questions and progress. `script` gives the program one.

use std::process::Stdio;

use batchsuite_auth::fake_ups::FakeUps;
use batchsuite_tests::{Backend, acme, on_each_backend};

use crate::{
    program::{self, Ran},
    stage::Stage,
};

on_each_backend!(
    a_person_is_asked_before_tokens_are_marked,
    a_person_is_asked_before_recent_events_are_deleted,
    progress_is_shown_on_a_terminal_only
);

impl Stage {
    /// Runs the program on a terminal, at which this is typed.
    async fn at_a_terminal(&self, typed: &str, arguments: &[&str]) -> Ran {
        let program = self.command(arguments);
        let program = program.as_std();
        let quoted = |word: &std::ffi::OsStr| format!("'{}'", word.to_str().unwrap());
        let words: Vec<_> = [program.get_program()].into_iter().chain(program.get_args()).map(quoted).collect();
        let mut script = tokio::process::Command::new("script");
        script.args(["-q", "-e", "-c", &words.join(" "), "/dev/null"]).envs(self.variables()).env("TERM", "xterm");
        script.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        program::run(script, Some(typed), &self.said).await
    }
}

async fn a_person_is_asked_before_tokens_are_marked(backend: Backend) {
    let stage = Stage::new(backend).await;
    stage.opt_in(&stage.service().await, &acme(), FakeUps::USER).await;

    let refused = stage.at_a_terminal("no\n", &["after-restore"]).await.ended(2);
    refused.says("before any process serves").says("nothing was done");
    stage.run(&["why", "acme"]).await.ended(0).says("It works.");
    stage.at_a_terminal("yes\n", &["after-restore"]).await.ended(0).says("Marked 1 company.");
}

async fn a_person_is_asked_before_recent_events_are_deleted(backend: Backend) {
    let stage = Stage::new(backend).await;
    stage.opt_in(&stage.service().await, &acme(), FakeUps::USER).await;

    let refused = stage.at_a_terminal("no\n", &["prune", "--older-than", "29d"]).await.ended(2);
    refused.says("the last 30 days").says("nothing was done");
    stage.at_a_terminal("", &["prune", "--older-than", "30d"]).await.ended(0).says("Deleted 0 events.");
    stage.at_a_terminal("yes\n", &["prune", "--older-than", "0s"]).await.ended(0).says("Deleted 2 events.");
}

async fn progress_is_shown_on_a_terminal_only(backend: Backend) {
    let stage = Stage::new(backend).await;
    stage.opt_in(&stage.service().await, &acme(), FakeUps::USER).await;

    stage.at_a_terminal("", &["check"]).await.ended(0).says("opening tokens: ").says("All is in order");
    let piped = stage.run(&["check"]).await.ended(0);
    assert!(!piped.stdout.contains("opening tokens") && !piped.stderr.contains("opening tokens:"), "{piped:#?}");
}
