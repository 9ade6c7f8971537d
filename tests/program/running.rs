//! `run` and `script`: what reaches the hosts and how the options shape a run.

use crate::bugle::{Bugle, Place, calls, server};
use crate::fleet::openssh::login_name;
use crate::fleet::{Behaviour, Cut, Exec, Fleet, Login, Reception, USER};
use crate::interrupts::gone;

const DONE: &str = "3 hosts in <time>: 3 ok\n";

#[test]
fn a_command_runs_on_every_host_and_its_lines_are_prefixed() {
    let fleet = Fleet::start(3);
    let answer = Bugle::on(&fleet).args(["run", "all", "-f", "1", "echo $FLEET_HOST; echo to stderr >&2"]).run();
    answer.is(
        0,
        "web01: web01\nweb02: web02\ndb01: db01\n",
        &format!("web01: to stderr\nweb02: to stderr\ndb01: to stderr\n{DONE}"),
    );
}

#[test]
fn one_host_answers_as_it_would_to_ssh() {
    let fleet = Fleet::start(3);
    let answer = Bugle::on(&fleet).args(["run", "web01", "printf 'a\\0\\377b'; echo no newline >&2; exit 7"]).run();
    assert_eq!(answer.bytes, b"a\0\xffb");
    answer.exited(7).talked("no newline\n");
}

#[test]
fn words_of_a_command_are_joined_as_ssh_joins_them() {
    let fleet = Fleet::start(1);
    Bugle::on(&fleet).args(["run", "web01", "echo", "a  b", "'c  d'", "$FLEET_HOST"]).run().is(
        0,
        "a b c  d web01\n",
        "",
    );
    Bugle::on(&fleet).args(["run", "web01", "--", "echo", "-n", "--output", "x"]).run().is(0, "--output x", "");
    assert_eq!(fleet.host("web01").commands(), ["echo a  b 'c  d' $FLEET_HOST", "echo -n --output x"]);
}

#[test]
fn standard_input_goes_to_every_host_when_asked_for() {
    let fleet = Fleet::start(3);
    let answer = Bugle::on(&fleet).stdin("one\ntwo\n").args(["run", "all", "-f", "1", "--stdin", "cat"]).run();
    answer.is(0, "web01: one\nweb01: two\nweb02: one\nweb02: two\ndb01: one\ndb01: two\n", DONE);
    Bugle::on(&fleet).stdin("one\n").args(["run", "all", "cat"]).run().is(0, "", DONE);
    Bugle::on(&fleet).held_stdin().args(["run", "all", "cat"]).run().is(0, "", DONE);
}

#[test]
fn standard_input_is_either_for_the_hosts_or_names_them() {
    let fleet = Fleet::start(1);
    for arguments in [
        &["run", "-", "--stdin", "cat"][..],
        &["run", "all", "--limit", "-", "--stdin", "cat"],
        &["run", "all", "-x", "-", "--stdin", "cat"],
    ] {
        Bugle::on(&fleet).stdin("web01\n").args(arguments).run().is(
            2,
            "",
            "error: --stdin and the targets `-` cannot both read standard input\nhint: give one of them a file\n",
        );
    }
    assert_eq!(calls(&fleet), 0);
}

#[test]
fn much_standard_input_arrives_whole() {
    let fleet = Fleet::start(3);
    let text: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
    let answer = Bugle::on(&fleet).stdin(&text).args(["run", "all", "-f", "1", "--stdin", "cksum"]).run();
    let sums: Vec<&str> = answer.stdout.lines().map(|line| line.split_once(": ").map_or("", |(_, sum)| sum)).collect();
    assert!(sums.len() == 3 && sums.iter().all(|sum| *sum == sums[0] && sum.ends_with(" 3000000")), "{sums:?}");
    answer.exited(0).talked(DONE);
}

