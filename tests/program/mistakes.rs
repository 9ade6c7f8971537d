//! Mistakes of the user: exit 2, the place, the line, a suggestion, and nobody is called.

use crate::bugle::{Bugle, Place, calls};
use crate::fleet::{Fleet, USER};
use std::fs;

const MORE: &str = "\nFor more information, try '--help'.\n";

#[test]
fn wrong_words_of_the_command_line_are_shown_with_what_was_meant() {
    let fleet = Fleet::start(3);
    for (arguments, expected) in [
        (&["run", "wbe01", "true"][..], "error: no host or group is called `wbe01`\n  wbe01\n  ^^^^^\nhint: did you mean `web01`?\n".to_owned()),
        (&["run", "all,x[1-", "true"], "error: the bracket is never closed\n  all,x[1-\n       ^^^\n".into()),
        (&["run", "web&db", "true"], "error: no host is left: none of the hosts before it is in `db`\n  web&db\n      ^^\n".into()),
        (
            &["run", "web:&db!web01", "true"],
            "error: `:&` and `!` are of two forms, which do not mix\n  web:&db!web01\n         ^\n\
             hint: write `a:b`, `a:&b`, `a:!b` throughout (unions first), or `a,b`, `a&b`, `a!b`, `a^b` throughout (from left to right)\n"
                .into(),
        ),
        (
            &["run", "web[7]", "true"],
            "error: `web` has 2 hosts and no position 7\n  web[7]\n  ^^^^^^\nhint: positions count from 0; `[-1]` is the last\n".into(),
        ),
        (&["run", "~web(", "true"], "error: `web(` is not a regular expression\n  ~web(\n  ^^^^^\n".into()),
        (&["run", "^none", "true"], "error: the list `none` can't be read\n  ^none\n  ^^^^^\n".into()),
        (&["run", "all", "-x", "all", "true"], "error: --exclude: no host is left: `all` takes away every host\n  all\n  ^^^\n".into()),
        (
            &["run", "all", "--limit", "wbe", "true"],
            "error: --limit: no host or group is called `wbe`\n  wbe\n  ^^^\nhint: did you mean `web`?\n".into(),
        ),
        (&["run", "all", "--timeout", "9x", "true"], format!("error: invalid value '9x' for '--timeout <D>': `x` in `9x` is not a unit of time: write `ms`, `s`, `m`, `h` or `d`\n{MORE}")),
        (&["run", "all", "--fanout", "0", "true"], format!("error: invalid value '0' for '--fanout <N>': `0` is not a number of hosts from 1 up\n{MORE}")),
        (&["run", "all", "--max-fail", "x", "true"], format!("error: invalid value 'x' for '--max-fail <N|P%>': `x` is not a limit of failures: write a number of hosts such as `3`, or a part of them such as `10%`\n{MORE}")),
        (&["run", "all", "--serial", "0", "true"], format!("error: invalid value '0' for '--serial <SPEC>': `0` is not a size of a batch: write a number of hosts from 1 up, or a part from `1%` to `100%`\n{MORE}")),
        (&["run", "all", "--output", "gruop", "true"], format!("error: invalid value 'gruop' for '--output <MODE>': unknown output mode `gruop`; it is one of auto, stream, group, diff, raw, json, none\n{MORE}")),
        (
            &["run", "all", "--timeuot", "9", "true"],
            format!("error: unexpected argument '--timeuot' found\n\n  tip: a similar argument exists: '--timeout'\n  tip: to pass '--timeuot' as a value, use '-- --timeuot'\n\nUsage: bugle run --timeout <D> <TARGETS> <CMD>...\n{MORE}"),
        ),
        (&["run", "all"], format!("error: the following required arguments were not provided:\n  <CMD>...\n\nUsage: bugle run <TARGETS> <CMD>...\n{MORE}")),
        (
            &["rnu", "all", "true"],
            format!("error: unrecognized subcommand 'rnu'\n\n  tip: a similar subcommand exists: 'run'\n\nUsage: bugle [OPTIONS] <COMMAND>\n{MORE}"),
        ),
        (
            &["keys", "dpeloy", "all"],
            format!("error: unrecognized subcommand 'dpeloy'\n\n  tip: a similar subcommand exists: 'deploy'\n\nUsage: bugle keys [OPTIONS] <COMMAND>\n{MORE}"),
        ),
        (&["run", "all", "--ask-pass", "true"], "error: nobody can be asked for a password: there is no terminal\nhint: hand it over with --pass-fd FD\n".into()),
        (&["run", "all", "-K", "true"], "error: nobody can be asked for a password: there is no terminal\nhint: hand it over with --sudo-pass-fd FD\n".into()),
        (
            &["run", "all", "--pass-fd", "9", "true"],
            "error: cannot read the password from file descriptor 9: No such file or directory (os error 2)\n\
             hint: open it in the shell, such as --pass-fd 3 3<password-file\n"
                .into(),
        ),
        (&["run", "all", "-l", "a;b", "true"], "error: the user name `a;b` contains `;`, which is not allowed in names\n".into()),
        (
            &["run", "all", "-J", "a b", "true"],
            "error: the host name `a b` contains ` `, which is not allowed in names\n\
             hint: jump hosts are written [user@]host[:port], several with commas between them, IPv6 in brackets\n"
                .into(),
        ),
        (&["run", "all", "--sudo=a;b", "true"], "error: the user name `a;b` contains `;`, which is not allowed in names\nhint: --sudo=USER takes a login name\n".into()),
        (&["run", "all", "--sudo=", "true"], "error: `--sudo=` names no user\nhint: --sudo without `=` is for root\n".into()),
        (&["run", "all", "-I", "/nonexistent", "true"], "error: cannot read the key `/nonexistent`: No such file or directory (os error 2)\n".into()),
    ] {
        Bugle::on(&fleet).args(arguments).run().is(2, "", &expected);
    }
    for arguments in [
        &["run", "all", "--timeout", "0", "true"][..],
        &["run", "all", "--deadline", "0s", "true"],
        &["run", "all", "--connect-timeout", "0ms", "true"],
        &["run", "all", "--json", "-", "--junit", "-", "true"],
        &["run", "all", "--output", "json", "--junit", "-", "true"],
        &["script", "all", "/dev/null"],
        &["run", "all", "-o", "UserKnownHostsFile=/", "true"],
        &["run", "all", "--port", "0", "true"],
        &["run", "all", "--port", "70000", "true"],
    ] {
        Bugle::on(&fleet).args(arguments).run().exited(2).said("");
    }
    assert_eq!(calls(&fleet), 0);
}

