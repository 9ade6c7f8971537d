//! `bugle keys show FILE…`: what is in key files, as `ssh-keygen -lv` tells it.

use crate::cli::failure::Failed;
use crate::cli::options::GlobalOptions;
use crate::cli::shown::shown;
use crate::connection::KeyFile;
use crate::exit_code;
use crate::keys::{Description, described};
use clap::{Args, ValueHint};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The keys of a large team are a few hundred kilobytes, known_hosts of a large fleet some megabytes.
const LARGEST: u64 = 64 * 1024 * 1024;
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
    match problems.len() {
        0 => {}
        1 => return Err(problems.remove(0)),
        _ => return Err(Failed::several(problems, PROBLEMS_SHOWN)),
    }
    let Some(target) = &arguments.json else {
        print(global, &all, arguments.files.len() > 1)?;
        return Ok(exit_code::SUCCESS);
    };
    let list: Vec<Value> = all.iter().map(|(path, key)| as_json(path, key)).collect();
    let text = serde_json::to_string_pretty(&list).map_err(Failed::fault)? + "\n";
    if target == Path::new("-") {
        io::stdout().write_all(text.as_bytes())?;
    } else {
        let failed = |error| Failed::mistake_text(format!("cannot write `{}`: {error}", target.display()));
        std::fs::write(target, text).map_err(failed)?;
    }
    Ok(exit_code::SUCCESS)
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
        let file = KeyFile::open(path)?;
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

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failed> {
    let failed = |error: io::Error| Failed::mistake_text(format!("cannot read `{}`: {error}", path.display()));
    let mut text = Zeroizing::new(Vec::new());
    let read = if path == Path::new("-") {
        io::stdin().take(LARGEST + 1).read_to_end(&mut text)
    } else {
        File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut text))
    };
    if read.map_err(failed)? as u64 > LARGEST {
        return Err(Failed::mistake_text(format!("`{}` is larger than 64 MiB: no file of keys is", path.display())));
    }
    Ok(text)
}

/// As ssh-keygen finds out: by the first line.
fn is_private(text: &[u8]) -> bool {
    let first = text.trim_ascii_start().split(|&byte| byte == b'\n').next().unwrap_or_default();
    first.windows(b"PRIVATE KEY".len()).any(|window| window == b"PRIVATE KEY") || first.starts_with(b"PuTTY-User-Key")
}
