//! `bugle known-hosts list`, `remove` and `import`: files alone, beside `ssh-keygen` and its `-F`, `-R` and `-H`.

use crate::bugle::{Answer, Bugle, Place};
use crate::fleet::openssh::{find, keygen, run_keygen};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Names that the files of `tests/known_hosts` say they are looked up by, and the files that have no malformed line.
fn clean_files() -> Vec<(PathBuf, Vec<String>)> {
    let directory = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/known_hosts"));
    let files = fs::read_dir(directory).expect("it is there").map(|entry| entry.expect("it is there").path());
    let clean = files.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("clean-")));
    clean
        .map(|path| {
            let text = fs::read(&path).expect("it can be read");
            let first =
                String::from_utf8_lossy(text.split(|&byte| byte == b'\n').next().unwrap_or_default()).into_owned();
            let names = first.strip_prefix("# lookup: ").expect("the first line says what is looked up");
            (path, names.split_whitespace().map(str::to_owned).collect())
        })
        .collect()
}

fn text(place: &Place, name: &str) -> String {
    place.path().join(name).display().to_string()
}

fn call(place: &Place, arguments: &[&str]) -> Answer {
    Bugle::alone().at(place).args(["-F", "none", "known-hosts"]).args(arguments).run()
}

/// Two keys, as public lines `TYPE BASE64`.
fn keys(place: &Place) -> Option<[String; 2]> {
    let mut lines = Vec::new();
    for name in ["one", "two"] {
        let path = place.path().join(name);
        let path = if path.exists() { path } else { keygen(&path, &["-t", "ed25519"])? };
        let text = fs::read_to_string(path.with_extension("pub")).expect("it was made");
        lines.push(text.split_whitespace().take(2).collect::<Vec<_>>().join(" "));
    }
    lines.try_into().ok()
}

#[test]
fn remove_leaves_what_ssh_keygen_leaves_and_lists_what_it_finds() {
    let Some(ssh_keygen) = find("ssh-keygen") else { return };
    let mut compared = 0;
    for (path, names) in clean_files() {
        for name in names {
            for hashed in [false, true] {
                // ssh-keygen does not find hashes of names in capitals; ssh itself asks for none.
                let name = &if hashed { name.to_ascii_lowercase() } else { name.clone() };
                let place = Place::new();
                let text = fs::read(&path).expect("it can be read");
                let (ours, theirs) = (place.file("ours", &text), place.file("theirs", &text));
                let keygen = |arguments: &[&str], file: &Path| {
                    Command::new(&ssh_keygen).args(arguments).arg("-f").arg(file).output().expect("it was found")
                };
                if hashed {
                    assert!(keygen(&["-H"], &theirs).status.success());
                    fs::copy(&theirs, &ours).expect("they can be written");
                }
                let before = fs::read(&ours).expect("it can be read");
                let found = keygen(&["-l", "-F", name], &theirs);
                let listed = call(&place, &["list", "--file", "ours", name, "--json"]);
                let lines = listed.stdout.matches("\"fingerprint\"").count();
                assert_eq!(listed.code(), i32::from(!found.status.success()), "{name} in {}", path.display());
                let headings = String::from_utf8_lossy(&found.stdout).matches("# Host ").count();
                assert_eq!(lines, headings, "{name} in {}\n{}", path.display(), listed.stdout);
                assert!(keygen(&["-R", name], &theirs).status.success());
                call(&place, &["remove", "--file", "ours", name]).exited(0);
                let (mut ours, theirs) = (place.read("ours"), place.read("theirs"));
                // ssh-keygen ends every line of a file that it rewrites.
                if !ours.ends_with('\n') && theirs.ends_with('\n') {
                    ours.push('\n');
                }
                assert_eq!(ours, theirs, "{name} in {}", path.display());
                let is_changed = before != fs::read(place.path().join("ours")).expect("it is there");
                assert_eq!(place.has("ours.old"), is_changed, "{name} in {}", path.display());
                if is_changed {
                    assert_eq!(fs::read(place.path().join("ours.old")).expect("it is there"), before);
                }
                compared += 1;
            }
        }
    }
    assert!(compared > 20, "only {compared} were compared");
}

