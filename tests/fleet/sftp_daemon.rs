//! Real servers for files: OpenSSH's sshd and Dropbear with the SFTP server of a test's choice ([`Sftp`]) and with home
//! directories of their own.
//!
//! With root, a server has mounts of its own. passwd(5) is another one there: the home of root is in the server's
//! directory, and [`STRANGER`] exists, who may not do everything, and whose password is [`STRANGERS_PASSWORD`]; sudo(8) is
//! for root alone until a test writes to `sudoers`. Without root there is only the user of this process,
//! whose SFTP begins in such a home, but not her commands.

// A test that is left out says so.
#![allow(clippy::print_stderr)]

use super::openssh::{
    DROPBEAR_IS_READY, Daemon, SSHD_IS_READY, configure, dropbear_command, find, in_own_mounts, login_name, may_mount,
    sshd_command, start,
};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A user who exists only on these servers and may not do everything.
pub const STRANGER: &str = "stranger";
/// Number of [`STRANGER`] and of her group.
pub const STRANGER_ID: u32 = 48_221;

/// What [`STRANGER`] logs in with where a server takes passwords, and what sudo asks her for.
#[allow(dead_code, reason = "most tests log in by key")]
pub const STRANGERS_PASSWORD: &str = "open sesame";
/// The same as crypt(3) makes it.
const CRYPTED: &str = "$6$bugle$zkY.q1LMIjoko0Dnq4qA5Rtvs0FTP.rZ4WccFYNQD19BpefuGSl0oHuFKhS847aDDy4GKuUey/GIbIwYsmR1d.";

