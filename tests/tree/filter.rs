//! Filters beside git, which people trust: the same `.gitignore` files over the same tree.

use super::sample;
use bugle::tree::{Filter, FilterError, FilterRule, Kind, ScanOptions, Tree, TreePath};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A tree with names that patterns are about, and a git that looks at it.
struct Repository {
    folder: TempDir,
}

impl Repository {
    fn new() -> Option<Self> {
        let repository = Self { folder: tempfile::tempdir().unwrap() };
        match repository.git(&["init", "-q"]).status() {
            Ok(status) => assert!(status.success()),
            Err(_) => {
                eprintln!("skipped: no git");
                return None;
            }
        }
        let names: [&[u8]; 16] = [
            b"a",
            b"b",
            b"ab",
            b"foo",
            b"foo.o",
            b"foo.bar",
            b"a b",
            b"a ",
            b"*",
            b"[a]",
            b"\xff",
            b"#c",
            b"!d",
            b"\xc3\xa9",
            b"{a,b}",
            b"-",
        ];
        let tree = repository.tree();
        fs::create_dir(&tree).unwrap();
        for (index, name) in names.iter().enumerate() {
            let path = tree.join(OsStr::from_bytes(name));
            if index % 2 == 0 {
                fs::create_dir(&path).unwrap();
                for (index, name) in names.iter().enumerate().skip(index % 3).step_by(3) {
                    let path = path.join(OsStr::from_bytes(name));
                    if index % 4 == 0 {
                        fs::create_dir(&path).unwrap();
                        names[..5].iter().for_each(|name| fs::write(path.join(OsStr::from_bytes(name)), b"").unwrap());
                    } else {
                        fs::write(path, b"").unwrap();
                    }
                }
            } else {
                fs::write(path, b"").unwrap();
            }
        }
        symlink("a", tree.join("link")).unwrap();
        Some(repository)
    }

    fn tree(&self) -> PathBuf {
        self.folder.path().join("tree")
    }

    /// git without anything of the user's or the machine's.
    fn git(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("git");
        command
            .current_dir(self.folder.path())
            .env("HOME", self.folder.path())
            .env_remove("XDG_CONFIG_HOME")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_DIR", self.folder.path().join("git"))
            .env("GIT_WORK_TREE", self.tree())
            .args(arguments);
        command
    }

    /// Writes the `.gitignore` files, by the directory they are in; those of a former case go.
    fn ignore(&self, files: &BTreeMap<&str, Vec<u8>>) {
        for directory in ["", "a", "ab"] {
            let path = self.tree().join(directory).join(".gitignore");
            match files.get(directory) {
                Some(text) => fs::write(path, text).unwrap(),
                None => drop(fs::remove_file(path)),
            }
        }
    }

