//! The scheduler over the scripted double, with a paused clock: every time in these tests is exact.

use super::scripted::{Act, Scripted, Seen, again_after, fails_after, ok_after, reset};
use super::unit::INBOX;
use super::*;
use crate::event::What;
use crate::exit_code::{self, Stop};
use crate::host::{HostId, HostName};
use crate::outcome::{Code, Outcome, Tally};
use futures::StreamExt;
use std::collections::BTreeMap;
use tokio::time::{Instant, sleep, sleep_until};

/// How many events the report's channel holds in these tests.
const REPORT: usize = 4;

/// A run to be: scripts, plan, signals and a reader of the report.
struct Rehearsal {
    scripts: Vec<Vec<Act>>,
    plan: Plan,
    signals: Vec<(u64, Signal)>,
    reader: Reader,
}

/// How the report is read.
#[derive(Clone, Copy, Debug)]
enum Reader {
    Quick,
    /// So many milliseconds an event.
    Slow(u64),
    /// Not before so many milliseconds.
    AsleepFor(u64),
    /// Ends after so many events.
    Leaves(usize),
}

/// What came of it.
struct Observed {
    events: Vec<Event>,
    result: RunResult,
    seen: Seen,
    hosts: usize,
    reader: Reader,
}

/// A run over one host a script; a host with several acts does one in each try.
fn rehearse<S: Into<Script>>(scripts: impl IntoIterator<Item = S>) -> Rehearsal {
    let scripts: Vec<_> = scripts.into_iter().map(|script| script.into().0).collect();
    let names = (0..scripts.len()).map(|host| HostName::new(&format!("h{host}")).expect("a good name")).collect();
    let plan = Plan::new("run", "uptime", Roster::new(names));
    Rehearsal { scripts, plan, signals: Vec::new(), reader: Reader::Quick }
}

struct Script(Vec<Act>);

impl From<Act> for Script {
    fn from(act: Act) -> Self {
        Self(vec![act])
    }
}

impl From<Vec<Act>> for Script {
    fn from(acts: Vec<Act>) -> Self {
        Self(acts)
    }
}

impl Rehearsal {
    fn plan(mut self, change: impl FnOnce(&mut Plan)) -> Self {
        change(&mut self.plan);
        self
    }

    fn fanout(self, hosts: usize) -> Self {
        self.plan(|plan| plan.fanout = Fanout::new(hosts).expect("hosts"))
    }

    fn serial(self, spec: &str) -> Self {
        self.plan(|plan| plan.serial = Some(spec.parse().expect("a good spec")))
    }

    fn max_fail(self, limit: &str) -> Self {
        self.plan(|plan| plan.max_fail = Some(limit.parse().expect("a good limit")))
    }

    fn retries(self, retries: &str) -> Self {
        self.plan(|plan| plan.retries = retries.parse().expect("a number"))
    }

    fn deadline(self, milliseconds: u64) -> Self {
        self.plan(|plan| plan.deadline = Some(Duration::from_millis(milliseconds)))
    }

    /// Sends a signal so many milliseconds after the beginning.
    fn signal(mut self, milliseconds: u64, signal: Signal) -> Self {
        self.signals.push((milliseconds, signal));
        self
    }

    fn reader(mut self, reader: Reader) -> Self {
        self.reader = reader;
        self
    }

    /// Runs it, and holds what came of it to the promises of `event.rs`.
    async fn run(self) -> Observed {
        let hosts = self.scripts.len();
        let fanout = self.plan.fanout.get();
        let work = Arc::new(Scripted::new(self.scripts));
        let (sender, receiver) = mpsc::channel(REPORT);
        let reader = tokio::spawn(read(receiver, self.reader));
        let began = Instant::now();
        let signals = futures::stream::iter(self.signals)
            .then(move |(milliseconds, signal)| async move {
                sleep_until(began + Duration::from_millis(milliseconds)).await;
                signal
            })
            .chain(futures::stream::pending());
        let result = run(self.plan, Arc::clone(&work), sender, signals).await;
        let events = reader.await.expect("the reader ends");
        let observed = Observed { events, result, seen: work.seen(), hosts, reader: self.reader };
        assert!(observed.seen.most <= fanout, "{} hosts at once, {fanout} allowed", observed.seen.most);
        assert_eq!(observed.seen.running, 0, "no unit is left behind");
        observed.hold_to_promises();
        observed
    }
}

async fn read(mut receiver: mpsc::Receiver<Event>, reader: Reader) -> Vec<Event> {
    let mut events = Vec::new();
    if let Reader::AsleepFor(milliseconds) = reader {
        sleep(Duration::from_millis(milliseconds)).await;
    }
    while !matches!(reader, Reader::Leaves(most) if most == events.len()) {
        let Some(event) = receiver.recv().await else { break };
        events.push(event);
        if let Reader::Slow(milliseconds) = reader {
            sleep(Duration::from_millis(milliseconds)).await;
        }
    }
    events
}

