//! Machines of a test's own: network namespaces, each with an address, joined by a switch in a namespace of its own.
//!
//! Nothing of it is seen outside, and nothing of the host's network is changed. A link can be cut, and one machine can be
//! kept from sending to another; nobody is told, as with a cable that is pulled.

use std::fs::File;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sched::{CloneFlags, setns};

use super::{Part, Shape};

/// The machines' network, of the addresses that are set aside for tests of networks (RFC 2544): to the parts of a cluster
/// they are other machines', so that plaintext is not spoken there.
const SUBNET: [u8; 3] = [198, 18, 0];
/// What the names of all our namespaces begin with; the process's id follows.
const PREFIX: &str = "heddle-test-";
/// A machine's end of its link to the switch.
const LINK: &str = "wire";
/// The port that parts listen on, each on its own address.
const PORT: u16 = 7_420;
/// What it takes: to set up networks, and to make and enter namespaces (`capability.h`).
const CAPABILITIES: [u32; 2] = [12, 21];

/// A machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    /// Where the test is: its clients, and whoever listens for it.
    Client,
    /// The database server's.
    Database,
    /// The artifact store's.
    Store,
    /// A part's.
    Of(Part),
}

/// Machines and their switch. They are gone when this value is dropped.
#[derive(Debug)]
pub struct Network {
    prefix: String,
    machines: Vec<Machine>,
}

impl Network {
    /// A machine for each part of a cluster of this shape, for the test, for a database and for a store of artifacts. `None` = this process may not
    /// make them, which is told loudly.
    ///
    /// # Panics
    /// When they cannot be made although they should be possible, and the variable `CI` is `true`.
    pub fn create(shape: &Shape) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if let Err(why) = is_possible() {
            eprintln!("NO NETWORK NAMESPACES ({why}): all machines are this one, and no link can be cut");
            return None;
        }
        remove_left_behind();
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let parts = [Part::Coordinator].into_iter().chain((0..shape.gateways).map(Part::Gateway));
        let parts = parts.chain((0..shape.agents.len()).map(Part::Agent)).map(Machine::Of);
        let machines = [Machine::Client, Machine::Database, Machine::Store].into_iter().chain(parts).collect();
        let network = Self { prefix: format!("{PREFIX}{}-{number}-", std::process::id()), machines };
        match network.build() {
            Ok(()) => Some(network),
            Err(why) => {
                assert!(std::env::var("CI").as_deref() != Ok("true"), "no network namespaces: {why}");
                eprintln!("NO NETWORK NAMESPACES ({why}): all machines are this one, and no link can be cut");
                None
            }
        }
    }

    fn build(&self) -> Result<(), String> {
        let switch = self.switch();
        ip(&["netns", "add", &switch])?;
        ip(&["-n", &switch, "link", "add", "switch", "type", "bridge"])?;
        ip(&["-n", &switch, "link", "set", "switch", "up"])?;
        for machine in &self.machines {
            let (name, port) = (self.name(*machine), format!("port{}", self.number(*machine)));
            let address = format!("{}/24", self.address(*machine));
            ip(&["netns", "add", &name])?;
            ip(&["-n", &switch, "link", "add", &port, "type", "veth", "peer", "name", LINK, "netns", &name])?;
            ip(&["-n", &switch, "link", "set", &port, "master", "switch", "up"])?;
            ip(&["-n", &name, "link", "set", "lo", "up"])?;
            ip(&["-n", &name, "address", "add", &address, "dev", LINK])?;
            ip(&["-n", &name, "link", "set", LINK, "up"])?;
        }
        Ok(())
    }

    /// The namespace of a machine.
    pub fn name(&self, machine: Machine) -> String {
        format!("{}{}", self.prefix, self.number(machine))
    }

    /// The address of a machine.
    pub fn address(&self, machine: Machine) -> Ipv4Addr {
        let [a, b, c] = SUBNET;
        Ipv4Addr::new(a, b, c, 10 + self.number(machine))
    }

    /// Where a part listens.
    pub fn listen(&self, part: Part) -> String {
        format!("{}:{PORT}", self.address(Machine::Of(part)))
    }

    /// Takes a machine's link down: nothing leaves it and nothing arrives.
    pub fn cut(&self, machine: Machine) {
        self.set(&["-n", &self.name(machine), "link", "set", LINK, "down"]);
    }

    /// Brings a machine's link up again.
    pub fn join(&self, machine: Machine) {
        self.set(&["-n", &self.name(machine), "link", "set", LINK, "up"]);
    }

    /// From now on what one machine sends to another is lost; the other way stays.
    pub fn silence(&self, from: Machine, to: Machine) {
        let to = format!("{}/32", self.address(to));
        self.set(&["-n", &self.name(from), "route", "add", "blackhole", &to]);
    }

    /// Ends what [`Network::silence`] began.
    pub fn hear(&self, from: Machine, to: Machine) {
        let to = format!("{}/32", self.address(to));
        self.set(&["-n", &self.name(from), "route", "del", "blackhole", &to]);
    }

    /// Does something on a machine: what it opens and starts is there.
    pub fn on<T: Send>(&self, machine: Machine, work: impl FnOnce() -> T + Send) -> T {
        inside(&self.name(machine), work)
    }

    /// Runs a future on a machine, with all the threads it has.
    ///
    /// # Panics
    /// When the future does, or there is no runtime.
    pub fn run<T: Send>(&self, machine: Machine, work: impl Future<Output = T> + Send) -> T {
        let name = self.name(machine);
        self.on(machine, move || {
            let mut runtime = tokio::runtime::Builder::new_multi_thread();
            runtime.enable_all().on_thread_start(move || enter(&name));
            runtime.build().unwrap_or_else(|error| panic!("no runtime: {error}")).block_on(work)
        })
    }

    fn set(&self, arguments: &[&str]) {
        ip(arguments).unwrap_or_else(|why| panic!("{why}"));
    }

    fn number(&self, machine: Machine) -> u8 {
        let number = self.machines.iter().position(|known| *known == machine);
        number.and_then(|number| u8::try_from(number).ok()).unwrap_or_else(|| panic!("there is no {machine:?}"))
    }

    fn switch(&self) -> String {
        format!("{}switch", self.prefix)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let names = self.machines.iter().map(|machine| self.name(*machine)).chain([self.switch()]);
        for name in names {
            // What could not be made need not be removed.
            let _removed = ip(&["netns", "delete", &name]);
        }
    }
}

