//! Many hosts called at once for what comes before a run or needs none, with a line on the terminal that tells how far it is.

use crate::report::WaitLine;
use futures::stream::{self, StreamExt};
use std::future::{Future, pending};
use std::io;
use std::pin::pin;
use std::time::Duration;
use tokio::time::{Instant, interval_at, sleep_until};

/// How often the progress is redrawn; what is over sooner shows none.
const REDRAW: Duration = Duration::from_millis(250);

/// How hosts are called.
pub(super) struct Calls {
    /// What is done, for the line.
    pub(super) what: &'static str,
    /// Calls at once.
    pub(super) fanout: usize,
    /// When it is over, whatever is still under way.
    pub(super) until: Option<Instant>,
    /// Columns of the terminal, where progress is wanted on it.
    pub(super) width: Option<u16>,
}

/// What came back.
pub(super) struct Answers<T> {
    /// With the position of the call, in the order of the calls.
    pub(super) answers: Vec<(usize, T)>,
    /// The time was up before all were answered.
    pub(super) is_late: bool,
}

impl Calls {
    /// Makes the calls and waits for them.
    pub(super) async fn make<F: Future>(&self, calls: Vec<F>) -> io::Result<Answers<F::Output>> {
        let mut line = self.width.map(|width| WaitLine::new(self.what, calls.len(), width));
        let calls = calls.into_iter().enumerate().map(|(position, call)| async move { (position, call.await) });
        let mut calls = pin!(stream::iter(calls).buffer_unordered(self.fanout));
        let mut late = pin!(async {
            match self.until {
                Some(until) => sleep_until(until).await,
                None => pending().await,
            }
        });
        let mut redraw = interval_at(Instant::now() + REDRAW, REDRAW);
        let mut answers = Vec::new();
        let is_late = loop {
            tokio::select! {
                answered = calls.next() => {
                    let Some(answered) = answered else { break false };
                    line.iter_mut().for_each(WaitLine::advance);
                    answers.push(answered);
                }
                _ = redraw.tick(), if line.is_some() => {
                    line.iter_mut().try_for_each(|line| line.draw(&mut io::stderr()))?;
                }
                () = &mut late => break true,
            }
        };
        line.map_or(Ok(()), |line| line.wipe(&mut io::stderr()))?;
        answers.sort_by_key(|(position, _)| *position);
        Ok(Answers { answers, is_late })
    }
}
