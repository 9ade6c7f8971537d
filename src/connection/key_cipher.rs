//! How private key texts are encrypted, beyond what russh knows: the one form that it takes for something else, and the ciphers
//! that nothing here opens, so that they are not taken for wrong passphrases.

use crate::secret::Secret;
use aes::cipher::{BlockModeDecrypt, KeyIvInit, block_padding::Pkcs7};
use russh::keys::ssh_key::Cipher;
use russh::keys::{Error as KeyError, PrivateKey, decode_secret_key};
use zeroize::Zeroizing;

const BEGIN: &str = "-----BEGIN EC PRIVATE KEY-----";
const END: &str = "-----END EC PRIVATE KEY-----";
/// What stands before the name of the cipher in PEM's own encryption.
const CIPHER_LINE: &str = "DEK-Info: ";
/// The only such cipher that OpenSSH has written since 5.4, and that is known here.
const PEM_CIPHER: &str = "AES-128-CBC";

/// The cipher of a locked text, where no passphrase would open it here. `error` is what the attempt ended with.
pub(super) fn unsupported(text: &str, error: &KeyError) -> Option<String> {
    if let Some(line) = text.lines().find_map(|line| line.trim().strip_prefix(CIPHER_LINE)) {
        let name = line.split(',').next().unwrap_or_default();
        return (name != PEM_CIPHER).then(|| name.to_owned());
    }
    if let Ok(key) = PrivateKey::from_openssh(text) {
        return (key.cipher() == Cipher::TdesCbc).then(|| key.cipher().as_str().to_owned());
    }
    // Another passphrase fails at the padding, or at what then is no key. What tells an identifier that is not known from that
    // are the words alone, since russh gives no access to the crates that find it out.
    let is_unknown =
        matches!(error, KeyError::Pkcs8(_) | KeyError::Der(_)) && error.to_string().contains("unsupported");
    is_unknown.then(|| "an unusual algorithm of PKCS#8".to_owned())
}

/// An EC key under PEM's own encryption (`ssh-keygen -m PEM`), which russh takes for something else: the key, if it is of this
/// form and the passphrase fits. The key of the cipher is MD5(passphrase, first half of
/// the initial vector), as OpenSSL's EVP_BytesToKey makes it.
pub(super) fn decode_ec(text: &str, passphrase: &Secret) -> Option<PrivateKey> {
    let body = text.split_once(BEGIN)?.1.split_once(END)?.0;
    let (head, payload) = body.split_once("\n\n").or_else(|| body.split_once("\r\n\r\n"))?;
    let vector = head.lines().find_map(|line| line.trim().strip_prefix("DEK-Info: AES-128-CBC,"))?;
    let vector = unhex(vector.trim())?;
    let mut digest = md5::Context::new();
    digest.consume(passphrase.expose());
    digest.consume(vector.get(..8)?);
    let mut bytes = Zeroizing::new(unbase64(payload)?);
    let cipher = cbc::Decryptor::<aes::Aes128>::new_from_slices(&digest.finalize().0, &vector).ok()?;
    let clear = cipher.decrypt_padded::<Pkcs7>(&mut bytes).ok()?;
    let pem = Zeroizing::new(format!("{BEGIN}\n{}\n{END}\n", base64(clear)));
    decode_secret_key(&pem, None).ok()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    data_encoding::HEXUPPER_PERMISSIVE.decode(text.as_bytes()).ok()
}

fn unbase64(text: &str) -> Option<Vec<u8>> {
    let packed: String = text.split_whitespace().collect();
    data_encoding::BASE64.decode(packed.as_bytes()).ok()
}

fn base64(bytes: &[u8]) -> String {
    data_encoding::BASE64.encode(bytes)
}