/// Whether namespaces should be possible here.
fn is_possible() -> Result<(), String> {
    let status = std::fs::read_to_string("/proc/self/status").map_err(|error| error.to_string())?;
    let capable = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let capable = capable.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    if CAPABILITIES.iter().any(|capability| capable & (1 << capability) == 0) {
        return Err("it takes CAP_NET_ADMIN and CAP_SYS_ADMIN: run this as root".to_owned());
    }
    ip(&["-V"])
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(arguments).output();
    let output = output.map_err(|error| format!("ip cannot be run ({error}): install iproute2"))?;
    let said = || String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if output.status.success() { Ok(()) } else { Err(format!("ip {}: {}", arguments.join(" "), said())) }
}

/// Namespaces of tests that were killed.
fn remove_left_behind() {
    let entries = std::fs::read_dir("/run/netns").into_iter().flatten().filter_map(Result::ok);
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    for name in names {
        let process = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()).map(str::to_owned);
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            let _removed = ip(&["netns", "delete", &name]);
        }
    }
}

/// Does something on a thread in a namespace, and waits for it.
fn inside<T: Send>(name: &str, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let done = scope.spawn(|| {
            enter(name);
            work()
        });
        done.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Moves this thread into a namespace: its sockets and processes are there from now on.
fn enter(name: &str) {
    let path = Path::new("/run/netns").join(name);
    let namespace = File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    setns(namespace, CloneFlags::CLONE_NEWNET).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
