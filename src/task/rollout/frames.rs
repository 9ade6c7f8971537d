//! What our scripts on a host answer: pieces, each behind a mark that nobody can guess, so that any bytes may stand in them.

use crate::task::command::token;

/// The mark of one exchange.
pub(super) struct Mark(pub(super) String);

/// One piece of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    /// What it is about.
    pub(super) key: &'a str,
    /// The rest of its line.
    pub(super) value: &'a [u8],
    /// What follows the line, up to the next mark.
    pub(super) body: &'a [u8],
    /// Where its mark begins in the answer.
    pub(super) start: usize,
}

impl Mark {
    pub(super) fn new() -> Self {
        Self(format!("bugle-{}", token()))
    }

    /// The pieces of an answer; what stands before the first mark is none of ours.
    pub(super) fn frames<'a>(&self, answer: &'a [u8]) -> Vec<Frame<'a>> {
        let mark = format!("\n{} ", self.0).into_bytes();
        let starts: Vec<usize> = find_all(answer, &mark).collect();
        let ends = starts.iter().skip(1).copied().chain([answer.len()]);
        let pieces = starts.iter().zip(ends);
        pieces.map(|(start, end)| Frame::of(*start, &answer[start + mark.len()..end])).collect()
    }
}

impl<'a> Frame<'a> {
    fn of(start: usize, piece: &'a [u8]) -> Self {
        let end = piece.iter().position(|byte| *byte == b'\n').unwrap_or(piece.len());
        let (line, body) = (&piece[..end], piece.get(end + 1..).unwrap_or_default());
        let blank = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
        let key = std::str::from_utf8(&line[..blank]).unwrap_or_default();
        Self { key, value: line.get(blank + 1..).unwrap_or_default(), body, start }
    }

    /// The rest of its line as text.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(self.value).trim().to_owned()
    }
}

fn find_all<'a>(text: &'a [u8], wanted: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    // A mark begins with a line feed, of which there are few.
    let feeds = text.iter().enumerate().filter(|(_, byte)| **byte == wanted[0]).map(|(at, _)| at);
    feeds.filter(|at| text[*at..].starts_with(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_stand_between_marks() {
        let mark = Mark("t".into());
        let answer = b"motd\n\nt content abc def\nx\0\n\nt\nt  \xff\n\nt end\n";
        let frames = mark.frames(answer);
        assert_eq!(
            frames,
            [
                Frame { key: "content", value: b"abc def", body: b"x\0\n\nt", start: 5 },
                Frame { key: "", value: b"\xff", body: b"", start: 29 },
                Frame { key: "end", value: b"", body: b"", start: 35 }
            ]
        );
        assert_eq!(mark.frames(b"nothing"), []);
    }
}
