//! The command line.

use std::{path::PathBuf, time::Duration};

use batchsuite_auth::{ActorId, CompanyId, Environment, StatusFilter, events::EventId};
use clap::{Args, Parser, Subcommand};

/// Looks after the UPS opt-ins that a service keeps in Postgres or SQLite. Asks UPS nothing, shows no secret.
#[derive(Debug, Parser)]
#[command(name = "batchsuite", version, after_help = AFTER_HELP)]
pub(crate) struct Options {
    /// The UPS environment: cie or production [or set UPS_ENVIRONMENT]
    #[arg(long, global = true, value_name = "NAME", value_parser = environment)]
    pub(crate) environment: Option<Environment>,
    /// Print JSON, one object per line
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// The Postgres schema, if the service uses another than batchsuite
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) schema: Option<String>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER_HELP: &str = "\
Settings, from the environment:
  DATABASE_URL          postgres://user:password@host/database or sqlite:PATH
  DATABASE_URL_FILE     a file with that URL
  BATCHSUITE_KEYS       the service's keys: name:key,name:key, the primary first
  BATCHSUITE_KEYS_FILE  a file with them, a line each [default for SQLite: PATH.keys]
  UPS_ENVIRONMENT       cie or production
  UPS_CLIENT_ID         the client id [default: the one that the service announced last]
  RUST_LOG              log lines on stderr, e.g. warn

Exit status: 0 fine, 1 found something that needs attention, 2 could not.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create the schema, or bring it up to date
    Migrate,
    /// Check database, schema, rights, server and keys, and that all stored tokens open
    Check,
    /// List companies and their status
    ///
    /// Opens no tokens: `check` tells which cannot be read.
    List(List),
    /// Say why a company works or does not, since when, who has to act, and what happens next by itself
    ///
    /// Exit status 1: it does not work, or must authenticate again.
    Why {
        /// The company's id
        company: CompanyId,
    },
    /// Count companies by status, and show how far behind the keepers are and whether UPS is out of reach
    ///
    /// Opens no tokens: `check` tells which cannot be read.
    Overview {
        /// Count again after this time, e.g. 10s, and tell when the keepers will have caught up
        #[arg(long, value_name = "TIME", value_parser = age)]
        watch: Option<Duration>,
    },
    /// Show the event log, oldest first
    Events(Events),
    /// Import the tokens of another system. Without --yes, say only what would happen
    Import(Import),
    /// Encrypt all tokens with the first key, e.g. before an older key is removed
    Reencrypt,
    /// Delete old events
    Prune(Prune),
    /// After a restored backup or a fail-over that lost commits, before any process serves: mark tokens that may be spent
    AfterRestore {
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only companies of this status: unauthenticated, authenticated, expiring_soon or reauth_required
    #[arg(long, value_name = "STATUS", value_parser = status)]
    status: Option<StatusFilter>,
    /// Only companies whose authorization ends soon: --status expiring_soon
    #[arg(long, conflicts_with = "status")]
    expiring: bool,
}

impl List {
    pub(crate) fn filter(&self) -> Option<StatusFilter> {
        if self.expiring { Some(StatusFilter::ExpiringSoon) } else { self.status }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Events {
    /// Only events of this company
    #[arg(long, value_name = "ID")]
    pub(crate) company: Option<CompanyId>,
    /// How many of the latest events to show
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    pub(crate) last: usize,
    /// Show all events after the one with this number instead
    #[arg(long, value_name = "NUMBER", conflicts_with = "last", value_parser = event_id)]
    pub(crate) after: Option<EventId>,
    /// Go on with new events until interrupted
    #[arg(long)]
    pub(crate) follow: bool,
}

#[derive(Debug, Args)]
#[command(after_help = IMPORT_HELP)]
pub(crate) struct Import {
    /// A file of JSON lines, or - for the standard input
    pub(crate) file: PathBuf,
    /// Import, instead of saying what would happen
    #[arg(long)]
    pub(crate) yes: bool,
    /// Who imports, for the event log, where a line names no actor
    #[arg(long, value_name = "ID", default_value = "import")]
    pub(crate) actor: ActorId,
}

#[derive(Debug, Args)]
pub(crate) struct Prune {
    /// The age from which on events are deleted, e.g. 400d, 12w or 36h
    #[arg(long, value_name = "AGE", value_parser = age)]
    pub(crate) older_than: Duration,
    /// Also delete events that a consumer has not seen yet, e.g. one that no service begins any more
    #[arg(long)]
    pub(crate) undelivered: bool,
    /// Do not ask, also if events of the last 30 days are deleted
    #[arg(long)]
    pub(crate) yes: bool,
}

const IMPORT_HELP: &str = "\
Each line is a JSON object:
  company              the company's id
  refresh_token        as UPS issued it
  actor                who imports
  issued_at            when UPS issued the refresh token (also refresh_token_issued_at)
  refresh_expires_at   when the refresh token ends, or refresh_token_expires_in: seconds from issued_at
  access_token         the access token that belongs to it
  access_expires_at    when the access token ends, or expires_in: seconds from issued_at
company and refresh_token are required. Times are in RFC 3339 or in milliseconds since 1970, as UPS has them.
The other fields of a token answer of UPS may be there and are ignored.

Stop the other system first. An import can be interrupted and run again: what is stored already stays. A company that
is authenticated by a later opt-in, or whose authorization was removed here, is left alone.";

fn environment(text: &str) -> Result<Environment, &'static str> {
    text.parse().map_err(|_| "it must be cie or production")
}

fn status(text: &str) -> Result<StatusFilter, &'static str> {
    match text {
        "unauthenticated" => Ok(StatusFilter::Unauthenticated),
        "authenticated" => Ok(StatusFilter::Authenticated),
        "expiring_soon" => Ok(StatusFilter::ExpiringSoon),
        "reauth_required" => Ok(StatusFilter::ReauthRequired),
        _ => Err("it must be unauthenticated, authenticated, expiring_soon or reauth_required"),
    }
}

fn event_id(text: &str) -> Result<EventId, &'static str> {
    text.parse().map(EventId::new).map_err(|_| "it must be the number of an event")
}

fn age(text: &str) -> Result<Duration, &'static str> {
    let refused = "it must be a number and a unit: s, m, h, d or w, e.g. 400d";
    let unit = text.chars().last().ok_or(refused)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return Err(refused),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| refused)?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or("it is too long")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn an_age_is_a_number_and_a_unit() {
        for (text, seconds) in [("1s", 1), ("2m", 120), ("36h", 129_600), ("400d", 34_560_000), ("1w", 604_800)] {
            assert_eq!(age(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "d", "1", "-1d", "1.5d", "1y", "1 d", "d1", "1\u{e4}", "99999999999999999999d"] {
            assert!(age(text).is_err(), "{text}");
        }
        assert!(age("18446744073709551615w").is_err());
    }
}
