//! known_hosts held against `ssh-keygen`, and its files against writers that come at once.
//!
//! Each `tests/known_hosts/*.txt` is a case: its first line, `# lookup: NAME…`, says which names are looked up.
//! `clean-*.txt` hold no malformed line and are also edited.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a step that fails fails its test; skips are said aloud")]

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Barrier;

use bugle::known_hosts::{
    Addition, Document, HostCertificate, HostQuery, KnownHosts, Line, Marker, NameStyle, PublicKey, ReadError,
    RevokedKeys, RevokedKeysError, Rewritten, Verdict, WriteError, append, rewrite,
};
use proptest::prelude::{Just, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
use tempfile::TempDir;

/// Runs `ssh-keygen` in a directory; `None`, said aloud, where it is not installed.
fn ssh_keygen(directory: &Path, arguments: &[&str]) -> Option<Output> {
    match Command::new("ssh-keygen").args(arguments).current_dir(directory).output() {
        Ok(output) => Some(output),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            eprintln!("skipped: no ssh-keygen");
            None
        }
        Err(error) => panic!("ssh-keygen: {error}"),
    }
}

fn fixtures() -> Vec<(PathBuf, Vec<u8>, Vec<String>)> {
    let directory = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/known_hosts"));
    let mut paths: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let cases: Vec<_> = paths
        .into_iter()
        .map(|path| {
            let text = fs::read(&path).unwrap();
            let first = String::from_utf8_lossy(text.split(|&byte| byte == b'\n').next().unwrap()).into_owned();
            let names = first.strip_prefix("# lookup: ").expect("the first line says what is looked up");
            let names = names.split_whitespace().map(Into::into).collect();
            (path, text, names)
        })
        .collect();
    assert!(cases.len() >= 4);
    cases
}

fn is_clean(path: &Path) -> bool {
    path.file_name().unwrap().to_str().unwrap().starts_with("clean-")
}

/// A key that nothing signs with: ed25519 of 32 equal bytes.
fn key(seed: u8) -> PublicKey {
    PublicKey::from_blob(&[b"\0\0\0\x0bssh-ed25519\0\0\0\x20", &[seed; 32][..]].concat()).unwrap()
}

fn query(host: &str) -> HostQuery {
    HostQuery { host: host.into(), port: 22, alias: None }
}

fn addition(host: &str, keys: &[u8]) -> Addition {
    Addition::new(query(host), keys.iter().map(|&seed| key(seed)).collect()).unwrap()
}

/// `line MARKER FAMILY FINGERPRINT` of what `ssh-keygen -l -F` prints, which parses every key that it shows.
fn found_by_ssh_keygen(output: &Output) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stdout);
    let mut found = Vec::new();
    let mut heading = String::new();
    for line in text.lines() {
        if let Some((_, place)) = line.strip_prefix("# Host ").and_then(|line| line.split_once(" found: line ")) {
            heading = place.trim_end().into();
        } else {
            let fields: Vec<_> = line.split_whitespace().collect();
            found.push(format!("{heading} {} {}", fields[1], fields[2]));
        }
    }
    found
}

fn found_by_bugle(document: &Document, name: &str) -> Vec<String> {
    let found = document.find(name).filter_map(|line| {
        let Line::Entry(entry) = line.content else { return None };
        // OpenSSH skips types that it does not know.
        entry.key.bits()?;
        let marker = match entry.marker {
            Marker::None => "",
            Marker::CertAuthority => " CA",
            Marker::Revoked => " REVOKED",
        };
        Some(format!("{}{marker} {} {}", line.number, entry.key.family(), entry.key.fingerprint()))
    });
    found.collect()
}

#[test]
fn names_are_found_where_ssh_keygen_finds_them() {
    let directory = TempDir::new().unwrap();
    let mut hits = 0;
    for (path, text, names) in fixtures() {
        let document = Document::parse(text);
        for name in names {
            let Some(output) = ssh_keygen(directory.path(), &["-l", "-F", &name, "-f", path.to_str().unwrap()]) else {
                return;
            };
            let expected = found_by_ssh_keygen(&output);
            hits += expected.len();
            assert_eq!(found_by_bugle(&document, &name), expected, "{name} in {}", path.display());
        }
    }
    assert!(hits > 30, "only {hits} lines were compared");
}

