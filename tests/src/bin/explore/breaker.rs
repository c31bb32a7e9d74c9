//! A process's breaker (the library's own), and the requests for other companies that go through it.

use batchsuite_auth::{
    CompanyId,
    test_util::machine::{self, ClientFault, Errand, Pause, Permit},
};

use crate::{
    moves::{Kind, Moves},
    omit::Rule,
    row::{LONG_AGO, TICK, Ticks, time},
    rules::Rules,
    scenario::Fault,
    truth::{Finding, Promise},
    world::{Outcome, Stop},
};

/// The maximum number of calls that matter to a breaker at once.
const CALLS: usize = 12;
/// The row's company, and two others of the same client.
pub(crate) const OURS: u8 = 0;
const COMPANIES: usize = 3;
/// This many silences in a row are an outage: the machine's number.
const OUT_OF_REACH: u8 = 3;
/// Refusals within this time form a wave: the machine's ten minutes.
const WAVE: Ticks = 4;

/// The calls that still matter to a breaker, oldest first, and what really happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Breaker {
    calls: [Option<Call>; CALLS],
    /// When UPS refused each company's token without an explanation, since the last success.
    refused: [Option<Ticks>; COMPANIES],
    /// When a wave stopped all requests, or the last trial since then began.
    stopped_at: Option<Ticks>,
    /// How many requests in a row did not reach UPS or got no answer; three are as good as more.
    unreached: u8,
    /// The row's company got no answer, so that it pauses.
    is_silenced: bool,
    /// UPS is in reach again, and the company's pause is to end.
    pub(crate) resumes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Call {
    what: What,
    company: u8,
    at: Ticks,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum What {
    Asked,
    Succeeded,
    Refused {
        is_explained: bool,
    },
    Failed,
    /// It did not reach UPS, or got no answer.
    Unreached,
}

impl What {
    /// The time of such a call would matter only among more concurrent requests than this model has.
    fn is_timeless(self) -> bool {
        matches!(self, Self::Succeeded | Self::Refused { is_explained: true })
    }
}

impl Breaker {
    /// The breaker's times, for folding.
    pub(crate) fn times(&mut self) -> impl Iterator<Item = &mut Ticks> {
        let calls = self.calls.iter_mut().flatten().map(|call| &mut call.at);
        calls.chain(self.refused.iter_mut().flatten()).chain(&mut self.stopped_at)
    }

    pub(crate) fn forget(&mut self) {
        if self.stopped_at.is_none() {
            self.refused = self.refused.map(|at| at.filter(|at| *at > -WAVE));
        }
        self.stopped_at = self.stopped_at.map(|at| at.max(-1));
        // Older times are equivalent to this one.
        for call in self.calls.iter_mut().flatten().filter(|call| !call.what.is_timeless()) {
            call.at = call.at.max(-WAVE);
        }
    }

    /// UPS has answered.
    fn reached(&mut self) {
        if self.unreached == OUT_OF_REACH {
            self.resumes |= std::mem::take(&mut self.is_silenced);
        }
        self.unreached = 0;
    }

    fn knows(&self, company: u8) -> bool {
        self.calls.iter().flatten().any(|call| call.company == company)
    }
}

impl Rules {
    /// The machine's breaker, rebuilt from the calls.
    fn breaker<'a>(&self, calls: impl IntoIterator<Item = &'a Call>) -> machine::Breaker {
        let mut breaker = machine::Breaker::new(self.breaker_pause);
        for Call { what, company, at } in calls {
            let (company, at) = (company_id(*company), time(*at));
            match what {
                What::Asked => {
                    breaker.permit(Errand::Refresh, &company, true, at);
                    breaker.ended(&company, at);
                }
                What::Succeeded => breaker.succeeded(Errand::Refresh, at),
                What::Refused { is_explained } => {
                    breaker.refused(Errand::Refresh, &company, *is_explained, at);
                }
                What::Failed => {
                    breaker.failed(&company, ClientFault::Misconfigured, at);
                }
                What::Unreached => {
                    breaker.unreached(&company, at);
                }
            }
        }
        breaker
    }

    /// Adds a call. Calls that make no difference are forgotten.
    fn call(&self, told: &mut Breaker, what: What, company: u8) {
        let call = Call { what, company, at: if what.is_timeless() { LONG_AGO } else { 0 } };
        let mut calls: Vec<Call> = told.calls.iter().flatten().copied().chain([call]).collect();
        let state = |calls: &[Call]| format!("{:?}", self.breaker(calls));
        let whole = state(&calls);
        let mut place = 0;
        while place < calls.len() {
            let mut without = calls.clone();
            without.remove(place);
            if state(&without) == whole {
                calls = without;
            } else {
                place += 1;
            }
        }
        assert!(calls.len() <= CALLS, "room for each call");
        told.calls = std::array::from_fn(|place| calls.get(place).copied());
    }

    /// Whether a request for a company may be sent now, and whether that decision is right.
    fn permit(&self, told: &mut Breaker, company: u8) -> (Permit, Option<Finding>) {
        let permit =
            self.breaker(told.calls.iter().flatten()).permit(Errand::Refresh, &company_id(company), true, time(0));
        self.call(told, What::Asked, company);
        let is_refused = matches!(permit, Permit::Refused { .. });
        let is_away = told.unreached == OUT_OF_REACH;
        let is_out_of_reach = self.is_out_of_reach(told);
        let is_open = self.breaker(told.calls.iter().flatten()).fault() == Some(&ClientFault::Wave);
        let promise = match told.stopped_at {
            Some(at) if !is_refused && at >= 0 => Some(Promise::AWaveStopsTheOthers),
            None if is_refused && is_open => Some(Promise::OnlyAWaveStopsTheOthers),
            _ if is_out_of_reach && !is_away => Some(Promise::OnlySilenceIsAnOutage),
            None if is_away && permit == Permit::Granted => Some(Promise::AnOutageLeavesTrials),
            _ => None,
        };
        if !is_refused && told.stopped_at.is_some() {
            told.stopped_at = Some(0);
        }
        (permit, promise.map(Finding::Broken))
    }

    fn succeeded(&self, told: &mut Breaker, company: u8) {
        let was_out_of_reach = self.is_out_of_reach(told);
        self.call(told, What::Succeeded, company);
        if was_out_of_reach && self.is_without(Rule::AnswerEndsOutage) {
            (0..OUT_OF_REACH).for_each(|_| self.call(told, What::Unreached, company));
        }
        (told.refused, told.stopped_at) = ([None; COMPANIES], None);
        told.reached();
    }

    fn unreached(&self, told: &mut Breaker, company: u8) {
        if !self.is_without(Rule::SilenceStops) {
            self.call(told, What::Unreached, company);
        }
        told.unreached = OUT_OF_REACH.min(told.unreached + 1);
    }

    /// Whether the process's breaker says that UPS is out of reach.
    pub(crate) fn is_out_of_reach(&self, told: &Breaker) -> bool {
        self.breaker(told.calls.iter().flatten()).is_out_of_reach()
    }

    fn refused(&self, told: &mut Breaker, company: u8, is_explained: bool) {
        let counts = is_explained && !self.is_without(Rule::OpinionsDoNotCount) || self.is_without(Rule::WaveStops);
        self.call(told, What::Refused { is_explained: counts }, company);
        told.reached();
        if is_explained {
            return;
        }
        told.refused[usize::from(company)] = Some(0);
        let is_wave = told.refused.iter().all(|at| at.is_some_and(|at| at > -WAVE));
        if is_wave && told.stopped_at.is_none() {
            told.stopped_at = Some(0);
        }
    }

    /// Why no request is sent for any company.
    pub(crate) fn client_fault(&self, told: &Breaker) -> Option<Pause> {
        let breaker = self.breaker(told.calls.iter().flatten());
        let is_open = breaker.fault().is_some_and(ClientFault::is_the_clients)
            && breaker.open_until().is_some_and(|until| until > time(0));
        is_open.then(|| Pause::Misconfigured { evidence: Box::default(), retry_after: TICK })
    }
}

