//! Accounts that cannot be looked after, beside others that can.

use crate::fleet::sftp_daemon::{STRANGER, STRANGER_ID};
use crate::fleet::tmpfs::Tmpfs;
use crate::host::{Host, Key, facts};
use std::fs::{self, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

/// A further account whose home is here, with Alice's key.
fn account(host: &Host, name: &str, home: &Path, alice: &Key) {
    host.account(name, STRANGER_ID, home.to_str().unwrap());
    fs::create_dir_all(home).unwrap();
    chown(home, Some(STRANGER_ID), Some(STRANGER_ID)).unwrap();
    host.write_at(home, STRANGER_ID, format!("{}\n", alice.line));
}

/// A host of the stranger and of Zoe, who has Alice's key.
fn with_zoe() -> Option<(Host, Key)> {
    let host = Host::start()?;
    let alice = host.key("alice")?;
    host.write(STRANGER, format!("{}\n", alice.line));
    account(&host, "zoe", &host.home("zoe"), &alice);
    Some((host, alice))
}

const ZOE: &str = "zoe: removed: SHA256:<fingerprint> alice\nzoe: no key is left\n";

#[test]
fn a_file_that_is_too_large_keeps_no_other_account_from_being_looked_after() {
    let Some((host, _)) = with_zoe() else { return };
    OpenOptions::new().write(true).open(host.file(STRANGER)).unwrap().set_len(80 << 20).unwrap();
    let listed = host.keys("list").args(["--everywhere", "--key", "alice"]).run().exited(0);
    assert!(listed.stdout.contains(" zoe "), "{}", listed.stdout);
    let answer = host.keys("revoke").args(["alice", "--everywhere"]).run().exited(1);
    assert_eq!(answer.stdout, ZOE);
    answer
        .told("keys.refused: the keys of `stranger`: ")
        .told("has 83886080 bytes, and a file of keys no more than 4 MiB");
    assert_eq!(host.text("zoe"), "");
}

#[test]
fn files_that_are_too_large_together_keep_no_small_one_from_being_looked_after() {
    let Some((host, alice)) = with_zoe() else { return };
    let comment = [&b"#"[..], &[b' '; 4_000_000], b"\n"].concat();
    for number in 1..=9 {
        let name = format!("user{number}");
        account(&host, &name, &host.home(&name), &alice);
        fs::write(host.file(&name), &comment).unwrap();
    }
    account(&host, "last", &host.home("last"), &alice);
    let answer = host.keys("revoke").args(["alice", "--everywhere"]).run().exited(1);
    let removed = |name: &str| format!("{name}: removed: SHA256:<fingerprint> alice\n{name}: no key is left\n");
    assert_eq!(answer.stdout, removed("stranger") + &removed("zoe") + &removed("last"));
    answer
        .told("keys.refused: the keys of `user9`: ")
        .told("too many beside the files of others: look after it alone (--for)");
    host.keys("revoke").args(["alice", "--for", "user9"]).run().exited(0);
}

#[test]
fn a_file_that_is_written_to_all_the_time_keeps_no_other_account_from_being_looked_after() {
    // Who reads, or who writes, does so right after somebody else has written.
    for (tool, told) in
        [("head", "is being written to all the time"), ("ln", "somebody else writes to the file all the time")]
    {
        let Some((host, _)) = with_zoe() else { return };
        let alive = host.place.file("alive", "");
        let rival = format!(
            "echo '# more' >>{}\necho >>{}\nexec /usr/bin/{tool} \"$@\"\n",
            host.file(STRANGER).display(),
            alive.display()
        );
        host.set_tool(tool, &rival);
        let answer = host.keys("revoke").args(["alice", "--everywhere"]).run().exited(1);
        assert_eq!(answer.stdout, ZOE, "{tool}");
        answer.told("keys.refused: the keys of `stranger`: ").told(told);
        assert!(fs::read(alive).unwrap().len() > 3, "somebody has written");
        assert_eq!(host.text("zoe"), "");
        assert!(host.text(STRANGER).contains("alice\n# more\n"));
        host.assert_nothing_left(STRANGER);
    }
}

#[test]
fn a_home_that_is_full_or_read_only_keeps_no_other_account_from_being_looked_after() {
    let Some(disk) = Tmpfs::new(2 * 4096) else { return };
    let Some((host, alice)) = with_zoe() else { return };
    fs::set_permissions(disk.path(), Permissions::from_mode(0o755)).unwrap();
    let home = disk.path().join("ann");
    account(&host, "ann", &home, &alice);
    let file = home.join(".ssh/authorized_keys");
    OpenOptions::new().append(true).open(&file).unwrap().write_all(b"# hers\n").unwrap();
    let filler = disk.path().join("filler");
    fs::write(&filler, [0; 4096]).unwrap();
    let before = (fs::read(&file).unwrap(), facts(&file));
    let revoke = |more: &[&str]| host.keys("revoke").args(["alice", "--everywhere"]).args(more).run();
    // What a disk holds is not asked.
    let answer = revoke(&[]).exited(1).told("keys.refused: the keys of `ann`: cannot write in ").told("No space left");
    assert!(answer.stdout.contains(ZOE) && !answer.stdout.contains("ann: "), "{}", answer.stdout);
    assert_eq!((host.text("zoe"), fs::read(&file).unwrap(), facts(&file)), (String::new(), before.0.clone(), before.1));
    fs::remove_file(&filler).unwrap();
    host.write("zoe", format!("{}\n", alice.line));
    let remount =
        |how: &str| Command::new("mount").args(["-o", &format!("remount,{how}")]).arg(disk.path()).status().unwrap();
    assert!(remount("ro").success());
    for more in [&["--dry-run"][..], &[]] {
        let answer = revoke(more).exited(1).told("keys.refused: the keys of `ann`: cannot write in ");
        answer.told("Read-only file system");
    }
    assert_eq!((host.text("zoe"), fs::read(&file).unwrap(), facts(&file)), (String::new(), before.0, before.1));
    assert!(remount("rw").success());
    assert_eq!(revoke(&[]).exited(0).stdout, "ann: removed: SHA256:<fingerprint> alice\nann: no key is left\n");
    assert_eq!(fs::read(&file).unwrap(), b"# hers\n");
    assert_eq!(fs::read_dir(home.join(".ssh")).unwrap().count(), 1);
}
