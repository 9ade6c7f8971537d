//! Selection beside the tools that people trust: Ansible's patterns, ClusterShell's expressions, and the examples of
//! `docs/targets.md`.
//!
//! An inventory `tests/selection/NAME.ini` with patterns in `NAME.patterns` is a case.

#![allow(clippy::unwrap_used)]

use bugle::host::HostName;
use bugle::nodeset::{expand, fold};
use bugle::selection::{HostTable, ListSource, Lists, Population, Request, Selection, SelectionError, select};
use proptest::prelude::{ProptestConfig, any, proptest};
use proptest::prop_assert;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Asks Ansible about patterns of one inventory: who is in which group, and whom each pattern selects.
const ASK_ANSIBLE: &str = "
import json, sys
from ansible.parsing.dataloader import DataLoader
from ansible.inventory.manager import InventoryManager
question = json.load(sys.stdin)
inventory = InventoryManager(loader=DataLoader(), sources=[question['inventory']])
groups = {name: [host.name for host in group.get_hosts()] for name, group in inventory.groups.items()}
answers = [[host.name for host in inventory.get_hosts(pattern)] for pattern in question['patterns']]
json.dump({'hosts': list(inventory.hosts), 'groups': groups, 'answers': answers}, sys.stdout)
";

/// Asks ClusterShell about expressions over groups.
const ASK_CLUSTERSHELL: &str = "
import json, sys
from ClusterShell.NodeSet import NodeSet
from ClusterShell.NodeUtils import GroupResolver, GroupSource
question = json.load(sys.stdin)
resolver = GroupResolver(GroupSource('groups', question['groups']))
json.dump([list(NodeSet(each, resolver=resolver)) for each in question['expressions']], sys.stdout)
";

