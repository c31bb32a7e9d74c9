//! Remove auth: the host ends a company's authorization here. (UPS knows no revocation; the person ends it at UPS.com by
//! changing the password.)

use std::sync::Arc;

use super::Core;
use crate::{
    ids::{ActorId, CompanyId},
    store::StoreError,
};

impl Core {
    #[tracing::instrument(name = "remove_auth", skip_all, fields(%company, %actor))]
    pub(crate) async fn remove_auth(self: &Arc<Self>, company: &CompanyId, actor: &ActorId) -> Result<(), StoreError> {
        let (core, company, actor) = (Arc::clone(self), company.clone(), actor.clone());
        let task = async move {
            let removed = core.store.remove(&core.key(&company), &actor).await?;
            // At once in this process; the others hear of it by the feed.
            core.cache.changed(&[(company, removed.change)]);
            tracing::info!("the authorization is removed");
            Ok(())
        };
        self.write_for_caller(task).await
    }
}
