//! `bugle keys list`: who can log in where.

use crate::fleet::openssh::keygen;
use crate::fleet::sftp_daemon::STRANGER;
use crate::host::Host;
use std::fs;

#[test]
fn a_table_shows_keys_users_and_what_is_wrong_with_them() {
    let Some(host) = Host::start() else { return };
    let weak = host.place.path().join("weak");
    keygen(&weak, &["-t", "rsa", "-b", "1024"]).unwrap();
    let weak = fs::read_to_string(weak.with_extension("pub")).unwrap();
    let (alice, own) = (host.key("alice").unwrap(), host.text("root"));
    host.write("root", format!("{own}{}\n{}\n{weak}what is this\n", alice.line, alice.line));
    host.write(STRANGER, format!("restrict,from=\"10.0.0.0/8\" {}\n", alice.line));
    host.keys("list").run().is(
        0,
        "COMMENT  KEY                                                 TYPE         USER  OPTIONS  FLAGS                   HOSTS\n\
         alice    SHA256:<fingerprint>  ED25519 256  root  -        duplicate               host (1)\n\
         test     SHA256:<fingerprint>  RSA 1024     root  -        weak: RSA of 1024 bits  host (1)\n\
         user     SHA256:<fingerprint>  ED25519 256  root  -        -                       host (1)\n\
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
