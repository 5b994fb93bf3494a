//! A PostgreSQL server of a test's own, in a folder of its own, that ends with the test process: also when that is
//! killed, because a shell beside the server waits for the end of a pipe that only the test holds.

#![cfg_attr(test, allow(clippy::unwrap_used))]
#![allow(clippy::expect_used, clippy::panic, reason = "what a harness cannot do ends its test")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

use nix::sys::signal::Signal;
use nix::unistd::Pid;

/// Who the server runs as when the test is root, which PostgreSQL refuses to be: nobody.
const NOBODY: u32 = 65_534;

/// Does what it is told, a line at a time, and says what became of it. When nobody can tell it anything any more it ends
/// the server and removes the folder.
const KEEPER: &str = r#"
cd "$FOLDER" || exit 1
say() { if [ "$1" -eq 0 ]; then echo done; else echo failed; fi; }
start() { "$BIN/pg_ctl" -D data -l log -w -t 60 -o "$SETTINGS" start >>keeper.log 2>&1; }
stop() { "$BIN/pg_ctl" -D data -w -t 60 -m immediate stop >>keeper.log 2>&1; }
"$BIN/initdb" -N -A trust -U postgres -E UTF8 --locale=C -D data >>keeper.log 2>&1 &&
    echo 'host all all all trust' >>data/pg_hba.conf && start
say $?
while read -r order name; do
    case $order in
    start) start; say $? ;;
    stop) stop; say $? ;;
    create) "$BIN/createdb" -h "$FOLDER" -U postgres "$name" >>keeper.log 2>&1; say $? ;;
    gone)
        tries=1000
        for process in $name; do
            while grep -q '^State:.[^ZX]' "/proc/$process/status" 2>/dev/null && [ "$tries" -gt 0 ]; do
                tries=$((tries - 1))
                sleep 0.02
            done
        done
        say $((tries == 0)) ;;
    sql) "$BIN/psql" -h "$FOLDER" -U postgres -c "$name" >>keeper.log 2>&1; say $? ;;
    esac
done
stop
cd / && rm -rf "$FOLDER"
"#;

/// A server.
#[derive(Debug)]
pub struct Server {
    folder: PathBuf,
    /// Where it listens, beside the socket in its folder.
    address: Option<Ipv4Addr>,
    keeper: Mutex<Keeper>,
}

#[derive(Debug)]
struct Keeper {
    process: Child,
    /// `None` only while it is dropped.
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    databases: u32,
}

/// The one server of this process; `None` if PostgreSQL is not installed, which is told loudly.
///
/// # Panics
/// When the variable `CI` is set and PostgreSQL is not installed, or when it does not start.
pub fn shared() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    SERVER.get_or_init(Server::start).as_ref()
}

impl Server {
    /// Starts a server that nobody else uses; `None` if PostgreSQL is not installed, which is told loudly.
    ///
    /// # Panics
    /// When the variable `CI` is set and PostgreSQL is not installed, or when it does not start.
    pub fn start() -> Option<Self> {
        Self::start_at(None)
    }

    /// The same on an address of the machine that this is called on; only there may it be started again.
    ///
    /// # Panics
    /// As [`Server::start`] does.
    pub fn listening(address: Ipv4Addr) -> Option<Self> {
        Self::start_at(Some(address))
    }

