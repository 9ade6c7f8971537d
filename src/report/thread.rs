//! The thread that a report runs on, so that a slow terminal never holds up a connection except through the channel.
//!
//! The channel is bounded: when the terminal is slow it fills, the scheduler waits, and in the end the SSH windows close.

use super::Report;
use super::error::ReportError;
use crate::event::Event;
use std::io;
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::runtime;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::timeout;

/// How often the progress line moves where nothing happens.
const TICK: Duration = Duration::from_millis(100);

/// Where the scheduler's events go. Sending fails when the report is lost; then the run is to stop.
pub type EventSender = Sender<Event>;

/// Runs a report on a thread of its own, behind a channel that holds `capacity` events. The thread ends when every
/// sender is dropped, or when the report is lost; its result says which.
///
/// # Errors
/// Where the system has no thread left.
pub fn spawn(report: Report, capacity: usize) -> io::Result<(EventSender, JoinHandle<Result<(), ReportError>>)> {
    let (sender, receiver) = mpsc::channel(capacity);
    let clock = runtime::Builder::new_current_thread().enable_time().build()?;
    let thread = thread::Builder::new()
        .name("report".into())
        .spawn(move || clock.block_on(async { show(report, receiver).await }))?;
    Ok((sender, thread))
}

/// Shows events until none comes any more.
async fn show(mut report: Report, mut events: Receiver<Event>) -> Result<(), ReportError> {
    let shown = follow(&mut report, &mut events).await;
    if matches!(shown, Ok(()) | Err(ReportError::ClosedPipe)) {
        return shown.and_then(|()| report.finish());
    }
    // Nothing more is taken, so the run learns of it; what was said already is still shown.
    events.close();
    while let Ok(event) = events.try_recv() {
        if report.handle(event).is_err() {
            break;
        }
    }
    // The first error is the cause; another one on the way out would only hide it.
    let _ = report.finish();
    shown
}

async fn follow(report: &mut Report, events: &mut Receiver<Event>) -> Result<(), ReportError> {
    loop {
        while let Ok(event) = events.try_recv() {
            report.handle(event)?;
        }
        report.flush()?;
        let next = match report.has_progress() {
            true => timeout(TICK, events.recv()).await,
            false => Ok(events.recv().await),
        };
        match next {
            Ok(Some(event)) => report.handle(event)?,
            Ok(None) => return Ok(()),
            Err(_) => report.tick()?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Stream, What};
    use crate::host::{HostId, HostName, Roster};
    use crate::outcome::{Outcome, Tally};
    use crate::report::double::Screen;
    use crate::report::{OutputMode, Settings};
    use std::fs;

    #[test]
    fn a_lost_file_closes_the_channel_and_what_was_sent_already_is_still_shown() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("a.err")).unwrap();
        let outdir = Some(directory.path().to_owned());
        let screen = Screen::default();
        let settings = Settings { mode: OutputMode::Stream, outdir, ..Settings::default() };
        let report = Report::new(settings, screen.sinks()).unwrap();
        let roster = Roster::new(["a", "b"].map(|name| HostName::new(name).unwrap()).into());
        let output = |host: u32| What::OutputReceived {
            host: HostId(host),
            stream: Stream::Stdout,
            bytes: format!("{host}\n").into(),
        };
        let finished =
            |host: u32| What::HostFinished { host: HostId(host), outcome: Outcome::Ok, took: Duration::ZERO };
        let tally = Tally { ok: 2, ..Tally::default() };
        let (sender, receiver) = mpsc::channel(16);
        for what in [
            What::RunStarted { verb: "run", title: "x".into(), roster, fanout: 2 },
            output(0),
            finished(0),
            output(1),
            finished(1),
            What::RunFinished { tally, never_started: Vec::new(), stop: None, took: Duration::from_secs(2) },
        ] {
            sender.try_send(Event { at: Duration::ZERO, what }).unwrap();
        }
        let clock = runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let error = clock.block_on(show(report, receiver)).unwrap_err();
        assert!(matches!(&error, ReportError::Create { path, .. } if path.ends_with("a.err")), "{error}");
        assert!(sender.is_closed(), "the run learns of it");
        assert_eq!(screen.both(), "a: 0\nb: 1\n2 hosts in 2.0 s: 2 ok\n");
    }
}
