//! `--junit`: a JUnit XML file with a test case a host, in the dialect that GitLab and Jenkins both read.
//!
//! The file is written in one piece when the run is over, beside its place first and then renamed into it, so that
//! nobody ever reads half of it. Of each output the first [`Limits::junit_output`] bytes are kept.

use super::answers::Answers;
use super::error::ReportError;
use super::sanitize::{Sanitizer, escaped, is_deceptive};
use super::settings::{FileTarget, Limits};
use super::{Reporter, Stage};
use crate::event::{Event, Stream, What};
use crate::host::HostId;
use crate::outcome::{Failure, Outcome};
use std::fmt::Write as _;
use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::NamedTempFile;

/// Writes the file.
pub(super) struct Junit {
    /// Taken when it is written.
    target: Option<Target>,
    kept: usize,
    answers: Answers,
    cases: Vec<Case>,
    verb: &'static str,
    title: String,
    took: Duration,
}

enum Target {
    Console,
    /// Where it will be, and the file that is renamed there.
    File {
        path: PathBuf,
        file: NamedTempFile,
    },
    /// A device, a pipe or a link, which a rename would replace: it is written to.
    Open {
        path: PathBuf,
        file: File,
    },
}

/// What is known of a host.
#[derive(Default)]
struct Case {
    /// Bytes of stdout and stderr, whether kept or not.
    sent: [u64; 2],
    started: bool,
    ended: Option<(Outcome, Duration)>,
}

