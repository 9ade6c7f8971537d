//! Defaults for options from the environment (`BUGLE_<OPTION>`) and from the configuration file. What is typed wins over
//! the environment, the environment over the file.

use super::failure::Failed;
use super::shown::beginning;
use crate::yaml;
use crate::yaml::{Document, Place};
use clap::builder::FalseyValueParser;
use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource;
use clap::{Arg as Argument, ArgAction, ArgMatches, Command, Id};
use serde_yaml::{Mapping, Value};
use std::borrow::Cow;
use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where bugle's own files are: `$XDG_CONFIG_HOME/bugle`, else `~/.config/bugle`.
pub(super) fn directory() -> Option<PathBuf> {
    let base = std::env::var_os("XDG_CONFIG_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
    base.or_else(|| std::env::home_dir().map(|home| home.join(".config"))).map(|base| base.join("bugle"))
}

/// Lists of which each place adds its own: what leaves hosts out, or is a setting of one's connections, is not meant to vanish
/// by another one that is typed.
const ADDED_UP: [&str; 4] = ["exclude", "identity", "limit", "option"];

/// The values of lists that add up, from the environment and then from the file, each with where it comes from.
#[derive(Clone, Debug, Default)]
pub(super) struct Lists(HashMap<String, Vec<(String, String)>>);

impl Lists {
    /// What the environment holds.
    pub(super) fn of_environment() -> Self {
        let set = ADDED_UP.into_iter().filter_map(|name| {
            let value = std::env::var(variable(name)).ok().filter(|value| !value.is_empty())?;
            Some((name.to_owned(), vec![(value, variable(name))]))
        });
        Self(set.collect())
    }

    /// The values of one setting and where each comes from.
    pub(super) fn of(&self, setting: &str) -> impl Iterator<Item = (&str, &str)> {
        let values = self.0.get(setting).map_or(&[][..], Vec::as_slice);
        values.iter().map(|(value, origin)| (&**value, &**origin))
    }

    /// The values of one setting.
    pub(super) fn values(&self, setting: &str) -> Vec<String> {
        self.of(setting).map(|(value, _)| value.to_owned()).collect()
    }
}

/// Lets every long option also read its environment variable. One that is empty says nothing, as where it is not set.
pub(super) fn with_environment(command: Command) -> Command {
    let command = command.mut_args(|argument| {
        let Some(name) = setting(&argument).filter(|name| !matches!(name.as_str(), "help" | "version")) else {
            return argument;
        };
        if ADDED_UP.contains(&name.as_str()) {
            return argument;
        }
        let variable = variable(&name);
        if std::env::var_os(&variable).is_none_or(|value| value.is_empty()) {
            return argument;
        }
        let argument = argument.env(variable).hide_env(true);
        if matches!(argument.get_action(), ArgAction::SetTrue) {
            argument.value_parser(FalseyValueParser::new())
        } else {
            argument
        }
    });
    command.mut_subcommands(with_environment)
}

/// Where the values of options come from that were not typed: a variable of the environment, places in the configuration file.
#[derive(Clone, Debug, Default)]
pub(super) struct Origins(HashMap<String, Vec<String>>);

impl Origins {
    /// Where a value of a setting comes from, by its position among them; nothing where it was typed.
    pub(super) fn of(&self, setting: &str, index: usize) -> Option<&str> {
        let places = self.0.get(setting)?;
        places.get(index).or(places.last()).map(String::as_str)
    }

    /// Of the places in the file those that count, and the variables that do.
    pub(super) fn that_count(mut self, matches: &ArgMatches) -> Self {
        self.0.retain(|name, _| source(matches, &name.replace('-', "_")) == Some(ValueSource::DefaultValue));
        let set = matches.ids().map(Id::as_str).filter(|id| source(matches, id) == Some(ValueSource::EnvVariable));
        self.0.extend(set.map(|id| id.replace('_', "-")).map(|name| (name.clone(), vec![variable(&name)])));
        self
    }
}

fn source(matches: &ArgMatches, id: &str) -> Option<ValueSource> {
    matches.try_contains_id(id).is_ok().then(|| matches.value_source(id))?
}

/// Applies the configuration file: `--config FILE`, `$BUGLE_CONFIG`, else the usual place where there is one. Says where in it
/// the values stand. Lists that add up are no defaults of the command: they are added to `lists`.
pub(super) fn with_configuration(
    command: Command,
    arguments: &[OsString],
    lists: &mut Lists,
) -> Result<(Command, Origins), Failed> {
    let path = match named_file(&command, arguments) {
        Some(path) => path,
        None => match directory().map(|directory| directory.join("config.yaml")) {
            Some(path) if path.exists() => path,
            _ => return Ok((command, Origins::default())),
        },
    };
    let file = path.display().to_string();
    let text = std::fs::read_to_string(&path)
        .map_err(|error| Failed::mistake_text(format!("cannot read the configuration `{file}`: {error}")))?;
    check_trust(&path)?;
    let settings = match yaml::from_str(&text, &file).map_err(Failed::mistake)? {
        Value::Null => return Ok((command, Origins::default())),
        Value::Mapping(settings) => settings,
        // What it holds instead may be anything, and is not shown.
        _ => {
            let failed = Failed::mistake_text(format!("`{file}` is no configuration: it holds no options"));
            return Err(failed.hint("a configuration has an option a line, such as `fanout: 128`"));
        }
    };
    let document = yaml::parse(&text, &file).ok();
    apply(command, &settings, &ConfigurationFile { name: &file, text: &text, document }, lists)
}

/// The file that `--config` or its environment variable names. Only clap knows whether a word is an option or part of a command
/// for the hosts; what else is wrong with the words is told when they are parsed with the defaults of the file.
fn named_file(command: &Command, arguments: &[OsString]) -> Option<PathBuf> {
    let lenient = command.clone().ignore_errors(true).disable_help_flag(true);
    lenient.try_get_matches_from(arguments).ok()?.get_one::<PathBuf>("config").cloned()
}

/// A file that others can write could make any option theirs.
fn check_trust(path: &Path) -> Result<(), Failed> {
    let facts = std::fs::metadata(path).map_err(Failed::fault)?;
    let mode = facts.mode() & 0o7777;
    let user = rustix::process::geteuid().as_raw();
    if mode & 0o022 != 0 || (facts.uid() != user && facts.uid() != 0) {
        return Err(Failed::mistake_text(format!(
            "the configuration `{}` is not trusted: mode {mode:04o}, owner {}",
            path.display(),
            facts.uid()
        ))
        .hint(format!("chmod go-w {}; it must belong to you or root", path.display())));
    }
    Ok(())
}

/// The configuration file, for the places in it.
struct ConfigurationFile<'a> {
    name: &'a str,
    text: &'a str,
    document: Option<Document>,
}