#[test]
fn removal_leaves_what_ssh_keygen_leaves() {
    for (path, text, names) in fixtures().into_iter().filter(|(path, _, _)| is_clean(path)) {
        for name in names {
            let directory = TempDir::new().unwrap();
            fs::write(directory.path().join("theirs"), &text).unwrap();
            let Some(output) = ssh_keygen(directory.path(), &["-R", &name, "-f", "theirs"]) else { return };
            assert!(output.status.success(), "{output:?}");
            let mut theirs = fs::read(directory.path().join("theirs")).unwrap();
            let (ours, removed) = Document::parse(text.clone()).without(&[&name]);
            assert_eq!(removed.is_empty(), ours == text);
            // ssh-keygen ends every line of a file that it rewrites.
            if !ours.ends_with(b"\n") && theirs.ends_with(b"\n") {
                theirs.pop();
            }
            assert_eq!(
                ours.escape_ascii().to_string(),
                theirs.escape_ascii().to_string(),
                "{name} in {}",
                path.display()
            );
        }
    }
}

#[test]
fn hashing_gives_a_file_that_both_read_alike() {
    for (path, text, names) in fixtures().into_iter().filter(|(path, _, _)| is_clean(path)) {
        let directory = TempDir::new().unwrap();
        fs::write(directory.path().join("theirs"), &text).unwrap();
        let Some(output) = ssh_keygen(directory.path(), &["-H", "-f", "theirs"]) else { return };
        assert!(output.status.success(), "{output:?}");
        let theirs = Document::parse(fs::read(directory.path().join("theirs")).unwrap());
        let mut salt = [0; 20];
        let (ours, _) = Document::parse(text).hashed(|| {
            salt[0] += 1;
            salt
        });
        fs::write(directory.path().join("ours"), &ours).unwrap();
        let ours = Document::parse(ours);
        for name in names.iter().map(|name| name.to_ascii_lowercase()) {
            let found = found_by_bugle(&ours, &name);
            assert_eq!(found, found_by_bugle(&theirs, &name), "{name} in {}", path.display());
            let output = ssh_keygen(directory.path(), &["-l", "-F", &name, "-f", "ours"]).unwrap();
            assert_eq!(found, found_by_ssh_keygen(&output), "{name} in {}", path.display());
        }
    }
}

#[test]
fn keys_are_named_measured_and_fingerprinted_as_ssh_keygen_does() {
    let directory = TempDir::new().unwrap();
    let types: [&[&str]; 7] = [
        &["ed25519"],
        &["rsa", "-b", "1024"],
        &["rsa", "-b", "3072"],
        &["ecdsa", "-b", "256"],
        &["ecdsa", "-b", "384"],
        &["ecdsa", "-b", "521"],
        &["dsa"],
    ];
    for (index, arguments) in types.iter().enumerate() {
        let name = format!("key{index}");
        let generate = [&["-q", "-N", "", "-f", &name, "-t"][..], arguments].concat();
        let Some(output) = ssh_keygen(directory.path(), &generate) else { return };
        if !output.status.success() && arguments[0] == "dsa" {
            eprintln!("skipped: this ssh-keygen has no dsa");
            continue;
        }
        assert!(output.status.success(), "{output:?}");
        let sign = ["-q", "-s", "key0", "-I", "id", "-h", "-n", "h", &format!("{name}.pub")];
        assert!(ssh_keygen(directory.path(), &sign).unwrap().status.success());
        let plain = PublicKey::from_text(&fs::read(directory.path().join(format!("{name}.pub"))).unwrap()).unwrap();
        for file in [format!("{name}.pub"), format!("{name}-cert.pub")] {
            let key = PublicKey::from_text(&fs::read(directory.path().join(&file)).unwrap()).unwrap();
            let output = ssh_keygen(directory.path(), &["-l", "-f", &file]).unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let fields: Vec<_> = text.split_whitespace().collect();
            let shown = [key.bits().unwrap().to_string(), key.fingerprint(), format!("({})", key.family())];
            assert_eq!(shown, [fields[0], fields[1], fields[fields.len() - 1]], "{file}");
            assert_eq!(key.plain(), plain, "{file}");
        }
    }
}

