//! The service of figures and alerts.

use std::sync::Arc;

use heddle_proto::control as wire;
use heddle_proto::control::stats_server::Stats;
use tonic::{Request, Response, Status};

use super::{alert_requests, stats_requests};
use crate::shared::Shared;

/// The service of figures and alerts.
pub(crate) struct StatsService {
    pub(crate) shared: Arc<Shared>,
}

#[tonic::async_trait]
impl Stats for StatsService {
    async fn get_stats(&self, request: Request<wire::StatsRequest>) -> Result<Response<wire::RunStats>, Status> {
        stats_requests::get(&self.shared, &request.into_inner()).await.map(Response::new)
    }

    async fn list_alerts(
        &self,
        request: Request<wire::ListAlertsRequest>,
    ) -> Result<Response<wire::AlertList>, Status> {
        alert_requests::list(&self.shared, &request.into_inner()).await.map(Response::new)
    }

    async fn get_alert(&self, request: Request<wire::AlertRequest>) -> Result<Response<wire::Alert>, Status> {
        alert_requests::get(&self.shared, &request.into_inner()).await.map(Response::new)
    }

    async fn create_alert(&self, request: Request<wire::CreateAlertRequest>) -> Result<Response<wire::Alert>, Status> {
        alert_requests::create(&self.shared, &request.into_inner()).await.map(Response::new)
    }

    async fn replace_alert(
        &self,
        request: Request<wire::ReplaceAlertRequest>,
    ) -> Result<Response<wire::Alert>, Status> {
        alert_requests::replace(&self.shared, &request.into_inner()).await.map(Response::new)
    }

    async fn delete_alert(&self, request: Request<wire::AlertRequest>) -> Result<Response<wire::DeletedAlert>, Status> {
        alert_requests::delete(&self.shared, &request.into_inner()).await.map(Response::new)
    }

    async fn list_incidents(
        &self,
        request: Request<wire::ListIncidentsRequest>,
    ) -> Result<Response<wire::IncidentList>, Status> {
        alert_requests::incidents(&self.shared, &request.into_inner()).await.map(Response::new)
    }
}