#[test]
fn variables_and_directory_are_set_whatever_is_in_them() {
    let fleet = Fleet::start(1);
    let run = |arguments: &[&str]| Bugle::on(&fleet).args(["run", "web01"]).args(arguments).run();
    run(&["--env", "A=it's $HOME", "--env", "B=", "--chdir", "/", "echo \"$A|$B|$(pwd)\""]).is(
        0,
        "it's $HOME||/\n",
        "",
    );
    let answer = run(&["--chdir", "/no where", "echo ran"]).exited(1).said("");
    assert!(answer.stderr.contains("/no where"), "{}", answer.stderr);
    run(&["--env", "A-B=1", "true"]).is(
        2,
        "",
        "error: `--env A-B=1`: write NAME=VALUE\nhint: a name has letters, digits and _ only\n",
    );
    run(&["--env", "A", "true"]).is(
        2,
        "",
        "error: `--env A`: write NAME=VALUE\nhint: a name has letters, digits and _ only\n",
    );
}

#[test]
fn a_terminal_is_given_when_asked_for() {
    if login_name() != "root" {
        return eprintln!("skipped: not root, so sshd gives no terminals");
    }
    let Some(sshd) = server() else { return };
    let run = |arguments: &[&str]| {
        Bugle::on_daemon(&sshd, ["host"]).env("TERM", "xterm").args(["run", "host"]).args(arguments).run()
    };
    run(&["--tty", "test -t 1 && echo $TERM; stty size; echo err >&2"]).is(0, "xterm\r\n24 80\r\nerr\r\n", "");
    run(&["test -t 1 || echo none"]).is(0, "none\n", "");
}

#[test]
fn templates_are_rendered_for_each_host() {
    let fleet = Fleet::start(3);
    let run = |arguments: &[&str]| Bugle::on(&fleet).args(["run", "-f", "1", "--template"]).args(arguments).run();
    run(&["all", "--env", "G={{ group_names | join(',') }}", "echo {{ inventory_hostname }} $G"]).is(
        0,
        "web01: web01 web\nweb02: web02 web\ndb01: db01 db\n",
        DONE,
    );
    run(&["all", "echo {{ nope }}"]).is(
        2,
        "",
        "error: the template does not work for `db01,web[01-02]`: line 1: the host has no variable `nope`\n",
    );
    Bugle::on(&fleet).args(["run", "web01", "echo '{{ nope }}'"]).run().is(0, "{{ nope }}\n", "");
}

#[test]
fn templates_see_the_groups_and_the_other_hosts() {
    let fleet = Fleet::start(3);
    let run = |template: &str| Bugle::on(&fleet).args(["run", "web01", "--template", template]).run();
    run("echo {{ groups.web | join(' ') }}, {{ groups['all'] | length }}").is(0, "web01 web02, 3\n", "");
    run("echo {{ hostvars['db01'].group_names[0] }}").is(0, "db\n", "");
    run("echo {{ hostvars['db02'].x }}").is(
        2,
        "",
        "error: the template does not work for `web01`: line 1: the host has no variable `hostvars['db02'].x`\n",
    );
    let place = Place::new();
    let inventory = place.file(
        "hosts",
        "[web]\nweb01 ansible_host=\"{{ hostvars[groups['db'][0]].address }}\"\n[db]\ndb01 address=10.0.0.7\n",
    );
    let answer = Bugle::alone().args(["-F", "none", "-i"]).arg(inventory).args(["config", "web01"]).run().exited(0);
    assert!(answer.stdout.contains("\nhostname 10.0.0.7\n"), "{}", answer.stdout);
}

#[test]
fn variables_of_variables_are_rendered_wherever_they_are_used() {
    let place = Place::new();
    let inventory = place.file(
        "inventory.yaml",
        "all:\n  vars: {net: 192.0.2, url: 'http://{{ ansible_host }}/', ports: {ssh: '{{ base + 22 }}'}, base: 2200}\n  \
         hosts:\n    web01: {ip: '{{ net }}.7', ansible_host: '{{ ip }}', ansible_port: '{{ ports.ssh }}'}\n    \
         web02: {ansible_host: '{{ hostvars.web01.ip }}'}\n",
    );
    let call = || Bugle::alone().args(["-F", "none", "-i"]).arg(&inventory);
    let rendered = call().args(["run", "all", "--dry-run", "--template", "--", "get {{ url }}"]).run();
    rendered.is(0, "would run on web[01-02] (2):\n  get http://192.0.2.7/\n", "");
    let config = call().args(["config", "web01"]).run().exited(0).stdout;
    assert!(config.contains("\nhostname 192.0.2.7\nport 2222\n"), "{config}");
    let circle = place.file("circle.ini", "h ansible_host='{{ a }}' a='{{ b }}' b='{{ a }}'\n");
    Bugle::alone().at(&place).args(["-F", "none", "-i"]).arg(&circle).args(["run", "h", "id"]).run().is(
        2,
        "",
        "error: <home>/circle.ini:1:3: `ansible_host` of `h`: variables name each other in a circle: a > b > a\n    \
         1 | h ansible_host='{{ a }}' a='{{ b }}' b='{{ a }}'\n      |   ^\n",
    );
}

