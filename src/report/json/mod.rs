//! `--output json` and `--json`: every event as one line of JSON, as `docs/output.md` describes it.
//!
//! [`Json`] writes them, output in whole characters; [`line`] holds their shape. Controls and bidirectional characters are
//! escaped, so that a line is safe on a terminal too.

mod line;

use super::error::ReportError;
use super::sanitize::{incomplete_tail, is_deceptive};
use super::settings::FileTarget;
use super::{Reporter, Stage};
use crate::event::{Event, Stream, What};
use crate::host::HostId;
use base64ct::{Base64, Encoding};
use line::{Body, Line, Seconds};
use serde::Serialize;
use serde_json::ser::Formatter;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::time::Duration;

pub use line::SCHEMA;

/// Writes events as JSON.
pub(super) struct Json {
    target: Target,
    /// The beginnings of characters whose end has not come yet.
    incomplete: HashMap<(HostId, Stream), Vec<u8>>,
    line: Vec<u8>,
}

enum Target {
    Console,
    File { path: PathBuf, file: BufWriter<File> },
}

impl Json {
    /// Opens the target.
    pub(super) fn new(target: &FileTarget) -> Result<Self, ReportError> {
        let target = match target {
            FileTarget::Stdout => Target::Console,
            FileTarget::File(path) => match File::create(path) {
                Ok(file) => Target::File { path: path.clone(), file: BufWriter::new(file) },
                Err(source) => return Err(ReportError::Create { path: path.clone(), source }),
            },
        };
        Ok(Self { target, incomplete: HashMap::new(), line: Vec::new() })
    }

    fn write(&mut self, line: &Line<'_>, stage: &mut Stage) -> Result<(), ReportError> {
        self.line.clear();
        line.serialize(&mut serde_json::Serializer::with_formatter(&mut self.line, Escaping))
            .map_err(|error| self.target.error(error.into()))?;
        self.line.push(b'\n');
        match &mut self.target {
            Target::Console => stage.console.write(Stream::Stdout, &self.line),
            Target::File { file, .. } => file.write_all(&self.line).map_err(|error| self.target.error(error)),
        }
    }

    /// Output, in whole characters: what a cut left over is kept for the next piece.
    fn output(&mut self, piece: Piece<'_>, stage: &mut Stage) -> Result<(), ReportError> {
        let key = (piece.host, piece.stream);
        let joined = self.incomplete.remove(&key).map(|mut begun| {
            begun.extend_from_slice(piece.bytes);
            begun
        });
        let bytes = joined.as_deref().unwrap_or(piece.bytes);
        let (whole, rest) = match piece.is_last {
            true => (bytes, &[][..]),
            false => bytes.split_at(bytes.len() - incomplete_tail(bytes)),
        };
        if !rest.is_empty() {
            self.incomplete.insert(key, rest.to_vec());
        }
        if whole.is_empty() {
            return Ok(());
        }
        let roster = stage.roster.clone();
        let (text, base64) = match std::str::from_utf8(whole) {
            Ok(text) => (Some(text), None),
            Err(_) => (None, Some(Base64::encode_string(whole))),
        };
        let body = Body::Output { host: roster.name(piece.host).as_str(), stream: piece.stream.as_str(), text, base64 };
        self.write(&Line { at: Seconds(piece.at), body }, stage)
    }

    fn end_output(&mut self, at: Duration, host: HostId, stage: &mut Stage) -> Result<(), ReportError> {
        for stream in [Stream::Stdout, Stream::Stderr] {
            if self.incomplete.contains_key(&(host, stream)) {
                self.output(Piece { at, host, stream, bytes: &[], is_last: true }, stage)?;
            }
        }
        Ok(())
    }
}

/// A piece of output on its way into a line.
struct Piece<'a> {
    at: Duration,
    host: HostId,
    stream: Stream,
    bytes: &'a [u8],
    is_last: bool,
}

impl Target {
    fn error(&self, source: io::Error) -> ReportError {
        match self {
            Self::Console => ReportError::Standard { stream: Stream::Stdout, source },
            Self::File { path, .. } => ReportError::Write { path: path.clone(), source },
        }
    }
}

impl Reporter for Json {
    fn handle(&mut self, event: &Event, stage: &mut Stage) -> Result<(), ReportError> {
        match &event.what {
            What::OutputReceived { host, stream, bytes } => {
                return self.output(Piece { at: event.at, host: *host, stream: *stream, bytes, is_last: false }, stage);
            }
            What::HostFinished { host, .. } => self.end_output(event.at, *host, stage)?,
            _ => {}
        }
        let roster = stage.roster.clone();
        match Body::of(&event.what, &roster) {
            Some(body) => self.write(&Line { at: Seconds(event.at), body }, stage),
            None => Ok(()),
        }
    }

    fn flush(&mut self) -> Result<(), ReportError> {
        match &mut self.target {
            Target::Console => Ok(()),
            Target::File { file, .. } => file.flush().map_err(|error| self.target.error(error)),
        }
    }

    fn finish(&mut self, _stage: &mut Stage) -> Result<(), ReportError> {
        self.flush()
    }
}

/// Compact JSON that escapes, beyond what it must, what a terminal would obey. The value stays the same.
struct Escaping;

impl Formatter for Escaping {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(is_deceptive) {
            writer.write_all(&rest.as_bytes()[..at])?;
            let mut after = rest[at..].chars();
            if let Some(character) = after.next() {
                // All of them are in the basic plane, so that one escape holds each.
                write!(writer, "\\u{:04x}", u32::from(character))?;
            }
            rest = after.as_str();
        }
        writer.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::double::Stand;

    fn pieces(pieces: &[&[u8]]) -> Vec<serde_json::Value> {
        let mut stand = Stand::new(&["a"]);
        let mut json = Json::new(&FileTarget::Stdout).unwrap();
        let (at, host, stream) = (Duration::from_millis(1500), HostId(0), Stream::Stdout);
        for bytes in pieces {
            json.output(Piece { at, host, stream, bytes, is_last: false }, &mut stand.stage).unwrap();
        }
        json.end_output(at, host, &mut stand.stage).unwrap();
        stand.stage.console.flush().unwrap();
        stand.screen.stdout().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_character_cut_in_two_arrives_whole() {
        let lines = pieces(&[b"gr\xc3", b"\xbcn \xf0\x9f", b"\x98", b"\x80"]);
        let text: String = lines.iter().map(|line| line["text"].as_str().unwrap()).collect();
        assert_eq!(text, "gr\u{fc}n \u{1f600}");
    }

    #[test]
    fn bytes_that_are_no_text_arrive_as_base64() {
        let lines = pieces(&[b"\xff\xfe", b"end\xe2\x82"]);
        assert_eq!(lines[0]["base64"], "//4=");
        assert_eq!(lines[1]["text"], "end");
        assert_eq!(lines[2]["base64"], "4oI=");
        assert_eq!(lines[0].get("text"), None);
    }

    #[test]
    fn a_line_holds_nothing_that_a_terminal_obeys() {
        let mut stand = Stand::new(&["a"]);
        let mut json = Json::new(&FileTarget::Stdout).unwrap();
        let text = "\x1b[2J\r\u{7f}\u{9b}\u{202e}x\n\"\\";
        let message = text.to_owned();
        let event = Event { at: Duration::ZERO, what: What::Noticed { host: None, level: 0, message } };
        json.handle(&event, &mut stand.stage).unwrap();
        stand.stage.console.flush().unwrap();
        let line = stand.screen.stdout();
        assert!(!line.contains(is_deceptive), "{line:?}");
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["message"], text);
    }
}
