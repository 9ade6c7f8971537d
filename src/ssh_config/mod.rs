//! ssh_config(5): how hosts are reached, as the user has told OpenSSH already.
//!
//! [`SshConfig`] is read and checked once; [`SshConfig::resolve`] then answers for any number of hosts with an
//! [`Effective`], without touching a file again. The data path is `lexer` → `arguments` and `value` → `parse` (a file into
//! `block`s) → `matching` and `chosen` (which directives count) → `resolve` → `effective` → `listing`; `keyword` is the
//! table that all of them share, `route` what callers ask.
//!
//! It connects to nothing: files are read, `Match exec` runs the user's shell, and names are resolved only where
//! `CanonicalizeHostname` asks for it. Everything is held to `ssh -G` of the installed OpenSSH by `tests/ssh_config.rs`.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

mod account;
mod algorithm;
mod arguments;
mod block;
mod canonical;
mod chosen;
mod effective;
mod files;
mod forward;
mod jump;
mod keyword;
mod layer;
mod lexer;
mod listing;
mod matching;
mod network;
mod number;
mod options;
mod parse;
mod pattern;
mod problem;
mod resolve;
mod route;
mod suggestion;
mod tokens;
mod value;

pub use account::Account;
pub use algorithm::AlgorithmList;
pub use canonical::{NameResolver, SystemResolver};
pub use effective::{Effective, Proxy};
pub use files::Files;
pub use forward::{ConnectTo, Forward, ListenAt};
pub use jump::{BadHop, Hop};
pub use keyword::{KEYWORDS, Keyword, Row, Support};
pub use layer::{JumpError, Layer};
pub use listing::{Line, OfferedAlgorithms};
pub use options::{
    AddKeysToAgent, AddressFamily, ForwardAgent, IdentityAgent, IdentityFile, LogLevel, Options, RekeyLimit,
    RequestTty, SessionType, StrictHostKeyChecking, UpdateHostKeys,
};
pub use parse::{ConcreteHost, Warning};
pub use pattern::matches;
pub use problem::{ExpansionError, Fault, Origin, Problem, Spot, SshConfigError};
pub use route::{Request, Role, Route};

use block::File;
use files::{Owner, Refusal, Trust, read};
use parse::{Parser, Place};

/// What a configuration is made of.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The files.
    pub files: Files,
    /// Who reads them, where.
    pub account: Account,
    /// What the command line says, which ranks first for every target.
    pub command_line: Layer,
    /// What stands in for the command line where that says nothing, after the user and port of a request.
    pub defaults: Layer,
    /// Who resolves names for `CanonicalizeHostname`.
    pub resolver: Arc<dyn NameResolver>,
}

impl Sources {
    /// The given files for the current user, nothing from the command line.
    pub fn new(files: Files, account: Account) -> Self {
        let (command_line, defaults) = (Layer::new(), Layer::new());
        Self { files, account, command_line, defaults, resolver: Arc::new(SystemResolver) }
    }
}

/// The files that an `Include` found, or what is wrong with them.
type Included = Result<Vec<Arc<File>>, SshConfigError>;

/// A configuration, read and checked. Answers from many threads at once.
#[derive(Debug)]
pub struct SshConfig {
    account: Account,
    command_line: Layer,
    defaults: Layer,
    resolver: Arc<dyn NameResolver>,
    files: Vec<File>,
    hosts: Vec<ConcreteHost>,
    warnings: Vec<Warning>,
    /// Options that hosts share, by the directives that made them.
    shared: Mutex<HashMap<Box<[u32]>, Arc<Options>>>,
    /// What `Include` with tokens found, by the pattern after expansion.
    included: Mutex<HashMap<String, Included>>,
    /// What the commands of `Match exec` said.
    ran: Mutex<HashMap<String, bool>>,
}

