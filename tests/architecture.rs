//! The tables of `docs/architecture.md` are what `src/` does: who knows whom, which crate is used where, how large a file
//! may be, and what is done in few places only.

#![expect(clippy::unwrap_used, reason = "a step that fails fails its test")]

use regex::Regex;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a file without its tests.
const LONGEST: usize = 600;
/// Lines of a file without its tests, on average.
const MEAN: std::ops::RangeInclusive<usize> = 100..=250;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A source file without its tests.
struct Source {
    /// Below `src/`, such as `cli/fleet.rs`.
    path: String,
    /// Whole, to look at its head.
    text: String,
    /// Without comments and tests.
    code: String,
}

impl Source {
    /// `cli` for `cli/fleet.rs`, `host` for `host.rs`.
    fn module(&self) -> &str {
        self.path.split('/').next().unwrap().trim_end_matches(".rs")
    }
}

/// Every file of `src/` but the roots and those that only tests have.
fn sources() -> Vec<Source> {
    let mut paths = Vec::new();
    collect(&root().join("src"), &mut paths);
    let texts: Vec<(PathBuf, String)> =
        paths.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect();
    let declared = Regex::new(r"#\[cfg\(test\)\]\s*(?:pub(?:\(\w+\))? )?mod (\w+);").unwrap();
    let only_tests: BTreeSet<PathBuf> = texts
        .iter()
        .flat_map(|(path, text)| {
            declared
                .captures_iter(text)
                .map(|found| path.with_file_name(format!("{}.rs", &found[1])))
                .collect::<Vec<_>>()
        })
        .collect();
    let sources: Vec<Source> = texts
        .into_iter()
        .filter(|(path, _)| !only_tests.contains(path))
        .map(|(path, text)| {
            let path = path.strip_prefix(root().join("src")).unwrap().to_string_lossy().into_owned();
            let own = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            let code: Vec<&str> = own.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
            Source { path, code: code.join("\n"), text }
        })
        .filter(|source| !matches!(source.path.as_str(), "lib.rs" | "main.rs"))
        .collect();
    assert!(sources.len() > 100, "the sources were found");
    sources
}

fn collect(directory: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
    paths.sort();
}

/// The rows of the table with this head: the names in its first column, and the text of its second.
fn table(head: &str) -> Vec<(Vec<String>, String)> {
    let page = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let (_, rest) = page.split_once(head).unwrap_or_else(|| panic!("docs/architecture.md has no table `{head}`"));
    let rows: Vec<_> = rest
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let mut cells = line.trim_matches('|').split('|');
            (spans(cells.next().unwrap()), cells.next().unwrap().trim().to_owned())
        })
        .collect();
    assert!(!rows.is_empty(), "the table `{head}` has rows");
    rows
}

