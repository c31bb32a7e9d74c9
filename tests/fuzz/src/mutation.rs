//! Mutations of kept inputs. The n-th input of a seed is always the same.

use crate::{Corpus, Target};

/// The maximum length of an input.
const LONGEST: usize = 8 * 1024;

/// Generates inputs for one target.
#[derive(Debug)]
pub struct Mutator<'a> {
    corpus: &'a Corpus,
    words: &'static [&'static str],
    seed: u64,
}

impl<'a> Mutator<'a> {
    /// Mutates the inputs of `corpus`, which must not be empty.
    pub fn new(target: &Target, corpus: &'a Corpus, seed: u64) -> Self {
        Self { corpus, words: target.words, seed }
    }

    /// The n-th input: a kept input after one to seven changes, usually few.
    pub fn input(&self, n: u64) -> Vec<u8> {
        let mut chance = Chance(self.seed ^ n.wrapping_mul(0xd134_2543_de82_ef95));
        // Neighbouring seeds have similar first numbers.
        chance.next();
        let mut input = self.kept(&mut chance).to_vec();
        for _ in 0..=chance.below(4) * chance.below(3) {
            self.change(&mut input, &mut chance);
        }
        input.truncate(LONGEST);
        input
    }

    fn kept(&self, chance: &mut Chance) -> &[u8] {
        &self.corpus.0[chance.below(self.corpus.0.len())].1
    }

    fn change(&self, input: &mut Vec<u8>, chance: &mut Chance) {
        let at = chance.below(input.len() + 1);
        let longest = 1 + chance.below(16);
        let end = (at + 1 + chance.below(longest)).min(input.len());
        match chance.below(10) {
            0 if at < input.len() => input[at] ^= 1 << chance.below(8),
            1 if at < input.len() => input[at] = chance.next() as u8,
            2 => input.insert(at, chance.next() as u8),
            3 => drop(input.drain(at..end)),
            4 => drop(input.splice(at..at, input[at..end].to_vec())),
            5 | 6 => insert(input, at, self.words[chance.below(self.words.len())].as_bytes()),
            7 => {
                let word = self.words[chance.below(self.words.len())].as_bytes().to_vec();
                input.splice(at..end, word);
            }
            8 => {
                let other = self.kept(chance);
                let from = chance.below(other.len() + 1);
                let to = from + chance.below(other.len() - from + 1);
                insert(input, at, &other[from..to]);
            }
            _ => input.splice(at.., self.tail(chance)).for_each(drop),
        }
    }

    /// The end of another kept input.
    fn tail(&self, chance: &mut Chance) -> Vec<u8> {
        let other = self.kept(chance);
        other[chance.below(other.len() + 1)..].to_vec()
    }
}

fn insert(input: &mut Vec<u8>, at: usize, piece: &[u8]) {
    input.splice(at..at, piece.iter().copied());
}

/// SplitMix64.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, or 0 if `bound` is 0.
    fn below(&mut self, bound: usize) -> usize {
        (self.next() % (bound.max(1) as u64)) as usize
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::TARGETS;

    #[test]
    fn a_seed_gives_the_same_inputs_and_another_gives_others() {
        let corpus = Corpus(vec![("a".to_owned(), b"state=s&code=c".to_vec()), ("b".to_owned(), Vec::new())]);
        let inputs = |seed| (0..200).map(|n| Mutator::new(&TARGETS[0], &corpus, seed).input(n)).collect::<Vec<_>>();

        assert_eq!(inputs(1), inputs(1));
        assert_ne!(inputs(1), inputs(2));
        assert!(inputs(1).into_iter().collect::<BTreeSet<_>>().len() > 100, "most differ");
    }
}
