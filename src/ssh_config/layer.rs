//! Values from elsewhere than the files: `-o` options and flags of the command line, variables of an inventory.

use std::sync::Arc;

use crate::host::{NameError, check_host, check_user};

use super::account::Account;
use super::arguments::{Mistake, split_arguments};
use super::block::Setting;
use super::files::Owner;
use super::jump::{BadHop, Chain};
use super::keyword::{Grammar, Keyword};
use super::parse::{Ignored, directive, problem, unknown};
use super::pattern::{ListMatch, matches_list};
use super::problem::{Fault, Origin, SshConfigError};
use super::value::{Value, parse};

/// Values that rank before the files, each with the label of where they come from. Made once and shared by many hosts.
#[derive(Clone, Debug, Default)]
pub struct Layer {
    settings: Vec<Arc<Setting>>,
}

/// A `-J` or a jump host of an inventory that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JumpError {
    /// It does not read.
    #[error("jump host `{hop}` is {source}")]
    Malformed {
        /// What is written.
        hop: String,
        /// Why not.
        source: BadHop,
    },
    /// A name in it is refused.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl Layer {
    /// A layer without values.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds options of the form `KEY=VALUE` or `KEY VALUE`, as `ssh -o` takes them. Reports every one that is wrong.
    pub fn options<'a>(
        mut self,
        label: &str,
        options: impl IntoIterator<Item = &'a str>,
        account: &Account,
    ) -> Result<Self, SshConfigError> {
        let origin = Origin::Label(label.into());
        let mut problems = Vec::new();
        for option in options {
            match self.option(option, account) {
                Ok(Some((keyword, value))) => self.push(keyword, value, &origin),
                Ok(None) => {}
                Err(mistake) => problems.push(problem(&origin, option, mistake)),
            }
        }
        if problems.is_empty() { Ok(self) } else { Err(SshConfigError::Invalid(problems)) }
    }

    fn option(&self, text: &str, account: &Account) -> Result<Option<(Keyword, Value)>, Mistake> {
        let Some((line, keyword)) = directive(text)? else { return Ok(None) };
        let Some(keyword) = keyword else {
            split_arguments(&line)?;
            let ignored = self
                .text(Keyword::IgnoreUnknown)
                .is_some_and(|list| matches_list(&line.keyword, &list.to_ascii_lowercase()) == ListMatch::Matched);
            return if ignored { Ok(None) } else { Err(unknown(&line)) };
        };
        if matches!(keyword.row().grammar, Grammar::Structure) {
            return Err((line.keyword_at, Fault::OnlyInFiles { keyword: keyword.name() }));
        }
        let value = parse(keyword, &line, &account.environment)?;
        if let Some(Value::Jump(chain)) = &value {
            check_chain(chain).map_err(|error| (line.rest_at, error.into()))?;
        }
        Ok(value.map(|value| (keyword, value)))
    }

    /// Adds a login name.
    pub fn user(mut self, label: &str, user: &str) -> Result<Self, NameError> {
        check_user(user)?;
        self.push(Keyword::User, Value::Text(literal(user)), &Origin::Label(label.into()));
        Ok(self)
    }

    /// Adds a port.
    pub fn port(mut self, label: &str, port: u16) -> Self {
        self.push(Keyword::Port, Value::Number(port.into()), &Origin::Label(label.into()));
        self
    }

    /// Adds the name or address to dial.
    pub fn host_name(mut self, label: &str, host: &str) -> Result<Self, NameError> {
        check_host(host)?;
        self.push(Keyword::HostName, Value::Text(literal(host)), &Origin::Label(label.into()));
        Ok(self)
    }

    /// Adds a private key; `~`, tokens and variables in it are expanded.
    pub fn identity_file(mut self, label: &str, path: &str) -> Self {
        self.push(Keyword::IdentityFile, Value::Text(path.into()), &Origin::Label(label.into()));
        self
    }

    /// Adds jump hosts as `-J` takes them, or `none`.
    pub fn jump(mut self, label: &str, hops: &str) -> Result<Self, JumpError> {
        let chain = Chain::parse(hops).map_err(|hop| JumpError::Malformed { hop, source: BadHop })?;
        check_chain(&chain)?;
        self.push(Keyword::ProxyJump, Value::Jump(Arc::new(chain)), &Origin::Label(label.into()));
        Ok(self)
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.settings.is_empty()
    }

    pub(super) fn settings(&self) -> &[Arc<Setting>] {
        &self.settings
    }

    /// What the files are told to ignore; where this says nothing, by a layer that ranks lower.
    pub(super) fn ignored_or(&self, lower: &Self) -> Ignored {
        let mut ignored = Ignored::default();
        if let Some(list) = self.text(Keyword::IgnoreUnknown).or_else(|| lower.text(Keyword::IgnoreUnknown)) {
            ignored.add(list, true);
        }
        ignored
    }

    fn text(&self, keyword: Keyword) -> Option<&Arc<str>> {
        let setting = self.settings.iter().find(|setting| setting.keyword == keyword)?;
        match &setting.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    fn push(&mut self, keyword: Keyword, value: Value, origin: &Origin) {
        self.settings.push(Setting::new(keyword, value, origin.clone(), Owner::User));
    }
}

/// Protects a text from the expansion of tokens.
pub(super) fn literal(text: &str) -> Arc<str> {
    text.replace('%', "%%").into()
}

/// Jump hosts of the command line must have names that no shell could misread.
fn check_chain(chain: &Chain) -> Result<(), NameError> {
    for hop in &chain.hops {
        check_host(&hop.host)?;
        hop.user.as_deref().map_or(Ok(()), check_user)?;
    }
    Ok(())
}
