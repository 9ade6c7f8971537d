//! `Host` and `Match`: which blocks apply.

use super::arguments::Mistake;
use super::lexer::Argument;
use super::network::Network;
use super::pattern::{ListMatch, is_literal, matches, matches_list};
use super::problem::{Fault, Origin};
use super::suggestion::nearest;
use super::tokens;

/// The OpenSSH that `Match version` is told of: the one whose rules are followed here.
const VERSION: &str = "OpenSSH_10.5p1";

/// When a block applies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// Before the first `Host` or `Match` of a file.
    Always,
    /// `Host`.
    Host(Vec<HostPattern>),
    /// `Match`.
    Match(Vec<Criterion>, Origin),
}

/// One pattern of a `Host` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HostPattern {
    pub(super) negated: bool,
    pub(super) pattern: String,
}

/// One criterion of a `Match` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Criterion {
    negated: bool,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    All,
    SecondPass,
    Host(String),
    OriginalHost(String),
    User(String),
    LocalUser(String),
    LocalNetwork(Vec<Network>),
    Version(String),
    Tagged(String),
    Command(String),
    SessionType(String),
    Exec(String),
}

const CRITERIA: &[&str] = &[
    "all",
    "canonical",
    "final",
    "exec",
    "localnetwork",
    "host",
    "originalhost",
    "tagged",
    "command",
    "user",
    "localuser",
    "version",
    "sessiontype",
];

/// What `Match` asks about a host while its configuration is being gathered. The answers change from line to line.
pub(super) trait Circumstances {
    /// Why a question has no answer.
    type Error;
    /// Whether this is the second pass.
    fn is_second_pass(&self) -> bool;
    /// The name that would be dialled as things stand.
    fn host(&self) -> Result<String, Self::Error>;
    /// The name as given.
    fn original_host(&self) -> &str;
    /// The login name as things stand.
    fn user(&self) -> &str;
    /// The local login name.
    fn local_user(&self) -> &str;
    /// Whether this machine has an address in one of the networks.
    fn is_in(&self, networks: &[Network]) -> bool;
    /// The tag as things stand, or nothing.
    fn tag(&self) -> &str;
    /// The command to run, or nothing.
    fn command(&self) -> &str;
    /// The kind of session: `shell`, `exec`, `subsystem`, `none`.
    fn session_type(&self) -> &str;
    /// Whether a command succeeds in the user's shell.
    fn run(&self, command: &str, origin: &Origin) -> Result<bool, Self::Error>;
}

/// Whether `Host` patterns select a name; it is compared with case.
pub(super) fn selects(patterns: &[HostPattern], host: &str) -> bool {
    let mut selected = false;
    for pattern in patterns {
        if matches(host, &pattern.pattern) {
            if pattern.negated {
                return false;
            }
            selected = true;
        }
    }
    selected
}

/// The patterns of a `Host` line that name exactly one host each; none if some pattern is more than that.
pub(super) fn literal_names(patterns: &[HostPattern]) -> Option<impl Iterator<Item = &str>> {
    let literal = patterns.iter().all(|pattern| !pattern.negated && is_literal(&pattern.pattern));
    literal.then(|| patterns.iter().map(|pattern| pattern.pattern.as_str()))
}

/// Reads the patterns of a `Host` line.
pub(super) fn parse_host(arguments: &[Argument]) -> Result<Vec<HostPattern>, Mistake> {
    let read = |argument: &Argument| {
        if argument.text.is_empty() {
            return Err((argument.at, Fault::EmptyValue { keyword: "Host" }));
        }
        let (negated, pattern) = match argument.text.strip_prefix('!') {
            Some(pattern) => (true, pattern),
            None => (false, argument.text.as_str()),
        };
        Ok(HostPattern { negated, pattern: pattern.to_owned() })
    };
    arguments.iter().map(read).collect()
}

/// Reads the criteria of a `Match` line (`match_cfg_line` in OpenSSH's readconf.c).
pub(super) fn parse_match(arguments: &[Argument]) -> Result<Vec<Criterion>, Mistake> {
    let mut criteria = Vec::new();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        if argument.text.starts_with('#') {
            break;
        }
        let (negated, attribute) = match argument.text.strip_prefix('!') {
            Some(attribute) => (true, attribute),
            None => (false, argument.text.as_str()),
        };
        let (name, attached) = match attribute.split_once('=') {
            Some((name, value)) => (name.to_ascii_lowercase(), Some(value)),
            None => (attribute.to_ascii_lowercase(), None),
        };
        let lone = match (name.as_str(), attached) {
            ("all", None) => {
                let next = arguments.next().filter(|next| !next.text.is_empty() && !next.text.starts_with('#'));
                if criteria.len() > 1 || next.is_some() {
                    return Err((argument.at, Fault::AllNotAlone));
                }
                criteria.push(Criterion { negated, test: Test::All });
                if let Some(extra) = arguments.next() {
                    return Err((extra.at, Fault::Extra { keyword: "Match", extra: extra.text.clone() }));
                }
                return Ok(criteria);
            }
            ("canonical" | "final", None) => Some(Test::SecondPass),
            _ => None,
        };
        if let Some(test) = lone {
            criteria.push(Criterion { negated, test });
            continue;
        }
        if !CRITERIA.contains(&name.as_str()) || (attached.is_some() && matches!(&*name, "all" | "canonical" | "final"))
        {
            let near = nearest(&name, CRITERIA.iter().copied());
            return Err((argument.at, Fault::UnknownCriterion { criterion: argument.text.clone(), near }));
        }
        let missing = || (argument.at, Fault::NoCriterionValue { criterion: name.clone() });
        let (value, at) = match attached {
            Some(value) => (value, argument.at),
            None => arguments.next().map(|value| (value.text.as_str(), value.at)).ok_or_else(missing)?,
        };
        let may_be_empty = matches!(name.as_str(), "tagged" | "command");
        if (value.is_empty() && !may_be_empty) || value.starts_with('#') {
            return Err(missing());
        }
        let lower = || value.to_ascii_lowercase();
        let test = match name.as_str() {
            "host" => Test::Host(lower()),
            "originalhost" => Test::OriginalHost(lower()),
            "user" => Test::User(value.into()),
            "localuser" => Test::LocalUser(value.into()),
            "version" => Test::Version(value.into()),
            "tagged" => Test::Tagged(value.into()),
            "command" => Test::Command(value.into()),
            "sessiontype" => Test::SessionType(value.into()),
            "localnetwork" => {
                let network = |text: &str| {
                    let expected = "a network such as `10.0.0.0/8`";
                    let bad = Fault::Malformed { keyword: "Match localnetwork", value: text.to_owned(), expected };
                    Network::parse(text).ok_or((at, bad))
                };
                Test::LocalNetwork(value.split(',').map(network).collect::<Result<_, _>>()?)
            }
            _ => {
                tokens::check(value, tokens::MOST).map_err(|error| (at, error.into()))?;
                Test::Exec(value.into())
            }
        };
        criteria.push(Criterion { negated, test });
    }
    if criteria.is_empty() {
        return Err((0, Fault::NoCriteria));
    }
    Ok(criteria)
}