#[test]
fn a_quoted_variable_is_one_word_of_the_shell_whatever_it_holds() {
    let values =
        ["", "plain", "a b", "it's", "$(id)`id`\\\"", "new\nline", "; exit 9", "*?[a]", "ü€", "''", "$HOME", "-n"];
    let fleet = Fleet::start(1);
    let place = Place::new();
    let variables = serde_json::json!({"all": {"vars": {"values": values, "number": 7}}});
    let inventory = place.file("values.yaml", variables.to_string());
    let template = "{% for value in values %}printf '<%s>' {{ value | quote }}\n{% endfor %}echo {{ number | quote }}";
    let expected: String = values.iter().map(|value| format!("<{value}>")).collect();
    let call = Bugle::on(&fleet).arg("-i").arg(inventory).args(["run", "web01", "--template", template]);
    call.run().is(0, &format!("{expected}7\n"), "");
}

#[test]
fn a_dry_run_says_what_it_would_do_and_calls_nobody() {
    let fleet = Fleet::start(3);
    let place = Place::new();
    let script = place.file("job.sh", "exit 3\n");
    let run = |arguments: &[&str]| Bugle::on(&fleet).at(&place).args(arguments).arg("--dry-run");
    run(&["run", "all"]).args(["systemctl", "restart", "x"]).run().is(
        0,
        "would run on db01,web[01-02] (3):\n  systemctl restart x\n",
        "",
    );
    run(&["run", "all", "--serial", "1,100%"]).arg("true").run().is(
        0,
        "would run on db01,web[01-02] (3):\n  true\nin batches of 1, 2\n",
        "",
    );
    run(&["run", "all", "--template"]).arg("echo {{ group_names[0] }}").run().is(
        0,
        "would run on web[01-02] (2):\n  echo web\nwould run on db01 (1):\n  echo db\n",
        "",
    );
    run(&["script", "web"]).arg(script).args(["a b", "c"]).run().is(
        0,
        "would run the script on web[01-02] (2):\n  <home>/job.sh 'a b' c\n",
        "",
    );
    assert_eq!(calls(&fleet), 0);
}

#[test]
fn a_script_runs_with_its_own_interpreter_and_arguments() {
    let fleet = Fleet::start(2);
    let place = Place::new();
    let shell = place.file("job one.sh", "echo \"${0##*/}|$1|$2|$#|$A\"; exit 3\n");
    let awk = place.file("job.awk", "#!/usr/bin/awk -f\nBEGIN { print \"awk\", ARGV[1] }\n");
    let run = |script: &std::path::Path, arguments: &[&str]| {
        Bugle::on(&fleet)
            .at(&place)
            .args(["script", "all", "-f", "1", "--env", "A=x"])
            .arg(script)
            .args(arguments)
            .run()
    };
    run(&shell, &["a b", "--sudo"]).is(
        1,
        "web01: job one.sh|a b|--sudo|2|x\nweb02: job one.sh|a b|--sudo|2|x\n",
        "web[01-02] (2): exit.status: exit status 3\n2 hosts in <time>: 0 ok, 2 failed\n",
    );
    run(&awk, &["it's"]).is(0, "web01: awk it's\nweb02: awk it's\n", "2 hosts in <time>: 2 ok\n");
    run(&place.path().join("none"), &[]).is(
        2,
        "",
        "error: cannot read the script `<home>/none`: No such file or directory (os error 2)\n",
    );
    run(place.path(), &[]).is(2, "", "error: `<home>` is not a script: a file of at most 64 MiB is needed\n");
}