/// A part of an entry of the file.
#[derive(Clone, Copy)]
enum Part {
    Key,
    Value,
    /// One of a list of values, by its position.
    Item(usize),
}

impl ConfigurationFile<'_> {
    /// What is wrong with a part of the entry at a position among all entries, with its place and the line.
    fn mistake(&self, position: usize, part: Part, what: &str) -> Failed {
        let Some(place) = self.place(position, part) else {
            return Failed::mistake_text(format!("{}: {what}", self.name));
        };
        let mut text = format!("{}:{place}: {what}", self.name);
        let line = self.text.lines().nth((place.line as usize).saturating_sub(1)).unwrap_or_default();
        // Writing to a string does not fail.
        let _ = yaml::excerpt(&mut text, place, line);
        Failed::mistake_text(text)
    }

    fn place(&self, position: usize, part: Part) -> Option<Place> {
        let (key, value) = self.document.as_ref()?.root.as_mapping()?.get(position)?;
        let node = match part {
            Part::Key => key,
            Part::Value => value,
            Part::Item(index) => value.as_sequence().map_or(Some(value), |items| items.get(index))?,
        };
        Some(node.place)
    }

    fn origin(&self, position: usize, part: Part) -> String {
        match self.place(position, part) {
            Some(place) => format!("{}:{place}", self.name),
            None => self.name.to_owned(),
        }
    }
}

