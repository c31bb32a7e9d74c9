//! A look at memory that was given back: whether it was wiped before.

use std::{fs::File, os::unix::fs::FileExt};

/// Where a buffer is, or was.
#[derive(Debug)]
pub struct Place {
    address: u64,
    length: usize,
}

/// Where `buffer` is.
pub fn left_of(buffer: &[u8]) -> Place {
    Place { address: buffer.as_ptr() as u64, length: buffer.len() }
}

impl Place {
    /// Whether `secret` can be read there now. The allocator writes into what it got back, but not over all of it.
    pub fn holds(&self, secret: &[u8]) -> bool {
        // Of another size, or it would be the very memory that is looked at.
        let mut bytes = vec![0; self.length + 256 * 1024];
        bytes.truncate(self.length);
        let memory = File::open("/proc/self/mem").expect("Linux shows a process its own memory");
        // What was given back to the system cannot be read at all.
        memory.read_exact_at(&mut bytes, self.address).is_ok()
            && bytes.windows(secret.len()).any(|window| window == secret)
    }
}
