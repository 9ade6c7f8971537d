//! Accounts that log in to another shell than that of POSIX.

use crate::bugle::Bugle;
use crate::fleet::openssh::find;
use crate::host::Host;
use crate::trials::until;
use std::fs;

#[test]
fn whatever_shell_an_account_logs_in_to_its_keys_are_looked_after() {
    for shell in ["csh", "tcsh", "fish", "zsh"] {
        let Some(program) = find(shell) else { continue };
        let Some(host) = Host::start() else { return };
        host.set_shell(&program);
        let run = |words: &[&str]| Bugle::on_daemon(&host.daemon, ["host"]).at(&host.place).args(words).run();
        run(&["run", "host", "--env", "A=it's! a\\b", "--chdir", "/", "printf '%s %s\\n' \"$A\" \"$(pwd)\""]).is(
            0,
            "it's! a\\b /\n",
            "",
        );
        let key = host.key("alice").unwrap();
        let mut more = vec![Vec::new()];
        if find("sudo").is_some() {
            run(&["run", "host", "--sudo", "--env", "A=it's!", "echo \"$A\"; exit 3"]).is(3, "it's!\n", "");
            more.push(vec!["--sudo"]);
        }
        for more in more {
            let answer = host.keys("deploy").arg("--key").arg(key.public()).args(&more).run().exited(0);
            answer.said("added: SHA256:<fingerprint> alice (logs in)\n");
            host.keys("revoke").arg("alice").args(&more).run().exited(0).said("removed: SHA256:<fingerprint> alice\n");
        }
    }
}

#[test]
fn what_runs_as_another_user_is_ended_whatever_shell_that_one_logs_in_to() {
    std::thread::scope(|scope| {
        for shell in ["sh", "csh", "tcsh", "fish"] {
            scope.spawn(move || is_ended_in(shell));
        }
    });
}

fn is_ended_in(shell: &str) {
    let (Some(program), Some(_)) = (find(shell), find("su")) else { return };
    let Some(host) = Host::start() else { return };
    host.set_shell(&program);
    let vars = host.place.file("vars.ini", "host ansible_become_method=su ansible_become_user=root\n");
    let marked = host.daemon.directory().join("started");
    let command = format!("echo $$ >{}; (sleep 1000; true); true", marked.display());
    let call = Bugle::on_daemon(&host.daemon, ["host"]).at(&host.place).arg("-i").arg(vars);
    let answer = call.args(["run", "host", "--sudo", "--timeout", "2s", &command]).run();
    assert_ne!(answer.code(), 0, "{shell}");
    answer.told("; its process was ended");
    let process: u32 = fs::read_to_string(&marked).unwrap().trim().parse().unwrap();
    // Who is not yet buried has no words any more.
    let is_gone = || fs::read(format!("/proc/{process}/cmdline")).map_or(true, |words| words.is_empty());
    until(&format!("{shell} is ended"), is_gone);
}