#[test]
fn a_password_is_never_sent_to_hosts_or_taken_for_one() {
    let fleet = Fleet::start(2);
    let place = Place::new();
    let source = place.file("file", "x");
    let source = source.display().to_string();
    for (arguments, by, and) in [
        (&["run", "all", "--pass-fd", "0", "--stdin", "cat"][..], "`--pass-fd 0`", "--stdin"),
        (&["run", "all", "--sudo", "--sudo-pass-fd", "0", "--stdin", "cat"], "`--sudo-pass-fd 0`", "--stdin"),
        (&["run", "all", "--pass-fd", "0", "-i", "-", "true"], "`-i -`", "`--pass-fd 0`"),
        (&["run", "-", "--pass-fd", "0", "true"], "`--pass-fd 0`", "the targets `-`"),
        (&["script", "-", "--sudo-pass-fd", "0", &source], "`--sudo-pass-fd 0`", "the targets `-`"),
        (&["push", "all", "-i", "-", "--sudo-pass-fd", "0", &source, "/tmp/"], "`-i -`", "`--sudo-pass-fd 0`"),
        (&["pull", "-", "--pass-fd", "0", "/etc/hostname", "there"], "`--pass-fd 0`", "the targets `-`"),
        (&["keys", "list", "-", "--sudo-pass-fd", "0"], "`--sudo-pass-fd 0`", "the targets `-`"),
        (
            &["keys", "generate", "-f", "there", "--per-host", "-", "--passphrase-fd", "0"],
            "`--passphrase-fd 0`",
            "the targets `-`",
        ),
        (&["run", "-", "-i", "-", "true"], "`-i -`", "the targets `-`"),
        (&["run", "-", "--stdin", "cat"], "--stdin", "the targets `-`"),
        (&["run", "all", "-i", "-", "--stdin", "cat"], "`-i -`", "--stdin"),
    ] {
        let told = format!("error: {by} and {and} cannot both read standard input\nhint: give one of them a file\n");
        Bugle::on(&fleet).at(&place).stdin("hunter2\n").args(arguments).run().is(2, "", &told);
    }
    assert_eq!(calls(&fleet), 0);
}