impl Observed {
    /// The order of events that `event.rs` promises, and counts that hold.
    fn hold_to_promises(&self) {
        let tally = self.result.tally;
        assert_eq!(tally.finished() + tally.never_started, self.hosts, "everybody is counted once: {tally:?}");
        assert!(self.events.is_sorted_by_key(|event| event.at), "time runs forward");
        let mut standing: BTreeMap<HostId, bool> = BTreeMap::new();
        let mut told = Tally::default();
        for (index, event) in self.events.iter().enumerate() {
            match &event.what {
                What::RunStarted { .. } => assert_eq!(index, 0, "the run starts once, first"),
                What::HostStarted { host } => assert_eq!(standing.insert(*host, true), None, "{host:?} starts once"),
                What::PhaseFinished { host, .. }
                | What::OutputReceived { host, .. }
                | What::TransferPlanned { host, .. }
                | What::BytesMoved { host, .. }
                | What::BytesSpared { host, .. }
                | What::TransferFinished { host, .. }
                | What::Noticed { host: Some(host), .. } => {
                    assert_eq!(standing.get(host), Some(&true), "{host:?} talks between its start and its end");
                }
                What::AttemptFailed { host, attempt, failure, .. } => {
                    assert_eq!(standing.get(host), Some(&true), "{host:?} is tried between its start and its end");
                    assert_eq!(failure.attempts, *attempt);
                }
                What::HostFinished { host, outcome, .. } => {
                    assert_eq!(standing.insert(*host, false), Some(true), "{host:?} finishes once, after its start");
                    told.add(outcome);
                }
                What::RunFinished { tally: last, never_started, stop, took } => {
                    assert_eq!(index + 1, self.events.len(), "nothing follows the end");
                    told.never_started = never_started.len();
                    assert_eq!((*last, told, *stop, *took), (tally, tally, self.result.stop, self.result.took));
                    assert!(standing.values().all(|running| !running), "everybody who started has finished");
                    assert!(never_started.iter().all(|host| !standing.contains_key(host)));
                    assert_eq!(standing.len() + never_started.len(), self.hosts);
                }
                What::Noticed { host: None, .. } | What::BatchStarted { .. } | What::InterruptReceived { .. } => {}
            }
        }
        let finished = matches!(self.events.last().map(|event| &event.what), Some(What::RunFinished { .. }));
        // One that leaves may do so before it has read what it was handed.
        if !matches!(self.reader, Reader::Leaves(_)) {
            assert_eq!(self.result.report == ReportEnd::Complete, finished, "{:?}", self.result.report);
        }
    }

    /// The events as lines `MILLISECONDS WHAT`, without the beginning and the end of the run.
    fn story(&self) -> Vec<String> {
        let told = self.events.iter().filter_map(|event| {
            let what = match &event.what {
                What::RunStarted { .. } | What::RunFinished { .. } => return None,
                What::BatchStarted { number, of, hosts } => format!("batch {number}/{of} of {}", hosts.len()),
                What::HostStarted { host } => format!("start {}", host.0),
                What::OutputReceived { host, bytes, .. } => {
                    format!("output {} {}", host.0, String::from_utf8_lossy(bytes).trim_end())
                }
                What::AttemptFailed { host, attempt, .. } => format!("failed {} try {attempt}", host.0),
                What::HostFinished { host, outcome, .. } => format!("{} {}", outcome.word(), host.0),
                What::InterruptReceived { running, waiting, at_once } => {
                    let running: Vec<_> = running.iter().map(|host| host.0).collect();
                    format!("interrupt running {running:?} waiting {waiting}{}", if *at_once { " at once" } else { "" })
                }
                What::Noticed { message, .. } => format!("notice {message}"),
                What::PhaseFinished { .. } => "phase".into(),
                What::TransferPlanned { .. }
                | What::BytesMoved { .. }
                | What::BytesSpared { .. }
                | What::TransferFinished { .. } => "transfer".into(),
            };
            Some(format!("{} {what}", event.at.as_millis()))
        });
        told.collect()
    }

    fn outcome(&self, host: u32) -> &Outcome {
        let found = self.events.iter().find_map(|event| match &event.what {
            What::HostFinished { host: finished, outcome, .. } if finished.0 == host => Some(outcome),
            _ => None,
        });
        found.expect("the host finished")
    }

    fn message(&self, host: u32) -> &str {
        &self.outcome(host).failure().expect("the host failed").message
    }

    fn milliseconds(&self) -> u128 {
        self.result.took.as_millis()
    }
}

mod window {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_full_until_nobody_is_left_and_never_exceeded() {
        let run = rehearse((0..10).map(|_| ok_after(1_000))).fanout(3).run().await;
        assert_eq!(run.seen.most, 3);
        assert_eq!(run.milliseconds(), 4_000, "10 hosts, 3 at once, 1 s each");
        assert_eq!(run.result.tally, Tally { ok: 10, ..Tally::default() });
        assert_eq!(run.result.exit_code(), exit_code::SUCCESS);
    }

