//! Members of a group by position: `web[0]`, `web[-1]`, `web[0:3]`, `web[1:]`.

use super::error::Problem;

/// A position or a stretch of positions, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subscript {
    /// From the beginning, or from the end where negative.
    One(i64),
    Stretch {
        first: usize,
        last: Option<usize>,
    },
}

impl Subscript {
    /// Splits `web[0]` into its base and its subscript. Padded numbers (`web[01:20]`) are a range of names instead.
    pub(super) fn split(word: &str) -> Option<(&str, Self)> {
        let (base, content) = word.strip_suffix(']')?.rsplit_once('[')?;
        if base.is_empty() {
            return None;
        }
        let subscript = match content.split_once(':') {
            Some((first, "")) => Self::Stretch { first: position(first)?, last: None },
            Some((first, last)) => Self::Stretch { first: position(first)?, last: Some(position(last)?) },
            None => match content.strip_prefix('-') {
                Some(digits) => Self::One(-i64::try_from(position(digits)?).ok()?),
                None => Self::One(i64::try_from(position(content)?).ok()?),
            },
        };
        Some((base, subscript))
    }

    /// How a slip is written rightly: `web[0-2]` and `web[:2]` look like positions and are ranges of names. With the base.
    pub(super) fn meant(word: &str) -> Option<(&str, String)> {
        let (base, content) = word.strip_suffix(']')?.rsplit_once('[')?;
        let (first, last) = content.split_once(['-', ':'])?;
        let first = if first.is_empty() { 0 } else { position(first)? };
        Some((base, format!("{base}[{first}:{}]", position(last)?)))
    }

    /// The members at these positions. A stretch may reach past the end, as Ansible's may; a single position may not.
    pub(super) fn of<'a>(&self, base: &str, members: &'a [u32]) -> Result<&'a [u32], Problem> {
        match *self {
            Self::One(position) => {
                let from_start = if position < 0 { members.len() as i64 + position } else { position };
                usize::try_from(from_start)
                    .ok()
                    .and_then(|at| members.get(at..=at))
                    .ok_or_else(|| Problem::NoSuchMember { group: base.into(), position, members: members.len() })
            }
            Self::Stretch { first, last: Some(last) } if last < first => {
                Err(Problem::BackwardsSubscript { group: base.into(), first, last })
            }
            Self::Stretch { first, last } => {
                let end = last.map_or(members.len(), |last| members.len().min(last.saturating_add(1)));
                Ok(members.get(first..end).unwrap_or_default())
            }
        }
    }
}

fn position(digits: &str) -> Option<usize> {
    let plain = digits == "0" || !digits.starts_with('0');
    (plain && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
}
