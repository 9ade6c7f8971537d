//! Defaults from the environment and from the configuration file, and who wins.

use crate::bugle::{Bugle, Place, calls};
use crate::fleet::{Behaviour, Fleet, Reception};
use std::time::{Duration, Instant};

const FILE: &str = ".config/bugle/config.yaml";

#[test]
fn every_option_reads_its_environment_variable() {
    let fleet = Fleet::start(3);
    let answer = Bugle::alone()
        .env("BUGLE_INVENTORY", fleet.inventory())
        .env("BUGLE_SSH_CONFIG", fleet.ssh_config())
        .env("BUGLE_FANOUT", "1")
        .env("BUGLE_OUTPUT", "stream")
        .env("BUGLE_QUIET", "true")
        .env("BUGLE_LIMIT", "web")
        .env("BUGLE_ENV", "A=x")
        .args(["run", "all", "echo $FLEET_HOST $A"])
        .run();
    answer.is(0, "web01: web01 x\nweb02: web02 x\n", "");
}

#[test]
fn a_setting_has_the_long_name_of_its_option() {
    let place = Place::new();
    let generate = |name: &str| {
        Bugle::alone().at(&place).args(["keys", "-F", "none", "generate", "--no-passphrase", "-C", "me", "-f", name])
    };
    generate("one").env("BUGLE_TYPE", "ecdsa").run().exited(0).said("one: 256 SHA256:<fingerprint> me (ECDSA)\n");
    place.file(FILE, "type: ecdsa\n");
    generate("two").run().exited(0).said("two: 256 SHA256:<fingerprint> me (ECDSA)\n");
    // A value that one of the verbs takes is none for the others.
    place.file(FILE, "type: [rsa, ecdsa]\n");
    generate("four").run().exited(0).said("four: 256 SHA256:<fingerprint> me (ED25519)\n");
    let fleet = Fleet::start(1);
    let check = || Bugle::on(&fleet).at(&place).args(["known-hosts", "check", "all"]);
    check().run().is(0, "web01 (1): no key of these types\n", "1 host: 1 without such a key\n");
    place.file(FILE, "type: rsa,ecdsa\n");
    check().run().is(0, "web01 (1): no key of these types\n", "1 host: 1 without such a key\n");
    place.file(FILE, "type: dsa\n");
    check().run().exited(2).told("`type`: `dsa`");
    place.file(FILE, "");
    // About hosts, wherever there are any.
    generate("three").env("BUGLE_LIMIT", "web").run().exited(0);
}

#[test]
fn switches_in_the_environment_are_off_when_they_say_so() {
    let fleet = Fleet::start(2);
    for (value, talk) in
        [("0", "2 hosts in <time>: 2 ok\n"), ("false", "2 hosts in <time>: 2 ok\n"), ("1", ""), ("yes", "")]
    {
        Bugle::on(&fleet).env("BUGLE_QUIET", value).args(["run", "all", "true"]).run().is(0, "", talk);
    }
}

#[test]
fn a_usage_shows_nothing_that_the_environment_sets() {
    for arguments in [&["run"][..], &["run", "--fanuot", "3", "h", "id"], &["hosts", "--fold", "--count", "a"]] {
        let set = Bugle::alone().env("BUGLE_INVENTORY", "x,").env("BUGLE_FANOUT", "3").args(arguments).run().exited(2);
        let unset = Bugle::alone().args(arguments).run().exited(2);
        assert_eq!(set.stderr, unset.stderr);
    }
}

#[test]
fn an_empty_variable_says_nothing() {
    let fleet = Fleet::start(1);
    let place = Place::new();
    place.file(FILE, "env: [A=file]\n");
    let mut call = Bugle::on(&fleet).at(&place);
    for option in
        ["INVENTORY", "SSH_CONFIG", "USER", "PORT", "OPTION", "QUIET", "SUDO", "CONFIG", "ENV", "FANOUT", "OUTPUT"]
    {
        call = call.env(&format!("BUGLE_{option}"), "");
    }
    call.args(["run", "all", "echo $A"]).run().is(0, "file\n", "");
    Bugle::alone().env("BUGLE_INVENTORY", "").args(["-F", "none", "hosts", "a"]).run().is(0, "a\n", "");
}

