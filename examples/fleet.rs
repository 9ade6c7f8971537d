//! A fleet to try bugle on, without a server, root or a container: SSH servers in this process, each on a loopback
//! address of its own.
//!
//! ```text
//! cargo run --locked --example fleet                          six hosts, and `bugle run` across them
//! cargo run --locked --example fleet -- 20 run web -- uptime  twenty, and any other arguments of bugle
//! cargo run --locked --example fleet -- serve                 stays up, and says how to reach it
//! cargo run --locked --release --example fleet -- serve --light --count 10000
//! cargo run --locked --release --example fleet -- relay --to HOST:22 --delay 25ms      a server that is far away
//! ```
//!
//! The hosts run commands as you, on this machine. Only this machine can reach them, with a key that is made anew each
//! time.

// An example talks to whoever started it.
#![allow(clippy::print_stderr, clippy::print_stdout)]

#[path = "../tests/fleet/mod.rs"]
mod fleet;

use bugle::scheduler::DescriptorBudget;
use bugle::task::quote;
use clap::Parser;
use fleet::Fleet;
use fleet::relay::{Cable, Lane, Relay};
use std::ffi::{OsStr, OsString};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Starts a fleet on loopback and runs bugle across it.
#[derive(Parser)]
#[command(
    name = "fleet",
    after_help = "`fleet serve --help` tells of fleets that stay up, `fleet relay --help` of a line that is long or thin."
)]
struct Demonstration {
    /// How many hosts
    #[arg(default_value_t = 6)]
    hosts: usize,
    /// What bugle is to do [default: run all -- 'uname -sr; echo hello from a fleet']
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "BUGLE ARGUMENTS")]
    arguments: Vec<OsString>,
}

/// Starts a fleet that stays up until Ctrl-C. The first line on standard output is the directory of its files.
#[derive(Parser)]
#[command(name = "fleet serve")]
struct Serve {
    /// How many hosts
    #[arg(long, default_value_t = 6)]
    count: usize,
    /// Answer commands without running them, as thousands of hosts must
    #[arg(long)]
    light: bool,
    /// Threads of a light fleet
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

/// Passes connections on to a server, as a long or thin line would, until Ctrl-C. The first line on standard output is its
/// port on 127.0.0.1.
#[derive(Parser)]
#[command(name = "fleet relay")]
struct Line {
    /// The server, as HOST:PORT
    #[arg(long, value_parser = address, value_name = "HOST:PORT")]
    to: SocketAddr,
    /// How long each byte is under way, in each direction: half of a round trip
    #[arg(long, value_parser = bugle::duration::parse, default_value = "0s", value_name = "TIME")]
    delay: Duration,
    /// How many bytes a second pass, in each direction [default: as many as come]
    #[arg(long, value_name = "BYTES")]
    rate: Option<u64>,
}

fn address(text: &str) -> io::Result<SocketAddr> {
    text.to_socket_addrs()?.next().ok_or_else(|| io::Error::other("the name has no address"))
}

fn main() -> ExitCode {
    // Every host that is called has a socket at this end too.
    DescriptorBudget::raised();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if arguments.get(1).is_some_and(|first| first == "serve") {
        serve(&Serve::parse_from(&arguments[1..]));
        return ExitCode::SUCCESS;
    }
    if arguments.get(1).is_some_and(|first| first == "relay") {
        relay(&Line::parse_from(&arguments[1..]));
        return ExitCode::SUCCESS;
    }
    demonstrate(Demonstration::parse_from(arguments))
}

fn demonstrate(wanted: Demonstration) -> ExitCode {
    let fleet = Fleet::start(wanted.hosts);
    let verb = match wanted.arguments.as_slice() {
        [] => {
            ["run", "all", "--output", "group", "--", "uname -sr; echo hello from a fleet"].map(OsString::from).into()
        }
        given => given.to_vec(),
    };
    let arguments: Vec<OsString> = [OsString::from("bugle")].into_iter().chain(fleet.arguments()).chain(verb).collect();
    let hosts = if wanted.hosts == 1 { "host is" } else { "hosts are" };
    eprintln!("{} {hosts} up on loopback addresses. Now runs:\n\n    {}\n", wanted.hosts, command_line(&arguments));
    bugle::cli::run(arguments).into()
}

fn serve(wanted: &Serve) {
    let fleet = if wanted.light { Fleet::light(wanted.count, wanted.threads) } else { Fleet::start(wanted.count) };
    let example = ["run", "all", "--", "uname -sr"].map(OsString::from);
    let arguments: Vec<OsString> =
        [OsString::from("bugle")].into_iter().chain(fleet.arguments()).chain(example).collect();
    println!("{}", fleet.directory().display());
    eprintln!("{} hosts are up until Ctrl-C. To call them:\n\n    {}\n", wanted.count, command_line(&arguments));
    wait_for_the_end();
}

fn relay(wanted: &Line) {
    let lane = Lane { delay: wanted.delay, bytes_per_second: wanted.rate, fault: None };
    let relay = Relay::start(wanted.to, [Cable { to_server: lane, to_client: lane }]);
    println!("{}", relay.address.port());
    eprintln!("{} is to be reached at {} until Ctrl-C.", wanted.to, relay.address);
    wait_for_the_end();
}

/// Waits for Ctrl-C or SIGTERM, so that the fleet's files are removed.
fn wait_for_the_end() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("the system has a runtime's needs");
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).expect("signals can be heard");
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
    });
}

/// The arguments as one would type them.
fn command_line(arguments: &[OsString]) -> String {
    let words: Vec<String> = arguments.iter().map(|word| quote(&OsStr::to_string_lossy(word))).collect();
    words.join(" ")
}
