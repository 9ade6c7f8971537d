//! What is said to the shell of a host: calls of the functions in `host.sh`, with every name quoted.

use super::exchange::Word;
use super::requests::{Links, Tilde};
use crate::calendar;
use crate::sftp::attributes::Attributes;

/// The first text: the functions, and the loop that takes the lines after it. Comments stay here.
pub(super) fn beginning(secret: &Word, token: &Word) -> Vec<u8> {
    let mut text = [b"secret=", &secret[..], b" token=", token, b"\n"].concat();
    for line in include_str!("host.sh").lines().filter(|line| !line.trim_start().starts_with('#')) {
        text.extend_from_slice(line.as_bytes());
        text.push(b'\n');
    }
    text
}

/// One line for the loop.
pub(super) struct Line(Vec<u8>);

impl Line {
    /// Begins with a function and its plain arguments.
    pub(super) fn call(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }

    /// Adds a word of whatever bytes.
    pub(super) fn word(mut self, bytes: &[u8]) -> Self {
        self.0.push(b' ');
        quote(&mut self.0, bytes);
        self
    }

    /// Adds a path: never an option, and never empty of meaning to `cd`.
    pub(super) fn path(mut self, path: &[u8]) -> Self {
        if path.first() != Some(&b'-') {
            return self.word(path);
        }
        self.0.extend_from_slice(b" ./");
        quote(&mut self.0, path);
        self
    }

    /// Adds a path that may begin with `~` or `~user`.
    fn expanded(mut self, path: &[u8], tilde: Tilde) -> Self {
        let end = path.iter().position(|&byte| byte == b'/').unwrap_or(path.len());
        let is_user = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.-".contains(byte);
        match path.first() {
            Some(b'~') if tilde == Tilde::Home && path[1..end].iter().all(is_user) => {
                self.0.push(b' ');
                self.0.extend_from_slice(&path[..end]);
                if let Some(rest) = path.get(end + 1..) {
                    // A quoted slash would make the user's name longer.
                    self.0.push(b'/');
                    quote(&mut self.0, rest);
                }
                self
            }
            _ => self.path(path),
        }
    }

