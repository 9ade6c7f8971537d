//! Keys that are easy to overlook: of services and of accounts that nobody lists, and in files of which a configuration tells in
//! a way that only sshd understands.

use crate::fleet::sftp_daemon::{STRANGER, STRANGER_ID, Sftp, sshd_told};
use crate::host::Host;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};

const GUESS: &str = "it is not known which files sshd reads, since only root may ask it";

#[test]
fn services_whose_home_is_the_root_have_keys_where_a_file_is_there() {
    let Some(host) = Host::with(&["StrictModes no", "AuthorizedKeysFile .ssh/authorized_keys .{}/service_keys"]) else {
        return;
    };
    let alice = host.key("alice").unwrap();
    for (name, id) in [("service", 48_223), ("another", 48_224)] {
        host.account(name, id, "/");
    }
    host.account("ghost", 48_225, "/nonexistent");
    // Below the root, this is the server's directory.
    let file = host.daemon.directory().join("service_keys");
    host.keys("list").args(["--everywhere", "--key", "alice"]).run().exited(0);
    fs::write(&file, format!("# ours\n{}\n", alice.line)).unwrap();
    chown(&file, Some(48_224), Some(48_224)).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o664)).unwrap();
    assert!(host.lets_in("service", &alice.private));
    let listed = host.keys("list").args(["--everywhere", "--key", "alice"]).run().exited(0);
    assert!(listed.stdout.contains(" service ") && listed.stdout.contains(" another "), "{}", listed.stdout);
    assert!(!listed.stdout.contains("ghost"), "{}", listed.stdout);
    let answer = host.keys("revoke").arg("alice").arg("--everywhere").run().exited(0);
    assert_eq!(answer.stdout.matches("removed: ").count(), 1, "{}", answer.stdout);
    assert_eq!(fs::read_to_string(&file).unwrap(), "# ours\n");
    assert!(!host.lets_in("service", &alice.private));
    let (owner, group, mode, ..) = crate::host::facts(&file);
    assert_eq!((owner, group, mode), (48_224, 48_224, 0o664));
}

#[test]
fn accounts_that_are_not_listed_are_found_by_their_homes() {
    let Some(host) = Host::with(&["SetEnv PATH={}/bin:/usr/bin:/bin:/usr/sbin:/sbin"]) else { return };
    let (alice, homes) = (host.key("alice").unwrap(), host.daemon.directory().join("homes"));
    // As where a directory service knows accounts and lists none of them.
    let program = host.daemon.directory().join("bin/getent");
    fs::create_dir(program.parent().unwrap()).unwrap();
    fs::write(&program, "#!/bin/sh\n/usr/bin/getent \"$@\" | if [ $# = 1 ]; then grep -v '^far'; else cat; fi\n")
        .unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    let known = [("far", 48_226, "/home/far"), ("far2", 48_227, "/home/it/far2"), ("near", 48_229, "/home/near")];
    for (name, id, home) in known {
        host.account(name, id, home);
    }
    for (home, id) in [("far", 48_226), ("linked", 48_227), ("nobodys", 48_228), ("near", 48_229), ("old", STRANGER_ID)]
    {
        fs::create_dir_all(homes.join(home).join(".ssh")).unwrap();
        fs::write(homes.join(home).join(".ssh/authorized_keys"), format!("{}\n", alice.line)).unwrap();
        for path in ["", ".ssh", ".ssh/authorized_keys"] {
            chown(homes.join(home).join(path), Some(id), Some(id)).unwrap();
        }
    }
    if !host.mount(&["--bind", &homes.display().to_string(), "/home"]) {
        return;
    }
    let stray = "`/home/nobodys` has keys and belongs to no account";
    let listed = host.keys("list").args(["--everywhere", "--key", "alice"]).run().exited(0);
    let found: Vec<&str> = ["far", "far2", "near", "nobodys", "old"]
        .into_iter()
        .filter(|user| listed.stdout.contains(&format!("  {user}  ")))
        .collect();
    assert_eq!(found, ["far", "near"], "{}", listed.stdout);
    assert_eq!(listed.stderr.matches("belongs to no account").count(), 1, "{}", listed.stderr);
    listed.told(stray);
    let answer = host.keys("revoke").arg("alice").arg("--everywhere").run().exited(0);
    assert_eq!(answer.stdout.matches(": removed: ").count(), 2, "{}", answer.stdout);
    answer.told(stray);
    assert_eq!(fs::read(homes.join("far/.ssh/authorized_keys")).unwrap(), b"");
    // What belongs to such an account is not taken from it.
    host.account("lost", 48_230, "/home/linked");
    let deploy = host.keys("deploy").arg("--key").arg(&alice.private).args(["--for", "lost", "--repair"]).run();
    deploy.exited(1).told("belongs to `far2`, from whom --repair takes nothing");
}

