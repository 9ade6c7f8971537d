//! What is said of all hosts together once they have ended, such as a table: after their answers, before the summary.

use super::error::ReportError;
use super::{Reporter, Stage};
use crate::event::{Event, Stream, What};

type Answer = Box<dyn FnOnce() -> Vec<u8> + Send>;

/// Writes the answer of a run as a whole.
pub(super) struct Epilogue(Option<Answer>);

impl Epilogue {
    pub(super) fn new(answer: impl FnOnce() -> Vec<u8> + Send + 'static) -> Self {
        Self(Some(Box::new(answer)))
    }
}

impl Reporter for Epilogue {
    fn handle(&mut self, event: &Event, stage: &mut Stage) -> Result<(), ReportError> {
        match self.0.take_if(|_| matches!(event.what, What::RunFinished { .. })) {
            Some(answer) => stage.console.write(Stream::Stdout, &answer()),
            None => Ok(()),
        }
    }
}