#[test]
fn binary_revocation_lists_revoke_what_ssh_keygen_says_they_do() {
    let directory = TempDir::new().unwrap();
    let run = |arguments: &[&str]| ssh_keygen(directory.path(), arguments);
    let read = |name: &str| PublicKey::from_text(&fs::read(directory.path().join(name)).unwrap()).unwrap();
    for name in ["ca", "other", "k1", "k2", "k3", "k4"] {
        let Some(output) = run(&["-q", "-t", "ed25519", "-N", "", "-f", name]) else { return };
        assert!(output.status.success(), "{output:?}");
    }
    let sha256 = read("k2.pub").fingerprint();
    let spec = format!("serial: 5\nserial: 10-20\n{}id: lost\nhash: {sha256}\n", {
        let dense: String = (0..60).step_by(2).map(|serial| format!("serial: {}\n", 1000 + serial)).collect();
        dense
    });
    fs::write(directory.path().join("spec"), spec).unwrap();
    fs::write(directory.path().join("more"), format!("key: {}\nsha1: {}\n", read("k1.pub"), read("k3.pub"))).unwrap();
    assert!(run(&["-q", "-k", "-f", "list", "-s", "ca.pub", "spec"]).unwrap().status.success());
    let output = run(&["-q", "-k", "-u", "-f", "list", "more"]).unwrap();
    assert!(output.status.success(), "{output:?}");
    let list = directory.path().join("list");
    let revoked = RevokedKeys::from_bytes(&list, &fs::read(&list).unwrap()).unwrap();

    for name in ["k1", "k2", "k3", "k4", "ca"] {
        let file = format!("{name}.pub");
        let theirs = !run(&["-Q", "-f", "list", &file]).unwrap().status.success();
        assert_eq!(revoked.contains(&read(&file)), theirs, "{name}");
        assert_eq!(theirs, ["k1", "k2", "k3"].contains(&name), "{name}");
    }
    let mut revoked_certificates = 0;
    for authority in ["ca", "other"] {
        for (serial, identity) in [
            (0, "x"),
            (5, "x"),
            (6, "x"),
            (10, "x"),
            (20, "x"),
            (21, "x"),
            (1000, "x"),
            (1001, "x"),
            (1058, "x"),
            (1, "lost"),
        ] {
            let number = serial.to_string();
            let sign = ["-q", "-h", "-s", authority, "-I", identity, "-z", &number, "-n", "h", "k4.pub"];
            assert!(run(&sign).unwrap().status.success());
            let theirs = !run(&["-Q", "-f", "list", "k4-cert.pub"]).unwrap().status.success();
            let ours = revoked.contains_certificate(&HostCertificate {
                key: &read("k4-cert.pub"),
                authority: &read(&format!("{authority}.pub")),
                serial,
                identity: identity.as_bytes(),
            });
            assert_eq!(ours, theirs, "{identity} {serial} by {authority}");
            revoked_certificates += usize::from(theirs);
        }
    }
    assert_eq!(revoked_certificates, 6);
    let whole = fs::read(&list).unwrap();
    for length in 8..whole.len() {
        let cut = RevokedKeys::from_bytes(&list, &whole[..length]);
        // A list that ends between two sections is a shorter list; in all other places it is broken.
        if let Ok(cut) = cut {
            let before = whole[length];
            assert!(matches!(before, 1..=5), "cut at {length}: {cut:?}");
        }
    }
}

#[test]
fn a_list_of_revoked_keys_is_read_to_its_end_or_not_at_all() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("revoked");
    assert!(matches!(RevokedKeys::load(&[&path]), Err(RevokedKeysError::Missing { .. })));
    write_private(&path, format!("# stolen\n\n{} comment\n", key(1)).as_bytes());
    let revoked = RevokedKeys::load(&[&path]).unwrap();
    assert!(revoked.contains(&key(1)) && !revoked.contains(&key(2)));
    write_private(&path, format!("{}\nssh-ed25519 AAAA\n", key(1)).as_bytes());
    let error = RevokedKeys::load(&[&path]).unwrap_err();
    assert!(matches!(error, RevokedKeysError::Line { line: 2, .. }), "{error}");
    write_private(&path, b"SSHKRL\n\0\0\0\0\x02");
    assert!(matches!(RevokedKeys::load(&[&path]), Err(RevokedKeysError::Krl { .. })));
}