#[test]
fn half_a_script_is_never_run() {
    let fleet = Fleet::one(Behaviour::executing(Exec::Cut(Cut::Reset)));
    let place = Place::new();
    let script = place.file("job.sh", "echo ran >&2\n");
    let answer =
        Bugle::on(&fleet).args(["script", "host", "--output", "none", "--yes"]).arg(script).run().exited(3).said("");
    assert!(answer.stderr.contains("session.lost") && !answer.stderr.contains("ran\n"), "{}", answer.stderr);
    assert_eq!(fleet.host("host").commands().len(), 1, "what may have begun is not begun again");
}

#[test]
fn batches_go_one_after_the_other_and_stop_when_one_fails() {
    let fleet = Fleet::start(6);
    let run = |arguments: &[&str]| Bugle::on(&fleet).args(["run", "all", "--serial", "1,2,100%"]).args(arguments).run();
    let answer = run(&["-v", "--pause", "20ms", "true"]).exited(0).said("");
    let batches: Vec<&str> = answer.stderr.lines().filter(|line| line.starts_with("batch ")).collect();
    assert_eq!(batches, ["batch 1 of 3: web01", "batch 2 of 3: web[02-03] (2)", "batch 3 of 3: db[01-02],web04 (3)"]);
    run(&["--max-fail", "0", "[ $FLEET_HOST != web02 ]"]).is(
        4,
        "",
        "web02: exit.status: exit status 1\nnever started: db[01-02],web04 (3)\n\
         6 hosts in <time>: 2 ok, 1 failed, 3 never started; stopped early: more hosts failed than allowed\n",
    );
    run(&["false"]).is(
        4,
        "",
        "note: every host of the batch failed, so no further batch is started (`--max-fail 100%` goes on)\n\
         web01: exit.status: exit status 1\nnever started: db[01-02],web[02-04] (5)\n\
         6 hosts in <time>: 0 ok, 1 failed, 5 never started; stopped early: more hosts failed than allowed\n",
    );
}

#[test]
fn a_run_stops_when_more_hosts_failed_than_allowed() {
    let fleet = Fleet::start(6);
    let run = |arguments: &[&str]| Bugle::on(&fleet).args(["run", "all", "-f", "1"]).args(arguments).run();
    let stopped = "web01: exit.status: exit status 1\nnever started: db[01-02],web[02-04] (5)\n\
                   6 hosts in <time>: 0 ok, 1 failed, 5 never started; stopped early: more hosts failed than allowed\n";
    run(&["--fail-fast", "false"]).is(4, "", stopped);
    run(&["--max-fail", "0", "false"]).is(4, "", stopped);
    run(&["--max-fail", "2", "false"]).is(
        4,
        "",
        "web[01-03] (3): exit.status: exit status 1\nnever started: db[01-02],web04 (3)\n\
         6 hosts in <time>: 0 ok, 3 failed, 3 never started; stopped early: more hosts failed than allowed\n",
    );
    run(&["--max-fail", "50%", "[ $FLEET_HOST != db01 ]"]).is(
        1,
        "",
        "db01: exit.status: exit status 1\n6 hosts in <time>: 5 ok, 1 failed\n",
    );
}

#[test]
fn a_time_limit_ends_the_command_on_its_host_and_not_the_others() {
    let Some(sshd) = server() else { return };
    let place = Place::new();
    let pids = place.path().join("pids");
    let command = format!("case $N in 2) echo $$ >>{}; exec sleep 1000;; esac; echo done", pids.display());
    let answer = Bugle::on_daemon(&sshd, ["h1", "h2"])
        .at(&place)
        .args(["run", "h1,h2", "--template", "--timeout", "1s", "--env", "N={{ inventory_hostname[1] }}"])
        .arg(command)
        .run();
    answer.is(
        1,
        "h1: done\n",
        "h2: timeout: not done after <time>; its process was ended\nhint: --timeout sets how long a command may take\n\
         2 hosts in <time>: 1 ok, 1 timed out\n",
    );
    gone(&place.read("pids"));
}

#[test]
fn a_deadline_ends_what_runs_and_starts_nothing_more() {
    let Some(sshd) = server() else { return };
    let place = Place::new();
    let pids = place.path().join("pids");
    let answer = Bugle::on_daemon(&sshd, ["h1", "h2", "h3"])
        .at(&place)
        .args(["run", "all", "-f", "1", "--deadline", "1s"])
        .arg(format!("echo $$ >>{}; exec sleep 1000", pids.display()))
        .run();
    answer
        .exited(4)
        .said("")
        .told("never started: h[2-3] (2)\n")
        .told("3 hosts in <time>: 0 ok, 1 cancelled, 2 never started; stopped early: the deadline passed\n");
    gone(&place.read("pids"));
}

