//! Trees on the host are those of the sources, in every aspect that was asked for, on every kind of server.

use crate::bugle::{Answer, Bugle, Place};
use crate::fleet::openssh::Daemon;
use crate::fleet::openssh::find;
use crate::fleet::sftp_daemon::{Sftp, dropbear, sshd};
use crate::fleet::trees::{ALL, Aspect, EVERY_ASPECT, Kind, assert_same, plant};
use crate::fleet::{Behaviour, Fleet, Oddity};
use crate::scene::{Scene, noise, set_time};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a server cannot keep.
fn all_but(aspects: &[Aspect]) -> Vec<Aspect> {
    EVERY_ASPECT.iter().copied().filter(|aspect| !aspects.contains(aspect)).collect()
}

/// What a push says: how many were changed and how many were not.
fn counts(answer: &Answer) -> (u64, u64) {
    let number = |word: &str| {
        let part = answer.stdout.trim().split(", ").find(|part| part.contains(word));
        part.and_then(|part| part.split(' ').next()?.parse().ok()).unwrap_or(0)
    };
    (number(" changed"), number(" unchanged"))
}

/// A tree is the same on the host, a second push finds nothing to do, and `--delete` makes a mirror.
fn arrives(scene: &Scene, seed: u64, aspects: &[Aspect]) {
    let tree = scene.place.path().join("tree");
    plant(&tree, seed, ALL);
    let push = |options: &[&str]| scene.push().args(["-r", "-p"]).args(options).arg(&tree).arg("copy").run();
    let first = push(&[]).exited(0);
    let copy = scene.home().join("copy");
    assert_same(&tree, &copy, aspects);
    let (changed, _) = counts(&first);
    assert!(changed > 200, "{}", first.stdout);

    // There is a directory now, so the tree would go into it.
    let contents = tree.join(".");
    let again = |options: &[&str]| scene.push().args(["-r", "-p"]).args(options).arg(&contents).arg("copy").run();
    for options in [&[][..], &["--delete"]] {
        let (changed, unchanged) = counts(&again(options).exited(0));
        assert_eq!(changed, 0, "{unchanged} are unchanged");
        assert!(unchanged > 200);
    }
    assert_same(&tree, &copy, aspects);

    // What is not in the tree, and a way out of it that must not be taken.
    let outside = scene.home().join("outside");
    fs::create_dir_all(outside.join("deep")).unwrap();
    fs::write(outside.join("deep/file"), "stays").unwrap();
    for path in ["stranger", "directory\n/deep/er/file", "names/\u{fe}"] {
        let path = copy.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "goes").unwrap();
    }
    // They are those of the one who logs in.
    let owner = fs::metadata(&copy).unwrap();
    let owner = format!("{}:{}", owner.uid(), owner.gid());
    assert!(Command::new("chown").args(["-R", &owner]).arg(copy.join("directory\n")).status().unwrap().success());
    symlink(&outside, copy.join("way-out")).unwrap();
    symlink("nowhere", copy.join("names/loose")).unwrap();
    again(&["--delete"]).exited(0);
    // The directory itself is not sent by `SRC/.`, and has the time of its last change.
    let inside: Vec<Aspect> = aspects.iter().copied().filter(|aspect| *aspect != Aspect::Root).collect();
    assert_same(&tree, &copy, &inside);
    assert_eq!(fs::read(outside.join("deep/file")).unwrap(), b"stays");
    scene.assert_nothing_left();
}

fn arrives_at(daemon: Option<Daemon>, seed: u64, aspects: &[Aspect]) {
    if let Some(daemon) = daemon {
        arrives(&Scene::on(daemon), seed, aspects);
    }
}

#[test]
fn trees_arrive_whole_at_sftp_server() {
    arrives_at(sshd(Sftp::External(""), &[]), 1, EVERY_ASPECT);
}

#[test]
fn trees_arrive_whole_at_internal_sftp() {
    arrives_at(sshd(Sftp::Internal("-u 077"), &[]), 2, EVERY_ASPECT);
}

#[test]
fn trees_arrive_whole_at_dropbear() {
    arrives_at(dropbear(Sftp::External(""), &[]), 3, EVERY_ASPECT);
}

#[test]
fn trees_arrive_whole_where_the_user_may_not_do_everything() {
    let daemon = sshd(Sftp::Internal(""), &[]).and_then(Daemon::for_stranger);
    arrives_at(daemon, 4, &all_but(&[Aspect::Owner]));
}

#[test]
fn trees_arrive_whole_at_a_server_without_extensions() {
    let scene = Scene::serving([Oddity::NoExtensions]);
    arrives(&scene, 5, &all_but(&[Aspect::HardLinks, Aspect::LinkModified]));
}

