//! The pages are true where a machine can tell: every command line in them parses, every link leads somewhere, every verb
//! and option is described, every test and file that they name exists.
//!
//! The tables of keywords, failure codes and targets are held to the code by the tests of those parts.

#![expect(clippy::unwrap_used, reason = "a step that fails fails its test")]

use bugle::connection::algorithms::{CIPHERS, KEX, MACS};
use bugle::exit_code;
use regex::Regex;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const VERBS: [&str; 12] = [
    "run",
    "script",
    "push",
    "pull",
    "keys",
    "known-hosts",
    "agent",
    "hosts",
    "inventory",
    "config",
    "completions",
    "man",
];
/// Verbs that have verbs of their own, and those.
const FAMILIES: [(&str, &[&str]); 3] = [
    ("keys", &["deploy", "revoke", "rotate", "sync", "list", "generate", "show", "passphrase"]),
    ("known-hosts", &["learn", "check", "list", "remove", "import"]),
    ("agent", &["list", "add", "remove"]),
];
/// Characters of a line of prose.
const WIDEST: usize = 132;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

struct Page {
    /// Below the root, such as `docs/run.md`.
    name: String,
    text: String,
}

/// A line of a page and what it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Prose,
    Table,
    /// Code, and whether only lines after `$ ` are commands.
    Code,
    Console,
}

impl Page {
    fn read(path: &Path) -> Self {
        let name = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
        Self { name, text: fs::read_to_string(path).unwrap() }
    }

    /// Every line with its number from 1, fences left out.
    fn lines(&self) -> Vec<(usize, Kind, &str)> {
        let mut fence = None;
        let mut after_blank = true;
        let mut lines = Vec::new();
        for (index, line) in self.text.lines().enumerate() {
            if let Some(language) = line.trim_start().strip_prefix("```") {
                fence = match fence {
                    None => Some(if language == "console" { Kind::Console } else { Kind::Code }),
                    Some(_) => None,
                };
                continue;
            }
            let continues_code = matches!(lines.last(), Some((_, Kind::Code, _)));
            let kind = match fence {
                Some(kind) => kind,
                None if line.starts_with("    ") && (after_blank || continues_code) => Kind::Code,
                None if line.starts_with('|') => Kind::Table,
                None => Kind::Prose,
            };
            after_blank = line.trim().is_empty();
            lines.push((index + 1, kind, line));
        }
        assert!(fence.is_none(), "{}: a fence is not closed", self.name);
        lines
    }

    /// Prose and tables, without code.
    fn words(&self) -> String {
        let lines = self.lines().into_iter().filter(|(_, kind, _)| matches!(kind, Kind::Prose | Kind::Table));
        lines.map(|(_, _, line)| line).collect::<Vec<_>>().join("\n")
    }
}

fn pages() -> Vec<Page> {
    let mut paths = vec![root().join("README.md"), root().join("CHANGELOG.md")];
    let mut directories = vec![root().join("docs")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                paths.push(path);
            }
        }
    }
    paths.sort();
    paths.iter().map(|path| Page::read(path)).collect()
}

fn bugle(arguments: &[String]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bugle"));
    command.args(arguments).env_clear().env("HOME", "/nonexistent").output().unwrap()
}

