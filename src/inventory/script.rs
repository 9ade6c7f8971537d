//! Inventories that are programs: `PROGRAM --list`, and `PROGRAM --host NAME` where its answer has no `_meta`.
//!
//! A program gets no standard input, a process group of its own, and a time limit after which the whole group is killed.

use super::Options;
use super::builder::{Builder, Text};
use super::groups;
use super::problem::{Fault, Problem};
use crate::yaml::{self, Data, Document, Node, Place};
use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, atomic::AtomicUsize, atomic::Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A program may print this much.
const MOST_OUTPUT: u64 = 1 << 30;
/// So many lines of what a failing program said are shown.
const LINES_SHOWN: usize = 20;
/// So many programs run at once where each host is asked for by itself.
const PARALLEL_CALLS: usize = 8;

/// Adds what a program says to the inventory.
pub(super) fn read(builder: &mut Builder, path: &Path, options: &Options) {
    let name = path.to_string_lossy();
    let list = match call(path, &["--list"], options.script_timeout) {
        Ok(list) => list,
        Err(fault) => {
            let hint = format!("run it by hand: {name} --list");
            builder.report(Problem::error(&name, fault).hint(hint));
            return;
        }
    };
    let label = format!("{name} --list");
    let text = Text { file: &label, content: &list.text, number: builder.add_file(&label) };
    groups::report_duplicates(builder, &list.document, &text);
    let (meta, hosts) = groups::read_list(builder, &list.document.root, &text);
    let Some(meta) = meta else {
        read_each_host(builder, path, &hosts, options);
        return;
    };
    let Some(variables) = meta.as_mapping() else {
        builder.report(groups::wrong_kind(&text, meta, "`hostvars`", "an object"));
        return;
    };
    let by_host: std::collections::HashMap<&str, &Node> =
        variables.iter().filter_map(|(host, values)| Some((host.as_str()?, values))).collect();
    for host in &hosts {
        if let Some(values) = by_host.get(host.as_str()) {
            groups::set_host_variables(builder, host, values, &text);
        }
    }
}

/// Asks for the variables of every host, several at a time; the answers are taken in the order of the hosts.
fn read_each_host(builder: &mut Builder, path: &Path, hosts: &[String], options: &Options) {
    let name = path.to_string_lossy();
    if hosts.len() > 1 {
        let problem = Problem::warning(&name, Fault::NoMeta(hosts.len()));
        builder.report(problem.hint("let `--list` print `_meta: {hostvars: …}` too"));
    }
    let next = AtomicUsize::new(0);
    let failed = std::sync::atomic::AtomicBool::new(false);
    let answers: Mutex<Vec<(usize, Result<Answer, Fault>)>> = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..PARALLEL_CALLS.min(hosts.len()) {
            scope.spawn(|| {
                while !failed.load(Ordering::Relaxed) {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(host) = hosts.get(index) else { break };
                    let answer = call(path, &["--host", host], options.script_timeout);
                    failed.fetch_or(answer.is_err(), Ordering::Relaxed);
                    if let Ok(mut answers) = answers.lock() {
                        answers.push((index, answer));
                    }
                }
            });
        }
    });
    let mut answers = answers.into_inner().unwrap_or_default();
    answers.sort_by_key(|(index, _)| *index);
    for (index, answer) in answers {
        match answer {
            Ok(answer) => {
                let label = format!("{name} --host {}", hosts[index]);
                let text = Text { file: &label, content: &answer.text, number: builder.add_file(&label) };
                groups::set_host_variables(builder, &hosts[index], &answer.document.root, &text);
            }
            Err(fault) => builder.report(Problem::error(&name, fault)),
        }
    }
}

/// What a program printed.
struct Answer {
    text: String,
    document: Document,
}

