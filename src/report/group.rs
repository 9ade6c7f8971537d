//! `--output group`: identical answers once, under the folded names of their hosts.
//!
//! The form is that of `clush -b` and `dshbak -c`. stdout of a group goes to stdout; what the group said on stderr goes
//! to stderr, each line under the names as a label, so that both stay apart when they are redirected.

use super::answers::{Answers, Group};
use super::error::ReportError;
use super::names;
use super::sanitize::Sanitizer;
use super::settings::Limits;
use super::style::Style;
use super::{Reporter, Stage};
use crate::event::{Event, Stream, What};

/// Stands above and below the names.
const RULE: &str = "---------------";

/// Shows groups when the run is over.
pub(super) struct Groups {
    /// Taken when it is shown.
    answers: Option<Answers>,
}

impl Groups {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { answers: Some(Answers::new(limits)) }
    }
}

impl Reporter for Groups {
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
        let silent = |group: &Group| answers.length(group, Stream::Stdout) + answers.length(group, Stream::Stderr) == 0;
        if groups.iter().all(silent) {
            return Ok(());
        }
        for group in &groups {
            let remark = if silent(group) { Some("no output") } else { None };
            header(group, remark, stage)?;
            body(&answers, group, stage)?;
            talk(&answers, group, stage)?;
        }
        Ok(())
    }
}

/// The names of a group between two rules, and how it ended where it did not end well.
pub(super) fn header(group: &Group, remark: Option<&str>, stage: &mut Stage) -> Result<(), ReportError> {
    let names = names::counted(&stage.roster, &group.hosts);
    let remarks: Vec<_> = group.ending.label().into_iter().chain(remark.map(Into::into)).collect();
    let style = if group.ending.is_success() { Style::Header } else { Style::Failure };
    let mut line = stage.console.styled(Stream::Stdout, style, &names).into_owned();
    if !remarks.is_empty() {
        line.push_str(": ");
        line.push_str(&remarks.join(", "));
    }
    let text = format!("{RULE}\n{line}\n{RULE}\n");
    stage.console.write(Stream::Stdout, text.as_bytes())
}

/// What a group said on stdout; a newline is added where the last line has none.
pub(super) fn body(answers: &Answers, group: &Group, stage: &mut Stage) -> Result<(), ReportError> {
    let (mut sanitizer, mut last) = (Sanitizer::default(), b'\n');
    answers.read(group, Stream::Stdout, &mut |piece| {
        last = *piece.last().unwrap_or(&last);
        stage.console.write_remote(Stream::Stdout, piece, &mut sanitizer)
    })?;
    stage.console.end_remote(Stream::Stdout, &mut sanitizer)?;
    if last == b'\n' { Ok(()) } else { stage.console.write(Stream::Stdout, b"\n") }
}

/// What a group said on stderr, every line under the names of the group.
fn talk(answers: &Answers, group: &Group, stage: &mut Stage) -> Result<(), ReportError> {
    let names = names::label(&stage.roster, &group.hosts);
    let prefix = format!("{}: ", stage.console.styled(Stream::Stderr, Style::Failure, &names));
    let (mut sanitizer, mut last) = (Sanitizer::default(), b'\n');
    answers.read(group, Stream::Stderr, &mut |piece| {
        for part in piece.split_inclusive(|&byte| byte == b'\n') {
            if last == b'\n' {
                stage.console.write(Stream::Stderr, prefix.as_bytes())?;
            }
            stage.console.write_remote(Stream::Stderr, part, &mut sanitizer)?;
            last = *part.last().unwrap_or(&last);
        }
        Ok(())
    })?;
    if last == b'\n' {
        return Ok(());
    }
    stage.console.end_remote(Stream::Stderr, &mut sanitizer)?;
    stage.console.write(Stream::Stderr, b"\n")
}
