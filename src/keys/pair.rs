//! Key pairs: how they are made, and the text of both of their files, as ssh-keygen(1) writes them.
//!
//! The main type is [`Pair`]. It knows no file; where pairs are put is [`PairFiles`](super::PairFiles).

use crate::known_hosts::{KeyError, PublicKey};
use crate::secret::Secret;
use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use russh::keys::ssh_key::private::{KeypairData, RsaKeypair};
use russh::keys::ssh_key::{self, Algorithm, Cipher, EcdsaCurve, Kdf, LineEnding, PrivateKey};
use zeroize::Zeroizing;

/// The cipher of OpenSSH's own key files since 6.9.
const CIPHER: Cipher = Cipher::Aes256Ctr;
/// Bytes of salt (`SALT_LEN` in sshkey.c).
const SALT: usize = 16;

/// What kind of key is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Ed25519.
    Ed25519,
    /// ECDSA over a NIST curve.
    Ecdsa(Curve),
    /// RSA with this many bits, 2048 to 16384 and even.
    Rsa(u16),
}

/// A NIST curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Curve {
    /// nistp256.
    P256,
    /// nistp384.
    P384,
    /// nistp521.
    P521,
}

/// A size that a kind of key does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// Of Ed25519.
    #[error("an ed25519 key always has 256 bits, not {0}")]
    Ed25519(u32),
    /// Of ECDSA.
    #[error("an ecdsa key has 256, 384 or 521 bits, not {0}")]
    Ecdsa(u32),
    /// Of RSA.
    #[error("an rsa key has 2048 to 16384 bits, not {0}")]
    Rsa(u32),
    /// Of RSA, whose two primes are of one length.
    #[error("an rsa key has an even number of bits, not {0}")]
    OddRsa(u32),
}

impl Kind {
    /// RSA of a size.
    ///
    /// # Errors
    /// What is too small to be safe, what OpenSSH does not read, and odd sizes: OpenSSL makes 2048 bits where it is asked for
    /// 2049 and says nothing, and the key code here knows no primes of different lengths.
    pub fn rsa(bits: u32) -> Result<Self, SizeError> {
        match u16::try_from(bits) {
            Ok(size @ 2048..=16384) if size % 2 == 0 => Ok(Self::Rsa(size)),
            Ok(2048..=16384) => Err(SizeError::OddRsa(bits)),
            _ => Err(SizeError::Rsa(bits)),
        }
    }

    /// ECDSA over the curve of a size.
    ///
    /// # Errors
    /// Where there is no such curve.
    pub fn ecdsa(bits: u32) -> Result<Self, SizeError> {
        match bits {
            256 => Ok(Self::Ecdsa(Curve::P256)),
            384 => Ok(Self::Ecdsa(Curve::P384)),
            521 => Ok(Self::Ecdsa(Curve::P521)),
            _ => Err(SizeError::Ecdsa(bits)),
        }
    }
}

/// How a private key is kept from whoever reads its file.
#[derive(Clone, Debug)]
pub enum Protection {
    /// It is not: whoever reads the file has the key.
    None,
    /// It is encrypted.
    Passphrase {
        /// With this.
        passphrase: Secret,
        /// Rounds of bcrypt: what each guess costs.
        rounds: u32,
    },
}

/// A private key with its public half and its comment.
pub struct Pair(PrivateKey);

