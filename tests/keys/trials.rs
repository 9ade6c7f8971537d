//! What is on trial on a host, and what becomes of it when all goes wrong.

use crate::bugle::PATIENCE;
use crate::fleet::Cut;
use crate::fleet::relay::{Cable, Direction, Fault};
use crate::fleet::sftp_daemon::{STRANGER, STRANGER_ID};
use crate::host::{Host, facts};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::time::{Duration, Instant};

/// Waits for what has to happen by itself.
pub fn until(what: &str, is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "{what}");
        std::thread::yield_now();
    }
}

/// What proves a key takes its time: what happens meanwhile happens during the trial.
fn with_a_slow_proof(host: Host) -> Host {
    host.behind([Cable::default(), Cable::delayed(Duration::from_millis(150)), Cable::default()])
}

/// What proves a key never ends.
fn with_a_frozen_proof(host: Host) -> Host {
    host.behind([Cable::default(), Cable::failing(Direction::ToClient, 0, Fault::Cut(Cut::Freeze)), Cable::default()])
}

const SHUTS_OUT: [&str; 2] = ["--options", "from=\"192.0.2.0/24\""];

fn append(host: &Host, text: &str) {
    OpenOptions::new().append(true).open(host.file("root")).unwrap().write_all(text.as_bytes()).unwrap();
}

#[test]
fn what_others_write_during_a_trial_that_fails_stays_and_so_does_the_way_in() {
    let Some(host) = Host::start().map(with_a_slow_proof) else { return };
    let own = host.text("root");
    host.write("root", format!("# first\r\n{own}# last"));
    let running = host.keys("deploy").arg("--key").arg(host.daemon.key()).args(SHUTS_OUT).start();
    until("the options are on trial", || host.text("root").contains("192.0.2.0"));
    append(&host, "\n# rival\n");
    running.wait().exited(1).told("keys.rolled_back");
    assert_eq!(host.text("root"), format!("# first\r\n{own}# last\n# rival\n"));
    assert_eq!(facts(&host.file("root")).2, 0o600);
    assert!(host.lets_in("root", &host.daemon.key()));
    host.assert_nothing_left("root");
}

#[test]
fn the_file_that_another_put_there_during_a_trial_keeps_what_is_his() {
    let Some(host) = Host::start().map(with_a_slow_proof) else { return };
    let (own, bob) = (host.text("root"), host.key("bob").unwrap());
    host.write("root", format!("{own}# mine\n"));
    let running = host.keys("deploy").arg("--key").arg(host.daemon.key()).args(SHUTS_OUT).start();
    until("the options are on trial", || host.text("root").contains("192.0.2.0"));
    // As another bugle, or an editor, does it.
    let theirs = host.text("root").replace("# mine\n", &format!("{}\n# theirs\n", bob.line));
    let beside = host.home("root").join(".ssh/beside");
    fs::write(&beside, theirs).unwrap();
    fs::rename(&beside, host.file("root")).unwrap();
    running.wait().exited(1).told("keys.rolled_back");
    assert_eq!(host.text("root"), format!("{own}{}\n# theirs\n", bob.line));
    assert!(host.lets_in("root", &host.daemon.key()) && host.lets_in("root", &bob.private));
    host.assert_nothing_left("root");
}

#[test]
fn the_line_that_is_on_trial_becomes_what_it_was_whoever_edits_it() {
    for (from, to, told) in [
        (" user", " her laptop", "keys.rolled_back: "),
        (
            "192.0.2.0/24",
            "192.0.2.0/25",
            "somebody else has changed or removed that line: his file is <daemon>/home/.ssh/",
        ),
    ] {
        let Some(host) = Host::start().map(with_a_slow_proof) else { return };
        let own = host.text("root");
        let running = host.keys("deploy").arg("--key").arg(host.daemon.key()).args(SHUTS_OUT).start();
        until("the options are on trial", || host.text("root").contains("192.0.2.0"));
        let theirs = host.text("root").replace(from, to);
        fs::write(host.file("root"), &theirs).unwrap();
        let answer = running.wait().exited(1).told(told).told("; what this run changed is taken out again");
        assert_eq!(host.text("root"), own.replace(from, to));
        assert!(host.lets_in("root", &host.daemon.key()));
        match answer.stderr.split("his file is <daemon>/").nth(1) {
            None => host.assert_nothing_left("root"),
            Some(named) => {
                let path = named.split_whitespace().next().unwrap();
                assert_eq!(fs::read_to_string(host.daemon.directory().join(path)).unwrap(), theirs);
            }
        }
    }
}