    fn start_at(address: Option<Ipv4Addr>) -> Option<Self> {
        let Some(bin) = binaries() else {
            assert!(std::env::var_os("CI").is_none(), "PostgreSQL is not installed: install it, or set PG_BIN");
            eprintln!("SKIPPED, NOT TESTED: PostgreSQL is not installed. Install it, or set PG_BIN to its programs.");
            return None;
        };
        // Its keeper removes it, after the server has left it.
        let folder = tempfile::Builder::new().prefix("heddle-pg").tempdir().expect("a folder can be made").keep();
        let mut command = Command::new("sh");
        if nix::unistd::geteuid().is_root() {
            std::os::unix::fs::chown(&folder, Some(NOBODY), Some(NOBODY)).expect("root may give a folder away");
            command.uid(NOBODY).gid(NOBODY);
        }
        let settings = format!(
            "-k {} -c listen_addresses={} -c fsync=off -c max_connections=200 -c shared_buffers=16MB",
            folder.display(),
            address.map_or_else(String::new, |address| address.to_string())
        );
        // A group of its own: a signal from the keyboard must not end it before it has tidied up.
        let mut process = command
            .args(["-c", KEEPER])
            .env("BIN", bin)
            .env("FOLDER", &folder)
            .env("SETTINGS", settings)
            .env("LC_ALL", "C")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("there is a shell");
        let (orders, answers) = (process.stdin.take(), process.stdout.take().expect("it is piped"));
        let keeper = Keeper { process, orders, answers: BufReader::new(answers), databases: 0 };
        let server = Self { folder, address, keeper: Mutex::new(keeper) };
        server.heard(&mut server.lock(), "start");
        Some(server)
    }

    /// Makes an empty database; gives its address.
    ///
    /// # Panics
    /// When the server does not.
    pub fn database(&self) -> String {
        let name = {
            let mut keeper = self.lock();
            keeper.databases += 1;
            format!("test{}", keeper.databases)
        };
        self.order(&format!("create {name}"));
        match self.address {
            Some(address) => format!("postgres://postgres@{address}/{name}"),
            None => format!("postgres://postgres@localhost/{name}?host={}", self.folder.display()),
        }
    }

    /// What the server answers to a statement in a database that [`Server::database`] has made: a line for each row, `|`
    /// between columns.
    ///
    /// # Panics
    /// When it does not do it.
    pub fn query(&self, database: &str, statement: &str) -> String {
        self.try_query(database, statement).unwrap_or_else(|error| panic!("{statement}: {error}"))
    }

    /// The same for a server that may be away or on its way back.
    ///
    /// # Errors
    /// What `psql` says.
    ///
    /// # Panics
    /// When `psql` cannot be run.
    pub fn try_query(&self, database: &str, statement: &str) -> Result<String, String> {
        let name = database.split('?').next().and_then(|address| address.rsplit('/').next()).unwrap_or_default();
        let psql = binaries().expect("PostgreSQL is installed, since this server runs").join("psql");
        let mut command = Command::new(psql);
        command.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", name, "-c", statement]);
        let output = command.arg("-h").arg(&self.folder).output().expect("psql can be run");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// Ends the server at once, as a crash would: connections are cut, and what it had confirmed is kept.
    ///
    /// # Panics
    /// When it does not end.
    pub fn crash(&self) {
        self.order("stop");
    }

    /// Starts it again after a crash.
    ///
    /// # Panics
    /// When it does not start.
    pub fn revive(&self) {
        self.order("start");
    }

    /// Kills the server's main process without a warning (SIGKILL), and waits until those it had started are gone, too.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&self) {
        let main = self.main();
        let mut processes = children_of(main);
        processes.push(main);
        signal(main, Signal::SIGKILL);
        // They see that it is gone; until then they hold its memory, and no other may start.
        let processes: Vec<String> = processes.iter().map(ToString::to_string).collect();
        self.order(&format!("gone {}", processes.join(" ")));
        // Where nobody asks how orphans have ended, their number stays taken, and the next start would believe them alive.
        for lock in ["data/postmaster.pid", ".s.PGSQL.5432.lock"] {
            let _removed = std::fs::remove_file(self.folder.join(lock));
        }
    }

    /// Kills every process that serves a connection (SIGKILL); gives how many. The server cuts all others off and recovers.
    pub fn kill_backends(&self) -> usize {
        let serving = children_of(self.main()).into_iter().filter(|child| serves_client(*child));
        serving.map(|child| signal(child, Signal::SIGKILL)).count()
    }

