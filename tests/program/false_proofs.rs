//! Hosts that announce keys and prove them falsely: sshd, with an agent for a host key of its that lies.

use crate::bugle::Place;
use crate::fleet::keys;
use crate::fleet::openssh::{keygen, read_key, sshd_prepared};
use crate::rotating::run;
use russh::keys::PrivateKey;
use russh::keys::signature::Signer;
use russh::keys::ssh_encoding::{Decode, Encode};
use russh::keys::ssh_key::Signature;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// What the agent does when it is asked to prove its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    Good,
    OverAnotherSession,
    ByAnotherKey,
    Damaged,
    Absent,
}

/// A number and its bytes, as the protocols of SSH have strings.
fn string(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat()
}

/// The answer to one request.
fn answer(key: &PrivateKey, request: &[u8], proof: Proof) -> Vec<u8> {
    let Some((13, mut fields)) = request.split_first().map(|(kind, rest)| (*kind, rest)) else { return vec![5] };
    let _key = Vec::<u8>::decode(&mut fields).expect("a key");
    let mut data = Vec::<u8>::decode(&mut fields).expect("what is to be signed");
    let name = string(b"hostkeys-prove-00@openssh.com");
    assert!(data.starts_with(&name), "the agent's key is for proofs alone");
    if proof == Proof::OverAnotherSession {
        data[name.len() + 4] ^= 1;
    }
    let signed: Signature = match proof {
        Proof::ByAnotherKey => keys::generate("").try_sign(&data),
        _ => key.try_sign(&data),
    }
    .expect("it signs");
    let mut signature = Vec::new();
    signed.encode(&mut signature).expect("there is memory");
    if proof == Proof::Damaged {
        *signature.last_mut().expect("it has bytes") ^= 1;
    }
    if proof == Proof::Absent { vec![5] } else { [&[14], &string(&signature)[..]].concat() }
}

fn serve(mut stream: UnixStream, key: &PrivateKey, proof: &Mutex<Proof>) {
    let mut length = [0; 4];
    while stream.read_exact(&mut length).is_ok() {
        let mut request = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut request).expect("a whole request");
        let proof = *proof.lock().expect("nobody panics with it");
        // sshd may be gone by now.
        let _ = stream.write_all(&string(&answer(key, &request, proof)));
    }
}

/// An agent with the key of a file, on the socket `agent` beside it.
fn lying_agent(file: &Path, proof: Arc<Mutex<Proof>>) {
    let key = read_key(file);
    let listener = UnixListener::bind(file.with_file_name("agent")).expect("the directory can be written");
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (key, proof) = (key.clone(), Arc::clone(&proof));
            std::thread::spawn(move || serve(stream, &key, &proof));
        }
    });
}

#[test]
fn keys_that_are_proved_falsely_are_not_learnt() {
    let proof = Arc::new(Mutex::new(Proof::Good));
    let prepare = |directory: &Path| {
        let file = directory.join("agents");
        if !file.exists() && keygen(&file, &["-t", "ecdsa"]).is_some() {
            lying_agent(&file, Arc::clone(&proof));
        }
    };
    let Some(sshd) = sshd_prepared(&["HostKeyAgent {}/agent", "HostKey {}/agents.pub"], prepare) else { return };
    let known = fs::read_to_string(sshd.directory().join("host_key.pub")).expect("it was made");
    let known = known.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    let simple = format!("[127.0.0.1]:{} {known}\n", sshd.port);
    for how in [Proof::OverAnotherSession, Proof::ByAnotherKey, Proof::Damaged, Proof::Absent, Proof::Good] {
        *proof.lock().expect("nobody panics with it") = how;
        let place = Place::new();
        place.file("kh", &simple);
        let answer = run(&sshd, &place, "UpdateHostKeys yes\n");
        if how == Proof::Good {
            answer.told("UpdateHostKeys: 1 host key added, 0 removed in <home>/kh\n");
            assert!(place.read("kh").contains("ecdsa-sha2-nistp256"));
        } else {
            assert!(!answer.stderr.contains("UpdateHostKeys"), "{how:?}: {}", answer.stderr);
            assert_eq!(place.read("kh"), simple, "{how:?}");
        }
    }
}