    /// Which of the paths git ignores.
    fn ignored(&self, paths: &[Vec<u8>]) -> BTreeSet<Vec<u8>> {
        let mut command = self.git(&["check-ignore", "--no-index", "--verbose", "--non-matching", "-z", "--stdin"]);
        let mut child = command.current_dir(self.tree()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let text: Vec<u8> = paths.iter().flat_map(|path| path.iter().copied().chain([0])).collect();
        let writer = std::thread::spawn(move || input.write_all(&text));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        assert!(output.status.code().is_some_and(|code| code < 2), "git check-ignore answers");
        let fields: Vec<&[u8]> = output.stdout.split(|byte| *byte == 0).collect();
        let answers = fields.chunks_exact(4);
        assert_eq!(answers.len(), paths.len());
        answers
            .filter(|answer| !answer[2].is_empty() && !answer[2].starts_with(b"!"))
            .map(|answer| answer[3].to_vec())
            .collect()
    }

    /// Holds the scan, and the filter by itself, against git.
    fn compare(&self, files: &BTreeMap<&str, Vec<u8>>) {
        self.ignore(files);
        let paths: Vec<Vec<u8>> = sample::walk(&self.tree()).into_keys().filter(|path| !path.is_empty()).collect();
        let ignored = self.ignored(&paths);
        let options = ScanOptions {
            recursive: true,
            filter: Filter::new(&[]).unwrap().with_gitignore(),
            ..ScanOptions::default()
        };
        let tree = Tree::scan(&[self.tree()], &options).unwrap();
        let sent: BTreeSet<Vec<u8>> = tree.entries.iter().map(|entry| entry.path.as_bytes().to_vec()).collect();
        let show = |paths: &BTreeSet<Vec<u8>>| -> Vec<String> {
            paths.iter().map(|path| path.escape_ascii().to_string()).collect()
        };
        let told: BTreeMap<&str, String> =
            files.iter().map(|(directory, text)| (*directory, text.escape_ascii().to_string())).collect();
        let left_out: BTreeSet<Vec<u8>> = paths.iter().filter(|path| !sent.contains(*path)).cloned().collect();
        assert_eq!(show(&left_out), show(&ignored), "the scan, with {told:?}");
        let filter = &tree.roots[0].filter;
        let excluded = paths.iter().filter(|path| {
            let local = self.tree().join(OsStr::from_bytes(path));
            let is_directory = fs::symlink_metadata(local).unwrap().is_dir();
            filter.is_excluded(&TreePath::from_bytes(path.as_slice()), is_directory)
        });
        // What lies below an excluded directory has no `.gitignore` read that would let it in, as in git.
        assert_eq!(show(&excluded.cloned().collect()), show(&ignored), "the filter, with {told:?}");
    }
}

#[test]
fn gitignore_files_mean_what_git_makes_of_them() {
    let Some(repository) = Repository::new() else { return };
    let cases: [&[u8]; 58] = [
        b"a",
        b"/a",
        b"a/",
        b"/a/",
        b"*/",
        b"a/*",
        b"a/**",
        b"**/a",
        b"**/a/",
        b"a/**/a",
        b"/**",
        b"**",
        b"*.o",
        b"foo*",
        b"foo**",
        b"a/foo**",
        b"fo**o/a",
        b"a/*\n!a/b",
        b"a\n!a/b",
        b"*\n!*/",
        b"*\n!foo.o",
        b"!a\na",
        b"\\!d",
        b"!d",
        b"#c",
        b"\\#c",
        b"a\\ b",
        b"a\\ ",
        b"a ",
        b"a\\  ",
        b"a b ",
        b"a\t",
        b"a\r\nb",
        b"\xef\xbb\xbfa",
        b"\xff",
        b"?",
        b"[\xff]",
        b"[!a]",
        b"[^a]",
        b"[a-b]",
        b"[]-]",
        b"[[]a]",
        b"[[:alpha:]]",
        b"[[:nothing:]]",
        b"[[:alpha]",
        b"[a",
        b"[",
        b"\\",
        b"a\\",
        b"\\[a\\]",
        b"{a,b}",
        b"\\*",
        b"/",
        b"//a",
        b"a//",
        b"a/b\\/",
        b"a\\/b",
        b"*[[:space:]]*",
    ];
    for case in cases {
        for directory in ["", "a"] {
            repository.compare(&BTreeMap::from([(directory, case.to_vec())]));
        }
    }
    // The deeper file counts more, and what an upper one excludes with its directory stays out.
    for (upper, lower) in [("b", "!b"), ("*", "!*"), ("!b", "b"), ("a/", "!*"), ("/a/b", "!b"), ("**/b", "!/b")] {
        repository.compare(&BTreeMap::from([("", upper.into()), ("a", lower.into()), ("ab", lower.into())]));
    }
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    let pieces: [&[u8]; 31] = [
        b"a",
        b"b",
        b"foo",
        b".o",
        b".",
        b"*",
        b"*",
        b"**",
        b"**/",
        b"/",
        b"/",
        b"?",
        b"[ab]",
        b"[!a]",
        b"[a-f]",
        b"[[:alpha:]]",
        b"[^/]",
        b"[*]",
        b"\\*",
        b"\\",
        b"[",
        b"]",
        b"!",
        b"#",
        b" ",
        b"{a,b}",
        b"\xff",
        b"-",
        b"\xc3\xa9",
        b"/**",
        b"***",
    ];
    let line = prop::collection::vec(prop::sample::select(pieces.to_vec()), 1..6).prop_map(|line| line.concat());
    let line = (prop::bool::weighted(0.3), line, prop::bool::weighted(0.2)).prop_map(|(negated, line, slash)| {
        [if negated { b"!" } else { &b""[..] }, &line, if slash { b"/" } else { b"" }].concat()
    });
    prop::collection::vec(line, 1..5).prop_map(|lines| lines.join(&b'\n'))
}

#[test]
fn made_up_patterns_mean_what_git_makes_of_them() {
    let Some(repository) = Repository::new() else { return };
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        failure_persistence: None,
        cases: 256,
        ..ProptestConfig::default()
    });
    let lower = prop::option::weighted(0.4, text());
    runner
        .run(&(text(), lower), |(upper, lower)| {
            let mut files = BTreeMap::from([("", upper)]);
            files.extend(lower.map(|lower| ("a", lower)));
            repository.compare(&files);
            Ok(())
        })
        .unwrap();
}

