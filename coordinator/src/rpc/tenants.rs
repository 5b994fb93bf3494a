//! The service of tenants, for operators of the cluster.

use std::sync::Arc;

use heddle_proto::control::tenants_server::Tenants;
use heddle_proto::control::{self as wire};
use tonic::{Request, Response, Status};

use super::tenant_requests;
use crate::keys::Keys;
use crate::shared::Shared;

/// The service of tenants.
pub(crate) struct TenantsService {
    pub(crate) shared: Arc<Shared>,
    pub(crate) keys: Keys,
}

#[tonic::async_trait]
impl Tenants for TenantsService {
    async fn create_tenant(
        &self,
        request: Request<wire::CreateTenantRequest>,
    ) -> Result<Response<wire::Tenant>, Status> {
        tenant_requests::create(&self.shared, request.into_inner()).await.map(Response::new)
    }

    async fn list_tenants(
        &self,
        request: Request<wire::ListTenantsRequest>,
    ) -> Result<Response<wire::TenantList>, Status> {
        tenant_requests::list(&self.shared, request.into_inner()).await.map(Response::new)
    }

    async fn get_tenant(&self, request: Request<wire::TenantRequest>) -> Result<Response<wire::Tenant>, Status> {
        tenant_requests::get(&self.shared, request.into_inner()).await.map(Response::new)
    }

    async fn update_tenant(
        &self,
        request: Request<wire::UpdateTenantRequest>,
    ) -> Result<Response<wire::Tenant>, Status> {
        tenant_requests::update(&self.shared, request.into_inner()).await.map(Response::new)
    }

    async fn create_tenant_key(
        &self,
        request: Request<wire::CreateTenantKeyRequest>,
    ) -> Result<Response<wire::MintedKey>, Status> {
        tenant_requests::create_key(&self.shared, &self.keys, request.into_inner()).await.map(Response::new)
    }

    async fn list_tenant_keys(&self, request: Request<wire::TenantRequest>) -> Result<Response<wire::KeyList>, Status> {
        tenant_requests::list_keys(&self.shared, request.into_inner()).await.map(Response::new)
    }
}