#[test]
fn nobody_is_selected_where_there_is_nobody() {
    Bugle::alone().args(["-F", "none", "run", "all", "true"]).run().is(
        2,
        "",
        "error: `all` selects no host\n  all\n  ^^^\n",
    );
}

#[test]
fn options_of_ssh_are_checked_as_in_a_file() {
    let fleet = Fleet::start(1);
    for (option, parts) in [
        ("Prot=1", &["unknown keyword `", "Prot=1\n", "did you mean `Port`?\n"][..]),
        ("Port=x", &["`x` is no value of `Port`: expected a port from 1 to 65535\n", "Port=x\n"]),
        ("Ciphers=nonsense", &["nonsense"]),
        ("StrictHostKeyChecking=perhaps", &["`perhaps`", "StrictHostKeyChecking"]),
        ("ConnectTimeout", &["ConnectTimeout"]),
    ] {
        let answer = Bugle::on(&fleet).args(["-o", option, "run", "all", "true"]).run().exited(2).said("");
        assert!(answer.stderr.starts_with("error: command line"), "{option}: {}", answer.stderr);
        parts
            .iter()
            .for_each(|part| assert!(answer.stderr.contains(part), "{option}: `{part}` is not in\n{}", answer.stderr));
    }
    assert_eq!(calls(&fleet), 0);
}

#[test]
fn wrong_inventories_are_shown_with_file_line_and_column() {
    for (name, text, expected) in [
        (
            "inv.yaml",
            "all:\n  hosts:\n    web01:\n   web02:\n",
            "error: <home>/inv.yaml:4:4: not valid YAML: while parsing a block mapping, did not find expected key\n    4 |    web02:\n      |    ^\n",
        ),
        (
            "inv.yaml",
            "all:\n  hsots:\n    web01:\n",
            "error: <home>/inv.yaml:2:3: unknown key `hsots` in group `all`: a group has `hosts`, `vars` and `children`\n    2 |   hsots:\n      |   ^\nhint: did you mean `hosts`?\n",
        ),
        (
            "inv.ini",
            "[web\nweb01\n",
            "error: <home>/inv.ini:1:1: bad range: the bracket is never closed in `[web` at column 1\n    1 | [web\n      | ^\n",
        ),
        (
            "inv.yaml",
            "all:\n  hosts:\n    'a;touch x':\n",
            "error: <home>/inv.yaml:3:5: the host name `a;touch x` contains `;`, which is not allowed in names\n    3 |     'a;touch x':\n      |     ^\n",
        ),
        (
            "inv.ini",
            "web01 ansible_port=abc\n",
            "error: <home>/inv.ini:1:7: `ansible_port` of `web01`: must be a port from 1 to 65535, not `abc`\n",
        ),
        (
            "inv.ini",
            "web01 ansible_port=0\n",
            "error: <home>/inv.ini:1:7: `ansible_port` of `web01`: must be a port from 1 to 65535, not `0`\n",
        ),
        (
            "inv.ini",
            "web01 ansible_user='a;b'\n",
            "error: <home>/inv.ini:1:7: `ansible_user` of `web01`: the user name `a;b` contains `;`, which is not allowed in names\n",
        ),
        (
            "inv.ini",
            "web01 ansible_host='$(touch x)'\n",
            "error: <home>/inv.ini:1:7: `ansible_host` of `web01`: the host name `$(touch x)` contains `$`, which is not allowed in names\n",
        ),
    ] {
        let place = Place::new();
        let inventory = place.file(name, text);
        let answer =
            Bugle::alone().at(&place).args(["-F", "none", "-i"]).arg(inventory).args(["run", "all", "true"]).run();
        // Variables may show their line as well.
        let head: String =
            answer.stderr.lines().take(expected.lines().count()).map(|line| format!("{line}\n")).collect();
        assert_eq!(head, expected);
        answer.exited(2).said("");
    }
    let place = Place::new();
    let missing = Bugle::alone()
        .at(&place)
        .args(["-F", "none", "-i", "none.yaml", "run", "all", "true"])
        .run()
        .exited(2)
        .said("");
    missing.told("none.yaml");
}

