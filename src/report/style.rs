//! Colour. It repeats what the words say already and never says more.

use std::borrow::Cow;

/// What a piece of text is, for the eye.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// Names over an answer.
    Header,
    /// The name before a line of stdout.
    Name,
    /// Something failed.
    Failure,
    /// What to do about it.
    Hint,
    /// A line that only the majority has.
    Removed,
    /// A line that the majority does not have.
    Added,
}

impl Style {
    /// The text between the SGR sequences of its style (ECMA-48 §8.3.117).
    pub(super) fn paint(self, text: &str) -> Cow<'static, str> {
        let code = match self {
            Self::Header => "1",
            Self::Name => "36",
            Self::Failure | Self::Removed => "31",
            Self::Hint => "33",
            Self::Added => "32",
        };
        Cow::Owned(format!("\x1b[{code}m{text}\x1b[0m"))
    }
}
