//! `--output stream`: every line as it comes, prefixed `HOST: `.
//!
//! [`Lines`] shows only whole lines, so that lines of two hosts never mix: what has no newline yet is held, up to
//! [`Limits::line`]. It keeps stdout and stderr on their own streams.

use super::error::ReportError;
use super::sanitize::Sanitizer;
use super::settings::Limits;
use super::style::Style;
use super::{Reporter, Stage};
use crate::event::{Event, Stream, What};
use crate::host::HostId;
use std::collections::HashMap;

/// Shows prefixed lines.
pub(super) struct Lines {
    limits: Limits,
    unfinished: HashMap<(HostId, Stream), Vec<u8>>,
    held: usize,
}

impl Lines {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, unfinished: HashMap::new(), held: 0 }
    }

    /// Bytes of lines that have no end yet.
    #[cfg(test)]
    fn held(&self) -> usize {
        self.held
    }

    fn receive(&mut self, host: HostId, stream: Stream, bytes: &[u8], stage: &mut Stage) -> Result<(), ReportError> {
        // A line that never ends is looked through once, and this is the fastest way.
        let whole = match bytes.contains(&b'\n') {
            true => bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1),
            false => 0,
        };
        let mut lines = bytes[..whole].split_inclusive(|&byte| byte == b'\n');
        if whole > 0
            && let Some(mut line) = self.take(host, stream)
        {
            line.extend_from_slice(lines.next().unwrap_or_default());
            show(host, stream, &line, stage)?;
        }
        lines.try_for_each(|line| show(host, stream, line, stage))?;
        self.hold(host, stream, &bytes[whole..], stage)
    }

    fn hold(&mut self, host: HostId, stream: Stream, bytes: &[u8], stage: &mut Stage) -> Result<(), ReportError> {
        if bytes.is_empty() {
            return Ok(());
        }
        let line = self.unfinished.entry((host, stream)).or_default();
        line.extend_from_slice(bytes);
        self.held += bytes.len();
        let limit =
            if self.held > self.limits.lines { Limits::SHORT_LINE.min(self.limits.line) } else { self.limits.line };
        if line.len() < limit {
            return Ok(());
        }
        let line = self.take(host, stream).unwrap_or_default();
        for piece in line.chunks(limit.max(1)) {
            if piece.len() == limit {
                show(host, stream, piece, stage)?;
            } else {
                self.hold(host, stream, piece, stage)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, host: HostId, stream: Stream) -> Option<Vec<u8>> {
        let line = self.unfinished.remove(&(host, stream))?;
        self.held -= line.len();
        Some(line)
    }

    fn end(&mut self, host: HostId, stage: &mut Stage) -> Result<(), ReportError> {
        for stream in [Stream::Stdout, Stream::Stderr] {
            if let Some(line) = self.take(host, stream) {
                show(host, stream, &line, stage)?;
            }
        }
        Ok(())
    }
}

impl Reporter for Lines {
    fn handle(&mut self, event: &Event, stage: &mut Stage) -> Result<(), ReportError> {
        match &event.what {
            What::OutputReceived { host, stream, bytes } => self.receive(*host, *stream, bytes, stage),
            What::HostFinished { host, .. } => self.end(*host, stage),
            _ => Ok(()),
        }
    }

    fn finish(&mut self, stage: &mut Stage) -> Result<(), ReportError> {
        let mut hosts: Vec<_> = self.unfinished.keys().map(|(host, _)| *host).collect();
        hosts.sort_unstable();
        hosts.dedup();
        hosts.into_iter().try_for_each(|host| self.end(host, stage))
    }
}

/// One line under its prefix; a newline is added where the host sent none.
fn show(host: HostId, stream: Stream, line: &[u8], stage: &mut Stage) -> Result<(), ReportError> {
    let name = stage.roster.name(host).as_str();
    let style = match stream {
        Stream::Stdout => Style::Name,
        Stream::Stderr => Style::Failure,
    };
    let prefix = stage.console.styled(stream, style, name);
    stage.console.write(stream, prefix.as_bytes())?;
    stage.console.write(stream, b": ")?;
    let mut sanitizer = Sanitizer::default();
    stage.console.write_remote(stream, line, &mut sanitizer)?;
    stage.console.end_remote(stream, &mut sanitizer)?;
    if line.ends_with(b"\n") { Ok(()) } else { stage.console.write(stream, b"\n") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::double::Stand;

    fn output(lines: &mut Lines, stand: &mut Stand, host: u32, bytes: &[u8]) {
        lines.receive(HostId(host), Stream::Stdout, bytes, &mut stand.stage).unwrap();
    }

    #[test]
    fn lines_cut_anywhere_come_out_whole() {
        let mut stand = Stand::new(&["a", "b"]);
        let mut lines = Lines::new(Limits::default());
        for (host, bytes) in
            [(0, &b"on"[..]), (1, b"other\nmo"), (0, b"e"), (0, b"\ntwo\nthr"), (1, b"re\n"), (0, b"ee")]
        {
            output(&mut lines, &mut stand, host, bytes);
        }
        lines.finish(&mut stand.stage).unwrap();
        stand.stage.console.flush().unwrap();
        assert_eq!(stand.screen.stdout(), "b: other\na: one\na: two\nb: more\na: three\n");
        assert_eq!(lines.held(), 0);
    }

    #[test]
    fn a_line_of_a_megabyte_stays_one_line() {
        let mut stand = Stand::new(&["a"]);
        let mut lines = Lines::new(Limits::default());
        let piece = vec![b'x'; 10_000];
        for _ in 0..105 {
            output(&mut lines, &mut stand, 0, &piece);
        }
        output(&mut lines, &mut stand, 0, b"\n");
        stand.stage.console.flush().unwrap();
        assert_eq!(stand.screen.stdout().lines().map(str::len).collect::<Vec<_>>(), [1_050_003]);
    }

    #[test]
    fn output_without_newlines_is_held_within_the_limits() {
        let mut stand = Stand::new(&["a", "b", "c"]);
        let limits = Limits { line: 8 << 20, lines: 12 << 20, ..Limits::default() };
        let mut lines = Lines::new(limits.clone());
        let piece = vec![0; 32 << 10];
        let mut sent = 0;
        while sent < 200 << 20 {
            for host in 0..3 {
                output(&mut lines, &mut stand, host, &piece);
                sent += piece.len();
                assert!(lines.held() <= limits.lines + 3 * Limits::SHORT_LINE + piece.len(), "{}", lines.held());
            }
            stand.screen.forget();
        }
    }
}