fn apply(
    mut command: Command,
    settings: &Mapping,
    file: &ConfigurationFile<'_>,
    lists: &mut Lists,
) -> Result<(Command, Origins), Failed> {
    let mut origins = Origins::default();
    let mut names = Vec::new();
    long_names(&command, &mut names);
    for (position, (key, value)) in settings.iter().enumerate() {
        let key = scalars(key).unwrap_or_default().join(",");
        let key = key.as_str();
        if key == "config" {
            return Err(file.mistake(position, Part::Key, "`config` names this file and cannot stand in it"));
        }
        let arguments = arguments(&command, key);
        if arguments.is_empty() {
            let failed = file.mistake(position, Part::Key, &format!("`{}` is no option", clipped(key)));
            return Err(match yaml::nearest(key, names.iter().map(String::as_str)) {
                Some(near) => failed.hint(format!("did you mean `{near}`?")),
                None => failed.hint("keys are long options without their dashes, such as `fanout: 128`"),
            });
        }
        let takes_list = arguments.iter().any(|argument| takes_list(argument));
        let values = scalars(value).filter(|_| takes_list || !value.is_sequence()).ok_or_else(|| {
            let wanted = if takes_list { "a value or a list of values" } else { "one value" };
            file.mistake(position, Part::Value, &format!("`{key}` takes {wanted}"))
        })?;
        // Verbs may mean different things by a name, and what one of them takes is a setting.
        let refused = values.iter().enumerate().find_map(|(index, value)| {
            let reasons: Vec<String> = arguments.iter().map_while(|argument| refusal(argument, value)).collect();
            (reasons.len() == arguments.len()).then(|| Some((index, reasons.into_iter().next()?)))?
        });
        if let Some((index, reason)) = refused {
            return Err(file.mistake(position, Part::Item(index), &format!("`{key}`: {reason}")));
        }
        let places = (0..values.len()).map(|index| file.origin(position, Part::Item(index)));
        if ADDED_UP.contains(&key) {
            lists.0.entry(key.to_owned()).or_default().extend(values.into_iter().zip(places));
            continue;
        }
        origins.0.insert(key.to_owned(), places.collect());
        command = with_default(command, key, &values);
    }
    Ok((command, origins))
}

/// The options of a setting, in all verbs.
fn arguments<'a>(command: &'a Command, name: &str) -> Vec<&'a Argument> {
    let own = command.get_arguments().filter(|argument| setting(argument).as_deref() == Some(name));
    own.chain(command.get_subcommands().flat_map(|verb| arguments(verb, name))).collect()
}

fn takes_list(argument: &Argument) -> bool {
    matches!(argument.get_action(), ArgAction::Append)
}

/// Why an option does not take a value, if it does not.
fn refusal(argument: &Argument, value: &str) -> Option<String> {
    if matches!(argument.get_action(), ArgAction::SetTrue) {
        return (!matches!(value, "true" | "false")).then(|| format!("`{}` is neither true nor false", clipped(value)));
    }
    if matches!(argument.get_action(), ArgAction::Count) {
        return value.parse::<u8>().is_err().then(|| format!("`{}` is not a number", clipped(value)));
    }
    let alone = Argument::new("value").long("value").value_parser(argument.get_value_parser().clone());
    let alone = match argument.get_value_delimiter() {
        Some(delimiter) => alone.value_delimiter(delimiter),
        None => alone,
    };
    let tried = Command::new("bugle").arg(alone).try_get_matches_from(["bugle", &format!("--value={value}")]);
    let text = tried.err()?.to_string();
    let line = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
    let reason = line
        .split_once("' for '")
        .and_then(|(_, rest)| rest.split_once(": "))
        .map_or("it is not one of its values", |(_, why)| why);
    // Most reasons name the value themselves.
    if reason.contains(&format!("`{value}`")) {
        return Some(clipped(reason).into_owned());
    }
    Some(format!("`{}`: {}", clipped(value), clipped(reason)))
}