/// Whether a `Match` line asks for the second pass: it names `final` without `!`.
pub(super) fn wants_second_pass(arguments: &[Argument]) -> bool {
    // Values of other criteria are skipped so that `host final` asks for nothing.
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let name = argument.text.strip_prefix('!').unwrap_or(&argument.text);
        if name.eq_ignore_ascii_case("final") && !argument.text.starts_with('!') {
            return true;
        }
        let lone = ["all", "canonical", "final"].iter().any(|lone| name.eq_ignore_ascii_case(lone));
        if !lone && !name.contains('=') {
            arguments.next();
        }
    }
    false
}

/// Whether all criteria hold, asked from left to right up to the first that does not: a command behind it is not run.
pub(super) fn holds<C: Circumstances>(
    criteria: &[Criterion],
    origin: &Origin,
    circumstances: &C,
) -> Result<bool, C::Error> {
    for criterion in criteria {
        let matched = |text: &str, list: &str| matches_list(text, list) == ListMatch::Matched;
        let possibly_unset =
            |text: &str, list: &str| if text.is_empty() { list.is_empty() } else { matched(text, list) };
        let answer = match &criterion.test {
            Test::All => true,
            Test::SecondPass => circumstances.is_second_pass(),
            Test::Host(list) => matched(&circumstances.host()?.to_ascii_lowercase(), list),
            Test::OriginalHost(list) => matched(&circumstances.original_host().to_ascii_lowercase(), list),
            Test::User(list) => matched(circumstances.user(), list),
            Test::LocalUser(list) => matched(circumstances.local_user(), list),
            Test::LocalNetwork(networks) => circumstances.is_in(networks),
            Test::Version(list) => matched(VERSION, list),
            Test::Tagged(list) => possibly_unset(circumstances.tag(), list),
            Test::Command(list) => possibly_unset(circumstances.command(), list),
            Test::SessionType(list) => matched(circumstances.session_type(), list),
            Test::Exec(command) => circumstances.run(command, origin)?,
        };
        if answer == criterion.negated {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ssh_config::lexer::arguments;

    #[test]
    fn match_lines_are_checked() {
        let table = [
            ("all", true),
            ("!all", true),
            ("final all", true),
            ("host x all", true),
            ("host x user y all", false),
            ("all host x", false),
            ("all \"\"", true),
            ("host x", true),
            ("host=x user=y", true),
            ("host = x", false),
            ("host", false),
            ("host \"\"", false),
            ("tagged \"\"", true),
            ("command=", true),
            ("", false),
            ("# comment", false),
            ("frobnicate x", false),
            ("exec \"test %h\"", true),
            ("exec \"test %z\"", false),
            ("localnetwork 10.0.0.0/8,::/0", true),
            ("localnetwork 10.0.0.1/8", false),
            ("HOST x", true),
            ("canonical=x", false),
        ];
        for (line, valid) in table {
            assert_eq!(parse_match(&arguments(line, 0).unwrap()).is_ok(), valid, "{line:?}");
        }
    }

    #[test]
    fn only_final_without_negation_asks_for_the_second_pass() {
        let table =
            [("final", true), ("host x final", true), ("!final", false), ("host final", false), ("canonical", false)];
        for (line, expected) in table {
            assert_eq!(wants_second_pass(&arguments(line, 0).unwrap()), expected, "{line:?}");
        }
    }

    #[test]
    fn a_negated_pattern_disables_the_block_and_never_enables_it() {
        let table = [
            ("web* !web3", "web1", true),
            ("web* !web3", "web3", false),
            ("!web3 web*", "web3", false),
            ("!web3", "web1", false),
            ("Web1", "web1", false),
            ("a,b", "a", false),
            ("*", "anything", true),
        ];
        for (line, host, expected) in table {
            let patterns = parse_host(&arguments(line, 0).unwrap()).unwrap();
            assert_eq!(selects(&patterns, host), expected, "{line} {host}");
        }
    }
}