#[test]
fn who_removes_the_old_file_during_a_trial_does_not_keep_it_from_being_undone() {
    let Some(host) = Host::start().map(with_a_slow_proof) else { return };
    let own = host.text("root");
    let directory = host.home("root").join(".ssh");
    let running = host.keys("deploy").arg("--key").arg(host.daemon.key()).args(SHUTS_OUT).start();
    until("the options are on trial", || host.text("root").contains("192.0.2.0"));
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        if entry.file_name() != "authorized_keys" {
            fs::remove_dir_all(entry.path()).unwrap();
        }
    }
    running.wait().exited(1).told("keys.rolled_back: ").told("; the old file stands again");
    assert_eq!((host.text("root"), facts(&host.file("root")).2), (own, 0o600));
    assert!(host.lets_in("root", &host.daemon.key()));
    host.assert_nothing_left("root");
}

#[test]
fn what_is_no_text_is_kept_beside_and_the_way_in_stays() {
    let Some(host) = Host::start().map(with_a_slow_proof) else { return };
    let own = host.text("root");
    let running = host.keys("deploy").arg("--key").arg(host.daemon.key()).args(SHUTS_OUT).start();
    until("the options are on trial", || host.text("root").contains("192.0.2.0"));
    append(&host, "\0rival\n");
    let answer = running.wait().exited(1).told("what somebody else has written meanwhile is in ");
    assert_eq!(host.text("root"), own);
    let path = answer.stderr.split("meanwhile is in <daemon>/").nth(1).unwrap().split_whitespace().next().unwrap();
    let kept = fs::read(host.daemon.directory().join(path)).unwrap();
    assert!(kept.ends_with(b"\0rival\n"), "{path}");
    assert!(host.lets_in("root", &host.daemon.key()));
}

#[test]
fn a_controller_that_is_killed_during_a_rivals_edit_leaves_that_and_the_way_in() {
    let Some(host) = Host::start().map(with_a_frozen_proof) else { return };
    let own = host.text("root");
    let running = host.keys("deploy").arg("--key").arg(host.daemon.key()).args(SHUTS_OUT).start();
    until("the options are on trial", || host.text("root").contains("192.0.2.0"));
    append(&host, "# rival\n");
    running.signal(Signal::KILL);
    until("the host takes our edit back", || host.text("root") == format!("{own}# rival\n"));
    until("the old file is gone", || fs::read_dir(host.home("root").join(".ssh")).unwrap().count() == 1);
}

#[test]
fn a_controller_that_is_silent_is_not_waited_for() {
    let Some(host) = Host::start().map(with_a_frozen_proof) else { return };
    let before = (host.read("root"), facts(&host.file("root")));
    let deploy = host.keys("deploy").arg("--key").arg(host.daemon.key()).args(SHUTS_OUT);
    let running = deploy.args(["--connect-timeout", "1s", "--retries", "0"]).start();
    until("the options are on trial", || host.text("root").contains("192.0.2.0"));
    running.signal(Signal::STOP);
    until("the host puts the old file back", || host.read("root") == before.0);
    assert_eq!(facts(&host.file("root")), before.1);
    running.signal(Signal::CONT);
    assert_ne!(running.wait().code(), 0);
    assert!(host.lets_in("root", &host.daemon.key()));
}

#[test]
fn a_proof_that_takes_longer_than_silence_may_does_not_end_the_trial() {
    let Some(host) = Host::start() else { return };
    // Half a second, a second, and half as much again are waited between the tries.
    let cut = Cable::failing(Direction::ToClient, 0, Fault::Cut(Cut::Close));
    let slow = Cable::delayed(Duration::from_millis(50));
    let host = host.behind([Cable::default(), cut, cut, cut, slow]);
    let alice = host.key("alice").unwrap();
    let deploy = host.keys("deploy").arg("--key").arg(&alice.private).args(["--connect-timeout", "1s"]);
    deploy.run().exited(0).said("added: SHA256:<fingerprint> alice (logs in)\n");
}

