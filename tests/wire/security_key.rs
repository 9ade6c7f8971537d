//! A FIDO key in an agent (OpenSSH's PROTOCOL.u2f): the agent's signature goes to sshd as it is. The key is made of software
//! here, which no server can tell.

use crate::caller::Caller;
use crate::fleet::openssh;
use bugle::connection::KeySources;
use data_encoding::BASE64;
use ring::signature::{Ed25519KeyPair, KeyPair};
use sha2::{Digest, Sha256};
use std::path::Path;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

const KIND: &[u8] = b"sk-ssh-ed25519@openssh.com";
const APPLICATION: &[u8] = b"ssh:";
/// Somebody touched the key.
const PRESENT: u8 = 1;

fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).expect("a short string").to_be_bytes(), bytes].concat()
}

fn public(key: &Ed25519KeyPair) -> Vec<u8> {
    [string(KIND), string(key.public_key().as_ref()), string(APPLICATION)].concat()
}

/// What the key signs is not the message but its digest, with the application, a flag and a counter.
fn signature(key: &Ed25519KeyPair, message: &[u8], counter: u32) -> Vec<u8> {
    let (application, digest) = (Sha256::digest(APPLICATION), Sha256::digest(message));
    let signed = [&application[..], &[PRESENT], &counter.to_be_bytes(), &digest[..]].concat();
    [string(KIND), string(key.sign(&signed).as_ref()), vec![PRESENT], counter.to_be_bytes().to_vec()].concat()
}

/// The string at the beginning, and what follows it.
fn take(bytes: &[u8]) -> (&[u8], &[u8]) {
    let (length, rest) = bytes.split_at(4);
    rest.split_at(u32::from_be_bytes(length.try_into().expect("four bytes")) as usize)
}

/// An agent (draft-ietf-sshm-ssh-agent) that holds this key and nothing else.
async fn serve(listener: UnixListener, key: Ed25519KeyPair) {
    while let Ok((stream, _)) = listener.accept().await {
        // Whoever hangs up is done.
        let _ = converse(stream, &key).await;
    }
}

async fn converse(mut stream: UnixStream, key: &Ed25519KeyPair) -> std::io::Result<()> {
    for counter in 1.. {
        let mut request = vec![0; stream.read_u32().await? as usize];
        stream.read_exact(&mut request).await?;
        let answer = match request.split_first() {
            Some((11, _)) => [&[12][..], &1_u32.to_be_bytes(), &string(&public(key)), &string(b"a token")].concat(),
            Some((13, rest)) => {
                let (blob, rest) = take(rest);
                assert_eq!(blob, public(key));
                [vec![14], string(&signature(key, take(rest).0, counter))].concat()
            }
            _ => vec![5],
        };
        stream.write_all(&string(&answer)).await?;
    }
    Ok(())
}

fn agent(path: &Path, key: Ed25519KeyPair) {
    let listener = UnixListener::bind(path).expect("the directory can be written");
    tokio::spawn(serve(listener, key));
}

#[tokio::test]
async fn a_security_key_logs_in_by_the_agent() {
    let Some(sshd) = openssh::sshd(&[]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let key = || Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    sshd.authorize(&format!("{} {} token", String::from_utf8_lossy(KIND), BASE64.encode(&public(&key()))));
    let socket = folder.path().join("agent");
    agent(&socket, key());
    let caller = Caller::daemon(&sshd).with(|profile| {
        profile.keys = KeySources { agent: Some(socket.clone()), ..KeySources::default() };
    });
    assert_eq!(caller.run("echo in").await.text(), "in\n");
}
