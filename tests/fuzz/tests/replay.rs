//! Every kept input, on every run of the project's tests.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::{collections::BTreeSet, fs, panic};

use batchsuite_fuzz::{Corpus, TARGETS, directory};

#[test]
fn every_target_passes_its_corpus() {
    let mut failed = Vec::new();
    for target in TARGETS {
        for (name, input) in Corpus::of(&target).unwrap().0 {
            if panic::catch_unwind(|| (target.run)(&input)).is_err() {
                failed.push(format!("{}/{name}", target.name));
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn each_corpus_has_a_target_and_all_of_them_are_small() {
    let names: BTreeSet<_> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    let kept =
        fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names, kept);

    let inputs = TARGETS.iter().flat_map(|target| Corpus::of(target).unwrap().0);
    let sizes: Vec<usize> = inputs.map(|(_, input)| input.len()).collect();
    assert!(sizes.iter().all(|size| *size <= 8 * 1024) && sizes.iter().sum::<usize>() <= 200 * 1024, "{sizes:?}");
    assert!(sizes.len() <= 200, "{} files", sizes.len());
}