#[test]
fn the_configuration_file_gives_defaults_for_any_long_option() {
    let fleet = Fleet::start(3);
    let place = Place::new();
    let run = |bugle: Bugle| bugle.at(&place).args(["run", "all", "echo $A"]).run();
    place.file(FILE, "# of this user\nfanout: 1\noutput: none\nquiet: true\n");
    run(Bugle::on(&fleet)).is(0, "", "");
    place.file(FILE, "limit: [web, '!web01']\nenv: [A=file]\noption:\n  - ConnectTimeout=3\n");
    run(Bugle::on(&fleet)).is(0, "file\n", "");
    run(Bugle::on(&fleet).env("BUGLE_ENV", "A=environment")).is(0, "environment\n", "");
    run(Bugle::on(&fleet).env("BUGLE_ENV", "A=environment").env("BUGLE_LIMIT", "web02").args(["--color", "never"])).is(
        0,
        "environment\n",
        "",
    );
    let typed = Bugle::on(&fleet)
        .at(&place)
        .env("BUGLE_ENV", "A=environment")
        .args(["run", "all", "--env", "A=typed", "echo $A"])
        .run();
    typed.is(0, "typed\n", "");
    place.file(FILE, "");
    run(Bugle::on(&fleet).args(["-q"])).exited(0);
}

#[test]
fn what_is_typed_wins_over_its_opposite_from_elsewhere() {
    let fleet = Fleet::start(3);
    let place = Place::new();
    let config = place.file("config.yaml", "fail-fast: true\npass-fd: 9\n");
    let run = |bugle: Bugle| {
        bugle.at(&place).args(["run", "all", "-f", "1", "--max-fail", "2", "--output", "none", "false"]).run()
    };
    let all = "db01,web[01-02] (3): exit.status: exit status 1\n3 hosts in <time>: 0 ok, 3 failed\n";
    run(Bugle::on(&fleet).env("BUGLE_FAIL_FAST", "1")).is(1, "", all);
    run(Bugle::on(&fleet).arg("--config").arg(&config).args(["--pass-fd", "3"]).descriptor(3, "x\n")).is(1, "", all);
    let asked = Bugle::on(&fleet).env("BUGLE_PASS_FD", "9").args(["run", "all", "--ask-pass", "true"]).run().exited(2);
    asked.told("nobody can be asked for a password");
}

#[test]
fn an_option_with_an_optional_value_can_be_switched_on_and_off() {
    let fleet = Fleet::start(1);
    let place = Place::new();
    let sudo = "#!/bin/sh\nwhile [ \"$1\" != -- ]; do [ \"$1\" != -u ] || user=$2; shift; done\nshift\nBECAME=$user exec \"$@\"\n";
    place.file_with_mode("bin/sudo", sudo, 0o700);
    let path = format!("SetEnv=PATH={}/bin:/usr/bin:/bin", place.path().display());
    let run = |bugle: Bugle| bugle.at(&place).args(["-o", &path, "run", "web01", "echo \"as $BECAME\""]).run();
    for (value, user) in [("true", "root"), ("false", ""), ("admin", "admin")] {
        place.file(FILE, format!("sudo: {value}\n"));
        run(Bugle::on(&fleet)).is(0, &format!("as {user}\n"), "");
        place.file(FILE, "");
        run(Bugle::on(&fleet).env("BUGLE_SUDO", value)).is(0, &format!("as {user}\n"), "");
    }
}

#[test]
fn another_configuration_file_is_read_when_named() {
    let fleet = Fleet::start(2);
    let place = Place::new();
    place.file(FILE, "env: [A=usual]\n");
    let other = place.file("other.yaml", "env: [A=other]\nlimit: web01\n");
    let run = |bugle: Bugle| bugle.at(&place).args(["run", "all", "echo $A"]).run();
    run(Bugle::on(&fleet).arg("--config").arg(&other)).is(0, "other\n", "");
    run(Bugle::on(&fleet).arg(format!("--config={}", other.display()))).is(0, "other\n", "");
    run(Bugle::on(&fleet).env("BUGLE_CONFIG", &other)).is(0, "other\n", "");
    run(Bugle::on(&fleet).args(["--config", "none.yaml"])).is(
        2,
        "",
        "error: cannot read the configuration `none.yaml`: No such file or directory (os error 2)\n",
    );
}

