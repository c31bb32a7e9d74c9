//! The kept inputs of a target.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::Target;

/// The directory of the corpora, with a subdirectory for each target.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// The kept inputs of one target, with their file names.
#[derive(Debug)]
pub struct Corpus(pub Vec<(String, Vec<u8>)>);

impl Corpus {
    /// Reads the corpus of `target`.
    ///
    /// # Errors
    /// A file cannot be read, or there are no files.
    pub fn of(target: &Target) -> io::Result<Self> {
        let mut inputs = Vec::new();
        for entry in fs::read_dir(directory().join(target.name))? {
            let entry = entry?;
            inputs.push((entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path())?));
        }
        inputs.sort();
        match inputs.is_empty() {
            true => Err(io::Error::other(format!("the corpus of {} is empty", target.name))),
            false => Ok(Self(inputs)),
        }
    }
}
