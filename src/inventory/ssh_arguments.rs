//! `ansible_ssh_args` and its kin: arguments of the ssh program, as far as bugle can mean the same by them.

use super::words::{Comments, split};
use std::iter::Peekable;
use std::vec::IntoIter;

/// One argument of ssh(1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SshArgument {
    /// `-o KEY=VALUE`, and flags that stand for one (`-C`, `-A`, `-4`, `-c`, …).
    Option {
        /// Keyword of ssh_config(5), as written.
        keyword: String,
        /// Its value.
        value: String,
    },
    /// `-J`.
    Jump(String),
    /// `-F`.
    Config(String),
    /// `-i`.
    Identity(String),
    /// `-p`.
    Port(u16),
    /// `-l`.
    User(String),
}

/// What is wrong with an argument.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentFault {
    /// Quotes do not match.
    #[error("{0}")]
    Quoting(&'static str),
    /// An option without its value.
    #[error("`-{0}` needs a value")]
    MissingValue(char),
    /// `-o` with something that is no option.
    #[error("`-o {0}` is not KEY=VALUE")]
    NotAnOption(String),
    /// `-p` with something that is no port.
    #[error("`-p {0}` is not a port")]
    NotAPort(String),
    /// An argument that has no meaning here.
    #[error("`{0}` is not supported and left out")]
    Unsupported(String),
}

/// Flags of ssh(1) with the option that each stands for.
const FLAGS: [(char, &str, &str); 13] = [
    ('4', "AddressFamily", "inet"),
    ('6', "AddressFamily", "inet6"),
    ('A', "ForwardAgent", "yes"),
    ('a', "ForwardAgent", "no"),
    ('C', "Compression", "yes"),
    ('g', "GatewayPorts", "yes"),
    ('K', "GSSAPIAuthentication", "yes"),
    ('k', "GSSAPIDelegateCredentials", "no"),
    ('X', "ForwardX11", "yes"),
    ('x', "ForwardX11", "no"),
    ('Y', "ForwardX11Trusted", "yes"),
    ('t', "RequestTTY", "yes"),
    ('T', "RequestTTY", "no"),
];

/// Options of ssh(1) with a value that stand for a keyword.
const VALUES: [(char, &str); 6] = [
    ('b', "BindAddress"),
    ('B', "BindInterface"),
    ('c', "Ciphers"),
    ('m', "MACs"),
    ('S', "ControlPath"),
    ('I', "PKCS11Provider"),
];

/// Reads a string of arguments; what is understood comes with what is not.
pub(super) fn parse(text: &str) -> (Vec<SshArgument>, Vec<ArgumentFault>) {
    let mut arguments = Vec::new();
    let mut faults = Vec::new();
    match split(text, Comments::Kept) {
        Ok(words) => {
            let mut words = words.into_iter().map(|word| word.text).collect::<Vec<_>>().into_iter().peekable();
            while let Some(word) = words.next() {
                match word.strip_prefix('-').filter(|letters| !letters.is_empty() && !letters.starts_with('-')) {
                    Some(letters) => cluster(letters, &mut words, &mut arguments, &mut faults),
                    None => faults.push(ArgumentFault::Unsupported(word)),
                }
            }
        }
        Err(reason) => faults.push(ArgumentFault::Quoting(reason)),
    }
    (arguments, faults)
}

