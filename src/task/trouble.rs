//! Why a transfer to or from a host failed as a whole, and in which words.

use crate::outcome::{Code, Failure, Outcome};
use crate::sftp::{SftpError, Status};
use crate::tree::NeedsDirectory;

/// What to do where the login user may not.
pub(super) const MAY_NOT: &str = "log in as a user who may (-l), or use --sudo";

/// A failure that ends the transfer to or from one host.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The destination is not what it has to be.
    Place {
        /// What is wrong.
        message: String,
        /// What to do about it.
        hint: String,
    },
    /// Something on the host could not be looked at.
    Path(Vec<u8>, SftpError),
    /// The session ended, or makes no sense.
    Session(SftpError),
    /// It was worded already.
    Failure(Failure),
}

impl From<SftpError> for Trouble {
    fn from(error: SftpError) -> Self {
        Self::Session(error)
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl Trouble {
    /// A request about this path failed.
    pub(super) fn about(path: &[u8], error: &SftpError) -> Self {
        match error {
            SftpError::Refused(..) => Self::Path(path.to_vec(), error.clone()),
            other => Self::Session(other.clone()),
        }
    }

    /// The destination has to be a directory.
    pub(super) fn place(error: NeedsDirectory) -> Self {
        Self::Place { hint: error.hint().into(), message: error.to_string() }
    }

    /// How the host ended.
    pub(super) fn outcome(self) -> Outcome {
        match self {
            Self::Place { message, hint } => Outcome::Failed(Failure::new(Code::TransferPlace, message).hint(hint)),
            Self::Path(path, error) => {
                let failure = Failure::new(Code::TransferPlace, format!("`{}`: {error}", path.escape_ascii()));
                Outcome::Failed(match error.status() {
                    Some(Status::PermissionDenied) => failure.hint(MAY_NOT),
                    _ => failure,
                })
            }
            Self::Session(SftpError::Unavailable(why)) => {
                let hint = "check `Subsystem sftp` in its sshd_config, that sftp-server is installed, and that the user's login shell runs commands";
                Outcome::Failed(Failure::new(Code::TransferUnavailable, why).hint(hint))
            }
            Self::Session(SftpError::Lost(why)) => Outcome::Unreachable(Failure::new(Code::SessionLost, why)),
            Self::Session(error) => Outcome::Failed(Failure::new(Code::TransferFailed, error.to_string())),
            Self::Failure(failure) if failure.code == Code::SessionLost => Outcome::Unreachable(failure),
            Self::Failure(failure) => Outcome::Failed(failure),
        }
    }
}
