//! Plans: tables of what is in the source and on the host, and made-up pairs of trees between which a plan is carried out.

use super::sample::{self, Seen, What};
use bugle::tree::temporary::Run;
use bugle::tree::{
    Attributes, Content, DestinationKind, Extents, Filter, FilterRule, Found, FoundKind, Identity, Kind, Links,
    ModeWanted, Observed, Placement, Plan, Rules, ScanOptions, Step, Tree, TreePath,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// What is in a directory of this machine, as a host would tell it.
fn observe(host: &Path, tree: &Tree, placement: &Placement, rules: &Rules, tells_inodes: bool) -> Observed {
    let sent: BTreeMap<Vec<u8>, usize> = tree
        .entries
        .iter()
        .enumerate()
        .map(|(index, entry)| (placement.path(entry).as_bytes().to_vec(), index))
        .collect();
    let found = |(path, seen): (Vec<u8>, Seen)| {
        let kind = match seen.what {
            What::Directory => FoundKind::Directory,
            What::Symlink(target) => FoundKind::Symlink { target: Some(target) },
            What::Special => FoundKind::Special,
            What::File(data) => {
                let source = sent.get(&path).filter(|index| rules.checksum && tree.file(**index).is_some());
                let content = source.map_or(Content::Unknown, |index| {
                    if fs::read(tree.local(*index)).unwrap() == data { Content::Same } else { Content::Different }
                });
                FoundKind::File { size: data.len() as u64, content }
            }
        };
        let identity = match tells_inodes {
            true => {
                let names = fs::symlink_metadata(host.join(OsStr::from_bytes(&path))).unwrap().nlink();
                Identity::Known { device: 1, inode: seen.inode, names }
            }
            false => Identity::Untold,
        };
        (TreePath::from_bytes(path), Found { kind, mtime: seen.mtime, mode: seen.mode, uid: 0, gid: 0, identity })
    };
    sample::walk(host).into_iter().map(found).collect()
}

/// Does on a directory what a host would be told to do.
fn carry_out(plan: &Plan, tree: &Tree, host: &Path, placement: &Placement) {
    let at = |path: &TreePath| if path.is_root() { host.into() } else { host.join(path.as_path()) };
    let place = |entry: usize| -> PathBuf { at(&placement.path(&tree.entries[entry])) };
    let set = |path: &Path, attributes: &Attributes| {
        let metadata = fs::metadata(path).unwrap();
        let seen = sample::walk(path).remove(&b""[..]).unwrap();
        let mode = match attributes.mode {
            Some(ModeWanted::Exact(mode)) => mode,
            Some(ModeWanted::Masked(mode)) => mode & !0o022,
            None => metadata.permissions().mode() & 0o7777,
        };
        sample::set(path, mode, attributes.mtime.unwrap_or(seen.mtime));
    };
    // A temporary name, so that what is renamed takes the place of whatever is there.
    let temporary = host.join("temporary name");
    for step in &plan.steps {
        match step {
            Step::MakeDirectory { entry, attributes } => {
                let Some(ModeWanted::Exact(mode) | ModeWanted::Masked(mode)) = attributes.mode else {
                    panic!("{step:?}")
                };
                fs::create_dir(place(*entry)).unwrap();
                fs::set_permissions(place(*entry), fs::Permissions::from_mode((mode | 0o700) & !0o022)).unwrap();
            }
            Step::Send { entry, attributes, .. } => {
                let data = fs::read(tree.local(*entry)).unwrap();
                fs::write(&temporary, data).unwrap();
                set(&temporary, attributes);
                fs::rename(&temporary, place(*entry)).unwrap();
            }
            Step::MakeSymlink { entry, .. } => {
                let Kind::Symlink { target } = &tree.entries[*entry].kind else { panic!("{step:?}") };
                symlink(OsStr::from_bytes(target), &temporary).unwrap();
                fs::rename(&temporary, place(*entry)).unwrap();
            }
            Step::HardLink { entry, of, .. } => {
                fs::hard_link(place(*of), &temporary).unwrap();
                fs::rename(&temporary, place(*entry)).unwrap();
                // Renaming over another name of the same file does nothing at all.
                drop(fs::remove_file(&temporary));
            }
            Step::SetAttributes { entry, attributes, .. } => set(&place(*entry), attributes),
            Step::Delete { path, is_directory: true } => fs::remove_dir(at(path)).unwrap(),
            Step::Delete { path, is_directory: false } => fs::remove_file(at(path)).unwrap(),
        }
    }
}

fn scan(folder: &Path, filter: Filter) -> Tree {
    let options = ScanOptions { recursive: true, links: Links::Keep, filter };
    Tree::scan(&[folder.join("source/.")], &options).unwrap()
}

/// Entries that a plan cannot bring to the host, with what is below them.
fn blocked(plan: &Plan, tree: &Tree) -> BTreeSet<Vec<u8>> {
    let conflicts = plan.conflicts.iter().map(|conflict| &tree.entries[conflict.entry].path);
    let below = |path: &TreePath| {
        let entries = tree.entries.iter().filter(|entry| entry.path.within(path).is_some());
        entries.map(|entry| entry.path.as_bytes().to_vec()).collect::<Vec<_>>()
    };
    conflicts.flat_map(below).collect()
}

fn rules() -> impl Strategy<Value = Rules> {
    let mode = || prop::option::weighted(0.2, Just(0o640_u32));
    (any::<bool>(), any::<bool>(), any::<bool>(), mode(), mode()).prop_map(
        |(checksum, preserve, delete, file_mode, directory_mode)| Rules {
            checksum,
            preserve,
            delete,
            file_mode,
            directory_mode: directory_mode.map(|mode| mode | 0o711),
            ..Rules::default()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_that_is_carried_out_leaves_nothing_to_do(
        source in sample::nodes(),
        host in sample::nodes(),
        rules in rules(),
        excluded in prop::option::weighted(0.3, prop::sample::select(vec!["a", "a*", "*/", "/?"])),
        tells_inodes in any::<bool>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let there = folder.path().join("host");
        for (name, nodes) in [("source", &source), ("host", &host)] {
            fs::create_dir(folder.path().join(name)).unwrap();
            sample::write(&folder.path().join(name), nodes);
        }
        let rule = excluded.map(|glob| FilterRule::Exclude(glob.into()));
        let filter = Filter::new(rule.as_slice()).unwrap();
        let tree = scan(folder.path(), filter.clone());
        let placement = Placement::new(&tree.roots, b"/host", DestinationKind::Directory).unwrap();
        let before = sample::walk(&there);
        let wanted = sample::walk(&folder.path().join("source"));
        let observe = || observe(&there, &tree, &placement, &rules, tells_inodes);
        let plan = Plan::new(&tree, &placement, &observe(), &rules);
        let blocked = blocked(&plan, &tree);
        let told = plan.lines(&tree, &placement).len();
        carry_out(&plan, &tree, &there, &placement);
        let after = sample::walk(&there);

        let mut planned = 0;
        for entry in tree.entries.iter().filter(|entry| !blocked.contains(entry.path.as_bytes())) {
            let (have, want) = (&after[entry.path.as_bytes()], &wanted[entry.path.as_bytes()]);
            // Without --checksum, equal size and time are taken for equal content.
            let looks_alike = |file: &What| matches!((file, &want.what), (What::File(a), What::File(b)) if a.len() == b.len());
            prop_assert!(have.what == want.what || !rules.checksum && looks_alike(&have.what), "{:?}", entry);
            let is_file = matches!(have.what, What::File(_));
            if is_file && (!rules.checksum || rules.preserve) {
                prop_assert_eq!(have.mtime, want.mtime);
            }
            let asked = if is_file { rules.file_mode } else { rules.directory_mode };
            let is_link = matches!(have.what, What::Symlink(_));
            if !is_link && !entry.path.is_root() && (asked.is_some() || rules.preserve) {
                prop_assert_eq!(have.mode, asked.unwrap_or(want.mode), "{:?}", entry);
            }
            if have.what == What::Directory && rules.preserve && !entry.path.is_root() && rules.directory_mode.is_none() {
                prop_assert_eq!(have.mtime, want.mtime, "{:?}", entry);
            }
            if let (Kind::HardLink { of }, true) = (&entry.kind, tells_inodes) {
                prop_assert_eq!(have.inode, after[tree.entries[*of].path.as_bytes()].inode);
            }
            planned += 1;
        }
        prop_assert!(planned > 0);
        let may_go = |path: &Vec<u8>| {
            let at = TreePath::from_bytes(path.as_slice());
            // What the rules leave out of the source is not in it.
            let is_sent =
                wanted.get(path).is_some_and(|file| !filter.is_excluded(&at, file.what == What::Directory));
            !is_sent && !filter.is_excluded(&at, before[path].what == What::Directory)
        };
        for path in before.keys().filter(|path| !after.contains_key(*path)) {
            prop_assert!(rules.delete && plan.conflicts.is_empty() && may_go(path), "{}", path.escape_ascii());
        }
        for path in before.keys().filter(|path| may_go(path) && rules.delete && plan.conflicts.is_empty()) {
            let keeps = |other: &&Vec<u8>| other.starts_with(&[path.as_slice(), b"/"].concat());
            prop_assert!(!after.contains_key(path) || after.keys().any(|other| keeps(&other)), "{}", path.escape_ascii());
        }

        let again = Plan::new(&tree, &placement, &observe(), &rules);
        prop_assert_eq!(&again.steps, &[]);
        prop_assert_eq!(&again.conflicts, &plan.conflicts);
        prop_assert_eq!(&again.needs_content, &[] as &[usize]);
        let blocked = again.conflicts.iter().map(|conflict| conflict.blocked + 1).sum::<usize>();
        prop_assert_eq!(again.unchanged + blocked, tree.entries.len());
        prop_assert!(told <= plan.steps.len() + plan.conflicts.len());
    }
}

/// A source, and what a host has in its place.
struct Pair {
    folder: tempfile::TempDir,
    observed: Observed,
    rules: Rules,
    rule: Vec<FilterRule>,
}

impl Pair {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("source")).unwrap();
        let observed = Observed::from([(TreePath::root(), there(FoundKind::Directory))]);
        Self { folder, observed, rules: Rules::default(), rule: Vec::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("source").join(name)
    }

    fn source_file(self, name: &str, data: &str) -> Self {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), data).unwrap();
        sample::set(&self.path(name), 0o644, 1_000_000_000);
        self
    }

    fn source_directory(self, name: &str) -> Self {
        fs::create_dir(self.path(name)).unwrap();
        sample::set(&self.path(name), 0o755, 1_000_000_000);
        self
    }

    fn source_symlink(self, name: &str, target: &str) -> Self {
        symlink(target, self.path(name)).unwrap();
        self
    }

    fn source_hard_link(self, name: &str, of: &str) -> Self {
        fs::hard_link(self.path(of), self.path(name)).unwrap();
        self
    }

    fn host(mut self, name: &str, found: Found) -> Self {
        self.observed.insert(TreePath::from_bytes(name.as_bytes()), found);
        self
    }

    fn rules(mut self, rules: Rules) -> Self {
        self.rules = rules;
        self
    }

    fn exclude(mut self, glob: &str) -> Self {
        self.rule.push(FilterRule::Exclude(glob.into()));
        self
    }

    fn plan(&self) -> (Tree, Placement, Plan) {
        let tree = scan(self.folder.path(), Filter::new(&self.rule).unwrap());
        let placement = Placement::new(&tree.roots, b"/srv", DestinationKind::Directory).unwrap();
        let plan = Plan::new(&tree, &placement, &self.observed, &self.rules);
        (tree, placement, plan)
    }

    fn lines(&self) -> Vec<String> {
        let (tree, placement, plan) = self.plan();
        plan.lines(&tree, &placement)
    }
}