#[test]
fn what_comes_through_an_open_descriptor_is_not_lost() {
    let Some(host) = Host::start().map(with_a_slow_proof) else { return };
    let (own, alice) = (host.text("root"), host.key("alice").unwrap());
    let mut open = OpenOptions::new().append(true).open(host.file("root")).unwrap();
    let running = host.keys("deploy").arg("--key").arg(&alice.private).start();
    until("the key is on trial", || host.text("root").contains(&alice.line));
    open.write_all(b"# rival\n").unwrap();
    running.wait().exited(0).said("added: SHA256:<fingerprint> alice (logs in)\n");
    assert_eq!(host.text("root"), format!("{own}# rival\n{}\n", alice.line));
    host.assert_nothing_left("root");
}

#[test]
fn what_comes_between_our_last_look_and_the_rename_is_not_lost() {
    let Some(host) = Host::start() else { return };
    let (own, alice) = (host.text("root"), host.key("alice").unwrap());
    let place = host.daemon.directory().display().to_string();
    // Who renames is held up by a rival, once.
    host.set_tool(
        "mv",
        &format!(
            "[ -e {place}/done ] || echo '# rival' >>{place}/home/.ssh/authorized_keys\n: >{place}/done\nexec /bin/mv \"$@\"\n"
        ),
    );
    host.keys("deploy").arg("--key").arg(&alice.private).run().exited(0);
    assert!(host.daemon.directory().join("done").exists());
    assert_eq!(host.text("root"), format!("{own}# rival\n{}\n", alice.line));
    host.assert_nothing_left("root");
}

#[test]
fn a_second_run_begins_when_the_first_is_over() {
    let Some(host) = Host::start().map(with_a_slow_proof) else { return };
    let (own, alice, bob) = (host.text("root"), host.key("alice").unwrap(), host.key("bob").unwrap());
    let first = host.keys("deploy").arg("--key").arg(&alice.private).start();
    until("the key is on trial", || host.text("root").contains(&alice.line));
    let second = host.keys("deploy").arg("--key").arg(&bob.private).start();
    first.wait().exited(0).said("added: SHA256:<fingerprint> alice (logs in)\n");
    second.wait().exited(0).said("added: SHA256:<fingerprint> bob (logs in)\n");
    assert_eq!(host.text("root"), format!("{own}{}\n{}\n", alice.line, bob.line));
    host.assert_nothing_left("root");
}

#[test]
fn what_another_run_has_on_trial_is_no_way_in() {
    let Some(host) = Host::start() else { return };
    let (own, alice) = (host.text("root"), host.key("alice").unwrap());
    let room = host.home("root").join(".ssh/.bugle-other.1");
    fs::create_dir(&room).unwrap();
    host.write("root", format!("{own}{}\n", alice.line));
    let before = host.place.file("before", &own);
    // Who waits for the other run sees it take its key back.
    let ends = format!(
        "[ ! -d {room} ] || {{ cat {before} >{file}; rmdir {room}; }}\nexec /bin/sleep \"$@\"\n",
        room = room.display(),
        before = before.display(),
        file = host.file("root").display(),
    );
    host.set_tool("sleep", &ends);
    let answer = host.keys("deploy").arg("--key").arg(&alice.private).run().exited(0);
    answer.said("added: SHA256:<fingerprint> alice (logs in)\n");
    assert_eq!(host.text("root"), format!("{own}{}\n", alice.line));
    host.assert_nothing_left("root");
}

