//! The verbs that call nobody: `hosts`, `inventory`, `config`, `completions`, `man`, and the help.

use crate::bugle::{Bugle, Place, calls};
use crate::fleet::Fleet;
use crate::fleet::openssh::find;
use std::process::Command;

const INVENTORY: &str = "\
all:
  children:
    web:
      hosts:
        web[01:03]:
      vars:
        tier: front
    db:
      hosts:
        db01:
          ansible_host: 192.0.2.7
          ansible_port: 2222
    prod:
      children:
        db:
      hosts:
        web01:
";

/// A call that knows the inventory above.
fn bugle() -> Bugle {
    let place = Place::new();
    let inventory = place.file("inventory.yaml", INVENTORY);
    Bugle::alone().at(&place).args(["-F", "none", "-i"]).arg(inventory)
}

#[test]
fn hosts_prints_who_is_selected_a_name_a_line() {
    for (arguments, expected) in [
        ("all", "web01\nweb02\nweb03\ndb01\n"),
        ("*", "web01\nweb02\nweb03\ndb01\n"),
        ("web", "web01\nweb02\nweb03\n"),
        ("@web", "web01\nweb02\nweb03\n"),
        ("web[02-03]", "web02\nweb03\n"),
        ("web[01-03/2]", "web01\nweb03\n"),
        ("web[01:02]", "web01\nweb02\n"),
        ("web*", "web01\nweb02\nweb03\n"),
        (r"~(web|db)01$", "web01\ndb01\n"),
        ("db01,web02", "db01\nweb02\n"),
        ("db01:web02", "db01\nweb02\n"),
        ("web&prod", "web01\n"),
        ("web:&prod", "web01\n"),
        ("web!prod", "web02\nweb03\n"),
        ("web:!prod", "web02\nweb03\n"),
        ("web^prod", "web02\nweb03\ndb01\n"),
        ("web[0],web[-1]", "web01\nweb03\n"),
        ("web[0:1]", "web01\nweb02\n"),
        ("192.0.2.1,[2001:db8::1]:22,u@192.0.2.2:2222,ssh://u@far:22", "192.0.2.1\n2001:db8::1\n192.0.2.2\nfar\n"),
    ] {
        bugle().args(["hosts", arguments]).run().is(0, expected, "");
    }
}

#[test]
fn hosts_shows_the_selection_in_every_form() {
    bugle().args(["hosts", "all", "--fold"]).run().is(0, "db01,web[01-03]\n", "");
    bugle().args(["hosts", "all", "--count"]).run().is(0, "4\n", "");
    bugle().args(["hosts", "web01,db", "--groups"]).run().is(0, "web01: prod web\ndb01: db prod\n", "");
    bugle().args(["hosts", "all", "--limit", "web", "--limit", "!web03", "-x", "web01"]).run().is(0, "web02\n", "");
    let json = r#"[
  {
    "name": "web02",
    "groups": [
      "web"
    ],
    "user": "deploy",
    "port": 2200
  }
]
"#;
    bugle().args(["hosts", "deploy@web02:2200", "--json", "-"]).run().is(0, json, "");
    bugle().args(["hosts", "deploy@web02:2200", "--json"]).run().is(0, json, "");
}

