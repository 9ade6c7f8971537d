//! Which names on a host are those of one file. SFTP does not tell, so a shell is asked, about all of them in one go.

use super::compare::Comparison;
use crate::connection::Connection;
use crate::outcome::Code;
use crate::task::digest::quoted;
use crate::task::inner::ask;
use crate::task::privilege::Privilege;
use crate::task::trouble::Trouble;
use crate::tree::{Identity, Observed, TreePath};
use bytes::Bytes;
use std::sync::Arc;

/// `t` prints a line for each file: the file system, the number of the file there, how many names it has.
const TELLING: &str = r#"if stat -c %d / >/dev/null 2>&1; then t() { stat -c '%d %i %h' "$@"; }
elif stat -f %d / >/dev/null 2>&1; then t() { stat -f '%d %i %l' "$@"; }
else exit 0; fi
"#;
/// Files and bytes of their paths that one process is given.
const TOGETHER: (usize, usize) = (512, 64 * 1024);
/// Files that one shell is asked about: its answer is bounded.
const ASKED: usize = 8 * TOGETHER.0;

impl Comparison<'_> {
    /// Fills in which files these are, as far as the host tells and can make links of them.
    ///
    /// # Errors
    /// Where the connection is lost.
    pub(super) async fn identify(
        &self,
        connection: &Arc<Connection>,
        privilege: Option<&Privilege>,
        paths: &[TreePath],
        observed: &mut Observed,
    ) -> Result<(), Trouble> {
        if !self.sftp.features().hard_link {
            note(observed, paths, std::iter::repeat(Identity::Untold));
            return Ok(());
        }
        let home = self.digester.home().await?;
        for paths in paths.chunks(ASKED) {
            let (script, groups) = question(paths, |path| quoted(home, &self.placement.remote(path)));
            let answer = match ask(connection, privilege, "exec /bin/sh", Bytes::from(script)).await {
                Ok(answer) => answer,
                Err(failure) if failure.code == Code::SessionLost => return Err(failure.into()),
                // An account that may do SFTP and nothing else.
                Err(_) => Vec::new(),
            };
            note(observed, paths, identities(&answer, &groups));
        }
        Ok(())
    }
}

fn note(observed: &mut Observed, paths: &[TreePath], identities: impl IntoIterator<Item = Identity>) {
    for (path, identity) in paths.iter().zip(identities) {
        if let Some(found) = observed.get_mut(path) {
            found.identity = identity;
        }
    }
}

/// What the shell is told, and how many files each of its lines is about.
fn question<'a>(paths: &'a [TreePath], quote: impl Fn(&'a TreePath) -> Vec<u8>) -> (Vec<u8>, Vec<usize>) {
    let (mut script, mut groups, mut bytes) = (TELLING.as_bytes().to_vec(), Vec::new(), TOGETHER.1);
    for path in paths {
        let word = quote(path);
        match groups.last_mut().filter(|count| **count < TOGETHER.0 && bytes + word.len() <= TOGETHER.1) {
            Some(count) => *count += 1,
            None => {
                script.extend_from_slice(if groups.is_empty() { b"t" } else { b" 2>/dev/null; echo =\nt" });
                groups.push(1);
                bytes = 0;
            }
        }
        bytes += word.len();
        script.extend_from_slice(&word);
    }
    script.extend_from_slice(b" 2>/dev/null; echo =\n");
    (script, groups)
}

/// The identities of all files, in their order. Where one of a group could not be looked at, nobody knows which line is whose.
fn identities(answer: &[u8], groups: &[usize]) -> Vec<Identity> {
    let text = String::from_utf8_lossy(answer);
    let mut told = text.split("=\n");
    let mut found = Vec::new();
    for &count in groups {
        let lines: Vec<Identity> = told.next().unwrap_or_default().lines().map(identity).collect();
        match lines.len() == count {
            true => found.extend(lines),
            false => found.extend(std::iter::repeat_n(Identity::Untold, count)),
        }
    }
    found
}

fn identity(line: &str) -> Identity {
    let numbers: Result<Vec<u64>, _> = line.split(' ').map(str::parse).collect();
    match numbers.as_deref() {
        Ok(&[device, inode, names]) => Identity::Known { device, inode, names },
        _ => Identity::Untold,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_asked_about_together_and_a_group_that_lacks_a_line_is_not_believed() {
        let paths: Vec<TreePath> =
            (0..TOGETHER.0 + 2).map(|number| TreePath::from_bytes(number.to_string().into_bytes())).collect();
        let (script, groups) = question(&paths, |path| [b" ", path.as_bytes()].concat());
        assert_eq!(groups, [TOGETHER.0, 2]);
        let script = String::from_utf8(script).unwrap();
        assert!(script.ends_with(" 511 2>/dev/null; echo =\nt 512 513 2>/dev/null; echo =\n"), "{script}");
        let known = |inode| Identity::Known { device: 1, inode, names: 2 };
        assert_eq!(
            identities(b"1 5 2\n1 6 2\n=\n1 7 2\n=\n", &[2, 2]),
            [known(5), known(6), Identity::Untold, Identity::Untold]
        );
        assert_eq!(identities(b"", &[1]), [Identity::Untold]);
        assert_eq!(identities(b"what?\n=\n", &[1]), [Identity::Untold]);
    }
}
