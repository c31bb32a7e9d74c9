//! `import`: another system's tokens, a line for each company.

mod line;
mod summary;

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher as _,
    path::Path,
    pin::Pin,
    time::Duration,
};

use batchsuite_auth::{
    BatchSuiteAuth, CompanyId, ImportError, Imported, Status, StoreError, StoreErrorKind,
    clock::{Clock as _, SystemClock},
    error::chain,
};
use indicatif::ProgressBar;
use secrecy::zeroize::Zeroizing;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, BufReader};

use self::{
    line::Line,
    summary::{Fate, Summary},
};
use super::{Opened, Outcome};
use crate::{
    client::Use,
    failure::Failure,
    interrupt::{interrupted, until_interrupted},
    options::Import,
    output::Output,
    progress,
    settings::Settings,
};

/// How often a line is tried again while the store is away. A try takes as long as a caller waits, at most.
const PATIENCE: u32 = 30;
/// The pause before the next try.
const PAUSE: Duration = Duration::from_secs(1);

pub(super) async fn run(settings: &Settings, options: &Import, output: &mut Output) -> Result<Outcome, Failure> {
    let lines = open(&options.file).await?;
    let opened = Opened::new(settings, Use::Write, ProgressBar::hidden()).await?;
    let bar = progress::bar("{spinner} {pos} lines, {elapsed}", None);
    let mut run = Run {
        auth: opened.auth.clone(),
        options,
        output,
        summary: Summary::default(),
        companies: HashMap::new(),
        tokens: HashMap::new(),
        hash: RandomState::new(),
    };
    let done = until_interrupted(run.all(lines, &bar)).await;
    let Run { summary, output, companies, .. } = run;
    bar.finish_and_clear();
    opened.close().await;
    // Nothing is told of a file that cannot be read at all, e.g. a directory.
    if !companies.is_empty() || !matches!(done, Ok(Some(Err(_)))) {
        summary.report(!options.yes, output);
    }
    done?.ok_or_else(interrupted)??;
    Ok(if summary.has_refused() { Outcome::Found } else { Outcome::Fine })
}

async fn open(path: &Path) -> Result<Pin<Box<dyn AsyncBufRead>>, Failure> {
    if path == Path::new("-") {
        return Ok(Box::pin(BufReader::new(tokio::io::stdin())));
    }
    let unreadable = |error| Failure::new(format!("{} cannot be read", path.display())).because(&error);
    Ok(Box::pin(BufReader::new(tokio::fs::File::open(path).await.map_err(unreadable)?)))
}

/// An import under way.
struct Run<'a> {
    auth: BatchSuiteAuth,
    options: &'a Import,
    output: &'a mut Output,
    summary: Summary,
    /// The line of each company, and of each refresh token, by its hash.
    companies: HashMap<CompanyId, u64>,
    tokens: HashMap<u64, u64>,
    hash: RandomState,
}

impl Run<'_> {
    async fn all(&mut self, mut lines: Pin<Box<dyn AsyncBufRead>>, bar: &ProgressBar) -> Result<(), Failure> {
        for number in 1.. {
            let mut text = Zeroizing::new(Vec::new());
            let unreadable = |error| Failure::new("the lines cannot be read to their end").because(&error);
            if lines.read_until(b'\n', &mut text).await.map_err(unreadable)? == 0 {
                break;
            }
            // Some programs begin a text with a mark.
            let text = text.strip_prefix("\u{feff}".as_bytes()).filter(|_| number == 1).unwrap_or(&text).trim_ascii();
            if !text.is_empty() {
                let (company, fate) = self.one(text, number).await?;
                self.summary.count(number, company.as_ref(), &fate, self.output);
            }
            bar.inc(1);
        }
        Ok(())
    }

    /// Imports a line; returns its company, if the line names one, and what became of it.
    async fn one(&mut self, text: &[u8], number: u64) -> Result<(Option<CompanyId>, Fate), Failure> {
        let line = match Line::parse(text, SystemClock.now()) {
            Ok(line) => line,
            Err(why) => return Ok((None, Fate::Refused(why))),
        };
        if let Some(first) = self.companies.insert(line.company.clone(), number) {
            let why = format!("its company is that of line {first}, too; leave one of them out");
            return Ok((Some(line.company), Fate::Refused(why)));
        }
        if let Some(first) = self.tokens.insert(self.hash.hash_one(line.refresh_token.expose_secret()), number) {
            let why = format!("its refresh token is that of line {first}, too; a refresh token belongs to one company");
            return Ok((Some(line.company), Fate::Refused(why)));
        }
        let fate = self.tried(&line).await?;
        Ok((Some(line.company), fate))
    }

    /// Imports a line once the store takes it.
    async fn tried(&self, line: &Line) -> Result<Fate, Failure> {
        let mut patience = PATIENCE;
        loop {
            match self.imported(line).await {
                // Not stored yet, or unknown: the same tokens again do no harm.
                Err(error) if error.is_transient() && patience > 0 => {
                    patience -= 1;
                    tokio::time::sleep(PAUSE).await;
                }
                Err(ImportError::Store(error)) if concerns_all(&error) => return Err(error.into()),
                Err(ImportError::ShutDown) => return Err(interrupted()),
                Err(ImportError::NewerOptIn) => return Ok(Fate::Kept),
                Err(error) => return Ok(Fate::Refused(chain(&error).to_string())),
                Ok(None) => return Ok(Fate::Removed),
                Ok(Some(Imported::AlreadyStored)) => return Ok(Fate::AlreadyStored),
                Ok(Some(_)) => return Ok(Fate::Stored),
            }
        }
    }

    /// `None`: the authorization was removed here, and stays so.
    async fn imported(&self, line: &Line) -> Result<Option<Imported>, ImportError> {
        let Line { company, actor, tokens, .. } = line;
        let before = self.auth.status(company).await?;
        if before.status == Status::Unauthenticated && before.revision.epoch > 0 {
            return Ok(None);
        }
        let actor = actor.as_ref().unwrap_or(&self.options.actor);
        let imported = match self.options.yes {
            true => self.auth.import(company, actor, tokens.clone()).await,
            false => self.auth.try_import(company, actor, tokens.clone()).await,
        };
        imported.map(Some)
    }
}

/// Whether the next line would meet the same failure.
fn concerns_all(error: &StoreError) -> bool {
    matches!(error.kind(), StoreErrorKind::Unavailable | StoreErrorKind::Misconfigured)
}
