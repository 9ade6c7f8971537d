//! From what the shell printed to the packet that the client waits for.

use super::answers::Printed;
use super::described::{attributes, available, listing};
use super::handles::Handles;
use crate::sftp::answer::{ATTRS, DATA, EXTENDED_REPLY, HANDLE, NAME, STATUS};
use crate::sftp::attributes::Attributes;
use crate::sftp::codec::Writer;
use bytes::Bytes;

/// What the output of a command is.
#[derive(Debug)]
pub(super) enum Expected {
    /// Nothing that matters, or why it failed.
    Nothing,
    /// Nothing; the descriptor is open then.
    Opened(u8),
    /// Bytes of a file, of which so many at the beginning were not asked for, and how many were.
    Data { before: usize, length: usize },
    /// One line of attributes.
    Attributes,
    /// The pages of a listing.
    Listing,
    /// A path and a newline.
    Path,
    /// The table of `df`.
    Space,
}

/// Status codes (draft-ietf-secsh-filexfer-02 §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    Ok = 0,
    Eof = 1,
    NoSuchFile = 2,
    PermissionDenied = 3,
    Failure = 4,
    BadMessage = 5,
    Unsupported = 8,
}

/// The status that stands for an error of the system, as in OpenSSH's sftp-server, by the words at the end of a
/// message.
const REASONS: &[(&str, Code)] = &[
    ("no such file or directory", Code::NoSuchFile),
    ("not a directory", Code::NoSuchFile),
    ("too many levels of symbolic links", Code::NoSuchFile),
    ("too many symbolic links encountered", Code::NoSuchFile),
    ("permission denied", Code::PermissionDenied),
    ("operation not permitted", Code::PermissionDenied),
    ("file name too long", Code::BadMessage),
    ("invalid argument", Code::BadMessage),
    // The shells' own words.
    ("no such file", Code::NoSuchFile),
    ("nonexistent directory", Code::NoSuchFile),
    ("directory nonexistent", Code::NoSuchFile),
];

/// A STATUS packet.
pub(super) fn status(id: u32, code: Code, message: &str) -> Bytes {
    Writer::packet(STATUS, id).u32(code as u32).string(message.as_bytes()).string(b"").finish(0)
}

/// A HANDLE packet.
fn handle(id: u32, handle: &[u8]) -> Bytes {
    Writer::packet(HANDLE, id).string(handle).finish(0)
}

/// A NAME packet.
pub(super) fn names(id: u32, names: &[(Bytes, Attributes)]) -> Bytes {
    // A packet has room for far fewer names than a number.
    let count = u32::try_from(names.len()).unwrap_or(u32::MAX);
    let begun = Writer::packet(NAME, id).u32(count);
    names.iter().fold(begun, |writer, (name, known)| known.write(writer.string(name).string(b""))).finish(0)
}

/// The reply to `limits@openssh.com`.
pub(super) fn limits(id: u32, numbers: [u64; 4]) -> Bytes {
    numbers.iter().fold(Writer::packet(EXTENDED_REPLY, id), |writer, number| writer.u64(*number)).finish(0)
}

/// The reply to `statvfs@openssh.com`. `df` counts no files, so there is no end of them.
fn space(id: u32, available: u64) -> Bytes {
    const BLOCK: u64 = 1024;
    const MANY: u64 = u32::MAX as u64;
    let blocks = available / BLOCK;
    let numbers = [BLOCK, BLOCK, blocks, blocks, blocks, MANY, MANY, MANY, 0, 0, 255];
    numbers.iter().fold(Writer::packet(EXTENDED_REPLY, id), |writer, number| writer.u64(*number)).finish(0)
}

/// Why a command failed: the last line that says anything.
fn refusal(id: u32, output: &[u8]) -> Bytes {
    let text = String::from_utf8_lossy(output);
    let is_statistics = |line: &str| {
        line.ends_with("records in") || line.ends_with("records out") || line.contains(" copied, ") || line.is_empty()
    };
    let line = text.lines().map(str::trim).rfind(|line| !is_statistics(line)).unwrap_or("the command failed");
    let plain = line.trim_end_matches(']').to_lowercase();
    let code = REASONS.iter().find(|(words, _)| plain.ends_with(words)).map_or(Code::Failure, |(_, code)| *code);
    status(id, code, line)
}