fn write_private(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn a_file_that_others_can_write_or_nobody_can_read_is_an_error_and_a_missing_one_is_empty() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("known_hosts");
    assert!(KnownHosts::load(&[&path]).unwrap().problems().is_empty());
    write_private(&path, format!("h {}\n", key(1)).as_bytes());
    for (mode, trusted) in [(0o600, true), (0o644, true), (0o400, true), (0o660, false), (0o602, false), (0o666, false)]
    {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        match KnownHosts::load(&[&path]) {
            Ok(_) => assert!(trusted, "{mode:o}"),
            Err(error) => {
                assert!(!trusted, "{mode:o}");
                let text = error.to_string();
                assert!(text.contains(&format!("mode {mode:04o}")) && text.contains(path.to_str().unwrap()), "{text}");
            }
        }
        let write = append(&path, &[addition("x", &[9])], NameStyle::Clear);
        assert_eq!(matches!(write, Err(WriteError::Read(_))), !trusted && mode & 0o200 != 0, "{mode:o}: {write:?}");
    }
    assert!(matches!(KnownHosts::load(&[directory.path()]), Err(ReadError::Unreadable { .. })));
    assert!(KnownHosts::load(&["/dev/null"]).is_ok());
    assert_eq!(append(Path::new("/dev/null"), &[addition("x", &[9])], NameStyle::Clear).unwrap().written, 1);
}

#[test]
fn a_file_of_another_user_is_an_error() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("known_hosts");
    write_private(&path, b"");
    if chown(&path, Some(54_321), None).is_err() {
        eprintln!("skipped: only root can give a file away");
        return;
    }
    let error = KnownHosts::load(&[&path]).unwrap_err();
    assert!(matches!(error, ReadError::Owner { owner: 54_321, mode: 0o600, .. }), "{error}");
}

#[test]
fn all_files_are_one_list_in_their_order() {
    let directory = TempDir::new().unwrap();
    let (user, system) = (directory.path().join("user"), directory.path().join("system"));
    write_private(&user, format!("a {}\nb bad\n", key(1)).as_bytes());
    write_private(&system, format!("\na,b {}\n@revoked b {}", key(2), key(3)).as_bytes());
    let known = KnownHosts::load(&[&user, &system]).unwrap();
    let Verdict::Known { place } = known.lookup(&query("a")).check(&key(2)) else { panic!() };
    assert_eq!(place.to_string(), format!("{}:2", system.display()));
    let Verdict::Changed { known: keys } = known.lookup(&query("a")).check(&key(9)) else { panic!() };
    assert_eq!(keys.iter().map(|known| known.key.clone()).collect::<Vec<_>>(), [key(1), key(2)]);
    assert!(matches!(known.lookup(&query("b")).check(&key(3)), Verdict::Revoked { .. }));
    assert_eq!(known.problems()[0].to_string(), format!("{}:2:6: the key or its type is missing", user.display()));
    let places: Vec<_> = known.places_of(&key(2)).map(|(place, names)| format!("{} {names}", place.line)).collect();
    assert_eq!(places, ["2 a,b"]);
}

#[test]
fn appending_creates_private_files_and_keeps_every_foreign_byte() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join(".ssh/known_hosts");
    let outcome = append(&path, &[addition("one", &[1, 2]), addition("two", &[3])], NameStyle::Clear).unwrap();
    assert_eq!((outcome.written, outcome.present), (3, 0));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("one {}\none {}\ntwo {}\n", key(1), key(2), key(3)));

    let foreign = b"\xff not a line\r\n# comment without an end".to_vec();
    write_private(&path, &foreign);
    append(&path, &[addition("one", &[1])], NameStyle::Clear).unwrap();
    let expected = [&foreign[..], format!("\none {}\n", key(1)).as_bytes()].concat();
    assert_eq!(fs::read(&path).unwrap(), expected);
    let again = append(&path, &[addition("one", &[1]), addition("ONE", &[1])], NameStyle::Hashed).unwrap();
    assert_eq!((again.written, again.present), (0, 2));
    assert_eq!(fs::read(&path).unwrap(), expected);
}

#[test]
fn names_are_hashed_on_request_and_found_again_by_both() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("known_hosts");
    let port = HostQuery { host: "Secret".into(), port: 2222, alias: None };
    append(&path, &[Addition::new(port.clone(), vec![key(1), key(2)]).unwrap()], NameStyle::Hashed).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert!(!text.contains("ecret") && text.lines().count() == 2, "{text}");
    assert!(matches!(KnownHosts::load(&[&path]).unwrap().lookup(&port).check(&key(2)), Verdict::Known { .. }));
    let Some(output) = ssh_keygen(directory.path(), &["-l", "-F", "[secret]:2222", "-f", "known_hosts"]) else {
        return;
    };
    assert_eq!(found_by_ssh_keygen(&output).len(), 2);
}