/// A program of the peers: from `PATH`, else from the virtual environment under `target/peers`.
fn peer(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers/bin");
    std::env::split_paths(&path).chain([own]).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Runs a Python script by the interpreter of an installed program, whose libraries it then sees.
fn ask(program: &Path, script: &str, question: &Value) -> Value {
    let text = fs::read_to_string(program).unwrap();
    let interpreter = text.lines().next().unwrap().trim_start_matches("#!").split(' ').next().unwrap();
    let mut child = Command::new(interpreter)
        .args(["-c", script])
        .env("PYTHONUTF8", "1")
        .env("ANSIBLE_LOCALHOST_WARNING", "False")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(question.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn strings(value: &Value) -> Vec<String> {
    serde_json::from_value(value.clone()).unwrap()
}

/// A population from hosts in order and groups with their members in order.
fn population<'a>(hosts: &[String], groups: impl IntoIterator<Item = (&'a str, Vec<String>)>) -> HostTable {
    let mut table = HostTable::of_inventory(hosts.iter().map(|host| HostName::new(host).unwrap()));
    for (group, members) in groups {
        let members = members.iter().map(|host| table.host_index(host).unwrap()).collect();
        table.set_group(group, members);
    }
    table
}

/// Lists that are not there.
struct NoLists;

impl Lists for NoLists {
    fn read(&mut self, _: &ListSource) -> io::Result<String> {
        Err(io::ErrorKind::NotFound.into())
    }
}

fn select_targets(population: &HostTable, targets: &str) -> Result<Selection, SelectionError> {
    select(population, &Request { targets, ..Request::default() }, &mut NoLists)
}

/// The names of a selection; nobody where nobody is left. Any other error is a failure of the test.
fn names(population: &HostTable, targets: &str) -> Vec<String> {
    match select_targets(population, targets) {
        Ok(selection) => selection.names().map(HostName::to_string).collect(),
        Err(error) if error.is_nobody() => Vec::new(),
        Err(error) => vec![format!("error: {error}")],
    }
}

#[test]
fn patterns_select_the_hosts_that_ansible_selects_in_its_order() {
    let Some(ansible) = peer("ansible") else {
        eprintln!("skipped: no ansible");
        return;
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/selection");
    let mut checked = 0;
    let mut differences = Vec::new();
    for inventory in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
        if inventory.extension().is_none_or(|extension| extension != "ini") {
            continue;
        }
        let patterns = fs::read_to_string(inventory.with_extension("patterns")).unwrap();
        let patterns: Vec<&str> = patterns.lines().filter(|line| !line.starts_with('#')).collect();
        let theirs = ask(&ansible, ASK_ANSIBLE, &json!({"inventory": inventory, "patterns": patterns}));
        let groups = theirs["groups"].as_object().unwrap();
        let groups = groups.iter().map(|(name, hosts)| (name.as_str(), strings(hosts)));
        let population = population(&strings(&theirs["hosts"]), groups);
        for (pattern, answer) in patterns.iter().zip(theirs["answers"].as_array().unwrap()) {
            checked += 1;
            let (ours, theirs) = (names(&population, pattern), strings(answer));
            if ours != theirs {
                differences.push(format!("{}: {pattern}\n  ours   {ours:?}\n  theirs {theirs:?}", inventory.display()));
            }
        }
    }
    assert!(checked >= 100, "only {checked} patterns");
    assert!(differences.is_empty(), "{} of {checked} differ:\n{}", differences.len(), differences.join("\n"));
}

#[test]
fn the_ansible_program_lists_the_same_hosts() {
    let Some(ansible) = peer("ansible") else {
        eprintln!("skipped: no ansible");
        return;
    };
    let inventory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/selection/shop.ini");
    let output = Command::new(&ansible)
        .arg("-i")
        .arg(&inventory)
        .args(["prod:!canary:cache", "--list-hosts", "--limit", "all:!db"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let theirs: Vec<&str> = text.lines().skip(1).map(str::trim).collect();
    let population = example(&fs::read_to_string(inventory).unwrap());
    let limits = ["all:!db".to_owned()];
    let request = Request { targets: "prod:!canary:cache", limits: &limits, excludes: &[] };
    let selection = select(&population, &request, &mut NoLists).unwrap();
    assert_eq!(selection.names().map(HostName::as_str).collect::<Vec<_>>(), theirs);
}

#[test]
fn expressions_select_the_hosts_that_clustershell_selects() {
    let Some(nodeset) = peer("nodeset") else {
        eprintln!("skipped: no nodeset");
        return;
    };
    let groups = [
        ("compute", "n[01-24]"),
        ("cuda", "n[20-24],g[1-4]"),
        ("rack1", "n[01-12],g1"),
        ("old", "n[03,09,21]"),
        ("storage", "io[1-3]"),
    ];
    let mut expressions: Vec<String> = [
        "@compute",
        "@compute,@cuda",
        "@compute&@cuda",
        "@compute!@cuda",
        "@compute^@cuda",
        "@*",
        "@compute!@cuda&@rack1",
        "@compute,@storage!@old^@cuda",
        "n[01-05]!n03",
        "n[01-05]&@rack1!@old",
        "@rack[1]",
        "@storage,n01!io2",
        "n0*",
        "n?1&@rack1",
        "g*,io[1-2]!g2",
        "n[01-12/2]^n[01-12/3]",
        "@cuda ! n20 , n01",
        "@compute&n[10-15],g[1-2]!g1",
        "*",
        "*!@compute",
        "n[1-2]*!@old",
        "@compute!@compute,io1",
    ]
    .map(String::from)
    .to_vec();
    let words = ["@compute", "@cuda", "@rack1", "@old", "@storage", "n[01-09]", "n[05-24/3]", "g[2-3]", "io*", "n21"];
    let operators = [",", "!", "&", "^"];
    let mut state = 11_u64;
    let mut below = |limit: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % limit
    };
    for _ in 0..200 {
        let mut expression = words[below(words.len())].to_owned();
        for _ in 0..1 + below(5) {
            expression = format!("{expression}{}{}", operators[below(4)], words[below(words.len())]);
        }
        expressions.push(expression);
    }
    let question: serde_json::Map<_, _> = groups.iter().map(|(name, nodes)| (name.to_string(), json!(nodes))).collect();
    let theirs = ask(&nodeset, ASK_CLUSTERSHELL, &json!({"groups": question, "expressions": expressions}));
    let hosts = expand("n[01-24],g[1-4],io[1-3]").unwrap();
    let population = population(&hosts, groups.map(|(name, nodes)| (name, expand(nodes).unwrap())));
    for (expression, answer) in expressions.iter().zip(theirs.as_array().unwrap()) {
        let ours: BTreeSet<String> = names(&population, expression).into_iter().collect();
        let theirs: BTreeSet<String> = strings(answer).into_iter().collect();
        assert_eq!(ours, theirs, "{expression}");
    }
}

/// A population from the few forms of INI that the examples use: hosts, groups, `:children`, ranges.
fn example(ini: &str) -> HostTable {
    let mut hosts: Vec<String> = Vec::new();
    let mut groups: Vec<(String, Vec<String>)> = vec![("all".into(), vec![])];
    let mut children = false;
    for line in ini.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(header) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            children = header.ends_with(":children");
            groups.push((header.trim_end_matches(":children").into(), vec![]));
            continue;
        }
        let members = if children {
            groups.iter().find(|(name, _)| name == line).unwrap().1.clone()
        } else {
            expand(line).unwrap()
        };
        for host in members {
            if !hosts.contains(&host) {
                hosts.push(host.clone());
            }
            let (_, group) = groups.last_mut().unwrap();
            if !group.contains(&host) {
                group.push(host);
            }
        }
    }
    groups[0].1 = hosts.clone();
    population(&hosts, groups.iter().map(|(name, members)| (name.as_str(), members.clone())))
}

