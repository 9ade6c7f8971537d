//! Node sets beside ClusterShell's, which people trust: the same names and the same folding.

#![allow(clippy::unwrap_used)]

use bugle::nodeset::{expand, fold};
use proptest::prelude::{ProptestConfig, any, proptest};
use proptest::{collection, prop_assert_eq};
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Asks ClusterShell about one expression a line; answers a JSON object a line.
const ASK: &str = "
import json, sys
from ClusterShell.NodeSet import NodeSet, NodeSetException
for line in sys.stdin:
    try:
        nodes = NodeSet(line.rstrip('\\n'))
        print(json.dumps({'names': list(nodes), 'folded': str(nodes)}))
    except NodeSetException as error:
        print(json.dumps({'error': str(error)}))
";

/// A program of the peers: from `PATH`, else from the virtual environment under `target/peers`.
fn peer(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/peers/bin");
    std::env::split_paths(&path).chain([own]).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// ClusterShell's answers, from the library behind `nodeset` and by the interpreter that `nodeset` runs under.
fn ask(nodeset: &PathBuf, expressions: &[String]) -> Vec<serde_json::Value> {
    let program = fs::read_to_string(nodeset).unwrap();
    let interpreter = program.lines().next().unwrap().trim_start_matches("#!").split(' ').next().unwrap();
    let mut child = Command::new(interpreter)
        .env("PYTHONUTF8", "1")
        .args(["-c", ASK])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let lines = expressions.join("\n");
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn sorted(names: impl IntoIterator<Item = String>) -> BTreeSet<String> {
    names.into_iter().collect()
}

/// Numbers that look random and are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn range(&mut self, width: usize) -> String {
        let items = 1 + self.below(3);
        let items: Vec<String> = (0..items)
            .map(|_| {
                let first = self.below(30);
                let last = first + self.below(15);
                match self.below(4) {
                    0 => format!("{first:0width$}"),
                    1 => format!("{first:0width$}-{last:0width$}/{}", 1 + self.below(4)),
                    _ => format!("{first:0width$}-{last:0width$}"),
                }
            })
            .collect();
        items.join(",")
    }

    fn pattern(&mut self) -> String {
        const TEXTS: [&str; 6] = ["web", "r", "db-", "a.b-", "x_", "n"];
        const ENDS: [&str; 4] = ["", ".example.com", "-ib", "%"];
        let mut pattern = String::new();
        for _ in 0..1 + self.below(3) {
            pattern.push_str(TEXTS[self.below(6) as usize]);
            // Two digits or more: padding must agree on both ends, and the numbers go up to 44.
            let width = 2 + self.below(2) as usize;
            match self.below(4) {
                0 => pattern.push_str(&self.below(120).to_string()),
                _ => pattern.push_str(&format!("[{}]", self.range(width))),
            }
        }
        pattern + ENDS[self.below(4) as usize]
    }

    /// A handful of names over two to four small numbers: the shapes where folding has to choose.
    fn scatter(&mut self) -> String {
        let places = 2 + self.below(3);
        let spread = 2 + self.below(11);
        let names = 2 + self.below(60);
        let names: Vec<String> = (0..names)
            .map(|_| {
                (0..places)
                    .map(|place| format!("{}{}", ["r", "n", "-", "p"][place as usize], self.below(spread)))
                    .collect()
            })
            .collect();
        names.join(",")
    }

    /// Names of one family, some padded and some not.
    fn mixed_padding(&mut self) -> String {
        let names = 1 + self.below(40);
        let names: Vec<String> = (0..names)
            .map(|_| {
                let (number, width) = (self.below(130), 1 + self.below(3) as usize);
                format!("web{number:0width$}")
            })
            .collect();
        names.join(",")
    }
}

