//! People and companies in memory, for one process; lost when it ends.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use batchsuite_auth::{ActorId, CompanyId, store::Page};

use super::{
    AccessKey, Company, CompanyName, Directory, DirectoryError, Person, Role, Settings, StoredAccessKey, random_uuid,
};

/// A [`Directory`] in memory.
#[derive(Default)]
pub struct MemoryDirectory(Mutex<Tables>);

#[derive(Default)]
struct Tables {
    people: BTreeMap<ActorId, (Person, String)>,
    companies: BTreeMap<CompanyId, (Company, Option<AccessKey>)>,
}

impl MemoryDirectory {
    /// An empty directory.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a person; `password_hash` is in PHC format.
    pub fn add_person(&self, sign_in_name: &str, role: Role, password_hash: String) -> Person {
        let id = ActorId::from(random_uuid());
        let person = Person { id: id.clone(), sign_in_name: sign_in_name.to_owned(), role };
        self.tables().people.insert(id, (person.clone(), password_hash));
        person
    }

    /// Removes an administrator from a company.
    pub fn withdraw(&self, company: &CompanyId, admin: &ActorId) {
        if let Some((company, _)) = self.tables().companies.get_mut(company) {
            company.admins.remove(admin);
        }
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for MemoryDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryDirectory").finish_non_exhaustive()
    }
}

#[async_trait]
impl Directory for MemoryDirectory {
    async fn person(&self, id: &ActorId) -> Result<Option<Person>, DirectoryError> {
        Ok(self.tables().people.get(id).map(|(person, _)| person.clone()))
    }

    async fn sign_in(&self, name: &str) -> Result<Option<(Person, String)>, DirectoryError> {
        Ok(self.tables().people.values().find(|(person, _)| person.sign_in_name.eq_ignore_ascii_case(name)).cloned())
    }

    async fn company(&self, id: &CompanyId) -> Result<Option<Company>, DirectoryError> {
        Ok(self.tables().companies.get(id).map(|(company, _)| company.clone()))
    }

    async fn companies(&self, ids: &[CompanyId]) -> Result<Vec<Company>, DirectoryError> {
        let tables = self.tables();
        let mut found: Vec<_> =
            ids.iter().filter_map(|id| tables.companies.get(id)).map(|(company, _)| company.clone()).collect();
        found.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        Ok(found)
    }

    async fn companies_of(
        &self,
        admin: &ActorId,
        after: Option<&CompanyId>,
        limit: usize,
    ) -> Result<Page<Company, CompanyId>, DirectoryError> {
        let tables = self.tables();
        let place = |company: &Company| (company.name.clone(), company.id.clone());
        let after = after.and_then(|id| tables.companies.get(id)).map(|(company, _)| place(company));
        let mut rest: Vec<_> = tables
            .companies
            .values()
            .map(|(company, _)| company)
            .filter(|company| company.admins.contains(admin))
            .filter(|company| after.as_ref().is_none_or(|after| place(company) > *after))
            .cloned()
            .collect();
        rest.sort_by_key(place);
        let more = rest.len() > limit;
        rest.truncate(limit);
        let next = rest.last().filter(|_| more).map(|company| company.id.clone());
        Ok(Page { items: rest, next })
    }

    async fn add_company(&self, name: CompanyName, admin: &ActorId) -> Result<CompanyId, DirectoryError> {
        let id = CompanyId::from(random_uuid());
        let company = Company {
            id: id.clone(),
            name,
            admins: [admin.clone()].into(),
            settings: Settings::default(),
            access_key: StoredAccessKey::Absent,
        };
        self.tables().companies.insert(id.clone(), (company, None));
        Ok(id)
    }

    async fn save_settings(&self, id: &CompanyId, settings: Settings) -> Result<(), DirectoryError> {
        if let Some((company, _)) = self.tables().companies.get_mut(id) {
            company.settings = settings;
        }
        Ok(())
    }

    async fn save_access_key(&self, id: &CompanyId, key: AccessKey) -> Result<(), DirectoryError> {
        if let Some((company, stored)) = self.tables().companies.get_mut(id) {
            company.access_key = StoredAccessKey::Configured;
            *stored = Some(key);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn companies_come_by_name_and_in_pages() {
        let directory = MemoryDirectory::new();
        let admin = directory.add_person("a", Role::CompanyAdmin, String::new()).id;
        for name in ["Cedar", "Alder", "Birch"] {
            directory.add_company(CompanyName::new(name).unwrap(), &admin).await.unwrap();
        }

        let first = directory.companies_of(&admin, None, 2).await.unwrap();
        let second = directory.companies_of(&admin, first.next.as_ref(), 2).await.unwrap();

        let names = |page: &Page<Company, CompanyId>| -> Vec<String> {
            page.items.iter().map(|company| company.name.to_string()).collect()
        };
        assert_eq!(names(&first), ["Alder", "Birch"]);
        assert_eq!(names(&second), ["Cedar"]);
        assert_eq!(second.next, None);
    }

    #[tokio::test]
    async fn a_sign_in_name_is_found_in_any_case() {
        let directory = MemoryDirectory::new();
        directory.add_person("company.admin", Role::CompanyAdmin, "hash".into());

        let (_, hash) = directory.sign_in("Company.Admin").await.unwrap().unwrap();

        assert_eq!(hash, "hash");
        assert!(directory.sign_in("company").await.unwrap().is_none());
    }
}