fn there(kind: FoundKind) -> Found {
    Found { kind, mtime: 1_000_000_000, mode: 0o644, uid: 0, gid: 0, identity: Identity::Unknown }
}

/// One of so many names of the file with this number.
fn named(inode: u64, names: u64) -> Identity {
    Identity::Known { device: 1, inode, names }
}

fn file(size: u64) -> Found {
    there(FoundKind::File { size, content: Content::Unknown })
}

fn content(size: u64, content: Content) -> Found {
    Found { mtime: 1, ..there(FoundKind::File { size, content }) }
}

fn directory() -> Found {
    Found { mode: 0o755, ..there(FoundKind::Directory) }
}

fn link(target: &str) -> Found {
    there(FoundKind::Symlink { target: Some(target.into()) })
}

#[test]
fn a_plan_says_what_is_done_and_why() {
    let checksum = || Rules { checksum: true, ..Rules::default() };
    let preserve = || Rules { preserve: true, ..Rules::default() };
    let delete = || Rules { delete: true, ..Rules::default() };
    let a = || Pair::new().source_file("a", "content");
    let cases: Vec<(Pair, Vec<&str>)> = vec![
        // Files.
        (a(), vec!["+ /srv/a (7 B)"]),
        (Pair::new().source_file("a", &"x".repeat(12_600)), vec!["+ /srv/a (12.3 KiB)"]),
        (a().host("a", file(7)), vec![]),
        (a().host("a", file(10)), vec!["~ /srv/a (size 10 → 7)"]),
        (a().host("a", Found { mtime: 999_999_940, ..file(7) }), vec!["~ /srv/a (1 m 00 s newer)"]),
        (a().host("a", Found { mtime: 1_000_007_200, ..file(7) }), vec!["~ /srv/a (2 h 00 m older)"]),
        (a().host("a", link("b")), vec!["~ /srv/a (was a symlink)"]),
        (a().host("a", directory()), vec!["! /srv/a (a directory is in its place)"]),
        (
            a().host("a", there(FoundKind::Special)),
            vec!["! /srv/a (a device, a socket or a named pipe is in its place)"],
        ),
        (a().host("a", content(7, Content::Unknown)).rules(checksum()), vec!["? /srv/a (content is not compared)"]),
        (a().host("a", content(7, Content::Same)).rules(checksum()), vec![]),
        (a().host("a", content(7, Content::Different)).rules(checksum()), vec!["~ /srv/a (content)"]),
        (a().host("a", content(8, Content::Unknown)).rules(checksum()), vec!["~ /srv/a (size 8 → 7)"]),
        (Pair::new().source_file("a", "").host("a", content(0, Content::Unknown)).rules(checksum()), vec![]),
        (Pair::new().source_file("a\nb\u{1b}", "x"), vec![r"+ /srv/a\nb\u{1b} (1 B)"]),
        // Attributes.
        (a().host("a", Found { mode: 0o600, ..file(7) }), vec![]),
        (a().host("a", Found { mode: 0o600, ..file(7) }).rules(preserve()), vec!["= /srv/a (mode 0600 → 0644)"]),
        (
            a().host("a", content(7, Content::Same)).rules(Rules { checksum: true, ..preserve() }),
            vec!["= /srv/a (11574 days newer)"],
        ),
        (
            a().host("a", Found { uid: 5, gid: 6, ..file(7) }).rules(Rules {
                file_mode: Some(0o4711),
                owner: Some(0),
                group: Some(7),
                ..Rules::default()
            }),
            vec!["= /srv/a (mode 0644 → 4711, owner 5 → 0, group 6 → 7)"],
        ),
        // Directories.
        (Pair::new().source_directory("d"), vec!["+ /srv/d/"]),
        (Pair::new().source_directory("d").host("d", directory()), vec![]),
        (Pair::new().source_directory("d").host("d", file(1)), vec!["! /srv/d (a file is in its place)"]),
        (
            Pair::new().source_file("d/a", "").source_file("d/b", "").source_file("e", "").host("d", link("/etc")),
            vec![
                "! /srv/d (a symlink is in its place, and is not followed; 2 below it cannot be sent either)",
                "+ /srv/e (0 B)",
            ],
        ),
        (
            Pair::new().source_directory("d").host("d", Found { mode: 0o700, ..directory() }).rules(preserve()),
            vec!["= /srv/d (mode 0700 → 0755)"],
        ),
        // Links.
        (Pair::new().source_symlink("l", "x"), vec!["l /srv/l → x"]),
        (Pair::new().source_symlink("l", "x").host("l", link("x")), vec![]),
        (Pair::new().source_symlink("l", "x").host("l", link("y")), vec!["l /srv/l → x (was y)"]),
        (Pair::new().source_symlink("l", "x").host("l", file(3)), vec!["l /srv/l → x (was a file)"]),
        (Pair::new().source_symlink("l", "x").host("l", directory()), vec!["! /srv/l (a directory is in its place)"]),
        (a().source_hard_link("b", "a"), vec!["+ /srv/a (7 B)", "h /srv/b → /srv/a"]),
        (a().source_hard_link("b", "a").host("a", file(7)).host("b", file(7)), vec![]),
        (
            a().source_hard_link("b", "a").host("a", file(6)).host("b", file(7)),
            vec!["~ /srv/a (size 6 → 7)", "h /srv/b → /srv/a (was another file)"],
        ),
        (
            a().source_hard_link("b", "a")
                .host("a", Found { identity: named(1, 1), ..file(7) })
                .host("b", Found { identity: named(2, 1), ..file(7) }),
            vec!["h /srv/b → /srv/a (was another file)"],
        ),
        (
            a().source_hard_link("b", "a")
                .host("a", Found { identity: named(1, 2), mode: 0o600, ..file(7) })
                .host("b", Found { identity: named(1, 2), mode: 0o600, ..file(7) })
                .rules(preserve()),
            vec!["= /srv/a (mode 0600 → 0644)"],
        ),
        // What has a name there that is none here would change with it.
        (
            a().host("a", Found { identity: named(1, 2), mode: 0o600, ..file(7) }).rules(preserve()),
            vec!["~ /srv/a (has other names)"],
        ),
        (
            a().source_hard_link("b", "a")
                .host("a", Found { identity: named(1, 2), mode: 0o600, ..file(7) })
                .host("b", Found { identity: named(2, 1), mode: 0o600, ..file(7) })
                .rules(preserve()),
            vec!["~ /srv/a (has other names)", "h /srv/b → /srv/a (was another file)"],
        ),
        (
            a().source_hard_link("b", "a").host("a", directory()),
            vec![
                "! /srv/a (a directory is in its place)",
                "! /srv/b (the file that it is a hard link of cannot be sent)",
            ],
        ),
        // What is on the host alone.
        (a().host("b", file(1)), vec!["+ /srv/a (7 B)"]),
        (
            a().host("b", directory())
                .host("b/c", directory())
                .host("b/c/d", file(1))
                .host("e", link("/"))
                .rules(delete()),
            vec!["+ /srv/a (7 B)", "- /srv/b/", "- /srv/b/c/", "- /srv/b/c/d", "- /srv/e"],
        ),
        (
            a().host("b", directory())
                .host("b/c", directory())
                .host("b/c/d.o", file(1))
                .host("b/e", file(1))
                .exclude("*.o")
                .rules(delete()),
            vec!["+ /srv/a (7 B)", "- /srv/b/e"],
        ),
        (
            a().host("b", directory()).host("b/c", file(1)).host("x", file(1)).exclude("/b/").rules(delete()),
            vec!["+ /srv/a (7 B)", "- /srv/x"],
        ),
        (
            a().host("b", directory())
                .host(&format!("b/{}", temporary()), file(1))
                .host(&temporary(), file(1))
                .rules(delete()),
            vec!["+ /srv/a (7 B)"],
        ),
        (
            a().source_file("d~/a", "")
                .host("d~", directory())
                .host("d~/b", file(1))
                .host("old~", directory())
                .host("old~/in", directory())
                .host("old~/in/f", file(1))
                .rules(Rules { backup: true, ..delete() }),
            vec!["+ /srv/a (7 B)", "+ /srv/d~/a (0 B)", "- /srv/d~/b"],
        ),
        (
            a().host("a", directory()).host("a/b", file(1)).host("c", file(1)).rules(delete()),
            vec!["! /srv/a (a directory is in its place)"],
        ),
    ];
    for (pair, expected) in cases {
        assert_eq!(pair.lines(), expected, "{:?} with {:?}", pair.observed, pair.rules);
    }
}