#[test]
fn trees_arrive_whole_where_a_shell_stands_in_for_the_server() {
    arrives_at(sshd(Sftp::Absent, &[]), 8, EVERY_ASPECT);
}

/// Directories with programs of the host, but none that computes digests.
fn without_hashing() -> tempfile::TempDir {
    let programs = tempfile::tempdir().unwrap();
    let names =
        ["cat", "chmod", "chown", "dd", "df", "ln", "ls", "mkdir", "mv", "rm", "rmdir", "stat", "sync", "touch"];
    for name in names {
        symlink(find(name).unwrap(), programs.path().join(name)).unwrap();
    }
    programs
}

#[test]
fn where_few_files_may_be_open_at_once_many_new_ones_arrive_all_the_same() {
    let programs = without_hashing();
    let path = format!("SetEnv PATH={}", programs.path().display());
    for options in [&[][..], &[path.as_str()]] {
        let Some(daemon) = sshd(Sftp::Absent, options) else { return };
        let scene = Scene::on(daemon);
        (0..12).for_each(|number| drop(scene.source(&format!("tree/{number}"), noise(number, 100 * number as usize))));
        for (number, options) in
            [&["-r"][..], &["-rp"], &["-r", "--checksum"], &["-rp", "--checksum"]].iter().enumerate()
        {
            let name = format!("copy{number}");
            let answer = scene.push().args(*options).args(["tree", &name]).run().exited(0);
            assert!(answer.stdout.starts_with("13 changed "), "{options:?}: {}", answer.stdout);
            assert_same(&scene.place.path().join("tree"), &scene.home().join(&name), &[Aspect::Mode]);
            let answer = scene.push().args(*options).args(["tree/.", &name]).run();
            answer.exited(0).said("0 changed, 13 unchanged\n");
        }
        scene.assert_nothing_left();
    }
}

#[test]
fn trees_arrive_whole_where_answers_overtake_each_other() {
    let scene = Scene::serving([Oddity::Shuffled]);
    arrives(&scene, 6, EVERY_ASPECT);
}

#[test]
fn a_second_push_asks_for_nothing_to_be_changed() {
    let scene = Scene::serving([]);
    let tree = scene.place.path().join("tree");
    plant(&tree, 7, &[Kind::Files, Kind::Symlinks, Kind::HardLinks, Kind::Holes]);
    let push = |options: &[&str]| scene.push().arg("-r").args(options).arg(&tree).arg(".").run().exited(0);
    push(&[]);
    let before = scene.changing_requests();
    assert!(before > 300);
    for options in [&[][..], &["--delete"], &["--checksum"]] {
        assert_eq!(counts(&push(options)).0, 0);
        assert_eq!(scene.changing_requests(), before, "{options:?}");
    }
}

#[test]
fn names_of_one_file_become_so_on_the_host_and_cease_to_be_so() {
    let scene = Scene::serving([]);
    let tree = scene.place.path().join("tree");
    let there = scene.home().join("tree");
    let set_mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    // Here links, there files of their own; here files of their own, there links.
    for (name, mode) in [("linked/one", 0o644), ("apart/open", 0o644), ("apart/secret", 0o600)] {
        for path in [scene.source(&format!("tree/{name}"), "content"), scene.old(&format!("tree/{name}"), "content")] {
            set_mode(&path, mode);
            set_time(&path, 1_600_000_000);
        }
    }
    fs::hard_link(tree.join("linked/one"), tree.join("linked/two")).unwrap();
    fs::copy(there.join("linked/one"), there.join("linked/two")).unwrap();
    set_time(&there.join("linked/two"), 1_600_000_000);
    fs::remove_file(there.join("apart/secret")).unwrap();
    fs::hard_link(there.join("apart/open"), there.join("apart/secret")).unwrap();
    let push = |options: &[&str]| scene.push().args(["-r", "-p"]).args(options).args(["tree", "."]).run().exited(0);
    let listed = push(&["--dry-run"]).stdout;
    assert!(listed.contains("h ./tree/linked/two → ./tree/linked/one (was another file)\n"), "{listed}");
    assert!(listed.contains("~ ./tree/apart/secret (has other names)\n"), "{listed}");
    push(&[]);
    assert_same(&tree, &there, EVERY_ASPECT);
    push(&[]).said("0 changed, 7 unchanged\n");
    push(&["--checksum"]).said("0 changed, 7 unchanged\n");
}

#[test]
fn without_hard_links_on_the_host_their_files_are_sent_as_often_as_they_are_named() {
    let scene = Scene::serving([Oddity::Without("hardlink")]);
    fs::create_dir(scene.place.path().join("tree")).unwrap();
    scene.source("tree/one", "content");
    fs::hard_link(scene.place.path().join("tree/one"), scene.place.path().join("tree/two")).unwrap();
    scene.push().args(["-r", "tree", "new"]).run().exited(0);
    scene.push().args(["-r", "-p", "tree", "preserved"]).run().exited(0);
    for tree in ["new", "preserved"] {
        let aspects = [Aspect::Mode, Aspect::Modified];
        assert_same(&scene.place.path().join("tree"), &scene.home().join(tree), &aspects);
    }
    scene.push().args(["-r", "tree/.", "new"]).run().is(0, "0 changed, 3 unchanged\n", "");
}