/// The lists of the examples.
struct Shown<'a>(&'a [(String, String)]);

impl Lists for Shown<'_> {
    fn read(&mut self, source: &ListSource) -> io::Result<String> {
        let found = self.0.iter().find(|(name, _)| *name == source.to_string());
        found.map(|(_, text)| text.clone()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// What `bugle hosts` prints for the arguments of an example.
fn hosts_command(population: &HostTable, lists: &[(String, String)], arguments: &[String]) -> String {
    let (mut targets, mut limits, mut excludes, mut folded) = ("", Vec::new(), Vec::new(), false);
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--fold" => folded = true,
            "--limit" => limits.push(arguments.next().unwrap().clone()),
            "-x" => excludes.push(arguments.next().unwrap().clone()),
            expression => targets = expression,
        }
    }
    let request = Request { targets, limits: &limits, excludes: &excludes };
    match select(population, &request, &mut Shown(lists)) {
        Ok(selection) if folded => fold(selection.names().map(HostName::as_str)) + "\n",
        Ok(selection) => selection.names().map(|name| format!("{name}\n")).collect(),
        Err(error) => {
            let excerpt = error.excerpt().replace('\n', "\n  ");
            let hint = error.hint().map(|hint| format!("hint: {hint}\n")).unwrap_or_default();
            format!("error: {error}\n  {excerpt}\n{hint}")
        }
    }
}

/// Words of a command as a shell splits them, with single quotes.
fn words(command: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for character in command.chars() {
        match character {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            _ => words.last_mut().unwrap().push(character),
        }
    }
    words
}

#[test]
fn the_examples_of_the_documentation_print_what_they_show() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/targets.md")).unwrap();
    let mut population = HostTable::default();
    let mut lists = Vec::new();
    let mut checked = 0;
    let mut differences = Vec::new();
    for block in text.split("```").skip(1).step_by(2) {
        let (kind, content) = block.split_once('\n').unwrap();
        match kind.split_once(' ').unwrap_or((kind, "")) {
            ("ini", _) => population = example(content),
            ("text", name) if !name.is_empty() => lists.push((name.to_owned(), content.to_owned())),
            ("console", _) => {
                for example in content.split("$ bugle hosts ").skip(1) {
                    checked += 1;
                    let (command, shown) = example.split_once('\n').unwrap();
                    let printed = hosts_command(&population, &lists, &words(command));
                    if printed != shown {
                        differences.push(format!("$ bugle hosts {command}\n{printed}"));
                    }
                }
            }
            _ => {}
        }
    }
    assert!(checked >= 30, "only {checked} examples");
    assert!(differences.is_empty(), "these print something else:\n{}", differences.join(""));
}

#[test]
fn a_hundred_thousand_hosts_in_a_thousand_groups_are_selected_at_once() {
    let names = expand("rack[0001-1000]n[001-100]").unwrap();
    let mut population = HostTable::of_inventory(names.iter().map(|name| HostName::new(name).unwrap()));
    for group in 0..1000 {
        population.set_group(&format!("row{group}"), (group * 100..(group + 1) * 100).collect());
    }
    population.set_group("odd", (0..100_000).filter(|host| host % 2 == 1).collect());
    let started = Instant::now();
    for (targets, expected) in [
        ("all", 100_000),
        ("all&odd!row7", 49_950),
        ("all:&odd:!row7:!row8", 49_900),
        ("rack[0001-1000]n[001-100]", 100_000),
        ("rack0*n001", 999),
        (r"~rack\d+n100$", 1000),
        ("@row*!odd", 50_000),
        ("all[99999]", 1),
    ] {
        assert_eq!(select_targets(&population, targets).unwrap().hosts.len(), expected, "{targets}");
    }
    // Far above what an unoptimised build takes; a quadratic step takes minutes.
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_selects_hosts_or_is_refused(targets in any::<String>()) {
        if let Err(error) = select_targets(&small(), &targets) {
            let _ = (error.to_string(), error.excerpt(), error.hint(), error.column());
        }
    }

    #[test]
    fn any_text_of_the_grammar_selects_hosts_or_is_refused(targets in "([a-c~@^!&,:*?0-9.\\[\\]()|/ -]|web|db|all|::1|ssh://){0,12}") {
        match select_targets(&small(), &targets) {
            Ok(selection) => {
                let names: BTreeSet<_> = selection.names().collect();
                prop_assert!(!names.is_empty() && names.len() == selection.hosts.len());
            }
            Err(error) => {
                prop_assert!(error.excerpt().contains('^'));
                prop_assert!(error.expression.get(error.span.clone()).is_some());
            }
        }
    }
}

fn small() -> HostTable {
    example("web1\nweb2\n[web]\nweb1\nweb2\n[db]\ndb1\na\n[prod:children]\nweb\ndb\n")
}