/// How a test case ends, in JUnit's words.
enum Verdict<'a> {
    Passed,
    Failure(&'a Failure),
    Error(&'a Failure),
    Skipped(&'a str),
    Unfinished,
}

impl Junit {
    /// Begins the file, so that a place that cannot be written is known before anything runs.
    pub(super) fn new(target: &FileTarget, limits: &Limits) -> Result<Self, ReportError> {
        let target = match target {
            FileTarget::Stdout => Target::Console,
            FileTarget::File(path) if path.symlink_metadata().is_ok_and(|facts| !facts.is_file()) => {
                let opened = File::options().write(true).truncate(true).open(path);
                let file = opened.map_err(|source| ReportError::Create { path: path.clone(), source })?;
                Target::Open { path: path.clone(), file }
            }
            FileTarget::File(path) => Target::File { path: path.clone(), file: beside(path)? },
        };
        Ok(Self {
            target: Some(target),
            kept: limits.junit_output,
            answers: Answers::new(limits),
            cases: Vec::new(),
            verb: "",
            title: String::new(),
            took: Duration::ZERO,
        })
    }

    fn case(&mut self, host: HostId) -> &mut Case {
        if self.cases.len() <= host.index() {
            self.cases.resize_with(host.index() + 1, Case::default);
        }
        &mut self.cases[host.index()]
    }

    /// Keeps the beginning of what a host sends.
    fn keep(&mut self, event: &Event, host: HostId, stream: Stream, length: usize) -> Result<(), ReportError> {
        let kept = self.kept as u64;
        let sent = &mut self.case(host).sent[stream as usize];
        let before = std::mem::replace(sent, *sent + length as u64);
        let room = usize::try_from(kept.saturating_sub(before)).unwrap_or(usize::MAX);
        match &event.what {
            What::OutputReceived { bytes, .. } if room > 0 => {
                let bytes = bytes.slice(..length.min(room));
                self.answers.handle(&Event { at: event.at, what: What::OutputReceived { host, stream, bytes } })
            }
            _ => Ok(()),
        }
    }

    fn document(&self, stage: &Stage, write: &mut Piecewise<'_>) -> Result<(), ReportError> {
        let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        let verdicts: Vec<_> = self.cases.iter().map(Case::verdict).collect();
        let count = |wanted: fn(&Verdict<'_>) -> bool| verdicts.iter().filter(|verdict| wanted(verdict)).count();
        let counts = format!(
            "tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"{:.3}\"",
            verdicts.len(),
            count(|verdict| matches!(verdict, Verdict::Failure(_))),
            count(|verdict| matches!(verdict, Verdict::Error(_) | Verdict::Unfinished)),
            count(|verdict| matches!(verdict, Verdict::Skipped(_))),
            self.took.as_secs_f64(),
        );
        let suite = attribute(&format!("bugle {}: {}", self.verb, self.title));
        let class = attribute(&format!("bugle.{}", self.verb));
        put(&mut xml, format_args!("<testsuites name=\"bugle\" {counts}>\n<testsuite name=\"{suite}\" {counts}>\n"));
        for (((host, name), case), verdict) in stage.roster.iter().zip(&self.cases).zip(&verdicts) {
            let time = case.ended.as_ref().map_or(0.0, |(_, took)| took.as_secs_f64());
            let name = attribute(name.as_str());
            put(&mut xml, format_args!("<testcase classname=\"{class}\" name=\"{name}\" time=\"{time:.3}\">"));
            verdict.write(&mut xml);
            for (stream, element) in [(Stream::Stdout, "system-out"), (Stream::Stderr, "system-err")] {
                self.output(&mut xml, host, stream, element)?;
            }
            xml.push_str("</testcase>\n");
            write(xml.as_bytes())?;
            xml.clear();
        }
        xml.push_str("</testsuite>\n</testsuites>\n");
        write(xml.as_bytes())
    }

    fn output(&self, xml: &mut String, host: HostId, stream: Stream, element: &str) -> Result<(), ReportError> {
        let sent = self.cases[host.index()].sent[stream as usize];
        if sent == 0 {
            return Ok(());
        }
        put(xml, format_args!("<{element}>"));
        let (mut sanitizer, mut text) = (Sanitizer::default(), Vec::new());
        self.answers.read_host(host, stream, &mut |piece| {
            sanitizer.push(piece, &mut text);
            Ok(())
        })?;
        sanitizer.finish(&mut text);
        xml.push_str(&content(&String::from_utf8_lossy(&text)));
        if sent > self.kept as u64 {
            put(xml, format_args!("\n[cut after {} of {sent} bytes]", self.kept));
        }
        put(xml, format_args!("</{element}>"));
        Ok(())
    }
}

/// Takes the document a piece at a time.
type Piecewise<'a> = dyn FnMut(&[u8]) -> Result<(), ReportError> + 'a;

/// A temporary file in the directory of `path`, with the permissions of an ordinary new file.
fn beside(path: &Path) -> Result<NamedTempFile, ReportError> {
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let failed = |source| ReportError::Create { path: path.into(), source };
    // A missing directory is told in its own words, not with the name of a temporary file that nobody asked about.
    fs::metadata(directory).map_err(failed)?;
    // The process's umask applies.
    tempfile::Builder::new()
        .prefix(".junit-")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(directory)
        .map_err(failed)
}

impl Reporter for Junit {
    fn handle(&mut self, event: &Event, stage: &mut Stage) -> Result<(), ReportError> {
        match &event.what {
            What::RunStarted { verb, title, roster, .. } => {
                self.verb = verb;
                self.title.clone_from(title);
                self.cases.resize_with(roster.len(), Case::default);
            }
            What::HostStarted { host } => self.case(*host).started = true,
            What::OutputReceived { host, stream, bytes } => return self.keep(event, *host, *stream, bytes.len()),
            What::HostFinished { host, outcome, took } => self.case(*host).ended = Some((outcome.clone(), *took)),
            What::RunFinished { took, .. } => {
                self.took = *took;
                return self.finish(stage);
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(&mut self, stage: &mut Stage) -> Result<(), ReportError> {
        match self.target.take() {
            None => Ok(()),
            Some(Target::Console) => {
                let mut document = Vec::new();
                self.document(stage, &mut |piece| {
                    document.extend_from_slice(piece);
                    Ok(())
                })?;
                stage.console.write(Stream::Stdout, &document)
            }
            Some(Target::File { path, file }) => {
                let failed = |source: io::Error| ReportError::Write { path: path.clone(), source };
                let mut out = BufWriter::new(file);
                self.document(stage, &mut |piece| out.write_all(piece).map_err(failed))?;
                let file = out.into_inner().map_err(|error| failed(error.into_error()))?;
                file.persist(&path).map_err(|error| failed(error.error))?;
                Ok(())
            }
            Some(Target::Open { path, file }) => {
                let failed = |source: io::Error| ReportError::Write { path: path.clone(), source };
                let mut out = BufWriter::new(file);
                self.document(stage, &mut |piece| out.write_all(piece).map_err(failed))?;
                out.flush().map_err(failed)
            }
        }
    }
}

impl Case {
    fn verdict(&self) -> Verdict<'_> {
        match &self.ended {
            Some((Outcome::Ok | Outcome::Changed, _)) => Verdict::Passed,
            Some((Outcome::Failed(failure) | Outcome::TimedOut(failure), _)) => Verdict::Failure(failure),
            Some((Outcome::Unreachable(failure) | Outcome::Cancelled(failure), _)) => Verdict::Error(failure),
            Some((Outcome::Skipped(reason), _)) => Verdict::Skipped(reason),
            None if self.started => Verdict::Unfinished,
            None => Verdict::Skipped("never started"),
        }
    }
}

impl Verdict<'_> {
    fn write(&self, xml: &mut String) {
        let (element, failure) = match self {
            Self::Passed => return,
            Self::Skipped(reason) => return put(xml, format_args!("<skipped message=\"{}\"/>", attribute(reason))),
            Self::Unfinished => {
                return xml.push_str("<error type=\"unfinished\" message=\"the run ended before it\"/>");
            }
            Self::Failure(failure) => ("failure", failure),
            Self::Error(failure) => ("error", failure),
        };
        let (code, message) = (failure.code, attribute(&failure.message));
        put(
            xml,
            format_args!("<{element} type=\"{code}\" message=\"{message}\">{code}: {}", content(&failure.message)),
        );
        if failure.attempts > 1 {
            put(xml, format_args!(" (after {} tries)", failure.attempts));
        }
        if let Some(hint) = &failure.hint {
            put(xml, format_args!("\nhint: {}", content(hint)));
        }
        put(xml, format_args!("</{element}>"));
    }
}

fn put(xml: &mut String, text: std::fmt::Arguments<'_>) {
    let written = xml.write_fmt(text);
    debug_assert!(written.is_ok(), "writing to a String does not fail");
}

/// Text between tags.
fn content(text: &str) -> String {
    escape(text, "")
}

/// Text between quotes, where white space would be read as blanks (XML 1.0 §3.3.3).
fn attribute(text: &str) -> String {
    escape(text, "\"\n\t")
}

/// Escapes markup and the further characters, and makes visible what XML 1.0 §2.2 does not allow or a terminal obeys.
fn escape(text: &str, further: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            special if further.contains(special) => put(&mut out, format_args!("&#{};", u32::from(special))),
            forbidden if is_deceptive(forbidden) || matches!(forbidden, '\u{fffe}' | '\u{ffff}') => {
                out.push_str(&escaped(forbidden));
            }
            plain => out.push(plain),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn markup_and_forbidden_characters_are_escaped() {
        assert_eq!(content("a<b>&\"c\"\n]]>"), "a&lt;b&gt;&amp;\"c\"\n]]&gt;");
        assert_eq!(attribute("a\"b\n\tc"), "a&#34;b&#10;&#9;c");
        assert_eq!(content("\0\x1b\u{ffff}\u{85}"), "\\x00\\x1b\\u{ffff}\\u{85}");
    }

    proptest! {
        #[test]
        fn only_characters_of_xml_are_left(text in any::<String>()) {
            for character in content(&text).chars().chain(attribute(&text).chars()) {
                let allowed = matches!(character, '\t' | '\n' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
                prop_assert!(allowed && !matches!(character, '<' | '>'), "{:?}", character);
            }
        }
    }
}
