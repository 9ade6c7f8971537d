//! Which file a name stands for at a moment: [`Version`]. SFTP does not tell, so a shell is asked.

use crate::sftp::Attributes as Wire;
use crate::task::digest::{Digester, quoted};
use crate::task::inner::ask;
use bytes::Bytes;

/// `v` prints of a file the size, the time of the last change, the file system, the number of the file there, and when anything
/// about it changed last, which is also when a name of it came or went (stat(2), `st_ctim`); and of the directories that lead
/// to it the last three.
const TELLING: &str = r#"if stat -c %d / >/dev/null 2>&1; then
v() { stat -L -c '%s %Y %d %i %z' "$1" && shift && stat -c '%d %i %z' "$@"; }
else v() { stat -L -f '%z %m %d %i %Fc' "$1" && shift && stat -f '%d %i %Fc' "$@"; }
fi
"#;

/// A file as it was under a name, and the directories of its path. Where two looks find the same, whoever opened that name in
/// between has opened this file: a directory that is renamed to and fro tells by its time.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Version {
    file: String,
    way: String,
}

impl Version {
    /// Looks at a path without symlinks; nothing where the host does not tell, or not exactly enough. That its connection is
    /// lost shows elsewhere.
    pub(super) async fn of(digester: &Digester<'_>, path: &[u8]) -> Option<Self> {
        let home = digester.home().await.ok()?;
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        let directories: Vec<&[u8]> = slashes.map(|(slash, _)| &path[..slash.max(1)]).collect();
        let words: Vec<u8> = std::iter::once(&path).chain(&directories).flat_map(|path| quoted(home, path)).collect();
        let script = [TELLING.as_bytes(), b"v", &words, b" 2>/dev/null\n"].concat();
        let answer = ask(digester.connection, digester.privilege, "exec /bin/sh", Bytes::from(script)).await;
        Self::read(&answer.ok()?, directories.len())
    }

    fn read(answer: &[u8], directories: usize) -> Option<Self> {
        let (file, way) = str::from_utf8(answer).ok()?.split_once('\n')?;
        let (_, fraction) = file.rsplit_once('.')?;
        // Whole seconds are too long: two names can change in one.
        let is_exact = fraction.bytes().take_while(u8::is_ascii_digit).any(|digit| digit != b'0');
        let is_whole = file.split(' ').count() >= 5 && way.lines().count() == directories;
        (is_exact && is_whole).then(|| Self { file: file.to_owned(), way: way.to_owned() })
    }

    /// Whether it is the same file, whatever happened in the directories that lead to it.
    pub(super) fn is_same_file(&self, other: &Self) -> bool {
        self.file == other.file
    }

    /// Whether this is what the SFTP server has opened, as far as size and time tell: it may see other files than a shell.
    pub(super) fn is_of(&self, found: &Wire) -> bool {
        let mut words = self.file.split(' ').map(|word| word.parse::<u64>().ok());
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
        let answer = |way: &str| Version::read(format!("{line}\n{way}").as_bytes(), 2);
        let version = answer("1 2 10:00:00.1\n1 3 10:00:00.2\n").unwrap();
        assert_eq!(version.file, line);
        let found = |size, modified| Wire { size: Some(size), times: Some((0, modified)), ..Wire::default() };
        assert!(version.is_of(&found(300, 1_577_836_800)));
        assert!(!version.is_of(&found(301, 1_577_836_800)) && !version.is_of(&found(300, 1_577_836_801)));
        // One of the directories was renamed.
        let renamed = answer("1 2 10:00:00.1\n1 3 10:00:00.3\n").unwrap();
        assert!(renamed != version && renamed.is_same_file(&version));
        assert_eq!(answer("1 2 10:00:00.1\n"), None);
        assert!(Version::read(b"300 1577836800 66307 1312 1577836800.120000000\n", 0).is_some());
        for vague in [
            &b""[..],
            b"300 1577836800 66307 1312 2026-01-01 10:00:00.000000000\n",
            b"1 2 3 4 5\n",
            b"what?\n",
            b"\xff.1\n",
        ] {
            assert_eq!(Version::read(vague, 0), None);
        }
    }
}