impl SshConfig {
    /// Reads and checks all files. Everything that is wrong in them is reported at once; a usual file that does not exist
    /// is not wrong.
    pub fn load(sources: Sources) -> Result<Self, SshConfigError> {
        let Sources { files, account, command_line, defaults, resolver } = sources;
        let wanted = match &files {
            Files::Nothing => Vec::new(),
            Files::Only(path) => vec![(path, Owner::User, Trust::Given)],
            Files::Standard { user, system } => {
                vec![(user, Owner::User, Trust::Checked), (system, Owner::System, Trust::Given)]
            }
        };
        let must_exist = matches!(files, Files::Only(_));
        let mut parser = Parser::new(&account, command_line.ignored_or(&defaults));
        let mut read_files = Vec::new();
        for (path, owner, trust) in wanted {
            match read(path, trust, &account) {
                Ok(bytes) => {
                    let place = Place { owner, depth: 0, for_every_host: true };
                    read_files.push(parser.file(path, &bytes, place));
                }
                Err(Refusal::Unreadable(error)) if error.kind() == ErrorKind::NotFound && !must_exist => {}
                Err(refusal) => return Err(refused(path, refusal)),
            }
        }
        if !parser.problems.is_empty() {
            return Err(SshConfigError::Invalid(parser.problems));
        }
        let Parser { hosts, warnings, .. } = parser;
        Ok(Self { hosts, warnings, files: read_files, command_line, defaults, ..Self::bare(account, resolver) })
    }

    /// A configuration that says nothing, as `-F none`.
    pub fn empty(account: Account) -> Self {
        Self::bare(account, Arc::new(SystemResolver))
    }

    fn bare(account: Account, resolver: Arc<dyn NameResolver>) -> Self {
        Self {
            account,
            command_line: Layer::new(),
            defaults: Layer::new(),
            resolver,
            files: Vec::new(),
            hosts: Vec::new(),
            warnings: Vec::new(),
            shared: Mutex::default(),
            included: Mutex::default(),
            ran: Mutex::default(),
        }
    }

    /// The hosts that `Host` lines name without wildcards, in order, each once.
    pub fn concrete_hosts(&self) -> &[ConcreteHost] {
        &self.hosts
    }

    /// What the user should be told once: keywords of the user's files that have no effect, and includes that are left out.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Who reads the configuration.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Options for a set of directives: made once, unless `build` says that they differ from host to host.
    fn shared_options(
        &self,
        key: &[u32],
        build: impl FnOnce() -> Result<(Arc<Options>, bool), SshConfigError>,
    ) -> Result<Arc<Options>, SshConfigError> {
        if let Some(known) = lock(&self.shared).get(key) {
            return Ok(known.clone());
        }
        let (options, is_same_for_all) = build()?;
        if is_same_for_all {
            lock(&self.shared).insert(key.into(), options.clone());
        }
        Ok(options)
    }

    fn included_by_host(&self, pattern: &str, load: impl FnOnce() -> Included) -> Included {
        if let Some(known) = lock(&self.included).get(pattern) {
            return known.clone();
        }
        let files = load();
        lock(&self.included).insert(pattern.to_owned(), files.clone());
        files
    }

    fn ran_before(
        &self,
        command: &str,
        run: impl FnOnce() -> Result<bool, SshConfigError>,
    ) -> Result<bool, SshConfigError> {
        if let Some(known) = lock(&self.ran).get(command) {
            return Ok(*known);
        }
        let succeeded = run()?;
        lock(&self.ran).insert(command.to_owned(), succeeded);
        Ok(succeeded)
    }
}

/// Takes a lock whose holders cannot leave the map half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn refused(path: &Path, refusal: Refusal) -> SshConfigError {
    let path = path.to_owned();
    match refusal {
        Refusal::Unreadable(source) => SshConfigError::Read { path, source: Arc::new(source) },
        Refusal::Permissions { mode, owner } => SshConfigError::Permissions { path, mode, owner },
    }
}

#[cfg(test)]
mod tests;
