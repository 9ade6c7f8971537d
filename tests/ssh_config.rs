//! ssh_config held to `ssh -G` of the installed OpenSSH: hand-written cases (`tests/ssh_config/*.case`: drop in a file, get a
//! case) and a generated corpus. Where there is no ssh the expectations written in the cases still count.

// Helpers of a test may do what tests may.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bugle::ssh_config::{Account, Files, KEYWORDS, Layer, OfferedAlgorithms, Request, Sources, SshConfig, Support};

#[path = "ssh_config/corpus.rs"]
mod corpus;

/// One question to a configuration.
#[derive(Clone, Debug, Default)]
struct Question {
    host: String,
    user: Option<String>,
    options: Vec<String>,
    command: Option<String>,
}

/// The lines of an answer, by keyword; or that there is none.
type Answer = Result<BTreeMap<String, Vec<String>>, String>;

/// A directory with the files of one configuration.
struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new(files: &[(String, String)]) -> Self {
        let place = Self { directory: tempfile::tempdir().unwrap() };
        fs::create_dir_all(place.home().join(".ssh")).unwrap();
        for (name, text) in files {
            let path = place.path(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text.replace("@DIR@", &place.directory.path().display().to_string())).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn home(&self) -> PathBuf {
        self.path("home")
    }

    fn environment(&self) -> BTreeMap<String, String> {
        let home = self.home().display().to_string();
        [
            ("HOME", home.as_str()),
            ("SHELL", "/bin/sh"),
            ("PATH", "/usr/bin:/bin"),
            ("FLAVOUR", "blue"),
            ("FLAVOUR_PATH", "/dev/null"),
            ("EMPTY", ""),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    fn ours(&self, question: &Question) -> Answer {
        let account = Account { environment: self.environment(), shell: "/bin/sh".into(), ..Account::current() };
        let load = || {
            let options = question.options.iter().map(String::as_str);
            let command_line = Layer::new().options("command line -o", options, &account)?;
            let mut sources = Sources::new(Files::Only(self.path("config")), account.clone());
            sources.command_line = command_line;
            let config = SshConfig::load(sources)?;
            config.resolve(&Request {
                user: question.user.as_deref(),
                command: question.command.as_deref(),
                ..Request::new(&question.host)
            })
        };
        let effective = load().map_err(|error| error.to_string())?;
        Ok(by_keyword(
            &effective.lines(&OfferedAlgorithms::default()).iter().map(|line| format!("{line}\n")).collect::<String>(),
        ))
    }

    fn theirs(&self, question: &Question) -> Answer {
        let mut ssh = Command::new("ssh");
        ssh.arg("-F").arg(self.path("config")).arg("-G").env_clear().envs(self.environment());
        for option in &question.options {
            ssh.arg("-o").arg(option);
        }
        if let Some(user) = &question.user {
            ssh.arg("-l").arg(user);
        }
        ssh.arg("--").arg(&question.host).args(&question.command).stdin(Stdio::null());
        let output = ssh.output().unwrap();
        match output.status.success() {
            true => Ok(by_keyword(&String::from_utf8_lossy(&output.stdout))),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }
}

fn by_keyword(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut lines: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in text.lines() {
        let (keyword, value) = line.split_once(' ').unwrap_or((line, ""));
        lines.entry(keyword.to_ascii_lowercase()).or_default().push(value.to_owned());
    }
    lines
}

/// The installed OpenSSH as (major, minor); none, said once, where there is none.
fn installed() -> Option<(u32, u32)> {
    static VERSION: OnceLock<Option<(u32, u32)>> = OnceLock::new();
    *VERSION.get_or_init(|| {
        let version = Command::new("ssh").arg("-V").output().ok().and_then(|output| {
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            let (major, minor) = text.strip_prefix("OpenSSH_")?.split_once('.')?;
            Some((major.parse().ok()?, minor.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?))
        });
        if version.is_none() {
            eprintln!("skipped: no ssh to compare with");
        }
        version
    })
}

/// What depends on how an OpenSSH was built rather than on the configuration.
const BUILD: &[&str] = &[
    "gssapikeyexchange",
    "gssapitrustdns",
    "gssapirenewalforcesrekey",
    "gssapikexalgorithms",
    "gssapiauthentication",
    "gssapidelegatecredentials",
    "ipqos",
    "xauthlocation",
    "securitykeyprovider",
    "pkcs11provider",
];
/// What the installed OpenSSH may be too old to print.
const RECENT: &[&str] =
    &["tag", "channeltimeout", "warnweakcrypto", "obscurekeystroketiming", "versionaddendum", "revokedhostkeys"];
/// Lists whose defaults differ from release to release: compared where the configuration sets them whole.
const LISTS: &[&str] = &[
    "ciphers",
    "macs",
    "kexalgorithms",
    "hostkeyalgorithms",
    "pubkeyacceptedalgorithms",
    "casignaturealgorithms",
    "hostbasedacceptedalgorithms",
];

/// What differs between two answers; empty if nothing does.
fn difference(ours: &Answer, theirs: &Answer) -> String {
    let (ours, theirs) = match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => (ours, theirs),
        (Err(_), Err(_)) => return String::new(),
        (Ok(_), Err(error)) => return format!("ssh refuses, bugle does not:\n{error}"),
        (Err(error), Ok(_)) => return format!("bugle refuses, ssh does not:\n{error}"),
    };
    let mut text = String::new();
    let keywords: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    let nothing = Vec::new();
    for keyword in keywords {
        let (mut mine, mut other) =
            (ours.get(keyword).unwrap_or(&nothing).clone(), theirs.get(keyword).unwrap_or(&nothing).clone());
        let skipped = match keyword.as_str() {
            keyword if BUILD.contains(&keyword) => true,
            keyword if RECENT.contains(&keyword) => other.is_empty(),
            keyword if LISTS.contains(&keyword) => {
                mine.is_empty() || mine[0].starts_with(['+', '-', '^']) || mine[0].contains(['*', '?'])
            }
            // The default files differ from release to release.
            "identityfile" => mine.iter().any(|file| file == "~/.ssh/id_ecdsa_sk"),
            // Debian's own: batch mode means a keepalive of five minutes, and X11 is trusted.
            "serveraliveinterval" => other == ["300"] && ours["batchmode"] == ["yes"],
            // Printed although it is not in force.
            "forwardagent" => mine == ["no"] && other.len() == 1,
            "forwardx11trusted" => other == ["yes"] && mine == ["no"],
            _ => false,
        };
        if skipped {
            continue;
        }
        match keyword.as_str() {
            // The old name of the same level.
            "loglevel" if other == ["SILENT"] => other = vec!["QUIET".to_owned()],
            // ssh -G lists forwardings to a socket here as well.
            "dynamicforward" => {
                let to_sockets = ours.get("localforward").into_iter().flatten().filter_map(|line| {
                    let (listen, connect) = line.split_once(' ')?;
                    connect.starts_with('/').then_some(listen)
                });
                for listen in to_sockets {
                    if let Some(at) = other.iter().position(|line| line == listen) {
                        other.remove(at);
                    }
                }
            }
            _ => {}
        }
        // The second pass repeats what it adds to lists.
        if keyword == "sendenv" {
            for list in [&mut mine, &mut other] {
                list.sort();
                list.dedup();
            }
        }
        if mine != other {
            let _ = writeln!(text, "{keyword}: bugle {mine:?}, ssh {other:?}");
        }
    }
    text
}

/// A hand-written case: files, and questions with what is expected of the answers.
///
/// `#@ NAME` begins another file, `#? [-o OPTION]… [-l USER] HOST [COMMAND]` asks, `#> keyword value` is a line of the answer, `#> !keyword`
/// says that the keyword has no line, `#> error: TEXT` expects a refusal that says TEXT, `#since MAJOR.MINOR` compares with ssh from
/// that release on only, and `#ours` never. `@DIR@` is the directory of the files.
struct Case {
    files: Vec<(String, String)>,
    questions: Vec<(Question, Vec<String>)>,
    since: (u32, u32),
}

impl Case {
    fn read(text: &str) -> Self {
        let mut case = Self { files: vec![("config".into(), String::new())], questions: Vec::new(), since: (0, 0) };
        for line in text.split_inclusive('\n') {
            let trimmed = line.trim_end();
            if let Some(name) = trimmed.strip_prefix("#@ ") {
                case.files.push((name.to_owned(), String::new()));
            } else if let Some(question) = trimmed.strip_prefix("#? ") {
                let mut parsed = Question::default();
                let mut words = question.split(' ');
                while let Some(word) = words.next() {
                    match word {
                        "-o" => parsed.options.push(words.next().unwrap().to_owned()),
                        "-l" => parsed.user = Some(words.next().unwrap().to_owned()),
                        host => {
                            parsed.host = host.to_owned();
                            let command: Vec<&str> = words.by_ref().collect();
                            parsed.command = (!command.is_empty()).then(|| command.join(" "));
                        }
                    }
                }
                case.questions.push((parsed, Vec::new()));
            } else if let Some(expected) = trimmed.strip_prefix("#> ") {
                case.questions.last_mut().unwrap().1.push(expected.to_owned());
            } else if let Some(version) = trimmed.strip_prefix("#since ") {
                let (major, minor) = version.split_once('.').unwrap();
                case.since = (major.parse().unwrap(), minor.parse().unwrap());
            } else if trimmed == "#ours" {
                case.since = (u32::MAX, 0);
            } else {
                case.files.last_mut().unwrap().1.push_str(line);
            }
        }
        case
    }

    fn failures(&self) -> String {
        let place = Place::new(&self.files);
        let mut text = String::new();
        for (question, expected) in &self.questions {
            let ours = place.ours(question);
            for line in expected {
                let line = line.replace("__LOCAL__", &Account::current().user);
                if !meets(&ours, &line) {
                    let _ = writeln!(text, "{question:?}: expected `{line}` of {ours:#?}");
                }
            }
            if installed().is_some_and(|version| version >= self.since) {
                let difference = difference(&ours, &place.theirs(question));
                if !difference.is_empty() {
                    let _ = writeln!(text, "{question:?}: {difference}");
                }
            }
        }
        text
    }
}

fn meets(answer: &Answer, expected: &str) -> bool {
    match (answer, expected.strip_prefix("error: ")) {
        (Err(error), Some(text)) => error.contains(text),
        (Ok(lines), None) => match expected.strip_prefix('!') {
            Some(keyword) => !lines.contains_key(keyword),
            None => {
                let (keyword, value) = expected.split_once(' ').unwrap();
                lines.get(keyword).is_some_and(|values| values.iter().any(|known| known == value))
            }
        },
        _ => false,
    }
}

#[test]
fn every_case_file_holds_and_agrees_with_ssh() {
    let mut paths: Vec<PathBuf> = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ssh_config"))
        .or_else(|_| fs::read_dir(Path::new(file!()).with_extension("")))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "case"))
        .collect();
    paths.sort();
    assert!(paths.len() >= 20, "only {} cases", paths.len());
    let mut failures = String::new();
    for path in paths {
        let case = Case::read(&fs::read_to_string(&path).unwrap());
        assert!(!case.questions.is_empty(), "{} asks nothing", path.display());
        let text = case.failures();
        if !text.is_empty() {
            let _ = writeln!(failures, "{}\n{text}", path.display());
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn generated_configurations_agree_with_ssh() {
    if installed().is_none() {
        return;
    }
    let count = std::env::var("BUGLE_CORPUS").ok().and_then(|count| count.parse().ok()).unwrap_or(520);
    let next = AtomicUsize::new(0);
    let (asked, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let failures: Vec<String> = std::thread::scope(|scope| {
        let worker = || {
            let mut failures = Vec::new();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= count {
                    return failures;
                }
                let (files, questions) = corpus::generate(seed as u64);
                let place = Place::new(&files);
                for question in questions {
                    let (ours, theirs) = (place.ours(&question), place.theirs(&question));
                    asked.fetch_add(1, Ordering::Relaxed);
                    refused.fetch_add(usize::from(theirs.is_err()), Ordering::Relaxed);
                    let difference = difference(&ours, &theirs);
                    if !difference.is_empty() {
                        failures.push(format!("seed {seed}, {question:?}\n{difference}{files:#?}"));
                    }
                }
            }
        };
        let workers: Vec<_> = (0..4).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    let (asked, refused) = (asked.into_inner(), refused.into_inner());
    assert!(
        failures.is_empty(),
        "{} of {asked} answers differ, the first ones:\n{}",
        failures.len(),
        failures[..failures.len().min(3)].join("\n").replace("\\n", "\n    ")
    );
    // The corpus would prove nothing if it were all mistakes, or none.
    assert!(refused * 20 > asked && refused * 2 < asked, "{refused} of {asked} are refused");
}

fn load(text: &[u8]) -> Result<SshConfig, bugle::ssh_config::SshConfigError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config");
    fs::write(&path, text).unwrap();
    SshConfig::load(Sources::new(Files::Only(path), Account::current()))
}

#[test]
fn no_bytes_make_the_parser_panic() {
    let mut random = corpus::Random::new(7);
    for round in 0..400 {
        let (files, _) = corpus::generate(10_000 + round);
        let mut bytes = files[0].1.clone().into_bytes();
        for _ in 0..random.below(30) {
            let at = random.below(bytes.len().max(1));
            match random.below(3) {
                0 => bytes.insert(at.min(bytes.len()), random.below(256) as u8),
                1 if at < bytes.len() => bytes[at] = b"\"\\=%${[\0\xff\n"[random.below(10)],
                _ => bytes.truncate(at),
            }
        }
        if let Ok(config) = load(&bytes) {
            let _ = config.resolve(&Request::new("web1"));
        }
    }
}

#[test]
fn ten_thousand_hosts_resolve_quickly_over_two_hundred_blocks() {
    let mut text = String::new();
    for block in 0..200 {
        let _ = writeln!(
            text,
            "Host rack{block}-* db{block} !rack{block}-9\n  User u{block}\n  IdentityFile ~/.ssh/k{block}"
        );
    }
    text += "Host *\n  ServerAliveInterval 30\n  UserKnownHostsFile ~/.ssh/known\n";
    let config = load(text.as_bytes()).unwrap();
    let names: Vec<String> = (0..10_000).map(|host| format!("rack{}-{host}", host % 200)).collect();
    let start = Instant::now();
    let mut shared = BTreeSet::new();
    for name in &names {
        let effective = config.resolve(&Request::new(name)).unwrap();
        shared.insert(std::sync::Arc::as_ptr(&effective.options) as usize);
    }
    // Generous for an unoptimised build on a busy machine; optimised it is some tens of milliseconds.
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    eprintln!("10,000 hosts over 200 blocks: {:?}", start.elapsed());
    assert!(shared.len() <= 201, "options are shared between hosts: {}", shared.len());
}

#[test]
fn every_problem_is_reported_with_place_line_and_suggestion() {
    let text = "Host a\n  StrictHostKeyChcking yes\n  Port 70000\nHost b\n  StrictHostKeyChecking acept-new\n  User \"x\n  Ciphers aes128-crt\n";
    let error = load(text.as_bytes()).unwrap_err();
    let shown = error.to_string();
    let places: Vec<(String, usize)> = error
        .problems()
        .iter()
        .map(|problem| (problem.origin.to_string().rsplit('/').next().unwrap().to_owned(), problem.column))
        .collect();
    let expected = [("config:2", 3), ("config:3", 8), ("config:5", 25), ("config:6", 8), ("config:7", 11)];
    assert_eq!(places, expected.map(|(place, column)| (place.to_owned(), column)), "{shown}");
    for words in
        ["`StrictHostKeyChecking`?", "did you mean `accept-new`?", "`aes128-ctr`?", "  Port 70000", "1 to 65535"]
    {
        assert!(shown.contains(words), "{words} is missing:\n{shown}");
    }
}

#[test]
fn a_file_that_others_may_write_is_refused_with_its_mode() {
    let directory = tempfile::tempdir().unwrap();
    let user = directory.path().join("config");
    fs::write(&user, "User x\n").unwrap();
    let system = directory.path().join("none");
    let files = Files::Standard { user: user.clone(), system };
    for (mode, refused) in [(0o600, false), (0o644, false), (0o660, true), (0o606, true)] {
        fs::set_permissions(&user, fs::Permissions::from_mode(mode)).unwrap();
        let loaded = SshConfig::load(Sources::new(files.clone(), Account::current()));
        match loaded {
            Ok(_) => assert!(!refused, "{mode:o}"),
            Err(error) => {
                assert!(refused, "{mode:o}");
                let text = error.to_string();
                assert!(text.contains("bad owner or permissions") && text.contains(&format!("{mode:04o}")), "{text}");
            }
        }
    }
    // Named by -F it is the user's own choice.
    assert!(SshConfig::load(Sources::new(Files::Only(user.clone()), Account::current())).is_ok());
    let including = directory.path().join("including");
    fs::write(&including, format!("Include {}\n", user.display())).unwrap();
    let error = SshConfig::load(Sources::new(Files::Only(including), Account::current())).unwrap_err();
    assert!(error.to_string().contains("bad owner or permissions"), "{error}");
}

#[test]
fn a_missing_file_matters_only_where_it_was_named() {
    let missing = PathBuf::from("/no/such/file");
    let standard = Files::Standard { user: missing.clone(), system: missing.clone() };
    assert!(SshConfig::load(Sources::new(standard, Account::current())).is_ok());
    assert!(SshConfig::load(Sources::new(Files::Only(missing), Account::current())).is_err());
    assert!(SshConfig::load(Sources::new(Files::Nothing, Account::current())).is_ok());
}

#[test]
fn the_documentation_lists_every_keyword_as_the_table_has_it() {
    let text = include_str!("../docs/ssh_config.md");
    let rows: BTreeMap<&str, &str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
        .map(|(name, rest)| (name, rest.split(" |").next().unwrap_or_default()))
        .collect();
    let mut missing = String::new();
    let mut table: Vec<_> = KEYWORDS.iter().collect();
    table.sort_by_key(|row| row.name.to_ascii_lowercase());
    for row in table {
        if rows.get(row.name) != Some(&row.support.word()) {
            let _ = writeln!(missing, "| `{}` | {} | {} |", row.name, row.support.word(), row.note);
        }
    }
    assert!(missing.is_empty(), "docs/ssh_config.md lacks:\n{missing}");
    assert_eq!(rows.len(), KEYWORDS.len(), "docs/ssh_config.md lists keywords that the table does not have");
    assert!(KEYWORDS.iter().any(|row| row.support == Support::Ignored));
}