#[test]
fn an_inventory_program_that_fails_is_shown_with_what_it_said() {
    let place = Place::new();
    let program = place.file_with_mode("inventory", "#!/bin/sh\necho the database is down >&2\nexit 3\n", 0o700);
    let answer = Bugle::alone()
        .at(&place)
        .args(["-F", "none", "-i"])
        .arg(program)
        .args(["run", "all", "true"])
        .run()
        .exited(2)
        .said("");
    answer.told("the database is down").told("inventory");
}

#[test]
fn a_wrong_ssh_config_is_shown_with_file_and_line() {
    for (text, parts) in [
        (
            "Host *\n  Prot 22\n",
            &["error: <home>/config:2:3: unknown keyword `", "      Prot 22\n      ^\n", "did you mean `Port`?\n"][..],
        ),
        (
            "Host *\n  Port abc\n",
            &["error: <home>/config:2:8: `abc` is no value of `Port`: expected a port from 1 to 65535\n"],
        ),
        ("Host *\n  User \"a\n", &["error: <home>/config:2:"]),
        ("Match hots x\n", &["error: <home>/config:1:", "hots"]),
        ("Include none/*\nMatch\n", &["error: <home>/config:2:"]),
    ] {
        let place = Place::new();
        let config = place.file("config", text);
        let answer = Bugle::alone()
            .at(&place)
            .args(["-i", "a,", "-F"])
            .arg(config)
            .args(["run", "all", "true"])
            .run()
            .exited(2)
            .said("");
        parts
            .iter()
            .for_each(|part| assert!(answer.stderr.contains(part), "{text}: `{part}` is not in\n{}", answer.stderr));
    }
    let answer = Bugle::alone().args(["-F", "none.config", "run", "a", "true"]).run().exited(2).said("");
    answer.told("none.config");
}

#[test]
fn keys_and_known_hosts_that_others_can_touch_are_refused_with_their_mode() {
    let fleet = Fleet::start(1);
    let place = Place::new();
    let run = |arguments: &[&str]| Bugle::on(&fleet).at(&place).args(arguments).args(["run", "web01", "true"]).run();
    let key = fs::read(fleet.key()).expect("it was written");
    for (mode, shown) in [(0o640, "0640"), (0o604, "0604"), (0o620, "0620")] {
        place.file_with_mode("key", &key, mode);
        let path = place.path().join("key").display().to_string();
        let answer = run(&["-I", &path]).exited(2).said("");
        assert!(
            answer.stderr.starts_with(&format!("error: the key file `<home>/key` has mode {shown}: ")),
            "{}",
            answer.stderr
        );
        answer.told("hint: chmod 600 <home>/key\n");
    }
    place.file("nonsense", "x\n");
    let path = place.path().join("nonsense").display().to_string();
    run(&["-I", &path]).exited(2).said("").told("error: `<home>/nonsense` is not a private key");
    let known = fs::read(fleet.known_hosts()).expect("it was written");
    for (mode, shown) in [(0o620, "0620"), (0o602, "0602")] {
        place.file_with_mode("known", &known, mode);
        run(&["-o", &format!("UserKnownHostsFile={}/known", place.path().display())]).is(
            2,
            "",
            &format!("error: `<home>/known` is writable by its group or by others (mode {shown})\nhint: chmod go-w <home>/known\n"),
        );
    }
    assert_eq!(calls(&fleet), 0);
}