/// The environment variable that a refused value came from, where it was not typed.
pub(super) fn variable_behind(error: &clap::Error, arguments: &[OsString]) -> Option<String> {
    let ContextValue::String(shown) = error.get(ContextKind::InvalidArg)? else { return None };
    let long = shown.split("--").nth(1)?.split([' ', '=', '<']).next()?;
    let variable = variable(long);
    let was_typed = arguments.iter().any(|argument| argument.to_string_lossy().starts_with(&format!("--{long}")));
    let value = std::env::var(&variable).ok().filter(|_| !was_typed)?;
    Some(format!("{variable} is set to `{value}`"))
}

/// Options that only the command line has: no file and no environment may replace keys.
const TYPED_ALONE: [&str; 1] = ["replace_keys"];
/// Options whose setting is their identifier, since verbs mean different things by their long names: `--exclude` of hosts keeps
/// its setting where a verb has another one of files.
const RENAMED: [&str; 3] = ["exclude", "exclude_files", "exclude_files_from"];

/// What an option is called in the file and, in capitals, in the environment: its long name, with the exceptions above.
fn setting(argument: &Argument) -> Option<String> {
    let long = argument.get_long()?;
    let id = argument.get_id().as_str();
    match id {
        _ if TYPED_ALONE.contains(&id) => None,
        _ if RENAMED.contains(&id) => Some(id.replace('_', "-")),
        _ => Some(long.to_owned()),
    }
}

fn clipped(text: &str) -> Cow<'_, str> {
    beginning(text, 160)
}

fn variable(long: &str) -> String {
    format!("BUGLE_{}", long.to_uppercase().replace('-', "_"))
}

fn long_names(command: &Command, names: &mut Vec<String>) {
    names.extend(command.get_arguments().filter_map(setting));
    command.get_subcommands().for_each(|verb| long_names(verb, names));
}

fn scalars(value: &Value) -> Option<Vec<String>> {
    let text = |value: &Value| match value {
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(value) => Some(value.to_string()),
        Value::String(value) => Some(value.clone()),
        _ => None,
    };
    match value {
        Value::Sequence(list) => list.iter().map(text).collect(),
        single => text(single).map(|value| vec![value]),
    }
}

fn with_default(command: Command, name: &str, values: &[String]) -> Command {
    let command = command.mut_args(|argument| {
        let is_it = setting(&argument).as_deref() == Some(name);
        let is_taken = is_it
            && (takes_list(&argument) || values.len() == 1)
            && values.iter().all(|value| refusal(&argument, value).is_none());
        if is_taken { argument.default_values(values.to_vec()) } else { argument }
    });
    command.mut_subcommands(|verb| with_default(verb, name, values))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use std::collections::BTreeSet;

    /// What an option of any verb is called in `settings`, where that is not its long name.
    fn exceptions(command: &Command, found: &mut BTreeSet<(String, Option<String>)>) {
        for argument in command.get_arguments() {
            let (long, setting) = (argument.get_long().map(str::to_owned), setting(argument));
            if long != setting {
                found.insert((long.expect("an option without a long name has no setting"), setting));
            }
        }
        command.get_subcommands().for_each(|verb| exceptions(verb, found));
    }

    #[test]
    fn settings_have_the_long_names_of_their_options_in_every_verb() {
        let mut found = BTreeSet::new();
        exceptions(&crate::cli::Program::command(), &mut found);
        let expected = [
            ("exclude", Some("exclude-files")),
            ("exclude-from", Some("exclude-files-from")),
            ("exclude-hosts", Some("exclude")),
            ("yes", None),
        ];
        let expected = expected.map(|(long, setting)| (long.to_owned(), setting.map(str::to_owned)));
        assert_eq!(found, expected.into());
    }
}
