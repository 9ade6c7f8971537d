//! Accounts that log in to another shell than that of POSIX.

use crate::bugle::Bugle;
use crate::fleet::openssh::find;
use crate::host::Host;

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