impl Moves<'_> {
    /// Whether anything in this scenario can open a breaker.
    fn may_open(&self) -> bool {
        self.scenario.faults_of.contains(&Fault::Answers) || self.scenario.events.others > 0
    }

    pub(crate) fn permit(&self, told: &mut Breaker) -> (Permit, Option<Finding>) {
        if self.may_open() { self.rules.permit(told, OURS) } else { (Permit::Granted, None) }
    }

    /// Reports UPS's answer for the row's company to the breaker.
    pub(crate) fn tell_breaker(&self, told: &mut Breaker, outcome: &Outcome, is_explained: bool) {
        if !self.may_open() {
            return;
        }
        match outcome {
            Outcome::Pair { .. } => self.rules.succeeded(told, OURS),
            Outcome::Refused(_) => self.rules.refused(told, OURS, is_explained),
            Outcome::Misconfigured => {
                self.rules.call(told, What::Failed, OURS);
                told.reached();
            }
            Outcome::Unanswered => {
                self.rules.unreached(told, OURS);
                told.is_silenced = true;
            }
            Outcome::NotSent | Outcome::OutOfReach => self.rules.unreached(told, OURS),
            Outcome::Late => {}
        }
    }

    /// Requests for other companies of the same client, each as one move.
    pub(crate) fn others(&mut self, index: usize) {
        let process = self.from.processes[index];
        if self.from.left.others == 0 || process.halt.is_some() || process.stopping != Stop::No {
            return;
        }
        for company in 1..=2 {
            // The two companies differ only in name.
            if company == 2 && !process.breaker.knows(1) {
                continue;
            }
            let mut world = *self.from;
            world.left.others -= 1;
            let (permit, finding) = self.rules.permit(&mut world.processes[index].breaker, company);
            if matches!(permit, Permit::Refused { .. }) {
                self.push(Kind::Event, Some(index), "sends nothing for another company: its breaker is open", world);
                self.found(finding);
                continue;
            }
            if permit == Permit::Trial {
                self.push(Kind::Event, Some(index), "gets no answer to the trial of another company", world);
                self.found(finding);
            }
            let mut silent = world;
            self.rules.unreached(&mut silent.processes[index].breaker, company);
            self.push(Kind::Event, Some(index), "gets no answer for another company", silent);
            self.found(finding);
            let mut refused = world;
            self.rules.refused(&mut refused.processes[index].breaker, company, false);
            self.push(Kind::Event, Some(index), "is told that another company's token is refused", refused);
            self.found(finding);
            self.rules.succeeded(&mut world.processes[index].breaker, company);
            self.push(Kind::Event, Some(index), "gets a new pair for another company", world);
            self.found(finding);
        }
    }
}

fn company_id(company: u8) -> CompanyId {
    CompanyId::new(["acme", "bolt", "crate"][usize::from(company)]).expect("an id")
}
