//! The companies and people of the tests.

use std::ops::Range;

use batchsuite_auth::{ActorId, CompanyId, Environment, store::GrantKey};

/// The company of a test that needs only one.
pub fn acme() -> CompanyId {
    company("acme")
}

/// A company of this name.
pub fn company(name: &str) -> CompanyId {
    CompanyId::new(name).expect("a valid id")
}

/// Companies with these numbers.
pub fn companies(numbers: Range<usize>) -> Vec<CompanyId> {
    numbers.map(|number| company(&format!("company-{number:04}"))).collect()
}

/// The person who opts in.
pub fn ada() -> ActorId {
    ActorId::new("ada").expect("a valid id")
}

/// The key of the company's grant.
pub fn key(company: &CompanyId) -> GrantKey {
    GrantKey { environment: Environment::Cie, company: company.clone() }
}