#[test]
fn a_key_that_contradicts_the_file_is_not_written() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("known_hosts");
    write_private(&path, format!("a {}\n@revoked * {}\nbroken ssh-rsa !\n", key(1), key(7)).as_bytes());
    let additions = [
        addition("a", &[2]),
        addition("b", &[7]),
        addition("broken", &[3]),
        addition("c", &[4]),
        addition("c", &[5]),
        addition("d", &[6, 8]),
    ];
    let outcome = append(&path, &additions, NameStyle::Clear).unwrap();
    let refused: Vec<_> = outcome.conflicts.iter().map(|conflict| conflict.name.as_str()).collect();
    assert_eq!(refused, ["a", "b", "broken", "c"]);
    assert_eq!(outcome.written, 3);
}

#[test]
fn writers_that_come_at_once_lose_nothing_and_write_nothing_twice() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("known_hosts");
    write_private(&path, format!("# mine\ngone {}\nno line feed", key(250)).as_bytes());
    let (writers, rounds) = (8u8, 12u8);
    let start = Barrier::new(usize::from(writers) + 1);
    std::thread::scope(|scope| {
        for writer in 0..writers {
            let (path, start) = (&path, &start);
            scope.spawn(move || {
                start.wait();
                for round in 0..rounds {
                    let own = format!("host-{writer}-{round}");
                    let everybodys = format!("shared-{round}");
                    let additions = [addition(&own, &[writer]), addition(&everybodys, &[100 + round])];
                    append(path, &additions, NameStyle::Clear).unwrap();
                }
            });
        }
        let (path, start) = (&path, &start);
        scope.spawn(move || {
            start.wait();
            for round in 0..rounds {
                let name = format!("host-0-{round}");
                rewrite(path, |document| document.without(&["gone"]).0).unwrap();
                rewrite(path, |document| [document.as_bytes(), format!("# {name}\n").as_bytes()].concat()).unwrap();
            }
        });
    });
    let text = fs::read_to_string(&path).unwrap();
    let known = KnownHosts::from_text(&path, text.as_bytes());
    assert!(text.starts_with("# mine\n") && text.contains("no line feed"), "{text}");
    for round in 0..rounds {
        for writer in 0..writers {
            let verdict = known.lookup(&query(&format!("host-{writer}-{round}"))).check(&key(writer));
            assert!(matches!(verdict, Verdict::Known { .. }), "{writer} {round}");
        }
        assert_eq!(known.places_of(&key(100 + round)).count(), 1, "{round}");
    }
    let keys = text.lines().filter(|line| line.contains("ssh-ed25519")).count();
    assert_eq!(keys, usize::from(rounds) * (usize::from(writers) + 1));
}

#[test]
fn rewriting_keeps_the_former_file_and_the_link() {
    let directory = TempDir::new().unwrap();
    let (path, link) = (directory.path().join("real"), directory.path().join("link"));
    symlink(&path, &link).unwrap();
    let text = format!("a,b {}\nc {}\n@revoked a {}\nb bad line", key(1), key(2), key(3));
    write_private(&path, text.as_bytes());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(rewrite(&link, |document| document.without(&["nobody"]).0).unwrap(), Rewritten::Unchanged);
    fs::write(directory.path().join("real.old"), "older").unwrap();
    let former = fs::metadata(&path).unwrap().ino();
    let Rewritten::Replaced { backup: Some(backup) } = rewrite(&link, |document| document.without(&["a"]).0).unwrap()
    else {
        panic!()
    };
    assert_eq!(fs::read_to_string(&backup).unwrap(), text);
    assert_ne!(fs::metadata(&backup).unwrap().ino(), former, "a copy: not every file system has hard links");
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("c {}\n@revoked a {}\nb bad line", key(2), key(3)));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3, "no temporary file stays");
    assert!(matches!(rewrite(&directory.path().join("none"), |_| Vec::new()), Err(WriteError::Read(_))));
    // Where the backup cannot be written, nothing is.
    fs::remove_file(&backup).unwrap();
    fs::create_dir_all(backup.join("full")).unwrap();
    assert!(matches!(rewrite(&path, |_| Vec::new()), Err(WriteError::Write { .. })));
    assert!(fs::read_to_string(&path).unwrap().starts_with("c "));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3, "no temporary file stays");
}