fn help(arguments: &[&str]) -> String {
    let arguments: Vec<String> = arguments.iter().chain(&["--help"]).map(|&word| word.to_owned()).collect();
    let output = bugle(&arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Whether an option is followed by a value of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    Nothing,
    Value,
    /// A value, unless another option follows.
    Perhaps,
}

/// The options that a help text lists, under each of their names.
fn options(help: &str) -> BTreeMap<String, Takes> {
    let listed = Regex::new(r"(?m)^ +(?:(-\w), )?(--[\w-]+)(?:\.\.\.)?(\[=<| \[<| <)?").unwrap();
    let mut options = BTreeMap::new();
    for found in listed.captures_iter(help) {
        let takes = match found.get(3).map(|value| value.as_str()) {
            Some(" <") => Takes::Value,
            Some(" [<") => Takes::Perhaps,
            _ => Takes::Nothing,
        };
        for name in [found.get(1), found.get(2)].into_iter().flatten() {
            options.insert(name.as_str().to_owned(), takes);
        }
    }
    assert!(options.len() > 10, "the options were found");
    options
}

/// The simple commands of a line of shell, in words; redirections and comments are left out.
fn commands(line: &str) -> Vec<Vec<String>> {
    let mut commands = vec![Vec::new()];
    let mut word: Option<String> = None;
    let mut skip_next = false;
    let mut characters = line.chars().peekable();
    loop {
        let character = characters.next();
        let ends_word = character.is_none_or(|c| c.is_whitespace() || "|;&<>".contains(c));
        if ends_word {
            let is_descriptor =
                matches!(character, Some('<' | '>')) && word.as_deref().is_some_and(|word| word.parse::<u32>().is_ok());
            if let Some(word) = word.take().filter(|_| !is_descriptor)
                && !std::mem::take(&mut skip_next)
            {
                commands.last_mut().unwrap().push(word);
            }
        }
        match character {
            None => break,
            Some('|' | ';' | '&') => commands.push(Vec::new()),
            Some('<' | '>') => skip_next = true,
            Some('#') if word.is_none() => break,
            Some('\'') => word.get_or_insert_default().extend(characters.by_ref().take_while(|&c| c != '\'')),
            Some('"') => {
                let word = word.get_or_insert_default();
                while let Some(c) = characters.next().filter(|&c| c != '"') {
                    match c {
                        '\\' => word.extend(characters.next()),
                        c => word.push(c),
                    }
                }
            }
            Some('\\') => word.get_or_insert_default().extend(characters.next()),
            Some(c) if !c.is_whitespace() => word.get_or_insert_default().push(c),
            Some(_) => {}
        }
    }
    commands.retain(|command| !command.is_empty());
    commands
}

/// The arguments of every call of bugle in a line.
fn calls(line: &str) -> Vec<Vec<String>> {
    let called = commands(line).into_iter().filter_map(|command| {
        let mut words = command.into_iter().skip_while(|word| word.contains('=') && !word.starts_with('-'));
        (words.next()? == "bugle").then(|| words.collect::<Vec<_>>())
    });
    called.filter(|arguments| !arguments.is_empty()).collect()
}

/// Every call that a page shows, with its place.
fn calls_of(page: &Page) -> Vec<(String, Vec<String>)> {
    let mut all = Vec::new();
    for (number, kind, line) in page.lines() {
        let found = match kind {
            Kind::Console => line.strip_prefix("$ ").map(calls).unwrap_or_default(),
            Kind::Code => calls(line.trim_start().trim_start_matches("$ ")),
            Kind::Prose | Kind::Table => {
                line.replace("\\|", "|").split('`').skip(1).step_by(2).flat_map(calls).collect()
            }
        };
        all.extend(found.into_iter().map(|arguments| (format!("{}:{number}", page.name), arguments)));
    }
    all
}

/// The arguments with `--help` where the parser still sees it: after everything that is bugle's own.
fn with_help(arguments: &[String], options: &BTreeMap<String, BTreeMap<String, Takes>>) -> Result<Vec<String>, String> {
    let mut verb: Option<String> = None;
    let mut positional = 0;
    let mut at = 0;
    while at < arguments.len() {
        let word = arguments[at].as_str();
        if word == "--" {
            break;
        }
        if word.starts_with('-') && word != "-" {
            let known = &options[verb.as_deref().unwrap_or_default()];
            // `-vvv` is `-v` said three times.
            let name = if word.starts_with("-v") { "-v" } else { word.split('=').next().unwrap() };
            let takes = known.get(name).ok_or_else(|| format!("there is no option `{name}`"))?;
            let next_is_value = arguments.get(at + 1).is_some_and(|next| !next.starts_with('-') || next == "-");
            let has_value = *takes == Takes::Value || *takes == Takes::Perhaps && next_is_value;
            at += if has_value && !word.contains('=') { 2 } else { 1 };
            continue;
        }
        match verb.as_deref() {
            None if !VERBS.contains(&word) => return Err(format!("there is no verb `{word}`")),
            None => verb = Some(word.to_owned()),
            Some("run" | "script") if positional == 1 => break,
            Some(first) => match FAMILIES.iter().find(|(family, _)| *family == first) {
                Some((_, members)) if !members.contains(&word) => {
                    return Err(format!("there is no verb `{first} {word}`"));
                }
                Some(_) => verb = Some(format!("{first} {word}")),
                None => positional += 1,
            },
        }
        at += 1;
    }
    let at = at.min(arguments.len());
    Ok([&arguments[..at], &["--help".to_owned()], &arguments[at..]].concat())
}

/// The options of every verb, and under no name those that are written before one.
fn known_options() -> BTreeMap<String, BTreeMap<String, Takes>> {
    let mut known: BTreeMap<String, _> = VERBS.iter().map(|&verb| (verb.to_owned(), options(&help(&[verb])))).collect();
    for (family, members) in FAMILIES {
        known.extend(members.iter().map(|member| (format!("{family} {member}"), options(&help(&[family, member])))));
    }
    known.insert(String::new(), options(&help(&[])));
    known
}

/// The verbs that a help text lists.
fn verbs(help: &str) -> Vec<&str> {
    let (_, rest) = help.split_once("Commands:\n").unwrap();
    rest.lines().take_while(|line| !line.is_empty()).filter_map(|line| line.split_whitespace().next()).collect()
}

#[test]
fn every_command_line_in_the_pages_parses() {
    let known = known_options();
    let mut checked = BTreeSet::new();
    let mut faults = Vec::new();
    for (place, arguments) in pages().iter().flat_map(calls_of) {
        let shown = arguments.join(" ");
        match with_help(&arguments, &known) {
            Err(fault) => faults.push(format!("{place}: bugle {shown}: {fault}")),
            Ok(with_help) => {
                if !checked.insert(with_help.clone()) {
                    continue;
                }
                let output = bugle(&with_help);
                if !output.status.success() {
                    faults.push(format!("{place}: bugle {shown}: {}", String::from_utf8_lossy(&output.stderr)));
                }
            }
        }
    }
    assert!(checked.len() > 100, "only {} command lines were found", checked.len());
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_wrong_command_line_would_be_noticed() {
    let known: BTreeMap<String, _> =
        [("run".to_owned(), options(&help(&["run"]))), (String::new(), options(&help(&[])))].into_iter().collect();
    let call = |line: &str| with_help(&calls(line).concat(), &known);
    assert!(call("bugle teleport web a b").unwrap_err().contains("teleport"));
    assert!(call("echo x | bugle run web --fanuot 3 uptime").unwrap_err().contains("--fanuot"));
    let words = call("BUGLE_X=1 bugle run web -l 'a b' -- id -u 3<file # why").unwrap();
    assert_eq!(words, ["run", "web", "-l", "a b", "--help", "--", "id", "-u"]);
    assert!(!bugle(&call("bugle run web --fanout none uptime").unwrap()).status.success());
}

#[test]
fn the_pages_describe_every_verb_and_every_option() {
    let text: String = pages().into_iter().filter(|page| page.name != "CHANGELOG.md").map(|page| page.text).collect();
    let listed = help(&[]);
    assert_eq!(verbs(&listed), [&VERBS[..], &["help"]].concat());
    for (family, members) in FAMILIES {
        assert_eq!(verbs(&help(&[family])), [members, &["help"]].concat());
    }
    for (verb, options) in known_options() {
        assert!(text.contains(&format!("`bugle {verb}")), "no page describes `bugle {verb}`");
        for name in options.into_keys().filter(|name| name.starts_with("--")) {
            let named = Regex::new(&format!(r"{name}(?:[^\w-]|$)")).unwrap();
            assert!(named.is_match(&text), "no page describes {name} of `bugle {verb}`");
        }
    }
}

/// The anchor of a heading, as forges make it.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).collect::<String>();
    kept.replace(' ', "-")
}

#[test]
fn every_link_leads_somewhere() {
    let link = Regex::new(r"\]\(([^)\s]+)\)").unwrap();
    let mut found = 0;
    for page in pages() {
        for target in link.captures_iter(&page.words()).map(|found| found[1].to_owned()) {
            if target.starts_with("http") {
                continue;
            }
            found += 1;
            let (path, place) =
                target.split_once('#').map_or((target.as_str(), None), |(path, place)| (path, Some(place)));
            let directory = root().join(&page.name).parent().unwrap().to_owned();
            let file: PathBuf = if path.is_empty() { root().join(&page.name) } else { directory.join(path) };
            assert!(file.exists(), "{}: {target} is not there", page.name);
            if let Some(place) = place {
                let text = fs::read_to_string(&file).unwrap();
                let mut headings = text.lines().filter(|line| line.starts_with('#'));
                let is_there = headings.any(|line| anchor(line.trim_start_matches('#').trim()) == place);
                assert!(is_there, "{}: {target}: there is no such heading", page.name);
            }
        }
    }
    assert!(found > 40, "only {found} links were found");
}

#[test]
fn lines_of_prose_are_not_too_wide() {
    for page in pages() {
        for (number, kind, line) in page.lines() {
            let width = line.chars().count();
            assert!(kind != Kind::Prose || width <= WIDEST, "{}:{number} has {width} characters", page.name);
        }
    }
}

#[test]
fn files_and_tests_that_are_named_exist() {
    let test = Regex::new(r"^[a-z][a-z0-9]*(_[a-z0-9]+){3,}$").unwrap();
    let file = Regex::new(r"^[\w/.-]+\.rs$").unwrap();
    let mut tests = 0;
    for page in pages() {
        for paragraph in page.words().split("\n\n").flat_map(|part| part.split("\n|")) {
            let mut waiting: Vec<&str> = Vec::new();
            for span in paragraph.split('`').skip(1).step_by(2) {
                if test.is_match(span) && !span.starts_with("ansible_") {
                    waiting.push(span);
                } else if file.is_match(span) {
                    let path =
                        [root().join(span), root().join("src").join(span)].into_iter().find(|path| path.exists());
                    let path = path.unwrap_or_else(|| panic!("{}: there is no file {span}", page.name));
                    let text = fs::read_to_string(path).unwrap();
                    for name in waiting.drain(..) {
                        tests += 1;
                        assert!(text.contains(&format!("fn {name}(")), "{}: {span} has no test {name}", page.name);
                    }
                }
            }
            assert!(waiting.is_empty(), "{}: {waiting:?}: in which file?", page.name);
        }
    }
    assert!(tests > 30, "only {tests} names of tests were found");
}

#[test]
fn the_table_of_exit_codes_is_the_one_of_the_program() {
    let page = Page::read(&root().join("docs/exit-codes.md"));
    let first = |line: &str| line.split('|').nth(1).unwrap().trim().to_owned();
    let listed: Vec<String> = page
        .lines()
        .into_iter()
        .filter(|(_, kind, _)| *kind == Kind::Table)
        .flat_map(|(_, _, line)| first(line).split(", ").map(str::to_owned).collect::<Vec<_>>())
        .filter(|code| code.parse::<u8>().is_ok())
        .collect();
    let known = [
        exit_code::SUCCESS,
        exit_code::WORK_FAILED,
        exit_code::USAGE,
        exit_code::UNREACHABLE,
        exit_code::STOPPED,
        exit_code::FAULT,
        exit_code::INTERRUPTED,
        exit_code::TERMINATED,
    ];
    assert_eq!(listed, known.map(|code| code.to_string()));
}

#[test]
fn the_lists_of_algorithms_are_those_that_are_offered() {
    let page = Page::read(&root().join("docs/connections.md"));
    for names in [KEX, CIPHERS, MACS] {
        let row = format!("| `{}` |", names.join("`, `"));
        assert!(page.text.contains(&row), "docs/connections.md lacks the row: {row}");
    }
}

#[test]
fn what_is_built_is_built_as_locked() {
    let cargo = Regex::new(r"cargo (install|build|test|run)\b[^`\n]*").unwrap();
    for page in pages() {
        for found in cargo.find_iter(&page.text) {
            assert!(found.as_str().contains("--locked"), "{}: `{}` lacks --locked", page.name, found.as_str());
        }
    }
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    for command in ["$ cargo run --locked --example fleet\n", "$ bash .ci/tools\n", "$ cargo test --locked\n"] {
        assert!(readme.contains(command), "README.md lacks `{}`", command.trim());
    }
    assert!(root().join("examples/fleet.rs").exists() && root().join(".ci/tools").exists());
}