#[test]
fn an_option_of_the_command_for_the_hosts_is_not_ours() {
    let fleet = Fleet::start(1);
    let place = Place::new();
    let ours = place.file("ours.yaml", "env: [A=ours]\n");
    let theirs = place.file("theirs.yaml", "env: [A=theirs]\nnonsense: 1\n");
    let script = place.file("script", "echo \"$A $*\"\n");
    let (ours, theirs, script) = (ours.display(), theirs.display(), script.display());
    let run = |arguments: &[&str]| Bugle::on(&fleet).at(&place).args(arguments).run();
    for option in [format!("--config={theirs}"), format!("--config {theirs}"), "--config=/nonexistent".into()] {
        let words: Vec<&str> = option.split(' ').collect();
        let shown = format!("none {option}\n").replace(&place.path().display().to_string(), "<home>");
        run(&[&["run", "web01", "echo", "${A-none}"][..], &words].concat()).is(0, &shown, "");
        run(&[&["script", "web01", &script.to_string()][..], &words].concat()).is(
            0,
            &shown.replacen("none", "", 1),
            "",
        );
    }
    // Ours may stand anywhere before it.
    let (before, theirs) = (ours.to_string(), theirs.to_string());
    for arguments in [
        &["--config", &before, "run", "web01", "echo $A", "--config", &theirs][..],
        &["run", "--config", &before, "web01", "echo $A", "--config", &theirs],
        &["run", "web01", "--config", &before, "--", "echo $A", "--config", &theirs],
    ] {
        run(arguments).is(0, "ours --config <home>/theirs.yaml\n", "");
    }
}

#[test]
fn a_file_that_is_no_configuration_is_not_shown() {
    let place = Place::new();
    let file = place.file("passwd", format!("root:x:0:0:{}\n", "secret ".repeat(50)));
    Bugle::alone().at(&place).arg("--config").arg(&file).args(["hosts", "a"]).run().is(
        2,
        "",
        "error: `<home>/passwd` is no configuration: it holds no options\n\
         hint: a configuration has an option a line, such as `fanout: 128`\n",
    );
    let long = place.file("long.yaml", format!("fanout: {}\n", "x".repeat(10_000)));
    let answer = Bugle::alone().at(&place).arg("--config").arg(&long).args(["run", "a", "id"]).run().exited(2);
    assert!(answer.stderr.len() < 600, "{}", answer.stderr);
}

