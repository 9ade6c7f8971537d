//! Whole runs through the report: what stands on stdout, on stderr and in files, and what it costs.
//!
//! `tests/report/cases` holds a file a case: drop in a file, get a case. With `UPDATE_EXPECTED=1` the expectations are
//! written anew, to be read before they are kept.

#![expect(clippy::unwrap_used, reason = "a step that fails fails its test")]

#[path = "report/script.rs"]
mod script;

use bugle::event::{Event, Stream, What};
use bugle::host::HostId;
use bugle::outcome::{Code, Outcome};
use bugle::report::{FileTarget, OutputMode, Report, ReportError, SCHEMA, Settings, Sinks, Terminal, Terminals, spawn};
use proptest::prelude::*;
use script::{Desk, Script, parse};
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

fn in_repository(path: &str) -> PathBuf {
    Path::new(file!()).parent().unwrap().join("..").join(path)
}

#[test]
fn every_case_file_comes_out_as_it_says() {
    let directory = in_repository("tests/report/cases");
    let mut files: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "the cases are found");
    let mut wrong = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let case = text.split_once("=== stdout\n").map_or(text.as_str(), |(case, _)| case);
        let (settings, script) = parse(case);
        let desk = script.show(settings);
        let actual =
            format!("{case}=== stdout\n{}=== stderr\n{}", legible(&desk.stdout.bytes()), legible(&desk.stderr.bytes()));
        if actual != text {
            if std::env::var_os("UPDATE_EXPECTED").is_some() {
                fs::write(&file, &actual).unwrap();
            }
            wrong.push(format!("{}:\n{actual}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// Bytes as they can stand in a case file.
fn legible(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(&chunk.valid().replace('\r', "<CR>").replace('\x1b', "<ESC>").replace('\x07', "<BEL>"));
        text.extend(chunk.invalid().iter().map(|byte| format!("<{byte:02X}>")));
    }
    text
}

#[test]
fn one_answer_of_five_thousand_hosts_is_shown_once() {
    let mut script = Script::new("n[0001-5000]");
    for host in (0..5000).map(HostId) {
        script.push(What::HostStarted { host });
        script.push(output(host, Stream::Stdout, "same\n"));
        script.finish(host, Outcome::Ok);
    }
    script.end("");
    let desk = script.show(Settings { mode: OutputMode::Group, ..Settings::default() });
    assert_eq!(desk.stdout.text(), "---------------\nn[0001-5000] (5000)\n---------------\nsame\n");
}

#[test]
fn files_hold_every_byte_of_every_host() {
    let directory = tempfile::tempdir().unwrap();
    let mut script = Script::new("a b c");
    script.line("a started");
    script.line("a out \\xff\\x00\\r\\n");
    script.line("a err talk");
    script.line("a out more");
    script.line("b started");
    script.line("b unreachable tcp.refused connection refused");
    script.line("a ok");
    script.end("too_many_failures");
    let settings =
        Settings { mode: OutputMode::None, outdir: Some(directory.path().into()), quiet: true, ..Settings::default() };
    let desk = script.show(settings);
    let read = |name: &str| fs::read(directory.path().join(name)).unwrap();
    assert_eq!(read("a.out"), b"\xff\x00\r\nmore");
    assert_eq!(read("a.err"), b"talk");
    assert_eq!(read("b.out"), b"");
    assert_eq!(read("b.err"), b"");
    assert!(!directory.path().join("c.out").exists(), "a host that was never started has no file");
    assert_eq!(desk.stdout.text(), "");
}

#[test]
fn a_full_disk_under_outdir_is_told_once_and_the_rest_is_still_shown() {
    if !Path::new("/dev/full").exists() {
        eprintln!("skipped: no /dev/full");
        return;
    }
    let mut script = Script::new("a b");
    script.line("a out one\\n");
    script.line("b out two\\n");
    script.line("a ok");
    script.line("b ok");
    script.end("");
    let settings =
        Settings { mode: OutputMode::Stream, json: Some(FileTarget::File("/dev/full".into())), ..Settings::default() };
    let desk = Desk::default();
    let mut report = Report::new(settings, desk.sinks()).unwrap();
    let mut errors = Vec::new();
    for event in script.events {
        errors.extend(report.handle(event).and_then(|()| report.flush()).err());
    }
    report.finish().unwrap();
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].to_string(), "cannot write `/dev/full`");
    let source = std::error::Error::source(&errors[0]).unwrap().downcast_ref::<io::Error>().unwrap();
    assert_eq!(source.kind(), ErrorKind::StorageFull);
    assert_eq!(desk.stdout.text(), "a: one\nb: two\n");
    assert!(desk.stderr.text().contains("2 hosts in 3.2 s: 2 ok"));
}

