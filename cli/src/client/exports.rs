//! Runs' histories as files.

use reqwest::{Method, Response};

use super::Client;
use crate::error::Result;
use crate::limits::TRANSFER_WAIT_MAX;

impl Client {
    /// A run with its whole history, as lines that come piece by piece.
    pub async fn export(&self, id: &str) -> Result<Response> {
        let request = self.request(Method::GET, &format!("/workflows/executions/{id}/export"));
        self.accept(request.timeout(TRANSFER_WAIT_MAX).send().await).await
    }
}