#[test]
fn throttled_hosts_are_tried_again_and_refused_logins_are_not() {
    let throttled = Behaviour::receiving(Reception::SaysAtFirst("Exceeded MaxStartups\r\n", 2));
    let fleet = Fleet::one(throttled.clone());
    let answer = Bugle::on(&fleet).args(["run", "host", "-v", "echo ran"]).run().exited(0).said("ran\n");
    let tries = answer
        .stderr
        .lines()
        .filter(|line| line.contains("pre_banner.throttled") && line.contains("next try in <time>"));
    assert_eq!(tries.count(), 2, "{}", answer.stderr);
    assert_eq!(calls(&fleet), 3);
    let fleet = Fleet::one(throttled);
    Bugle::on(&fleet)
        .args(["run", "host", "--retries", "0", "echo ran"])
        .run()
        .exited(255)
        .said("")
        .told("host: pre_banner.throttled: ");
    assert_eq!(calls(&fleet), 1);
    let fleet = Fleet::one(Behaviour::letting_in(Login::Nobody));
    Bugle::on(&fleet)
        .args(["run", "host", "--retries", "5", "echo ran"])
        .run()
        .exited(255)
        .said("")
        .told("host: auth.refused: ");
    assert_eq!(calls(&fleet), 1);
}

#[test]
fn the_exit_code_is_the_largest_status_when_asked_for() {
    let fleet = Fleet::start(3);
    let run = |arguments: &[&str]| Bugle::on(&fleet).args(["run"]).args(arguments).run();
    let command = "case $FLEET_HOST in web01) exit 9;; web02) exit 4;; esac";
    run(&["all", "--exit", "remote", "-q", command]).exited(9);
    run(&["all", "--exit", "run", "-q", command]).exited(1);
    run(&["all", "--exit", "remote", "-q", "true"]).exited(0);
    run(&["web01", "--exit", "run", command]).exited(1);
    run(&["web01", "--output", "stream", command]).exited(1);
    run(&["web01", command]).exited(9);
}

#[test]
fn hosts_are_reached_by_what_is_typed_alone() {
    let fleet = Fleet::start(3);
    let web = fleet.host("web01");
    let typed = |arguments: &[&str]| {
        let known = format!("UserKnownHostsFile={}", fleet.known_hosts().display());
        Bugle::alone()
            .redact(&fleet.directory().display().to_string(), "<fleet>")
            .args(["-F", "none", "-l", USER, "-o", &known, "-I"])
            .arg(fleet.key())
            .args(arguments)
            .run()
    };
    let port = web.address.port().to_string();
    let address = web.address.ip().to_string();
    typed(&["--port", &port, "run", &address, "echo $FLEET_HOST"]).is(0, "web01\n", "");
    typed(&["run", &format!("ssh://{address}:{port}"), "echo $FLEET_HOST"]).is(0, "web01\n", "");
}

#[test]
fn a_jump_host_is_passed_with_its_own_configuration() {
    let fleet = Fleet::start(3);
    let (web, db) = (fleet.host("web01"), fleet.host("db01"));
    // What is typed is for the last host, as with ssh; so the file has to say how the first is reached.
    Bugle::on(&fleet)
        .args(["-J", &web.address.to_string(), "run", "db01", "echo $FLEET_HOST"])
        .run()
        .is(0, "db01\n", "");
    assert_eq!((web.counts().tunnels, db.counts().connections, db.commands().len()), (1, 1, 1));
    assert!(web.commands().is_empty());
    Bugle::on(&fleet).args(["-J", "127.1.0.1:1", "run", "db01", "true"]).run().is(
        255,
        "",
        "db01: tcp.refused: jump host `127.1.0.1`: connection refused on port 1\n\
         hint: is sshd running there, and on that port? -v shows the address\n",
    );
}

#[test]
fn no_time_to_connect_in_the_ssh_config_is_no_limit() {
    let fleet = Fleet::start(1);
    Bugle::on(&fleet).args(["-o", "ConnectTimeout=0", "run", "web01", "echo reached"]).run().is(0, "reached\n", "");
}