#[test]
fn what_another_run_has_on_trial_in_another_file_is_no_way_in() {
    let Some(host) = Host::with(&["StrictModes no", "AuthorizedKeysFile {}/keys/%u .ssh/authorized_keys"]) else {
        return;
    };
    let (own, alice) = (host.text("root"), host.key("alice").unwrap());
    let keys = host.daemon.directory().join("keys");
    fs::create_dir(&keys).unwrap();
    let (file, room) = (keys.join("root"), keys.join(".bugle-other.1"));
    fs::write(&file, format!("{}\n", alice.line)).unwrap();
    let (file, room) = (file.display(), room.display());
    // The other run has it on trial as soon as we write, and takes it back when we wait.
    host.set_tool("mkdir", &format!("[ ! -s {file} ] || [ -d {room} ] || /bin/mkdir {room}\nexec /bin/mkdir \"$@\"\n"));
    host.set_tool("sleep", &format!("[ ! -d {room} ] || {{ : >{file}; rmdir {room}; }}\nexec /bin/sleep \"$@\"\n"));
    let answer = host.keys("revoke").arg("user").arg("-I").arg(&alice.private).run().exited(1);
    answer.told("keys.refused: the keys of `root`: without it, this run would have no way in");
    assert_eq!(host.text("root"), own);
    assert!(host.lets_in("root", &host.daemon.key()));
    host.assert_nothing_left("root");
}

#[test]
fn where_only_a_directory_is_mended_others_wait_too() {
    let Some(host) = Host::start().map(with_a_slow_proof) else { return };
    let alice = host.key("alice").unwrap();
    host.write(STRANGER, format!("{}\n", alice.line));
    let directory = host.home(STRANGER).join(".ssh");
    fs::set_permissions(&directory, Permissions::from_mode(0o777)).unwrap();
    let before = facts(&host.file(STRANGER));
    let running = host.keys("deploy").arg("--key").arg(&alice.private).args(["--for", STRANGER, "--repair"]).start();
    until("the directory is mended on trial", || facts(&directory).2 == 0o755);
    let beside = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(beside.filter(|name| name.starts_with(".bugle-")).count(), 1);
    running.wait().exited(0);
    assert_eq!((facts(&host.file(STRANGER)), facts(&directory).2), (before, 0o755));
    host.assert_nothing_left(STRANGER);
}

#[test]
fn what_a_run_left_that_was_cut_off_is_told_and_holds_nobody_up() {
    let Some(host) = Host::start() else { return };
    let alice = host.key("alice").unwrap();
    let room = host.home("root").join(".ssh/.bugle-other.1");
    fs::create_dir_all(room.join("old")).unwrap();
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(600);
    fs::File::open(&room).unwrap().set_modified(long_ago).unwrap();
    let answer = host.keys("deploy").arg("--key").arg(&alice.private).run().exited(0);
    let told = answer.stderr.contains("a run was cut off while it had `<daemon>/home/.ssh/authorized_keys` on trial");
    assert!(told && answer.stderr.contains("`rm -r <daemon>/home/.ssh/.bugle-other.1`"), "{}", answer.stderr);
    assert!(host.text("root").contains(&alice.line));
}

#[test]
fn what_a_shell_did_that_is_killed_is_taken_back_by_another_one() {
    let Some(host) = Host::start().map(with_a_slow_proof) else { return };
    let (own, alice) = (host.text("root"), host.key("alice").unwrap());
    let shells = host.daemon.directory().join("shells");
    host.set_login_shell(&format!("echo $$ >>{}\nexec /bin/sh \"$@\"\n", shells.display()));
    let running = host.keys("deploy").arg("--key").arg(&alice.private).start();
    until("the key is on trial", || host.text("root").contains(&alice.line));
    let last = fs::read_to_string(shells).unwrap().lines().next_back().unwrap().parse().unwrap();
    kill_process(Pid::from_raw(last).unwrap(), Signal::KILL).unwrap();
    running
        .wait()
        .exited(1)
        .told("keys.refused: the keys of `root`: the script was ended by signal KILL; the old file stands again");
    assert_eq!(host.text("root"), own);
    host.assert_nothing_left("root");
}