#[test]
fn a_file_with_an_invalid_line_is_not_edited() {
    let place = Place::new();
    let Some([one, _]) = keys(&place) else { return };
    let text = format!("web01 {one}\nbroken ssh-ed25519\n");
    let file = place.file("kh", &text);
    let told = "error: kh:2:19: the key or its type is missing\n  broken ssh-ed25519\n\
                hint: kh was left as it is: mend or delete these lines first\n";
    call(&place, &["remove", "--file", "kh", "web01"]).is(1, "", told);
    assert_eq!(fs::read_to_string(&file).expect("it is there"), text);
    assert!(!place.has("kh.old"));
    if let Some(ssh_keygen) = find("ssh-keygen") {
        let theirs = Command::new(ssh_keygen).args(["-R", "web01", "-f"]).arg(&file).output().expect("it was found");
        assert_eq!(theirs.status.code(), Some(1));
    }
}

#[test]
fn lines_of_a_file_that_was_named_by_mistake_are_not_shown() {
    let place = Place::new();
    let Some(_) = keys(&place) else { return };
    let secret = place.read("one");
    let private = "error: `one` holds a private key, and no host keys\n\
                   hint: host keys are public ones: name the file with `.pub` beside it\n";
    call(&place, &["import", "one", "--file", "kh"]).is(2, "", private);
    call(&place, &["import", "--cert-authority", "*", "one", "--file", "kh"]).is(2, "", private);
    call(&place, &["remove", "web01", "--file", "one"]).is(2, "", private);
    let piped = Bugle::alone().at(&place).args(["-F", "none", "known-hosts", "import", "-", "--file", "kh"]);
    piped.stdin(&secret).run().is(2, "", &private.replace("`one`", "`standard input`"));
    assert_eq!(place.read("one"), secret);
    place.file("binary", "web01 ssh-ed25519\0\0");
    let binary = "error: `binary` is not text, and holds no host keys\n";
    call(&place, &["import", "binary", "--file", "kh"]).is(2, "", binary);
    let long = "A!".repeat(200);
    place.file("long", format!("web01 ssh-ed25519 {long}\n@{long} ssh-ed25519 AAAA\n"));
    let answer = call(&place, &["import", "long", "--file", "kh"]).exited(2);
    assert!(answer.stderr.lines().all(|line| line.chars().count() < 170), "{}", answer.stderr);
    assert!(answer.stderr.contains("A!…\n"), "{}", answer.stderr);
    assert!(!place.has("kh"));
}

#[test]
fn a_file_without_an_end_is_not_read_until_memory_is_gone() {
    let place = Place::new();
    call(&place, &["import", "/dev/zero", "--file", "kh"]).is(
        2,
        "",
        "error: `/dev/zero` is larger than 64 MiB: no file of keys is\n",
    );
    call(&place, &["list", "--file", "/dev/zero"]).is(2, "", "error: `/dev/zero` is longer than 256 MiB\n");
}

#[test]
fn patterns_are_forgotten_by_what_they_say_as_ssh_keygen_forgets_them() {
    let place = Place::new();
    let Some([one, two]) = keys(&place) else { return };
    let text = format!("*.10.17 {one}\nother {two}\n[h?]:2222,x {one}\n@cert-authority *.10.17 {two}\n");
    for name in ["*.10.17", "[h?]:2222", "[H?]:2222"] {
        let (ours, theirs) = (place.file("ours", &text), place.file("theirs", &text));
        call(&place, &["list", "--file", "ours", name]).exited(0);
        call(&place, &["remove", "--file", "ours", name]).exited(0);
        let Some(ssh_keygen) = find("ssh-keygen") else { return };
        let gone = Command::new(ssh_keygen).args(["-R", name, "-f"]).arg(&theirs).output().expect("it was found");
        assert!(gone.status.success());
        assert_eq!(fs::read(&ours).expect("it is there"), fs::read(&theirs).expect("it is there"), "{name}");
        assert!(place.read("ours").lines().count() == 3);
    }
    call(&place, &["remove", "--file", "ours", "*.10.18"]).exited(2);
}