#[test]
fn places_that_cannot_be_written_are_known_before_the_run() {
    for settings in [
        Settings { json: Some(FileTarget::File("/nonexistent/a.json".into())), ..Settings::default() },
        Settings { junit: Some(FileTarget::File("/nonexistent/a.xml".into())), ..Settings::default() },
        Settings { outdir: Some("/dev/null/a".into()), ..Settings::default() },
    ] {
        let error = Report::new(settings, Desk::default().sinks()).err().expect("an error");
        assert!(matches!(error, ReportError::Create { .. }), "{error}");
        assert!(error.to_string().starts_with("cannot create `/"), "{error}");
    }
}

#[test]
fn a_junit_file_is_complete_well_formed_and_put_in_place_at_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("report.xml");
    let mut script = Script::new("a b c d e f");
    for line in [
        "[a:f] started",
        "a out <b>&\\x1b[31m]]>\\n",
        "a ok",
        "b err bad\\n",
        "b failed status=2 exit.status exit status 2",
        "c unreachable tries=3 tcp.refused connection \"refused\" | start sshd\\non it",
        "d timed_out timeout no end after 10 s",
        "e skipped not wanted",
    ] {
        script.line(line);
    }
    script.end("deadline");
    let mut settings =
        Settings { mode: OutputMode::None, junit: Some(FileTarget::File(path.clone())), ..Settings::default() };
    settings.limits.junit_output = 8;
    let desk = Desk::default();
    let mut report = Report::new(settings, desk.sinks()).unwrap();
    let last = script.events.pop().unwrap();
    for event in script.events {
        report.handle(event).unwrap();
    }
    assert!(!path.exists(), "nobody reads half a report");
    report.handle(last).unwrap();
    report.finish().unwrap();
    let expected = "\
<?xml version=\"1.0\" encoding=\"UTF-8\"?>
<testsuites name=\"bugle\" tests=\"6\" failures=\"2\" errors=\"2\" skipped=\"1\" time=\"3.210\">
<testsuite name=\"bugle run: uptime\" tests=\"6\" failures=\"2\" errors=\"2\" skipped=\"1\" time=\"3.210\">
<testcase classname=\"bugle.run\" name=\"a\" time=\"0.340\"><system-out>&lt;b&gt;&amp;\\x1b[31
[cut after 8 of 13 bytes]</system-out></testcase>
<testcase classname=\"bugle.run\" name=\"b\" time=\"0.340\"><failure type=\"exit.status\" message=\"exit status 2\">exit.status: exit status 2</failure><system-err>bad
</system-err></testcase>
<testcase classname=\"bugle.run\" name=\"c\" time=\"0.340\"><error type=\"tcp.refused\" message=\"connection &#34;refused&#34;\">tcp.refused: connection \"refused\" (after 3 tries)
hint: start sshd
on it</error></testcase>
<testcase classname=\"bugle.run\" name=\"d\" time=\"0.340\"><failure type=\"timeout\" message=\"no end after 10 s\">timeout: no end after 10 s</failure></testcase>
<testcase classname=\"bugle.run\" name=\"e\" time=\"0.340\"><skipped message=\"not wanted\"/></testcase>
<testcase classname=\"bugle.run\" name=\"f\" time=\"0.000\"><error type=\"unfinished\" message=\"the run ended before it\"/></testcase>
</testsuite>
</testsuites>
";
    assert_eq!(fs::read_to_string(&path).unwrap(), expected);
    let names: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["report.xml"], "no temporary file is left");
}