#[test]
fn a_variable_that_is_not_set_is_told_once() {
    let place = Place::new();
    let config = place.file("config", "Host *\n  IdentityFile ${NOPE}\n");
    Bugle::alone().at(&place).arg("-F").arg(config).args(["config", "a"]).run().is(
        2,
        "",
        "error: cannot resolve `a`: <home>/config:2:16: environment variable `NOPE` in `${NOPE}` is not set\n      \
           IdentityFile ${NOPE}\n                   ^\n",
    );
}

#[test]
fn an_ssh_config_of_the_user_that_others_can_write_is_refused() {
    let place = Place::new();
    place.file_with_mode(".ssh/config", "Host x\n", 0o620);
    let passwd = format!("root:x:0:0:root:{}:/bin/sh\n", place.path().display());
    place.file("passwd", passwd);
    let Some(bugle) = Bugle::alone().with_own_mounts() else { return };
    // The home is that of passwd(5), as with ssh.
    let answer = bugle
        .at(&place)
        .after("mount --bind passwd /etc/passwd || exit 99")
        .args(["-i", "a,", "run", "a", "true"])
        .run();
    answer.exited(2).said("").told("<home>/.ssh/config").told("0620").told("hint: chmod go-w <home>/.ssh/config");
}

#[test]
fn names_with_a_meaning_to_a_shell_reach_none() {
    let fleet = Fleet::start(1);
    let place = Place::new();
    let directory = place.path().display();
    let config = place.file(
        "config",
        format!(
            "Match exec \"echo %n %h %r >>{directory}/matched\"\nHost *\n  IdentityFile {}\n  UserKnownHostsFile {}\n  \
             ProxyCommand echo %n %h %r >>{directory}/proxied; exit 1\n",
            fleet.key().display(),
            fleet.known_hosts().display()
        ),
    );
    let run = |arguments: &[&str]| Bugle::alone().at(&place).arg("-F").arg(&config).args(arguments).arg("true").run();
    // Both are followed for an honest name, so that what follows says something.
    run(&["run", "ssh://honest", "-l", USER, "--connect-timeout", "3s"]).exited(255);
    assert!(place.has("matched") && place.has("proxied"), "the configuration is not followed");
    fs::remove_file(place.path().join("matched")).expect("it is there");
    fs::remove_file(place.path().join("proxied")).expect("it is there");
    let evil = "x$(touch${IFS}witness)";
    for name in [
        evil,
        "x`touch${IFS}witness`",
        "x;touch${IFS}witness",
        "x|touch${IFS}witness",
        "-oProxyCommand=x",
        "x\ny",
        "x'y",
        "x\"y",
        "x\\y",
    ] {
        let inventory = place.file("inventory.yaml", format!("all:\n  hosts:\n    {}:\n", serde_json::json!(name)));
        let file = inventory.display().to_string();
        let variable = |variable: &str| {
            let text = serde_json::json!({ "all": { "hosts": { "web01": { variable: name } } } });
            place.file(&format!("{variable}.yaml"), text.to_string()).display().to_string()
        };
        let (host, user) = (variable("ansible_host"), variable("ansible_user"));
        for arguments in [
            &["run", "--", &format!("ssh://{name}")][..],
            &["run", "--", &format!("{name}@web01")],
            &["run", "-i", &file, "all"],
            &["run", "-i", &host, "all"],
            &["run", "-i", &user, "all"],
            &["run", "-i", "web01,", "all", &format!("--user={name}")],
            &["run", "-i", "web01,", "all", &format!("--jump={name}")],
            &["run", "-i", "web01,", "all", "-o", &format!("HostName={name}")],
            &["config", &format!("--user={name}")],
        ] {
            let answer = run(arguments);
            assert_eq!(answer.code(), 2, "{arguments:?}\n{}{}", answer.stdout, answer.stderr);
        }
        for file in ["witness", "matched", "proxied"] {
            assert!(!place.has(file), "{name}: {file} was written: {}", place.read(file));
        }
    }
}

