//! `--output raw`: the bytes as they come, stdout to stdout and stderr to stderr, nothing added and nothing changed.

use super::error::ReportError;
use super::{Reporter, Stage};
use crate::event::{Event, What};

/// Shows the bytes as they come.
pub(super) struct Raw;

impl Reporter for Raw {
    fn handle(&mut self, event: &Event, stage: &mut Stage) -> Result<(), ReportError> {
        match &event.what {
            What::OutputReceived { stream, bytes, .. } => stage.console.write(*stream, bytes),
            _ => Ok(()),
        }
    }
}
