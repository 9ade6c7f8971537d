//! Shows a run: the ordered stream of [`Event`]s becomes what stands on stdout, on stderr and in files.
//!
//! [`Report`] is a list of reporters, one for each thing that was asked for: the narration of `-v`, one output mode,
//! JSON, files, JUnit, the summary. `docs/output.md` says what each of them writes. A report only shows. It never
//! decides, retries or exits, and it knows neither scheduler nor connection nor command line; whether a lost report ends
//! the run is for its caller to say.
//!
//! Remote output stays bytes until here. Whatever hosts send, memory stays bounded by [`Limits`].

mod answers;
mod console;
mod diff;
#[cfg(test)]
mod double;
mod drawing;
mod epilogue;
mod error;
mod gather;
mod group;
mod json;
mod junit;
mod line;
mod names;
mod narration;
mod outdir;
mod progress;
mod rate;
mod raw;
mod sanitize;
mod settings;
mod spool;
mod stream;
mod style;
mod summary;
mod thread;
mod transfers;
mod wait_line;

use crate::event::{Event, What};
use crate::host::Roster;
use console::Console;
use diff::Differences;
use epilogue::Epilogue;
use group::Groups;
use json::Json;
use junit::Junit;
use narration::Narration;
use outdir::OutDirectory;
use progress::{Progress, Watched};
use raw::Raw;
use std::time::Instant;
use stream::Lines;
use summary::{Extent, Summary};

pub use error::ReportError;
pub use json::SCHEMA;
pub use sanitize::visible;
pub use settings::{FileTarget, Limits, OutputMode, Settings, Sinks, Terminal, Terminals, UnknownMode};
pub use thread::{EventSender, spawn};
pub use wait_line::WaitLine;

/// One way to show or keep events.
trait Reporter: Send {
    /// Takes the next event.
    fn handle(&mut self, event: &Event, stage: &mut Stage) -> Result<(), ReportError>;

    /// Writes what is only buffered; called when no event waits. The console is flushed without it.
    fn flush(&mut self) -> Result<(), ReportError> {
        Ok(())
    }

    /// Ends; called once, also where no `RunFinished` came.
    fn finish(&mut self, _stage: &mut Stage) -> Result<(), ReportError> {
        Ok(())
    }
}

/// What every reporter may use: the names of the hosts, and the place to write.
struct Stage {
    roster: Roster,
    console: Console,
}

/// Shows the events of one run.
pub struct Report {
    settings: Settings,
    stage: Stage,
    reporters: Vec<Box<dyn Reporter>>,
}

impl Report {
    /// Prepares a report and opens its files.
    ///
    /// # Errors
    /// Where a file or directory cannot be created: nothing has run yet, and nothing should.
    pub fn new(settings: Settings, sinks: Sinks) -> Result<Self, ReportError> {
        let mut reporters: Vec<Box<dyn Reporter>> = Vec::new();
        if let Some(target) = &settings.json
            && !(settings.mode == OutputMode::Json && *target == FileTarget::Stdout)
        {
            reporters.push(Box::new(Json::new(target)?));
        }
        if let Some(directory) = &settings.outdir {
            reporters.push(Box::new(OutDirectory::new(directory.clone())?));
        }
        if let Some(target) = &settings.junit {
            reporters.push(Box::new(Junit::new(target, &settings.limits)?));
        }
        let mut console = Console::new(sinks, settings.terminals);
        console.go_on_unheard(settings.goes_on_unheard);
        Ok(Self { settings, stage: Stage { roster: Roster::default(), console }, reporters })
    }

    /// Writes to stdout what `answer` gives once every host has ended, before the summary.
    #[must_use]
    pub fn with_epilogue(mut self, answer: impl FnOnce() -> Vec<u8> + Send + 'static) -> Self {
        self.reporters.push(Box::new(Epilogue::new(answer)));
        self
    }