#[test]
fn excluded_names_are_neither_sent_nor_deleted() {
    let scene = Scene::serving([]);
    let source = |name: &str| scene.source(&format!("site/{name}"), name);
    for name in ["index.html", "app.js", "app.js.map", "keep.map", "cache/x", "sub/cache/y", "sub/z", "local/secret"] {
        source(name);
    }
    scene.source("site/.gitignore", "local/\n");
    for name in ["site/old.map", "site/cache/theirs", "site/local/theirs", "site/goes"] {
        scene.old(name, "theirs");
    }
    let rules = ["--include", "keep.map", "--exclude", "*.map", "--exclude", "cache/", "--gitignore"];
    scene.push().args(["-r", "--delete"]).args(rules).args(["site", "."]).run().exited(0);
    let mut found = files(scene.home().join("site"));
    found.sort();
    let expected =
        [".gitignore", "app.js", "cache/theirs", "index.html", "keep.map", "local/theirs", "old.map", "sub/z"];
    assert_eq!(found, expected);
}

/// The paths of all files below a directory.
fn files(root: PathBuf) -> Vec<String> {
    let (mut found, mut waiting) = (Vec::new(), vec![root.clone()]);
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() && !path.is_symlink() {
                true => waiting.push(path),
                false => found.push(path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned()),
            }
        }
    }
    found
}

#[test]
fn what_is_no_file_is_left_out_and_said_to_be() {
    let scene = Scene::serving([]);
    scene.source("tree/file", "content");
    let tree = scene.place.path().join("tree");
    assert!(Command::new("mkfifo").arg(tree.join("pipe")).arg(tree.join("second")).status().unwrap().success());
    let _socket = UnixListener::bind(tree.join("socket\n")).unwrap();
    for options in [&["--dry-run"][..], &[]] {
        let answer = scene.push().arg("-r").args(options).args(["tree", "copy"]).run().exited(0);
        assert_eq!(
            answer.stderr.matches(" left out that are no files, such as `tree/").count(),
            1,
            "{}",
            answer.stderr
        );
        answer.told("3 left out that are no files, such as `tree/");
    }
    assert_eq!(files(scene.home().join("copy")), ["file"]);
}

#[test]
fn what_is_called_as_files_on_their_way_are_is_left_out_and_said_to_be() {
    let scene = Scene::serving([]);
    let name = "tree/.bugle-abcdefghijklmnop-abcdefgh";
    for name in [name, "tree/file"] {
        scene.source(name, "content");
    }
    let told = format!("1 left out that have names that bugle gives to files on their way, such as `{name}`");
    scene.push().args(["-r", "tree", "copy"]).run().exited(0).told(&told);
    scene.push().args(["-r", "--exclude", ".bugle-*", "tree", "other"]).run().exited(0).talked("");
    assert_eq!(files(scene.home().join("copy")), ["file"]);
    scene.push().args([name, "named"]).run().exited(2).told("has a name that bugle gives to files on their way");
    scene.old(name, "content");
    let pull =
        |source: &str| Bugle::on(scene.fleet()).at(&scene.place).args(["pull", "host", "-r", source, "out"]).run();
    pull("tree").exited(0).told(&told);
    pull("tree/.b*").exited(0).told(&told);
    assert!(files(scene.place.path().join("out/host/tree")).is_empty());
    pull(name).exited(1).told("it has a name that bugle gives to files on their way, and is not fetched");
}

#[test]
fn a_symlink_as_a_source_is_followed_and_with_its_directory_made_anew() {
    let scene = Scene::serving([]);
    scene.source("file", "content");
    symlink("file", scene.place.path().join("link")).unwrap();
    symlink("nothing", scene.place.path().join("dangling")).unwrap();
    scene.push().args(["link", "followed"]).run().exited(0);
    assert!(!scene.home().join("followed").is_symlink() && scene.read("followed") == b"content");
    scene.push().args(["-r", "link", "kept"]).run().exited(0);
    assert_eq!(fs::read_link(scene.home().join("kept")).unwrap().to_str(), Some("file"));
    // What is told is what helps.
    let answer = scene.push().args(["dangling", "new"]).run().exited(2);
    answer.told("hint: `-r --links keep` makes the symlinks anew, `--links skip` leaves them out\n");
    scene.push().args(["-r", "--links", "keep", "dangling", "new"]).run().exited(0);
    assert!(scene.home().join("new").is_symlink());
    scene.push().args(["--links", "skip", "dangling", "newer"]).run().exited(0);
    assert!(!scene.home().join("newer").exists());
}