fn temporary() -> String {
    String::from_utf8(Run::random().unwrap().name_for(b"a")).unwrap()
}

#[test]
fn what_is_replaced_keeps_its_owner_and_mode_and_what_is_new_gets_the_mode_of_the_source() {
    let old = Found { mode: 0o4710, uid: 33, gid: 44, ..file(1) };
    let exact = |mode| Some(ModeWanted::Exact(mode));
    let plain = Rules::default;
    let asked = || Rules { file_mode: Some(0o600), owner: Some(1), group: Some(2), ..Rules::default() };
    let preserve = || Rules { preserve: true, ..Rules::default() };
    for (found, rules, mode, owner, group) in [
        (None, plain(), Some(ModeWanted::Masked(0o644)), None, None),
        (None, preserve(), exact(0o644), None, None),
        (None, asked(), exact(0o600), Some(1), Some(2)),
        (Some(link("x")), plain(), Some(ModeWanted::Masked(0o644)), None, None),
        (Some(old.clone()), plain(), exact(0o4710), Some(33), Some(44)),
        (Some(old.clone()), preserve(), exact(0o644), Some(33), Some(44)),
        (Some(old), asked(), exact(0o600), Some(1), Some(2)),
    ] {
        let atime = rules.preserve.then_some(1_000_000_000);
        let mut pair = Pair::new().source_file("a", "content").rules(rules);
        pair.observed.extend(found.map(|found| (TreePath::root().join(b"a"), found)));
        let (_, _, plan) = pair.plan();
        let attributes = Attributes { mode, owner, group, mtime: Some(1_000_000_000), atime };
        assert!(matches!(&plan.steps[..], [Step::Send { attributes: given, .. }] if *given == attributes), "{plan:?}");
    }
}

