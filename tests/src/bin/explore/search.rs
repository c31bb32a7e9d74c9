//! The breadth-first search: every state once, by its hash, with its parent for the trace and its calm successors for
//! liveness.

use std::{
    collections::{BTreeMap, VecDeque},
    hash::BuildHasher,
};

use foldhash::fast::FixedState;

use crate::{
    moves::Moves,
    rules::Rules,
    scenario::Scenario,
    truth::{Finding, Label, Promise},
    world::World,
};

/// The result of a search.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) states: usize,
    pub(crate) transitions: u64,
    pub(crate) depth: u16,
    /// The first broken promise.
    pub(crate) broken: Option<(Promise, Trace)>,
    /// The first trace for each label that no client can tell apart.
    pub(crate) known: BTreeMap<Label, Trace>,
}

/// The hashes of the states on the way, and the index of the last move if its state is not stored.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    pub(crate) hashes: Vec<u64>,
    pub(crate) last: Option<usize>,
    /// How many of the last states form a cycle.
    pub(crate) repeats: usize,
}

pub(crate) fn hash(world: &World) -> u64 {
    FixedState::with_seed(0x5ea5_11de).hash_one(world)
}

/// Searches a scenario completely.
pub(crate) fn search(scenario: &Scenario, rules: &Rules) -> Report {
    let mut graph = Graph::default();
    let mut report = Report::default();
    let mut queue = VecDeque::new();
    let beginning = scenario.beginning().folded(scenario.processes).0;
    graph.add(&beginning, u32::MAX, rules);
    queue.push_back(beginning);
    let mut index = 0_u32;
    let (mut level_ends, mut depth) = (1, 0);
    while let Some(world) = queue.pop_front() {
        if index == level_ends {
            (level_ends, depth) = (graph.len(), depth + 1);
        }
        graph.calm_from.push(u32::try_from(graph.calm.len()).expect("few enough calm steps"));
        for (place, step) in Moves::of(rules, scenario, &world).into_iter().enumerate() {
            report.transitions += 1;
            match step.finding {
                Some(Finding::Broken(promise)) => {
                    report.broken = Some((promise, graph.trace(index, Some(place))));
                    return Report { states: graph.hashes.len(), depth, ..report };
                }
                Some(Finding::Known(label)) => {
                    report.known.entry(label).or_insert_with(|| graph.trace(index, Some(place)));
                }
                None => {}
            }
            let next = step.world.folded(scenario.processes).0;
            let (number, is_new) = graph.add(&next, index, rules);
            if is_new {
                queue.push_back(next);
            }
            if step.kind.is_calm() {
                graph.calm.push(number);
            }
        }
        index += 1;
    }
    report.broken = graph.unsettled().map(|trace| (Promise::AuthenticatedInTheEnd, trace));
    Report { states: graph.hashes.len(), depth, ..report }
}

/// All states found.
#[derive(Default)]
struct Graph {
    hashes: Vec<u64>,
    parents: Vec<u32>,
    /// States that must lead to a settled one.
    must_settle: Vec<bool>,
    /// The calm successors of all states, concatenated, and each state's start index.
    calm: Vec<u32>,
    calm_from: Vec<u32>,
    /// Open addressing: state numbers by hash.
    slots: Vec<u32>,
}

impl Graph {
    fn len(&self) -> u32 {
        u32::try_from(self.hashes.len()).expect("few enough states")
    }

    /// The number of a state, and whether it is new.
    fn add(&mut self, world: &World, parent: u32, rules: &Rules) -> (u32, bool) {
        if self.hashes.len() * 3 >= self.slots.len() * 2 {
            self.grow();
        }
        let hash = hash(world);
        let place = self.place(hash);
        if self.slots[place] != u32::MAX {
            return (self.slots[place], false);
        }
        let number = self.len();
        self.slots[place] = number;
        self.hashes.push(hash);
        self.parents.push(parent);
        self.must_settle.push(world.must_settle(rules) && !world.is_settled());
        (number, true)
    }

    fn place(&self, hash: u64) -> usize {
        let mask = self.slots.len() - 1;
        let mut place = usize::try_from(hash).unwrap_or_default() & mask;
        while self.slots[place] != u32::MAX && self.hashes[self.slots[place] as usize] != hash {
            place = (place + 1) & mask;
        }
        place
    }

    fn grow(&mut self) {
        self.slots = vec![u32::MAX; (self.slots.len() * 2).max(1024)];
        for number in 0..self.len() {
            let place = self.place(self.hashes[number as usize]);
            self.slots[place] = number;
        }
    }

    fn calm_of(&self, number: u32) -> &[u32] {
        let (from, next) = (self.calm_from[number as usize] as usize, number as usize + 1);
        let to = self.calm_from.get(next).map_or(self.calm.len(), |next| *next as usize);
        &self.calm[from..to]
    }

    fn trace(&self, number: u32, last: Option<usize>) -> Trace {
        let mut hashes = Vec::new();
        let mut at = number;
        while at != u32::MAX {
            hashes.push(self.hashes[at as usize]);
            at = self.parents[at as usize];
        }
        hashes.reverse();
        Trace { hashes, last, repeats: 0 }
    }

    /// A state from which some calm path never settles. A state is good if it is settled or if all its calm successors
    /// are good.
    fn unsettled(&self) -> Option<Trace> {
        let states = self.hashes.len();
        let mut open: Vec<u32> =
            (0..self.len()).map(|number| u32::try_from(self.calm_of(number).len()).unwrap_or(u32::MAX)).collect();
        let (before, before_from) = self.reversed();
        let mut is_good: Vec<bool> = self.must_settle.iter().map(|must| !must).collect();
        let mut queue: Vec<u32> = (0..self.len()).filter(|number| is_good[*number as usize]).collect();
        while let Some(number) = queue.pop() {
            let (from, to) = (before_from[number as usize] as usize, before_from[number as usize + 1] as usize);
            for before in &before[from..to] {
                let before = *before as usize;
                open[before] = open[before].saturating_sub(1);
                if open[before] == 0 && !is_good[before] {
                    is_good[before] = true;
                    queue.push(before as u32);
                }
            }
        }
        let first = (0..states).find(|state| !is_good[*state])?;
        Some(self.lasso(first as u32, &is_good))
    }

    fn reversed(&self) -> (Vec<u32>, Vec<u32>) {
        let mut from = vec![0_u32; self.hashes.len() + 1];
        for number in &self.calm {
            from[*number as usize + 1] += 1;
        }
        for number in 1..from.len() {
            from[number] += from[number - 1];
        }
        let (mut before, mut next) = (vec![0_u32; self.calm.len()], from.clone());
        for number in 0..self.len() {
            for to in self.calm_of(number) {
                before[next[*to as usize] as usize] = number;
                next[*to as usize] += 1;
            }
        }
        (before, from)
    }

    /// The path to a state that does not settle, continued until a state repeats.
    fn lasso(&self, first: u32, is_good: &[bool]) -> Trace {
        let mut trace = self.trace(first, None);
        let mut at = first;
        let mut visited = vec![first];
        while let Some(next) = self.calm_of(at).iter().copied().find(|next| !is_good[*next as usize]) {
            trace.hashes.push(self.hashes[next as usize]);
            if let Some(place) = visited.iter().position(|known| *known == next) {
                trace.repeats = visited.len() - place;
                break;
            }
            visited.push(next);
            at = next;
        }
        trace
    }
}