#[test]
fn hosts_are_forgotten_by_the_names_that_they_are_reached_by() {
    let place = Place::new();
    let Some([one, two]) = keys(&place) else { return };
    let text = format!("[10.0.0.1]:2222 {one}\nweb02 {two}\nother {one}\n@revoked [10.0.0.1]:2222 {two}\n");
    place.file("kh", &text);
    let inventory = place.file("inventory", "web01 ansible_host=10.0.0.1 ansible_port=2222\nweb02\n");
    let call = |arguments: &[&str]| {
        let own = format!("UserKnownHostsFile={}", place.path().join("kh").display());
        let call = Bugle::alone().at(&place).args(["-F", "none", "-o", &own, "-i"]).arg(&inventory);
        call.arg("known-hosts").args(arguments).run()
    };
    let known = "<home>/kh";
    let first = format!("web01 ([10.0.0.1]:2222)  ED25519  SHA256:<fingerprint>  {known}:1");
    let second = format!("web02                    ED25519  SHA256:<fingerprint>  {known}:2\n");
    call(&["list", "web[01-02]"]).is(
        0,
        &format!("{first}\nweb01 ([10.0.0.1]:2222)  ED25519  SHA256:<fingerprint>  {known}:4  @revoked\n{second}"),
        "",
    );
    call(&["remove", "all", "--dry-run"]).is(0, &format!("{first}\n{second}"), "");
    assert_eq!(place.read("kh"), text);
    call(&["remove", "all"]).is(
        0,
        &format!("{first}\n{second}"),
        &format!("{known} is new; the former one is {known}.old\n"),
    );
    assert_eq!(place.read("kh"), format!("other {one}\n@revoked [10.0.0.1]:2222 {two}\n"));
    call(&["remove", "web02", "nobody"]).is(0, "", "nothing is known of web02\nnothing is known of nobody\n");
    call(&["list", "web02"]).is(1, "", "nothing is known of web02\n");
    call(&["remove", "web*x"]).exited(2);
    // What went is told before where it went.
    place.file("kh", &text);
    let own = format!("UserKnownHostsFile={}", place.path().join("kh").display());
    let call = Bugle::alone().at(&place).args(["-F", "none", "-o", &own, "known-hosts", "remove", "web02"]);
    let Some(screen) = call.run_on_terminal(&[]) else { return };
    screen.exited(0).said(&format!(
        "web02  ED25519  SHA256:<fingerprint>  {known}:2\n{known} is new; the former one is {known}.old\n"
    ));
}

#[test]
fn what_ssh_keyscan_prints_is_imported_once_and_hashed_where_that_is_configured() {
    let place = Place::new();
    let Some([one, two]) = keys(&place) else { return };
    let scan = format!("# web01:22 SSH-2.0-OpenSSH_9.9\nweb01 {one}\n[web01]:2222,web02 {two}\n");
    let import = |options: &[&str]| {
        let own = format!("UserKnownHostsFile={}", place.path().join("kh").display());
        Bugle::alone()
            .at(&place)
            .args(["-F", "none", "-o", &own])
            .args(options)
            .args(["known-hosts", "import", "-"])
            .stdin(&scan)
            .run()
    };
    let added = "+ web01  ED25519  SHA256:<fingerprint>\n+ [web01]:2222  ED25519  SHA256:<fingerprint>\n\
                 + web02  ED25519  SHA256:<fingerprint>\n";
    import(&["-o", "HashKnownHosts=yes"]).is(0, added, "3 host keys added to <home>/kh\n");
    let text = place.read("kh");
    assert!(text.lines().count() == 3 && text.lines().all(|line| line.starts_with("|1|")), "{text}");
    import(&[]).is(0, "", "0 host keys added to <home>/kh; 3 known already\n");
    assert_eq!(place.read("kh"), text, "nothing is written twice");
    assert!(!place.has("kh.old"));
    let Some(ssh_keygen) = find("ssh-keygen") else { return };
    for name in ["web01", "[web01]:2222", "web02"] {
        let theirs = Command::new(&ssh_keygen).args(["-F", name, "-f"]).arg(place.path().join("kh")).output();
        assert!(theirs.expect("it was found").status.success(), "{name}");
    }
}

