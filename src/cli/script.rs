//! `bugle script TARGETS FILE [ARGS…]`.

use super::failure::Failed;
use super::options::{FanoutOptions, GlobalOptions, TargetOptions};
use super::run::{HostOptions, Job};
use crate::task::{ScriptFile, quote};
use clap::{Args, ValueHint};
use std::ffi::OsString;
use std::path::PathBuf;

/// A script is sent over one channel and held in memory once; what is larger is no script.
const LIMIT: u64 = 64 * 1024 * 1024;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  bugle script all ./health.sh
  bugle script @web deploy.py --version 1.4.2
  bugle script 'db[1-3]' --sudo --serial 1 upgrade.sh")]
pub(super) struct Arguments {
    #[command(flatten)]
    targets: TargetOptions,
    /// The local script; its #! line says what runs it, /bin/sh without one. What follows are its arguments
    #[arg(
        value_names = ["FILE", "ARGS"],
        num_args = 1..,
        required = true,
        trailing_var_arg = true,
        value_hint = ValueHint::CommandWithArguments
    )]
    script: Vec<OsString>,
    #[command(flatten)]
    pub(super) host: HostOptions,
    #[command(flatten)]
    fanout: FanoutOptions,
}

pub(super) fn run(global: &GlobalOptions, arguments: Arguments) -> Result<u8, Failed> {
    let mut words = arguments.script.into_iter();
    let path = PathBuf::from(words.next().unwrap_or_default());
    let words = words.map(|word| {
        word.into_string().map_err(|word| Failed::mistake_text(format!("`{}` is not UTF-8", word.display())))
    });
    let words = words.collect::<Result<Vec<String>, Failed>>()?;
    let failed =
        |error: std::io::Error| Failed::mistake_text(format!("cannot read the script `{}`: {error}", path.display()));
    let facts = std::fs::metadata(&path).map_err(failed)?;
    if !facts.is_file() || facts.len() > LIMIT {
        return Err(Failed::mistake_text(format!(
            "`{}` is not a script: a file of at most 64 MiB is needed",
            path.display()
        )));
    }
    let bytes = std::fs::read(&path).map_err(failed)?;
    if !bytes.starts_with(b"#!") && bytes.contains(&0) {
        return Err(Failed::mistake_text(format!(
            "`{}` is a program, not a script: it has no `#!` line and holds NUL bytes",
            path.display()
        )));
    }
    let quoted: Vec<String> = words.iter().map(|word| quote(word)).collect();
    let job = Job {
        verb: "script",
        title: [vec![path.display().to_string()], quoted].concat().join(" "),
        line: arguments.host.command_line(String::new())?,
        template: false,
        script: Some(ScriptFile::new(&path, &bytes, words)),
        input: Some(bytes),
        standard_input: None,
    };
    job.run(global, &arguments.targets, &arguments.host, &arguments.fanout, || Ok(None))
}