    /// Adds another call, made only if the first one succeeds.
    pub(super) fn and(mut self, text: &str) -> Self {
        self.0.extend_from_slice(b" && ");
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    /// The line as the loop wants it.
    pub(super) fn finish(self, secret: &Word, token: &Word) -> Vec<u8> {
        [secret, &b" token="[..], token, b"; ", &self.0, b"\n"].concat()
    }

    /// Whether a name has a byte that no name on the host can have.
    pub(super) fn holds_nul(&self) -> bool {
        self.0.contains(&0)
    }
}

fn quote(text: &mut Vec<u8>, bytes: &[u8]) {
    text.push(b'\'');
    for &byte in bytes {
        match byte {
            b'\'' => text.extend_from_slice(br"'\''"),
            // The loop reads lines.
            b'\n' => text.extend_from_slice(b"'\"$newline\"'"),
            byte => text.push(byte),
        }
    }
    text.push(b'\'');
}

/// Makes a file with these permissions: the shell leaves the mask's bits out of 0666, and the others are set
/// afterwards.
pub(super) fn open_new(descriptor: u8, path: &[u8], permissions: u32) -> Line {
    let made = Line::call(&format!("open_new {descriptor} {:04o}", 0o777 & !permissions)).path(path);
    match permissions & !0o666 {
        0 => made,
        _ => made.and(&format!("on {descriptor} mode {permissions:05o}")),
    }
}

/// Makes a directory with these permissions.
pub(super) fn make_directory(path: &[u8], permissions: u32) -> Line {
    let made = Line::call(&format!("make {:04o}", 0o777 & !permissions)).path(path);
    match permissions & !0o777 {
        0 => made,
        _ => made.and(&format!("mode {permissions:05o}")).path(path),
    }
}

/// Whose attributes are set.
pub(super) enum Subject<'a> {
    Path(&'a [u8], Links),
    Descriptor(u8),
}

/// Sets what is given, in OpenSSH's order: size, mode, times, owner. A symlink has no size to set.
pub(super) fn change(subject: &Subject<'_>, attributes: &Attributes) -> Line {
    let mut calls = Vec::new();
    if let Some(size) = attributes.size {
        calls.push(format!("resize {size}"));
    }
    if let Some(mode) = attributes.mode {
        // Five digits: with four, GNU chmod leaves a directory its setgid bit.
        calls.push(format!("mode {:05o}", mode & 0o7777));
    }
    if let Some((accessed, modified)) = attributes.times {
        calls.push(format!("dates {} {}", date(modified), date(accessed)));
    }
    match attributes.owner {
        // All ones is nobody: chown(2) leaves what it stands for alone.
        Some((u32::MAX, u32::MAX)) | None => {}
        Some((u32::MAX, group)) => calls.push(format!("group {group}")),
        Some((user, u32::MAX)) => calls.push(format!("owner {user}")),
        Some((user, group)) => calls.push(format!("owner {user}:{group}")),
    }
    let mut line: Option<Line> = None;
    for call in calls {
        let call = match subject {
            Subject::Path(_, Links::Follow) => call,
            Subject::Path(_, Links::Keep) => format!("link_{call}"),
            Subject::Descriptor(descriptor) => format!("on {descriptor} {call}"),
        };
        let said = match line {
            Some(line) => line.and(&call),
            None => Line::call(&call),
        };
        line = Some(match subject {
            Subject::Path(path, _) => said.path(path),
            Subject::Descriptor(_) => said,
        });
    }
    line.unwrap_or_else(|| Line::call(":"))
}

/// The absolute path of a name, whose last part need not be there.
pub(super) fn real_path(path: &[u8], tilde: Tilde) -> Line {
    let end = path.iter().rposition(|&byte| byte != b'/').map_or(path.len().min(1), |last| last + 1);
    let path = if path.is_empty() { b"." } else { &path[..end] };
    Line::call("real").expanded(path, tilde)
}

/// A time as `touch -t` takes it, in UTC: `YYYYMMDDhhmm.SS`.
fn date(seconds: u32) -> String {
    let mut digits = calendar::digits(seconds.into());
    digits.insert(digits.len() - 2, '.');
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_date() {
        for (seconds, expected) in
            [(0, "197001010000.00"), (1_735_689_599, "202412312359.59"), (u32::MAX, "210602070628.15")]
        {
            assert_eq!(date(seconds), expected);
        }
    }

    fn text(line: Line) -> String {
        String::from_utf8(line.0).unwrap()
    }

    #[test]
    fn names_stay_one_word_of_one_line() {
        for (path, expected) in [
            (&b"a b"[..], "rm 'a b'"),
            (b"it's", r"rm 'it'\''s'"),
            (b"-rf", "rm ./'-rf'"),
            (b"a\nb", "rm 'a'\"$newline\"'b'"),
            (b"", "rm ''"),
        ] {
            assert_eq!(text(Line::call("rm").path(path)), expected);
        }
    }

    #[test]
    fn only_the_tilde_of_a_real_path_is_left_to_the_shell() {
        for (path, tilde, expected) in [
            (&b""[..], Tilde::Itself, "real '.'"),
            (b"//", Tilde::Itself, "real '/'"),
            (b"/a b", Tilde::Itself, "real '/a b'"),
            (b"a/b//", Tilde::Itself, "real 'a/b'"),
            (b"-P", Tilde::Home, "real ./'-P'"),
            (b"~", Tilde::Itself, "real '~'"),
            (b"~", Tilde::Home, "real ~"),
            (b"~/", Tilde::Home, "real ~"),
            (b"~/a b/c", Tilde::Home, "real ~/'a b/c'"),
            (b"~root/c", Tilde::Home, "real ~root/'c'"),
            (b"~$(id)/c", Tilde::Home, "real '~$(id)/c'"),
        ] {
            assert_eq!(text(real_path(path, tilde)), expected);
        }
    }

    #[test]
    fn attributes_are_set_in_the_order_of_openssh() {
        let all = Attributes { size: Some(5), mode: Some(0o100_644), times: Some((0, 1)), owner: Some((1, 2)) };
        assert_eq!(
            text(change(&Subject::Path(b"f", Links::Follow), &all)),
            "resize 5 'f' && mode 00644 'f' && dates 197001010000.01 197001010000.00 'f' && owner 1:2 'f'"
        );
        let some = Attributes { mode: Some(0o4755), owner: Some((u32::MAX, 2)), ..Attributes::default() };
        assert_eq!(text(change(&Subject::Descriptor(4), &some)), "on 4 mode 04755 && on 4 group 2");
        assert_eq!(text(change(&Subject::Path(b"f", Links::Keep), &some)), "link_mode 04755 'f' && link_group 2 'f'");
        assert_eq!(text(change(&Subject::Descriptor(4), &Attributes::default())), ":");
    }
}