    /// Shows an event.
    ///
    /// # Errors
    /// The first thing that went wrong. A reporter that failed gets no further events; the others go on, so that what is
    /// gathered can still be shown.
    pub fn handle(&mut self, event: Event) -> Result<(), ReportError> {
        match &event.what {
            What::RunStarted { roster, .. } => self.begin(roster.clone())?,
            What::RunFinished { .. } => self.stage.console.end_progress()?,
            _ => {}
        }
        let now = Instant::now();
        if let Some(progress) = self.stage.console.progress() {
            progress.handle(&event, now);
        }
        self.each(|reporter, stage| reporter.handle(&event, stage))?;
        self.stage.console.redraw(now)
    }

    /// Writes what is buffered. To be called whenever no event is waiting.
    ///
    /// # Errors
    /// As [`handle`](Self::handle).
    pub fn flush(&mut self) -> Result<(), ReportError> {
        self.each(|reporter, _| reporter.flush())?;
        self.stage.console.flush()
    }

    /// Moves the progress on. To be called a few times a second while nothing happens.
    ///
    /// # Errors
    /// As [`handle`](Self::handle).
    pub fn tick(&mut self) -> Result<(), ReportError> {
        self.stage.console.redraw(Instant::now())
    }

    /// Whether progress is shown, so that [`tick`](Self::tick) is worth calling.
    pub fn has_progress(&self) -> bool {
        self.stage.console.has_progress()
    }

    /// Ends the report: shows what was gathered if the run's end was never told, and writes everything out.
    ///
    /// # Errors
    /// As [`handle`](Self::handle).
    pub fn finish(mut self) -> Result<(), ReportError> {
        let wiped = self.stage.console.end_progress();
        let ended = self.each(|reporter, stage| reporter.finish(stage));
        let flushed = self.flush();
        wiped.and(ended).and(flushed)
    }

    /// Composes what depends on how many hosts there are.
    fn begin(&mut self, roster: Roster) -> Result<(), ReportError> {
        let Settings { terminals, quiet, limits, .. } = &self.settings;
        let mode = self.settings.mode.resolve(roster.len(), terminals.stdout);
        let shown: Option<Box<dyn Reporter>> = match mode {
            OutputMode::Stream | OutputMode::Auto => Some(Box::new(Lines::new(limits.clone()))),
            OutputMode::Group => Some(Box::new(Groups::new(limits))),
            OutputMode::Diff => Some(Box::new(Differences::new(limits))),
            OutputMode::Raw => Some(Box::new(Raw)),
            OutputMode::Json => Some(Box::new(Json::new(&FileTarget::Stdout)?)),
            OutputMode::None => None,
        };
        let extent = match mode {
            OutputMode::Raw if roster.len() == 1 => Extent::Unspoken,
            _ if *quiet => Extent::Failures,
            _ => Extent::Full,
        };
        // The narration of an event comes before what it shows, the summary after everything.
        let first = std::iter::once(Box::new(Narration::new(&self.settings)) as Box<dyn Reporter>).chain(shown);
        self.reporters.splice(..0, first);
        self.reporters.push(Box::new(Summary::new(extent)));
        if terminals.stderr.present && !quiet {
            let watched = match mode {
                OutputMode::Raw => Watched::Transfers,
                _ if roster.len() > 1 => Watched::HostsAndTransfers,
                _ => Watched::Transfers,
            };
            let progress = Progress::new(watched, roster.clone(), *terminals, Instant::now());
            self.stage.console.begin_progress(progress);
        }
        self.stage.roster = roster;
        Ok(())
    }

    /// Calls every reporter, drops those that fail, and returns the first error.
    fn each(
        &mut self,
        mut call: impl FnMut(&mut dyn Reporter, &mut Stage) -> Result<(), ReportError>,
    ) -> Result<(), ReportError> {
        let Self { reporters, stage, .. } = self;
        let mut result = Ok(());
        reporters.retain_mut(|reporter| match call(reporter.as_mut(), stage) {
            Ok(()) => true,
            Err(error) => {
                if result.is_ok() {
                    result = Err(error);
                }
                false
            }
        });
        result
    }
}
