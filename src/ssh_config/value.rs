//! The value of a directive: read by the keyword's grammar, and printed as `ssh -G` prints it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::algorithm::{AlgorithmList, Family};
use super::arguments::{Arguments, Mistake, each_word, split_arguments, words};
use super::forward::{Direction, Forward};
use super::jump::Chain;
use super::keyword::{Grammar, Keyword, Spellings};
use super::lexer::{Argument, Line};
use super::number;
use super::problem::{ExpansionError, Fault};
use super::suggestion::nearest;
use super::tokens::expand_variables;

/// A value that was read and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// An enumerated word in the spelling of `ssh -G`.
    Choice(&'static str),
    /// A whole number.
    Number(u32),
    /// A time; none for `none`.
    Seconds(Option<u32>),
    /// Text as it stands.
    Text(Arc<str>),
    /// Several words.
    Words(Arc<[Arc<str>]>),
    /// A forwarding.
    Forward(Arc<Forward>),
    /// Jump hosts.
    Jump(Arc<Chain>),
    /// Algorithms.
    Algorithms(AlgorithmList),
    /// A word and the seconds that a key may live, 0 for ever.
    AddKeys(&'static str, u32),
    /// Bytes and seconds; 0 for what is left alone.
    Rekey(u64, u32),
    /// A byte; none for `none`.
    Escape(Option<u8>),
}

/// The environment variables that values may refer to.
pub(super) type Environment = BTreeMap<String, String>;

/// Reads the value of a directive; none where the line says nothing (`UserKnownHostsFile # comment`).
pub(super) fn parse(keyword: Keyword, line: &Line<'_>, environment: &Environment) -> Result<Option<Value>, Mistake> {
    let list = split_arguments(line)?;
    let mut arguments = Arguments::new(keyword, &list, line.rest_at + line.rest.len());
    let value = parse_by_grammar(keyword, line, &mut arguments, environment)?;
    arguments.finish()?;
    Ok(value)
}

fn parse_by_grammar(
    keyword: Keyword,
    line: &Line<'_>,
    arguments: &mut Arguments<'_>,
    environment: &Environment,
) -> Result<Option<Value>, Mistake> {
    let name = keyword.name();
    let malformed = |argument: &Argument, expected: &'static str| {
        (argument.at, Fault::Malformed { keyword: name, value: argument.text.clone(), expected })
    };
    let time = |argument: &Argument| {
        number::seconds(&argument.text).ok_or_else(|| malformed(argument, "seconds or a time such as `1h30m`"))
    };
    let value = match keyword.row().grammar {
        Grammar::Structure => return Ok(None),
        Grammar::Anything => {
            arguments.skip();
            return Ok(None);
        }
        Grammar::Choice(spellings) => Value::Choice(choice(name, arguments.one()?, spellings)?),
        Grammar::Seconds => {
            let argument = arguments.one()?;
            Value::Seconds(if argument.text == "none" { None } else { Some(time(argument)?) })
        }
        Grammar::Number => {
            let argument = arguments.one()?;
            let number = number::integer(&argument.text, 0, i64::from(i32::MAX));
            Value::Number(number.ok_or_else(|| malformed(argument, "a whole number"))? as u32)
        }
        Grammar::Port => {
            let argument = arguments.one()?;
            let port = number::port(&argument.text).filter(|&port| port > 0);
            Value::Number(port.ok_or_else(|| malformed(argument, "a port from 1 to 65535"))?.into())
        }
        Grammar::Text => Value::Text(arguments.one()?.text.as_str().into()),
        Grammar::Command => {
            arguments.skip();
            Value::Text(line.rest.trim_start_matches([' ', '\t', '\r', '\n', '=']).into())
        }
        Grammar::Addendum => {
            arguments.skip();
            let text = line.rest.split('#').next().unwrap_or_default().trim_end();
            Value::Text(if text.eq_ignore_ascii_case("none") { "" } else { text }.into())
        }
        Grammar::Jump => {
            arguments.skip();
            let text = line.rest.trim_start_matches([' ', '\t', '\r', '\n', '=']);
            let chain = Chain::parse(text).map_err(|hop| {
                let expected = "`[user@]host[:port]`, several with commas, or `none`";
                (line.rest_at, Fault::Malformed { keyword: name, value: hop, expected })
            })?;
            Value::Jump(Arc::new(chain))
        }
        Grammar::Files(limit) => match words(arguments, limit)? {
            Some(words) => words,
            None if limit < usize::MAX => return Ok(None),
            None => return Err((arguments.end, Fault::NoValue { keyword: name.to_owned() })),
        },
        Grammar::Words => match words(arguments, usize::MAX)? {
            Some(words) => words,
            None => return Ok(None),
        },
        Grammar::Domains => each_word(arguments, |argument| {
            let domain = argument.text.to_ascii_lowercase();
            let valid = domain.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
                && !domain.contains("..")
                && domain.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
            let domain = domain.strip_suffix('.').unwrap_or(&domain);
            if valid { Ok(domain.into()) } else { Err(malformed(argument, "a domain name")) }
        })?,
        Grammar::CanonicalNames => each_word(arguments, |argument| {
            let rule = argument.text.to_ascii_lowercase();
            match rule.split_once(':') {
                _ if rule == "*" => Ok("*:*".into()),
                _ if rule == "none" => Ok(rule.into()),
                Some((_, targets)) if !targets.is_empty() => Ok(rule.into()),
                _ => Err(malformed(argument, "`SOURCES:TARGETS`, `*` or `none`")),
            }
        })?,
        Grammar::Destinations => each_word(arguments, |argument| {
            let text = argument.text.as_str();
            let alone = text.eq_ignore_ascii_case("none") || text.eq_ignore_ascii_case("any");
            let port = match text.strip_prefix('[') {
                Some(inner) => inner.split_once(']').and_then(|(_, after)| after.strip_prefix([':', '/'])),
                None => text.find([':', '/']).map(|at| &text[at + 1..]),
            };
            let valid = port.is_some_and(|port| port == "*" || number::port(port).is_some_and(|port| port > 0));
            if alone || valid { Ok(text.into()) } else { Err(malformed(argument, "`HOST:PORT`")) }
        })?,
        Grammar::ChannelTimeouts => each_word(arguments, |argument| {
            let text = argument.text.as_str();
            let rule = text.split_once('=').filter(|(kind, time)| !kind.is_empty() && number::seconds(time).is_some());
            if rule.is_some() || text.eq_ignore_ascii_case("none") {
                Ok(text.into())
            } else {
                Err(malformed(argument, "`TYPE=TIME`"))
            }
        })?,
        Grammar::VariableNames => each_word(arguments, |argument| {
            if argument.text.is_empty() || argument.text.contains('=') {
                return Err(malformed(argument, "the name of a variable"));
            }
            Ok(argument.text.as_str().into())
        })?,
        Grammar::Variables => {
            let mut variables: Vec<Arc<str>> = Vec::new();
            while let Some(argument) = arguments.next() {
                let (name, _) = argument.text.split_once('=').ok_or_else(|| malformed(argument, "`NAME=VALUE`"))?;
                let same = |variable: &Arc<str>| variable.split_once('=').is_some_and(|(other, _)| other == name);
                if !variables.iter().any(same) {
                    variables.push(argument.text.as_str().into());
                }
            }
            if variables.is_empty() {
                return Err((arguments.end, Fault::NoValue { keyword: name.to_owned() }));
            }
            Value::Words(variables.into())
        }
        Grammar::Forward(direction) => {
            let listen = arguments.one()?;
            let (text, socks) = match direction {
                Direction::Dynamic => (listen.text.clone(), false),
                Direction::Local => (format!("{}:{}", listen.text, arguments.one()?.text), false),
                Direction::Remote => match arguments.next().filter(|target| !target.text.is_empty()) {
                    Some(target) => (format!("{}:{}", listen.text, target.text), false),
                    None => (listen.text.clone(), true),
                },
            };
            let text = expand_variables(&text, environment).map_err(|error| (listen.at, error.into()))?;
            let forward = if socks { Forward::parse_remote_socks(&text) } else { Forward::parse(&text, direction) };
            let expected = match direction {
                Direction::Dynamic => "`[address:]port`",
                _ => "`[address:]port host:port`, or sockets in place of either",
            };
            let bad = (listen.at, Fault::Malformed { keyword: name, value: text, expected });
            Value::Forward(Arc::new(forward.ok_or(bad)?))
        }
        Grammar::Algorithms(family) => {
            let argument = arguments.one()?;
            let list = AlgorithmList::parse(&argument.text, family);
            Value::Algorithms(list.map_err(|unknown| unknown_algorithm(name, argument, unknown, family))?)
        }
        Grammar::Agent => agent(arguments.one()?, environment)?,
        Grammar::ForwardAgent => {
            let argument = arguments.one()?;
            match argument.text.to_ascii_lowercase().as_str() {
                "yes" | "true" => Value::Choice("yes"),
                "no" | "false" => Value::Choice("no"),
                _ => agent(argument, environment)?,
            }
        }
        Grammar::AddKeysToAgent => {
            const WORDS: Spellings = &[
                ("yes", "true"),
                ("no", "false"),
                ("ask", "ask"),
                ("confirm", "confirm"),
                ("true", "true"),
                ("false", "false"),
            ];
            let first = arguments.one()?;
            match (choice(name, first, WORDS), number::seconds(&first.text)) {
                (Ok("confirm"), _) => Value::AddKeys("confirm", arguments.next().map_or(Ok(0), time)?),
                (Ok(word), _) => Value::AddKeys(word, 0),
                (Err(_), Some(lifetime)) => Value::AddKeys("true", lifetime),
                (Err(mistake), None) => return Err(mistake),
            }
        }
        Grammar::EscapeCharacter => {
            let argument = arguments.one()?;
            Value::Escape(match *argument.text.as_bytes() {
                [byte] => Some(byte),
                [b'^', byte @ 64..128] => Some(byte & 31),
                _ if argument.text == "none" => None,
                _ => return Err(malformed(argument, "one character, `^` and a letter, or `none`")),
            })
        }
        Grammar::RekeyLimit => {
            let size = arguments.one()?;
            let bytes = if size.text == "default" { Some(0) } else { number::scaled(&size.text) };
            let bytes = bytes.filter(|&bytes| bytes == 0 || bytes >= 16);
            let bytes = bytes.ok_or_else(|| malformed(size, "`default` or at least 16 bytes, such as `1G`"))?;
            let seconds = match arguments.next() {
                Some(interval) if interval.text != "none" => time(interval)?,
                _ => 0,
            };
            Value::Rekey(bytes, seconds)
        }
        Grammar::Mask => {
            let argument = arguments.one()?;
            let digits = argument.text.trim_start();
            let end = digits.find(|c: char| !c.is_digit(8)).unwrap_or(digits.len());
            let mask = u32::from_str_radix(&digits[..end], 8).ok().filter(|&mask| mask <= 0o777);
            Value::Number(mask.ok_or_else(|| malformed(argument, "an octal mode such as `0177`"))?)
        }
        Grammar::TunnelDevice => {
            let argument = arguments.one()?;
            let device = |text: &str| match text {
                _ if text.eq_ignore_ascii_case("any") => Some("any".to_owned()),
                _ => number::integer(text, 0, i64::from(i32::MAX) - 2).map(|number| number.to_string()),
            };
            let (local, remote) = argument.text.split_once(':').unwrap_or((&argument.text, "any"));
            let devices = device(local).zip(device(remote));
            let (local, remote) = devices.ok_or_else(|| malformed(argument, "`LOCAL[:REMOTE]`, numbers or `any`"))?;
            Value::Text(format!("{local}:{remote}").into())
        }
        Grammar::TrafficClass => {
            let first = arguments.one()?;
            let second = arguments.next().unwrap_or(first);
            let class = |argument: &Argument| {
                traffic_class(&argument.text).ok_or_else(|| malformed(argument, "a class such as `af21`, or 0 to 255"))
            };
            Value::Text(format!("{} {}", class(first)?, class(second)?).into())
        }
        Grammar::ControlPersist => {
            let argument = arguments.one()?;
            match argument.text.as_str() {
                "yes" | "true" => Value::Text("yes".into()),
                "no" | "false" => Value::Text("no".into()),
                _ => match time(argument)? {
                    0 => Value::Text("yes".into()),
                    seconds => Value::Text(seconds.to_string().into()),
                },
            }
        }
        Grammar::KeystrokeTiming => {
            let argument = arguments.one()?;
            let interval = argument.text.strip_prefix("interval:").and_then(|text| number::integer(text, 1, 1000));
            match (argument.text.as_str(), interval) {
                ("yes" | "true", _) | (_, Some(20)) => Value::Text("yes".into()),
                ("no" | "false", _) => Value::Text("no".into()),
                (_, Some(interval)) => Value::Text(interval.to_string().into()),
                _ => return Err(malformed(argument, "yes, no or `interval:MILLISECONDS`")),
            }
        }
    };
    Ok(Some(value))
}