#[test]
fn a_run_that_breaks_off_shows_what_was_gathered() {
    let mut script = Script::new("a b");
    script.line("a started");
    script.line("a out gathered");
    script.line("b started");
    script.line("b unreachable tcp.refused connection refused");
    let desk = script.show(Settings { mode: OutputMode::Group, ..Settings::default() });
    assert_eq!(desk.stdout.text(), "---------------\na: unfinished\n---------------\ngathered\n");
    assert_eq!(desk.stderr.text(), "b: tcp.refused: connection refused\nbroken off: 1 of 2 hosts finished\n");
}

/// What was said on a terminal beside the progress, which is ours and moves the cursor.
fn without_drawings(written: &str) -> String {
    let wiped = written.replace("\r\x1b[2K", "").replace("\x1b[A\x1b[2K", "");
    let mut pieces = wiped.split("\x1b[?7l");
    let first = pieces.next().unwrap().to_owned();
    pieces.fold(first, |said, piece| said + piece.split_once("\x1b[?7h").unwrap().1)
}

#[test]
fn progress_is_drawn_on_a_terminal_only_and_wiped_before_anything_else() {
    let terminal = Terminal { present: true, color: false };
    let run = |settings: Settings| {
        let mut script = Script::new("[a:c]");
        script.line("[a:c] started");
        script.line("a out hello\\n");
        script.line("a ok");
        script.line("b unreachable tcp.refused connection refused");
        let desk = Desk::default();
        let mut report = Report::new(settings, desk.sinks()).unwrap();
        for event in script.events {
            report.handle(event).unwrap();
        }
        report.flush().unwrap();
        report.tick().unwrap();
        report.finish().unwrap();
        desk
    };
    let both = Terminals { stdout: terminal, stderr: terminal, width: 100, height: 24 };
    let settings = Settings { mode: OutputMode::Stream, terminals: both, ..Settings::default() };
    let stderr = run(settings.clone()).stderr.text();
    assert!(stderr.contains("0/3 done, 0 running"), "{stderr:?}");
    assert!(stderr.contains("\r\x1b[2K"), "{stderr:?}");
    assert_eq!(without_drawings(&stderr), "b: tcp.refused: connection refused\nbroken off: 2 of 3 hosts finished\n");
    for silent in [
        Settings { quiet: true, ..settings.clone() },
        Settings { mode: OutputMode::Raw, ..settings.clone() },
        Settings { terminals: Terminals { stdout: terminal, ..Terminals::default() }, ..settings },
    ] {
        let stderr = run(silent).stderr.text();
        assert!(!stderr.contains('\x1b') && !stderr.contains("done"), "{stderr:?}");
    }
}

#[test]
fn a_thousand_half_different_answers_are_grouped_quickly() {
    let common: String =
        (0..500).map(|line| format!("the line with the number {line} is the same on all hosts\n")).collect();
    let mut script = Script::new("n[0001-1000]");
    for host in (0..1000).map(HostId) {
        let own: String =
            (0..500).map(|line| format!("host {} has line {line} of its own, unlike others\n", host.0 / 2)).collect();
        for text in [common.as_str(), own.as_str()] {
            for piece in text.as_bytes().chunks(32 << 10) {
                let bytes = piece.to_vec().into();
                script.push(What::OutputReceived { host, stream: Stream::Stdout, bytes });
            }
        }
        script.finish(host, Outcome::Ok);
    }
    script.end("");
    let began = std::time::Instant::now();
    let desk = script.show(Settings { mode: OutputMode::Group, ..Settings::default() });
    let took = began.elapsed();
    assert_eq!(desk.stdout.text().matches("(2)\n").count(), 500);
    // The aim is 0.3 s of an optimised build; this bound only catches an algorithm that went quadratic.
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn events_of_a_run_are_valid_json_lines_with_the_schema_first() {
    let mut script = Script::new("a b c");
    for line in [
        "batch 1 2 a b",
        "a started",
        "a phase connect 12 10.0.0.1:22",
        "a notice 0 hello",
        "a out gr\\xc3",
        "a out \\xbcn\\n",
        "a err \\xff",
        "a failed status=3 exit.status exit status 3 | look",
        "b retry tcp.refused connection refused",
        "b unreachable tries=2 session.lost lost",
        "interrupt 1 a",
    ] {
        script.line(line);
    }
    script.end("interrupted");
    let desk = script.show(Settings { mode: OutputMode::Json, quiet: true, ..Settings::default() });
    let text = desk.stdout.text();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["schema"], SCHEMA);
    assert_eq!(lines[0]["hosts"], serde_json::json!(["a", "b", "c"]));
    let find = |event: &str| lines.iter().find(|line| line["event"] == event).unwrap_or_else(|| panic!("{event}"));
    assert_eq!(find("host_finished")["failure"]["status"], 3);
    assert_eq!(find("attempt_failed")["retry_in"], 1.5);
    assert_eq!(find("run_finished")["tally"]["never_started"], 1);
    assert_eq!(find("run_finished")["stop"], "interrupted");
    assert_eq!(find("phase_finished")["took"], 0.012);

    let document = fs::read_to_string(in_repository("docs/output.md")).unwrap();
    for (line, number) in lines.iter().zip(1..) {
        let mut fields = BTreeSet::new();
        collect_fields(line, &mut fields);
        let event = line["event"].as_str().unwrap();
        assert!(document.contains(&format!("`{event}`")), "docs/output.md does not describe the event {event}");
        for field in fields {
            assert!(document.contains(&format!("`{field}`")), "docs/output.md does not name `{field}` (line {number})");
        }
    }
}