#[test]
fn a_wrong_setting_is_named_with_its_place() {
    let fleet = Fleet::start(1);
    let place = Place::new();
    let run = |text: &str| {
        place.file(FILE, text);
        Bugle::on(&fleet).at(&place).args(["run", "all", "true"]).run().exited(2).said("").stderr
    };
    assert_eq!(
        run("fanout: 1\noutptu: none\n"),
        "error: <home>/.config/bugle/config.yaml:2:1: `outptu` is no option\n    2 | outptu: none\n      | ^\nhint: did you mean `output`?\n"
    );
    assert_eq!(
        run("nonsense-all-through: 1\n"),
        "error: <home>/.config/bugle/config.yaml:1:1: `nonsense-all-through` is no option\n    \
             1 | nonsense-all-through: 1\n      | ^\n\
         hint: keys are long options without their dashes, such as `fanout: 128`\n"
    );
    assert_eq!(
        run("fanout: {a: b}\n"),
        "error: <home>/.config/bugle/config.yaml:1:9: `fanout` takes one value\n    \
             1 | fanout: {a: b}\n      |         ^\n"
    );
    for (text, expected) in [
        ("fanout: [1, 2]\n", "1:9: `fanout` takes one value\n    1 | fanout: [1, 2]\n      |         ^\n"),
        ("quiet: [true]\n", "1:8: `quiet` takes one value\n    1 | quiet: [true]\n      |        ^\n"),
        (
            "limit: {a: b}\n",
            "1:8: `limit` takes a value or a list of values\n    1 | limit: {a: b}\n      |        ^\n",
        ),
        ("config: x\n", "1:1: `config` names this file and cannot stand in it\n    1 | config: x\n      | ^\n"),
        (
            "quiet: perhaps\n",
            "1:8: `quiet`: `perhaps` is neither true nor false\n    1 | quiet: perhaps\n      |        ^\n",
        ),
        (
            "identity:\n  - a\n  - ''\n",
            "3:5: `identity`: ``: it is not one of its values\n    3 |   - ''\n      |     ^\n",
        ),
    ] {
        assert_eq!(run(text), format!("error: <home>/.config/bugle/config.yaml:{expected}"), "{text}");
    }
    let zero = run("fanout: 0\n");
    assert!(zero.starts_with("error: <home>/.config/bugle/config.yaml:1:9: `fanout`: `0` is "), "{zero}");
    // A key that is part of another one, and one that is no text.
    assert_eq!(
        run("user-agent: x\n\"usre\": y\n").lines().next().unwrap_or_default(),
        "error: <home>/.config/bugle/config.yaml:1:1: `user-agent` is no option"
    );
    assert_eq!(
        run("# 7\n  fanout: 7\n  7: y\n").lines().take(3).collect::<Vec<_>>(),
        ["error: <home>/.config/bugle/config.yaml:3:3: `7` is no option", "    3 |   7: y", "      |   ^"]
    );
    for (text, place) in [("fanout: none\n", "1:9"), ("# x\nserial: 0%\n", "2:9"), ("fanout: [\n", "2:1")] {
        let said = run(text);
        assert!(said.starts_with(&format!("error: <home>/.config/bugle/config.yaml:{place}: ")), "{text}: {said}");
    }
    let answer = Bugle::on(&fleet).env("BUGLE_FANOUT", "none").args(["run", "all", "true"]).run().exited(2).said("");
    let named = answer.stderr.lines().any(|line| line.starts_with("hint: ") && line.contains("BUGLE_FANOUT"));
    assert!(named, "the variable is not named: {}", answer.stderr);
    assert_eq!(calls(&fleet), 0);
}

#[test]
fn a_configuration_file_that_others_can_write_is_refused() {
    let fleet = Fleet::start(1);
    let place = Place::new();
    let user = rustix::process::geteuid().as_raw();
    for (mode, shown) in [(0o620, "0620"), (0o602, "0602")] {
        place.file_with_mode(FILE, "fanout: 1\n", mode);
        Bugle::on(&fleet).at(&place).args(["run", "all", "true"]).run().is(
            2,
            "",
            &format!(
                "error: the configuration `<home>/.config/bugle/config.yaml` is not trusted: mode {shown}, owner {user}\n\
                 hint: chmod go-w <home>/.config/bugle/config.yaml; it must belong to you or root\n"
            ),
        );
    }
    assert_eq!(calls(&fleet), 0);
}

#[test]
fn an_inventory_of_the_current_directory_is_found_only_when_nobody_else_can_write_it() {
    let place = Place::new();
    let run = || Bugle::alone().at(&place).args(["-F", "none", "hosts", "all"]).run();
    place.file(".config/bugle/inventory.yaml", "all: {hosts: {usual:}}\n");
    run().is(0, "usual\n", "");
    place.file("inventory.ini", "here\n");
    run().is(0, "here\n", "");
    place.file("inventory.yaml", "all: {hosts: {first:}}\n");
    run().is(0, "first\n", "");
    place.file_with_mode("inventory.yaml", "all: {hosts: {planted:}}\n", 0o666);
    let answer = run();
    assert!(!answer.stdout.contains("planted"), "{}", answer.stdout);
    answer.told("inventory.yaml");
}

/// The lines of `bugle config` that begin with one of these words.
fn configured(bugle: Bugle, words: &[&str]) -> Vec<String> {
    let answer = bugle.run().exited(0);
    let begins = |line: &&str| words.iter().any(|word| line.split(' ').next() == Some(*word));
    answer.stdout.lines().filter(begins).map(str::to_owned).collect()
}

