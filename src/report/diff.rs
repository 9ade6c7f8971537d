//! `--output diff`: the majority's answer, then how each other answer differs from it.
//!
//! The majority is the largest group of hosts that did what they were asked; where none did, the largest group. Each
//! other group follows as a unified diff against it, stdout first and then stderr, all of it on stdout: here the
//! difference is the data.

use super::answers::{Answers, Group};
use super::error::ReportError;
use super::group::{body, header};
use super::names;
use super::sanitize::Sanitizer;
use super::settings::Limits;
use super::style::Style;
use super::{Reporter, Stage};
use crate::event::{Event, Stream, What};
use similar::{ChangeTag, TextDiff};
use std::time::Duration;

/// The longest that one comparison may search for the shortest difference; then it settles for a longer one.
const SEARCH: Duration = Duration::from_millis(200);

/// Shows differences when the run is over.
pub(super) struct Differences {
    /// Taken when they are shown.
    answers: Option<Answers>,
}

impl Differences {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { answers: Some(Answers::new(limits)) }
    }
}

impl Reporter for Differences {
    fn handle(&mut self, event: &Event, stage: &mut Stage) -> Result<(), ReportError> {
        match (&event.what, &mut self.answers) {
            (What::RunFinished { .. }, _) => self.finish(stage),
            (_, Some(answers)) => answers.handle(event),
            (_, None) => Ok(()),
        }
    }

    fn finish(&mut self, stage: &mut Stage) -> Result<(), ReportError> {
        let Some(answers) = self.answers.take() else { return Ok(()) };
        let groups = answers.groups();
        let Some((majority, others)) = groups.split_first() else { return Ok(()) };
        let said = [Stream::Stdout, Stream::Stderr].map(|stream| answers.length(majority, stream));
        if others.is_empty() && said == [0, 0] {
            return Ok(());
        }
        header(majority, (said == [0, 0]).then_some("no output"), stage)?;
        body(&answers, majority, stage)?;
        if said[1] > 0 {
            compare(&answers, None, majority, Stream::Stderr, stage)?;
        }
        for group in others {
            let different = [Stream::Stdout, Stream::Stderr].map(|stream| !answers.same(majority, group, stream));
            header(group, (different == [false, false]).then_some("same output"), stage)?;
            for (stream, different) in [Stream::Stdout, Stream::Stderr].into_iter().zip(different) {
                if different {
                    compare(&answers, Some(majority), group, stream, stage)?;
                }
            }
        }
        Ok(())
    }
}

/// A unified diff of what two groups said on a stream; against nothing where there is no other group.
fn compare(
    answers: &Answers,
    majority: Option<&Group>,
    group: &Group,
    stream: Stream,
    stage: &mut Stage,
) -> Result<(), ReportError> {
    let before = majority.map_or(Ok(Some(Vec::new())), |majority| answers.text(majority, stream))?;
    let after = answers.text(group, stream)?;
    let label = |group: &Group| format!("{} {}", names::label(&stage.roster, &group.hosts), stream.as_str());
    let (from, to) = (majority.map_or("nothing".into(), label), label(group));
    line(Style::Removed, &format!("--- {from}"), stage)?;
    line(Style::Added, &format!("+++ {to}"), stage)?;
    let (Some(before), Some(after)) = (before, after) else {
        let lengths = (majority.map_or(0, |majority| answers.length(majority, stream)), answers.length(group, stream));
        let text = format!("too long to compare line by line: {} and {} bytes\n", lengths.0, lengths.1);
        return stage.console.write(Stream::Stdout, text.as_bytes());
    };
    let diff = TextDiff::configure().timeout(SEARCH).diff_lines(before.as_slice(), after.as_slice());
    for hunk in diff.unified_diff().iter_hunks() {
        line(Style::Name, &hunk.header().to_string(), stage)?;
        for change in hunk.iter_changes() {
            let (sign, style) = match change.tag() {
                ChangeTag::Equal => (b' ', None),
                ChangeTag::Delete => (b'-', Some(Style::Removed)),
                ChangeTag::Insert => (b'+', Some(Style::Added)),
            };
            changed_line(sign, style, change.value(), stage)?;
        }
    }
    Ok(())
}

fn line(style: Style, text: &str, stage: &mut Stage) -> Result<(), ReportError> {
    let styled = stage.console.styled(Stream::Stdout, style, text);
    stage.console.write(Stream::Stdout, format!("{styled}\n").as_bytes())
}

fn changed_line(sign: u8, style: Option<Style>, text: &[u8], stage: &mut Stage) -> Result<(), ReportError> {
    let sign = String::from(char::from(sign));
    let sign = match style {
        Some(style) => stage.console.styled(Stream::Stdout, style, &sign),
        None => sign.as_str().into(),
    };
    stage.console.write(Stream::Stdout, sign.as_bytes())?;
    let mut sanitizer = Sanitizer::default();
    stage.console.write_remote(Stream::Stdout, text, &mut sanitizer)?;
    stage.console.end_remote(Stream::Stdout, &mut sanitizer)?;
    if text.ends_with(b"\n") {
        return Ok(());
    }
    stage.console.write(Stream::Stdout, b"\n\\ no newline at the end\n")
}