fn call(path: &Path, arguments: &[&str], limit: Duration) -> Result<Answer, Fault> {
    let call = arguments.join(" ");
    let finished = run(path, arguments, limit).map_err(|error| match error {
        RunError::Start(error) => Fault::NotStarted(error.to_string()),
        RunError::TimedOut => Fault::TimedOut { call: call.clone(), seconds: limit.as_secs() },
    })?;
    let stderr = last_lines(&finished.stderr);
    if !finished.status.success() {
        return Err(Fault::ScriptFailed { call, status: describe(finished.status), stderr });
    }
    let not_json = |reason: String| Fault::NotJson { call: call.clone(), reason, stderr: stderr.clone() };
    if finished.stdout.len() as u64 > MOST_OUTPUT {
        return Err(not_json(format!("it printed more than {MOST_OUTPUT} bytes")));
    }
    let text =
        String::from_utf8(finished.stdout).map_err(|_| not_json("it printed bytes that are not UTF-8".into()))?;
    if text.trim().is_empty() {
        if arguments[0] == "--list" {
            return Err(not_json("it printed nothing".into()));
        }
        let root = Node { data: Data::Mapping([].into()), place: Place::default() };
        return Ok(Answer { text, document: Document { root, duplicates: Vec::new() } });
    }
    match yaml::parse_json(&text, "stdout") {
        Ok(document) => Ok(Answer { text, document }),
        Err(error) => {
            let excerpt = error.shown.trim().chars().take(120).collect::<String>();
            Err(not_json(format!("line {}: {}: {}", error.place.line, error.fault, excerpt.escape_debug())))
        }
    }
}

struct Finished {
    status: ExitStatus,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

enum RunError {
    Start(std::io::Error),
    TimedOut,
}

enum Part {
    Stdout(Vec<u8>),
    Stderr(Vec<u8>),
    Status(std::io::Result<ExitStatus>),
}

fn run(path: &Path, arguments: &[&str], limit: Duration) -> Result<Finished, RunError> {
    // Without a directory the name would be looked for in PATH.
    let program = std::path::absolute(path).map_err(RunError::Start)?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(RunError::Start)?;
    let deadline = Instant::now() + limit;
    let group = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    let (sender, parts) = channel();
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    collect(stdout, sender.clone(), Part::Stdout);
    collect(stderr, sender.clone(), Part::Stderr);
    thread::spawn(move || sender.send(Part::Status(child.wait())));
    let (mut status, mut stdout, mut stderr) = (None, None, None);
    while status.is_none() || stdout.is_none() || stderr.is_none() {
        match parts.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(Part::Stdout(bytes)) => stdout = Some(bytes),
            Ok(Part::Stderr(bytes)) => stderr = Some(bytes),
            Ok(Part::Status(result)) => status = Some(result.map_err(RunError::Start)?),
            Err(_) => {
                // Whoever still holds the pipes is in the group, also after the program itself has ended.
                if let Some(group) = group {
                    let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
                }
                return Err(RunError::TimedOut);
            }
        }
    }
    match (status, stdout, stderr) {
        (Some(status), Some(stdout), Some(stderr)) => Ok(Finished { status, stdout, stderr }),
        _ => Err(RunError::TimedOut),
    }
}

fn collect(pipe: Option<impl Read + Send + 'static>, sender: Sender<Part>, part: fn(Vec<u8>) -> Part) {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(pipe) = pipe {
            let mut limited = pipe.take(MOST_OUTPUT + 1);
            // A broken pipe ends the output; the exit status says what happened.
            let _ = limited.read_to_end(&mut bytes);
        }
        let _ = sender.send(part(bytes));
    });
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an unknown status".into(),
    }
}

/// The last lines of what a program said, control characters made visible.
fn last_lines(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.trim_end().lines().collect();
    let shown = &lines[lines.len().saturating_sub(LINES_SHOWN)..];
    let visible = |c: char| if c.is_control() && c != '\t' { char::REPLACEMENT_CHARACTER } else { c };
    shown.iter().map(|line| line.chars().map(visible).collect::<String>()).collect::<Vec<_>>().join("\n")
}
