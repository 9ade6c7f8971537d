//! Inventories against `ansible-inventory`, and the words of every mistake.
//!
//! `tests/inventory/cases/NAME` is an inventory that must be read exactly as Ansible reads it, `tests/inventory/errors/NAME`
//! one that must be refused with the words in `expected`. The source is the entry whose name begins with `hosts`, or the
//! lines of `sources` (`=` begins a list of hosts). Drop in a folder, get a case; `other-words-in-graph` says why
//! `--graph --vars` shows a value in other words. Further inventories are generated.
// Helpers of tests fail by panicking, and a skipped comparison is told.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use bugle::inventory::{Inventory, Listing, Options, Severity, Source};
use proptest::prelude::*;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn data(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/inventory").join(folder);
    let mut cases: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    cases
}

fn sources(case: &Path) -> Vec<String> {
    let in_case = |name: &str| case.join(name).to_string_lossy().into_owned();
    if let Ok(lines) = fs::read_to_string(case.join("sources")) {
        return lines.lines().map(|line| line.strip_prefix('=').map_or_else(|| in_case(line), str::to_owned)).collect();
    }
    let entries = fs::read_dir(case).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    entries.filter(|name| name.starts_with("hosts")).map(|name| in_case(&name)).collect()
}

fn load(sources: &[String]) -> Result<Inventory, bugle::inventory::InventoryErrors> {
    let sources: Vec<Source> = sources.iter().map(|source| Source::parse(source)).collect();
    Inventory::load(&sources, &Options::default())
}

/// The interpreter of `ansible-inventory`, from PATH or from `target/peers`.
fn ansible_python() -> Option<PathBuf> {
    let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers/bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let program =
        std::env::split_paths(&path).chain([peers]).map(|d| d.join("ansible-inventory")).find(|p| p.is_file())?;
    let first = fs::read_to_string(program).ok()?.lines().next()?.to_owned();
    Some(first.strip_prefix("#!")?.split(' ').next()?.into())
}

/// Ansible's answers for many lists of sources, or nothing where it is not installed.
fn ask_ansible(inventories: &[Vec<String>]) -> Option<Vec<serde_json::Value>> {
    let Some(python) = ansible_python() else {
        eprintln!("skipped: no ansible-inventory");
        return None;
    };
    let home = tempfile::tempdir().unwrap();
    let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/inventory/ansible_answers.py");
    let mut child = Command::new(python)
        .arg(driver)
        .current_dir(home.path())
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home.path())
        .env("LC_ALL", "C.UTF-8")
        .env("ANSIBLE_CONFIG", home.path().join("none.cfg"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let lines: String = inventories.iter().map(|sources| format!("{}\n", serde_json::json!(sources))).collect();
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "the driver failed");
    let answers: Vec<serde_json::Value> =
        String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), inventories.len());
    Some(answers)
}

/// What differs from Ansible's answers, empty when nothing does.
///
/// Values in graphs are not compared where `ansible` has no answer: it cannot show encrypted values without their
/// password.
fn differences(sources: &[String], ansible: &serde_json::Value) -> String {
    let inventory = match load(sources) {
        Ok(inventory) => inventory,
        Err(errors) => return format!("refused: {errors}\nansible: {ansible}\n"),
    };
    let listing = Listing::of(&inventory);
    let mut out = String::new();
    let mut compare = |what: &str, ours: String, theirs: &serde_json::Value| {
        let theirs = theirs.as_str().unwrap_or("(no answer)");
        if ours != theirs {
            let same = ours.lines().zip(theirs.lines()).take_while(|(a, b)| a == b).count();
            let around = |text: &str| text.lines().skip(same.saturating_sub(4)).take(8).collect::<Vec<_>>().join("\n");
            let (ours, theirs) = (around(&ours), around(theirs));
            let _ = writeln!(out, "{what} differs in line {}\n--- bugle\n{ours}\n--- ansible\n{theirs}", same + 1);
        }
    };
    compare("--list", Listing::text(&listing.list()), &ansible["list"]);
    for (host, theirs) in ansible["hosts"].as_object().into_iter().flatten() {
        let ours = inventory.host(host).map_or_else(String::new, |host| Listing::text(&listing.host(host)));
        compare(&format!("--host {host}"), ours, theirs);
    }
    compare("--graph", listing.graph(Inventory::ALL), &ansible["graph"]);
    if !ansible["graph_vars"].is_null() {
        compare("--graph --vars", listing.graph_with_variables(Inventory::ALL), &ansible["graph_vars"]);
    }
    for (index, name) in inventory.groups() {
        let members = inventory.members(index).into_iter().map(|host| inventory.host_name(host).as_str());
        let mut ours: Vec<&str> = members.collect();
        let mut theirs: Vec<&str> =
            ansible["groups"][name].as_array().into_iter().flatten().filter_map(|h| h.as_str()).collect();
        // Below the first level Ansible's order is that of a set of Python objects.
        ours.sort_unstable();
        theirs.sort_unstable();
        if ours != theirs {
            let _ = writeln!(out, "--- members of {name}: {ours:?}, ansible: {theirs:?}");
        }
    }
    out
}

