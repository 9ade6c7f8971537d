//! What a fleet gets only where the command line asks for it: windows on our display (X11), and commands of ours after each
//! login (`LocalCommand`).

use crate::bugle::{Bugle, Place, ssh_config};
use crate::fleet::openssh::{Daemon, find, sshd_prepared};
use crate::fleet::{Fleet, USER};
use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};

/// The cookie of our display, which no host may see.
const COOKIE: &str = "000102030405060708090a0b0c0d0eff";

/// An X server as far as the first packet: what came in it is handed on, and answered with a line.
struct Display {
    port: u16,
    packets: Receiver<Vec<u8>>,
}

impl Display {
    fn open() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let (sender, packets) = channel();
        std::thread::spawn(move || {
            for mut window in listener.incoming().map_while(Result::ok) {
                let mut packet = vec![0; SETUP];
                let read = window.read_exact(&mut packet);
                let answered = read.and_then(|()| window.write_all(b"the display answers\n"));
                if answered.is_err() || sender.send(packet).is_err() {
                    return;
                }
            }
        });
        Self { port, packets }
    }

    /// `DISPLAY`: X servers over TCP begin at port 6000.
    fn name(&self) -> String {
        format!("127.0.0.1:{}", self.port - 6000)
    }

    /// The packets up to now.
    fn packets(&self) -> Vec<Vec<u8>> {
        self.packets.try_iter().collect()
    }
}

/// Length of a first packet with the protocol's name of 18 bytes, padded, and a cookie of 16.
const SETUP: usize = 12 + 20 + 16;

/// The first packet of a window, least significant byte first, with the cookie that is its argument.
const CLIENT: &str = r#"number=${DISPLAY#*:}
exec 3<>"/dev/tcp/127.0.0.1/$((6000 + ${number%.*}))"
printf 'l\0\013\0\0\0\022\0\020\0\0\0MIT-MAGIC-COOKIE-1\0\0' >&3
printf '%b' "$(echo "$1" | sed 's/../\\x&/g')" >&3
cat <&3
"#;

/// An sshd that forwards windows. What it tells xauth, the cookie of the host's side, is in `told`.
fn server() -> Option<Daemon> {
    find("bash")?;
    let options = ["X11Forwarding yes", "X11UseLocalhost yes", "PermitUserRC no", "XAuthLocation {}/xauth"];
    sshd_prepared(&options, |directory| {
        program(&directory.join("xauth"), &format!("cat >>'{}/told'", directory.display()));
        fs::write(directory.join("client"), CLIENT).expect("the directory can be written");
    })
}

fn program(path: &Path, line: &str) {
    fs::write(path, format!("#!/bin/sh\n{line}\n")).expect("the directory can be written");
    fs::set_permissions(path, Permissions::from_mode(0o700)).expect("it was just written");
}

/// The call with a display whose cookie xauth knows.
fn showing(call: Bugle, display: &Display, place: &Place) -> Bugle {
    let listed = format!("echo '{}  MIT-MAGIC-COOKIE-1  {COOKIE}'", display.name());
    let xauth = place.file_with_mode("bin/xauth", format!("#!/bin/sh\n{listed}\n"), 0o700);
    let programs = xauth.parent().expect("it is in a directory").display();
    let path = format!("{programs}:{}", std::env::var("PATH").unwrap_or_default());
    call.at(place).env("DISPLAY", display.name()).env("PATH", path)
}

#[test]
fn windows_reach_our_display_with_its_cookie_which_no_host_learns() {
    let Some(sshd) = server() else { return };
    let (display, place) = (Display::open(), Place::new());
    let directory = sshd.directory().display();
    let open = |cookie: &str| {
        let command = format!("bash {directory}/client {cookie}");
        let call = Bugle::on_daemon(&sshd, ["h1"]).args(["-o", "ForwardX11=yes"]);
        showing(call, &display, &place).args(["run", "--timeout", "20s", "h1", &command]).run()
    };
    let told = format!("$(sed -n 's/^add .* //p' {directory}/told | tail -n 1)");
    open(&told).is(0, "the display answers\n", "");
    let packets = display.packets();
    let [packet] = packets.as_slice() else { panic!("one window was opened: {packets:?}") };
    assert!(packet.starts_with(b"l\0\x0b\0"), "{packet:?}");
    let cookie: String = packet[SETUP - 16..].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(cookie, COOKIE);
    let told = fs::read_to_string(sshd.directory().join("told")).expect("sshd told xauth");
    assert!(told.contains("MIT-MAGIC-COOKIE-1") && !told.contains(COOKIE), "{told}");

    // Who does not know the made-up cookie gets nothing, even with the right one.
    for wrong in ["ffffffffffffffffffffffffffffffff", COOKIE] {
        open(wrong).is(0, "", "");
    }
    assert_eq!(display.packets(), [] as [Vec<u8>; 0]);
}