#[test]
fn what_files_and_programs_say_neither_reaches_the_terminal_nor_passes_for_talk_of_ours() {
    let place = Place::new();
    let title = "\u{1b}]0;title\u{7}";
    let config = place.file("config", format!("Host x\n  {title}Bad yes\n"));
    Bugle::alone().at(&place).arg("-F").arg(config).args(["run", "x", "id"]).run().is(
        2,
        "",
        "error: <home>/config:2:3: unknown keyword `\\x1b]0;title\\x07bad`\n      \u{fffd}]0;title\u{fffd}Bad yes\n      ^\n\
         hint: `IgnoreUnknown \\x1b]0;title\\x07bad` above this line accepts it\n",
    );
    let answer = r#"{"g": {"hosts": ["ok1", "ok2"]}, "_meta": {"hostvars": {
        "ok1": {"ansible_port": "\u001b[31m9\nhint: run me", "ansible_ssh_common_args": "-o Bad\u001b[31m=1"},
        "ok2": {"ansible_ssh_args": "-W '\u001b[2J'"}}}}"#;
    let program = place.file_with_mode("program", format!("#!/bin/sh\ncat <<'.'\n{answer}\n.\n"), 0o700);
    let call = || Bugle::alone().at(&place).args(["-F", "none", "-i"]).arg(&program);
    let errors = "error: <home>/program --list:2:17: `ansible_port` of `ok1`: must be a port from 1 to 65535, not `\\x1b[31m9\n    \
                  hint: run me`\n\
                  error: <home>/program --list:2:62: `ansible_ssh_common_args` of `ok1`: unknown keyword `bad\\x1b[31m`\n    \
                  Bad\u{fffd}[31m=1\n    ^\n\
                  hint: `IgnoreUnknown bad\\x1b[31m` above this line accepts it\n";
    call().args(["run", "all", "true"]).run().is(2, "", errors);
    let warning = "warning: <home>/program --list:3:17: `ansible_ssh_args` of `ok2`: `-W \\x1b[2J` is not supported and left out\n";
    call().args(["inventory", "--check"]).run().is(2, warning, errors);
    let failing = place.file_with_mode("failing", "#!/bin/sh\nprintf '\\033[2J\\nhint: x\\n' >&2\nexit 3\n", 0o700);
    Bugle::alone().at(&place).args(["-F", "none", "-i"]).arg(failing).args(["hosts", "all"]).run().is(
        2,
        "",
        "error: <home>/failing: `--list` failed with exit status 3; it said:\n    \u{fffd}[2J\n    hint: x\n\
         hint: run it by hand: <home>/failing --list\n",
    );
    let doubtful = place.file("doubtful.yaml", format!("all:\n  hosts:\n    \"{title}\\nhint: x\":\n"));
    let refused = Bugle::alone().at(&place).args(["-F", "none", "-i"]).arg(doubtful).args(["hosts", "all"]).run();
    assert!(!refused.stderr.contains('\u{1b}') && !refused.stderr.contains("\nhint: x"), "{}", refused.stderr);
}