/// Why there is no pair, or no text of it.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    /// The system has no random numbers.
    #[error("the system gives no random numbers")]
    Random(#[source] std::io::Error),
    /// The key could not be made or written down.
    #[error("the key code failed")]
    Key(#[from] ssh_key::Error),
    /// It has no public half that files could hold.
    #[error("the key has no public half")]
    Public(#[from] KeyError),
    /// What was written cannot be read back as the same key.
    #[error("a key of type `{0}` cannot be written down faithfully")]
    Unfaithful(String),
}

/// For keys that were read from a file.
impl From<PrivateKey> for Pair {
    fn from(private: PrivateKey) -> Self {
        Self(private)
    }
}

impl Pair {
    /// Makes a new key. RSA takes its time: seconds for 4096 bits, minutes for 16384.
    ///
    /// # Errors
    /// Without random numbers.
    pub fn generate(kind: Kind, comment: &str) -> Result<Self, PairError> {
        let mut random = random()?;
        let curve = |curve| Algorithm::Ecdsa { curve };
        let private = match kind {
            Kind::Ed25519 => PrivateKey::random(&mut random, Algorithm::Ed25519)?,
            Kind::Ecdsa(Curve::P256) => PrivateKey::random(&mut random, curve(EcdsaCurve::NistP256))?,
            Kind::Ecdsa(Curve::P384) => PrivateKey::random(&mut random, curve(EcdsaCurve::NistP384))?,
            Kind::Ecdsa(Curve::P521) => PrivateKey::random(&mut random, curve(EcdsaCurve::NistP521))?,
            Kind::Rsa(bits) => RsaKeypair::random(&mut random, bits.into())?.into(),
        };
        Ok(Self(private).with_comment(comment))
    }

    /// The same pair under another comment.
    #[must_use]
    pub fn with_comment(mut self, comment: &str) -> Self {
        self.0.set_comment(comment);
        self
    }

    /// The public half.
    ///
    /// # Errors
    /// Where it is of a shape that no file holds.
    pub fn public(&self) -> Result<PublicKey, PairError> {
        Ok(PublicKey::from_blob(&self.0.public_key().to_bytes()?)?)
    }

    /// The comment, which need not be text.
    pub fn comment(&self) -> &[u8] {
        self.0.comment().as_bytes()
    }

    /// The `.pub` file: type, key, and the comment where there is one.
    ///
    /// # Errors
    /// As [`public`](Self::public).
    pub fn public_text(&self) -> Result<Vec<u8>, PairError> {
        let mut text = self.public()?.to_string().into_bytes();
        if !self.comment().is_empty() {
            text.push(b' ');
            text.extend_from_slice(self.comment());
        }
        text.push(b'\n');
        Ok(text)
    }

    /// The private file, in OpenSSH's format (PROTOCOL.key).
    ///
    /// # Errors
    /// Without random numbers for the salt.
    pub fn private_text(&self, protection: &Protection) -> Result<Zeroizing<String>, PairError> {
        match protection {
            Protection::None => Ok(self.0.to_openssh(LineEnding::LF)?),
            Protection::Passphrase { passphrase, rounds } => {
                let mut salt = vec![0; SALT];
                let mut check = [0; 4];
                getrandom::fill(&mut salt).map_err(|error| PairError::Random(error.into()))?;
                getrandom::fill(&mut check).map_err(|error| PairError::Random(error.into()))?;
                let kdf = Kdf::Bcrypt { salt, rounds: *rounds };
                let locked = self.0.encrypt_with(CIPHER, kdf, u32::from_ne_bytes(check), passphrase.expose())?;
                Ok(locked.to_openssh(LineEnding::LF)?)
            }
        }
    }

    /// The private file for a key that no longer stands anywhere else: read back and compared before it is given.
    ///
    /// # Errors
    /// As [`private_text`](Self::private_text), and where the text would not be the key.
    pub fn proved_private_text(&self, protection: &Protection) -> Result<Zeroizing<String>, PairError> {
        let unfaithful = || PairError::Unfaithful(self.0.algorithm().as_str().to_owned());
        if matches!(self.0.key_data(), KeypairData::Other(_)) {
            return Err(unfaithful());
        }
        let text = self.private_text(protection)?;
        let mut read = PrivateKey::from_openssh(text.as_bytes())?;
        if let Protection::Passphrase { passphrase, .. } = protection {
            read = read.decrypt(passphrase.expose())?;
        }
        let same = read.key_data() == self.0.key_data() && read.comment() == self.0.comment();
        if same { Ok(text) } else { Err(unfaithful()) }
    }
}

/// The system's random numbers, after a look whether there are any: the key code takes no failure for an answer.
fn random() -> Result<UnwrapErr<SysRng>, PairError> {
    getrandom::fill(&mut [0; 32]).map_err(|error| PairError::Random(error.into()))?;
    Ok(UnwrapErr(SysRng))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_made_with_its_size_and_read_back() {
        for (kind, family, bits) in [
            (Kind::Ed25519, "ED25519", 256),
            (Kind::ecdsa(256).unwrap(), "ECDSA", 256),
            (Kind::ecdsa(384).unwrap(), "ECDSA", 384),
            (Kind::ecdsa(521).unwrap(), "ECDSA", 521),
            (Kind::rsa(2048).unwrap(), "RSA", 2048),
            // Primes whose length is no multiple of a word's.
            (Kind::rsa(2050).unwrap(), "RSA", 2050),
            (Kind::rsa(2176).unwrap(), "RSA", 2176),
        ] {
            let pair = Pair::generate(kind, "me@here").unwrap();
            let public = pair.public().unwrap();
            assert_eq!((public.family(), public.bits()), (family, Some(bits)));
            assert_eq!(pair.public_text().unwrap(), format!("{public} me@here\n").as_bytes());
            let locked = Protection::Passphrase { passphrase: Secret::new("open".into()), rounds: 1 };
            for protection in [Protection::None, locked] {
                let text = pair.proved_private_text(&protection).unwrap();
                assert!(text.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----\n") && text.ends_with("-----\n"));
            }
        }
    }

    #[test]
    fn no_two_keys_and_no_two_encryptions_are_the_same() {
        let (one, other) = (Pair::generate(Kind::Ed25519, "").unwrap(), Pair::generate(Kind::Ed25519, "").unwrap());
        assert_ne!(one.public().unwrap(), other.public().unwrap());
        let locked = Protection::Passphrase { passphrase: Secret::new("open".into()), rounds: 1 };
        assert_ne!(*one.private_text(&locked).unwrap(), *one.private_text(&locked).unwrap());
    }

    #[test]
    fn sizes_that_are_weak_or_that_openssh_does_not_read_are_refused() {
        for bits in [0, 1024, 2047, 16385, 65536 + 2048] {
            assert_eq!(Kind::rsa(bits), Err(SizeError::Rsa(bits)));
        }
        for bits in [2049, 2177, 4097, 16383] {
            assert_eq!(Kind::rsa(bits), Err(SizeError::OddRsa(bits)));
        }
        for bits in [2048, 2050, 3000, 4096, 16384] {
            assert_eq!(Kind::rsa(bits), Ok(Kind::Rsa(bits as u16)));
        }
        assert_eq!(Kind::ecdsa(512), Err(SizeError::Ecdsa(512)));
    }

    #[test]
    fn a_comment_that_is_no_text_is_kept() {
        let mut private = Pair::generate(Kind::Ed25519, "").unwrap().0;
        private.set_comment(vec![b'a', 0xff, b'b']);
        let pair = Pair::from(private);
        let text = pair.proved_private_text(&Protection::None).unwrap();
        assert_eq!(PrivateKey::from_openssh(text.as_bytes()).unwrap().comment().as_bytes(), b"a\xffb");
        assert!(pair.public_text().unwrap().ends_with(b" a\xffb\n"));
    }
}
