//! `%` tokens, `${VARIABLES}` and `~` in values (TOKENS and ENVIRONMENT VARIABLES in ssh_config(5)).

use std::cell::Cell;
use std::fmt::Write as _;

use sha1::{Digest, Sha1};

use super::account::Account;
use super::problem::ExpansionError;
use super::value::Environment;

/// Tokens of `HostName`.
pub(super) const HOST_NAME: &str = "h";
/// Tokens of `ProxyCommand`.
pub(super) const PROXY: &str = "hnpr";
/// Tokens of most keywords.
pub(super) const MOST: &str = "CdhijkLlnpru";
/// Tokens of `User`, which cannot refer to itself.
pub(super) const USER: &str = "dhijkLlnpu";

/// What the tokens of one host stand for.
pub(super) struct Tokens<'a> {
    pub(super) account: &'a Account,
    /// `%h`: the name that is dialled.
    pub(super) host: &'a str,
    /// `%n`: the name as given.
    pub(super) original: &'a str,
    /// `%k`: the name that host keys are known by.
    pub(super) key_alias: &'a str,
    /// `%p`.
    pub(super) port: u16,
    /// `%r`.
    pub(super) user: &'a str,
    /// `%j`: the last jump host, or nothing.
    pub(super) jump_host: &'a str,
    /// Set once a token is used that differs from host to host.
    pub(super) differs: Cell<bool>,
}

impl Tokens<'_> {
    /// Expands tokens only.
    pub(super) fn percent(&self, text: &str, allowed: &str) -> Result<String, ExpansionError> {
        self.walk(text, allowed, false)
    }

    /// Expands tokens and `${VARIABLES}`, in one walk: what a variable holds is not looked into.
    pub(super) fn percent_dollar(&self, text: &str, allowed: &str) -> Result<String, ExpansionError> {
        self.walk(text, allowed, true)
    }

    /// Expands `~`, then tokens and variables.
    pub(super) fn path(&self, text: &str) -> Result<String, ExpansionError> {
        let missing = || ExpansionError::NoSuchUser { text: text.to_owned() };
        self.percent_dollar(&self.account.expand_tilde(text).ok_or_else(missing)?, MOST)
    }

    /// Expands what is known of a `KnownHostsCommand` and leaves the tokens of the host key (`%f %H %I %K %t`) and `%%` for
    /// the connection.
    pub(super) fn known_hosts_command(&self, text: &str) -> Result<String, ExpansionError> {
        const OF_THE_KEY: &str = "fHIKt";
        let mut expanded = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            let token = rest[at + 1..].chars().next();
            let end = at + 1 + token.map_or(0, char::len_utf8);
            if token.is_some_and(|token| token == '%' || OF_THE_KEY.contains(token)) {
                expanded += &self.percent_dollar(&rest[..at], MOST)?.replace('%', "%%");
                expanded += &rest[at..end];
            } else {
                expanded += &self.percent_dollar(&rest[..end], MOST)?.replace('%', "%%");
            }
            rest = &rest[end..];
        }
        expanded += &self.percent_dollar(rest, MOST)?.replace('%', "%%");
        Ok(expanded)
    }

    fn walk(&self, text: &str, allowed: &str, variables: bool) -> Result<String, ExpansionError> {
        let mut expanded = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find(['%', '$']) {
            expanded += &rest[..at];
            let after = &rest[at + 1..];
            if rest.as_bytes()[at] == b'$' {
                rest = match variables.then(|| after.strip_prefix('{')).flatten() {
                    Some(name) => variable(name, text, &self.account.environment, &mut expanded)?,
                    None => {
                        expanded.push('$');
                        after
                    }
                };
                continue;
            }
            let token = after.chars().next().ok_or_else(|| ExpansionError::LonePercent { text: text.to_owned() })?;
            if token == '%' {
                expanded.push('%');
            } else if allowed.contains(token) {
                self.append(token, &mut expanded);
            } else {
                return Err(ExpansionError::UnknownToken { token, text: text.to_owned() });
            }
            rest = &after[token.len_utf8()..];
        }
        expanded += rest;
        Ok(expanded)
    }

    fn append(&self, token: char, expanded: &mut String) {
        let account = self.account;
        if !matches!(token, 'd' | 'i' | 'L' | 'l' | 'u') {
            self.differs.set(true);
        }
        match token {
            'C' => *expanded += &self.connection_hash(),
            'd' => *expanded += &account.home.to_string_lossy(),
            'h' => *expanded += self.host,
            'i' => *expanded += &account.uid.to_string(),
            'j' => *expanded += self.jump_host,
            'k' => *expanded += self.key_alias,
            'L' => *expanded += account.host_name.split('.').next().unwrap_or_default(),
            'l' => *expanded += &account.host_name,
            'n' => *expanded += self.original,
            'p' => *expanded += &self.port.to_string(),
            'r' => *expanded += self.user,
            _ => *expanded += &account.user,
        }
    }

    /// `%C`: SHA-1 over `%l%h%p%r%j` in hexadecimal (`ssh_connection_hash` in OpenSSH's readconf.c).
    fn connection_hash(&self) -> String {
        let mut hash = Sha1::new();
        for part in [&self.account.host_name, self.host, &self.port.to_string(), self.user, self.jump_host] {
            hash.update(part);
        }
        hash.finalize().iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }
}

