//! A trace as a story: actors, actions and times.

use crate::{
    moves::{Kind, Moves},
    row::{Phase, Row, Standing, TICK},
    rules::Rules,
    scenario::Scenario,
    search::{Trace, hash},
    world::{PROCESSES, World},
};

const NAMES: [char; PROCESSES] = ['A', 'B', 'C'];

/// Tells a trace, one line per move.
pub(crate) fn tell(scenario: &Scenario, rules: &Rules, trace: &Trace) -> Vec<String> {
    let mut teller = Teller { names: NAMES, seconds: 0, tells_time: false, lines: Vec::new() };
    let (mut world, order) = scenario.beginning().folded(scenario.processes);
    teller.rename(order);
    let repeats_from = trace.hashes.len() - trace.repeats;
    for (place, wanted) in trace.hashes.iter().enumerate().skip(1) {
        if trace.repeats > 0 && place == repeats_from {
            teller.lines.push("and from here on again and again:".to_owned());
            teller.tells_time = true;
        }
        let steps = Moves::of(rules, scenario, &world);
        let found = steps.into_iter().find_map(|step| {
            let (next, order) = step.world.folded(scenario.processes);
            (hash(&next) == *wanted).then_some((step, next, order))
        });
        let Some((step, next, order)) = found else {
            teller.lines.push("(the trace cannot be followed further)".to_owned());
            return teller.lines;
        };
        teller.line(&step, &world.row);
        teller.rename(order);
        world = next;
    }
    if let Some(step) = trace.last.and_then(|last| Moves::of(rules, scenario, &world).into_iter().nth(last)) {
        teller.line(&step, &world.row);
    }
    teller.lines
}

struct Teller {
    names: [char; PROCESSES],
    seconds: u64,
    /// Whether passing time gets a line.
    tells_time: bool,
    lines: Vec<String>,
}

impl Teller {
    fn rename(&mut self, order: [usize; PROCESSES]) {
        self.names = order.map(|index| self.names[index]);
    }

    fn line(&mut self, step: &crate::moves::Step, before: &Row) {
        if step.kind == Kind::Tick {
            self.seconds += TICK.as_secs();
            if self.tells_time {
                self.lines.push(format!("       {}", step.tale));
            }
            return;
        }
        let who = step.who.map_or_else(String::new, |index| format!("process {} ", self.names[index]));
        let fault = if step.kind == Kind::Fault { " (fault)" } else { "" };
        let row = describe(&step.world);
        let row = if step.world.row == *before { String::new() } else { format!(" → {row}") };
        self.lines.push(format!("{:>3}:{:02} {who}{}{fault}{row}", self.seconds / 60, self.seconds % 60, step.tale));
    }
}

/// Describes the row in words.
fn describe(world: &World) -> String {
    let row = &world.row;
    let standing = match row.standing {
        Standing::Unauthenticated => "not authenticated",
        Standing::Authenticated => "authenticated",
        Standing::Invalidated => "OptInInvalidated",
        Standing::Lost => "RotationLost",
    };
    let phase = match row.phase {
        Phase::Idle => "idle".to_owned(),
        Phase::Claimed { lease_until, .. } => format!("claimed for {} s", 150 * i32::from(lease_until)),
        Phase::InDoubt { lease_until } => format!("in doubt, leased for {} s", 150 * i32::from(lease_until)),
    };
    let mut words = vec![standing.to_owned(), phase];
    if row.unanswered.is_some() {
        words.push("unanswered".to_owned());
    }
    if row.suspect_until.is_some() {
        words.push("suspect".to_owned());
    }
    if row.token != 0 {
        words.push(format!("token {:?}", world.token(row.token).state));
    }
    format!("[{}]", words.join(", "))
}