/// What a server does when it is asked for SFTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sftp<'a> {
    /// sshd's own code, with arguments of sftp-server(8), such as `-P write`.
    Internal(&'a str),
    /// A process of `sftp-server`, with such arguments.
    External(&'a str),
    /// A command in the user's shell, to which `sftp-server` is in `$SFTP_SERVER`. sshd only.
    Command(&'a str),
    /// It does not know what that is.
    Absent,
}

/// Where OpenSSH's `sftp-server` is installed; Dropbear runs what it finds in one of these, which one was settled when it
/// was built: the first on Debian, the second without a packager's choice.
const PLACES: [&str; 5] = [
    "/usr/lib/sftp-server",
    "/usr/libexec/sftp-server",
    "/usr/lib/openssh/sftp-server",
    "/usr/libexec/openssh/sftp-server",
    "/usr/lib/ssh/sftp-server",
];

/// The program, with links resolved.
pub fn sftp_server() -> Option<PathBuf> {
    let found = PLACES.iter().find_map(|place| fs::canonicalize(place).ok());
    if found.is_none() {
        eprintln!("skipped: no sftp-server");
    }
    found
}

/// Starts sshd with this SFTP and these lines before its own configuration.
pub fn sshd(sftp: Sftp, options: &[&str]) -> Option<Daemon> {
    sshd_told(sftp, options, &[])
}

/// The same, started with these arguments, in which `{}` is the server's directory.
pub fn sshd_told(sftp: Sftp, options: &[&str], arguments: &[&str]) -> Option<Daemon> {
    let program = find("sshd")?;
    let server = if matches!(sftp, Sftp::Internal(_) | Sftp::Absent) { PathBuf::new() } else { sftp_server()? };
    let server = server.display();
    let mounts = may_mount();
    start(|directory, port| {
        settle(directory);
        let place = directory.display();
        // Where the homes are not those of passwd(5).
        let begin = if mounts { String::new() } else { format!("-d {place}/home") };
        let mut rest = match sftp {
            Sftp::Internal(arguments) => format!("Subsystem sftp internal-sftp {begin} {arguments}\n"),
            Sftp::External(arguments) => format!("Subsystem sftp {server} {begin} {arguments}\n"),
            Sftp::Command(command) => format!("Subsystem sftp SFTP_SERVER={server}; {command}\n"),
            Sftp::Absent => String::new(),
        };
        let mut command = sshd_command(&program, directory);
        command.args(arguments.iter().map(|argument| argument.replace("{}", &place.to_string())));
        if mounts {
            configure(directory, port, options, &rest);
            return (in_own_mounts(PASSWD, directory, &command), SSHD_IS_READY);
        }
        rest.push_str(&format!("SetEnv HOME={place}/home\n"));
        configure(directory, port, options, &rest);
        (command, SSHD_IS_READY)
    })
}

/// Starts Dropbear with this SFTP, which it knows only as a program.
pub fn dropbear(sftp: Sftp, options: &[&str]) -> Option<Daemon> {
    let (program, convert) = (find("dropbear")?, find("dropbearconvert")?);
    if !may_mount() {
        eprintln!("skipped: no mount namespaces for dropbear");
        return None;
    }
    let server = sftp_server()?;
    let (server, folder) = (server.display(), server.parent().expect("it is a file").display());
    start(|directory, port| {
        settle(directory);
        let place = directory.display();
        let more = match sftp {
            Sftp::Internal("") | Sftp::External("") => String::new(),
            Sftp::Internal(arguments) | Sftp::External(arguments) => {
                let script = format!("#!/bin/sh\nexec '{place}/sftp-server' {arguments}\n");
                executable(&directory.join("instead"), script.as_bytes());
                let original = fs::read(server.to_string()).expect("programs can be read");
                executable(&directory.join("sftp-server"), &original);
                format!("; mount --bind \"$0\"/instead {server}")
            }
            // Its name leads nowhere then, as where nobody installed it.
            Sftp::Absent => format!("; mount -t tmpfs none {folder}"),
            Sftp::Command(_) => panic!("dropbear has no choice of subsystems"),
        };
        let command = dropbear_command(&program, &convert, directory, port, options);
        (in_own_mounts(&format!("{PASSWD}{more}"), directory, &command), DROPBEAR_IS_READY)
    })
}

impl Daemon {
    /// The same, with [`STRANGER`] as the one who logs in; `None` where that needs more rights than this process has.
    pub fn for_stranger(mut self) -> Option<Self> {
        self.home = self.directory().join(STRANGER);
        if !self.home.exists() || !may_mount() {
            eprintln!("skipped: no second user without root");
            return None;
        }
        self.user = STRANGER.into();
        Some(self)
    }
}

const PASSWD: &str = "for file in passwd group shadow sudoers; do \
    if [ -e /etc/$file ]; then mount --bind \"$0\"/$file /etc/$file; fi; done";

/// The homes, and the files that say where they are.
fn settle(directory: &Path) {
    let place = directory.display();
    let user = login_name();
    // The files inside have modes of their own, and strangers have to come through.
    fs::set_permissions(directory, Permissions::from_mode(0o711)).expect("it is ours");
    fs::create_dir_all(directory.join("home")).expect("the directory can be written");
    for file in ["passwd", "group"] {
        let known = fs::read_to_string(Path::new("/etc").join(file)).expect("every system has it");
        let theirs = |line: &&str| !line.starts_with(&format!("{user}:")) && !line.starts_with(STRANGER);
        let mut text: String = known.lines().filter(theirs).map(|line| format!("{line}\n")).collect();
        let own = match file {
            "passwd" => format!(
                "{user}:x:0:0::{place}/home:/bin/sh\n{STRANGER}:x:{STRANGER_ID}:{STRANGER_ID}::{place}/{STRANGER}:/bin/sh\n"
            ),
            _ => format!("{user}:x:0:\n{STRANGER}:x:{STRANGER_ID}:\n"),
        };
        text.push_str(&own);
        fs::write(directory.join(file), text).expect("the directory can be written");
    }
    let sudoers = "Defaults !lecture, !syslog, timestamp_timeout=0\nroot ALL=(ALL:ALL) ALL\n".to_owned();
    for (file, text) in
        [("shadow", format!("{user}:*:19000::::::\n{STRANGER}:{CRYPTED}:19000::::::\n")), ("sudoers", sudoers)]
    {
        fs::write(directory.join(file), text).expect("the directory can be written");
        fs::set_permissions(directory.join(file), Permissions::from_mode(0o440)).expect("it was just written");
    }
    let home = directory.join(STRANGER);
    fs::create_dir_all(home.join(".ssh")).expect("the directory can be written");
    fs::copy(directory.join("authorized_keys"), home.join(".ssh/authorized_keys")).expect("it was just written");
    let given = [&home, &home.join(".ssh"), &home.join(".ssh/authorized_keys")]
        .into_iter()
        .try_for_each(|path| chown(path, Some(STRANGER_ID), Some(STRANGER_ID)));
    if given.is_err() {
        fs::remove_dir_all(&home).expect("it was just made");
    }
}

fn executable(path: &Path, content: &[u8]) {
    fs::write(path, content).expect("the directory can be written");
    fs::set_permissions(path, Permissions::from_mode(0o755)).expect("it was just written");
}

/// Runs OpenSSH's `sftp` with these lines as its batch; `None` where it is not installed.
pub fn sftp(daemon: &Daemon, batch: &str) -> Option<std::process::Output> {
    let file = daemon.directory().join("batch");
    fs::write(&file, batch).expect("the directory can be written");
    let mut command = client("sftp", daemon)?;
    command.arg("-q").arg("-b").arg(file).args(["-P", &daemon.port.to_string()]);
    command.arg(format!("{}@127.0.0.1", daemon.user));
    Some(command.output().expect("it was found"))
}

/// One of OpenSSH's clients with the options with which it logs in.
pub fn client(program: &str, daemon: &Daemon) -> Option<Command> {
    let mut command = Command::new(find(program)?);
    command.arg("-F").arg("none").arg("-i").arg(daemon.key());
    for option in ["BatchMode=yes", "IdentitiesOnly=yes", "IdentityAgent=none", "GlobalKnownHostsFile=/dev/null"] {
        command.args(["-o", option]);
    }
    command.arg("-o").arg(format!("UserKnownHostsFile={}", daemon.known_hosts().display()));
    Some(command)
}