#[test]
fn an_import_that_contradicts_what_is_known_is_refused_unless_it_is_said_so() {
    let place = Place::new();
    let Some([one, two]) = keys(&place) else { return };
    let text = format!("# mine\nweb01,web02 {one} note\n");
    place.file("kh", &text);
    place.file("new", format!("web03 {two}\nweb01 {two}\n"));
    let refused = "warning: new:2: web01 ED25519 SHA256:<fingerprint>: known is SHA256:<fingerprint> (kh:2)\n\
                   error: 1 host key contradicts what is known; nothing was imported\n\
                   hint: somebody may stand between you and the hosts. Only if you know why their keys changed: --replace\n";
    for options in [&[][..], &["--dry-run"]] {
        call(&place, &[&["import", "new", "--file", "kh"], options].concat()).is(2, "", refused);
        assert_eq!(place.read("kh"), text);
    }
    call(&place, &["import", "new", "--file", "kh", "--replace"]).is(
        0,
        "- web01  ED25519  SHA256:<fingerprint>  kh:2\n+ web03  ED25519  SHA256:<fingerprint>\n\
         + web01  ED25519  SHA256:<fingerprint>\n",
        "2 host keys added to kh\n",
    );
    assert_eq!(place.read("kh"), format!("# mine\nweb02 {one} note\nweb03 {two}\nweb01 {two}\n"));
    assert_eq!(place.read("kh.old"), text);
    place.file("revoking", format!("@revoked * {two}\n"));
    call(&place, &["import", "revoking", "--file", "kh"]).exited(0);
    place.file("again", format!("web09 {two}\n"));
    call(&place, &["import", "again", "--file", "kh", "--replace"]).exited(2).told("it is REVOKED (kh:5)");
}

#[test]
fn an_import_with_a_broken_line_writes_nothing() {
    let place = Place::new();
    let Some([one, _]) = keys(&place) else { return };
    place.file("new", format!("web01 {one}\nweb02 ssh-ed25519 AAAA\n"));
    call(&place, &["import", "new", "--file", "kh"]).is(
        2,
        "",
        "error: new:2:19: the key is cut off\n  web02 ssh-ed25519 AAAA\nhint: nothing was imported\n",
    );
    assert!(!place.has("kh"));
    place.file("empty", "# nothing\n");
    call(&place, &["import", "empty", "--file", "kh"]).is(2, "", "error: `empty` holds no host key\n");
    call(&place, &["import", "none", "--file", "kh"]).exited(2).told("cannot read `none`");
}

#[test]
fn an_authority_is_imported_for_a_pattern() {
    let place = Place::new();
    let Some([one, _]) = keys(&place) else { return };
    let arguments = ["import", "--cert-authority", "*.example.com,10.0.0.*", "one.pub", "--file", "kh"];
    call(&place, &arguments).is(
        0,
        "+ *.example.com,10.0.0.*  ED25519  SHA256:<fingerprint>\n",
        "1 host key added to kh\n",
    );
    assert_eq!(place.read("kh"), format!("@cert-authority *.example.com,10.0.0.* {one} test\n"));
    call(&place, &arguments).is(0, "", "0 host keys added to kh; 1 known already\n");
    run_keygen(&["-s", &text(&place, "one"), "-I", "x", "-n", "x", &text(&place, "two.pub")]);
    call(&place, &["import", "--cert-authority", "*", "two-cert.pub", "--file", "kh"])
        .exited(2)
        .told("error: two-cert.pub:1:1: a certificate, where the key of the authority belongs that signs such\n");
    assert_eq!(place.read("kh").lines().count(), 1);
    for pattern in ["", "a b", "@revoked", "|1|x", "#x"] {
        call(&place, &["import", "--cert-authority", pattern, "one.pub", "--file", "kh"]).exited(2);
    }
    let Some(ssh_keygen) = find("ssh-keygen") else { return };
    let theirs = Command::new(ssh_keygen).args(["-F", "web.example.com", "-f"]).arg(place.path().join("kh")).output();
    assert!(String::from_utf8_lossy(&theirs.expect("it was found").stdout).contains("line 1 CA"));
}