fn corpus() -> Vec<String> {
    let mut corpus: Vec<String> = [
        "web01",
        "web[01-20]",
        "web[1-20]",
        "web[8-12]",
        "web[01-20/2]",
        "web[0-100/7]",
        "web[5]",
        "web[005]",
        "web[1-4,7]",
        "web[1-3, 5]",
        "web[7,1-2]",
        "web[1-3,2-4]",
        "r[1-2]n[1-4,7]",
        "r[1-3]n[1-4],r2n9",
        "r[1-3]n[1-4],r2n9,r5n[1-4]",
        "web[01-18],web20",
        "web[9-11],web[05-12]",
        "web08,web[10-120]",
        "web[098-102]",
        "web08,web10,web12,web[13-120]",
        "web[1-2].example.com,db1.example.com",
        "10.0.0.[1-20],10.0.1.[5-20]",
        "10.[0-3].[0-3].[1-10],10.9.9.9",
        "[1-3]",
        "100%,50%",
        "a,b,a1,b1",
        "web,web1,web-1,web.1",
        "WEB1,web1,Web1",
        "x-1-2-3,x-1-2-4,x-2-2-3,x-2-2-4,x-3-9-9",
        "n[1-3]-ib0,n[1-3]-ib1",
        "n0,n00,n000,n1,n01,n001",
        "rack[1-4]node[01-16]-mgmt",
        "web[0-9],web[00-09]",
        "a[1-3]b[1-3]c[1-3]",
        "a[1-3]b[1-3]c[1-3],a4b1c1,a1b4c1",
        "web1[0-5]",
        "web1[08-12]",
        "web[1-3]0",
        "web[08-12]0",
        "node[0-10/5],node[3-4]",
        "foo%[1-2]",
        "bücher[1-3]",
        "a1b,a2b,a1c,a2c",
        "[01-10]a[1-2]",
        "web[999-1002],web[0999-1002]",
    ]
    .map(String::from)
    .to_vec();
    let mut numbers = Numbers(7);
    for _ in 0..150 {
        let patterns: Vec<String> = (0..1 + numbers.below(4)).map(|_| numbers.pattern()).collect();
        corpus.push(patterns.join(","));
        corpus.push(numbers.scatter());
        corpus.push(numbers.mixed_padding());
    }
    corpus
}

#[test]
fn names_and_folding_are_those_of_clustershell() {
    let Some(nodeset) = peer("nodeset") else {
        eprintln!("skipped: no nodeset");
        return;
    };
    let corpus = corpus();
    assert!(corpus.len() >= 300);
    let answers = ask(&nodeset, &corpus);
    assert_eq!(answers.len(), corpus.len());
    let mut differences = Vec::new();
    for (expression, answer) in corpus.iter().zip(&answers) {
        let names = expand(expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
        let theirs: Vec<String> = serde_json::from_value(answer["names"].clone()).unwrap_or_default();
        let folded = fold(names.iter().map(String::as_str));
        if sorted(names) != sorted(theirs) || answer["folded"].as_str() != Some(&folded) {
            differences.push(format!("{expression}\n  ours   {folded}\n  theirs {answer}"));
        }
    }
    assert!(differences.is_empty(), "{} of {} differ:\n{}", differences.len(), corpus.len(), differences.join("\n"));
}

#[test]
fn the_nodeset_program_prints_the_same() {
    let Some(nodeset) = peer("nodeset") else {
        eprintln!("skipped: no nodeset");
        return;
    };
    let run = |arguments: &[&str]| {
        let output = Command::new(&nodeset).args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    };
    for expression in ["web[01-20/3]", "r[1-3]n[1-4],r2n9,r5n[1-4]", "web08,web[10-120]", "10.[0-3].0.[1-10],10.9.9.9"]
    {
        let names = expand(expression).unwrap();
        assert_eq!(run(&["-f", expression]), fold(names.iter().map(String::as_str)), "{expression}");
        let theirs = run(&["-S", "\n", "-e", expression]);
        assert_eq!(sorted(theirs.lines().map(String::from)), sorted(names), "{expression}");
    }
}

#[test]
fn what_clustershell_refuses_is_refused() {
    let Some(nodeset) = peer("nodeset") else {
        eprintln!("skipped: no nodeset");
        return;
    };
    let wrong = [
        "web[1-3",
        "web1-3]",
        "web[]",
        "web[1,,2]",
        "web[1-x]",
        "web[a-c]",
        "web[01-100]",
        "web[1-010]",
        "web[9-1]",
        "web[1-9/0]",
        "web[1-9/x]",
        "web[5/2]",
        "a,,b",
        "a,",
        "web[1-3]]",
        "web[x]",
        "web[-]",
    ]
    .map(String::from);
    for (expression, answer) in wrong.iter().zip(ask(&nodeset, &wrong)) {
        assert!(answer["error"].is_string(), "ClusterShell reads `{expression}`: {answer}");
        assert!(expand(expression).is_err(), "{expression}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn expanding_what_was_folded_gives_the_names_back(
        names in collection::btree_set("[a-c%.-]{0,2}[0-9]{0,3}[a-b.]{0,2}[0-9]{0,2}[a-z]", 0..60)
    ) {
        let folded = fold(names.iter().map(String::as_str));
        let back = if folded.is_empty() { Vec::new() } else { expand(&folded).unwrap() };
        prop_assert_eq!(sorted(back), names, "{}", folded);
    }

    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        let _ = expand(&text);
        let _ = fold([text.as_str(), "web1"]);
    }

    #[test]
    fn any_text_that_looks_like_ranges_is_read_or_refused(text in "[a-c0-9,:/ \\[\\]-]{0,24}") {
        if let Err(error) = expand(&text) {
            prop_assert_eq!(error.column() <= text.chars().count() + 1, true);
            let _ = (error.to_string(), error.hint());
        }
    }
}
