//! Which file a name stands for at a moment: [`Version`]. SFTP does not tell, so a shell is asked.

use crate::sftp::Attributes as Wire;
use crate::task::digest::{Digester, quoted};
use crate::task::inner::ask;
use bytes::Bytes;

/// `v` prints the size, the time of the last change, the file system, the number of the file there, and when anything about it
/// changed last, which is also when a name of it came or went (stat(2), `st_ctim`).
const TELLING: &str = r#"if stat -c %d / >/dev/null 2>&1; then v() { stat -L -c '%s %Y %d %i %z' "$1"; }
else v() { stat -L -f '%z %m %d %i %Fc' "$1"; }
fi
"#;

/// A file as it was under a name. Where two looks find the same, whoever opened that name in between has opened this file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Version(String);

impl Version {
    /// Looks; nothing where the host does not tell, or not exactly enough. That its connection is lost shows elsewhere.
    pub(super) async fn of(digester: &Digester<'_>, path: &[u8]) -> Option<Self> {
        let home = digester.home().await.ok()?;
        let script = [TELLING.as_bytes(), b"v", &quoted(home, path), b" 2>/dev/null\n"].concat();
        let answer = ask(digester.connection, digester.privilege, "exec /bin/sh", Bytes::from(script)).await;
        Self::read(&answer.ok()?)
    }

    fn read(answer: &[u8]) -> Option<Self> {
        let line = str::from_utf8(answer).ok()?.trim_end();
        let (_, fraction) = line.rsplit_once('.')?;
        // Whole seconds are too long: two names can change in one.
        let is_exact = fraction.bytes().take_while(u8::is_ascii_digit).any(|digit| digit != b'0');
        (is_exact && line.split(' ').count() >= 5).then(|| Self(line.to_owned()))
    }

    /// Whether this is what the SFTP server has opened, as far as size and time tell: it may see other files than a shell.
    pub(super) fn is_of(&self, found: &Wire) -> bool {
        let mut words = self.0.split(' ').map(|word| word.parse::<u64>().ok());
        words.next().flatten() == found.size
            && words.next().flatten() == found.times.map(|(_, modified)| modified.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_told_exactly_or_not_at_all() {
        let line = "300 1577836800 66307 1312 2026-01-01 10:00:00.123456789 +0000";
        let version = Version::read(format!("{line}\n").as_bytes()).unwrap();
        assert_eq!(version, Version(line.into()));
        let found = |size, modified| Wire { size: Some(size), times: Some((0, modified)), ..Wire::default() };
        assert!(version.is_of(&found(300, 1_577_836_800)));
        assert!(!version.is_of(&found(301, 1_577_836_800)) && !version.is_of(&found(300, 1_577_836_801)));
        assert!(Version::read(b"300 1577836800 66307 1312 1577836800.120000000\n").is_some());
        for vague in
            [&b""[..], b"300 1577836800 66307 1312 2026-01-01 10:00:00.000000000", b"1 2 3 4 5", b"what?", b"\xff.1"]
        {
            assert_eq!(Version::read(vague), None);
        }
    }
}
