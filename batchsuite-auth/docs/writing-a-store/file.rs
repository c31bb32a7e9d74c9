use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use serde::Serialize;
use serde_json::Value;

/// The records that one verb writes, by key. `null` deletes a record.
type Batch = Vec<(String, Value)>;

/// Records by key, in memory and in a file. Each line of the file is one batch.
struct Records {
    by_key: BTreeMap<String, Value>,
    file: File,
    lines: usize,
}

impl Records {
    /// Reads the file and rewrites it with all records in one line.
    fn open(directory: &Path) -> io::Result<Self> {
        let (path, new) = (directory.join("opt-ins.jsonl"), directory.join("opt-ins.new"));
        let stored = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            stored => stored?,
        };
        let mut by_key = BTreeMap::new();
        // A line without its end was cut off by a crash. The verb that wrote it has not returned.
        for line in stored.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n")) {
            apply(&mut by_key, serde_json::from_slice(line)?);
        }
        let mut file = File::create(&new)?;
        file.write_all(&line_of(&by_key.iter().collect::<Vec<_>>())?)?;
        file.sync_all()?;
        // Afterwards either the old file or the complete new one is there.
        fs::rename(&new, &path)?;
        File::open(directory)?.sync_all()?;
        Ok(Self { by_key, file, lines: 1 })
    }

    /// Writes a batch, all or nothing. It is durable when this returns.
    fn write(&mut self, batch: Batch) -> io::Result<()> {
        self.file.write_all(&line_of(&batch)?)?;
        self.file.sync_data()?;
        apply(&mut self.by_key, batch);
        self.lines += 1;
        Ok(())
    }

    /// Whether most of the file is history.
    fn is_worn(&self) -> bool {
        self.lines > 1_000 + self.by_key.len()
    }
}

fn line_of(batch: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(batch)?;
    line.push(b'\n');
    Ok(line)
}

fn apply(by_key: &mut BTreeMap<String, Value>, batch: Batch) {
    for (key, value) in batch {
        match value {
            Value::Null => by_key.remove(&key),
            value => by_key.insert(key, value),
        };
    }
}
