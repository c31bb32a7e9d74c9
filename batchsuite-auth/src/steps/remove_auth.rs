//! Remove auth: the host ends a company's authorization here. (UPS offers no revocation; the person ends the
//! authorization at UPS by changing the UPS.com password.)

use std::sync::Arc;

use crate::{
    ids::{ActorId, CompanyId},
    machine::GrantEvent,
    rotation::{Engine, Taken},
    store::StoreError,
};

impl Engine {
    #[tracing::instrument(name = "remove_auth", skip_all, fields(%company, %actor))]
    pub(crate) async fn remove_auth(self: &Arc<Self>, company: &CompanyId, actor: &ActorId) -> Result<(), StoreError> {
        let (engine, company, event) = (Arc::clone(self), company.clone(), GrantEvent::Remove { actor: actor.clone() });
        let task = async move {
            // The machine never refuses a removal, so the loop ends with the first save without a conflict.
            loop {
                let row = engine.rotation.read(&company).await?;
                if let Taken::Saved(removed) = engine.rotation.take(&row, &event, None).await? {
                    // Takes effect at once in this process; other processes learn of it through the feed.
                    engine.tokens.cache.changed(&[(company, removed.snapshot.change)]);
                    tracing::info!("the authorization is removed");
                    return Ok(());
                }
            }
        };
        self.write_for_caller(task).await
    }
}
