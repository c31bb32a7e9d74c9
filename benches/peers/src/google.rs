//! `google-cloud-auth`: one object holds the credentials of one user who has consented, with the refresh token. So
//! every company gets its own.

use std::{collections::HashMap, hint::black_box};

use batchsuite_auth::CompanyId;
use batchsuite_benches::report;
use google_cloud_auth::credentials::{AccessTokenCredentials, user_account::Builder};
use serde_json::json;

use crate::{beside::Beside, endpoint, version};

pub(crate) fn measure(beside: Beside<'_>) {
    report::note(format_args!(
        "token/google: google-cloud-auth {}, AccessTokenCredentials::access_token of a user account; 1,000 objects in a HashMap",
        version::of("google-cloud-auth"),
    ));
    let credentials = beside.runtime.block_on(credentials(beside.names));
    beside.objects("token/google", &credentials, async |credentials| {
        black_box(credentials.access_token().await.expect("a token"));
    });
}

async fn credentials(names: &[CompanyId]) -> HashMap<CompanyId, AccessTokenCredentials> {
    let endpoint = endpoint::start().await;
    let mut all = HashMap::new();
    for name in names {
        let user = json!({
            "type": "authorized_user",
            "client_id": "bench-client",
            "client_secret": "bench-secret",
            "refresh_token": name.as_str(),
            "token_uri": endpoint,
        });
        let credentials = Builder::new(user).build_access_token_credentials().expect("the settings fit");
        credentials.access_token().await.expect("a token");
        all.insert(name.clone(), credentials);
    }
    all
}
