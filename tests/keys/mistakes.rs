//! What is refused before any host is called.

use crate::fleet::openssh::keygen;
use crate::host::Host;
use std::fs;

#[test]
fn a_mistake_in_what_was_typed_stops_before_anything_is_contacted() {
    let Some(host) = Host::start() else { return };
    let key = host.key("alice").unwrap();
    let place = &host.place;
    let long = place.file("long.pub", format!("{} {}\n", key.line, "x".repeat(9000)));
    let with_options = place.file("options.pub", format!("restrict {}\n", key.line));
    let nonsense = place.file("nonsense.pub", "hello\n");
    let empty = place.file("empty.pub", "# nothing\n");
    let locked = place.path().join("locked");
    keygen(&locked, &["-t", "ed25519", "-N", "secret", "-a", "1"]).unwrap();
    let open = place.path().join("open");
    fs::copy(&key.private, &open).unwrap();
    fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let public = key.public();
    let cases: [(&std::path::Path, &[&str], &str); 10] = [
        (&long, &[], "the line would have"),
        (&with_options, &[], "`restrict` stands before the key"),
        (&nonsense, &[], "nonsense.pub:1: not a public key"),
        (&empty, &[], "holds no key"),
        (&place.path().join("absent"), &[], "cannot read the key"),
        (&locked, &[], "is locked, and nobody gave its passphrase"),
        (&open, &[], "others can read it"),
        (&public, &["--options", "from=10.0.0.0/8"], "not in quotes"),
        (&public, &["--options", "restrict,ptty"], "did you mean `pty`?"),
        (&public, &["--for", "a b"], "contains ` `"),
    ];
    for (key, more, words) in cases {
        let answer = host.keys("deploy").arg("--key").arg(key).args(more).run().exited(2);
        assert!(answer.stderr.contains(words), "{}: {more:?}: {}", key.display(), answer.stderr);
    }
    assert!(!host.daemon.log().contains("Connection from"), "{}", host.daemon.log());
    host.keys("deploy").run().exited(2).told("there is no key to roll out");
}