#[test]
fn an_owner_that_is_set_sets_the_mode_again() {
    let rules = Rules { owner: Some(1), ..Rules::default() };
    let pair = Pair::new().source_file("a", "content").host("a", Found { mode: 0o4755, ..file(7) }).rules(rules);
    let (_, _, plan) = pair.plan();
    let [Step::SetAttributes { attributes, .. }] = &plan.steps[..] else { panic!("{plan:?}") };
    assert_eq!((attributes.owner, attributes.mode), (Some(1), Some(ModeWanted::Exact(0o4755))));
}

#[test]
fn steps_stand_in_an_order_in_which_they_can_be_done() {
    let pair = Pair::new()
        .source_file("d/e/file", "1")
        .source_file("z", "2")
        .source_symlink("d/l", "x")
        .source_hard_link("a", "z")
        .host("old", directory())
        .host("old/file", file(1))
        .rules(Rules { delete: true, preserve: true, ..Rules::default() });
    let (tree, _, plan) = pair.plan();
    let path = |entry: &usize| tree.entries[*entry].path.as_bytes().escape_ascii().to_string();
    let words: Vec<String> = plan
        .steps
        .iter()
        .map(|step| match step {
            Step::MakeDirectory { entry, .. } => format!("make {}", path(entry)),
            Step::Send { entry, .. } => format!("send {}", path(entry)),
            Step::MakeSymlink { entry, .. } => format!("symlink {}", path(entry)),
            Step::HardLink { entry, .. } => format!("link {}", path(entry)),
            Step::SetAttributes { entry, .. } => format!("set {}", path(entry)),
            Step::Delete { path, .. } => format!("delete {}", path.as_bytes().escape_ascii()),
        })
        .collect();
    assert_eq!(
        words,
        [
            "make d",
            "make d/e",
            "send a",
            "send d/e/file",
            "symlink d/l",
            "link z",
            "delete old/file",
            "delete old",
            "set d/e",
            "set d",
        ]
    );
    assert_eq!(plan.unchanged, 1);
}