#[test]
fn to_delete_is_refused_where_no_directory_is_sent() {
    let scene = Scene::serving([]);
    scene.source("file", "content");
    scene.old("stranger", "theirs");
    scene.push().args(["--delete", "file", "."]).run().exited(2).told("hint: add `-r`, or leave `--delete` out\n");
    assert!(!scene.home().join("file").exists() && scene.home().join("stranger").exists());
}

#[test]
fn symlinks_are_kept_followed_or_left_out() {
    let scene = Scene::serving([]);
    scene.source("tree/file", "content");
    scene.source("tree/sub/inside", "inside");
    let tree = scene.place.path().join("tree");
    symlink("file", tree.join("to-file")).unwrap();
    symlink("sub", tree.join("to-sub")).unwrap();
    for (how, expected) in [
        ("keep", &["file", "sub/inside", "to-file", "to-sub"][..]),
        ("follow", &["file", "sub/inside", "to-file", "to-sub/inside"]),
        ("skip", &["file", "sub/inside"]),
    ] {
        scene.push().args(["-r", "--links", how, "tree", how]).run().exited(0);
        let mut found = files(scene.home().join(how));
        found.sort();
        assert_eq!(found, expected, "{how}");
        let is_link = |name: &str| scene.home().join(how).join(name).is_symlink();
        assert_eq!(is_link("to-file") && is_link("to-sub"), how == "keep", "{how}");
    }
    assert_eq!(fs::read_link(scene.home().join("keep/to-file")).unwrap().to_str(), Some("file"));
    assert_eq!(scene.read("follow/to-file"), b"content");
    // One that leads elsewhere by now is replaced, and so is a file that is in its place.
    for (old, options) in [("link", &["-r"][..]), ("file", &["-r", "--delete"])] {
        let there = scene.home().join("keep/to-file");
        fs::remove_file(&there).unwrap();
        match old {
            "link" => symlink("elsewhere", &there).unwrap(),
            _ => fs::write(&there, "a file").unwrap(),
        }
        scene.push().args(options).args(["tree/.", "keep"]).run().exited(0);
        assert_eq!(fs::read_link(there).unwrap().to_str(), Some("file"));
    }
    scene.assert_nothing_left();
}

#[test]
fn hosts_that_take_more_and_less_at_once_all_get_every_byte() {
    let small = Oddity::Limits([34_000, 32_768, 32_768, 100]);
    let fleet = Fleet::of((0..6).map(|number| {
        let oddities = if number % 2 == 0 { vec![small] } else { Vec::new() };
        (format!("h{number}"), Behaviour::serving(oddities))
    }));
    let place = Place::new();
    let content = noise(1, 900_000);
    place.file("new", &content);
    Bugle::on(&fleet).at(&place).args(["push", "all", "new", "file"]).run().exited(0);
    for host in fleet.hosts() {
        assert!(fs::read(host.home.join("file")).unwrap() == content, "{}", host.name);
    }
}

#[test]
fn symlinks_that_are_there_get_the_times_of_the_sources_both_ways() {
    let scene = Scene::serving([]);
    scene.source("tree/file", "content");
    let source = scene.place.path().join("tree/link");
    symlink("file", &source).unwrap();
    let at = |seconds: i64| {
        let time = rustix::fs::Timespec { tv_sec: seconds, tv_nsec: 0 };
        rustix::fs::Timestamps { last_access: time, last_modification: time }
    };
    let set = |path: &Path, seconds| {
        rustix::fs::utimensat(rustix::fs::CWD, path, &at(seconds), rustix::fs::AtFlags::SYMLINK_NOFOLLOW).unwrap();
    };
    let time_of = |path: &Path| fs::symlink_metadata(path).unwrap().mtime();
    set(&source, 1_000_000_000);
    scene.push().args(["-r", "tree", "."]).run().exited(0);
    let there = scene.home().join("tree/link");
    assert_ne!(time_of(&there), 1_000_000_000);
    scene.push().args(["-r", "-p", "tree", "."]).run().exited(0);
    assert_eq!(time_of(&there), 1_000_000_000);
    scene.push().args(["-r", "-p", "tree", "."]).run().exited(0).said("0 changed, 3 unchanged\n");
    let pull = || Bugle::on(scene.fleet()).at(&scene.place).args(["pull", "host", "-r", "-p", "tree", "taken"]).run();
    pull().exited(0);
    let taken = scene.place.path().join("taken/host/tree/link");
    set(&taken, 1_100_000_000);
    pull().exited(0).said("1 changed, 2 unchanged\n");
    assert_eq!(time_of(&taken), 1_000_000_000);
}
