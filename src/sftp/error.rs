//! What can go wrong between an SFTP request and its reply.

use std::fmt;

/// Why a request was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SftpError {
    /// The server says no.
    #[error("{}", Refusal(.0, .1))]
    Refused(Status, String),
    /// The server does not speak SFTP, or not correctly. Nothing further can be asked of it.
    #[error("{0}")]
    Protocol(String),
    /// There is no SFTP server on the host, or it may not be used.
    #[error("{0}")]
    Unavailable(String),
    /// The channel or the connection ended.
    #[error("{0}")]
    Lost(String),
}

impl SftpError {
    pub(super) fn protocol(what: impl Into<String>) -> Self {
        Self::Protocol(what.into())
    }

    /// The server's status, where it gave one.
    pub fn status(&self) -> Option<Status> {
        match self {
            Self::Refused(status, _) => Some(*status),
            _ => None,
        }
    }
}

struct Refusal<'a>(&'a Status, &'a str);

impl fmt::Display for Refusal<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = self.0.words();
        // Servers repeat the status in words of their own, which then say nothing more.
        let says_more = !self.1.is_empty() && !words.eq_ignore_ascii_case(self.1) && *self.0 != Status::NoSuchFile;
        match says_more && *self.0 != Status::PermissionDenied {
            true if *self.0 == Status::Failure && self.1.eq_ignore_ascii_case("failure") => out.write_str(words),
            true => write!(out, "{words} (`{}`)", self.1),
            false => out.write_str(words),
        }
    }
}

/// Status codes (draft-ietf-secsh-filexfer-02 §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// Nothing follows.
    Eof,
    /// No such file or directory.
    NoSuchFile,
    /// Permission denied.
    PermissionDenied,
    /// Anything else: version 3 has no words for a full disk or an existing file.
    Failure,
    /// The request made no sense to the server.
    BadMessage,
    /// The server does not know the request.
    Unsupported,
    /// A code that version 3 does not have.
    Other(u32),
}

impl Status {
    /// The status of a code; `None` is success.
    pub(super) fn of(code: u32) -> Option<Self> {
        Some(match code {
            0 => return None,
            1 => Self::Eof,
            2 => Self::NoSuchFile,
            3 => Self::PermissionDenied,
            4 => Self::Failure,
            5 => Self::BadMessage,
            8 => Self::Unsupported,
            other => Self::Other(other),
        })
    }

    fn words(self) -> &'static str {
        match self {
            Self::Eof => "end of file",
            Self::NoSuchFile => "no such file or directory",
            Self::PermissionDenied => "permission denied",
            Self::Failure => "the server says only `Failure`",
            Self::BadMessage => "the server did not understand the request",
            Self::Unsupported => "the server cannot do this",
            Self::Other(_) => "the server gave a status that SFTP 3 does not have",
        }
    }
}
