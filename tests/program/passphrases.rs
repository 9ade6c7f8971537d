//! Passphrases of key files: how they are asked for, handed over, and refused.

use crate::bugle::{Bugle, Place};
use crate::fleet::openssh::{find, keygen};
use std::fs;
use std::io::{Read, Write};
use std::process::{Command, Stdio};

const SECRET: &str = "open sesame";

fn keys(place: &Place) -> Bugle {
    Bugle::alone().at(place).args(["keys", "-F", "none"])
}

#[test]
fn one_descriptor_is_not_read_for_two_passphrases() {
    let place = Place::new();
    let Some(key) = keygen(&place.path().join("key"), &["-t", "ed25519", "-a", "1", "-N", SECRET]) else { return };
    let before = fs::read(&key).expect("it is there");
    let call = keys(&place).args(["passphrase", "key", "--old-passphrase-fd", "3", "--passphrase-fd", "3"]);
    call.descriptor(3, &format!("{SECRET}\nanother\n")).run().is(
        2,
        "",
        "error: --old-passphrase-fd and --passphrase-fd are both 3: the first line would be read twice\n\
         hint: open one for each: --old-passphrase-fd 3 --passphrase-fd 4 3<old 4<new\n",
    );
    assert_eq!(fs::read(&key).expect("it is there"), before);
    let call = keys(&place).args(["passphrase", "key", "--old-passphrase-fd", "3", "--passphrase-fd", "4", "-a", "2"]);
    let call = call.descriptor(3, SECRET).descriptor(4, SECRET);
    call.run().is(0, "key has the same passphrase as before\n", "");
}

#[test]
fn a_passphrase_that_could_never_be_typed_again_is_refused() {
    let place = Place::new();
    let generate = |passphrase: &str| {
        keys(&place).args(["generate", "-a", "1", "-f", "key", "--passphrase-fd", "3"]).descriptor(3, passphrase).run()
    };
    for (passphrase, expected) in [
        (
            "x".repeat(1024),
            "error: the passphrase has 1024 bytes: OpenSSH asks for 1023 at most, and could not open the key\n",
        ),
        ("x".repeat(5000), "error: the first line of file descriptor 3 is longer than 4096 bytes: no passphrase is\n"),
        ("a\0b\n".into(), "error: the first line of file descriptor 3 holds a NUL byte: no passphrase does\n"),
    ] {
        generate(&passphrase).is(2, "", expected);
        assert!(!place.has("key"));
    }
    let longest = "x".repeat(1023);
    generate(&format!("{longest}\n")).exited(0);
    if let Some(ssh_keygen) = find("ssh-keygen") {
        let mut command = Command::new(ssh_keygen);
        let read = command.args(["-y", "-P", &longest, "-f"]).arg(place.path().join("key")).output();
        assert!(read.expect("it was found").status.success());
    }
}

#[test]
fn a_cipher_that_bugle_does_not_read_is_no_wrong_passphrase() {
    let place = Place::new();
    let arguments = ["-t", "ed25519", "-Z", "3des-cbc", "-a", "1", "-N", SECRET];
    let Some(_) = keygen(&place.path().join("key"), &arguments) else { return };
    let said = "error: `key` is encrypted with 3des-cbc, which bugle does not read\n\
                hint: ssh-keygen -p -f key encrypts it in OpenSSH's usual way\n";
    let call = || keys(&place).args(["passphrase", "key", "--no-passphrase"]);
    call().args(["--old-passphrase-fd", "3"]).descriptor(3, SECRET).run().is(2, "", said);
    if let Some(screen) = call().run_on_terminal(&[SECRET]) {
        screen.exited(2).said(&format!("passphrase for key `key`: \n{said}"));
    }
}

#[test]
fn the_terminal_is_as_before_after_ctrl_c_at_a_question() {
    let Some(script) = find("script") else { return };
    let place = Place::new();
    let line = format!(
        "trap : INT; stty -a >before; '{}' keys -F none generate -f key; echo \"code $?\"; stty -a >after",
        env!("CARGO_BIN_EXE_bugle")
    );
    let mut command = Command::new(script);
    command.args(["-qec", &line, "/dev/null"]).current_dir(place.path()).env("HOME", place.path());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("script was found");
    let (mut keyboard, mut screen) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
    let (mut seen, mut buffer) = (String::new(), [0; 4096]);
    while let Ok(length @ 1..) = screen.read(&mut buffer) {
        let is_asked = seen.contains("new passphrase for");
        seen.push_str(&String::from_utf8_lossy(&buffer[..length]));
        if !is_asked && seen.contains("new passphrase for") {
            keyboard.write_all(b"half\x03").expect("the terminal is there");
        }
    }
    child.wait().expect("it is ours");
    assert!(seen.contains("code 130"), "{seen}");
    assert_eq!(place.read("after"), place.read("before"));
    assert!(!seen.contains("half") && !place.has("key"), "{seen}");
}
