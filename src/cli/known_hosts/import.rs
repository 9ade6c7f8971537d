//! `bugle known-hosts import FILE`: collected host keys, every line checked, merged as a whole or not at all.

use super::subject::FileOptions;
use super::{invalid, refuse_other_files};
use crate::cli::failure::{Failed, warn};
use crate::cli::key_files;
use crate::cli::options::GlobalOptions;
use crate::cli::shown::{shown, write_json};
use crate::cli::sources::{Known, PIPED_INVENTORY, standard_input_is_taken};
use crate::exit_code;
use crate::known_hosts::{Clash, ContradictedBy, Contradiction, Import, Merged, PublicKey, merge, merged};
use clap::{Args, ValueHint};
use serde_json::{Value, json};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Problems and contradictions that are told one by one.
const TOLD: usize = 20;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  bugle known-hosts import collected.txt
  ssh-keyscan web01 web02 | bugle known-hosts import -
  bugle known-hosts import --cert-authority '*.example.com' host_ca.pub")]
pub(super) struct Arguments {
    /// A known_hosts file or what ssh-keyscan prints, or with --cert-authority public keys; `-` is standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    source: PathBuf,
    /// The keys are of authorities that may sign for the hosts of this pattern
    #[arg(long, value_name = "PATTERN")]
    cert_authority: Option<String>,
    /// Let imported keys take the place of known ones of the same type
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    files: FileOptions,
    /// Print what would be added and touch nothing
    #[arg(long)]
    dry_run: bool,
    /// What is added, replaced and contradicted, as JSON; `-` is standard output
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    json: Option<String>,
}

pub(super) fn run(global: &GlobalOptions, arguments: &Arguments) -> Result<u8, Failed> {
    let known = Known::load(global)?;
    let (files, style) = arguments.files.of(&known, None)?;
    let Some(path) = files.user.first() else {
        return Err(Failed::mistake_text("there is no file to import into: UserKnownHostsFile is `none`")
            .hint("name one with --file"));
    };
    let import = read(global, arguments)?;
    if import.is_empty() {
        return Err(Failed::mistake_text(format!("`{}` holds no host key", arguments.source.display())));
    }
    let clash = if arguments.replace { Clash::Replace } else { Clash::Refuse };
    let merged = match arguments.dry_run {
        true => merged(path, &import, clash).map_err(Failed::mistake)?,
        false => merge(path, &import, style, clash)?,
    };
    match &arguments.json {
        Some(target) => write_json(target, &document(path, &merged))?,
        None if !merged.contradictions.is_empty() => {}
        None => write_added(&mut BufWriter::new(io::stdout().lock()), &merged)?,
    }
    if !merged.contradictions.is_empty() {
        return Err(refused(arguments, &merged.contradictions));
    }
    if !global.quiet {
        let count = merged.added.len();
        let keys = if count == 1 { "host key" } else { "host keys" };
        let verb = if arguments.dry_run { "would be added" } else { "added" };
        let mut text = format!("{count} {keys} {verb} to {}", path.display());
        if merged.present > 0 {
            text += &format!("; {} known already", merged.present);
        }
        writeln!(io::stderr(), "{text}")?;
    }
    Ok(exit_code::SUCCESS)
}

fn read(global: &GlobalOptions, arguments: &Arguments) -> Result<Import, Failed> {
    let source = &arguments.source;
    let is_piped = source == Path::new("-");
    if is_piped && global.inventory_is_piped() {
        return Err(standard_input_is_taken(PIPED_INVENTORY, "`import -`"));
    }
    let name = if is_piped { Path::new("standard input") } else { source };
    let text = key_files::read(source)?;
    refuse_other_files(name, &text)?;
    let import = match &arguments.cert_authority {
        None => Import::parse(name, text.to_vec()),
        Some(pattern) => {
            let is_pattern = !pattern.is_empty()
                && !pattern.starts_with(['|', '@', '#'])
                && !pattern.contains(|c: char| c.is_whitespace() || c.is_control());
            if !is_pattern {
                return Err(Failed::mistake_text(format!("`{pattern}` is no pattern of host names"))
                    .hint("write names with `*` and `?`, several with commas, such as '*.example.com,10.0.0.*'"));
            }
            Import::authorities(pattern, name, &text)
        }
    };
    import
        .map_err(|problems| Failed::several(problems.iter().map(invalid).collect(), TOLD).hint("nothing was imported"))
}

fn write_added(out: &mut dyn Write, merged: &Merged) -> io::Result<()> {
    let key = |name: &str, key: &PublicKey| format!("{name}  {}  {}", key.family(), key.fingerprint());
    for (name, known) in &merged.replaced {
        writeln!(out, "{}", shown(&format!("- {}  {}", key(name, &known.key), known.place)))?;
    }
    for (name, added) in &merged.added {
        writeln!(out, "{}", shown(&format!("+ {}", key(name, added))))?;
    }
    out.flush()
}

fn document(path: &Path, merged: &Merged) -> Value {
    let key = |name: &str, key: &PublicKey| json!({ "host": name, "type": key.algorithm(), "fingerprint": key.fingerprint() });
    let contradicted = |contradiction: &Contradiction| {
        let mut value = key(&contradiction.name, &contradiction.key);
        value["line"] = contradiction.line.into();
        value["why"] = why(contradiction).into();
        value
    };
    json!({
        "file": path.display().to_string(),
        "written": merged.contradictions.is_empty(),
        "added": merged.added.iter().map(|(name, added)| key(name, added)).collect::<Vec<_>>(),
        "replaced": merged.replaced.iter().map(|(name, known)| key(name, &known.key)).collect::<Vec<_>>(),
        "present": merged.present,
        "contradictions": merged.contradictions.iter().map(contradicted).collect::<Vec<_>>(),
    })
}

/// The keys that keep everything out, and what could be done.
fn refused(arguments: &Arguments, contradictions: &[Contradiction]) -> Failed {
    let mut stderr = io::stderr().lock();
    for contradiction in contradictions.iter().take(TOLD) {
        let Contradiction { name, key, line, .. } = contradiction;
        let text = format!(
            "{}:{line}: {name} {} {}: {}",
            arguments.source.display(),
            key.family(),
            key.fingerprint(),
            why(contradiction)
        );
        // There is nobody left to tell that stderr is closed.
        let _ = warn(&mut stderr, text);
    }
    let count = contradictions.len();
    let keys = if count == 1 { "1 host key contradicts".into() } else { format!("{count} host keys contradict") };
    let failed = Failed::mistake_text(format!("{keys} what is known; nothing was imported"));
    let replaceable = contradictions.iter().all(|one| matches!(one.by, ContradictedBy::Known(_)));
    if replaceable && !arguments.replace {
        failed.hint("somebody may stand between you and the hosts. Only if you know why their keys changed: --replace")
    } else {
        failed
    }
}

fn why(contradiction: &Contradiction) -> String {
    match &contradiction.by {
        ContradictedBy::Known(known) => {
            let known: Vec<String> =
                known.iter().map(|known| format!("{} ({})", known.key.fingerprint(), known.place)).collect();
            format!("known is {}", known.join(", "))
        }
        ContradictedBy::Revoked(place) => format!("it is REVOKED ({place})"),
        ContradictedBy::Damaged(problems) => {
            format!(
                "a line about the host cannot be read: {}",
                problems.first().map(ToString::to_string).unwrap_or_default()
            )
        }
        ContradictedBy::Itself(line) => format!("line {line} has another key of that type"),
    }
}
