//! What stands before a key: options, separated by commas, with quoted values (`sshauthopt_parse` in auth-options.c).
//!
//! [`Options::found`] takes whatever is there; reading [`Options`] from a text that is to be written takes only what sshd
//! will honour, and names the place of what it will not.

use super::value;
use crate::yaml;
use std::fmt;
use std::str::FromStr;

/// The options of a line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    text: Vec<u8>,
    list: Vec<KeyOption>,
}

/// One option.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyOption {
    /// In lower case.
    pub name: String,
    /// Without its quotes, where it has a value.
    pub value: Option<String>,
}

/// Why options cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at column {column} of the options `{text}`")]
pub struct OptionsError {
    /// What is wrong.
    pub reason: String,
    /// Where, in characters from 1.
    pub column: usize,
    /// The options.
    pub text: String,
    /// What to write instead, where that is known.
    pub hint: Option<String>,
}

/// Options without a value; those of which there is a `no-` too, and the others.
const SWITCHES: [&str; 7] =
    ["agent-forwarding", "port-forwarding", "pty", "user-rc", "x11-forwarding", "touch-required", "verify-required"];
const FLAGS: [&str; 2] = ["cert-authority", "restrict"];
/// Options with a value; those that may stand there once, and the others.
const SINGLE: [&str; 5] = ["command", "expiry-time", "from", "principals", "tunnel"];
const SEVERAL: [&str; 3] = ["environment", "permitlisten", "permitopen"];

impl Options {
    /// Reads what stands in a file, whatever it is.
    pub fn found(text: &[u8]) -> Self {
        let list = split(&String::from_utf8_lossy(text)).into_iter().map(|(_, part)| KeyOption::found(&part)).collect();
        Self { text: text.to_vec(), list }
    }

    /// As it is written.
    pub fn as_bytes(&self) -> &[u8] {
        &self.text
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Every option in order.
    pub fn iter(&self) -> impl Iterator<Item = &KeyOption> {
        self.list.iter()
    }

    /// The option of this name.
    pub fn get(&self, name: &str) -> Option<&KeyOption> {
        self.list.iter().find(|option| option.name == name)
    }

    /// The first option that no sshd we know of knows: it passes over the line.
    pub fn unknown(&self) -> Option<&str> {
        self.list.iter().map(|option| option.name.as_str()).find(|name| !is_flag(name) && !is_valued(name))
    }

    /// Whether the key is an authority (`cert-authority`).
    pub fn is_authority(&self) -> bool {
        self.get("cert-authority").is_some()
    }

    /// Whether they mean the same: order, case of names and repetition aside.
    pub fn means(&self, other: &Self) -> bool {
        let sorted = |options: &Self| {
            let mut list = options.list.clone();
            list.sort();
            list.dedup();
            list
        };
        sorted(self) == sorted(other)
    }
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.text))
    }
}

impl KeyOption {
    fn found(part: &str) -> Self {
        let (name, value) = part.split_once('=').map_or((part, None), |(name, value)| (name, Some(value)));
        let unquoted = |value: &str| {
            let inner = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
            inner.replace("\\\"", "\"")
        };
        Self { name: name.to_ascii_lowercase(), value: value.map(unquoted) }
    }
}

/// The parts between commas outside of quotes, each with its place in characters from 1.
fn split(text: &str) -> Vec<(usize, String)> {
    let (mut parts, mut part, mut start, mut quoted) = (Vec::new(), String::new(), 1, false);
    let mut characters = text.chars().enumerate().peekable();
    while let Some((index, character)) = characters.next() {
        match character {
            '\\' if characters.peek().is_some_and(|(_, next)| *next == '"') => {
                part.push_str("\\\"");
                characters.next();
            }
            ',' if !quoted => {
                parts.push((start, std::mem::take(&mut part)));
                start = index + 2;
            }
            other => {
                quoted ^= other == '"';
                part.push(other);
            }
        }
    }
    if !(part.is_empty() && parts.is_empty()) {
        parts.push((start, part));
    }
    parts
}

/// Reads options that are to be written.
impl FromStr for Options {
    type Err = OptionsError;

