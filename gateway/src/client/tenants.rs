//! Tenants, as operators of the cluster ask about them.

use std::future::Future;

use heddle_proto::control::tenants_client::TenantsClient;
use heddle_proto::control::{
    CreateTenantKeyRequest, CreateTenantRequest, KeyList, ListTenantsRequest, MintedKey, Tenant, TenantList,
    TenantRequest, UpdateTenantRequest,
};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use super::{Coordinator, Repeat, persist};
use crate::http::auth::{Caller, Operate};
use crate::http::error::ApiError;
use crate::limits::CALL_TIME_MAX;

impl Coordinator {
    pub(crate) async fn tenants(&self, caller: &Caller<Operate>) -> Result<TenantList, ApiError> {
        let request = ListTenantsRequest { operator: caller.tenant() };
        self.call_tenants(
            request,
            Repeat::Always,
            |mut client, request| async move { client.list_tenants(request).await },
        )
        .await
    }

    pub(crate) async fn tenant(&self, caller: &Caller<Operate>, id: String) -> Result<Tenant, ApiError> {
        let request = TenantRequest { operator: caller.tenant(), id };
        self.call_tenants(
            request,
            Repeat::Always,
            |mut client, request| async move { client.get_tenant(request).await },
        )
        .await
    }

    pub(crate) async fn create_tenant(
        &self,
        caller: &Caller<Operate>,
        id: String,
        name: String,
    ) -> Result<Tenant, ApiError> {
        let request = CreateTenantRequest { operator: caller.tenant(), id, name };
        // A second one would be told that there is one already.
        self.call_tenants(request, Repeat::IfUnsent, |mut client, request| async move {
            client.create_tenant(request).await
        })
        .await
    }

    /// `request` without its operator, which only the caller's key knows.
    pub(crate) async fn update_tenant(
        &self,
        caller: &Caller<Operate>,
        request: UpdateTenantRequest,
    ) -> Result<Tenant, ApiError> {
        let request = UpdateTenantRequest { operator: caller.tenant(), ..request };
        self.call_tenants(
            request,
            Repeat::Always,
            |mut client, request| async move { client.update_tenant(request).await },
        )
        .await
    }

    /// `request` without its operator; without a subject it is the caller's.
    pub(crate) async fn create_tenant_key(
        &self,
        caller: &Caller<Operate>,
        request: CreateTenantKeyRequest,
    ) -> Result<MintedKey, ApiError> {
        let subject = if request.subject.is_empty() { caller.subject() } else { request.subject };
        let request = CreateTenantKeyRequest { operator: caller.tenant(), subject, ..request };
        // Twice would leave a key that nobody has.
        self.call_tenants(request, Repeat::IfUnsent, |mut client, request| async move {
            client.create_tenant_key(request).await
        })
        .await
    }

    pub(crate) async fn tenant_keys(&self, caller: &Caller<Operate>, id: String) -> Result<KeyList, ApiError> {
        let request = TenantRequest { operator: caller.tenant(), id };
        self.call_tenants(request, Repeat::Always, |mut client, request| async move {
            client.list_tenant_keys(request).await
        })
        .await
    }

    async fn call_tenants<Q, A, F, R>(&self, request: Q, repeat: Repeat, call: F) -> Result<A, ApiError>
    where
        Q: Clone,
        F: Fn(TenantsClient<Channel>, Request<Q>) -> R,
        R: Future<Output = Result<Response<A>, Status>>,
    {
        let attempt = || {
            let mut request = Request::new(request.clone());
            request.set_timeout(CALL_TIME_MAX);
            call(self.tenants.clone(), request)
        };
        persist(repeat, attempt).await.map(Response::into_inner)
    }
}