    /// Kills one process that serves a connection (SIGKILL); false if there is none. The server cuts all others off, too.
    pub fn kill_backend(&self) -> bool {
        let serving = children_of(self.main()).into_iter().find(|child| serves_client(*child));
        serving.map(|child| signal(child, Signal::SIGKILL)).is_some()
    }

    /// Ends all connections of clients as an administrator would (`pg_terminate_backend`).
    ///
    /// # Panics
    /// When the server does not answer.
    pub fn terminate_backends(&self) {
        self.order(
            "sql select pg_terminate_backend(pid) from pg_stat_activity \
             where backend_type = 'client backend' and pid <> pg_backend_pid()",
        );
    }

    /// Stops the server in its tracks (SIGSTOP): connections stay, and nothing is answered.
    pub fn freeze(&self) {
        let main = self.main();
        signal(main, Signal::SIGSTOP);
        children_of(main).into_iter().for_each(|child| signal(child, Signal::SIGSTOP));
    }

    /// Lets a frozen server go on.
    pub fn thaw(&self) {
        let main = self.main();
        children_of(main).into_iter().for_each(|child| signal(child, Signal::SIGCONT));
        signal(main, Signal::SIGCONT);
    }

    /// The id of its main process.
    fn main(&self) -> i32 {
        let text = std::fs::read_to_string(self.folder.join("data/postmaster.pid")).expect("PostgreSQL runs");
        text.lines().next().and_then(|line| line.trim().parse().ok()).expect("the first line is its process")
    }

    fn order(&self, order: &str) {
        let mut keeper = self.lock();
        let orders = keeper.orders.as_mut().expect("it is taken only by drop");
        writeln!(orders, "{order}").expect("the keeper listens");
        self.heard(&mut keeper, order);
    }

    fn heard(&self, keeper: &mut Keeper, order: &str) {
        let mut answer = String::new();
        let heard = keeper.answers.read_line(&mut answer);
        if heard.is_err() || answer.trim() != "done" {
            let log = |name| std::fs::read_to_string(self.folder.join(name)).unwrap_or_default();
            panic!("PostgreSQL could not {order}:\n{}{}", log("keeper.log"), log("log"));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Keeper> {
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let keeper = self.keeper.get_mut().unwrap_or_else(PoisonError::into_inner);
        keeper.orders = None;
        // It ends by itself now.
        let _ended = keeper.process.wait();
    }
}

fn signal(process: i32, signal: Signal) {
    // It may just have ended.
    let _sent = nix::sys::signal::kill(Pid::from_raw(process), signal);
}

fn children_of(parent: i32) -> Vec<i32> {
    let text = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}

/// Whether a process of the server is one for a connection: its title names who is connected.
fn serves_client(process: i32) -> bool {
    let title = std::fs::read_to_string(format!("/proc/{process}/cmdline")).unwrap_or_default();
    title.starts_with("postgres: postgres ")
}

/// The folder of the programs: `PG_BIN`, or the newest release that Debian has put beside others.
fn binaries() -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os("PG_BIN").map(PathBuf::from) {
        return Some(folder);
    }
    let releases = std::fs::read_dir("/usr/lib/postgresql").ok()?.filter_map(Result::ok);
    let number = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = releases.map(|entry| entry.path()).max_by_key(|path| number(path))?;
    Some(newest.join("bin")).filter(|bin| bin.join("initdb").exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_leaves_nothing_behind() {
        let Some(server) = Server::start() else { return };
        assert_ne!(server.database(), server.database());
        let folder = server.folder.clone();
        assert!(folder.join("data/postmaster.pid").exists());
        server.crash();
        server.revive();
        server.kill();
        server.revive();
        server.terminate_backends();
        let database = server.database();
        assert_eq!(server.query(&database, "SELECT current_database(), 1"), "test3|1");
        server.kill_backends();
        server.freeze();
        server.thaw();
        drop(server);
        assert!(!folder.exists());
    }
}
