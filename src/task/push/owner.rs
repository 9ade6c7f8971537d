//! Owners and groups by name: every host has its own numbers for them.

use crate::connection::Connection;
use crate::outcome::{Code, Failure};
use crate::task::inner::ask;
use crate::task::privilege::Privilege;
use crate::task::shell::quote;
use crate::task::trouble::Trouble;
use crate::tree::Rules;
use bytes::Bytes;
use std::sync::Arc;

/// Whose the files are to be (`--owner`, `--group`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ownership {
    /// The user.
    pub owner: Option<Account>,
    /// The group.
    pub group: Option<Account>,
}

/// A user or group as it was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Account {
    /// By number, the same on every host.
    Number(u32),
    /// By name.
    Name(String),
}

impl std::str::FromStr for Account {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(number) = text.parse() {
            return Ok(Self::Number(number));
        }
        match crate::host::check_user(text) {
            Ok(()) if !text.contains([':', '\n']) => Ok(Self::Name(text.into())),
            _ => Err(format!("`{text}` is neither a name nor a number")),
        }
    }
}

impl Ownership {
    /// The rules with the numbers of one host.
    pub(super) async fn resolve(
        &self,
        connection: &Arc<Connection>,
        privilege: Option<&Privilege>,
        rules: &Rules,
    ) -> Result<Rules, Trouble> {
        let mut resolved = rules.clone();
        let mut script = String::new();
        for (account, number, command) in
            [(&self.owner, &mut resolved.owner, "id -u --"), (&self.group, &mut resolved.group, "g")]
        {
            match account {
                None => {}
                Some(Account::Number(known)) => *number = Some(*known),
                Some(Account::Name(name)) => script.push_str(&format!("{command} {} || echo -\n", quote(name))),
            }
        }
        if script.is_empty() {
            return Ok(resolved);
        }
        // getent knows directories of users too; the file is what every host has.
        let groups = "g() { l=$(getent group \"$1\" 2>/dev/null || grep \"^$1:\" /etc/group) && l=${l#*:*:} && echo \"${l%%:*}\"; }\n";
        let answer = ask(connection, privilege, "exec /bin/sh", Bytes::from(format!("{groups}{script}"))).await?;
        let answer = String::from_utf8_lossy(&answer);
        let mut lines = answer.lines();
        for (account, number, kind) in
            [(&self.owner, &mut resolved.owner, "user"), (&self.group, &mut resolved.group, "group")]
        {
            let Some(Account::Name(name)) = account else { continue };
            *number = lines.next().and_then(|line| line.trim().parse().ok());
            if number.is_none() {
                return Err(Failure::new(Code::TransferPlace, format!("there is no {kind} `{name}` on the host"))
                    .hint("make it there first, or give its number")
                    .into());
            }
        }
        Ok(resolved)
    }
}
