//! Answers in the stream that the shell prints: whatever comes, then the token of the request, a blank, the status and
//! perhaps words to the end of the line.

use bytes::{Buf, Bytes, BytesMut};

/// Letters of a token.
pub(super) const TOKEN: usize = 32;
/// Words behind a status.
const LONGEST_END: usize = 256;

/// What was printed for one request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Printed {
    /// Everything in front of the token.
    pub(super) output: Bytes,
    /// The status of the command.
    pub(super) status: u32,
    /// The words behind the status.
    pub(super) words: String,
}

/// Gathers output until an answer is whole.
#[derive(Default)]
pub(super) struct Answers {
    held: BytesMut,
    /// Where the search for the token goes on.
    searched: usize,
}

/// A token with something else than a status behind it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Garbled;

impl Answers {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// Bytes that no answer has taken.
    pub(super) fn held(&self) -> &[u8] {
        &self.held
    }

    /// The answer that ends with this token, where it is whole.
    pub(super) fn next(&mut self, token: &[u8; TOKEN]) -> Result<Option<Printed>, Garbled> {
        let Some(start) = find(&self.held, self.searched, token) else {
            self.searched = self.held.len().saturating_sub(TOKEN - 1);
            return Ok(None);
        };
        self.searched = start;
        let end = &self.held[start + TOKEN..];
        let Some(length) = end.iter().position(|&byte| byte == b'\n') else {
            return if end.len() > LONGEST_END { Err(Garbled) } else { Ok(None) };
        };
        let end = String::from_utf8_lossy(&end[..length]).into_owned();
        let (status, words) = end.trim_start().split_once(' ').unwrap_or((end.trim_start(), ""));
        let status = status.parse().map_err(|_| Garbled)?;
        let output = self.held.split_to(start).freeze();
        self.held.advance(TOKEN + length + 1);
        self.searched = 0;
        Ok(Some(Printed { output, status, words: words.to_owned() }))
    }
}

/// Where the token begins. Looks at one byte in as many as the token has (Horspool): most of what a file holds cannot
/// be a letter of it.
fn find(text: &[u8], from: usize, token: &[u8; TOKEN]) -> Option<usize> {
    let mut shifts = [TOKEN; 256];
    for (index, &letter) in token[..TOKEN - 1].iter().enumerate() {
        shifts[usize::from(letter)] = TOKEN - 1 - index;
    }
    let mut start = from;
    while let Some(window) = text.get(start..start + TOKEN) {
        if window == token {
            return Some(start);
        }
        start += shifts[usize::from(window[TOKEN - 1])];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: &[u8; TOKEN] = b"0123456789abcdef0123456789abcdef";
    const B: &[u8; TOKEN] = b"00000000000000000000000000000000";

    proptest! {
        #[test]
        fn an_answer_is_found_however_it_is_cut_and_whatever_it_holds(
            noise in "[0-9a-f\n]{0,200}", cuts in proptest::collection::vec(1_usize..50, 1..20),
        ) {
            prop_assume!(!noise.contains(str::from_utf8(A).unwrap()));
            let stream = [noise.as_bytes(), A, b" 0\n", noise.as_bytes(), B, b" 12 a b\n"].concat();
            let (mut answers, mut rest, mut found) = (Answers::default(), &stream[..], Vec::new());
            for cut in cuts.iter().cycle() {
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                answers.push(piece);
                rest = after;
                let tokens = [A, B];
                while let Some(token) = tokens.get(found.len()) {
                    let Some(printed) = answers.next(token).unwrap() else { break };
                    found.push((printed.output, printed.status, printed.words));
                }
                if rest.is_empty() {
                    break;
                }
            }
            // Zeros in front of the second token may belong to it as well as to the noise.
            let whole = [noise.as_bytes(), B].concat();
            let start = whole.windows(TOKEN).position(|window| window == B).unwrap();
            prop_assert_eq!(&found[0], &(Bytes::from(noise.clone().into_bytes()), 0, String::new()));
            if start == noise.len() {
                prop_assert_eq!(&found[1], &(Bytes::from(noise.into_bytes()), 12, "a b".to_owned()));
            }
        }
    }

    #[test]
    fn a_token_without_a_status_is_no_answer() {
        for end in [&b"\n"[..], b" \n", b" x\n", &[b'1'; 300]] {
            let mut answers = Answers::default();
            answers.push(A);
            answers.push(end);
            assert_eq!(answers.next(A), Err(Garbled), "{}", String::from_utf8_lossy(end));
        }
    }
}