#[test]
fn a_default_about_reaching_hosts_gives_way_to_everything_that_is_typed() {
    let place = Place::new();
    let inventory = place.file("hosts.ini", "web01 ansible_user=inventory ansible_port=7\n");
    let words = ["user", "port", "proxyjump"];
    let call = |arguments: &[&str]| {
        let call = Bugle::alone().at(&place).args(["-F", "none", "-i"]).arg(&inventory);
        configured(call.arg("config").args(arguments), &words)
    };
    let default = ["user file", "port 2200", "proxyjump gate"];
    place.file(FILE, "user: file\nport: 2200\njump: gate\n");
    // It stands in for the flag, and so it is stronger than the inventory.
    assert_eq!(call(&["web01"]), default);
    assert_eq!(call(&["root@web01:22"]), ["user root", "port 22", "proxyjump gate"]);
    let typed = ["user typed", "port 23"];
    assert_eq!(call(&["web01", "-o", "User=typed", "-o", "Port=23", "-o", "ProxyJump=none"]), typed);
    assert_eq!(call(&["web01", "-l", "typed", "--port", "23", "-J", "none"]), typed);
    // An option of the file says what -o would say, and the flags of the file rank before it.
    place.file(FILE, "option: [User=file, Port=2200, ProxyJump=gate]\n");
    assert_eq!(call(&["web01"]), default);
    assert_eq!(call(&["root@web01:22"]), ["user root", "port 22", "proxyjump gate"]);
    assert_eq!(call(&["web01", "-o", "User=typed", "-o", "Port=23", "-o", "ProxyJump=none"]), typed);
}

#[test]
fn lists_of_the_file_and_the_environment_add_to_those_that_are_typed() {
    let place = Place::new();
    let hosts = |arguments: &[&str]| {
        let call = Bugle::alone().at(&place).env("BUGLE_EXCLUDE", "web02").args(["-F", "none", "-i", "web[01-09],"]);
        call.args(["hosts", "--fold", "web*"]).args(arguments).run().exited(0).stdout
    };
    place.file(FILE, "exclude: [web01]\nlimit: 'web[01-05]'\n");
    assert_eq!(hosts(&[]), "web[03-05]\n");
    assert_eq!(hosts(&["-x", "web03", "--limit", "web[02-04]"]), "web04\n");
    place.file("id", "");
    place.file("typed", "");
    place.file(FILE, "option: [Compression=yes, TCPKeepAlive=no]\nidentity: [id]\n");
    let call = Bugle::alone().at(&place).env("BUGLE_OPTION", "HashKnownHosts=yes").args(["-F", "none", "config", "a"]);
    let words = ["compression", "tcpkeepalive", "hashknownhosts", "identityfile"];
    let mut lines = configured(call.args(["-o", "Compression=no", "-I", "typed"]), &words);
    lines.sort();
    assert_eq!(
        lines,
        ["compression no", "hashknownhosts yes", "identityfile id", "identityfile typed", "tcpkeepalive no"]
    );
}

#[test]
fn a_default_of_the_time_to_connect_gives_way_to_the_option_that_is_typed() {
    let fleet = Fleet::one(Behaviour::receiving(Reception::Silent));
    let place = Place::new();
    place.file(FILE, "connect-timeout: 50s\n");
    let call = Bugle::on(&fleet).at(&place).args(["-o", "ConnectTimeout=1", "run", "host", "true"]);
    let began = Instant::now();
    call.run().exited(255).told("pre_banner.timeout");
    assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
}

#[test]
fn a_pause_that_nobody_typed_needs_no_batches() {
    let fleet = Fleet::start(1);
    Bugle::on(&fleet).env("BUGLE_PAUSE", "1s").args(["run", "all", "echo ran"]).run().is(0, "ran\n", "");
    let typed = Bugle::on(&fleet).args(["run", "all", "--pause", "1s", "echo ran"]).run();
    typed.is(
        2,
        "",
        "error: --pause waits between batches, and there are none\n\
         hint: --serial makes batches, such as --serial 1,10%,100%\n",
    );
}
