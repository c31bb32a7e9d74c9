//! `azure_identity`: a credential belongs to one tenant, so every company gets its own. Its cache is keyed by scopes.

use std::{collections::HashMap, hint::black_box, sync::Arc};

use azure_core::{
    credentials::{Secret, TokenCredential},
    http::{AsyncRawResponse, ClientOptions, HttpClient, Request, StatusCode, Transport, headers::Headers},
};
use azure_identity::{ClientSecretCredential, ClientSecretCredentialOptions};
use batchsuite_auth::CompanyId;
use batchsuite_benches::report;

use crate::{beside::Beside, endpoint, version};

/// Scopes have this form in Azure.
const SCOPES: &[&str] = &["https://management.azure.com/.default"];

pub(crate) fn measure(beside: Beside<'_>) {
    report::note(format_args!(
        "token/azure: azure_identity {}, ClientSecretCredential::get_token; 1,000 objects in a HashMap",
        version::of("azure_identity"),
    ));
    let ask = async |credential: &Arc<ClientSecretCredential>| {
        black_box(credential.get_token(SCOPES, None).await.expect("a token"));
    };
    let credentials: HashMap<_, _> = beside.names.iter().map(|name| (name.clone(), credential(name))).collect();
    beside.runtime.block_on(async {
        for credential in credentials.values() {
            ask(credential).await;
        }
    });
    beside.objects("token/azure", &credentials, ask);
}

fn credential(tenant: &CompanyId) -> Arc<ClientSecretCredential> {
    let client_options =
        ClientOptions { transport: Some(Transport::new(Arc::new(AtOnce))), ..ClientOptions::default() };
    let options = ClientSecretCredentialOptions { client_options };
    let secret = Secret::new("bench-secret");
    ClientSecretCredential::new(tenant.as_str(), "bench-client".to_owned(), secret, Some(options))
        .expect("the settings fit")
}

/// A token endpoint without a network.
#[derive(Debug)]
struct AtOnce;

#[async_trait::async_trait]
impl HttpClient for AtOnce {
    async fn execute_request(&self, _: &Request) -> azure_core::Result<AsyncRawResponse> {
        Ok(AsyncRawResponse::from_bytes(StatusCode::Ok, Headers::new(), endpoint::tokens().to_string()))
    }
}