#[test]
fn what_only_sshd_reads_rightly_makes_a_guess() {
    let Some(host) = Host::start() else { return };
    let (own, alice, place) = (host.text("root"), host.key("alice").unwrap(), host.daemon.directory());
    let (config, at) = (place.join("sshd_config"), place.display());
    let delivered = fs::read_to_string(&config).unwrap();
    fs::write(place.join("more.conf"), format!("AuthorizedKeysFile {at}/keys/%u\n")).unwrap();
    fs::create_dir(place.join("keys")).unwrap();
    for user in ["root", STRANGER] {
        fs::write(place.join("keys").join(user), format!("{own}{}\n", alice.line)).unwrap();
    }
    // The server that runs has read its configuration already.
    host.write(STRANGER, &own);
    let keys = format!("{at}/keys/%u");
    for (line, is_sure) in [
        (format!("AuthorizedKeysFile {keys}\r"), true),
        (format!("AuthorizedKeysFile \"{keys}\""), true),
        (format!("AuthorizedKeysFile = {keys}"), true),
        (format!("\tauthorizedkeysfile={keys} \t"), true),
        (format!("Include {at}/more.conf\r"), true),
        (format!("AuthorizedKeysFile '{keys}'"), false),
        (format!("Include '{at}/more.conf'"), false),
        (format!("Include {at}/mo\\re.conf"), false),
        (format!("Include {at}/\"more.conf\""), false),
        (format!("\"Include\" {at}/more.conf"), false),
        (format!("Incl\"ude\" {at}/more.conf"), false),
        (format!("= Include {at}/more.conf"), false),
        (format!("\rInclude {at}/more.conf"), false),
        (format!("AuthorizedKeysFile {keys} # ours"), false),
        (format!("Match User {STRANGER}\nInclude {at}/more.conf\nMatch All"), false),
    ] {
        fs::write(&config, format!("{line}\n{delivered}")).unwrap();
        let list = host.keys("list").args(["-l", STRANGER, "--key", "alice"]).run().exited(0);
        assert_eq!(list.stderr.contains(GUESS), !is_sure, "{line:?}: {}", list.stderr);
        assert_eq!(list.stdout.contains(STRANGER), is_sure, "{line:?}: {}", list.stdout);
        // sshd knows.
        let list = host.keys("list").args(["--for", STRANGER, "--key", "alice"]).run().exited(0);
        let is_told = list.stdout.contains(STRANGER);
        assert!(is_told || line.contains("mo\\re"), "{line:?}: {}{}", list.stdout, list.stderr);
    }
}

