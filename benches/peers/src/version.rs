//! The measured version of a peer.

const LOCK: &str = include_str!("../Cargo.lock");

/// The crate's version in the lock file.
///
/// # Panics
/// If the lock file does not contain the crate.
pub(crate) fn of(name: &str) -> &'static str {
    let package = LOCK.split("[[package]]").find(|package| value(package, "name") == Some(name));
    package.and_then(|package| value(package, "version")).unwrap_or_else(|| panic!("{name} is not in the lock file"))
}

fn value<'a>(package: &'a str, key: &str) -> Option<&'a str> {
    let line = package.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "))?;
    Some(line.trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_the_crate_s_own() {
        assert_eq!(of("peers"), env!("CARGO_PKG_VERSION"));
    }

    #[test]
    #[should_panic(expected = "not in the lock file")]
    fn a_part_of_a_name_is_no_name() {
        of("peer");
    }
}
