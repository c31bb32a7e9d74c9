//! UPS and the network: requests in transit, answers, and their faults.

use crate::{
    moves::{Kind, Moves},
    scenario::Fault,
    world::{Answer, By, Call, Ghost, Pair, Task, Token, TokenState, World},
};

impl Moves<'_> {
    pub(crate) fn ups(&mut self) {
        for index in 0..self.scenario.processes {
            if let Task::Sent { trip, held, sent_at, call: Call::Travelling, deadline } =
                self.from.processes[index].task
            {
                self.request_arrives(index, held.token);
                if self.may(Fault::Network) && self.from.processes[index].halt.is_none() {
                    self.request_fails(index, trip, held, sent_at, deadline);
                }
                if self.may(Fault::Doubled) {
                    let mut world = self.spoiled();
                    world.haunt(Ghost { token: held.token, sent_at, is_copy: true });
                    self.push(Kind::Fault, Some(index), "has its request doubled on the way", world);
                }
            }
        }
        for (place, ghost) in self.from.ghosts.iter().enumerate() {
            if let Some(ghost) = ghost {
                let mut world = *self.from;
                world.ghosts[place] = None;
                let by = if ghost.is_copy { By::Copy } else { By::Client };
                world.present(ghost.token, by, self.scenario.ends_families);
                self.push(
                    Kind::Unhurried,
                    None,
                    "a late copy of a request reaches UPS, and nobody gets its answer",
                    world,
                );
            }
        }
    }

    fn request_arrives(&mut self, index: usize, token: u8) {
        let answered = |mut world: World, answer: Answer| {
            if let Task::Sent { call, .. } = &mut world.processes[index].task {
                *call = Call::Answered(answer);
            }
            world
        };
        let mut world = *self.from;
        let was = world.token(token).state;
        let (answer, tale) = match world.present(token, By::Client, self.scenario.ends_families) {
            Some(token) => {
                (Answer::Pair { token, kind: Pair::Whole }, "has its request answered by UPS with a new pair")
            }
            None => (Answer::Refused(was), "has its request refused by UPS"),
        };
        self.push(Kind::Urgent, Some(index), tale, answered(world, answer));
        if let (Answer::Pair { token: new, .. }, true) = (answer, self.may(Fault::Odd)) {
            world.left.faults -= 1;
            let answer = |token, kind| Answer::Pair { token, kind };
            let tale = "has its request answered with a pair whose access token cannot be used";
            self.push(Kind::Fault, Some(index), tale, answered(world, answer(new, Pair::NoAccess)));
            world.tokens[usize::from(new) - 1] = Token::default();
            let tale = "has its request answered without a refresh token, although the one that was sent is spent";
            self.push(Kind::Fault, Some(index), tale, answered(world, answer(token, Pair::NoRefresh)));
            world.set_token(token, TokenState::Alive);
            let tale = "has its request answered without a refresh token: UPS takes the one that was sent again";
            self.push(Kind::Fault, Some(index), tale, answered(world, answer(token, Pair::NoRefresh)));
        }
        if self.may(Fault::Mistake) && was == TokenState::Alive {
            let mut world = answered(self.spoiled(), Answer::Refused(was));
            world.truth.mistakes += 1;
            self.push(Kind::Fault, Some(index), "has its request refused by UPS by mistake", world);
        }
        if self.may(Fault::Answers) {
            let world = answered(self.spoiled(), Answer::Misconfigured);
            self.push(Kind::Fault, Some(index), "has its request refused by UPS because of the client", world);
        }
    }
}

impl World {
    /// A token is presented; returns a new one, or `None`.
    fn present(&mut self, token: u8, by: By, ends_families: bool) -> Option<u8> {
        let presented = self.token(token);
        match presented.state {
            TokenState::Alive => {
                self.set_token(token, TokenState::Spent(by));
                Some(self.issue(presented.opt_in))
            }
            TokenState::Spent(first) if ends_families => {
                let by = if first == By::Client { by } else { first };
                let family = self.tokens.iter_mut().filter(|token| token.opt_in == presented.opt_in);
                for token in family.filter(|token| token.state == TokenState::Alive) {
                    token.state = TokenState::FamilyEnded(if by == By::Client { token.held_up } else { by });
                }
                None
            }
            _ => None,
        }
    }
}
