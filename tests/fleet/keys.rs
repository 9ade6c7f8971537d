//! Keys of servers and users, made in this process: Ed25519 only, because it costs nothing. Other kinds come from
//! `ssh-keygen` ([`super::openssh::keygen`]).

use russh::keys::ssh_key::certificate::{Builder, CertType};
use russh::keys::ssh_key::private::{Ed25519Keypair, KeypairData};
use russh::keys::ssh_key::{Certificate, LineEnding, PrivateKey, PublicKey};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// A new key pair.
pub fn generate(comment: &str) -> PrivateKey {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).expect("the system has random numbers");
    let pair = Ed25519Keypair::from_seed(&seed);
    PrivateKey::new(KeypairData::Ed25519(pair), comment).expect("an Ed25519 key pair is a private key")
}

/// Writes a private key as `ssh-keygen` does, mode 0600, and its public half beside it.
pub fn write(path: &Path, key: &PrivateKey) {
    let text = key.to_openssh(LineEnding::LF).expect("a private key has a text form");
    fs::write(path, text.as_bytes()).expect("the test's directory can be written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("the file is ours");
    fs::write(path.with_extension("pub"), format!("{}\n", line(key.public_key())))
        .expect("the directory can be written");
}

/// `TYPE BASE64 [COMMENT]`, as authorized_keys and known_hosts have it.
pub fn line(key: &PublicKey) -> String {
    key.to_openssh().expect("a public key has a text form")
}

/// What a certificate says of its holder.
pub struct Claim<'a> {
    /// A host's or a user's.
    pub kind: CertType,
    /// Host names or login names.
    pub principals: &'a [&'a str],
    /// Seconds since 1970 in which it holds.
    pub valid: std::ops::Range<u64>,
    /// `source-address`, where it is bound to some.
    pub sources: Option<&'a str>,
}

/// From the beginning of time to its end.
pub const ALWAYS: std::ops::Range<u64> = 0..u64::MAX;

/// A certificate for a key.
pub fn certify(authority: &PrivateKey, key: &PublicKey, claim: &Claim<'_>) -> Certificate {
    let built = (|| {
        let mut builder = Builder::new(vec![7; 16], key.key_data().clone(), claim.valid.start, claim.valid.end)?;
        builder.serial(1)?.cert_type(claim.kind)?.key_id("fleet")?;
        for principal in claim.principals {
            builder.valid_principal(*principal)?;
        }
        if claim.principals.is_empty() {
            builder.all_principals_valid()?;
        }
        if let Some(sources) = claim.sources {
            builder.critical_option("source-address", sources)?;
        }
        builder.sign(authority)
    })();
    built.expect("the claim is well formed")
}
