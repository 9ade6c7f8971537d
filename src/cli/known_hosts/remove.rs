//! `bugle known-hosts remove NAME|TARGETS…`: what `ssh-keygen -R` does, for any number of hosts in one write a file.

use super::list::{Found, of_subjects, write_table};
use super::subject::SubjectOptions;
use super::{invalid, refuse_other_files};
use crate::cli::failure::Failed;
use crate::cli::options::GlobalOptions;
use crate::cli::shown::write_json;
use crate::cli::sources::Known;
use crate::exit_code;
use crate::known_hosts::{Document, Problem, Rewritten, rewrite};
use crate::report::visible;
use clap::Args;
use serde_json::Value;
use std::io::{self, BufWriter, Write};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  bugle known-hosts remove web01
  bugle known-hosts remove '[web01]:2222' 10.0.0.1
  bugle known-hosts remove '@web' --dry-run")]
pub(super) struct Arguments {
    /// Names as files have them, hashed ones too, or targets
    #[arg(value_name = "NAME|TARGETS", required = true)]
    names: Vec<String>,
    #[command(flatten)]
    subjects: SubjectOptions,
    /// Print what would go and touch nothing
    #[arg(long)]
    dry_run: bool,
    /// What goes, as JSON; `-` is standard output
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    json: Option<String>,
}

pub(super) fn run(global: &GlobalOptions, arguments: &Arguments) -> Result<u8, Failed> {
    arguments.subjects.files.require()?;
    let known = Known::load(global)?;
    let mut stderr = io::stderr().lock();
    let mut code = exit_code::SUCCESS;
    let mut gone: Vec<Found> = Vec::new();
    let mut renewed = Vec::new();
    for (files, subjects) in arguments.subjects.subjects(&known, global, &arguments.names)? {
        let mut counts = vec![0; subjects.len()];
        for path in files.user.iter().filter(|path| path.exists()) {
            let names: Vec<&str> =
                subjects.iter().flat_map(|subject| subject.names.iter().map(String::as_str)).collect();
            let mut found = Vec::new();
            let mut problems = Vec::new();
            let mut other = Ok(());
            let mut edit = |document: &Document| {
                problems = document.problems(path);
                if !problems.is_empty() {
                    other = refuse_other_files(path, document.as_bytes());
                    return document.as_bytes().to_vec();
                }
                found = of_subjects(path, document, &subjects);
                found.retain(|(_, found)| found.is_unmarked());
                document.without(&names).0
            };
            let rewritten = if arguments.dry_run {
                if let Some(document) = Document::read(path).map_err(Failed::mistake)? {
                    edit(&document);
                }
                Rewritten::Unchanged
            } else {
                rewrite(path, edit)?
            };
            other?;
            if !problems.is_empty() {
                tell_invalid(&mut stderr, &problems)?;
                code = exit_code::WORK_FAILED;
                continue;
            }
            for (number, found) in found {
                counts[number] += 1;
                gone.push(found);
            }
            if let Rewritten::Replaced { backup: Some(backup) } = rewritten {
                renewed.push(format!("{} is new; the former one is {}", path.display(), backup.display()));
            }
        }
        if code == exit_code::SUCCESS {
            for (subject, _) in subjects.iter().zip(&counts).filter(|(_, count)| **count == 0) {
                writeln!(stderr, "nothing is known of {}", subject.shown())?;
            }
        }
    }
    match &arguments.json {
        Some(target) => write_json(target, &Value::Array(gone.iter().map(Found::document).collect()))?,
        None => write_table(&mut BufWriter::new(io::stdout().lock()), &gone)?,
    }
    if !global.quiet {
        renewed.iter().try_for_each(|text| writeln!(stderr, "{}", visible(text)))?;
    }
    Ok(code)
}

/// Lines that are damaged may be about the host: what is wrong is mended by a person before anything is taken out.
pub(super) fn tell_invalid(stderr: &mut dyn Write, problems: &[Problem]) -> io::Result<()> {
    for problem in problems {
        invalid(problem).report(stderr, &[]);
    }
    writeln!(stderr, "hint: {} was left as it is: mend or delete these lines first", problems[0].place.file.display())
}