fn excluded(rules: &[FilterRule], path: &str) -> bool {
    let (path, is_directory) = path.strip_suffix('/').map_or((path, false), |path| (path, true));
    Filter::new(rules).unwrap().is_excluded(&TreePath::from_bytes(path.as_bytes()), is_directory)
}

#[test]
fn of_the_options_the_first_that_matches_wins() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("patterns");
    fs::write(&file, "*.log\n!keep.log\n# a comment\n/top\n").unwrap();
    let exclude = |glob: &str| FilterRule::Exclude(glob.into());
    let include = |glob: &str| FilterRule::Include(glob.into());
    let from = || FilterRule::ExcludeFrom(file.clone());
    for (rules, path, expected) in [
        (vec![], "a", false),
        (vec![exclude("*.o")], "a/b.o", true),
        (vec![exclude("*.o")], "a/b.c", false),
        (vec![exclude("*.o"), include("b.o")], "b.o", true),
        (vec![include("b.o"), exclude("*.o")], "b.o", false),
        (vec![include("b.o"), exclude("*")], "b.c", true),
        (vec![exclude("/a")], "a", true),
        (vec![exclude("/a")], "b/a", false),
        (vec![exclude("a/")], "a", false),
        (vec![exclude("a/")], "a/", true),
        (vec![exclude("a/")], "b/a/c", true),
        (vec![exclude("a"), include("a/b")], "a/b", true),
        (vec![include("a/b"), exclude("a/*")], "a/b", false),
        (vec![from()], "x.log", true),
        (vec![from()], "keep.log", false),
        (vec![from()], "top", true),
        (vec![from()], "a/top", false),
        (vec![exclude("keep.log"), from()], "keep.log", true),
        (vec![from(), exclude("keep.log")], "keep.log", false),
        (vec![include("x.log"), from(), exclude("*")], "x.log", false),
        (vec![exclude("\\!d")], "!d", true),
        (vec![exclude("#c")], "#c", true),
        (vec![exclude("a ")], "a", false),
        (vec![exclude("*")], "", false),
    ] {
        assert_eq!(excluded(&rules, path), expected, "{rules:?} about `{path}`");
    }
}

#[test]
fn a_pattern_that_is_wrong_is_told_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("patterns");
    fs::write(&file, "fine\n!src/[ab\n").unwrap();
    let name = file.display().to_string();
    for (rule, message) in [
        (FilterRule::Exclude(b"a[".into()), "the `[` has no `]`, in `--exclude a[`".to_owned()),
        (FilterRule::Include(b"a\\".into()), "the `\\` at the end has nothing to quote, in `--include a\\\\`".into()),
        (FilterRule::Exclude(b"/".into()), "the pattern is empty, in `--exclude /`".into()),
        (
            FilterRule::Exclude(b"!a".into()),
            "a `!` in front is for lines of files: use `--include` or `--exclude`, or write `\\!`, in `--exclude !a`"
                .into(),
        ),
        (FilterRule::ExcludeFrom(file.clone()), format!("{name}:2:6: the `[` has no `]`, in `!src/[ab`")),
        (FilterRule::ExcludeFrom(file.join("no")), format!("cannot read the patterns in `{name}/no`")),
    ] {
        let error: FilterError = Filter::new(&[rule]).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn an_excluded_directory_is_not_entered() {
    let folder = tempfile::tempdir().unwrap();
    let root: &Path = folder.path();
    for directory in ["src/target/deep", "src/lib"] {
        fs::create_dir_all(root.join(directory)).unwrap();
        fs::write(root.join(directory).join("file"), b"x").unwrap();
    }
    // If it were entered, this would be a mistake.
    fs::write(root.join("src/target/.gitignore"), b"!file").unwrap();
    let filter = Filter::new(&[FilterRule::Exclude(b"target/".into())]).unwrap().with_gitignore();
    let options = ScanOptions { recursive: true, filter, ..ScanOptions::default() };
    let tree = Tree::scan(&[root.join("src")], &options).unwrap();
    let paths: Vec<_> = tree.entries.iter().map(|entry| entry.path.as_bytes().escape_ascii().to_string()).collect();
    assert_eq!(paths, ["", "lib", "lib/file"]);
    assert!(tree.entries[0].kind == Kind::Directory && tree.roots[0].is_directory);
}