    fn from_str(text: &str) -> Result<Self, OptionsError> {
        let wrong = |column: usize, reason: String, hint: Option<String>| OptionsError {
            reason,
            column,
            text: text.to_owned(),
            hint,
        };
        if let Some(index) = text.chars().position(char::is_control) {
            return Err(wrong(index + 1, "a control character".into(), None));
        }
        let mut list: Vec<KeyOption> = Vec::new();
        for (column, part) in split(text) {
            let option = read(&part).map_err(|Refused { reason, hint }| wrong(column, reason, hint))?;
            if list.iter().any(|other| other.name == option.name) && !SEVERAL.contains(&option.name.as_str()) {
                return Err(wrong(column, format!("`{}` for a second time", option.name), None));
            }
            list.push(option);
        }
        let has = |name: &str| list.iter().any(|option| option.name == name);
        if has("principals") && !has("cert-authority") {
            let reason = "`principals` means nothing without `cert-authority`".into();
            return Err(wrong(1, reason, Some("write `cert-authority,principals=\"…\"`".into())));
        }
        Ok(Self { text: text.as_bytes().to_vec(), list })
    }
}

/// Why one option is refused.
struct Refused {
    reason: String,
    hint: Option<String>,
}

impl From<String> for Refused {
    fn from(reason: String) -> Self {
        Self { reason, hint: None }
    }
}

fn is_flag(name: &str) -> bool {
    SWITCHES.contains(&name.strip_prefix("no-").unwrap_or(name)) || FLAGS.contains(&name)
}

fn is_valued(name: &str) -> bool {
    SINGLE.contains(&name) || SEVERAL.contains(&name)
}

fn read(part: &str) -> Result<KeyOption, Refused> {
    let (written, value) = part.split_once('=').map_or((part, None), |(name, value)| (name, Some(value)));
    let name = written.to_ascii_lowercase();
    let (is_flag, is_valued) = (is_flag(&name), is_valued(&name));
    match value {
        _ if part.is_empty() => Err("an option is missing".to_owned().into()),
        None if is_flag => Ok(KeyOption { name, value: None }),
        Some(_) if is_flag => Err(format!("`{name}` takes no value").into()),
        None if is_valued => {
            Err(Refused { reason: format!("`{name}` needs a value"), hint: Some(format!("write `{name}=\"…\"`")) })
        }
        Some(quoted) if is_valued => {
            let inner = unquote(quoted).ok_or_else(|| {
                let written = format!("{name}={}", requoted(quoted));
                let hint =
                    format!("write `{written}`, and quote the whole for the shell: {}", quoted_for_a_shell(&written));
                let is_quoted =
                    quoted.len() > 1 && quoted.starts_with('"') && quoted.ends_with('"') && !quoted.ends_with("\\\"");
                let reason = if is_quoted {
                    format!("a quote in the value of `{name}` is not written as \\\"")
                } else {
                    format!("the value of `{name}` is not in quotes")
                };
                Refused { reason, hint: Some(hint) }
            })?;
            value::check(&name, &inner).map_err(|reason| format!("`{name}`: {reason}"))?;
            Ok(KeyOption { name, value: Some(inner) })
        }
        _ => {
            let hint = nearest(&name).map(|near| format!("did you mean `{near}`?"));
            Err(Refused { reason: format!("unknown option `{written}`"), hint })
        }
    }
}

/// What is between quotes; nothing where it does not begin and end with one, or has one in it that is not escaped.
fn unquote(value: &str) -> Option<String> {
    let inner = value.strip_prefix('"')?.strip_suffix('"')?;
    // The last quote is none if it is escaped.
    if inner.ends_with('\\') || inner.replace("\\\"", "").contains('"') {
        return None;
    }
    Some(inner.replace("\\\"", "\""))
}

/// A value that was not quoted as it should be, as it should be.
fn requoted(value: &str) -> String {
    let inner = value.strip_prefix('"').unwrap_or(value);
    // A last quote that is not escaped was meant to be the end.
    let inner =
        inner.strip_suffix('"').filter(|inner| value.starts_with('"') && !inner.ends_with('\\')).unwrap_or(inner);
    format!("\"{}\"", inner.replace("\\\"", "\"").replace('"', "\\\""))
}