/// Text near enough to known_hosts that every branch of the parser is met.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let token = prop_oneof![
        prop_oneof![Just("web01"), Just("web*"), Just("!web01"), Just("*"), Just("[web01]:2222"), Just("WEB01,x")]
            .prop_map(|token| token.as_bytes().to_vec()),
        prop_oneof![
            Just("@revoked"),
            Just("@cert-authority"),
            Just("@"),
            Just("#"),
            Just("|1|"),
            Just(","),
            Just("\r")
        ]
        .prop_map(|token| token.as_bytes().to_vec()),
        prop_oneof![Just(" "), Just("\t"), Just("\n"), Just(" "), Just("\n")]
            .prop_map(|token| token.as_bytes().to_vec()),
        (0u8..3).prop_map(|seed| key(seed).to_string().into_bytes()),
        (0u8..3).prop_map(|seed| format!("\nweb01 {}\n", key(seed)).into_bytes()),
        prop::collection::vec(any::<u8>(), 0..6),
    ];
    prop::collection::vec(token, 0..60).prop_map(|tokens| tokens.concat())
}

/// What `*` and `?` mean, said as simply as possible.
fn matches_slowly(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), None) => matches_slowly(rest, name),
        (Some((b'*', rest)), Some((_, later))) => matches_slowly(rest, name) || matches_slowly(pattern, later),
        (Some((first, rest)), Some((byte, later))) => (*first == b'?' || first == byte) && matches_slowly(rest, later),
        (Some(_), None) | (None, Some(_)) => false,
    }
}

proptest! {
    #[test]
    fn every_byte_of_a_document_stays(text in text()) {
        let document = Document::parse(text.clone());
        prop_assert_eq!(document.lines().flat_map(|line| line.text).copied().collect::<Vec<_>>(), text.clone());
        prop_assert_eq!(document.as_bytes(), &text[..]);
        let (left, removed) = document.without(&["web01"]);
        let kept = document.lines().filter(|line| !removed.contains(&line.number)).flat_map(|line| line.text);
        prop_assert_eq!(kept.copied().collect::<Vec<_>>(), left);
    }

    #[test]
    fn the_index_finds_what_reading_line_by_line_finds(text in text()) {
        let document = Document::parse(text.clone());
        let known = KnownHosts::from_text("f", &text);
        let slow: Vec<_> = document
            .find("web01")
            .filter_map(|line| match line.content {
                Line::Entry(entry) if entry.marker == Marker::None => Some((line.number, entry.key.clone())),
                _ => None,
            })
            .collect();
        let host = known.lookup(&query("web01"));
        match host.check(&key(99)) {
            Verdict::Changed { known } => {
                let fast: Vec<_> = known.into_iter().map(|known| (known.place.line, known.key)).collect();
                prop_assert_eq!(fast, slow);
            }
            Verdict::Unknown => prop_assert!(slow.is_empty()),
            Verdict::Damaged { problems } => prop_assert!(!problems.is_empty()),
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn globs_match_as_they_are_defined(pattern in "[ab*?]{0,8}", name in "[ab]{0,8}") {
        let line = format!("{pattern} {}", key(1));
        let expected = !pattern.is_empty() && matches_slowly(pattern.as_bytes(), name.as_bytes());
        prop_assert_eq!(Document::parse(line.into_bytes()).find(&name).count() == 1, expected);
    }

    #[test]
    fn no_bytes_break_the_readers(bytes in prop::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>()) {
        let _ = KnownHosts::from_text("f", &bytes).lookup(&query("web01")).check(&key(1));
        if let Ok(key) = PublicKey::from_blob(&bytes) {
            let _ = (key.bits(), key.plain(), key.fingerprint());
        }
        let mut blob = key(1).blob().to_vec();
        let at = at.index(blob.len());
        blob[at] ^= bytes.first().copied().unwrap_or(1) | 1;
        let _ = PublicKey::from_blob(&blob);
        let list = [b"SSHKRL\n\0\0\0\0\x01", &bytes[..]].concat();
        let _ = RevokedKeys::from_bytes(Path::new("list"), &list);
    }
}
