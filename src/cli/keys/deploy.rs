//! `bugle keys deploy TARGETS`.

use super::bearers;
use super::rollout::{Plan, RepairOptions, RolloutOptions};
use crate::cli::failure::Failed;
use crate::cli::options::GlobalOptions;
use crate::cli::shown::beginning;
use crate::keys::authorized::{Expiry, HostClock, Options};
use crate::task::rollout::{Absent, Admission, Bearer, Caution, Errand, Sequence, Wish};
use clap::{Args, ValueHint};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Characters of options that are shown with what is wrong with them, and of what is said about it.
const EXCERPT: usize = 120;
const LONGEST: usize = 240;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  bugle keys deploy all --ask-pass
  bugle keys deploy 'web[01-20]' --key ~/.ssh/id_ed25519.pub --repair
  bugle keys deploy @db --key alice.pub --for postgres --sudo
  bugle keys deploy all --key ci.pub --options 'from=\"10.0.0.0/8\",restrict,pty' --dry-run")]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) rollout: RolloutOptions,
    /// A key file, public or private; else the agent's keys, else the newest ~/.ssh/id*.pub [repeatable]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Which keys")]
    key: Vec<PathBuf>,
    /// What stands before the keys in authorized_keys, such as `from="10.0.0.0/8",restrict,pty`; without it, options stay
    #[arg(long, value_name = "OPTIONS", help_heading = "Which keys")]
    options: Option<String>,
    /// Give a key other options also where no other way in is proved
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    repair: RepairOptions,
}

pub(super) fn run(global: &GlobalOptions, arguments: Arguments) -> Result<u8, Failed> {
    let options = arguments.options.as_deref().map(read_options).transpose()?;
    let mut named = bearers::of_files(&arguments.key)?;
    let whose = arguments.rollout.whose()?;
    let ready = arguments.rollout.reach(global, "keys deploy")?;
    if named.is_empty() {
        named = bearers::of_default(ready.agent())?;
    }
    let present = named.iter().map(|bearer| admission(bearer, options.as_ref())).collect::<Result<Vec<_>, _>>()?;
    let wish = Wish { present, absent: Absent::Nothing };
    ready.run(Plan {
        title: title(&named),
        errands: vec![Errand { whose, wish, refused: Vec::new() }],
        sequence: Sequence::Apart,
        repair: arguments.repair.repair(),
        caution: if arguments.force { Caution::Forced } else { Caution::Careful },
        needed: Vec::new(),
    })
}

/// A key with its options; a line that sshd would not read is a mistake.
pub(super) fn admission(bearer: &Arc<Bearer>, options: Option<&Options>) -> Result<Admission, Failed> {
    bearer.key.line(options).map_err(|error| Failed::mistake_text(format!("{}: {error}", bearer.key)))?;
    Ok(Admission { bearer: Arc::clone(bearer), options: options.cloned(), like: None })
}

/// Options that are to be written, and let somebody in.
pub(super) fn read_options(text: &str) -> Result<Options, Failed> {
    let options = parse_options(text)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    match Expiry::of(&options).filter(|end| end.is_over(&HostClock::anywhere(now)) == Some(true)) {
        None => Ok(options),
        Some(end) => Err(Failed::mistake_text(format!(
            "no key logs in with these options: their `expiry-time` ({end}) has passed"
        ))
        .hint("give the key a later time, or take it out: `bugle keys revoke` removes it where it is")),
    }
}

fn parse_options(text: &str) -> Result<Options, Failed> {
    text.parse::<Options>().map_err(|error| {
        let before = error.column.saturating_sub(1);
        // Of long options the part with the mistake.
        let skipped = before.saturating_sub(EXCERPT / 2);
        let rest: String = text.chars().skip(skipped).map(|c| if c.is_control() { ' ' } else { c }).collect();
        let (mark, caret) = (if skipped > 0 { "…" } else { "" }, " ".repeat(before - skipped + skipped.min(1)));
        let (reason, excerpt) = (beginning(&error.reason, LONGEST), beginning(&rest, EXCERPT));
        let hint = error.hint.filter(|hint| hint.chars().count() <= LONGEST);
        Failed::mistake_text(format!("{reason}\n  {mark}{excerpt}\n  {caret}^")).hints(hint)
    })
}

/// The keys in words.
pub(super) fn title(bearers: &[Arc<Bearer>]) -> String {
    let keys: Vec<String> = bearers.iter().map(|bearer| bearer.key.to_string()).collect();
    keys.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(options: &str) -> String {
        let mut text = Vec::new();
        read_options(options).unwrap_err().report(&mut text, &[]);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_mistake_in_long_options_is_shown_with_what_is_around_it() {
        let long = "x".repeat(20_000);
        for options in [
            format!("from=\"{long}"),
            format!("command=\"{long}\",ptty"),
            format!("{long}=\"1\""),
            format!("permitopen=\"{long}\",pty"),
            format!("restrict,{long}"),
        ] {
            let text = said(&options);
            assert!(text.lines().all(|line| line.chars().count() < 300), "{text}");
        }
        let text = said(&format!("command=\"{long}\",ptty"));
        let lines: Vec<&str> = text.lines().collect();
        let place = lines[2].find('^').unwrap();
        assert_eq!(lines[1].chars().skip(place).collect::<String>(), "ptty", "{text}");
        assert!(lines[1].starts_with("  …x"), "{text}");
    }
}
