//! Formats an error with its causes, for a log.

use std::{
    error::Error,
    fmt::{self, Write as _},
};

use crate::events::is_invisible;

/// Formats `error` with its causes on one line, for a log: the `Display` of this crate's errors never prints the
/// source.
///
/// ```
/// use batchsuite_auth::{error::chain, store::{StoreError, StoreErrorKind}};
///
/// let error = StoreError::new(StoreErrorKind::Unavailable).with_source(std::io::Error::other("25006: read-only"));
/// assert_eq!(chain(&error).to_string(), "the store cannot be reached; try again: 25006: read-only");
/// ```
pub fn chain<'a>(error: &'a (dyn Error + 'static)) -> Chain<'a> {
    Chain(error)
}

/// An error with its causes; see [`chain`].
#[derive(Clone, Copy, Debug)]
pub struct Chain<'a>(&'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(OneLine(f), "{}", self.0)?;
        let mut error = self.0;
        while let Some(cause) = error.source() {
            write!(OneLine(f), ": {cause}")?;
            error = cause;
        }
        Ok(())
    }
}

/// Replaces control and invisible characters with spaces, so that the text of a cause cannot forge or reorder log
/// lines.
struct OneLine<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl fmt::Write for OneLine<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| self.0.write_char(if c.is_control() || is_invisible(c) { ' ' } else { c }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        error::TokenError,
        store::{StoreError, StoreErrorKind},
    };

    #[test]
    fn a_chain_has_every_cause_on_one_line() {
        #[derive(Debug, thiserror::Error)]
        #[error("the pool\r\nfailed")]
        struct Pool(#[source] std::io::Error);

        let cause = StoreError::new(StoreErrorKind::Unavailable)
            .with_source(Pool(std::io::Error::other("57P01\nfor\u{202e}ged")));

        let shown = chain(&TokenError::Store(cause)).to_string();

        assert!(shown.ends_with("the store cannot be reached; try again: the pool  failed: 57P01 for ged"), "{shown}");
    }
}