#[test]
fn what_a_shell_mended_that_is_killed_is_taken_back_too() {
    for is_there in [false, true] {
        let Some(host) = Host::start().map(with_a_slow_proof) else { return };
        let alice = host.key("alice").unwrap();
        let old = if is_there { format!("{}\n", alice.line) } else { "# hers\n".into() };
        host.write(STRANGER, &old);
        let directory = host.home(STRANGER).join(".ssh");
        fs::set_permissions(&directory, Permissions::from_mode(0o777)).unwrap();
        let shells = host.daemon.directory().join("shells");
        host.set_login_shell(&format!("echo $$ >>{}\nexec /bin/sh \"$@\"\n", shells.display()));
        let deploy = host.keys("deploy").arg("--key").arg(&alice.private).args(["--for", STRANGER, "--repair"]);
        let running = deploy.start();
        until("the key is on trial", || facts(&directory).2 == 0o755 && host.text(STRANGER).contains(&alice.line));
        let last = fs::read_to_string(shells).unwrap().lines().next_back().unwrap().parse().unwrap();
        kill_process(Pid::from_raw(last).unwrap(), Signal::KILL).unwrap();
        running.wait().exited(1).told("the script was ended by signal KILL; the old file stands again");
        assert_eq!((host.text(STRANGER), facts(&directory).2), (old, 0o777));
        host.assert_nothing_left(STRANGER);
    }
}

#[test]
fn what_another_run_puts_over_a_new_file_is_begun_again() {
    let Some(host) = Host::start().map(with_a_slow_proof) else { return };
    let (own, alice, bob) = (host.text("root"), host.key("alice").unwrap(), host.key("bob").unwrap());
    // Nobody here can try that key.
    fs::remove_file(&alice.private).unwrap();
    host.write("root", format!("{own}{}\n{}\n", alice.line, bob.line));
    let running = host.keys("revoke").arg("alice").start();
    until("the key is gone for a trial", || !host.text("root").contains(&alice.line));
    // As one does that has read the file before us: it knows of its own line only.
    let beside = host.home("root").join(".ssh/beside");
    fs::write(&beside, format!("{own}{}\n", alice.line)).unwrap();
    fs::rename(&beside, host.file("root")).unwrap();
    running.wait().exited(0);
    assert_eq!(host.text("root"), own);
    host.assert_nothing_left("root");
}

#[test]
fn what_another_account_owns_is_not_taken_from_it() {
    let Some(host) = Host::start() else { return };
    let alice = host.key("alice").unwrap();
    let other = 48_240;
    host.account("other", other, "other");
    for path in [host.file(STRANGER), host.file(STRANGER).parent().unwrap().to_path_buf()] {
        host.write(STRANGER, "# secret\n");
        chown(&path, Some(other), Some(other)).unwrap();
        for more in [&["--dry-run"][..], &[]] {
            let deploy = host.keys("deploy").arg("--key").arg(&alice.private).args(["--for", STRANGER, "--repair"]);
            deploy.args(more).run().exited(1).told("belongs to `other`, from whom --repair takes nothing");
        }
        assert_eq!((facts(&path).0, host.text(STRANGER).as_str()), (other, "# secret\n"));
    }
}

#[test]
fn what_keeps_a_directory_from_being_made_is_said() {
    let Some(host) = Host::start() else { return };
    let alice = host.key("alice").unwrap();
    fs::write(host.home(STRANGER).join(".ssh"), "no directory").unwrap();
    let answer = host.keys("deploy").arg("--key").arg(&alice.private).args(["--for", STRANGER]).run().exited(1);
    answer.told("keys.refused: the keys of `stranger`: ").told("File exists");
    assert_eq!(fs::read(host.home(STRANGER).join(".ssh")).unwrap(), b"no directory");
}

