//! The question before a command that can do harm.

use std::io::{self, IsTerminal as _, Write as _};

use crate::failure::Failure;

/// Asks on the terminal; fails unless the answer is yes. Without a terminal, fails with the line `refusal`.
pub(super) fn confirm(question: &str, refusal: &str) -> Result<(), Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::new(refusal));
    }
    let asked = || {
        let mut answer = String::new();
        let mut stderr = io::stderr();
        write!(stderr, "{question} [yes/no] ")?;
        stderr.flush()?;
        io::stdin().read_line(&mut answer)?;
        Ok(answer.trim() == "yes")
    };
    match asked().map_err(|error: io::Error| Failure::new("the terminal cannot be asked; add --yes").because(&error))? {
        true => Ok(()),
        false => Err(Failure::new("nothing was done")),
    }
}
