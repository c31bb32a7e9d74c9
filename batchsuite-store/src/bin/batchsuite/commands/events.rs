//! `events`: the event log, and what is added to it.

use batchsuite_auth::{
    BatchSuiteAuth, Event, EventFilter, EventOrder, StoreErrorKind, error::chain, events::EventId, store::Store as _,
};
use indicatif::ProgressBar;

use super::{Opened, Outcome, shown};
use crate::{
    client::Use,
    failure::Failure,
    interrupt::until_interrupted,
    options::Events,
    output::{Output, Table},
    settings::Settings,
};

/// How many events are read at once.
const PAGE: usize = 500;

/// Prints events.
struct Printer<'a> {
    table: Table<5>,
    output: &'a mut Output,
}

impl Printer<'_> {
    fn print(&mut self, events: &[Event]) {
        if self.output.is_json {
            events.iter().for_each(|event| self.output.json(event));
        } else {
            let rows: Vec<_> = events.iter().map(row).collect();
            self.table.print(&rows, self.output);
        }
        self.output.flush();
    }

    fn say(&mut self, error: &(dyn std::error::Error + 'static)) {
        // The log goes on; what was printed stays a table.
        let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{}\n", chain(error)));
    }
}

pub(super) async fn run(settings: &Settings, options: &Events, output: &mut Output) -> Result<Outcome, Failure> {
    let opened = Opened::new(settings, Use::Nothing, ProgressBar::hidden()).await?;
    let table = Table::new(["EVENT", "AT", "COMPANY", "WHAT", "DETAILS"]);
    let mut printer = Printer { table, output };
    let cursor = match options.after {
        Some(after) => all_after(&opened.auth, options, after, &mut printer).await?,
        None => {
            // First where the log ends now, so that no event falls between the two reads.
            let end =
                opened.database.store().changes(settings.environment, None, std::time::Duration::ZERO).await?.cursor;
            latest(&opened.auth, options, end, &mut printer).await?;
            end
        }
    };
    if printer.table.is_empty() && !printer.output.is_json && !options.follow {
        printer.output.line("No event.");
    }
    if options.follow {
        let followed = until_interrupted(follow(&opened.auth, options, cursor, &mut printer)).await?;
        followed.unwrap_or(Ok(()))?;
    }
    opened.close().await;
    Ok(Outcome::Fine)
}

/// Prints the latest events up to `end`.
async fn latest(
    auth: &BatchSuiteAuth,
    options: &Events,
    end: EventId,
    printer: &mut Printer<'_>,
) -> Result<(), Failure> {
    let (mut events, mut after) = (Vec::new(), None);
    while events.len() < options.last {
        let filter = EventFilter::new().with_company(options.company.clone()).with_order(EventOrder::NewestFirst);
        let page = auth.events(filter.with_after(after).with_limit(PAGE.min(options.last))).await?;
        if page.items.is_empty() && page.next == after {
            break;
        }
        after = page.next;
        events.extend(page.items.into_iter().filter(|event| !options.follow || event.id <= end));
    }
    events.truncate(options.last);
    events.reverse();
    printer.print(&events);
    Ok(())
}

/// Prints all events after this one; returns the cursor at their end.
async fn all_after(
    auth: &BatchSuiteAuth,
    options: &Events,
    after: EventId,
    printer: &mut Printer<'_>,
) -> Result<EventId, Failure> {
    let mut cursor = after;
    while !printer.output.is_closed() {
        let filter = EventFilter::new().with_company(options.company.clone()).with_after(cursor).with_limit(PAGE);
        let page = auth.events(filter).await.map_err(|error| match error.kind() {
            StoreErrorKind::Pruned { up_to } => {
                let number = up_to.number();
                Failure::new(format!("events up to {number} were pruned; read on with --after {number}")).of_database()
            }
            _ => error.into(),
        })?;
        printer.print(&page.items);
        match page.next {
            Some(next) if next != cursor => cursor = next,
            _ => break,
        }
    }
    Ok(cursor)
}

/// Prints new events until the output is closed.
async fn follow(
    auth: &BatchSuiteAuth,
    options: &Events,
    cursor: EventId,
    printer: &mut Printer<'_>,
) -> Result<(), Failure> {
    let is_wanted = |event: &Event| options.company.is_none() || event.company == options.company;
    let mut events = auth.event_stream(Some(cursor));
    while let Some(event) = events.next().await {
        match event {
            Ok(event) if is_wanted(&event) => printer.print(&[event]),
            Ok(_) => {}
            Err(error) => {
                printer.say(&error);
                if let StoreErrorKind::Pruned { up_to } = error.kind() {
                    events = auth.event_stream(Some(up_to));
                }
            }
        }
        if printer.output.is_closed() {
            break;
        }
    }
    Ok(())
}

fn row(event: &Event) -> [String; 5] {
    let company = event.company.as_ref().map_or_else(|| "(all)".to_owned(), ToString::to_string);
    let actor = event.actor.as_ref().map(|actor| format!("by {actor}"));
    let cause = event.cause.map(|cause| cause.name().to_owned());
    let evidence = event.evidence.as_ref().map(ToString::to_string).filter(|words| !words.is_empty());
    let details: Vec<_> = [actor, cause, evidence].into_iter().flatten().collect();
    [event.id.number().to_string(), shown(event.at), company, event.kind.to_string(), details.join("; ")]
}