    #[tokio::test(start_paused = true)]
    async fn one_slow_host_stalls_nobody() {
        let run = rehearse([9_000, 1_000, 1_000, 1_000, 1_000].map(ok_after)).fanout(2).run().await;
        assert_eq!(
            run.story(),
            [
                "0 start 0",
                "0 start 1",
                "1000 ok 1",
                "1000 start 2",
                "2000 ok 2",
                "2000 start 3",
                "3000 ok 3",
                "3000 start 4",
                "4000 ok 4",
                "9000 ok 0",
            ]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn one_unreachable_host_does_not_stop_the_others() {
        let unreachable = Act::End(Duration::ZERO, Outcome::Unreachable(reset()));
        let run = rehearse([ok_after(10), unreachable, ok_after(10)]).run().await;
        assert_eq!(run.result.tally, Tally { ok: 2, unreachable: 1, ..Tally::default() });
        assert_eq!(run.result.exit_code(), exit_code::UNREACHABLE);
        assert_eq!(run.result.remote_exit_code(), exit_code::REMOTE_NOT_REACHED);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_done_at_once() {
        let run = rehearse(Vec::<Act>::new()).serial("1").run().await;
        assert_eq!(run.story(), Vec::<String>::new());
        assert_eq!(run.result.exit_code(), exit_code::SUCCESS);
    }

    #[tokio::test(start_paused = true)]
    async fn a_fleet_on_64_open_files_never_opens_more() {
        let per_host = std::num::NonZeroUsize::new(2).expect("descriptors");
        let window = DescriptorBudget::of(64).window(Fanout::new(5_000).expect("hosts"), per_host);
        let run = rehearse((0..5_000).map(|_| ok_after(100)))
            .plan(|plan| {
                plan.fanout = window.fanout;
                plan.notices.extend(window.notice);
            })
            .run()
            .await;
        assert_eq!(run.result.tally.ok, 5_000);
        assert!(run.seen.most * per_host.get() + 32 <= 64, "{} at once", run.seen.most);
        assert!(run.story()[0].starts_with("0 notice 16 hosts at once instead of 5000"), "{}", run.story()[0]);
    }
}

mod isolation {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_panic_is_one_failed_host() {
        let panics = Act::SayThen("before", Box::new(Act::Panic("index out of bounds")));
        let run = rehearse([ok_after(10), panics, ok_after(10)]).run().await;
        assert_eq!(run.result.tally, Tally { ok: 2, failed: 1, faults: 1, ..Tally::default() });
        assert_eq!(run.outcome(1).failure().map(|failure| failure.code), Some(Code::Internal));
        assert_eq!(run.message(1), "a fault of bugle: index out of bounds");
        assert!(run.story().contains(&"0 output 1 before".into()), "what it said before is kept: {:?}", run.story());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_said_after_the_end_of_a_unit_is_not_shown() {
        let run = rehearse([Act::Haunt, ok_after(50)]).run().await;
        assert_eq!(run.story(), ["0 start 0", "0 start 1", "0 ok 0", "50 ok 1"]);
    }
}

mod retries {
    use super::*;

    fn waits(run: &Observed) -> Vec<Duration> {
        let waits = run.events.iter().filter_map(|event| match &event.what {
            What::AttemptFailed { retry_in, .. } => Some(*retry_in),
            _ => None,
        });
        waits.collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_that_passes_is_tried_again_with_growing_waits() {
        let run = rehearse([vec![again_after(10), again_after(10), ok_after(10)]]).run().await;
        let mut backoff = retry::Backoff::new(0);
        let expected: Vec<_> = (1..=2).map(|attempt| backoff.wait(attempt, RetryAfter::Backoff)).collect();
        assert_eq!(waits(&run), expected, "the waits are those of the seed");
        let slept: Duration = expected.iter().sum();
        assert!(run.result.took >= slept + Duration::from_millis(30));
        // The clock of the runtime counts whole milliseconds, rounded up.
        assert!(run.result.took <= slept + Duration::from_millis(33), "{:?} after {slept:?}", run.result.took);
        assert_eq!(run.result.tally.ok, 1);
        assert_eq!(run.seen.tries, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn used_up_retries_leave_the_host_unreachable_with_the_number_of_tries() {
        for (retries, tries) in [("0", 1), ("2", 3)] {
            let run = rehearse([again_after(10)]).retries(retries).run().await;
            let mut failure = reset();
            failure.attempts = tries;
            assert_eq!(run.outcome(0), &Outcome::Unreachable(failure));
            assert_eq!(waits(&run).len() as u32, tries - 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_outcome_tells_in_which_try_it_came() {
        let run = rehearse([vec![again_after(0), fails_after(0)]]).run().await;
        assert_eq!(run.outcome(0).failure().map(|failure| failure.attempts), Some(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_penalty_is_waited_out_and_more() {
        let penalty = Duration::from_secs(15);
        let run = rehearse([vec![Act::Again(Duration::ZERO, RetryAfter::AtLeast(penalty)), ok_after(0)]]).run().await;
        assert_eq!(waits(&run).len(), 1);
        assert!(waits(&run)[0] > penalty && waits(&run)[0] <= penalty + Duration::from_millis(500));
        assert!(run.result.took > penalty);
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_between_two_tries_holds_no_place_and_comes_back_before_fresh_ones() {
        let hosts = std::iter::once(vec![again_after(0), ok_after(5_000)]).chain((0..5).map(|_| vec![ok_after(1_000)]));
        let run = rehearse(hosts).fanout(1).run().await;
        assert!(run.result.took < Duration::from_secs(11), "its wait is filled with others");
        let order: Vec<u32> = run.story().iter().filter_map(|line| line.split_once(" ok ")?.1.parse().ok()).collect();
        assert_eq!(order, [1, 0, 2, 3, 4, 5], "it is due while 1 is worked on, and goes next");
    }
}

mod max_fail {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn past_a_number_of_failures_nobody_is_started_and_who_runs_finishes() {
        let mut scripts: Vec<_> = (0..10).map(|_| fails_after(1_000)).collect();
        scripts[1] = ok_after(5_000);
        let run = rehearse(scripts).fanout(2).max_fail("2").run().await;
        assert_eq!(run.result.tally, Tally { ok: 1, failed: 3, never_started: 6, ..Tally::default() });
        assert_eq!(run.result.stop, Some(Stop::TooManyFailures));
        assert_eq!(run.result.exit_code(), exit_code::STOPPED);
        assert_eq!(run.milliseconds(), 5_000, "the one in flight comes to its own end");
    }

    #[tokio::test(start_paused = true)]
    async fn fail_fast_is_a_limit_of_none() {
        let run = rehearse([ok_after(1), fails_after(1), ok_after(1)]).fanout(1).max_fail("0").run().await;
        assert_eq!(run.result.tally, Tally { ok: 1, failed: 1, never_started: 1, ..Tally::default() });
    }

    #[tokio::test(start_paused = true)]
    async fn a_percentage_is_of_all_hosts_and_may_be_reached() {
        let scripts = |failing| (0..10).map(move |host| if host < failing { fails_after(1) } else { ok_after(1) });
        let run = rehearse(scripts(3)).fanout(1).max_fail("30%").run().await;
        assert_eq!((run.result.tally.never_started, run.result.stop), (0, None));
        let run = rehearse(scripts(4)).fanout(1).max_fail("30%").run().await;
        assert_eq!((run.result.tally.never_started, run.result.stop), (6, Some(Stop::TooManyFailures)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_that_stops_nobody_is_no_early_stop() {
        let run = rehearse([ok_after(1), fails_after(1)]).fanout(1).max_fail("0").run().await;
        assert_eq!(run.result.stop, None);
        assert_eq!(run.result.exit_code(), exit_code::WORK_FAILED);
    }

    #[tokio::test(start_paused = true)]
    async fn who_would_be_tried_again_after_the_stop_is_given_up() {
        let run = rehearse([again_after(100), fails_after(50), ok_after(1)]).fanout(2).max_fail("0").run().await;
        assert_eq!(run.story().last().map(String::as_str), Some("100 unreachable 0"));
        assert_eq!(run.milliseconds(), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn unreachable_hosts_count_and_those_between_two_tries_are_given_up() {
        let unreachable = Act::End(Duration::from_millis(1), Outcome::Unreachable(reset()));
        let penalised = Act::Again(Duration::ZERO, RetryAfter::AtLeast(Duration::from_secs(60)));
        let run = rehearse([penalised, unreachable, ok_after(1)]).fanout(1).max_fail("0").run().await;
        assert_eq!(run.result.tally, Tally { unreachable: 2, never_started: 1, ..Tally::default() });
        assert_eq!(run.message(0), "reset");
        assert_eq!(run.milliseconds(), 1);
    }
}

mod serial {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_batch_begins_when_the_one_before_is_done_and_the_pause_is_over() {
        let run = rehearse([1_000, 3_000, 1_000, 1_000].map(ok_after))
            .serial("1,2")
            .plan(|plan| plan.pause = Duration::from_secs(10))
            .run()
            .await;
        assert_eq!(
            run.story(),
            [
                "0 batch 1/3 of 1",
                "0 start 0",
                "1000 ok 0",
                "11000 batch 2/3 of 2",
                "11000 start 1",
                "11000 start 2",
                "12000 ok 2",
                "14000 ok 1",
                "24000 batch 3/3 of 1",
                "24000 start 3",
                "25000 ok 3",
            ]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_window_holds_inside_a_batch() {
        let run = rehearse((0..8).map(|_| ok_after(1_000))).serial("4").fanout(3).run().await;
        assert_eq!((run.seen.most, run.milliseconds()), (3, 4_000));
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_waits_for_its_retries() {
        let run = rehearse([vec![again_after(0), ok_after(0)], vec![ok_after(0)]]).serial("1").run().await;
        let story = run.story();
        let order: Vec<_> = story.iter().filter_map(|line| line.split_once(' ')).map(|(_, what)| what).collect();
        assert_eq!(order, ["batch 1/2 of 1", "start 0", "failed 0 try 1", "ok 0", "batch 2/2 of 1", "start 1", "ok 1"]);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_judged_in_the_batch_as_well_as_over_the_run() {
        // 1 of 2 is more than 40% of the batch, though it is 10% of the run.
        let scripts = |failing: &'static [usize]| {
            (0..10).map(move |host| if failing.contains(&host) { fails_after(1) } else { ok_after(1) })
        };
        let run = rehearse(scripts(&[2])).serial("2").max_fail("40%").run().await;
        assert_eq!((run.result.tally.never_started, run.result.stop), (6, Some(Stop::TooManyFailures)));
        // One in each batch: no batch exceeds 1, the run does.
        let run = rehearse(scripts(&[0, 4])).serial("4").max_fail("1").run().await;
        assert_eq!((run.result.tally.never_started, run.result.stop), (2, Some(Stop::TooManyFailures)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_that_failed_as_a_whole_is_the_last_and_says_so() {
        let run = rehearse([fails_after(1), fails_after(1), ok_after(1)]).serial("2").run().await;
        assert_eq!(run.result.tally, Tally { failed: 2, never_started: 1, ..Tally::default() });
        assert_eq!(run.result.exit_code(), exit_code::STOPPED);
        let told =
            "1 notice every host of the batch failed, so no further batch is started (`--max-fail 100%` goes on)";
        assert!(run.story().contains(&told.into()), "{:#?}", run.story());
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_that_allows_it_goes_on_after_a_batch_that_failed_as_a_whole() {
        for limit in ["100%", "2"] {
            let run = rehearse([fails_after(1), fails_after(1), ok_after(1)]).serial("1").max_fail(limit).run().await;
            assert_eq!((run.result.tally.ok, run.result.stop), (1, None), "{limit}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_ended_by_a_signal() {
        let run = rehearse([ok_after(0), ok_after(0)])
            .serial("1")
            .plan(|plan| plan.pause = Duration::from_secs(3_600))
            .signal(5_000, Signal::Interrupt)
            .run()
            .await;
        assert_eq!(run.milliseconds(), 5_000);
        assert_eq!(run.result.tally, Tally { ok: 1, never_started: 1, ..Tally::default() });
    }
}

mod deadline {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_runs_is_ended_and_nothing_new_is_started() {
        let run = rehearse([ok_after(1_000), Act::Hang(Duration::from_millis(200)), ok_after(9_000), ok_after(1)])
            .fanout(2)
            .deadline(3_000)
            .run()
            .await;
        assert_eq!(run.result.tally, Tally { ok: 1, cancelled: 2, never_started: 1, ..Tally::default() });
        assert_eq!(run.result.stop, Some(Stop::Deadline));
        assert_eq!(run.result.exit_code(), exit_code::STOPPED);
        assert_eq!(run.outcome(1).failure().map(|failure| failure.code), Some(Code::Deadline));
        assert_eq!(run.milliseconds(), 3_200, "the unit was given the time it needed");
    }

    #[tokio::test(start_paused = true)]
    async fn a_unit_that_does_not_end_within_the_grace_is_dropped_and_its_output_is_kept() {
        let deaf = Act::SayThen("hello", Box::new(Act::Deaf));
        let run = rehearse([deaf]).deadline(1_000).run().await;
        assert_eq!(run.story(), ["0 start 0", "0 output 0 hello", "6000 cancelled 0"]);
        assert_eq!(run.message(0), "it did not end within 5.0 s: what it started may still run there");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_was_spent_before_the_run_starts_nobody() {
        let run = rehearse([ok_after(0), ok_after(0)]).deadline(0).run().await;
        assert_eq!(run.result.tally, Tally { never_started: 2, ..Tally::default() });
        assert_eq!(run.result.stop, Some(Stop::Deadline));
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_the_wait_for_another_try() {
        let penalised = Act::Again(Duration::ZERO, RetryAfter::AtLeast(Duration::from_secs(60)));
        let run = rehearse([penalised]).deadline(1_000).run().await;
        assert_eq!(run.milliseconds(), 1_000);
        assert_eq!(run.message(0), "ended while it waited for another try after: reset");
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_that_is_done_before_is_not_stopped() {
        let run = rehearse([ok_after(999)]).deadline(1_000).run().await;
        assert_eq!(run.result.stop, None);
        let run = rehearse([ok_after(0)]).plan(|plan| plan.deadline = Some(Duration::MAX)).run().await;
        assert_eq!(run.result.stop, None, "a deadline past the end of the clock is none");
    }
}

mod signals {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_interrupt_starts_nobody_and_lets_units_end() {
        let run = rehearse([ok_after(500), Act::Hang(Duration::from_secs(2)), ok_after(9_000), ok_after(1)])
            .fanout(2)
            .signal(1_000, Signal::Interrupt)
            .run()
            .await;
        assert_eq!(
            run.story(),
            [
                "0 start 0",
                "0 start 1",
                "500 ok 0",
                "500 start 2",
                "1000 interrupt running [1, 2] waiting 1",
                "1000 cancelled 2",
                "3000 cancelled 1",
            ]
        );
        assert_eq!(run.result.stop, Some(Stop::Interrupted));
        assert_eq!(run.result.exit_code(), exit_code::INTERRUPTED);
        assert_eq!(run.result.remote_exit_code(), exit_code::INTERRUPTED);
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_one_ends_at_once_however_late() {
        for second in [1_100, 4_000] {
            let run = rehearse([Act::SayThen("hello", Box::new(Act::Deaf)), Act::Hang(Duration::from_secs(60))])
                .signal(1_000, Signal::Interrupt)
                .signal(second, Signal::Interrupt)
                .run()
                .await;
            assert_eq!(run.milliseconds(), u128::from(second));
            assert_eq!(run.result.tally, Tally { cancelled: 2, ..Tally::default() });
            assert!(run.story().contains(&format!("{second} interrupt running [0, 1] waiting 0 at once")));
            assert_eq!(run.message(0), "ended at once by a second signal: what it started may still run there");
            assert_eq!(run.result.report, ReportEnd::Complete);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn after_one_interrupt_the_grace_ends_units_that_do_not_hear() {
        let run = rehearse([Act::Deaf]).signal(1_000, Signal::Interrupt).run().await;
        assert_eq!(run.milliseconds(), 6_000);
        assert_eq!(run.message(0), "it did not end within 5.0 s: what it started may still run there");
    }

    #[tokio::test(start_paused = true)]
    async fn sigterm_and_sighup_end_the_run_in_the_same_way_with_their_own_code() {
        for signal in [Signal::Terminate, Signal::Hangup] {
            let run = rehearse([Act::Hang(Duration::ZERO)]).signal(1_000, signal).run().await;
            assert_eq!(run.result.stop, Some(Stop::Terminated));
            assert_eq!(run.result.exit_code(), exit_code::TERMINATED);
            let run = rehearse([Act::Deaf]).signal(1_000, signal).signal(1_200, signal).run().await;
            assert_eq!(run.milliseconds(), 1_200);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_signal_names_the_run() {
        let run = rehearse([Act::Deaf]).signal(1, Signal::Terminate).signal(2, Signal::Interrupt).run().await;
        assert_eq!(run.result.stop, Some(Stop::Terminated));
    }

    #[tokio::test(start_paused = true)]
    async fn an_interrupt_outweighs_the_other_reasons_to_stop() {
        let run = rehearse([fails_after(1), Act::Deaf, ok_after(1)])
            .fanout(2)
            .max_fail("0")
            .deadline(1_000)
            .signal(2_000, Signal::Interrupt)
            .run()
            .await;
        assert_eq!(run.result.stop, Some(Stop::Interrupted));
        assert_eq!(run.milliseconds(), 6_000, "the grace began with the deadline");
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_for_another_try_is_ended() {
        let penalised = Act::Again(Duration::ZERO, RetryAfter::AtLeast(Duration::from_secs(60)));
        let run = rehearse([penalised]).signal(1_000, Signal::Interrupt).run().await;
        assert_eq!(run.story().last().map(String::as_str), Some("1000 cancelled 0"));
        assert_eq!(run.message(0), "ended while it waited for another try after: reset");
    }
}

mod report {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_slow_one_gets_everything_in_order() {
        let run = rehearse((0..5).map(|_| Act::Say(300))).fanout(3).reader(Reader::Slow(10)).run().await;
        for host in 0..5 {
            let prefix = format!("output {host} ");
            let lines: Vec<usize> = run
                .story()
                .iter()
                .filter_map(|line| line.split_once(' ')?.1.strip_prefix(&prefix)?.parse().ok())
                .collect();
            assert_eq!(lines, (0..300).collect::<Vec<_>>(), "host {host}");
        }
        let most_ahead = INBOX + REPORT + 5 * 2;
        assert!(run.milliseconds() as usize >= (1_500 - most_ahead) * 10, "the hosts went at the pace of the report");
    }

    #[tokio::test(start_paused = true)]
    async fn while_it_is_blocked_hosts_are_held_and_two_signals_end_the_run() {
        let run = rehearse((0..10).map(|_| Act::Say(10_000)))
            .fanout(10)
            .reader(Reader::AsleepFor(60_000))
            .signal(1_000, Signal::Interrupt)
            .signal(2_000, Signal::Interrupt)
            .run()
            .await;
        assert!(run.seen.said <= INBOX, "{} lines were taken", run.seen.said);
        assert!(run.seen.tries <= REPORT, "{} hosts were started", run.seen.tries);
        assert_eq!(run.result.stop, Some(Stop::Interrupted));
        assert_eq!(run.result.report, ReportEnd::CutShort);
        assert!(run.milliseconds() <= 2_500, "{} ms", run.milliseconds());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_wakes_up_in_time_gets_what_was_gathered() {
        let run = rehearse([Act::SayThen("hello", Box::new(Act::Deaf))])
            .reader(Reader::AsleepFor(2_100))
            .plan(|plan| plan.notices = vec!["one more".into(); 10])
            .signal(1_000, Signal::Interrupt)
            .signal(2_000, Signal::Interrupt)
            .run()
            .await;
        assert_eq!(run.result.report, ReportEnd::Complete);
    }

    #[tokio::test(start_paused = true)]
    async fn units_that_do_not_end_are_dropped_but_their_words_wait_for_it() {
        let deaf = || Act::SayThen("a", Box::new(Act::SayThen("b", Box::new(Act::Deaf))));
        let run = rehearse((0..8).map(|_| deaf())).deadline(1_000).reader(Reader::Slow(1_000)).run().await;
        let said = run.story().iter().filter(|line| line.contains(" output ")).count();
        let started = 8 - run.result.tally.never_started;
        assert!(started > 0);
        assert_eq!(said, 2 * started, "{:#?}", run.story());
        assert_eq!(run.result.report, ReportEnd::Complete);
    }

    #[tokio::test(start_paused = true)]
    async fn a_blocked_one_makes_no_finished_host_look_unfinished() {
        let scripts = (0..8).map(|_| Act::SayThen("a", Box::new(ok_after(100))));
        let run = rehearse(scripts).deadline(1_000).reader(Reader::AsleepFor(20_000)).run().await;
        let Tally { ok, never_started, .. } = run.result.tally;
        assert!(ok > 0);
        assert_eq!(ok + never_started, 8, "{:?}", run.result.tally);
        let took = run.events.iter().filter_map(|event| match &event.what {
            What::HostFinished { took, .. } => Some(took.as_millis()),
            _ => None,
        });
        assert!(took.clone().count() == ok && took.clone().all(|took| took == 100), "{:?}", took.collect::<Vec<_>>());
    }

    #[tokio::test(start_paused = true)]
    async fn behind_a_blocked_one_only_those_who_run_are_named_as_running() {
        let run = rehearse([ok_after(100), Act::Hang(Duration::ZERO)])
            .plan(|plan| plan.notices = vec!["enough to fill the channel".into(); REPORT - 2])
            .reader(Reader::AsleepFor(20_000))
            .signal(1_000, Signal::Interrupt)
            .run()
            .await;
        assert!(run.story().contains(&"1000 interrupt running [1] waiting 0".into()), "{:#?}", run.story());
    }

    #[tokio::test(start_paused = true)]
    async fn when_it_ends_the_run_ends() {
        let hosts = || [ok_after(10), ok_after(20), Act::Hang(Duration::from_secs(1)), ok_after(60_000)];
        for events in 0..5 {
            let run = rehearse(hosts()).fanout(2).reader(Reader::Leaves(events)).run().await;
            assert_eq!(run.result.stop, Some(Stop::ReportLost));
            assert_eq!(run.result.report, ReportEnd::Lost);
            assert_eq!(run.result.exit_code(), exit_code::FAULT);
            assert!(run.milliseconds() < 2_000, "{} ms after {events} events", run.milliseconds());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn its_end_is_heard_while_all_hosts_are_silent() {
        let run = rehearse([Act::Hang(Duration::ZERO)]).reader(Reader::Leaves(2)).run().await;
        assert_eq!(run.milliseconds(), 0);
        assert_eq!(run.result.tally, Tally { cancelled: 1, ..Tally::default() });
    }

    #[tokio::test(start_paused = true)]
    async fn a_blocked_one_can_be_left_when_all_hosts_are_done() {
        let run = rehearse((0..10).map(|_| ok_after(0)))
            .fanout(1)
            .plan(|plan| plan.max_fail = Some(MaxFail::FAIL_FAST))
            .reader(Reader::AsleepFor(60_000))
            .signal(5_000, Signal::Interrupt)
            .signal(5_100, Signal::Terminate)
            .run()
            .await;
        assert_eq!(run.result.report, ReportEnd::CutShort);
        assert_eq!(run.result.stop, Some(Stop::Interrupted));
    }
}

mod threads {
    use super::*;
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, channel};
    use tokio::sync::Notify;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn promises_hold_when_units_run_beside_the_dispatcher() {
        let run = rehearse((0..500).map(|host| if host % 50 == 0 { fails_after(0) } else { Act::Say(20) }))
            .fanout(32)
            .run()
            .await;
        assert_eq!(run.result.tally, Tally { ok: 490, failed: 10, ..Tally::default() });
        assert_eq!(run.story().iter().filter(|line| line.contains(" output ")).count(), 490 * 20);
    }

    /// Says that it was begun, and blocks its thread until it is let go.
    struct Blocking {
        begun: Notify,
        let_go: Mutex<Receiver<()>>,
    }

    impl Work for Blocking {
        async fn attempt(&self, _: Unit) -> Ended {
            self.begun.notify_one();
            // Fails when the sender is dropped, which lets it go.
            let _ = self.let_go.lock().expect("nobody panics").recv();
            Ended::Done(Outcome::Ok)
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_unit_that_blocks_its_thread_does_not_hold_the_end_at_once() {
        let (release, let_go) = channel();
        let work = Arc::new(Blocking { begun: Notify::new(), let_go: Mutex::new(let_go) });
        let plan = Plan::new("run", "x", Roster::new(vec![HostName::new("h0").expect("a good name")]));
        let (sender, mut receiver) = mpsc::channel(100);
        let signals = futures::stream::once(work.begun.notified())
            .flat_map(|()| futures::stream::iter([Signal::Interrupt, Signal::Interrupt]))
            .chain(futures::stream::pending());
        let result = run(plan, Arc::clone(&work), sender, signals).await;
        drop(release);
        assert_eq!(result.stop, Some(Stop::Interrupted));
        assert_eq!(result.tally, Tally { cancelled: 1, ..Tally::default() });
        assert_eq!(result.report, ReportEnd::Complete);
        let mut last = None;
        while let Some(event) = receiver.recv().await {
            last = Some(event.what);
        }
        assert!(matches!(last, Some(What::RunFinished { .. })), "{last:?}");
    }
}

mod promises {
    use super::*;
    use proptest::prelude::*;

    fn act() -> impl Strategy<Value = Act> {
        let end = 0u64..3_000;
        prop_oneof![
            6 => end.clone().prop_map(ok_after),
            3 => end.clone().prop_map(fails_after),
            3 => end.clone().prop_map(again_after),
            1 => end.prop_map(|after| Act::End(Duration::from_millis(after), Outcome::Unreachable(reset()))),
            2 => (0usize..200).prop_map(Act::Say),
            1 => Just(Act::Panic("a scripted panic")),
            1 => Just(Act::Haunt),
            1 => (0u64..9_000).prop_map(|end| Act::Hang(Duration::from_millis(end))),
            1 => Just(Act::SayThen("last words", Box::new(Act::Deaf))),
        ]
    }

    fn reader() -> impl Strategy<Value = Reader> {
        prop_oneof![
            4 => Just(Reader::Quick),
            2 => (0u64..100).prop_map(Reader::Slow),
            1 => (0u64..20_000).prop_map(Reader::AsleepFor),
            1 => (0usize..60).prop_map(Reader::Leaves),
        ]
    }

    fn signal() -> impl Strategy<Value = Signal> {
        prop_oneof![Just(Signal::Interrupt), Just(Signal::Terminate), Just(Signal::Hangup)]
    }

    fn rehearsal() -> impl Strategy<Value = Rehearsal> {
        let knobs = (
            1usize..12,
            proptest::option::of(prop_oneof![Just("1"), Just("1,3"), Just("30%,100%")]),
            proptest::option::of(prop_oneof![Just("0"), Just("3"), Just("20%"), Just("100%")]),
            proptest::option::of(0u64..10_000),
            0u32..4,
            0u64..2_000,
        );
        let scripts = proptest::collection::vec(proptest::collection::vec(act(), 1..4), 0..25);
        let signals = proptest::collection::vec((0u64..10_000, signal()), 0..3);
        (scripts, knobs, signals, reader(), any::<u64>()).prop_map(|(scripts, knobs, mut signals, reader, seed)| {
            let (fanout, serial, max_fail, deadline, retries, pause) = knobs;
            // Somebody has to end the run of a host that never ends.
            signals.push((30_000, Signal::Interrupt));
            signals.sort_by_key(|(milliseconds, _)| *milliseconds);
            let mut rehearsal = rehearse(scripts).fanout(fanout).retries(&retries.to_string()).reader(reader);
            rehearsal.signals = signals;
            rehearsal.plan(|plan| {
                plan.serial = serial.map(|spec| spec.parse().expect("a good spec"));
                plan.max_fail = max_fail.map(|limit| limit.parse().expect("a good limit"));
                plan.deadline = deadline.map(Duration::from_millis);
                plan.pause = Duration::from_millis(pause);
                plan.seed = seed;
            })
        })
    }

    impl std::fmt::Debug for Rehearsal {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            let Self { scripts, plan, signals, reader } = self;
            write!(f, "{scripts:?} {plan:?} {signals:?} {reader:?}")
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

        /// `Rehearsal::run` holds every one of them to the promises.
        #[test]
        fn counts_and_order_hold_whatever_happens(rehearsal in rehearsal()) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
            let run = runtime.expect("a runtime").block_on(rehearsal.run());
            prop_assert!(run.milliseconds() <= 60_000, "every run ends: {} ms", run.milliseconds());
        }
    }
}
