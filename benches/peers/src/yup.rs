//! `yup-oauth2`: an authenticator serves one person who has consented in a browser, so every company gets its own. It
//! keeps its tokens in memory, by scopes.

use std::{collections::HashMap, hint::black_box, pin::Pin};

use batchsuite_auth::CompanyId;
use batchsuite_benches::report;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use yup_oauth2::{
    ApplicationSecret, CustomHyperClientBuilder, InstalledFlowAuthenticator, InstalledFlowReturnMethod,
    authenticator::Authenticator, authenticator_delegate::InstalledFlowDelegate,
};

use crate::{beside::Beside, endpoint, version};

/// Scopes have this form at Google.
const SCOPES: &[&str] = &["https://www.googleapis.com/auth/drive.file"];

pub(crate) fn measure(beside: Beside<'_>) {
    report::note(format_args!(
        "token/yup: yup-oauth2 {}, Authenticator::token with the storage in memory; 1,000 objects in a HashMap",
        version::of("yup-oauth2"),
    ));
    let authenticators = beside.runtime.block_on(authenticators(beside.names));
    beside.objects("token/yup", &authenticators, async |authenticator| {
        black_box(authenticator.token(SCOPES).await.expect("a token"));
    });
}

async fn authenticators(names: &[CompanyId]) -> HashMap<CompanyId, Authenticator<HttpConnector>> {
    let secret = ApplicationSecret {
        client_id: "bench-client".to_owned(),
        client_secret: "bench-secret".to_owned(),
        token_uri: endpoint::start().await,
        auth_uri: "http://localhost/authorize".to_owned(),
        ..ApplicationSecret::default()
    };
    let client: Client<_, String> = Client::builder(TokioExecutor::new()).build_http();
    let mut all = HashMap::new();
    for name in names {
        let client = CustomHyperClientBuilder::from(client.clone());
        let method = InstalledFlowReturnMethod::Interactive;
        let authenticator = InstalledFlowAuthenticator::with_client(secret.clone(), method, client)
            .flow_delegate(Box::new(Agrees))
            .build()
            .await
            .expect("the settings fit");
        authenticator.token(SCOPES).await.expect("a token");
        all.insert(name.clone(), authenticator);
    }
    all
}

/// A person who consents at once and returns the code.
struct Agrees;

impl InstalledFlowDelegate for Agrees {
    fn present_user_url<'a>(
        &'a self,
        _: &'a str,
        _: bool,
    ) -> Pin<Box<dyn Future<Output = Result<String, String>> + Send + 'a>> {
        Box::pin(async { Ok("bench-code".to_owned()) })
    }
}
