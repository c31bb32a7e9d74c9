//! A handler that writes each event into a file, which outlives the process.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
};

use batchsuite_auth::{Event, EventHandler, Gap, HandlerError, async_trait};

/// Appends a line for each event: the name of the process, and the event's number. Several processes share the file.
#[derive(Debug)]
pub(crate) struct NoteBook {
    file: File,
    name: String,
}

impl NoteBook {
    pub(crate) fn open(path: &str, name: String) -> io::Result<Self> {
        Ok(Self { file: OpenOptions::new().create(true).append(true).open(path)?, name })
    }

    fn note(&self, what: u64) -> io::Result<()> {
        // One write, so that a killed process leaves no half line.
        (&self.file).write_all(format!("{} {what}\n", self.name).as_bytes())
    }
}

#[async_trait]
impl EventHandler for NoteBook {
    async fn handle(&self, event: &Event) -> Result<(), HandlerError> {
        Ok(self.note(event.id.number())?)
    }

    async fn missed(&self, _: Gap) -> Result<(), HandlerError> {
        Err(HandlerError::new("nothing is pruned here"))
    }
}
