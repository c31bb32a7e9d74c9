//! What is simulated.

use std::time::Duration;

use batchsuite_tests::HOUR;

use crate::Kind;

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) companies: usize,
    /// How many of them have callers. The others are idle.
    pub(crate) in_use: usize,
    /// How long UPS is away.
    pub(crate) away: Duration,
    pub(crate) kind: Kind,
    pub(crate) processes: usize,
    /// The most refreshes of a process within a second.
    pub(crate) rate: u32,
    pub(crate) seed: u64,
}

/// The fake UPS keeps no more opt-ins.
const MOST_COMPANIES: usize = 1_000_000;

impl Plan {
    /// The plan of these options; `None`: they make no sense.
    pub(crate) fn of(options: &[&str]) -> Option<Self> {
        let mut plan = Self {
            companies: MOST_COMPANIES,
            in_use: 0,
            away: 4 * HOUR,
            kind: Kind::Refused,
            processes: 4,
            rate: 100,
            seed: 1,
        };
        let (options, rest) = options.as_chunks();
        for option in options {
            match *option {
                ["--companies", companies] => plan.companies = companies.parse().ok()?,
                ["--in-use", in_use] => plan.in_use = in_use.parse().ok()?,
                ["--hours", hours] => plan.away = HOUR.mul_f64(hours.parse().ok().filter(|hours| *hours > 1.0)?),
                ["--kind", "refused"] => plan.kind = Kind::Refused,
                ["--kind", "hangs"] => plan.kind = Kind::Hangs,
                ["--processes", processes] => plan.processes = processes.parse().ok()?,
                ["--rate", rate] => plan.rate = rate.parse().ok()?,
                ["--seed", seed] => plan.seed = seed.parse().ok()?,
                _ => return None,
            }
        }
        if plan.in_use == 0 {
            plan.in_use = plan.companies / 10;
        }
        let is_sensible = rest.is_empty()
            && (1..=plan.companies).contains(&plan.in_use)
            && plan.companies <= MOST_COMPANIES
            && plan.processes > 0
            && plan.rate > 0;
        is_sensible.then_some(plan)
    }

    /// The most requests that UPS may see within a second.
    pub(crate) fn limit(&self) -> usize {
        self.processes * self.rate as usize
    }

    /// How long the refresh of all companies in use takes, as the chapter on operating computes it.
    pub(crate) fn computed(&self) -> Duration {
        Duration::from_secs_f64(self.in_use as f64 / (0.9 * self.limit() as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_make_no_sense_are_refused() {
        let plan = Plan::of(&["--companies", "5000", "--rate", "20"]).unwrap();
        assert_eq!((plan.companies, plan.in_use, plan.limit()), (5000, 500, 80));
        let refused: [&[&str]; 6] = [
            &["--companies", "1000001"],
            &["--companies", "100", "--in-use", "101"],
            &["--processes", "0"],
            &["--hours", "1"],
            &["--rate"],
            &["--speed", "3"],
        ];
        for options in refused {
            assert!(Plan::of(options).is_none(), "{options:?}");
        }
    }
}
