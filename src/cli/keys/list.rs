//! `bugle keys list TARGETS`: a table of keys, users and hosts.

use super::revoke::wanted;
use super::rollout::RolloutOptions;
use super::table::Table;
use crate::cli::failure::Failed;
use crate::cli::options::GlobalOptions;
use crate::cli::prompt;
use crate::exit_code;
use crate::keys::authorized::Wanted;
use crate::task::rollout::{Finding, KeyListing, Whose};
use clap::Args;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Args, Debug)]
#[command(after_help = "--json writes an object a line instead of the table.

Examples:
  bugle keys list all
  bugle keys list all --sudo --everywhere --key alice.pub
  bugle keys list all --sudo --everywhere --json - | jq 'select(.flags | length > 0)'")]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) rollout: RolloutOptions,
    /// Only this key: a key file, SHA256:… or MD5:…, a comment, or the key itself [repeatable]
    #[arg(long, value_name = "KEY", id = "only", help_heading = "Which keys")]
    key: Vec<String>,
    /// In the files of all users (with --sudo, unless root logs in)
    #[arg(long, conflicts_with = "for")]
    everywhere: bool,
}

pub(super) fn run(global: &GlobalOptions, mut arguments: Arguments) -> Result<u8, Failed> {
    let only = wanted(&arguments.key)?;
    let whose = if arguments.everywhere { Whose::Everyone } else { arguments.rollout.whose()? };
    // It is the keys that are asked for, not the events.
    let json = arguments.rollout.fanout.json.take();
    let mut ready = arguments.rollout.reach(global, "keys list")?;
    let names: Vec<String> = ready.called.hosts.iter().map(|host| host.destination.name.to_string()).collect();
    let (found, conduct) = (Arc::new(Mutex::default()), arguments.rollout.conduct());
    let (title, listing) = (title(&only), Arc::clone(&found));
    let search = Search { names, only, found };
    if json.is_none() {
        let search = search.clone();
        ready.epilogue = Some(Box::new(move || Table::new(&search.names, &search.findings()).text().into_bytes()));
    }
    let code =
        ready.work(title, &[], |caller, hosts| Ok(KeyListing { caller, hosts, whose, conduct, found: listing }))?;
    let findings = search.findings();
    if findings.is_empty() && !global.quiet {
        let keys: Vec<String> = search.only.iter().map(|wanted| format!("`{wanted}`")).collect();
        let what = if keys.is_empty() { "no keys".into() } else { format!("no key is {}", keys.join(" or ")) };
        let answered = if code == exit_code::SUCCESS { "" } else { " on the hosts that answered" };
        prompt::say(&format!("{what}{answered}"));
    }
    if let Some(path) = json {
        write_json(&path, &Table::new(&search.names, &findings))?;
    }
    Ok(code)
}

/// What is looked for, and what is found of it.
#[derive(Clone)]
struct Search {
    names: Vec<String>,
    only: Vec<Wanted>,
    found: Arc<Mutex<Vec<Finding>>>,
}

impl Search {
    /// What was found up to now, in order.
    fn findings(&self) -> Vec<Finding> {
        let is_meant = |finding: &&Finding| match &finding.key {
            Ok(entry) => self.only.is_empty() || self.only.iter().any(|wanted| wanted.matches(entry)),
            Err(_) => self.only.is_empty(),
        };
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let mut findings: Vec<Finding> = found.iter().filter(is_meant).cloned().collect();
        findings.sort_by(|one, other| {
            (one.host, &one.user, &one.path, one.line).cmp(&(other.host, &other.user, &other.path, other.line))
        });
        findings
    }
}

fn title(only: &[Wanted]) -> String {
    let keys: Vec<String> = only.iter().map(ToString::to_string).collect();
    if keys.is_empty() { "all keys".into() } else { keys.join(", ") }
}

fn write_json(path: &Path, table: &Table<'_>) -> Result<(), Failed> {
    let mut out: Box<dyn Write> = if path == Path::new("-") {
        Box::new(io::stdout().lock())
    } else {
        let create = |path: &PathBuf| File::create(path);
        let file = create(&path.to_path_buf())
            .map_err(|error| Failed::mistake_text(format!("cannot write `{}`: {error}", path.display())))?;
        Box::new(file)
    };
    let mut text = String::new();
    for object in table.objects() {
        text += &object.to_string();
        text.push('\n');
    }
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}
