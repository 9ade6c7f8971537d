//! A push that is interrupted, killed or timed out in the middle of a file.

use crate::fleet::relay::Cable;
use crate::fleet::sftp_daemon::{Sftp, sshd};
use crate::fleet::{Answer, Behaviour, Oddity, When};
use crate::scene::{Scene, noise, wait};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::os::unix::fs::MetadataExt;

/// From this write on the server says nothing, so that the push stays in the middle of its file.
const STUCK: Oddity = Oddity::Answer("write", When::From(2), Answer::Nothing);

fn stuck() -> Scene {
    let scene = Scene::serving([STUCK]);
    scene.source("new", noise(1, 900_000));
    scene.source("tree/new", noise(1, 900_000));
    scene.old("file", "old");
    scene.old("tree/new", "old");
    scene
}

fn until_stuck(scene: &Scene) {
    wait(scene.host().until("a few writes", |_| scene.host().requests_to("write") >= 3));
}

#[test]
fn ctrl_c_leaves_the_old_file_and_nothing_beside_it() {
    for signal in [Signal::INT, Signal::TERM] {
        let scene = stuck();
        let running = scene.push().args(["new", "file"]).start();
        until_stuck(&scene);
        assert_eq!(scene.left().len(), 1);
        running.signal(signal);
        let code = if signal == Signal::INT { 130 } else { 143 };
        running.wait().exited(code).said("");
        assert_eq!(scene.read("file"), b"old");
        scene.assert_nothing_left();
    }
}

#[test]
fn a_time_limit_leaves_the_old_file_and_nothing_beside_it() {
    let scene = stuck();
    let answer = scene.push().args(["--timeout", "400ms", "new", "file"]).run().exited(1).said("");
    let expected = "host: timeout: not done after <time>: what was done until then stands, and the rest is as it was\n\
                    hint: --timeout sets how long the work on a host may take\n";
    assert!(answer.stderr.starts_with(expected), "{}", answer.stderr);
    assert_eq!(scene.read("file"), b"old");
    scene.assert_nothing_left();
}

#[test]
fn a_time_limit_and_ctrl_c_hold_before_the_first_answer_too() {
    for kind in ["init", "limits", "lstat"] {
        let scene = Scene::serving([Oddity::Answer(kind, When::From(1), Answer::Nothing)]);
        scene.source("new", "new");
        scene.old("file", "old");
        let answer = scene.push().args(["--timeout", "400ms", "new", "file"]).run().exited(1);
        assert!(answer.stderr.starts_with("host: timeout: "), "{kind}: {}", answer.stderr);
        let running = scene.push().args(["new", "file"]).start();
        wait(scene.host().until("a request", |_| scene.host().requests_to(kind) >= 2));
        running.signal(Signal::INT);
        running.wait().exited(130);
        assert_eq!(scene.read("file"), b"old");
    }
}

#[test]
fn what_a_killed_push_left_behind_is_secret_and_removed_by_the_next() {
    for (arguments, file) in [(&["new", "file"][..], "file"), (&["-r", "tree", "."], "tree/new")] {
        let scene = stuck();
        let running = scene.push().args(arguments).start();
        until_stuck(&scene);
        let left = scene.left();
        assert_eq!(left.len(), 1, "{arguments:?}");
        assert_eq!(fs::metadata(&left[0]).unwrap().mode() & 0o7777, 0o600);
        // Somebody else's, of whom nobody here knows anything.
        let stranger = left[0].with_file_name(".bugle-aaaaaaaaaaaaaaaa-bbbbbbbb");
        fs::write(&stranger, "").unwrap();
        let aside = left[0].with_file_name(".bugle-notes");
        fs::write(&aside, "").unwrap();

        // While the first one lives, nothing is taken away from it.
        let second = scene.push().args(["--timeout", "300ms"]).args(arguments).run().exited(1);
        assert!(left[0].exists(), "{}", second.stderr);
        let _ = kill_process(Pid::from_raw(running.id().cast_signed()).unwrap(), Signal::KILL);
        drop(running);
        assert_eq!(scene.read(file), b"old");
        assert!(left[0].exists());

        let next = scene.push().args(arguments).start();
        wait(scene.host().until("the end of what was left behind", |_| !left[0].exists()));
        next.signal(Signal::INT);
        next.wait().exited(130);
        assert!(stranger.exists() && aside.exists());
        // After a day it is nobody's.
        let hour = 60 * 60;
        for (age, stays) in [(23 * hour, true), (25 * hour, false)] {
            let moment = std::time::SystemTime::now() - std::time::Duration::from_secs(age);
            fs::File::options().write(true).open(&stranger).unwrap().set_modified(moment).unwrap();
            let next = scene.push().args(["--timeout", if stays { "600ms" } else { "30s" }]).args(arguments).start();
            if stays {
                next.wait().exited(1);
                assert!(stranger.exists(), "{arguments:?}");
            } else {
                wait(scene.host().until("the end of what nobody knows", |_| !stranger.exists()));
                next.signal(Signal::INT);
                next.wait().exited(130);
            }
        }
        assert!(aside.exists());
        assert_eq!(scene.read(file), b"old");
    }
}

#[test]
fn a_run_that_cleared_up_is_not_remembered() {
    let scene = Scene::serving([]);
    scene.source("new", "new");
    for _ in 0..3 {
        scene.push().args(["new", "file"]).run().exited(0);
    }
    let runs = scene.place.path().join(".local/state/bugle/runs");
    assert_eq!(fs::read_dir(runs).unwrap().count(), 0);
}

#[test]
fn a_server_that_dies_under_a_write_leaves_the_old_file() {
    // The kernel kills it for a file that grows beyond this.
    let Some(daemon) = sshd(Sftp::Command("cd; ulimit -f 200; exec $SFTP_SERVER"), &[]) else { return };
    let scene = Scene::on(daemon);
    scene.source("new", noise(1, 900_000));
    scene.old("file", "old");
    let answer = scene.push().args(["new", "file"]).run();
    // The write that reaches the limit fails, and the next one is the end; its answer may come before that.
    assert!([1, 3].contains(&answer.code()), "{}", answer.stderr);
    assert_eq!(scene.read("file"), b"old");
    scene.source("new", "small");
    scene.push().args(["new", "file"]).run().exited(0);
    assert_eq!(scene.read("file"), b"small");
    scene.assert_nothing_left();
}

#[test]
fn with_resume_the_next_push_goes_on_with_what_arrived() {
    for (source, place, arguments) in [
        ("new", "file", &["new", "file"][..]),
        ("new", "file", &["new", "./file"]),
        ("tree/f", "tree/f", &["-r", "tree", "."]),
    ] {
        let scene = Scene::of(Behaviour::behind([Cable::limited(6 << 20), Cable::default()]));
        let content = noise(1, 24 << 20);
        scene.source(source, &content);
        scene.old(place, "old");
        scene.push().args(["--resume", "--timeout", "2s"]).args(arguments).run().exited(1);
        assert_eq!(scene.read(place), b"old", "{arguments:?}");
        assert_eq!(scene.left().len(), 1, "{arguments:?}");
        let answer = scene.push().arg("--resume").args(arguments).run().exited(0);
        assert!(answer.stdout.contains("MiB saved"), "{arguments:?}: {}", answer.stdout);
        assert!(scene.read(place) == content, "{arguments:?}");
        scene.assert_nothing_left();
    }
}
