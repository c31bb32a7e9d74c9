//! The authenticator: the library's verbs over the store, without a keeper and without a way to UPS.

use std::sync::Arc;

use batchsuite_auth::{
    BatchSuiteAuth, Client, Environment, HttpClient, HttpError, StoreError, async_trait,
    http::{Request, Response},
    store::{ListQuery, Store},
};

use crate::{failure::Failure, settings::Settings};

/// What a command does with the client id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// Nothing.
    Nothing,
    /// It decides whose opt-ins work.
    Read,
    /// It goes into the store, too.
    Write,
}

/// Refuses every request.
#[derive(Debug)]
struct NoUps;

#[async_trait]
impl HttpClient for NoUps {
    async fn send(&self, _: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, HttpError> {
        Err(HttpError::not_sent())
    }
}

/// The authenticator of the service's client.
pub(crate) async fn authenticator(
    settings: &Settings,
    store: Arc<dyn Store>,
    purpose: Use,
) -> Result<BatchSuiteAuth, Failure> {
    let id = client_id(settings, &*store, purpose).await?;
    // Nothing is ever sent, so there is no secret to know and no redirect to register.
    let client = Client::new(id, "none");
    let unusable = |error| Failure::new("UPS_CLIENT_ID cannot be used").because(&error);
    let redirect_uri = batchsuite_auth::url::Url::parse("http://localhost/")
        .map_err(|error| Failure::new("the program is built wrongly").because(&error))?;
    BatchSuiteAuth::builder(settings.environment, client)
        .redirect_uri(redirect_uri)
        .http(NoUps)
        .store(store)
        .without_keeper()
        .build()
        .map_err(unusable)
}

async fn client_id(settings: &Settings, store: &dyn Store, purpose: Use) -> Result<String, Failure> {
    let announced = match BatchSuiteAuth::client_state(store, settings.environment).await {
        // Nobody's id is needed, so a damaged row holds up nothing.
        Err(_) if purpose == Use::Nothing || settings.client_id.is_some() => None,
        state => state?.client_id,
    };
    match (settings.client_id.clone(), announced) {
        (Some(set), Some(announced)) if set != announced && purpose == Use::Write => Err(Failure::new(
            "UPS_CLIENT_ID is not the client id that the service announced last; unset it, or start the service with the \
             new one first",
        )),
        (Some(id), _) | (None, Some(id)) => Ok(id),
        (None, None) if purpose == Use::Nothing => Ok("none".to_owned()),
        (None, None) => Err(match only_of_another(store, settings.environment).await? {
            Some(other) => Failure::new(of_another_environment(other, settings.environment)).of_database(),
            None => Failure::new(
                "the client id is not known, because no service has announced it in this database yet; set UPS_CLIENT_ID",
            ),
        }),
    }
}

/// Another environment that has companies, if this one has none.
pub(crate) async fn only_of_another(
    store: &dyn Store,
    environment: Environment,
) -> Result<Option<Environment>, StoreError> {
    let has_companies = async |environment| {
        let query = ListQuery { environment, listed_as: None, after: None, limit: 1 };
        // A row that cannot be read ends a page, too.
        store.list(query).await.map(|page| !page.items.is_empty() || page.next.is_some())
    };
    if has_companies(environment).await? {
        return Ok(None);
    }
    for other in Environment::ALL {
        if *other != environment && has_companies(*other).await? {
            return Ok(Some(*other));
        }
    }
    Ok(None)
}

/// Says that the database has companies of another environment only.
pub(crate) fn of_another_environment(other: Environment, environment: Environment) -> String {
    let (other, environment) = (other.name(), environment.name());
    format!(
        "this database has companies of {other} and none of {environment}; check UPS_ENVIRONMENT (--environment) and \
         DATABASE_URL"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_to_ups_is_refused_before_it_is_sent() {
        let error = NoUps.send(Request::new(Vec::new())).await.unwrap_err();

        assert_eq!(error.kind(), batchsuite_auth::HttpErrorKind::Connect);
    }
}