/// Letters after one dash: flags, and at last perhaps an option whose value follows at once or as the next word.
fn cluster(
    letters: &str,
    words: &mut Peekable<IntoIter<String>>,
    arguments: &mut Vec<SshArgument>,
    faults: &mut Vec<ArgumentFault>,
) {
    for (at, letter) in letters.char_indices() {
        if let Some((_, keyword, value)) = FLAGS.iter().find(|(flag, ..)| *flag == letter) {
            arguments.push(SshArgument::Option { keyword: (*keyword).into(), value: (*value).into() });
            continue;
        }
        if matches!(letter, 'q' | 'v' | 'n' | 's') {
            continue;
        }
        let keyword = VALUES.iter().find(|(option, _)| *option == letter).map(|(_, keyword)| *keyword);
        if keyword.is_none() && !matches!(letter, 'o' | 'J' | 'F' | 'i' | 'p' | 'l') {
            let takes_value = matches!(letter, 'D' | 'E' | 'e' | 'L' | 'O' | 'P' | 'Q' | 'R' | 'W' | 'w');
            let value = if takes_value && at + 1 == letters.len() { words.next() } else { None };
            let rest = if takes_value { &letters[at..] } else { &letters[at..at + letter.len_utf8()] };
            let shown = value.map_or_else(|| format!("-{rest}"), |value| format!("-{rest} {value}"));
            faults.push(ArgumentFault::Unsupported(shown));
            if takes_value {
                return;
            }
            continue;
        }
        let attached = &letters[at + letter.len_utf8()..];
        let value = if attached.is_empty() { words.next() } else { Some(attached.to_owned()) };
        match value.ok_or(ArgumentFault::MissingValue(letter)).and_then(|value| one(letter, keyword, value)) {
            Ok(argument) => arguments.push(argument),
            Err(fault) => faults.push(fault),
        }
        return;
    }
}

fn one(letter: char, keyword: Option<&str>, value: String) -> Result<SshArgument, ArgumentFault> {
    if let Some(keyword) = keyword {
        return Ok(SshArgument::Option { keyword: keyword.into(), value });
    }
    Ok(match letter {
        'J' => SshArgument::Jump(value),
        'F' => SshArgument::Config(value),
        'i' => SshArgument::Identity(value),
        'l' => SshArgument::User(value),
        'p' => SshArgument::Port(value.parse().ok().filter(|port| *port != 0).ok_or(ArgumentFault::NotAPort(value))?),
        _ => {
            let separator = |c: char| c == '=' || c.is_whitespace();
            let trimmed = value.trim_start();
            let (keyword, rest) =
                trimmed.split_once(separator).ok_or_else(|| ArgumentFault::NotAnOption(value.clone()))?;
            let rest = rest.trim_start();
            let rest = rest.strip_prefix('=').unwrap_or(rest).trim();
            if keyword.is_empty() || rest.is_empty() {
                return Err(ArgumentFault::NotAnOption(value));
            }
            SshArgument::Option { keyword: keyword.into(), value: rest.into() }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn option(keyword: &str, value: &str) -> SshArgument {
        SshArgument::Option { keyword: keyword.into(), value: value.into() }
    }

    #[test]
    fn arguments_mean_what_they_mean_to_ssh() {
        for (text, expected) in [
            (
                "-o ControlMaster=auto -oControlPersist=60s",
                vec![option("ControlMaster", "auto"), option("ControlPersist", "60s")],
            ),
            ("-o 'ProxyCommand=ssh -W %h:%p bastion'", vec![option("ProxyCommand", "ssh -W %h:%p bastion")]),
            ("-o 'Port 22' -o 'User = x'", vec![option("Port", "22"), option("User", "x")]),
            ("-J a,b -Jc", vec![SshArgument::Jump("a,b".into()), SshArgument::Jump("c".into())]),
            ("-4Cp 22", vec![option("AddressFamily", "inet"), option("Compression", "yes"), SshArgument::Port(22)]),
            (
                "-i ~/.ssh/k -l deploy -F none",
                vec![
                    SshArgument::Identity("~/.ssh/k".into()),
                    SshArgument::User("deploy".into()),
                    SshArgument::Config("none".into()),
                ],
            ),
            ("-q -vvv", vec![]),
        ] {
            assert_eq!(parse(text), (expected, vec![]), "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (text, expected) in [
            ("-W x:1 -C", "`-W x:1` is not supported and left out"),
            ("-L1:b:2", "`-L1:b:2` is not supported and left out"),
            ("-Z", "`-Z` is not supported and left out"),
            ("host", "`host` is not supported and left out"),
            ("--", "`--` is not supported and left out"),
            ("-o", "`-o` needs a value"),
            ("-o Port", "`-o Port` is not KEY=VALUE"),
            ("-p x", "`-p x` is not a port"),
            ("-o 'x", "a single quote does not close"),
        ] {
            let faults: Vec<String> = parse(text).1.iter().map(ToString::to_string).collect();
            assert_eq!(faults, [expected], "{text}");
        }
    }
}