#[test]
fn a_server_that_is_hidden_from_the_user_makes_a_guess() {
    let Some(host) = Host::start() else { return };
    let alice = host.key("alice").unwrap();
    host.write(STRANGER, format!("{}{}\n", host.text("root"), alice.line));
    let list = || host.keys("list").args(["-l", STRANGER]).run().exited(0);
    assert!(list().stderr.is_empty());
    if !host.mount(&["-t", "proc", "-o", "hidepid=2", "proc", "/proc"]) {
        return;
    }
    list().told(GUESS);
    let revoke = host.keys("revoke").args(["-l", STRANGER]).arg(alice.of_a_colleague()).run().exited(1);
    revoke.told("keys.unproved: ").told(GUESS).told("--sudo asks sshd");
    // Root sees all.
    assert!(host.keys("list").run().exited(0).stderr.is_empty());
    // But what nobody can see.
    if !host.mount(&["-t", "tmpfs", "none", "/proc"]) {
        return;
    }
    host.write("root", format!("{}{}\n", host.text("root"), alice.line));
    let answer =
        host.keys("revoke").arg(alice.of_a_colleague()).run().exited(1).told("keys.unproved: ").told(" on the host");
    assert!(!answer.stderr.contains("only root may") && !answer.stderr.contains("--sudo"), "{}", answer.stderr);
}

#[test]
fn a_configuration_that_sshd_would_not_start_with_makes_a_guess() {
    let Some(host) = Host::start() else { return };
    let alice = host.key("alice").unwrap();
    host.write("root", format!("{}{}\n", host.text("root"), alice.line));
    let config = host.daemon.directory().join("sshd_config");
    fs::write(&config, fs::read_to_string(&config).unwrap() + "Nonsense yes\n").unwrap();
    host.keys("list").run().exited(0).told("since it does not tell (`sshd -T` fails)");
    let revoke = || host.keys("revoke").arg(alice.of_a_colleague()).run().exited(1);
    revoke().told("keys.unproved: ").told("`sshd -t` on the host says what is wrong");
}

#[test]
fn letters_before_the_option_of_a_configuration_count_too() {
    let arguments = ["-4eo", "AuthorizedKeysFile={}/keys/%u"];
    let Some(host) = sshd_told(Sftp::Absent, &["StrictModes no"], &arguments).and_then(Host::of) else { return };
    let (own, directory) = (host.text("root"), host.daemon.directory().join("keys"));
    fs::create_dir(&directory).unwrap();
    let alice = host.key("alice").unwrap();
    for user in ["root", STRANGER] {
        fs::write(directory.join(user), format!("{own}{}\n", alice.line)).unwrap();
    }
    for whose in [["-l", STRANGER], ["--for", STRANGER]] {
        let list = host.keys("list").args(whose).args(["--key", "alice"]).run().exited(0);
        assert!(list.stdout.contains(STRANGER), "{whose:?}: {}{}", list.stdout, list.stderr);
    }
}

#[test]
fn files_for_some_clients_only_are_told_and_fail_what_shuts_out() {
    let elsewhere =
        ["Match User nobody Address 192.0.2.0/24,198.51.100.1", "AuthorizedKeysFile {}/far_keys", "Match All"];
    let Some(host) = Host::with(&elsewhere) else { return };
    let (alice, own) = (host.key("alice").unwrap(), host.text("root"));
    let give = || host.write("root", format!("{own}{}\n", alice.line));
    let words = "far_keys` for some clients only (Match in sshd_config), which is not looked after";
    give();
    for whose in [&["--everywhere"][..], &[]] {
        host.keys("list").args(whose).run().exited(0).told(words);
        for more in [&["--dry-run"][..], &[]] {
            let answer = host.keys("revoke").arg(alice.public()).args(whose).args(more).run().exited(1);
            answer.told("keys.unproved: a key may be left: ").told(words).told("sshd -T -C");
        }
        assert_eq!(host.text("root"), own);
        give();
    }
    // Who is let in from everywhere is.
    host.keys("deploy").arg("--key").arg(&alice.private).run().exited(0);
}

