//! Real servers have the SFTP that was chosen for them, as OpenSSH's own client sees it.

use crate::fleet::openssh::Daemon;
use crate::fleet::relay::Cable;
use crate::fleet::sftp_daemon::{STRANGER, Sftp, client, dropbear, sftp, sshd};
use crate::fleet::tmpfs::Tmpfs;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

/// Whether a batch succeeds, and everything that is said meanwhile.
fn tried(daemon: &Daemon, batch: &str) -> Option<(bool, String)> {
    let output = sftp(daemon, batch)?;
    let said = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
}

fn put(daemon: &Daemon) -> Option<(bool, String)> {
    let source = daemon.directory().join("source");
    fs::write(&source, "content").unwrap();
    tried(daemon, &format!("put {} target\nrename target renamed\nls -l\n", source.display()))
}

#[test]
fn each_kind_of_server_has_a_home_of_its_own_and_takes_files() {
    let servers = [
        sshd(Sftp::Internal(""), &[]),
        sshd(Sftp::External(""), &[]),
        sshd(Sftp::External("-u 077"), &["RekeyLimit 64K", "MaxSessions 1"]),
        sshd(Sftp::Command("exec $SFTP_SERVER -d $HOME"), &[]),
        dropbear(Sftp::External(""), &[]),
        dropbear(Sftp::External("-l ERROR"), &[]),
    ];
    for daemon in servers.into_iter().flatten() {
        let Some((done, said)) = put(&daemon) else { return };
        assert!(done, "{said}\n{}", daemon.log());
        assert_eq!(fs::read(daemon.home.join("renamed")).unwrap(), b"content");
    }
}

#[test]
fn what_a_server_denies_fails_and_the_rest_works() {
    for (arguments, denied) in
        [("-R", "put"), ("-P write", "put"), ("-P rename,posix-rename", "rename"), ("-p stat,realpath", "put")]
    {
        for daemon in [
            sshd(Sftp::Internal(arguments), &[]),
            sshd(Sftp::External(arguments), &[]),
            dropbear(Sftp::External(arguments), &[]),
        ]
        .into_iter()
        .flatten()
        {
            let Some((done, said)) = put(&daemon) else { return };
            assert!(!done && said.contains("denied"), "{arguments}: {said}");
            assert_eq!(
                daemon.home.join("target").exists(),
                denied == "rename" || arguments == "-P write",
                "{arguments}: {said}"
            );
            assert!(!daemon.home.join("renamed").exists(), "{arguments}: {said}");
        }
    }
}

#[test]
fn a_server_without_sftp_refuses_it_and_still_runs_commands() {
    for daemon in [sshd(Sftp::Absent, &[]), dropbear(Sftp::Absent, &[])].into_iter().flatten() {
        let Some((done, said)) = put(&daemon) else { return };
        assert!(!done, "{said}");
        let mut ssh = client("ssh", &daemon).unwrap();
        ssh.args(["-p", &daemon.port.to_string(), &format!("{}@127.0.0.1", daemon.user), "echo here"]);
        assert_eq!(ssh.output().unwrap().stdout, b"here\n");
    }
}

#[test]
fn a_stranger_may_not_do_everything() {
    for daemon in [sshd(Sftp::Internal(""), &[]), sshd(Sftp::External(""), &[])].into_iter().flatten() {
        let Some(daemon) = daemon.for_stranger() else { return };
        let Some((done, said)) = tried(&daemon, "pwd\nmkdir mine\n") else { return };
        assert!(done && said.contains(&format!("/{STRANGER}\n")), "{said}\n{}", daemon.log());
        assert!(daemon.home.join("mine").is_dir());
        let (done, said) =
            tried(&daemon, &format!("mkdir {}/theirs\n", daemon.directory().join("home").display())).unwrap();
        assert!(!done && said.contains("Permission denied"), "{said}");
    }
}

#[test]
fn a_server_can_be_far_away() {
    let Some(daemon) = sshd(Sftp::Internal(""), &[]) else { return };
    let daemon = daemon.behind([Cable::delayed(Duration::from_millis(100))]);
    let begun = Instant::now();
    let Some((done, said)) = put(&daemon) else { return };
    assert!(done, "{said}");
    // Version, keys, login, session and at least four requests.
    assert!(begun.elapsed() > Duration::from_millis(1400), "{:?}", begun.elapsed());
}

#[test]
fn a_shell_that_talks_spoils_the_protocol() {
    let Some(daemon) = sshd(Sftp::Command("echo welcome to this machine; exec $SFTP_SERVER"), &[]) else { return };
    let Some((done, said)) = put(&daemon) else { return };
    assert!(!done && said.contains("Received message too long"), "{said}");
}

#[test]
fn a_disk_that_is_there_before_a_server_is_full_for_it_too() {
    let Some(disk) = Tmpfs::new(1 << 20) else { return };
    let there = disk.path().join("there");
    for daemon in [sshd(Sftp::Internal(""), &[]), dropbear(Sftp::External(""), &[])].into_iter().flatten() {
        let source = daemon.directory().join("source");
        fs::write(&source, vec![1; 3 << 20]).unwrap();
        let Some((_, said)) = tried(&daemon, &format!("put {} {}\n", source.display(), there.display())) else {
            return;
        };
        assert!(said.contains("Failure"), "{said}");
        assert!(fs::metadata(&there).unwrap().blocks() * 512 <= 1 << 20);
        fs::remove_file(&there).unwrap();
    }
}