fn quoted_for_a_shell(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The option whose name is nearest to a wrong one.
fn nearest(name: &str) -> Option<String> {
    let negated = SWITCHES.iter().map(|switch| format!("no-{switch}"));
    let known = [&SWITCHES[..], &FLAGS, &SINGLE, &SEVERAL].concat().into_iter().map(str::to_owned);
    let known: Vec<String> = known.chain(negated).collect();
    yaml::nearest(name, known.iter().map(String::as_str)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sshd_honours_is_taken() {
        for (text, options) in [
            ("", 0),
            ("restrict", 1),
            ("from=\"10.0.0.0/8\",restrict,pty", 3),
            ("FROM=\"*.example.com,!bad.example.com,::1\"", 1),
            ("command=\"echo \\\"a, b\\\" | wc\",no-pty,No-X11-Forwarding", 3),
            ("environment=\"A=1\",environment=\"B_2=x=y\"", 2),
            ("expiry-time=\"20301231\"", 1),
            ("expiry-time=\"203012312359Z\"", 1),
            ("expiry-time=\"20301231235959\"", 1),
            ("permitopen=\"db:5432\",permitopen=\"[::1]:*\",permitlisten=\"8080\",permitlisten=\"localhost:1\"", 4),
            ("cert-authority,principals=\"web,db\",no-touch-required", 3),
            ("tunnel=\"any\"", 1),
            ("tunnel=\"3\",verify-required", 2),
        ] {
            let read: Options = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(read.iter().count(), options, "{text}");
            assert_eq!(read.to_string(), text);
            assert!(Options::found(text.as_bytes()).means(&read), "{text}");
        }
    }

    #[test]
    fn what_is_suggested_for_a_wrong_quote_is_right() {
        for (typed, suggested) in [
            ("command=\"echo \"hi\"\"", "command=\"echo \\\"hi\\\"\""),
            ("command=echo \"hi\"", "command=\"echo \\\"hi\\\"\""),
            ("command=\"echo \\\"hi\\\"", "command=\"echo \\\"hi\\\"\""),
            ("from=10.0.0.0/8", "from=\"10.0.0.0/8\""),
            ("command=\"echo it's\"\"", "command=\"echo it's\\\"\""),
        ] {
            let hint = typed.parse::<Options>().unwrap_err().hint.unwrap();
            let shell = quoted_for_a_shell(suggested);
            assert_eq!(hint, format!("write `{suggested}`, and quote the whole for the shell: {shell}"), "{typed}");
            assert!(suggested.parse::<Options>().is_ok(), "{suggested}");
        }
    }

    #[test]
    fn what_sshd_would_not_honour_is_refused_with_its_place() {
        for (text, column, words) in [
            ("restrict,ptty", 10, "unknown option `ptty`"),
            ("from=10.0.0.0/8", 1, "not in quotes"),
            ("from", 1, "needs a value"),
            ("pty=\"yes\"", 1, "takes no value"),
            ("restrict,", 10, "an option is missing"),
            (",restrict", 1, "an option is missing"),
            ("restrict pty", 1, "unknown option `restrict pty`"),
            ("command=\"a\",command=\"b\"", 13, "for a second time"),
            ("restrict,restrict", 10, "for a second time"),
            ("command=\"a", 1, "not in quotes"),
            ("command=\"a\\\"", 1, "not in quotes"),
            ("command=\"a\"b\"", 1, "not written as \\\""),
            ("from=\"10.0.0.1/8\"", 1, "host bits"),
            ("from=\"10.0.0.0/33\"", 1, "/33"),
            ("from=\"\"", 1, "empty"),
            ("from=\"a,,b\"", 1, "empty"),
            ("expiry-time=\"20301301\"", 1, "no time"),
            ("expiry-time=\"2030-12-31\"", 1, "no time"),
            ("expiry-time=\"203002290000\"", 1, "no time"),
            ("environment=\"A-B=1\"", 1, "NAME=value"),
            ("environment=\"A\"", 1, "NAME=value"),
            ("permitopen=\"db\"", 1, "host:port"),
            ("permitopen=\"db:0\"", 1, "port"),
            ("permitlisten=\"x\"", 1, "port"),
            ("tunnel=\"-1\"", 1, "device"),
            ("principals=\"a\"", 1, "means nothing"),
            ("cert-authority,principals=\"\"", 16, "empty"),
            ("restrict\n", 9, "control character"),
        ] {
            let error = text.parse::<Options>().expect_err(text);
            assert!(error.to_string().contains(words), "{text}: {error}");
            assert_eq!(error.column, column, "{text}: {error}");
        }
        let near = "no-agent-forwardng".parse::<Options>().unwrap_err().hint;
        assert_eq!(near.as_deref(), Some("did you mean `no-agent-forwarding`?"));
    }

    #[test]
    fn options_mean_the_same_in_any_order() {
        let found = |text: &str| Options::found(text.as_bytes());
        assert!(found("restrict,FROM=\"a\"").means(&found("from=\"a\",restrict")));
        assert!(!found("restrict").means(&found("restrict,pty")));
        assert!(!found("command=\"a\"").means(&found("command=\"b\"")));
        assert!(found("").means(&Options::default()));
    }
}