fn collect_fields(value: &serde_json::Value, fields: &mut BTreeSet<String>) {
    if let Some(object) = value.as_object() {
        for (name, value) in object {
            fields.insert(name.clone());
            collect_fields(value, fields);
        }
    }
}

#[test]
fn the_documentation_lists_every_failure_code_and_no_other() {
    let document = fs::read_to_string(in_repository("docs/output.md")).unwrap();
    let (_, table) = document.split_once("## Failure codes").expect("a section on failure codes");
    let table = table.split_once("\n## ").map_or(table, |(table, _)| table);
    let listed: Vec<_> =
        table.lines().filter_map(|line| line.strip_prefix("| `")).filter_map(|line| line.split('`').next()).collect();
    let codes: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(listed, codes);
}

#[test]
fn a_reader_that_goes_away_ends_the_thread_quietly() {
    struct Gone;
    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut script = Script::new("a b");
    script.line("a out hello\\n");
    let desk = Desk::default();
    let sinks = Sinks { stdout: Box::new(Gone), stderr: Box::new(desk.stderr.clone()) };
    let settings = Settings { mode: OutputMode::Stream, ..Settings::default() };
    let (sender, thread) = spawn(Report::new(settings, sinks).unwrap(), 4).unwrap();
    for event in script.events {
        sender.blocking_send(event).unwrap();
    }
    let result = thread.join().unwrap();
    assert!(matches!(result, Err(ReportError::ClosedPipe)), "{result:?}");
    assert!(sender.is_closed(), "the run learns of it");
    assert_eq!(desk.stderr.text(), "");
}

#[test]
fn the_thread_shows_everything_that_was_sent_through_a_narrow_channel() {
    let mut script = Script::new("n[1-200]");
    for host in (0..200).map(HostId) {
        script.push(output(host, Stream::Stdout, "x\n"));
        script.finish(host, Outcome::Ok);
    }
    script.end("");
    let desk = Desk::default();
    let settings = Settings { mode: OutputMode::Stream, ..Settings::default() };
    let (sender, thread) = spawn(Report::new(settings, desk.sinks()).unwrap(), 1).unwrap();
    for event in script.events {
        sender.blocking_send(event).unwrap();
    }
    drop(sender);
    thread.join().unwrap().unwrap();
    assert_eq!(desk.stdout.text().lines().count(), 200);
    assert_eq!(desk.stderr.text(), "200 hosts in 3.2 s: 200 ok\n");
}

