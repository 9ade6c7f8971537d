//! The SHA-256 of files on a host, or of their beginnings, by whatever the host has for it: [`digests`].

use super::inner::ask;
use super::privilege::Privilege;
use super::trouble::Trouble;
use crate::connection::Connection;
use crate::outcome::{Code, Failure};
use crate::sftp::SftpError;
use bytes::Bytes;
use std::sync::Arc;

/// Prints a line for each file: its digest in hexadecimal, or `-` where it cannot be read. The first line says
/// whether there is a program.
const SCRIPT: &str = r#"if command -v sha256sum >/dev/null 2>&1; then h() { sha256sum; }
elif command -v shasum >/dev/null 2>&1; then h() { shasum -a 256; }
elif command -v openssl >/dev/null 2>&1; then h() { openssl dgst -sha256 -r; }
elif command -v sha256 >/dev/null 2>&1; then h() { sha256 -q; }
else echo none; exit 0; fi
echo some
p() { if [ -r "$2" ] && r=$(head -c "$1" <"$2" | h); then printf '%s\n' "${r%% *}"; else echo -; fi; } 2>/dev/null
"#;

/// The beginning of a file on the host, or all of it.
pub(super) struct Part {
    /// Where it is there.
    pub(super) path: Vec<u8>,
    /// How much of it, in bytes.
    pub(super) length: u64,
}

/// The digests of these as the host computes them, each where it can be read; nothing where the host cannot.
pub(super) async fn digests(
    connection: &Arc<Connection>,
    privilege: Option<&Privilege>,
    parts: &[Part],
) -> Result<Option<Vec<Option<[u8; 32]>>>, Trouble> {
    let mut script = SCRIPT.as_bytes().to_vec();
    for part in parts {
        script.extend_from_slice(format!("p {} ", part.length).as_bytes());
        script.extend(quoted(&part.path));
        script.push(b'\n');
    }
    let answer = match ask(connection, privilege, "exec /bin/sh", Bytes::from(script)).await {
        Ok(answer) => answer,
        // An account that may do SFTP and nothing else.
        Err(Failure { code: Code::SessionLost, .. }) => {
            return Err(Trouble::Session(SftpError::Lost("the connection was lost".into())));
        }
        Err(_) => return Ok(None),
    };
    let mut lines = answer.split(|byte| *byte == b'\n');
    if lines.next() != Some(b"some") {
        return Ok(None);
    }
    let digests: Vec<_> = lines.take(parts.len()).map(digest).collect();
    Ok((digests.len() == parts.len()).then_some(digests))
}

/// A path as one word of a shell, whatever bytes are in it.
fn quoted(path: &[u8]) -> Vec<u8> {
    let mut word = vec![b'\''];
    for &byte in path {
        match byte {
            b'\'' => word.extend_from_slice(br"'\''"),
            other => word.push(other),
        }
    }
    word.push(b'\'');
    word
}

fn digest(line: &[u8]) -> Option<[u8; 32]> {
    data_encoding::HEXLOWER_PERMISSIVE.decode(line.strip_prefix(b"\\").unwrap_or(line)).ok()?.try_into().ok()
}