/// Expands `${VARIABLES}` only.
pub(super) fn expand_variables(text: &str, environment: &Environment) -> Result<String, ExpansionError> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        expanded += &rest[..at];
        rest = variable(&rest[at + 2..], text, environment, &mut expanded)?;
    }
    expanded += rest;
    Ok(expanded)
}

/// Appends the variable whose name begins `rest` and returns what follows its `}`.
fn variable<'t>(
    rest: &'t str,
    text: &str,
    environment: &Environment,
    expanded: &mut String,
) -> Result<&'t str, ExpansionError> {
    let unclosed = || ExpansionError::UnclosedVariable { text: text.to_owned() };
    let (name, after) = rest.split_once('}').ok_or_else(unclosed)?;
    if name.is_empty() {
        return Err(ExpansionError::BadVariable { text: text.to_owned() });
    }
    let unset = || ExpansionError::UnsetVariable { name: name.to_owned(), text: text.to_owned() };
    *expanded += environment.get(name).ok_or_else(unset)?;
    Ok(after)
}

/// Checks that a text holds none but the allowed tokens.
pub(super) fn check(text: &str, allowed: &str) -> Result<(), ExpansionError> {
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '%' {
            continue;
        }
        match characters.next() {
            None => return Err(ExpansionError::LonePercent { text: text.to_owned() }),
            Some(token) if token != '%' && !allowed.contains(token) => {
                return Err(ExpansionError::UnknownToken { token, text: text.to_owned() });
            }
            Some(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn tokens_and_variables_expand_in_one_walk() {
        let account = Account {
            user: "ada".into(),
            uid: 1000,
            home: "/home/ada".into(),
            host_name: "here.example.com".into(),
            shell: "/bin/sh".into(),
            environment: BTreeMap::from([("X".to_owned(), "%h".to_owned())]),
        };
        let tokens = Tokens {
            account: &account,
            host: "10.0.0.1",
            original: "web",
            key_alias: "key",
            port: 2222,
            user: "deploy",
            jump_host: "bastion",
            differs: Cell::new(false),
        };
        let table = [
            ("%d/%i/%L/%l/%u/%%", "/home/ada/1000/here/here.example.com/ada/%"),
            ("%h %n %k %p %r %j", "10.0.0.1 web key 2222 deploy bastion"),
            ("${X}$X$", "%h$X$"),
            ("%C", "48a92642e73ecb3999d3b5bcf1e05f3f96c7a203"),
        ];
        for (text, expected) in table {
            assert_eq!(tokens.percent_dollar(text, MOST).as_deref(), Ok(expected), "{text}");
        }
        assert_eq!(tokens.path("~/k-%h").as_deref(), Ok("/home/ada/k-10.0.0.1"));
        for bad in ["%", "%z", "${", "${}", "${NO_SUCH}"] {
            assert!(tokens.percent_dollar(bad, MOST).is_err(), "{bad}");
        }
        assert_eq!(tokens.percent("${X}", MOST).as_deref(), Ok("${X}"));
        assert_eq!(tokens.known_hosts_command("/bin/keys %% %H %t %n %%").as_deref(), Ok("/bin/keys %% %H %t web %%"));
    }

    #[test]
    fn only_tokens_of_the_host_make_a_value_differ_between_hosts() {
        let account = Account::current();
        let tokens = Tokens {
            account: &account,
            host: "h",
            original: "h",
            key_alias: "h",
            port: 22,
            user: "u",
            jump_host: "",
            differs: Cell::new(false),
        };
        tokens.percent("%d %u %%", MOST).unwrap();
        assert!(!tokens.differs.get());
        tokens.percent("%h", MOST).unwrap();
        assert!(tokens.differs.get());
    }
}
