//! What is asked of the coordinator about figures and alerts.

use std::future::Future;

use heddle_proto::control::stats_client::StatsClient;
use heddle_proto::control::{
    Alert, AlertList, AlertRequest, CreateAlertRequest, DeletedAlert, IncidentList, ListAlertsRequest,
    ListIncidentsRequest, ReplaceAlertRequest, RunStats, StatsRequest,
};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use super::{Coordinator, Repeat, persist};
use crate::http::auth::{Caller, ReadExecutions, ReadWorkflows, WriteWorkflows};
use crate::http::error::ApiError;
use crate::limits::CALL_TIME_MAX;

impl Coordinator {
    /// `request` without its tenant, as those below.
    pub(crate) async fn stats(
        &self,
        caller: &Caller<ReadExecutions>,
        request: StatsRequest,
    ) -> Result<RunStats, ApiError> {
        let request = StatsRequest { tenant: caller.tenant(), ..request };
        self.call_stats(request, Repeat::Always, |mut client, request| async move { client.get_stats(request).await })
            .await
    }

    pub(crate) async fn alerts(
        &self,
        caller: &Caller<ReadWorkflows>,
        workflow_id: String,
    ) -> Result<AlertList, ApiError> {
        let request = ListAlertsRequest { tenant: caller.tenant(), workflow_id };
        self.call_stats(request, Repeat::Always, |mut client, request| async move { client.list_alerts(request).await })
            .await
    }

    pub(crate) async fn alert(
        &self,
        caller: &Caller<ReadWorkflows>,
        workflow_id: String,
        id: String,
    ) -> Result<Alert, ApiError> {
        let request = AlertRequest { tenant: caller.tenant(), workflow_id, id };
        self.call_stats(request, Repeat::Always, |mut client, request| async move { client.get_alert(request).await })
            .await
    }

    pub(crate) async fn create_alert(
        &self,
        caller: &Caller<WriteWorkflows>,
        request: CreateAlertRequest,
    ) -> Result<Alert, ApiError> {
        let request = CreateAlertRequest { tenant: caller.tenant(), subject: caller.subject(), ..request };
        // Twice would be two rules.
        self.call_stats(
            request,
            Repeat::IfUnsent,
            |mut client, request| async move { client.create_alert(request).await },
        )
        .await
    }

    pub(crate) async fn replace_alert(
        &self,
        caller: &Caller<WriteWorkflows>,
        request: ReplaceAlertRequest,
    ) -> Result<Alert, ApiError> {
        let request = ReplaceAlertRequest { tenant: caller.tenant(), subject: caller.subject(), ..request };
        self.call_stats(
            request,
            Repeat::Always,
            |mut client, request| async move { client.replace_alert(request).await },
        )
        .await
    }

    pub(crate) async fn delete_alert(
        &self,
        caller: &Caller<WriteWorkflows>,
        workflow_id: String,
        id: String,
    ) -> Result<DeletedAlert, ApiError> {
        let request = AlertRequest { tenant: caller.tenant(), workflow_id, id };
        // A second one would be told that there is none.
        self.call_stats(
            request,
            Repeat::IfUnsent,
            |mut client, request| async move { client.delete_alert(request).await },
        )
        .await
    }

    pub(crate) async fn incidents(
        &self,
        caller: &Caller<ReadWorkflows>,
        request: ListIncidentsRequest,
    ) -> Result<IncidentList, ApiError> {
        let request = ListIncidentsRequest { tenant: caller.tenant(), ..request };
        self.call_stats(
            request,
            Repeat::Always,
            |mut client, request| async move { client.list_incidents(request).await },
        )
        .await
    }

    async fn call_stats<Q, A, F, R>(&self, request: Q, repeat: Repeat, call: F) -> Result<A, ApiError>
    where
        Q: Clone,
        F: Fn(StatsClient<Channel>, Request<Q>) -> R,
        R: Future<Output = Result<Response<A>, Status>>,
    {
        let attempt = || {
            let mut request = Request::new(request.clone());
            request.set_timeout(CALL_TIME_MAX);
            call(self.stats.clone(), request)
        };
        persist(repeat, attempt).await.map(Response::into_inner)
    }
}