/// The reply to a request whose command printed this.
pub(super) fn reply(id: u32, expected: Expected, printed: Printed, handles: &mut Handles) -> Vec<Bytes> {
    let Printed { output, status: ended, .. } = printed;
    if ended != 0 {
        if let Expected::Opened(descriptor) = expected {
            handles.release(descriptor);
        }
        return vec![match expected {
            // What is printed is half a file, not words.
            Expected::Data { .. } => status(id, Code::Failure, "the file cannot be read"),
            _ => refusal(id, &output),
        }];
    }
    let strange = || status(id, Code::Failure, "the host answered in words that are not understood");
    vec![match expected {
        Expected::Nothing => status(id, Code::Ok, ""),
        Expected::Opened(descriptor) => handle(id, &handles.file(descriptor)),
        Expected::Data { before, length } => {
            let end = output.len().min(before + length);
            if before >= end {
                return vec![status(id, Code::Eof, "")];
            }
            let data = output.slice(before..end);
            let told = u32::try_from(data.len()).unwrap_or(u32::MAX);
            return vec![Writer::packet(DATA, id).u32(told).finish(data.len()), data];
        }
        Expected::Attributes => match attributes(&output) {
            Some(known) => known.write(Writer::packet(ATTRS, id)).finish(0),
            None => strange(),
        },
        Expected::Listing => match listing(output) {
            Some(found) => handle(id, &handles.directory(found)),
            None => strange(),
        },
        Expected::Path => match output.strip_suffix(b"\n") {
            Some(path) if !path.is_empty() => {
                // The root's own name ends in a slash already.
                let path = if path.starts_with(b"//") { &path[1..] } else { path };
                names(id, &[(Bytes::copy_from_slice(path), Attributes::default())])
            }
            _ => strange(),
        },
        Expected::Space => match available(&output) {
            Some(available) => space(id, available),
            None => strange(),
        },
    }]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(words: &str) -> u32 {
        u32::from_be_bytes(refusal(0, words.as_bytes())[9..13].try_into().unwrap())
    }

    #[test]
    fn words_of_many_tools_become_the_codes_of_openssh() {
        for (words, expected) in [
            ("stat: cannot statx 'x': No such file or directory\n", Code::NoSuchFile),
            ("sh: 1: cannot open /x: No such file\n", Code::NoSuchFile),
            ("sh: can't create /x/y: nonexistent directory\n", Code::NoSuchFile),
            ("dash: 1: cannot create /x/y: Directory nonexistent\n", Code::NoSuchFile),
            ("ksh[12]: eval[1]: /x: cannot open [No such file or directory]\n", Code::NoSuchFile),
            ("mkdir: cannot create directory 'a/b': Not a directory", Code::NoSuchFile),
            ("rm: cannot remove 'a': Permission denied", Code::PermissionDenied),
            ("chown: changing ownership of 'a': Operation not permitted", Code::PermissionDenied),
            (
                "dd: error writing 'standard output': No space left on device\n1+0 records in\n0+0 records out\n\
              0 bytes copied, 4.1461e-05 s, 0.0 kB/s\n",
                Code::Failure,
            ),
            ("rm: cannot remove 'No such file or directory': Is a directory", Code::Failure),
            ("File exists", Code::Failure),
            ("Invalid argument\n", Code::BadMessage),
            ("", Code::Failure),
        ] {
            assert_eq!(code(words), expected as u32, "{words}");
        }
    }

    #[test]
    fn the_message_is_that_of_the_command_and_not_its_statistics() {
        let said = refusal(0, b"dd: error writing: No space left on device\n1+0 records in\n1+0 records out\n");
        assert!(said.windows(23).any(|window| window == b"No space left on device"), "{said:?}");
    }
}
