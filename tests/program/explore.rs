use crate::bugle::*;
use crate::fleet::*;
use rustix::process::Signal;

fn show(what: &str, answer: Answer) {
    let out: String = answer.stdout.chars().take(3000).collect();
    eprintln!("===== {what} -> {}\n--- out\n{}--- err\n{}", answer.code(), out, answer.stderr);
}

#[test]
fn explore() {
    let fleet = Fleet::start(3);
    let place = Place::new();
    let f = || Bugle::on(&fleet).at(&place);
    show("noargs", Bugle::alone().run());
    show(
        "wrong yaml",
        Bugle::alone()
            .at(&place)
            .args(["-F", "none", "-i"])
            .arg(place.file("inv.yaml", "all:\n  hosts:\n    web01:\n   web02:\n"))
            .args(["run", "all", "true"])
            .run(),
    );
    show(
        "wrong key",
        Bugle::alone()
            .at(&place)
            .args(["-F", "none", "-i"])
            .arg(place.file("inv2.yaml", "all:\n  hsots:\n    web01:\n"))
            .args(["run", "all", "true"])
            .run(),
    );
    show(
        "wrong ini",
        Bugle::alone()
            .at(&place)
            .args(["-F", "none", "-i"])
            .arg(place.file("inv.ini", "[web\nweb01\n"))
            .args(["run", "all", "true"])
            .run(),
    );
    show(
        "wrong ini2",
        Bugle::alone()
            .at(&place)
            .args(["-F", "none", "-i"])
            .arg(place.file("inv3.ini", "[web:chidren]\nweb01\n"))
            .args(["run", "all", "true"])
            .run(),
    );
    show(
        "wrong sshconfig",
        Bugle::alone()
            .at(&place)
            .args(["-i", "a,", "-F"])
            .arg(place.file("conf", "Host *\n  Prot 22\n"))
            .args(["run", "all", "true"])
            .run(),
    );
    show(
        "wrong sshconfig value",
        Bugle::alone()
            .at(&place)
            .args(["-i", "a,", "-F"])
            .arg(place.file("conf2", "Host *\n  Port abc\n"))
            .args(["run", "all", "true"])
            .run(),
    );
    show(
        "writable sshconfig",
        Bugle::alone()
            .at(&place)
            .args(["-i", "a,", "-F"])
            .arg(place.file_with_mode("conf3", "Host *\n", 0o666))
            .args(["run", "all", "true"])
            .run(),
    );
    show("writable user config", {
        place.file_with_mode(".ssh/config", "Host x\n", 0o664);
        Bugle::alone().at(&place).args(["-i", "a,"]).args(["run", "all", "true"]).run()
    });
    std::fs::remove_file(place.path().join(".ssh/config")).unwrap();
    show(
        "bad var",
        Bugle::alone()
            .at(&place)
            .args(["-F", "none", "-i"])
            .arg(place.file("inv4.ini", "web01 ansible_port=abc\n"))
            .args(["run", "all", "true"])
            .run(),
    );
    show(
        "bad user var",
        Bugle::alone()
            .at(&place)
            .args(["-F", "none", "-i"])
            .arg(place.file("inv5.ini", "web01 ansible_user='a;b'\n"))
            .args(["run", "all", "true"])
            .run(),
    );
    show(
        "bad host var",
        Bugle::alone()
            .at(&place)
            .args(["-F", "none", "-i"])
            .arg(place.file("inv6.ini", "web01 ansible_host='$(touch x)'\n"))
            .args(["run", "all", "true"])
            .run(),
    );
    show(
        "bad name in inv",
        Bugle::alone()
            .at(&place)
            .args(["-F", "none", "-i"])
            .arg(place.file("inv7.yaml", "all:\n  hosts:\n    'a;touch x':\n"))
            .args(["run", "all", "true"])
            .run(),
    );
    show(
        "pwd key mode",
        f().args(["-I"]).arg(place.file_with_mode("key", "x", 0o644)).args(["run", "all", "true"]).run(),
    );
    show("nonkey", f().args(["-I"]).arg(place.file_with_mode("key2", "x", 0o600)).args(["run", "all", "true"]).run());
    let known = place.file_with_mode("known", std::fs::read(fleet.known_hosts()).unwrap(), 0o666);
    show(
        "known hosts mode",
        f().args(["-o", &format!("UserKnownHostsFile={}", known.display()), "run", "all", "true"]).run(),
    );
    let known = place.file_with_mode("known2", "garbage here\n", 0o600);
    show(
        "known hosts garbage",
        f().args(["-o", &format!("UserKnownHostsFile={}", known.display()), "run", "all", "true"]).run(),
    );
    show("config fanout", {
        place.file(".config/bugle/config.yaml", "fanout: 1\noutput: none\nquiet: true\n");
        f().args(["run", "all", "echo x"]).run()
    });
    show("config unknown", {
        place.file(".config/bugle/config.yaml", "fanout: 1\noutptu: none\n");
        f().args(["run", "all", "echo x"]).run()
    });
    show("config wrong value", {
        place.file(".config/bugle/config.yaml", "fanout: none\n");
        f().args(["run", "all", "echo x"]).run()
    });
    show("config wrong yaml", {
        place.file(".config/bugle/config.yaml", "fanout: [\n");
        f().args(["run", "all", "echo x"]).run()
    });
    show("config map", {
        place.file(".config/bugle/config.yaml", "fanout: {a: b}\n");
        f().args(["run", "all", "echo x"]).run()
    });
    show("config writable", {
        place.file_with_mode(".config/bugle/config.yaml", "fanout: 1\n", 0o666);
        f().args(["run", "all", "echo x"]).run()
    });
    std::fs::remove_file(place.path().join(".config/bugle/config.yaml")).unwrap();
    show("config missing", f().args(["--config", "nope.yaml", "run", "all", "echo x"]).run());
    show(
        "config list",
        f().arg("--config")
            .arg(place.file("c.yaml", "limit: [web01, web]\noption:\n - ConnectTimeout=3\n - SetEnv=A=b\nenv: [Q=1]\n"))
            .args(["run", "all", "echo $A $Q"])
            .run(),
    );
    show("env", f().env("BUGLE_OUTPUT", "none").env("BUGLE_QUIET", "1").args(["run", "all", "echo $A $Q"]).run());
    show("env wrong", f().env("BUGLE_FANOUT", "none").args(["run", "all", "echo $A $Q"]).run());
    show(
        "env inventory",
        Bugle::alone()
            .env("BUGLE_INVENTORY", fleet.inventory())
            .env("BUGLE_SSH_CONFIG", fleet.ssh_config())
            .args(["run", "all", "hostname"])
            .run(),
    );
    show("json -, stream", f().args(["run", "web", "--json", "-", "echo x"]).run());
    show("json - raw", f().args(["run", "web01", "--json", "-", "echo x"]).run());
    show("stdin", f().stdin("one\ntwo\n").args(["run", "all", "--stdin", "cat"]).run());
    show("no stdin", f().stdin("one\ntwo\n").args(["run", "all", "cat"]).run());
    let script = place.file("job.sh", "#!/bin/sh -e\necho \"$0|$1|$2|$#\" | sed 's,.*/,,'\nexit 3\n");
    show("script", f().args(["script", "all"]).arg(&script).args(["a b", "--x"]).run());
    let script = place.file("job.py", "#!/usr/bin/env python3\nimport sys\nprint(sys.argv[1:])\n");
    show("script py", f().args(["script", "web01"]).arg(&script).args(["a b", "--x"]).run());
    show("script dry", f().args(["script", "all", "--dry-run"]).arg(&script).args(["a b", "--x"]).run());
    show("outdir", f().args(["run", "all", "--outdir", "out", "echo $FLEET_HOST; echo e >&2"]).run());
    for entry in std::fs::read_dir(place.path().join("out")).unwrap() {
        eprintln!("{:?}", entry.unwrap().path());
    }
    show("junit", f().args(["run", "all", "--junit", "j.xml", "echo '<x>'; [ $FLEET_HOST = web01 ] || exit 2"]).run());
    eprintln!("{}", place.read("j.xml"));
    show("json full", f().args(["run", "all", "--json", "/dev/full", "echo x"]).run());
    show(
        "stdout full",
        f().args(["run", "all", "echo x"]).run_into(std::fs::File::options().write(true).open("/dev/full").unwrap()),
    );
    show(
        "hosts full",
        f().args(["hosts", "all"]).run_into(std::fs::File::options().write(true).open("/dev/full").unwrap()),
    );
    show("help full", f().args(["--help"]).run_into(std::fs::File::options().write(true).open("/dev/full").unwrap()));
    show("junit full", f().args(["run", "all", "--junit", "/dev/full", "echo x"]).run());
    show(
        "outdir full",
        f().after("mkdir full; mount -t tmpfs -o size=16k tmpfs full")
            .args(["run", "web01", "--outdir", "full/x", "head -c 1000000 /dev/zero"])
            .run(),
    );
    eprintln!("{:?}", std::process::Command::new("umount").arg(place.path().join("full")).status());
    if let Some(answer) = f().args(["run", "all", "echo x"]).run_on_terminal(&[]) {
        show("terminal", answer)
    }
    if let Some(answer) = f().args(["run", "all", "printf 'a\\033[31mb\\n'"]).run_on_terminal(&[]) {
        show("terminal esc", answer)
    }
    show(
        "local",
        Bugle::alone()
            .args(["-F", "none", "-i"])
            .arg(place.file("local.ini", "me ansible_connection=local\n"))
            .args(["run", "me", "true"])
            .run(),
    );
    show("locali", Bugle::alone().args(["-F", "none", "run", "localhost", "true"]).run());
    show("empty", Bugle::alone().args(["-F", "none", "run", "all", "true"]).run());
    show("mixed", f().args(["run", "web01,db01:&web", "true"]).run());
    show("empty inter", f().args(["run", "web&db", "true"]).run());
    show("file", f().stdin("web01 # x\n\n#c\ndb01\n").args(["hosts", "-"]).run());
    show("file", {
        place.file("list", "web01\nwbe02\n");
        f().args(["hosts", "^list"]).run()
    });
    show("file", f().args(["hosts", "^nolist"]).run());
    show("regex", f().args(["hosts", "~web\\d+"]).run());
    show("regex bad", f().args(["hosts", "~web("]).run());
    show("name", f().args(["hosts", "deploy@web01:2222,ssh://u@h:22,[::1]:22"]).run());
    show("name", f().args(["hosts", "--json", "-", "deploy@web01:2222,ssh://u@h:22,[::1]:22"]).run());
    show("sub", f().args(["hosts", "web[0],web[-1],web[0:1],web[7]"]).run());
    show("env -J", f().args(["run", "web01", "-J", "deploy@127.1.0.1:1", "true"]).run());
    show(
        "jump",
        f().args(["run", "db01", "-J", &format!("{}", fleet.host("web01").address), "echo $FLEET_HOST"]).run(),
    );
    show("sudo", f().args(["run", "web01", "--sudo", "--sudo-pass-fd", "3", "id"]).descriptor(3, "canary\n").run());
    show(
        "pass",
        Bugle::on(&Fleet::one(Behaviour::letting_in(Login::Only(russh::MethodKind::Password))))
            .args(["run", "host", "--pass-fd", "3", "echo in"])
            .descriptor(3, "correct horse\n")
            .run(),
    );
    show(
        "pass wrong",
        Bugle::on(&Fleet::one(Behaviour::letting_in(Login::Only(russh::MethodKind::Password))))
            .args(["-vvv", "run", "host", "--pass-fd", "3", "echo in"])
            .descriptor(3, "wrong\n")
            .run(),
    );
    let mut running = f().held_stdin().args(["run", "all", "-f", "1", "-v", "--stdin", "sleep 100"]).start();
    running.wait_for_talk("opened a session");
    running.signal(Signal::INT);
    show("SIGINT", running.wait());
    let mut running = f().held_stdin().args(["run", "all", "-f", "1", "-v", "--stdin", "sleep 100"]).start();
    running.wait_for_talk("opened a session");
    running.signal(Signal::TERM);
    show("SIGTERM", running.wait());
}