/// What stands between backticks.
fn spans(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn modules_use_the_modules_that_the_table_allows_and_no_others() {
    let mention = Regex::new(r"\bcrate::(\w+)").unwrap();
    let modules: BTreeSet<String> = sources().iter().map(|source| source.module().to_owned()).collect();
    let mut used: BTreeMap<String, BTreeMap<String, String>> =
        modules.iter().map(|module| (module.clone(), BTreeMap::new())).collect();
    for source in sources() {
        for found in mention.captures_iter(&source.code) {
            if modules.contains(&found[1]) && &found[1] != source.module() {
                used.get_mut(source.module()).unwrap().entry(found[1].into()).or_insert_with(|| source.path.clone());
            }
        }
    }
    let mut listed = BTreeSet::new();
    for (names, allowed) in table("| module | uses |") {
        for name in names {
            let used = used.get(&name).unwrap_or_else(|| panic!("there is no module `{name}`"));
            assert!(listed.insert(name.clone()), "`{name}` stands twice in the table");
            if allowed == "everything" {
                continue;
            }
            let allowed: BTreeSet<String> = spans(&allowed).into_iter().collect();
            for (other, path) in used {
                assert!(
                    allowed.contains(other),
                    "src/{path} uses `{other}`, which the table does not allow to `{name}`"
                );
            }
            for other in &allowed {
                assert!(used.contains_key(other), "`{name}` does not use `{other}` any more: take it out of the table");
            }
        }
    }
    assert_eq!(listed, modules, "every module stands in the table");
}

#[test]
fn crates_are_used_only_where_the_table_says() {
    let sources = sources();
    for (crates, places) in table("| crate | only in |") {
        let places = spans(&places);
        for name in crates {
            let mention = Regex::new(&format!(r"(?m)(^|[^\w:]){name}(::|;| as )")).unwrap();
            let mut unused: BTreeSet<&str> = places.iter().map(String::as_str).collect();
            for source in sources.iter().filter(|source| mention.is_match(&source.code)) {
                let place = places.iter().find(|place| *place == &source.path || *place == source.module());
                let place =
                    place.unwrap_or_else(|| panic!("src/{} uses `{name}`, which belongs to {places:?}", source.path));
                unused.remove(place.as_str());
            }
            // Several crates share a row: each is used in one of the places at least.
            assert!(unused.len() < places.len(), "nobody uses `{name}`");
            if places.len() > 1 {
                assert!(unused.is_empty() || name == "regex", "`{name}` is not used in {unused:?} any more");
            }
        }
    }
}

#[test]
fn the_table_of_modules_is_the_map_of_the_library() {
    let library = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let declared: Vec<&str> =
        library.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    let listed: Vec<String> = table("| module | is | main type |").into_iter().flat_map(|(names, _)| names).collect();
    assert_eq!(listed, declared);
}

#[test]
fn files_are_short_and_say_what_they_are_for() {
    let sources = sources();
    let mut total = 0;
    for source in &sources {
        let lines = source.text.split("#[cfg(test)]\nmod tests {").next().unwrap().lines().count();
        assert!(lines <= LONGEST, "src/{} has {lines} lines without its tests: two things share a room", source.path);
        assert!(source.text.starts_with("//! "), "src/{} does not begin with what it is for", source.path);
        total += lines;
    }
    let mean = total / sources.len();
    assert!(MEAN.contains(&mean), "{mean} lines a file on average");
}

#[test]
fn no_module_is_a_drawer() {
    for source in sources() {
        for part in source.path.trim_end_matches(".rs").split('/') {
            let drawers =
                ["util", "utils", "helper", "helpers", "common", "shared", "misc", "manager", "types", "errors"];
            assert!(!drawers.contains(&part), "src/{}: `{part}` says nothing of what is in it", source.path);
        }
    }
}

/// Files whose code matches.
fn places_of(pattern: &str) -> Vec<String> {
    let pattern = Regex::new(pattern).unwrap();
    let places: Vec<String> =
        sources().into_iter().filter(|source| pattern.is_match(&source.code)).map(|source| source.path).collect();
    assert!(!places.is_empty(), "nothing matches `{pattern}`");
    places
}

#[test]
fn what_matters_is_done_in_few_places() {
    for (pattern, why, places) in [
        (
            r"\.expose\(\)",
            "a password is handed to a protocol and to nothing else",
            &[
                "connection/auth.rs",
                "connection/key_cipher.rs",
                "connection/key_file.rs",
                "keys/pair.rs",
                "task/command.rs",
                "task/ending.rs",
                "task/inner.rs",
            ][..],
        ),
        (
            r"process::(\w+::)?(\{[^}]*)?\bCommand\b",
            "docs/security.md names every program that is started",
            &[
                "connection/proxy.rs",
                "connection/x11.rs",
                "inventory/script.rs",
                "ssh_config/canonical.rs",
                "ssh_config/resolve.rs",
            ],
        ),
        (
            r"\bio::stderr\(\)",
            "only the command line talks by itself, and a LocalCommand that was asked for",
            &["cli/", "connection/proxy.rs"],
        ),
        (
            r"\b(openat2?|mkdirat|symlinkat|linkat|renameat|renameat_with|unlinkat)\(",
            "what a host names is opened beneath a descriptor, without following links, in one place",
            &["tree/folder.rs"],
        ),
        (r"\bio::stdout\(\)", "only the command line has the standard output", &["cli/"]),
    ] {
        for path in places_of(pattern) {
            let is_known = places.iter().any(|place| path == *place || place.ends_with('/') && path.starts_with(place));
            assert!(is_known, "src/{path} matches `{pattern}`: {why}");
        }
    }
    let retried: Vec<String> =
        places_of(r"Ended::Retry \{").into_iter().filter(|path| !path.starts_with("scheduler/")).collect();
    assert_eq!(retried, ["task/caller.rs"], "a try is repeated from one place, before any work is begun");
}