#[test]
fn clients_for_whom_no_file_is_read_leave_no_key() {
    // Some others, and we ourselves.
    for client in ["192.0.2.0/24", "127.0.0.0/8"] {
        let Some(host) = Host::start() else { return };
        let config = host.daemon.directory().join("sshd_config");
        let last = format!("Match User {STRANGER} Address {client}\nAuthorizedKeysFile none\n");
        fs::write(&config, fs::read_to_string(&config).unwrap() + &last).unwrap();
        let alice = host.key("alice").unwrap();
        for whose in [&["--everywhere"][..], &["--for", STRANGER, "--force"]] {
            host.write(STRANGER, format!("# hers\n{}\n", alice.line));
            let list = host.keys("list").arg("--everywhere").run().exited(0);
            assert!(list.stderr.is_empty() && list.stdout.contains(STRANGER), "{}{}", list.stdout, list.stderr);
            host.keys("revoke").arg(alice.of_a_colleague()).args(whose).run().exited(0);
            assert_eq!(host.text(STRANGER), "# hers\n");
        }
    }
}

#[test]
fn a_match_for_accounts_is_asked_of_sshd_and_a_command_is_told() {
    let options = ["Match User nobody Group nogroup", "AuthorizedKeysFile {}/far_keys", "Match user root"];
    let command = ["AuthorizedKeysCommandUser root", "AuthorizedKeysCommand /bin/echo", "Match all"];
    let Some(host) = Host::with(&[&options[..], &command].concat()) else { return };
    let alice = host.key("alice").unwrap();
    host.write("root", format!("{}{}\n", host.text("root"), alice.line));
    let words = "sshd may let in keys that `/bin/echo` gives it (AuthorizedKeysCommand)";
    host.keys("list").arg("--everywhere").run().exited(0).told(words);
    host.keys("revoke").arg(alice.public()).arg("--everywhere").run().exited(0).told(words);
}

#[test]
fn of_many_files_for_some_clients_a_few_are_told() {
    let elsewhere: Vec<String> = (1..=5)
        .flat_map(|number| [format!("Match Address 192.0.2.{number}"), format!("AuthorizedKeysFile {{}}/far{number}")])
        .chain(["Match All".into()])
        .collect();
    let elsewhere: Vec<&str> = elsewhere.iter().map(String::as_str).collect();
    let Some(host) = Host::with(&elsewhere) else { return };
    let answer = host.keys("list").run().exited(0).told("/far3` for some clients only").told("sshd reads `2 more` for");
    assert!(!answer.stderr.contains("far4"), "{}", answer.stderr);
}

#[test]
fn a_name_with_a_blank_is_a_guess_for_root_too() {
    let options = ["AuthorizedKeysFile .ssh/authorized_keys \".ssh/more keys\""];
    let Some(host) = Host::with(&options) else { return };
    let alice = host.key("alice").unwrap();
    // Nobody here can try that key.
    fs::remove_file(&alice.private).unwrap();
    host.write(STRANGER, format!("{}\n", alice.line));
    let answer = host.keys("revoke").arg("alice").arg("--everywhere").run().exited(1);
    answer.told("keys.").told("since the name of one has a blank in it").told("look into the file");
}

#[test]
fn a_host_that_runs_no_script_is_told_of() {
    let Some(host) = Host::with(&["ForceCommand /bin/false"]) else { return };
    let alice = host.key("alice").unwrap();
    for verb in ["deploy", "list"] {
        let keys = host.keys(verb);
        let keys = if verb == "deploy" { keys.arg("--key").arg(&alice.private) } else { keys };
        keys.run()
            .exited(1)
            .told("session.refused: a script that bugle runs on the host failed")
            .told("check the login shell");
    }
}

#[test]
fn a_script_that_is_killed_is_no_fault_of_the_login_shell() {
    let Some(host) = Host::with(&["ForceCommand kill -9 $$"]) else { return };
    let answer = host.keys("list").run().exited(1);
    let answer = answer.told("session.refused: a script that bugle runs on the host was ended by signal KILL");
    assert!(!answer.stderr.contains("login shell"), "{}", answer.stderr);
}