/// One of some words, compared without case.
fn choice(keyword: &'static str, argument: &Argument, spellings: Spellings) -> Result<&'static str, Mistake> {
    let found = spellings.iter().find(|(word, _)| word.eq_ignore_ascii_case(&argument.text));
    found.map(|(_, printed)| *printed).ok_or_else(|| {
        let expected: Vec<&str> = spellings.iter().map(|(word, _)| *word).collect();
        let near = nearest(&argument.text, expected.iter().copied());
        (argument.at, Fault::UnknownValue { keyword, value: argument.text.clone(), expected, near })
    })
}

/// The path of an agent's socket. Variables in it must be set when the file is read, as OpenSSH has it.
fn agent(argument: &Argument, environment: &Environment) -> Result<Value, Mistake> {
    let text = argument.text.as_str();
    expand_variables(text, environment).map_err(|error| (argument.at, error.into()))?;
    let is_name = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let variable = text.strip_prefix('$').filter(|name| !name.starts_with('{'));
    if variable.is_some_and(|name| !is_name(name)) {
        return Err((argument.at, ExpansionError::BadVariable { text: text.to_owned() }.into()));
    }
    Ok(Value::Text(text.into()))
}

fn unknown_algorithm(keyword: &'static str, argument: &Argument, name: String, family: Family) -> Mistake {
    let offset = if name.is_empty() { 0 } else { argument.text.find(&name).unwrap_or(0) };
    let near = nearest(&name, family.known().iter().copied());
    (argument.at + offset, Fault::UnknownAlgorithm { keyword, name, near })
}

/// A class of traffic in the spelling of `ssh -G`.
fn traffic_class(text: &str) -> Option<String> {
    const CLASSES: &[(&str, i64)] = &[
        ("af11", 0x28),
        ("af12", 0x30),
        ("af13", 0x38),
        ("af21", 0x48),
        ("af22", 0x50),
        ("af23", 0x58),
        ("af31", 0x68),
        ("af32", 0x70),
        ("af33", 0x78),
        ("af41", 0x88),
        ("af42", 0x90),
        ("af43", 0x98),
        ("cs0", 0x00),
        ("cs1", 0x20),
        ("cs2", 0x40),
        ("cs3", 0x60),
        ("cs4", 0x80),
        ("cs5", 0xa0),
        ("cs6", 0xc0),
        ("cs7", 0xe0),
        ("ef", 0xb8),
        ("le", 0x04),
        ("va", 0xb0),
    ];
    let word = text.to_ascii_lowercase();
    // The three words of RFC 1349 are out of use: OpenSSH 10 reads them as `none`.
    if matches!(word.as_str(), "none" | "lowdelay" | "throughput" | "reliability") {
        return Some("none".into());
    }
    if CLASSES.iter().any(|(name, _)| *name == word) {
        return Some(word);
    }
    let number = number::integer(text, 0, 255)?;
    let named = CLASSES.iter().find(|(_, class)| *class == number);
    Some(named.map_or_else(|| format!("0x{number:02x}"), |(name, _)| (*name).to_owned()))
}

/// Reads a value of the table, which is never wrong.
pub(super) fn parse_default(keyword: Keyword, text: &str) -> Option<Value> {
    let line = Line { keyword: String::new(), keyword_at: 0, rest: text, rest_at: 0 };
    parse(keyword, &line, &Environment::new()).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ssh_config::keyword::KEYWORDS;

    #[test]
    fn every_default_of_the_table_reads() {
        for row in KEYWORDS {
            if let Some(default) = row.default {
                assert!(parse_default(row.keyword, default).is_some(), "{}", row.name);
            }
        }
    }
}
