//! Private key files of every kind that OpenSSH writes, and the public halves beside them.
//!
//! [`KeyFile::open`] looks at a file without its passphrase: enough to offer the key and to know whether a passphrase
//! will be needed. [`KeyFile::unlock`] gives the private key. Nothing here asks anybody anything.

use super::key_cipher;
use super::signer::SigningKey;
use crate::known_hosts::{PublicKey as BlobKey, open_at_once};
use crate::secret::Secret;
use russh::keys::{Certificate, Error as KeyError, PrivateKey, PublicKey, decode_secret_key};
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

/// A key file is a few kilobytes; what is longer is something else.
const LIMIT: u64 = 64 * 1024;

/// How a DSA key in PEM begins.
const DSA: &str = "-----BEGIN DSA PRIVATE KEY-----";
/// What PKCS#8 calls DSA.
const DSA_OBJECT: &str = "1.2.840.10040.4.1";

/// A private key file that was read.
pub struct KeyFile {
    /// Where it is.
    pub(super) path: PathBuf,
    /// The public half, where it can be known without a passphrase.
    pub(super) public: Option<PublicKey>,
    /// The private half, unless it is still locked.
    pub(super) private: Option<Arc<SigningKey>>,
    text: Zeroizing<String>,
}

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// There is none.
    #[error("there is no key file `{}`", .0.display())]
    Missing(PathBuf),
    /// The system does not let us read it.
    #[error("cannot read the key file `{}`", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Others may read it, so OpenSSH would refuse it too.
    #[error("the key file `{}` has mode {mode:04o}: others can read it", path.display())]
    Exposed {
        /// Which.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is no private key.
    #[error("`{}` is not a private key: {reason}", path.display())]
    NotAKey {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// It is the public half.
    #[error("`{}` is a public key, and the private one is needed", .0.display())]
    Public(PathBuf),
    /// It is a DSA key in a form of OpenSSL's.
    #[error("`{}` is a DSA key in PEM, which bugle does not read", .0.display())]
    DsaPem(PathBuf),
    /// It is encrypted in a way that nothing here opens.
    #[error("`{}` is encrypted with {cipher}, which bugle does not read", path.display())]
    Cipher {
        /// Which.
        path: PathBuf,
        /// By what.
        cipher: String,
    },
    /// It is no certificate.
    #[error("`{}` is not a certificate: {reason}", path.display())]
    NotACertificate {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The certificate beside a key is of another key.
    #[error("the certificate `{}` is not of the key `{}`", path.display(), key.display())]
    OtherCertificate {
        /// The certificate's file.
        path: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// It is encrypted and the passphrase does not open it.
    #[error("wrong passphrase for the key file `{}`", .0.display())]
    WrongPassphrase(PathBuf),
}

impl KeyFileError {
    /// What to type next, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Exposed { path, .. } => Some(format!("chmod 600 {}", path.display())),
            Self::NotAKey { path, .. } => {
                Some(format!("ssh-keygen -y -f {} shows whether OpenSSH reads it", path.display()))
            }
            Self::Public(path) if path.extension().is_some_and(|extension| extension == "pub") => {
                Some(format!("name the file without `.pub`: {}", path.with_extension("").display()))
            }
            Self::DsaPem(path) => {
                Some(format!("sshd takes no such key since OpenSSH 7; ssh-keygen -l -f {} tells of it", path.display()))
            }
            Self::Cipher { path, .. } => {
                Some(format!("ssh-keygen -p -f {} encrypts it in OpenSSH's usual way", path.display()))
            }
            Self::NotACertificate { path, .. } => {
                Some(format!("ssh-keygen -L -f {} shows whether OpenSSH reads it", path.display()))
            }
            _ => None,
        }
    }
}

impl KeyFile {
    /// Reads a private key file of this user and, without a passphrase, as much of the key as that allows. One that group
    /// or others may read is refused, as OpenSSH does.
    ///
    /// # Errors
    /// What is no private key, or one that others can read.
    pub fn open(path: &Path) -> Result<Self, KeyFileError> {
        Self::read(path, rustix::process::getuid().as_raw())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The private half, unless it is still locked.
    pub fn private(&self) -> Option<&PrivateKey> {
        self.private.as_ref().map(|key| key.private())
    }

    /// The public half, where it can be known without a passphrase.
    pub fn public(&self) -> Option<BlobKey> {
        BlobKey::from_blob(&self.public.as_ref()?.to_bytes().ok()?).ok()
    }

    /// The comment: of the key itself, else, as for one that is still locked, of the `.pub` file beside it if that is of the
    /// same key.
    pub fn comment(&self) -> Option<String> {
        let own = self.private().map(PrivateKey::comment).filter(|comment| !comment.is_empty());
        let text = |comment: &[u8]| String::from_utf8_lossy(comment).into_owned();
        own.map(|comment| text(comment.as_bytes())).or_else(|| {
            let beside = read_public(&beside(&self.path, ".pub"))?;
            let is_same = self.public.as_ref().is_some_and(|public| public.key_data() == beside.key_data());
            (is_same && !beside.comment().is_empty()).then(|| text(beside.comment().as_bytes()))
        })
    }

    /// The certificate in the file beside it, `NAME-cert.pub`, where there is one.
    ///
    /// # Errors
    /// What is no certificate, or one of another key.
    pub fn certificate(&self) -> Result<Option<Certificate>, KeyFileError> {
        let path = self.certificate_path();
        let Some(certificate) = read_certificate(&path)? else { return Ok(None) };
        match &self.public {
            Some(public) if public.key_data() != certificate.public_key() => {
                Err(KeyFileError::OtherCertificate { path, key: self.path.clone() })
            }
            _ => Ok(Some(certificate)),
        }
    }

    /// Where its certificate is looked for.
    pub fn certificate_path(&self) -> PathBuf {
        beside(&self.path, "-cert.pub")
    }

    /// Reads a private key file and, without a passphrase, as much of the key as that allows.
    ///
    /// A file that group or others may read is refused as OpenSSH does (sshkey_perm_ok in authfile.c), where it belongs
    /// to the user.
    pub(super) fn read(path: &Path, user: u32) -> Result<Self, KeyFileError> {
        let text = read_limited(path)?;
        let decoded = match decode_secret_key(&text, None) {
            Ok(key) => Ok(Some(key)),
            Err(error) if !text.contains(DSA) && is_encrypted(&text, &error) => Ok(None),
            Err(error) => Err(not_a_key(path, &text, &error)),
        };
        // A mode matters where there is something to keep secret.
        let decoded = match decoded {
            Err(error) if !text.contains("PRIVATE KEY") => return Err(error),
            decoded => decoded,
        };
        let facts = fs::metadata(path).map_err(|source| KeyFileError::Unreadable { path: path.into(), source })?;
        let mode = facts.mode() & 0o7777;
        if facts.uid() == user && mode & 0o077 != 0 {
            return Err(KeyFileError::Exposed { path: path.into(), mode });
        }
        let decoded = decoded?;
        let public = match &decoded {
            Some(key) => Some(key.public_key().clone()),
            None => PrivateKey::from_openssh(text.as_bytes())
                .ok()
                .map(|key| key.public_key().clone())
                .or_else(|| read_public(&beside(path, ".pub"))),
        };
        let private = decoded.map(|key| Arc::new(SigningKey::new(key)));
        Ok(Self { path: path.into(), public, private, text })
    }

    /// Opens an encrypted key. Slow on purpose (bcrypt takes tenths of a second): once a run, off the runtime.
    ///
    /// # Errors
    /// Where the passphrase does not open it, or none could.
    pub fn unlock(&mut self, passphrase: &Secret) -> Result<(), KeyFileError> {
        let path = || self.path.clone();
        let key = decode_secret_key(&self.text, Some(passphrase.expose()))
            .or_else(|error| key_cipher::decode_ec(&self.text, passphrase).ok_or(error))
            .map_err(|error| match key_cipher::unsupported(&self.text, &error) {
                Some(cipher) => KeyFileError::Cipher { path: path(), cipher },
                None if is_dsa(&self.text, &error) => KeyFileError::DsaPem(path()),
                None => KeyFileError::WrongPassphrase(path()),
            })?;
        self.public = Some(key.public_key().clone());
        self.private = Some(Arc::new(SigningKey::new(key)));
        Ok(())
    }
}

fn read_limited(path: &Path) -> Result<Zeroizing<String>, KeyFileError> {
    let fail = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound => KeyFileError::Missing(path.into()),
        std::io::ErrorKind::InvalidData => KeyFileError::NotAKey { path: path.into(), reason: "it is not text".into() },
        _ => KeyFileError::Unreadable { path: path.into(), source },
    };
    let mut text = Zeroizing::new(String::new());
    open_at_once(path).map_err(fail)?.take(LIMIT).read_to_string(&mut text).map_err(fail)?;
    Ok(text)
}

/// PKCS#8 and the legacy PEM forms say in clear that they are encrypted.
fn is_encrypted(text: &str, error: &KeyError) -> bool {
    matches!(error, KeyError::KeyIsEncrypted)
        || text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----")
        || text.contains("Proc-Type: 4,ENCRYPTED")
}

/// A DSA key outside of OpenSSH's own format, which russh has no code for.
fn is_dsa(text: &str, error: &KeyError) -> bool {
    text.contains(DSA) || matches!(error, KeyError::UnknownAlgorithm(algorithm) if algorithm.to_string() == DSA_OBJECT)
}

fn not_a_key(path: &Path, text: &str, error: &KeyError) -> KeyFileError {
    if is_dsa(text, error) {
        KeyFileError::DsaPem(path.into())
    } else if BlobKey::from_text(text.as_bytes()).is_ok() {
        KeyFileError::Public(path.into())
    } else {
        KeyFileError::NotAKey { path: path.into(), reason: reason(error) }
    }
}

fn reason(error: &KeyError) -> String {
    match error {
        KeyError::CouldNotReadKey => "no `-----BEGIN … PRIVATE KEY-----` in it that bugle knows".into(),
        other => other.to_string(),
    }
}

/// `path` with something appended to its last component.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// A public key file, where there is a readable one.
pub(super) fn read_public(path: &Path) -> Option<PublicKey> {
    PublicKey::from_openssh(read_limited(path).ok()?.trim()).ok()
}

/// A certificate file, where there is one.
pub(super) fn read_certificate(path: &Path) -> Result<Option<Certificate>, KeyFileError> {
    let text = match read_limited(path) {
        Err(KeyFileError::Missing(_)) => return Ok(None),
        Err(KeyFileError::NotAKey { path, reason }) => return Err(KeyFileError::NotACertificate { path, reason }),
        read => read?,
    };
    let certificate = Certificate::from_openssh(text.trim());
    let wrong = |reason: String| KeyFileError::NotACertificate { path: path.into(), reason };
    certificate.map(Some).map_err(|error| wrong(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    fn generate(directory: &Path, name: &str, arguments: &[&str]) -> Option<PathBuf> {
        let path = directory.join(name);
        let status = Command::new("ssh-keygen").args(["-q", "-C", "", "-f"]).arg(&path).args(arguments).status();
        match status {
            Ok(status) => {
                assert!(status.success(), "ssh-keygen {arguments:?}");
                Some(path)
            }
            Err(_) => {
                eprintln!("skipped: no ssh-keygen");
                None
            }
        }
    }

    #[test]
    fn every_form_that_ssh_keygen_writes_is_read_with_and_without_passphrase() {
        let directory = tempfile::tempdir().unwrap();
        let kinds: [(&str, &[&str]); 9] = [
            ("ed25519", &["-t", "ed25519"]),
            ("ecdsa256", &["-t", "ecdsa", "-b", "256"]),
            ("ecdsa384", &["-t", "ecdsa", "-b", "384"]),
            ("ecdsa521", &["-t", "ecdsa", "-b", "521"]),
            ("rsa", &["-t", "rsa", "-b", "2048"]),
            ("rsa-pem", &["-t", "rsa", "-b", "2048", "-m", "PEM"]),
            ("rsa-pkcs8", &["-t", "rsa", "-b", "2048", "-m", "PKCS8"]),
            ("ecdsa-pem", &["-t", "ecdsa", "-b", "256", "-m", "PEM"]),
            ("ecdsa-pkcs8", &["-t", "ecdsa", "-b", "256", "-m", "PKCS8"]),
        ];
        let user = rustix::process::getuid().as_raw();
        for (name, arguments) in kinds {
            for passphrase in ["", "open sesame"] {
                let name = format!("{name}-{}", passphrase.len());
                let Some(path) = generate(directory.path(), &name, &[arguments, &["-N", passphrase]].concat()) else {
                    return;
                };
                let expected = read_public(&beside(&path, ".pub")).unwrap();
                let mut file = KeyFile::read(&path, user).unwrap_or_else(|error| panic!("{name}: {error}"));
                assert_eq!(file.private.is_none(), !passphrase.is_empty(), "{name}");
                assert_eq!(file.public.as_ref().unwrap().key_data(), expected.key_data(), "{name}");
                if !passphrase.is_empty() {
                    let wrong = file.unlock(&Secret::new("guess".into()));
                    assert!(matches!(wrong, Err(KeyFileError::WrongPassphrase(_))), "{name}");
                    file.unlock(&Secret::new(passphrase.into())).unwrap_or_else(|error| panic!("{name}: {error}"));
                }
                assert_eq!(file.private.unwrap().private().public_key().key_data(), expected.key_data(), "{name}");
            }
        }
    }

    #[test]
    fn a_key_that_others_can_read_is_refused_with_its_mode_and_the_remedy() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        fs::write(&path, locked).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = KeyFile::read(&path, rustix::process::getuid().as_raw()).err().unwrap();
        assert!(error.to_string().contains("0644"), "{error}");
        assert!(error.hint().unwrap().starts_with("chmod 600 "));
    }

    #[test]
    fn nobody_is_told_to_hide_what_is_no_private_key() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key.pub");
        let user = rustix::process::getuid().as_raw();
        for (content, expected) in [
            ("hello\n", "is not a private key"),
            (
                "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGS8uu1P/77G/89uat7mvcY7SBPkzorGPolzg10l996h me\n",
                "is a public key",
            ),
        ] {
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
            let error = KeyFile::read(&path, user).err().unwrap();
            assert!(error.to_string().contains(expected), "{error}");
            assert!(!error.hint().unwrap().contains("chmod"), "{error}");
        }
    }

    #[test]
    fn a_cipher_that_is_not_known_is_no_wrong_passphrase() {
        let directory = tempfile::tempdir().unwrap();
        let user = rustix::process::getuid().as_raw();
        let ours = ["-t", "ed25519", "-Z", "3des-cbc", "-a", "1", "-N", "open sesame"];
        let Some(openssh) = generate(directory.path(), "3des", &ours) else { return };
        let mut files = vec![(openssh, "3des-cbc")];
        for (name, arguments, cipher) in [
            ("pem", &["genrsa", "-traditional", "-des3", "-passout", "pass:open sesame"][..], "DES-EDE3-CBC"),
            ("pkcs8", &["genrsa", "-des3", "-passout", "pass:open sesame"], "PKCS#8"),
        ] {
            let path = directory.path().join(name);
            let made = Command::new("openssl").args(arguments).arg("-out").arg(&path).arg("2048").output();
            if made.is_ok_and(|made| made.status.success()) {
                files.push((path, cipher));
            }
        }
        for (path, cipher) in files {
            let mut file = KeyFile::read(&path, user).unwrap();
            let error = file.unlock(&Secret::new("open sesame".into())).unwrap_err();
            assert!(matches!(&error, KeyFileError::Cipher { cipher: named, .. } if named.contains(cipher)), "{error}");
            assert!(error.hint().unwrap().starts_with("ssh-keygen -p -f "));
        }
    }

    #[test]
    fn a_dsa_key_in_pem_is_said_to_be_one() {
        let directory = tempfile::tempdir().unwrap();
        let user = rustix::process::getuid().as_raw();
        for (name, form) in [("pem", "PEM"), ("pkcs8", "PKCS8")] {
            for passphrase in ["", "open sesame"] {
                let path = directory.path().join(format!("{name}{}", passphrase.len()));
                let mut keygen = Command::new("ssh-keygen");
                let made = keygen.args(["-q", "-t", "dsa", "-m", form, "-N", passphrase, "-f"]).arg(&path).output();
                // OpenSSH 10 makes none any more.
                if !made.is_ok_and(|made| made.status.success()) {
                    return;
                }
                let unlocked = |mut file: KeyFile| file.unlock(&Secret::new(passphrase.into()));
                let error = KeyFile::read(&path, user).and_then(unlocked).unwrap_err();
                assert!(matches!(error, KeyFileError::DsaPem(_)), "{name}: {error}");
            }
        }
    }

    #[test]
    fn what_is_no_key_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        for content in [
            &b"hello"[..],
            &[0xff, 0xfe],
            b"",
            b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
        ] {
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            let error = KeyFile::read(&path, rustix::process::getuid().as_raw()).err().unwrap();
            assert!(matches!(error, KeyFileError::NotAKey { .. }), "{error}");
        }
        assert!(matches!(KeyFile::read(&directory.path().join("none"), 0), Err(KeyFileError::Missing(_))));
    }
}
