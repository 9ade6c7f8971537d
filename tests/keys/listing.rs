//! `bugle keys list`: who can log in where.

use crate::bugle::Bugle;
use crate::fleet::openssh::keygen;
use crate::fleet::sftp_daemon::STRANGER;
use crate::host::Host;
use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Says when a file was last written to: this many days after the first of 1970.
fn date(path: &Path, days: u64) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(days * 86_400);
    File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

#[test]
fn a_table_shows_keys_users_and_what_is_wrong_with_them() {
    let Some(host) = Host::start() else { return };
    let weak = host.place.path().join("weak");
    keygen(&weak, &["-t", "rsa", "-b", "1024"]).unwrap();
    let weak = fs::read_to_string(weak.with_extension("pub")).unwrap();
    let (alice, own) = (host.key("alice").unwrap(), host.text("root"));
    host.write("root", format!("{own}{}\n{}\n{weak}what is this\n", alice.line, alice.line));
    date(&host.file("root"), 20_000);
    host.write(STRANGER, format!("restrict,from=\"10.0.0.0/8\" {}\n", alice.line));
    host.keys("list").run().is(
        0,
        "COMMENT  KEY                                                 TYPE         USER  OPTIONS  EXPIRES  FLAGS                   CHANGED     HOSTS\n\
         alice    SHA256:<fingerprint>  ED25519 256  root  -        -        duplicate               2024-10-04  host (1)\n\
         test     SHA256:<fingerprint>  RSA 1024     root  -        -        weak: RSA of 1024 bits  2024-10-04  host (1)\n\
         user     SHA256:<fingerprint>  ED25519 256  root  -        -        -                       2024-10-04  host (1)\n\
         not understood: host root <daemon>/home/.ssh/authorized_keys:5: the key is cut off\n",
        "",
    );
    let one = host.keys("list").args(["--everywhere", "--key", "alice"]).run().exited(0);
    let rows: Vec<&str> = one.stdout.lines().skip(1).collect();
    assert_eq!(rows.len(), 2, "{}", one.stdout);
    assert!(rows[1].contains("stranger  restrict,from=\"10.0.0.0/8\"  -"), "{}", one.stdout);
    let json = host.keys("list").args(["--everywhere", "--json", "-"]).run().exited(0);
    let objects: Vec<serde_json::Value> = json.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects.len(), 6);
    assert_eq!((&objects[1]["flags"][0], &objects[1]["line"]), (&"duplicate".into(), &2.into()));
    assert_eq!(objects[4]["user"], STRANGER);
    assert_eq!(objects[5]["fault"], "the key is cut off");
}

#[test]
fn a_key_that_has_expired_is_flagged_and_the_age_of_its_file_is_told() {
    let Some(host) = Host::start() else { return };
    let (alice, bob, carol) = (host.key("alice").unwrap(), host.key("bob").unwrap(), host.key("carol").unwrap());
    let text = format!(
        "expiry-time=\"20200131\" {}\nexpiry-time=\"209901311200Z\",restrict {}\ncommand=\"{}\" {}\n",
        alice.line,
        bob.line,
        "echo 0123456789; ".repeat(20),
        carol.line
    );
    host.write(STRANGER, text);
    date(&host.file(STRANGER), 19_000);
    let list = || host.keys("list").args(["--for", STRANGER]);
    // Dates are not those of this run.
    let table = String::from_utf8(list().run().exited(0).bytes).unwrap();
    let rows: Vec<Vec<&str>> =
        table.lines().map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect()).collect();
    assert_eq!(rows[0][4..], ["OPTIONS", "EXPIRES", "FLAGS", "CHANGED", "HOSTS"]);
    assert_eq!(rows[1][4..], ["expiry-time=\"20200131\"", "2020-01-31", "expired", "2022-01-08", "host (1)"]);
    assert_eq!(rows[2][5..], ["2099-01-31T12:00:00Z", "-", "2022-01-08", "host (1)"]);
    // What is long is cut, and whole in JSON.
    assert_eq!(rows[3][4], "command=\"echo 0123456789; echo 012345678…");
    let json = String::from_utf8(list().args(["--json", "-"]).run().exited(0).bytes).unwrap();
    let objects: Vec<serde_json::Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&objects[0]["expires"], &objects[0]["flags"][0]), (&"2020-01-31T00:00:00".into(), &"expired".into()));
    assert_eq!(
        (&objects[1]["expires"], objects[1]["flags"].as_array().unwrap().len()),
        (&"2099-01-31T12:00:00Z".into(), 0)
    );
    assert_eq!((&objects[2]["expires"], &objects[2]["file_changed"]), (&().into(), &"2022-01-08T00:00:00Z".into()));
    assert!(objects[2]["options"].as_str().unwrap().len() > 300);
    list().args(["--key", "nobody"]).run().is(0, "", "no key is `nobody`\n");
}

#[test]
fn the_closing_line_comes_after_the_table() {
    let Some(host) = Host::start() else { return };
    let both = Bugle::on_daemon(&host.daemon, ["one", "two"]).at(&host.place).args(["keys", "list", "all"]);
    let Some(screen) = both.run_on_terminal(&[]) else { return };
    let text = screen.exited(0).stdout;
    let at = |words: &str| text.find(words).unwrap_or_else(|| panic!("{text}"));
    assert!(at("one,two (2)") < at("2 hosts in"), "{text}");
}