#[test]
fn the_owner_cannot_lock_himself_out_of_a_directory_that_is_to_be_filled() {
    let pair = Pair::new().source_file("d/file", "1");
    sample::set(&pair.path("d"), 0o555, 1_000_000_000);
    let (_, _, plan) = pair.plan();
    let wanted = Some(ModeWanted::Masked(0o555));
    assert!(matches!(&plan.steps[0], Step::MakeDirectory { attributes, .. } if attributes.mode == wanted));
    assert!(matches!(&plan.steps[2], Step::SetAttributes { attributes, .. } if attributes.mode == wanted));
    sample::set(&pair.path("d"), 0o755, 1_000_000_000);
}

#[test]
fn several_sources_share_a_directory_and_what_any_of_them_has_is_not_deleted() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["one/d/a", "two/d/b", "named/c"] {
        fs::create_dir_all(folder.path().join(file).parent().unwrap()).unwrap();
        fs::write(folder.path().join(file), file).unwrap();
    }
    let options = ScanOptions { recursive: true, ..ScanOptions::default() };
    let plan = |sources: &[&str], names: &[(&str, Found)]| {
        let sources: Vec<PathBuf> = sources.iter().map(|source| folder.path().join(source)).collect();
        let tree = Tree::scan(&sources, &options).unwrap();
        let placement = Placement::new(&tree.roots, b"/srv/", DestinationKind::Directory).unwrap();
        let observed: Observed =
            names.iter().map(|(name, found)| (TreePath::from_bytes(name.as_bytes()), found.clone())).collect();
        let plan = Plan::new(&tree, &placement, &observed, &Rules { delete: true, ..Rules::default() });
        plan.lines(&tree, &placement)
    };
    let host = [("", directory()), ("d", directory()), ("d/c", file(1)), ("x", file(1)), ("named", directory())];
    assert_eq!(
        plan(&["one/.", "two/.", "named"], &host),
        ["+ /srv/d/a (7 B)", "+ /srv/d/b (7 B)", "- /srv/d/c", "+ /srv/named/c (7 B)", "- /srv/x"]
    );
    // Only what was sent as a tree is mirrored.
    let host = [("", directory()), ("named", directory()), ("named/x", file(1)), ("x", file(1)), ("y", directory())];
    assert_eq!(plan(&["named", "one/d/a"], &host), ["+ /srv/a (7 B)", "+ /srv/named/c (7 B)", "- /srv/named/x"]);
    let host = [("", directory()), ("d", file(1))];
    assert_eq!(
        plan(&["one/.", "two/."], &host),
        ["! /srv/d (a file is in its place; 2 below it cannot be sent either)"]
    );
}

#[test]
fn times_that_the_protocol_cannot_hold_are_not_sent_for_ever() {
    let pair = Pair::new().source_file("a", "content");
    let (mut tree, placement, _) = pair.plan();
    for (source, host, is_unchanged) in
        [(-5, 0, true), (-5, -5, true), (-5, 1, false), (1 << 33, u32::MAX.into(), true), (1 << 33, 1 << 33, true)]
    {
        tree.entries[1].mtime = source;
        let observed = Observed::from([
            (TreePath::root(), directory()),
            (TreePath::root().join(b"a"), Found { mtime: host, ..file(7) }),
        ]);
        let plan = Plan::new(&tree, &placement, &observed, &Rules::default());
        assert_eq!(plan.steps.is_empty(), is_unchanged, "{source} {host}");
    }
    assert_eq!(tree.file(1), Some((7, &Extents::All)));
}
