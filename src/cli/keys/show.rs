//! `bugle keys show FILE…`: what is in key files, as `ssh-keygen -lv` tells it.

use crate::cli::failure::Failed;
use crate::cli::key_files::{begins_private_key, read};
use crate::cli::options::GlobalOptions;
use crate::cli::shown::shown;
use crate::connection::{KeyFile, KeyFileError};
use crate::exit_code;
use crate::keys::{Description, PairFiles, described};
use clap::{Args, ValueHint};
use serde_json::{Value, json};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

const PROBLEMS_SHOWN: usize = 20;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  bugle keys show ~/.ssh/id_ed25519.pub
  bugle keys show -q ~/.ssh/authorized_keys
  bugle keys show --json - keys/*.pub")]
pub(super) struct Arguments {
    /// Public or private keys, certificates, authorized_keys, known_hosts; `-` is standard input
    #[arg(value_name = "FILE", required = true, value_hint = ValueHint::FilePath)]
    files: Vec<PathBuf>,
    /// As JSON: a list of keys; `-` is standard output
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    json: Option<PathBuf>,
}

pub(super) fn run(global: &GlobalOptions, arguments: &Arguments) -> Result<u8, Failed> {
    let mut all = Vec::new();
    let mut problems = Vec::new();
    for path in &arguments.files {
        match keys(path) {
            Ok(keys) => all.extend(keys.into_iter().map(|key| (path.as_path(), key))),
            Err(failed) => problems.push(failed),
        }
    }
    match &arguments.json {
        Some(target) => write_json(target, &all)?,
        None => print(global, &all, arguments.files.len() > 1)?,
    }
    match problems.len() {
        0 => Ok(exit_code::SUCCESS),
        1 => Err(problems.remove(0)),
        _ => Err(Failed::several(problems, PROBLEMS_SHOWN)),
    }
}

fn write_json(target: &Path, all: &[(&Path, Description)]) -> Result<(), Failed> {
    let list: Vec<Value> = all.iter().map(|(path, key)| as_json(path, key)).collect();
    let text = serde_json::to_string_pretty(&list).map_err(Failed::fault)? + "\n";
    if target == Path::new("-") {
        io::stdout().write_all(text.as_bytes())?;
    } else {
        let failed = |error| Failed::mistake_text(format!("cannot write `{}`: {error}", target.display()));
        std::fs::write(target, text).map_err(failed)?;
    }
    Ok(())
}

fn print(global: &GlobalOptions, all: &[(&Path, Description)], several_files: bool) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    for (path, key) in all {
        if several_files {
            write!(out, "{}: ", shown(&path.display().to_string()))?;
        }
        writeln!(out, "{}", shown(&key.summary()))?;
        if !global.quiet {
            writeln!(out, "{}\n{}", key.md5(), key.randomart())?;
        }
    }
    out.flush()
}

fn as_json(path: &Path, key: &Description) -> Value {
    json!({
        "file": path.display().to_string(),
        "line": key.line,
        "bits": key.key.bits(),
        "sha256": key.key.fingerprint(),
        "md5": key.md5(),
        "comment": key.comment,
        "type": key.key.algorithm(),
        "key": key.key.to_string(),
    })
}

/// The keys of a file; at least one.
fn keys(path: &Path) -> Result<Vec<Description>, Failed> {
    let text = read(path)?;
    if is_private(&text) && path != Path::new("-") {
        let file = match KeyFile::open(path) {
            Err(KeyFileError::DsaPem(_)) if beside(path).exists() => return keys(&beside(path)),
            opened => opened?,
        };
        let Some(key) = file.public() else {
            let text = format!("the public half of `{}` cannot be known without its passphrase", path.display());
            let hint = format!("bugle keys passphrase {} gives it a form that tells it", path.display());
            return Err(Failed::mistake_text(text).hint(hint));
        };
        return Ok(vec![Description { key, comment: file.comment(), line: None }]);
    }
    let mut keys = described(&text);
    if keys.is_empty() {
        return Err(Failed::mistake_text(format!("`{}` holds no key", path.display()))
            .hint("a line with a key is `TYPE BASE64 [COMMENT]`, perhaps with options or names of hosts before it"));
    }
    if let [only] = keys.as_mut_slice() {
        only.line = only.line.filter(|_| text.trim_ascii().contains(&b'\n'));
    }
    Ok(keys)
}

/// The file with the public half.
fn beside(path: &Path) -> PathBuf {
    PairFiles::at(path).public
}

/// As ssh-keygen finds out: by the first line.
fn is_private(text: &[u8]) -> bool {
    begins_private_key(text.trim_ascii_start().split(|&byte| byte == b'\n').next().unwrap_or_default())
}