#[test]
fn inventories_are_read_exactly_as_ansible_reads_them() {
    let cases = data("cases");
    let inventories: Vec<Vec<String>> = cases.iter().map(|case| sources(case)).collect();
    // Also without Ansible every case must load.
    for sources in &inventories {
        load(sources).unwrap_or_else(|errors| panic!("{sources:?}\n{errors}"));
    }
    let Some(answers) = ask_ansible(&inventories) else { return };
    let mut failures = String::new();
    for ((case, sources), mut answer) in cases.iter().zip(&inventories).zip(answers) {
        if case.join("other-words-in-graph").exists() {
            answer["graph_vars"] = serde_json::Value::Null;
        }
        let found = differences(sources, &answer);
        if !found.is_empty() {
            let _ = writeln!(failures, "=== {sources:?}\n{found}warnings of ansible: {}", answer["warnings"]);
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn generated_inventories_are_read_exactly_as_ansible_reads_them() {
    let folder = tempfile::tempdir().unwrap();
    let inventories: Vec<Vec<String>> =
        (0..120).map(|seed| generator::write(&folder.path().join(seed.to_string()), seed)).collect();
    let Some(answers) = ask_ansible(&inventories) else { return };
    for (seed, (sources, answer)) in inventories.iter().zip(&answers).enumerate() {
        let found = differences(sources, answer);
        assert!(found.is_empty(), "seed {seed}\n{found}warnings of ansible: {}", answer["warnings"]);
    }
}

#[test]
fn every_mistake_is_told_with_its_place() {
    let mut failures = String::new();
    for case in data("errors") {
        let prefix = format!("{}/", case.display());
        let told = match load(&sources(&case)) {
            Ok(inventory) => format!("accepted: {inventory:?}"),
            Err(errors) => errors.to_string().replace(&prefix, ""),
        };
        let expected = fs::read_to_string(case.join("expected")).unwrap_or_default();
        if told.trim_end() != expected.trim_end() {
            let _ = writeln!(failures, "=== {}\n--- told\n{told}\n--- expected\n{expected}", case.display());
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn what_bugle_refuses_ansible_complains_of_too() {
    let cases = data("errors");
    let inventories: Vec<Vec<String>> = cases.iter().map(|case| sources(case)).collect();
    let Some(answers) = ask_ansible(&inventories) else { return };
    let mut passed = Vec::new();
    for (case, answer) in cases.iter().zip(&answers) {
        let complained = answer["warnings"].as_array().is_some_and(|said| !said.is_empty());
        if !complained && !case.join("stricter").exists() {
            passed.push(case);
        }
    }
    assert!(passed.is_empty(), "these pass in Ansible, so a file `stricter` must say why not here: {passed:?}");
}

#[test]
fn the_example_inventory_is_good() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("inventory.example.yaml");
    let sources = [path.to_string_lossy().into_owned()];
    let inventory = load(&sources).unwrap();
    assert!(inventory.warnings().is_empty(), "{:?}", inventory.warnings());
    assert!(inventory.host_count() > 5 && inventory.group("web").is_some());
    let Some(answers) = ask_ansible(&[sources.to_vec()]) else { return };
    assert_eq!(differences(&sources, &answers[0]), "");
}

#[test]
fn a_program_that_never_ends_is_killed_with_its_children() {
    let folder = tempfile::tempdir().unwrap();
    let pid_file = folder.path().join("pid");
    let program = folder.path().join("hosts.sh");
    fs::write(&program, format!("#!/bin/sh\nsleep 1000 &\necho $! > {}\nwait\n", pid_file.display())).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let options = Options { script_timeout: std::time::Duration::from_secs(1) };
    let errors = Inventory::load(&[Source::Path(program.clone())], &options).unwrap_err().to_string();
    assert!(errors.contains("`--list` did not finish within 1 s and was killed"), "{errors}");
    let pid = fs::read_to_string(pid_file).unwrap();
    // The kernel may need a moment to take the process away; a zombie has no command line any more.
    let cmdline = PathBuf::from(format!("/proc/{}/cmdline", pid.trim()));
    let gone = (0..1000).any(|_| {
        std::thread::yield_now();
        fs::read(&cmdline).map_or(true, |line| line.is_empty())
    });
    assert!(gone, "the child {pid} lives on");
}

#[test]
fn a_program_that_others_can_write_is_not_run() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("hosts.sh");
    let proof = folder.path().join("proof");
    fs::write(&program, format!("#!/bin/sh\ntouch {}\necho '{{}}'\n", proof.display())).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o757)).unwrap();
    let errors = Inventory::load(&[Source::Path(program)], &Options::default()).unwrap_err().to_string();
    assert!(errors.contains("mode 0757: others can change it"), "{errors}");
    assert!(!proof.exists());
}

#[test]
fn oddities_are_warnings() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("inv/hosts.yml", "web:\n  hosts:\n    web:\n    h1: {a: 1, a: 2}\n");
    write("inv/old.ini", "[x]\n");
    write("inv/group_vars/web.yml", "$ANSIBLE_VAULT;1.1;AES256\n6231\n");
    let inventory = load(&[folder.path().join("inv").to_string_lossy().into_owned()]).unwrap();
    let told: Vec<String> = inventory.warnings().iter().map(|warning| warning.to_string()).collect();
    let told = told.join("\n").replace(&format!("{}/", folder.path().display()), "");
    assert!(inventory.warnings().iter().all(|warning| warning.severity == Severity::Warning));
    for words in [
        "inv/hosts.yml:4:16: `a` stands twice (first on line 4); the last one counts",
        "inv/old.ini: is not read: in a directory of inventories Ansible leaves out files that end in `.ini`",
        "inv/hosts.yml: `web` is both a group and a host",
        "inv/group_vars/web.yml: is encrypted with Ansible's vault; its variables are left out",
    ] {
        assert!(told.contains(words), "{words}\n{told}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_bytes_make_the_readers_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), extension in "(|\\.yml|\\.json|\\.ini)") {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(format!("hosts{extension}"));
        fs::write(&path, bytes).unwrap();
        let _ = load(&[path.to_string_lossy().into_owned()]);
    }

    #[test]
    fn no_inventory_like_text_makes_the_readers_panic(
        text in "(\\[|\\]|:|=|,|#|-|'|\"|\\(|\\{|\\}|\\)|\\.|\\\\|\n|\n  |\t| |a|web|0|1|x|vars|children|hosts|all|ö){0,60}",
        extension in "(|\\.yml|\\.json|\\.ini)",
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(format!("hosts{extension}"));
        fs::write(&path, text).unwrap();
        if let Ok(inventory) = load(&[path.to_string_lossy().into_owned()]) {
            let listing = Listing::of(&inventory);
            let _ = (listing.list(), listing.graph_with_variables(Inventory::ALL));
        }
    }
}

mod generator {
    //! Inventories by seed: every form, several sources, files of variables.

    use super::{Path, PermissionsExt, fs};

    struct Random(u64);

    impl Random {
        fn below(&mut self, limit: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % limit
        }

        fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
            from[self.below(from.len() as u64) as usize]
        }
    }

    const GROUPS: [&str; 7] = ["web", "db", "prod", "east", "app_1", "zeta", "alpha"];
    const NAMES: [&str; 7] = ["v", "port", "ansible_user", "list", "flag", "ansible_host", "zone"];
    const INI_VALUES: [&str; 22] = [
        "1",
        "-2",
        "0644",
        "1.50",
        "True",
        "no",
        "text",
        "'single'",
        "\"a b\"",
        "[1,2]",
        "\"[1, 'x', None]\"",
        "a=b",
        "10.0.0.1",
        "[1",
        "\"{'k': [1]}\"",
        "{{x}}",
        "0x10",
        "1e5",
        "",
        "\"'in'\"",
        "a\\ b",
        "1_0",
    ];
    const YAML_VALUES: [&str; 22] = [
        "1",
        "-2",
        "0644",
        "1.50",
        "yes",
        "'no'",
        "text",
        "\"a b\"",
        "[1, {a: b}]",
        "{k: [1, null]}",
        "~",
        "1:30",
        "0x10",
        "1e5",
        "2.5e+3",
        "2024-01-02",
        "'{{ x }}'",
        "''",
        "0b11",
        "1_0",
        ".5",
        "On",
    ];

    /// Writes an inventory below `folder` and gives back its sources.
    pub fn write(folder: &Path, seed: u64) -> Vec<String> {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9) + 7);
        fs::create_dir_all(folder).unwrap();
        let count = 1 + random.below(3);
        let mut sources = Vec::new();
        for number in 0..count {
            let base = if random.below(3) == 0 { folder.join(format!("sub{number}")) } else { folder.to_owned() };
            fs::create_dir_all(&base).unwrap();
            let (name, text) = match random.below(4) {
                0 | 1 => (format!("hosts{number}"), ini(&mut random)),
                2 => (format!("hosts{number}.yml"), yaml(&mut random)),
                _ => (format!("hosts{number}.sh"), script(&mut random)),
            };
            let path = base.join(&name);
            fs::write(&path, text).unwrap();
            let mode = if name.ends_with(".sh") { 0o755 } else { 0o644 };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            files(&mut random, &base);
            let whole = random.below(4) == 0 && base != folder;
            sources.push(if whole { base } else { path }.to_string_lossy().into_owned());
        }
        sources
    }

    fn host(random: &mut Random) -> String {
        match random.below(6) {
            0 => "node[1:3]".into(),
            1 => "db[08:11].example.com".into(),
            2 => "x[a:c]".into(),
            _ => format!("h{}", random.below(8)),
        }
    }

    fn plain_host(random: &mut Random) -> String {
        format!("h{}", random.below(8))
    }

    /// A parent stands before its child in the list of groups, so that no cycles arise.
    fn parent_and_child(random: &mut Random) -> (&'static str, &'static str) {
        let child = 1 + random.below(GROUPS.len() as u64 - 1);
        (GROUPS[random.below(child) as usize], GROUPS[child as usize])
    }

    fn ini(random: &mut Random) -> String {
        let mut text = String::new();
        for _ in 0..random.below(3) {
            text += &format!("{}\n", host(random));
        }
        for _ in 0..1 + random.below(5) {
            text += &format!("[{}]\n", random.pick(&GROUPS));
            for _ in 0..random.below(4) {
                text += &host(random);
                text += ["", ":2222", "  # comment"][random.below(3) as usize];
                if !text.ends_with("comment") {
                    for _ in 0..random.below(3) {
                        text += &format!(" {}={}", random.pick(&NAMES), random.pick(&INI_VALUES));
                    }
                }
                text += "\n";
            }
        }
        for _ in 0..random.below(4) {
            let (parent, child) = parent_and_child(random);
            text += &format!("[{parent}:children]\n{child}\n[{child}]\n");
        }
        for _ in 0..random.below(4) {
            let group = if random.below(4) == 0 { "all" } else { random.pick(&GROUPS) };
            text += &format!("[{group}]\n[{group}:vars]\n");
            for _ in 0..1 + random.below(3) {
                text += &format!("{} = {}\n", random.pick(&NAMES), random.pick(&INI_VALUES));
            }
            if random.below(4) == 0 {
                text += &format!("ansible_group_priority={}\n", random.below(5));
            }
        }
        text
    }

    fn variables(random: &mut Random, indentation: &str) -> String {
        let mut left: Vec<&str> = NAMES.to_vec();
        let mut text = String::new();
        for _ in 0..1 + random.below(3) {
            let name = left.remove(random.below(left.len() as u64) as usize);
            text += &format!("{indentation}{name}: {}\n", random.pick(&YAML_VALUES));
        }
        text
    }

    fn yaml_group(random: &mut Random, indentation: &str, position: usize, text: &mut String) {
        let inner = format!("{indentation}    ");
        if random.below(3) > 0 {
            *text += &format!("{indentation}hosts:\n{indentation}  \"{}\":\n", host(random));
            if random.below(2) == 0 {
                *text += &variables(random, &inner);
            }
        }
        if random.below(2) == 0 {
            *text += &format!("{indentation}vars:\n{}", variables(random, &format!("{indentation}  ")));
        }
        if random.below(2) == 0 && position + 1 < GROUPS.len() {
            let below = position + 1 + random.below((GROUPS.len() - position - 1) as u64) as usize;
            *text += &format!("{indentation}children:\n{indentation}  {}:\n", GROUPS[below]);
            yaml_group(random, &inner, below, text);
        }
    }

    fn yaml(random: &mut Random) -> String {
        let mut text = String::new();
        let first = random.below(2) as usize;
        if first == 0 {
            text += "all:\n";
            text += &format!("  vars:\n{}", variables(random, "    "));
            text += &format!("  hosts:\n    \"{}\":\n", host(random));
        }
        for position in [first, first + 3] {
            text += &format!("{}:\n", GROUPS[position]);
            yaml_group(random, "  ", position, &mut text);
        }
        text
    }

    fn script(random: &mut Random) -> String {
        let (parent, child) = parent_and_child(random);
        let (one, two) = (plain_host(random), plain_host(random));
        let meta = match random.below(2) {
            0 => format!(r#", "_meta": {{"hostvars": {{"{one}": {{"v": [1, "x"], "zone": 1.5}}}}}}"#),
            _ => String::new(),
        };
        format!(
            "#!/bin/sh\n[ \"$1\" = --host ] && {{ echo \"{{\\\"flag\\\": true, \\\"me\\\": \\\"$2\\\"}}\"; exit; }}\ncat <<'JSON'\n{{\
             \"{parent}\": {{\"hosts\": [\"{one}\"], \"children\": [\"{child}\"], \"vars\": {{\"v\": \"script\"}}}}, \"{child}\": \
             [\"{two}\"]{meta}}}\nJSON\n"
        )
    }

    fn files(random: &mut Random, base: &Path) {
        for _ in 0..random.below(4) {
            let group = if random.below(4) == 0 { "all" } else { random.pick(&GROUPS) };
            let name = format!("group_vars/{group}{}", random.pick(&["", ".yml", ".yaml", "/main.yml", "/b"]));
            put(&base.join(name), &variables(random, ""));
        }
        for _ in 0..random.below(3) {
            let name = format!("host_vars/{}{}", plain_host(random), random.pick(&["", ".yml", "/10.yml"]));
            put(&base.join(name), &variables(random, ""));
        }
    }

    /// Writes a file unless something of another kind is in its way.
    fn put(path: &Path, text: &str) {
        if fs::create_dir_all(path.parent().unwrap()).is_ok() && !path.is_dir() {
            fs::write(path, text).unwrap();
        }
    }
}