fn output(host: HostId, stream: Stream, text: &str) -> What {
    What::OutputReceived { host, stream, bytes: text.to_owned().into() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever hosts send in output, notices and failures, a terminal gets nothing that it obeys.
    #[test]
    fn no_remote_text_reaches_a_terminal_with_its_controls(
        pieces in prop::collection::vec((0u32..3, any::<bool>(), prop::collection::vec(any::<u8>(), 0..40)), 0..12),
        message in any::<String>(),
        mode in prop::sample::select(vec![OutputMode::Stream, OutputMode::Group, OutputMode::Diff, OutputMode::Json]),
    ) {
        let mut script = Script::new("[a:c]");
        for (host, is_error, bytes) in pieces {
            let stream = if is_error { Stream::Stderr } else { Stream::Stdout };
            script.push(What::OutputReceived { host: HostId(host), stream, bytes: bytes.into() });
        }
        script.push(What::Noticed { host: Some(HostId(0)), level: 0, message: message.clone() });
        script.line("a ok");
        script.line("b ok");
        let failure = bugle::outcome::Failure::new(Code::AuthRefused, message.clone()).hint(message);
        script.finish(HostId(2), Outcome::Unreachable(failure));
        script.end("");
        let terminal = Terminal { present: true, color: false };
        let terminals = Terminals { stdout: terminal, stderr: terminal, width: 80, height: 24 };
        let settings = Settings { mode, terminals, quiet: false, ..Settings::default() };
        let desk = Desk::default();
        let mut report = Report::new(settings, desk.sinks()).unwrap();
        for event in script.events {
            report.handle(event).unwrap();
        }
        report.finish().unwrap();
        for text in [desk.stdout.text(), without_drawings(&desk.stderr.text())] {
            let control = text.chars().find(|&c| c.is_control() && c != '\n' && c != '\t');
            prop_assert!(control.is_none(), "{:?} in {:?}", control, text);
        }
    }
}

#[test]
fn dshbak_folds_streamed_lines_as_group_does() {
    let mut script = Script::new("web[01-20]");
    script.line("web[01-18,20] out one\\ntwo\\n");
    script.line("web19 out one\\n");
    script.line("web[01-20] ok");
    script.end("");
    let show = |mode: OutputMode, script: &Script| {
        let desk = Desk::default();
        let mut report = Report::new(Settings { mode, ..Settings::default() }, desk.sinks()).unwrap();
        for event in script.events.clone() {
            report.handle(event).unwrap();
        }
        report.finish().unwrap();
        desk.stdout.bytes()
    };
    let dshbak = Command::new("dshbak").arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut dshbak) = dshbak else {
        eprintln!("skipped: no dshbak");
        return;
    };
    dshbak.stdin.take().unwrap().write_all(&show(OutputMode::Stream, &script)).unwrap();
    let folded = String::from_utf8(dshbak.wait_with_output().unwrap().stdout).unwrap();
    let grouped = String::from_utf8(show(OutputMode::Group, &script)).unwrap();
    // The rule is a dash longer there and hosts are not counted; the groups and their order by size are the same.
    let blocks = |text: &str, rule: &str| -> BTreeSet<String> {
        let lines: Vec<_> = text.lines().filter(|line| *line != rule).collect();
        lines.chunk_by(|_, next| !next.starts_with("web")).map(|block| block.join("\n")).collect()
    };
    let ours = blocks(&grouped, "---------------").iter().map(|block| block.replace(" (19)", "")).collect();
    assert_eq!(blocks(&folded, "----------------"), ours);
}

#[test]
fn events_cost_microseconds() {
    let mut script = Script::new("n[00001-10000]");
    for host in (0..10_000).map(HostId) {
        script.push(What::HostStarted { host });
        script.push(output(host, Stream::Stdout, "up 3 days\n"));
        script.finish(host, Outcome::Ok);
    }
    script.end("");
    let events = script.events.len();
    for mode in [OutputMode::Stream, OutputMode::Group, OutputMode::Json] {
        let desk = Desk::default();
        let mut report = Report::new(Settings { mode, ..Settings::default() }, desk.sinks()).unwrap();
        let began = std::time::Instant::now();
        for event in script.events.iter().map(|event| Event { at: event.at, what: event.what.clone() }) {
            report.handle(event).unwrap();
        }
        report.finish().unwrap();
        let each = began.elapsed() / u32::try_from(events).unwrap();
        eprintln!("{mode}: {each:?} an event");
        assert!(each < Duration::from_micros(100), "{mode}: {each:?}");
    }
}
