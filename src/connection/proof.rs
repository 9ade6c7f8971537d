//! What a server has to show for the host keys that it announces: a signature of each over this session
//! (`hostkeys-prove-00@openssh.com`, PROTOCOL section 2.5).
//!
//! russh verifies such proofs too, but takes those that were made with SHA-1, which nobody may sign a session with any more.

use crate::known_hosts::PublicKey as BlobKey;
use russh::keys::signature::Verifier;
use russh::keys::ssh_encoding::{Decode, Encode};
use russh::keys::ssh_key::{Algorithm, Signature};
use russh::keys::{PublicKey, ssh_encoding};

/// The name of the request, which is part of what is signed.
pub(super) const REQUEST: &str = "hostkeys-prove-00@openssh.com";

/// What the request carries: the keys that are to be proved.
pub(super) fn request(keys: &[BlobKey]) -> Result<Vec<u8>, ssh_encoding::Error> {
    let mut data = Vec::new();
    keys.iter().try_for_each(|key| key.blob().encode(&mut data))?;
    Ok(data)
}

/// Whether a reply holds a good signature of each key, in their order, and nothing else.
pub(super) fn holds(session: &[u8], keys: &[BlobKey], mut reply: &[u8]) -> bool {
    keys.iter().all(|key| is_signed(session, key, &mut reply) == Some(true)) && reply.is_empty()
}

fn is_signed(session: &[u8], blob: &BlobKey, reply: &mut &[u8]) -> Option<bool> {
    let key = PublicKey::from_bytes(blob.blob()).ok()?;
    let field = Vec::<u8>::decode(reply).ok()?;
    let mut rest = &field[..];
    let signature = Signature::decode(&mut rest).ok()?;
    let mut signed = Vec::new();
    [REQUEST.as_bytes(), session, blob.blob()].iter().try_for_each(|part| part.encode(&mut signed)).ok()?;
    let is_broken = matches!(signature.algorithm(), Algorithm::Rsa { hash: None });
    Some(rest.is_empty() && !is_broken && Verifier::verify(&key, &signed, &signature).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use getrandom::SysRng;
    use getrandom::rand_core::UnwrapErr;
    use russh::keys::signature::Signer;
    use russh::keys::ssh_key::private::{Ed25519Keypair, KeypairData, RsaKeypair};
    use russh::keys::{HashAlg, PrivateKey};

    const SESSION: &[u8] = b"this session";

    fn blob(key: &PrivateKey) -> BlobKey {
        BlobKey::from_blob(&key.public_key().to_bytes().unwrap()).unwrap()
    }

    fn key(seed: u8) -> PrivateKey {
        PrivateKey::new(KeypairData::Ed25519(Ed25519Keypair::from_seed(&[seed; 32])), "").unwrap()
    }

    /// What is signed for a key.
    fn message(session: &[u8], key: &BlobKey) -> Vec<u8> {
        let mut message = Vec::new();
        [REQUEST.as_bytes(), session, key.blob()].iter().for_each(|part| part.encode(&mut message).unwrap());
        message
    }

    fn field(signature: &Signature) -> Vec<u8> {
        let (mut inner, mut outer) = (Vec::new(), Vec::new());
        signature.encode(&mut inner).unwrap();
        inner.encode(&mut outer).unwrap();
        outer
    }

    fn signed(by: &PrivateKey, session: &[u8], key: &BlobKey) -> Vec<u8> {
        field(&by.try_sign(&message(session, key)).unwrap())
    }

    #[test]
    fn only_signatures_of_each_key_over_this_session_prove_them() {
        let (one, other) = (key(1), key(2));
        let keys = [blob(&one), blob(&other)];
        let (first, second) = (signed(&one, SESSION, &keys[0]), signed(&other, SESSION, &keys[1]));
        let good = [&first[..], &second].concat();
        assert!(holds(SESSION, &keys, &good));
        let mut damaged = good.clone();
        *damaged.last_mut().unwrap() ^= 1;
        for (why, reply) in [
            ("nothing", vec![]),
            ("one is missing", first.clone()),
            ("the other order", [&second[..], &first].concat()),
            ("another session", [&first[..], &signed(&other, b"that session", &keys[1])].concat()),
            ("another key signs", [&first[..], &signed(&one, SESSION, &keys[1])].concat()),
            ("another key is signed", [&first[..], &signed(&other, SESSION, &keys[0])].concat()),
            ("garbage", b"\0\0\0\x04abcd\0\0\0\x04abcd".to_vec()),
            ("a length beyond the end", [&first[..], b"\xff\xff\xff\xff"].concat()),
            ("cut off", good[..good.len() - 1].to_vec()),
            ("something behind", [&good[..], b"\0"].concat()),
            ("a bit is wrong", damaged),
        ] {
            assert!(!holds(SESSION, &keys, &reply), "{why}");
        }
        assert!(holds(SESSION, &[], &[]));
    }

    #[test]
    fn an_rsa_key_is_not_proved_with_sha1() {
        let pair = RsaKeypair::random(&mut UnwrapErr(SysRng), 2048).unwrap();
        let key = blob(&PrivateKey::new(KeypairData::Rsa(pair.clone()), "").unwrap());
        let sign = |hash: Option<HashAlg>| field(&(&pair, hash).try_sign(&message(SESSION, &key)).unwrap());
        for hash in [HashAlg::Sha256, HashAlg::Sha512] {
            assert!(holds(SESSION, std::slice::from_ref(&key), &sign(Some(hash))), "{hash}");
        }
        assert!(!holds(SESSION, std::slice::from_ref(&key), &sign(None)));
    }
}
