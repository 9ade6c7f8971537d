//! What the SFTP server of a host does otherwise than a good one. Requests go by the names that `sftp-server -Q requests`
//! prints, and `init`.

use super::behaviour::Cut;

/// One thing that an SFTP server does otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oddity {
    /// It says this before the protocol begins, as a shell does whose rc file prints.
    Noise(&'static str),
    /// It claims to speak this version.
    Version(u32),
    /// It has no extensions.
    NoExtensions,
    /// It does not have this one, such as `posix-rename`.
    Without(&'static str),
    /// What `limits` answers: bytes of a packet, of a read and of a write, and open handles.
    Limits([u64; 4]),
    /// Handles are 256 bytes, among them every one that there is.
    BinaryHandles,
    /// Answers do not come in the order of their requests.
    Shuffled,
    /// One bit of every byte at a multiple of this offset in a file is turned on the way: when it is written, or when it is read.
    Corrupts(Transit, u64),
    /// No listing ends.
    EndlessListing,
    /// Every listing has these names first, each that of a file with [`PLANTED`] in it, wherever it is opened.
    Names(&'static [&'static [u8]]),
    /// Every listing has this name twice, as a symlink with this target and as a directory with the file `planted`.
    Trap(&'static str, &'static str),
    /// Requests of this kind (`any` for all) are answered like this.
    Answer(&'static str, When, Answer),
}

/// Where bytes may be damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transit {
    /// On their way into a file.
    Written,
    /// On their way out of it.
    Read,
}

/// What is in a file that a server made up.
pub const PLANTED: &[u8] = b"planted by the server\n";

/// Which of the requests of a kind, counted from 1 over all connections to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// This one.
    Nth(usize),
    /// This one and all after it.
    From(usize),
}

/// What comes instead of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// This status and text; nothing is done.
    Status(u32, &'static [u8]),
    /// So many bytes of data, whatever was asked for; nothing is done.
    Data(usize),
    /// Half of the data, but at least one byte.
    Half,
    /// The answer for another request.
    OtherId,
    /// An answer of another type.
    Type(u8),
    /// The answer whose first length or count is this.
    Count(u32),
    /// The answer in a packet that claims to be so long, with zeros behind it, a megabyte at most; then nothing any more.
    Length(u32),
    /// None, though it was done.
    Nothing,
    /// Half of it, and then the end of the channel.
    Torn,
    /// The channel is closed without a word; nothing is done.
    Closes,
    /// The server ends with this status; nothing is done.
    Exits(u32),
    /// This happens to the connection; nothing is done.
    Cut(Cut),
}

impl When {
    pub(super) fn holds(self, number: usize) -> bool {
        match self {
            Self::Nth(nth) => number == nth,
            Self::From(first) => number >= first,
        }
    }
}
