//! Which server a command speaks to.

use std::path::PathBuf;

use clap::Args;

use crate::client::Client;
use crate::data_dir::DataDir;
use crate::error::{Exit, Failure, Result};
use crate::ui::program;

/// The options of every command that speaks to a server.
#[derive(Debug, Clone, Args)]
pub struct Connection {
    /// The gateway's address [default: the server that runs on the data folder]
    #[arg(long, env = "HEDDLE_URL", value_name = "URL", global = true)]
    pub server: Option<String>,
    /// The key to use [default: the data folder's, for its own server]
    #[arg(long, env = "HEDDLE_KEY", hide_env_values = true, value_name = "KEY", global = true)]
    pub key: Option<String>,
    /// The data folder [default: $XDG_DATA_HOME/heddle or ~/.local/share/heddle]
    #[arg(long, env = "HEDDLE_DATA", value_name = "FOLDER", global = true)]
    pub data_dir: Option<PathBuf>,
}

impl Connection {
    /// A client of the named server, else of the one that runs on the data folder.
    pub async fn client(&self) -> Result<Client> {
        if let Some(client) = self.named()? {
            return Ok(client);
        }
        let data = DataDir::choose(self.data_dir.as_deref())?;
        self.local(&data).await?.ok_or_else(|| {
            Failure::new(Exit::Failed, format!("no server runs on the data folder {}", data.path().display()))
                .with_next(format!("start one with `{} up`, or name one with --server URL --key KEY", program()))
        })
    }

    /// A client of the server the user named. The data folder's key goes to the data folder's server only.
    pub fn named(&self) -> Result<Option<Client>> {
        let Some(url) = &self.server else { return Ok(None) };
        let Some(key) = self.key.clone().or_else(|| self.key_of(url)) else {
            return Err(Failure::new(Exit::Auth, format!("there is no key for {url}"))
                .with_next("pass a key: --key KEY, or set HEDDLE_KEY"));
        };
        Client::new(url, Some(key)).map(Some)
    }

    /// A client of the server that runs on this folder now: the server file counts only if `/healthz` there names the
    /// same boot.
    pub async fn local(&self, data: &DataDir) -> Result<Option<Client>> {
        let Some(server) = data.server() else { return Ok(None) };
        let client = Client::new(&server.url, self.key.clone().or_else(|| data.key()))?;
        let same = client.health().await.is_ok_and(|health| health.boot_id == server.boot_id);
        Ok(same.then_some(client))
    }

    fn key_of(&self, url: &str) -> Option<String> {
        let data = DataDir::choose(self.data_dir.as_deref()).ok()?;
        let origin = Client::new(url, None).ok()?.origin().to_owned();
        (data.server()?.url == origin).then(|| data.key()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use axum::{Json, Router, routing::get};
    use serde_json::json;

    use super::*;
    use crate::data_dir::ServerFile;

    async fn serve(boot_id: &'static str) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().route("/healthz", get(move || async move { Json(json!({"bootId": boot_id})) }));
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    fn connection(server: Option<&str>, data: &DataDir) -> Connection {
        Connection { server: server.map(str::to_owned), key: None, data_dir: Some(data.path().to_owned()) }
    }

    #[tokio::test]
    async fn a_server_file_counts_only_for_the_same_boot() {
        let temp = tempfile::tempdir().unwrap();
        let data = DataDir::at(temp.path());
        std::fs::write(data.key_path(), "sk-1\n").unwrap();
        let connection = connection(None, &data);
        assert!(connection.local(&data).await.unwrap().is_none());

        let url = serve("boot-2").await;
        let file = |boot_id: &str, url: &str| ServerFile { url: url.into(), pid: 1, boot_id: boot_id.into() };
        data.write_server(&file("boot-1", &url)).unwrap();
        assert!(connection.local(&data).await.unwrap().is_none(), "another boot");
        data.write_server(&file("boot-2", &url)).unwrap();
        assert_eq!(connection.local(&data).await.unwrap().unwrap().origin(), url);
        data.write_server(&file("boot-2", "http://127.0.0.1:1")).unwrap();
        assert!(connection.local(&data).await.unwrap().is_none(), "nobody listens");
        assert_eq!(connection.client().await.unwrap_err().exit, Exit::Failed);
    }

    #[test]
    fn the_folders_key_goes_to_the_folders_server_only() {
        let temp = tempfile::tempdir().unwrap();
        let data = DataDir::at(temp.path());
        std::fs::write(data.key_path(), "sk-1\n").unwrap();
        let url = "http://127.0.0.1:8080";
        data.write_server(&ServerFile { url: url.into(), pid: 1, boot_id: "b".into() }).unwrap();
        assert!(connection(Some(&format!("{url}/api/v1")), &data).named().unwrap().is_some());
        let failure = connection(Some("http://elsewhere:8080"), &data).named().unwrap_err();
        assert_eq!(failure.exit, Exit::Auth);
    }
}