#[test]
fn windows_that_were_asked_for_and_will_not_come_are_told() {
    let Some(sshd) = sshd_prepared(&["X11Forwarding no"], |_| {}) else { return };
    let (display, place) = (Display::open(), Place::new());
    let call = || Bugle::on_daemon(&sshd, ["h1"]).args(["-o", "ForwardX11=yes"]);
    let run =
        |call: Bugle| call.args(["run", "h1", "echo \"display=$DISPLAY\"; exit 3"]).run().exited(3).said("display=\n");
    run(showing(call(), &display, &place))
        .told("h1: the host forwards no windows: it needs X11Forwarding yes, and xauth\n");
    run(call()).told("no X11 forwarding: `DISPLAY` names no display");
}

#[test]
fn no_display_is_lent_because_of_a_file() {
    let Some(sshd) = server() else { return };
    let (display, place) = (Display::open(), Place::new());
    let at = format!("Host h1\n  HostName 127.0.0.1\n  Port {}\n", sshd.port);
    let config = place.file("config", at + &ssh_config(&sshd) + "  ForwardX11 yes\n");
    let answer = showing(Bugle::alone().arg("-F").arg(config), &display, &place)
        .args(["-v", "run", "h1", "echo \"display=$DISPLAY\""])
        .run()
        .exited(0)
        .said("display=\n");
    answer.told("ForwardX11 is left out: a fleet opens windows only by -o ForwardX11=yes on the command line");
    assert!(!sshd.directory().join("told").exists());
}

#[test]
fn a_local_command_is_run_after_each_login_where_the_command_line_permits_it() {
    let fleet = Fleet::start(2);
    let place = Place::new();
    let file = place.path().join("logins");
    let line = format!("LocalCommand=echo %n %h %r %p >>{}; echo aside", file.display());
    let run = |options: &[&str]| {
        let _ = fs::remove_file(&file);
        let options = options.iter().flat_map(|option| ["-o", option]);
        let answer = Bugle::on(&fleet).at(&place).args(options).args(["run", "all", "-f", "1", "-q", "echo ran"]).run();
        let mut lines: Vec<String> = fs::read_to_string(&file).unwrap_or_default().lines().map(str::to_owned).collect();
        lines.sort();
        (answer, lines)
    };
    let expected: Vec<String> = fleet
        .hosts()
        .iter()
        .map(|host| format!("{} {} {USER} {}", host.name, host.address.ip(), host.address.port()))
        .collect();
    // What it prints is no answer of the hosts.
    let (answer, lines) = run(&["PermitLocalCommand=yes", &line]);
    answer.is(0, "web01: ran\nweb02: ran\n", "aside\naside\n");
    assert_eq!(lines, expected);

    // Neither by default nor because of a file.
    let (answer, lines) = run(&[&line]);
    answer.is(0, "web01: ran\nweb02: ran\n", "");
    assert!(lines.is_empty(), "{lines:?}");
    let text = fs::read_to_string(fleet.ssh_config()).expect("the fleet wrote it");
    let permitted = place.file("config", format!("PermitLocalCommand yes\n{}\n{text}", line.replace('=', " ")));
    let call = Bugle::alone().at(&place).arg("-i").arg(fleet.inventory()).arg("-F").arg(permitted);
    call.args(["run", "all", "-f", "1", "-v", "echo ran"])
        .run()
        .exited(0)
        .told("LocalCommand is left out: for a fleet it is run only by -o PermitLocalCommand=yes on the command line");
    assert!(!file.exists());

    // Nor because of what was not typed for this run.
    let settings = format!("option: [PermitLocalCommand=yes, ForwardAgent=yes, '{line}']\n");
    place.file(".config/bugle/config.yaml", settings);
    let call = || Bugle::on(&fleet).at(&place).args(["run", "all", "-v", "echo ran"]);
    let answer = call().run().exited(0).told("LocalCommand is left out");
    answer.told("config.yaml:1:34: ForwardAgent is left out");
    call().env("BUGLE_OPTION", "ForwardAgent=yes").run().exited(0).told("BUGLE_OPTION: ForwardAgent is left out");
    assert!(!file.exists());
}

#[test]
fn a_local_command_has_its_own_time_and_its_failure_is_told_and_fails_nothing() {
    let fleet = Fleet::start(1);
    let run = |command: &str| {
        let command = format!("LocalCommand={command}");
        let permitted = ["-o", "PermitLocalCommand=yes", "-o", &command];
        Bugle::on(&fleet).args(permitted).args(["run", "all", "--connect-timeout", "1s", "echo ran"]).run()
    };
    run("sleep 1.3").is(0, "ran\n", "");
    run("exit 7").is(0, "ran\n", "web01: LocalCommand ended with exit status: 7\n");
}
