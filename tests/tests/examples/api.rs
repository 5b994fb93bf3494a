//! The API of the example `http-enrich`: the files of its folder, for who has the key.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Condvar, Mutex};

use super::{example, heddle};

/// What it takes for a key.
const KEY: &str = "atlas-key";

/// A server that answers, once it is open.
pub(crate) struct Api {
    /// Its host and port.
    pub(crate) address: String,
    gate: Arc<(Mutex<bool>, Condvar)>,
}

impl Api {
    /// Starts it, open or not.
    pub(crate) fn start(is_open: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let gate = Arc::new((Mutex::new(is_open), Condvar::new()));
        let served = Arc::clone(&gate);
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let gate = Arc::clone(&served);
                // A client that goes away is not this server's matter.
                std::thread::spawn(move || drop(serve(connection, &gate)));
            }
        });
        Self { address, gate }
    }

    /// Lets out the answers to what was asked already, and all that follow.
    pub(crate) fn open(&self) {
        *self.gate.0.lock().unwrap() = true;
        self.gate.1.notify_all();
    }
}

/// Gives the key to the agent with this data folder.
pub(crate) fn set_key(data: &Path, address: &str) {
    let mut set = heddle(data);
    set.args(["secrets", "set", "atlas", "--host", address, "--allow-private"]).stdin(Stdio::piped());
    let mut set = set.stderr(Stdio::null()).spawn().unwrap();
    set.stdin.take().unwrap().write_all(KEY.as_bytes()).unwrap();
    assert!(set.wait().unwrap().success());
}

fn serve(mut connection: TcpStream, gate: &(Mutex<bool>, Condvar)) -> std::io::Result<()> {
    let mut lines = BufReader::new(connection.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let has_key = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).any(|line| line.ends_with(KEY));
    drop(gate.1.wait_while(gate.0.lock().unwrap(), |is_open| !*is_open).unwrap());
    let name = first.split(' ').nth(1).unwrap_or_default().trim_start_matches('/');
    let file = std::fs::read(example("http-enrich/api").join(name));
    let (status, body) = match file {
        Ok(body) if has_key => ("200 OK", body),
        Ok(_) => ("401 Unauthorized", Vec::new()),
        Err(_) => ("404 Not Found", Vec::new()),
    };
    let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    connection.write_all(head.as_bytes())?;
    connection.write_all(&body)?;
    // Until the client has read it all.
    connection.read(&mut [0; 64]).map(|_| ())
}
