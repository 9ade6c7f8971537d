//! What is asked for: [`RolloutOrder`], which says whose files should be how.

use crate::keys::authorized::{Entry, NewKey, Options, Wanted};
use crate::task::transfer::Conduct;
use std::path::PathBuf;
use std::sync::Arc;

/// A key and where its private half is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bearer {
    /// The key.
    pub key: NewKey,
    /// The file of its private half, where there is one here; the agent may have it too.
    pub identity: Option<PathBuf>,
}

/// A key that is let in.
#[derive(Clone, Debug)]
pub struct Admission {
    /// Who.
    pub bearer: Arc<Bearer>,
    /// With which options; nothing leaves those that are there.
    pub options: Option<Options>,
    /// A key whose options a new line gets where none are said: who takes its place may do no more.
    pub like: Option<Wanted>,
}

impl Admission {
    /// Whether a line lets the key in, under whatever options; one that makes it an authority does only where that is meant.
    pub(super) fn is_by(&self, entry: &Entry) -> bool {
        let authority = self.options.as_ref().is_some_and(Options::is_authority);
        entry.key == *self.bearer.key.key() && entry.is_authority() == authority
    }

    /// Whether a line lets the key in under the options that are said.
    pub(super) fn is_exactly(&self, entry: &Entry) -> bool {
        let means = |options: &Options| Options::found(&entry.options).means(options);
        self.is_by(entry) && self.options.as_ref().is_none_or(means)
    }
}

/// Which keys are shut out.
#[derive(Clone, Debug)]
pub enum Absent {
    /// None.
    Nothing,
    /// These, but for those that are let in.
    These(Vec<Wanted>),
    /// All that are not let in, and every line but one of those that are.
    Others,
}

/// How the files of an account should be.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Who is let in.
    pub present: Vec<Admission>,
    /// Who is shut out.
    pub absent: Absent,
}

/// Whose files are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Those of the user who logs in.
    Login,
    /// Those of this user.
    User(String),
    /// Those of all users.
    Everyone,
}

/// One thing to be done on a host.
#[derive(Clone, Debug)]
pub struct Errand {
    /// To whose files.
    pub whose: Whose,
    /// How they should be.
    pub wish: Wish,
    /// Keys that must not log in afterwards.
    pub refused: Vec<Arc<Bearer>>,
}

/// What is done about modes and owners that make sshd ignore keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repair {
    /// They are told, and the host is left alone.
    Refuse,
    /// They are mended.
    Mend,
}

/// Whether a host may be left without a proven way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caution {
    /// It may not.
    Careful,
    /// It is what is wanted (`--force`).
    Forced,
}

/// What one errand that fails means for those after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sequence {
    /// They are not begun.
    Steps,
    /// Nothing: they are about other accounts.
    Apart,
}

/// What is done on every host.
#[derive(Clone, Debug)]
pub struct RolloutOrder {
    /// In this order.
    pub errands: Vec<Errand>,
    /// What one of them that fails means for the others.
    pub sequence: Sequence,
    /// About modes and owners.
    pub repair: Repair,
    /// About ways in.
    pub caution: Caution,
    /// How it is carried out.
    pub conduct: Conduct,
}