#[test]
fn mode_and_owner_are_kept_or_the_file_is() {
    let Some(host) = Host::start() else { return };
    let (own, alice) = (host.read("root"), host.key("alice").unwrap());
    host.write(STRANGER, &own);
    fs::set_permissions(host.file(STRANGER), Permissions::from_mode(0o700)).unwrap();
    let deploy = || host.keys("deploy").arg("--key").arg(&alice.private).args(["-l", STRANGER]).run();
    deploy().exited(0);
    let (owner, group, mode, ..) = facts(&host.file(STRANGER));
    assert_eq!((owner, group, mode), (STRANGER_ID, STRANGER_ID, 0o700));
    host.write(STRANGER, &own);
    chown(host.file(STRANGER), Some(0), Some(0)).unwrap();
    fs::set_permissions(host.file(STRANGER), Permissions::from_mode(0o644)).unwrap();
    let before = facts(&host.file(STRANGER));
    deploy().exited(1).told("keys.refused: ").told("it belongs to user 0, which only --sudo can keep");
    assert_eq!((host.read(STRANGER), facts(&host.file(STRANGER))), (own, before));
    // A group that she is not in is one that she cannot give.
    chown(host.file(STRANGER), Some(STRANGER_ID), Some(0)).unwrap();
    deploy().exited(1).told("Operation not permitted").told("hint: --sudo looks after it as root");
    // Root keeps whatever owner and group a file has.
    for (owner, group) in [(0, STRANGER_ID), (STRANGER_ID, 0)] {
        host.write(STRANGER, "# hers\n");
        chown(host.file(STRANGER), Some(owner), Some(group)).unwrap();
        fs::set_permissions(host.file(STRANGER), Permissions::from_mode(0o644)).unwrap();
        host.keys("deploy").arg("--key").arg(&alice.private).args(["--for", STRANGER]).run().exited(0);
        let (found_owner, found_group, mode, ..) = facts(&host.file(STRANGER));
        assert_eq!((found_owner, found_group, mode), (owner, group, 0o644));
        host.assert_nothing_left(STRANGER);
    }
    // Whatever sshd thinks of them, where a key goes.
    host.write(STRANGER, format!("# hers\n{}\n", alice.line));
    chown(host.file(STRANGER), Some(48_230), Some(48_231)).unwrap();
    fs::set_permissions(host.file(STRANGER), Permissions::from_mode(0o664)).unwrap();
    host.keys("revoke").args(["alice", "--for", STRANGER, "--force"]).run().exited(0);
    let (owner, group, mode, ..) = facts(&host.file(STRANGER));
    assert_eq!((host.text(STRANGER).as_str(), owner, group, mode), ("# hers\n", 48_230, 48_231, 0o664));
}

#[test]
fn a_file_of_which_only_the_mode_is_mended_keeps_its_time() {
    let Some(host) = Host::start() else { return };
    let alice = host.key("alice").unwrap();
    host.write(STRANGER, format!("{}\n", alice.line));
    fs::set_permissions(host.file(STRANGER), Permissions::from_mode(0o646)).unwrap();
    let before = facts(&host.file(STRANGER));
    let deploy = host.keys("deploy").arg("--key").arg(&alice.private).args(["--for", STRANGER, "--repair"]).run();
    let answer = deploy.exited(0);
    assert!(answer.stdout.starts_with("stranger: repaired: chmod go-w <daemon>/stranger/.ssh/authorized_keys\n"));
    let after = facts(&host.file(STRANGER));
    assert_eq!((after.2, after.3, after.4), (0o644, before.3, before.4));
    host.assert_nothing_left(STRANGER);
}

#[test]
fn a_login_decides_whether_a_group_may_write() {
    let Some(host) = Host::start() else { return };
    let alice = host.key("alice").unwrap();
    let directory = host.home(STRANGER).join(".ssh");
    host.write(STRANGER, format!("{}\n", alice.line));
    fs::set_permissions(&directory, Permissions::from_mode(0o770)).unwrap();
    let is_let_in = host.lets_in(STRANGER, &alice.private);
    host.write(STRANGER, "# hers\n");
    fs::set_permissions(&directory, Permissions::from_mode(0o770)).unwrap();
    let deploy = |key: &std::path::Path| host.keys("deploy").arg("--key").arg(key).args(["--for", STRANGER]).run();
    if is_let_in {
        deploy(&alice.private).exited(0).said("stranger: added: SHA256:<fingerprint> alice (logs in)\n");
    } else {
        let answer = deploy(&alice.private).exited(1).told("keys.rolled_back: ");
        answer.told("chmod go-w <daemon>/stranger/.ssh").told("--repair does it");
        assert_eq!(host.text(STRANGER), "# hers\n");
    }
    let unproved = deploy(&host.key("bob").unwrap().of_a_colleague()).exited(0);
    unproved.told("sshd may ignore the keys (StrictModes) until this is done: chmod go-w <daemon>/stranger/.ssh");
}