#[test]
fn hosts_writes_its_json_into_a_file() {
    let place = Place::new();
    let inventory = place.file("hosts", "web01\n");
    Bugle::alone()
        .at(&place)
        .args(["-F", "none", "-i"])
        .arg(inventory)
        .args(["hosts", "all", "--json", "out.json"])
        .run()
        .is(0, "", "");
    assert!(place.read("out.json").contains(r#""name": "web01""#));
}

#[test]
fn targets_come_from_standard_input_and_from_files() {
    bugle().stdin("web01 # the first\n\n# nobody\ndb\n").args(["hosts", "-"]).run().is(0, "web01\ndb01\n", "");
    let place = Place::new();
    place.file("list", "web[02-03]\n");
    let inventory = place.file("inventory.yaml", INVENTORY);
    Bugle::alone().at(&place).arg("-i").arg(inventory).args(["-F", "none", "hosts", "^list"]).run().is(
        0,
        "web02\nweb03\n",
        "",
    );
}

#[test]
fn the_hosts_of_the_ssh_config_are_a_group() {
    let place = Place::new();
    let config = place.file("config", "Host bastion gate\n  Port 2222\nHost *.example.com !x\n  User u\n");
    let bugle = || Bugle::alone().at(&place).arg("-F").arg(&config);
    bugle().args(["hosts", "@ssh_config"]).run().is(0, "bastion\ngate\n", "");
    bugle().args(["hosts", "all"]).run().is(0, "bastion\ngate\n", "");
    bugle().args(["-i", "a,", "hosts", "all"]).run().is(0, "a\n", "");
    bugle().args(["-i", "a,", "hosts", "gate"]).run().is(0, "gate\n", "");
}

#[test]
fn the_inventory_is_shown_in_the_shapes_of_ansible() {
    let host = "{\n    \"ansible_host\": \"192.0.2.7\",\n    \"ansible_port\": 2222\n}\n";
    bugle().args(["inventory", "--host", "db01"]).run().is(0, host, "");
    let graph = "\
@all:
  |--@ungrouped:
  |--@web:
  |  |--web01
  |  |--web02
  |  |--web03
  |--@db:
  |  |--db01
  |--@prod:
  |  |--@db:
  |  |  |--db01
  |  |--web01
";
    bugle().args(["inventory", "--graph"]).run().is(0, graph, "");
    let graph = "@db:\n  |--db01\n  |  |--{ansible_host = 192.0.2.7}\n  |  |--{ansible_port = 2222}\n";
    bugle().args(["inventory", "--graph", "db", "--vars"]).run().is(0, graph, "");
    let list = r#"{
    "_meta": {
        "hostvars": {
            "db01": {
                "ansible_host": "192.0.2.7",
                "ansible_port": 2222
            },
            "web01": {
                "tier": "front"
            },
            "web02": {
                "tier": "front"
            },
            "web03": {
                "tier": "front"
            }
        }
    },
    "all": {
        "children": [
            "ungrouped",
            "web",
            "db",
            "prod"
        ]
    },
    "db": {
        "hosts": [
            "db01"
        ]
    },
    "prod": {
        "children": [
            "db"
        ],
        "hosts": [
            "web01"
        ]
    },
    "web": {
        "hosts": [
            "web01",
            "web02",
            "web03"
        ]
    }
}
"#;
    bugle().args(["inventory", "--list"]).run().is(0, list, "");
}

#[test]
fn an_inventory_is_read_from_standard_input_in_the_form_that_it_has() {
    for text in [
        "web01 rack=7\n",
        "[web]\nweb01\n[web:vars]\nrack=7\n",
        "all:\n  hosts:\n    web01: {rack: 7}\n",
        r#"{"all": {"hosts": {"web01": {"rack": 7}}}}"#,
    ] {
        let call = || Bugle::alone().args(["-F", "none", "-i", "-"]).stdin(text);
        call().args(["hosts", "all"]).run().is(0, "web01\n", "");
        let run = ["run", "all", "--template", "--dry-run", "echo {{ rack }}"];
        call().args(run).run().is(0, "would run on web01 (1):\n  echo 7\n", "");
        call().args(["inventory", "--check"]).run().exited(0);
    }
    let call = |text: &str| Bugle::alone().args(["-F", "none", "-i", "-"]).stdin(text);
    let place = "error: standard input:2:1: bad range: the bracket is never closed in `[web` at column 1\n";
    call("web01\n[web\n").args(["hosts", "all"]).run().exited(2).said("").told(place);
    let taken =
        |by: &str| format!("error: `-i -` and {by} cannot both read standard input\nhint: give one of them a file\n");
    call("web01\n").args(["run", "all", "--stdin", "cat"]).run().is(2, "", &taken("--stdin"));
    call("web01\n").args(["hosts", "web01,-"]).run().is(2, "", &taken("the targets `-`"));
    call("web01\n").args(["-i", "-", "hosts", "all"]).run().is(2, "", &taken("another `-i -`"));
}

#[test]
fn check_says_how_much_there_is_or_all_that_is_wrong() {
    bugle().args(["inventory", "--check"]).run().is(0, "4 hosts in 3 groups, 0 warnings\n", "");
    let place = Place::new();
    let wrong = place.file("wrong.yaml", "all:\n  hsots:\n    a:\n  children:\n    web:\n      hots:\n        b:\n");
    let expected = "\
error: <home>/wrong.yaml:2:3: unknown key `hsots` in group `all`: a group has `hosts`, `vars` and `children`
    2 |   hsots:
      |   ^
hint: did you mean `hosts`?
<home>/wrong.yaml:6:7: unknown key `hots` in group `web`: a group has `hosts`, `vars` and `children`
    6 |       hots:
      |       ^
hint: did you mean `hosts`?
";
    Bugle::alone().at(&place).args(["inventory", "--check", "-i"]).arg(wrong).run().is(2, "", expected);
}

#[test]
fn check_tells_every_mistake_in_every_connection_variable_of_every_host() {
    let place = Place::new();
    let wrong = place.file(
        "wrong.ini",
        "[web]\n\
         web1 ansible_port=abc ansible_user='a;b' ansible_become=maybe\n\
         web2 ansible_ssh_common_args='-o Prot=1 -J a,,b -p x' ansible_ssh_extra_args='-W x:1 -l a;b'\n\
         web3 ansible_host='a b'\n\
         web4 ansible_host='{{ nobody }}' ansible_timeout=99999999999\n\
         [web:vars]\n\
         ansible_ssh_args=-o Port=0\n",
    );
    let expected = "\
error: <home>/wrong.ini:2:6: `ansible_port` of `web1`: must be a port from 1 to 65535, not `abc`
    2 | web1 ansible_port=abc ansible_user='a;b' ansible_become=maybe
      |      ^
error: <home>/wrong.ini:2:23: `ansible_user` of `web1`: the user name `a;b` contains `;`, which is not allowed in names
    2 | web1 ansible_port=abc ansible_user='a;b' ansible_become=maybe
      |                       ^
error: <home>/wrong.ini:2:42: `ansible_become` of `web1`: must be a boolean, not `maybe`
    2 | web1 ansible_port=abc ansible_user='a;b' ansible_become=maybe
      |                                          ^
error: <home>/wrong.ini:7:1: `ansible_ssh_args` of `web[1-4]`: `0` is no value of `Port`: expected a port from 1 to 65535
    Port=0
         ^
error: <home>/wrong.ini:3:6: `ansible_ssh_common_args` of `web2`: `-p x` is not a port
    3 | web2 ansible_ssh_common_args='-o Prot=1 -J a,,b -p x' ansible_ssh_extra_args='-W x:1 -l a;b'
      |      ^
error: <home>/wrong.ini:3:6: `ansible_ssh_common_args` of `web2`: unknown keyword `prot`
    Prot=1
    ^
hint: did you mean `Port`?
error: <home>/wrong.ini:3:6: `ansible_ssh_common_args` of `web2`: jump host `` is not of the form `[user@]host[:port]`
    3 | web2 ansible_ssh_common_args='-o Prot=1 -J a,,b -p x' ansible_ssh_extra_args='-W x:1 -l a;b'
      |      ^
hint: jump hosts are written [user@]host[:port], several with commas between them, IPv6 in brackets
error: <home>/wrong.ini:3:55: `ansible_ssh_extra_args` of `web2`: the user name `a;b` contains `;`, which is not allowed in names
    3 | web2 ansible_ssh_common_args='-o Prot=1 -J a,,b -p x' ansible_ssh_extra_args='-W x:1 -l a;b'
      |                                                       ^
error: <home>/wrong.ini:4:6: `ansible_host` of `web3`: the host name `a b` contains ` `, which is not allowed in names
    4 | web3 ansible_host='a b'
      |      ^
error: <home>/wrong.ini:5:6: `ansible_host` of `web4`: line 1: the host has no variable `nobody`
    5 | web4 ansible_host='{{ nobody }}' ansible_timeout=99999999999
      |      ^
error: <home>/wrong.ini:5:34: `ansible_timeout` of `web4`: `99999999999` is no value of `ConnectTimeout`: expected seconds or a time such as `1h30m`
    ConnectTimeout=99999999999
                   ^
";
    let warning = "\
warning: <home>/wrong.ini:3:55: `ansible_ssh_extra_args` of `web2`: `-W x:1` is not supported and left out
    3 | web2 ansible_ssh_common_args='-o Prot=1 -J a,,b -p x' ansible_ssh_extra_args='-W x:1 -l a;b'
      |                                                       ^
";
    let call = || Bugle::alone().at(&place).args(["-F", "none", "-i"]).arg(&wrong);
    call().args(["inventory", "--check"]).run().is(2, warning, expected);
    call().args(["run", "all", "true"]).run().is(2, "", expected);
}

#[test]
fn what_is_left_out_of_the_way_to_a_host_is_a_warning_in_every_run() {
    let place = Place::new();
    let inventory = place.file(
        "inventory.yaml",
        "all:\n  hosts: {web01:, web02:}\n  vars:\n    ansible_ssh_common_args: -F bastion.cfg -L 1:a:2\n    \
         ansible_become_pass: !vault x\n",
    );
    let place_of = "<home>/inventory.yaml:4:5: `ansible_ssh_common_args` of ";
    let shown = "    4 |     ansible_ssh_common_args: -F bastion.cfg -L 1:a:2\n      |     ^\n";
    let warnings = |hosts: &str| {
        format!(
            "warning: {place_of}`{hosts}`: `-L 1:a:2` is not supported and left out\n{shown}\
             warning: {place_of}`{hosts}`: `-F bastion.cfg` is left out: one ssh_config holds for all hosts\n{shown}\
             hint: name it with --ssh-config, or put what it says into `-o` and `-J`\n"
        )
    };
    let run = |arguments: &[&str]| {
        Bugle::alone().at(&place).args(["-F", "none", "-i"]).arg(&inventory).args(arguments).run().exited(0)
    };
    run(&["run", "all", "--dry-run", "id"]).talked(&warnings("web[01-02]"));
    run(&["config", "web01"]).talked(&warnings("web01"));
    run(&["-q", "run", "all", "--dry-run", "id"]).talked("");
    let checked = run(&["inventory", "--check"]).talked("").stdout;
    let sealed = "warning: <home>/inventory.yaml:5:5: `ansible_become_pass` of `web[01-02]`: is encrypted with Ansible's \
                  vault: it is left out\n";
    assert_eq!(checked, format!("{}{sealed}2 hosts in 0 groups, 3 warnings\n", warnings("web[01-02]")));
}

#[test]
fn names_that_the_inventory_does_not_have_are_answered_with_the_nearest() {
    let expected = "error: the inventory has no host `wbe01`\nhint: did you mean `web01`?\n";
    bugle().args(["inventory", "--host", "wbe01"]).run().is(2, "", expected);
    let expected = "error: the inventory has no group `pord`\nhint: did you mean `prod`?\n";
    bugle().args(["inventory", "--graph", "pord"]).run().is(2, "", expected);
    let expected = "error: the inventory has no host `nope`\nhint: `bugle inventory --graph` shows all of them\n";
    bugle().args(["inventory", "--host", "nope"]).run().is(2, "", expected);
}

#[test]
fn config_prints_what_ssh_would_use_and_where_it_comes_from() {
    let place = Place::new();
    let config = place
        .file("config", "Host web*\n  User deploy\n  Ciphers aes128-ctr\nHost *\n  User nobody\n  Compression yes\n");
    let inventory = place.file("inventory", "web01 ansible_host=192.0.2.1 ansible_port=2222\n");
    let bugle = || Bugle::alone().at(&place).arg("-F").arg(&config).arg("-i").arg(&inventory);
    let plain = bugle().args(["config", "web01", "-o", "ServerAliveInterval=7"]).run().exited(0).talked("");
    let explained =
        bugle().args(["config", "web01", "-o", "ServerAliveInterval=7", "--explain"]).run().exited(0).talked("");
    for (line, origin) in [
        ("host web01", "default"),
        ("user deploy", "<home>/config:2"),
        ("hostname 192.0.2.1", "<home>/inventory:1:7"),
        ("port 2222", "<home>/inventory:1:30"),
        ("ciphers aes128-ctr", "<home>/config:3"),
        ("compression yes", "<home>/config:6"),
        ("serveraliveinterval 7", "command line"),
        ("tcpkeepalive yes", "default"),
    ] {
        assert_eq!(plain.stdout.lines().filter(|&found| found == line).count(), 1, "{line}\n{}", plain.stdout);
        let found =
            explained.stdout.lines().find_map(|found| found.strip_prefix(line)?.trim_start().strip_prefix("# "));
        assert_eq!(found, Some(origin), "{line}\n{}", explained.stdout);
    }
    let words = explained.stdout.lines().map(|line| line.split_once(" # ").map_or(line, |(value, _)| value.trim_end()));
    assert_eq!(words.collect::<Vec<_>>(), plain.stdout.lines().collect::<Vec<_>>(), "both tell the same values");
    for (written, expected) in [
        ("joe@web01", ["host web01", "user joe", "hostname 192.0.2.1", "port 2222"]),
        ("web01:33", ["host web01", "user deploy", "hostname 192.0.2.1", "port 33"]),
        ("ssh://root@h1:33", ["host h1", "user root", "hostname h1", "port 33"]),
        ("root@[2001:db8::1]:33", ["host 2001:db8::1", "user root", "hostname 2001:db8::1", "port 33"]),
        ("eve@listed:7", ["host listed", "user eve", "hostname listed", "port 7"]),
    ] {
        let plain = bugle().args(["-i", "eve@listed:7,", "config", written]).run().exited(0).stdout;
        for line in expected {
            assert!(plain.lines().any(|found| found == line), "{written}: {line}\n{plain}");
        }
    }
    bugle().args(["config", "h1:99999"]).run().is(2, "", "error: `99999` is not a port\n");
}

#[test]
fn config_tells_what_was_typed_from_what_was_not() {
    let place = Place::new();
    let file = place.file("config.yaml", "# ours\nuser: mallory\noption:\n  - Port=7\n  - Compression=yes\njump: j\n");
    let call = || Bugle::alone().at(&place).args(["-F", "none"]);
    let explained = |call: Bugle| call.args(["config", "web01", "--explain"]).run().exited(0).stdout;
    let origin = |explained: &str, line: &str| {
        let found = explained.lines().find_map(|found| found.strip_prefix(line)?.trim_start().strip_prefix("# "));
        found.unwrap_or_else(|| panic!("{line}\n{explained}")).to_owned()
    };
    let text = explained(call().arg("--config").arg(&file));
    for (line, expected) in [
        ("user mallory", "<home>/config.yaml:2:7"),
        ("port 7", "<home>/config.yaml:4:5"),
        ("compression yes", "<home>/config.yaml:5:5"),
        ("proxyjump j", "<home>/config.yaml:6:7"),
    ] {
        assert_eq!(origin(&text, line), expected, "{text}");
    }
    let variables = || call().arg("--config").arg(&file).env("BUGLE_USER", "eve").env("BUGLE_OPTION", "Port=8");
    let text = explained(variables());
    assert_eq!((origin(&text, "user eve"), origin(&text, "port 8")), ("BUGLE_USER".into(), "BUGLE_OPTION".into()));
    let text = explained(variables().args(["-l", "typed", "-o", "Port=9"]));
    assert_eq!((origin(&text, "user typed"), origin(&text, "port 9")), ("command line".into(), "command line".into()));
    let wrong = call().env("BUGLE_OPTION", "Prot=1").args(["config", "web01"]).run().exited(2).said("");
    assert!(wrong.stderr.starts_with("error: BUGLE_OPTION: unknown keyword `prot`\n"), "{}", wrong.stderr);
}

#[test]
fn completions_are_what_their_shells_read() {
    for shell in ["bash", "zsh", "fish"] {
        let script = Bugle::alone().args(["completions", shell]).run().exited(0).talked("");
        for word in ["inventory", "completions", "max-fail"] {
            assert!(script.stdout.contains(word), "{shell}: no {word}");
        }
        let Some(program) = find(shell) else { continue };
        let place = Place::new();
        let file = place.file("completion", &script.bytes);
        let read = Command::new(program).arg("-n").arg(file).output().expect("it was found");
        assert!(read.status.success(), "{shell}: {}", String::from_utf8_lossy(&read.stderr));
    }
}

#[test]
fn man_writes_a_page_for_every_verb() {
    let place = Place::new();
    Bugle::alone().at(&place).args(["man", "pages/man1"]).run().is(0, "", "");
    for verb in ["", "-run", "-script", "-hosts", "-inventory", "-config", "-completions", "-man"] {
        let page = place.read(&format!("pages/man1/bugle{verb}.1"));
        assert!(page.contains(".TH bugle"), "bugle{verb}.1 is no manual page");
        assert!(page.contains("Example"), "bugle{verb}.1 has no examples");
    }
}

#[test]
fn a_place_for_the_pages_that_is_none_is_named() {
    let expected = "error: cannot write `/dev/null/pages`\ncaused by: Not a directory (os error 20)\n";
    Bugle::alone().args(["man", "/dev/null/pages"]).run().is(5, "", expected);
}

#[test]
fn every_verb_has_help_with_examples() {
    for verb in ["run", "script", "hosts", "inventory", "config", "completions", "man"] {
        let help = Bugle::alone().args([verb, "--help"]).run().exited(0).talked("");
        assert!(help.stdout.contains("Example") && help.stdout.contains("bugle "), "{verb}:\n{}", help.stdout);
    }
    let help = Bugle::alone().arg("--help").run().exited(0).talked("");
    assert!(help.stdout.contains("Exit codes: 0 all well"), "{}", help.stdout);
    Bugle::alone().arg("--version").run().is(0, concat!("bugle ", env!("CARGO_PKG_VERSION"), "\n"), "");
}

#[test]
fn without_arguments_the_help_is_shown_and_nothing_is_done() {
    let answer = Bugle::alone().run().exited(2).said("");
    assert!(answer.stderr.starts_with("Call a whole fleet of servers at once over SSH"), "{}", answer.stderr);
}

#[test]
fn verbs_that_only_look_call_nobody() {
    let fleet = Fleet::start(3);
    for arguments in
        [&["hosts", "all"][..], &["inventory", "--list"], &["config", "web01"], &["run", "all", "--dry-run", "true"]]
    {
        Bugle::on(&fleet).args(arguments).run().exited(0);
    }
    assert_eq!(calls(&fleet), 0);
}
