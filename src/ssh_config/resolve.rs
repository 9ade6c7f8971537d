//! One host through the configuration: which directives count, the second pass, and what follows from them.

use std::cell::Cell;
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};

use crate::host::{HostName, NameError, check_host, check_user};

use super::SshConfig;
use super::block::{File, Item, Setting};
use super::canonical::{Outcome, Rules};
use super::chosen::{Chosen, differs_by_host};
use super::effective::{Effective, Proxy, Unexpanded, address_family, options};
use super::files::Owner;
use super::keyword::{KEYWORDS, Keyword};
use super::layer::{Layer, literal};
use super::matching::{Circumstances, Condition, holds, selects};
use super::network::{Network, canonical_address, local_addresses, looks_like_address};
use super::parse::{Parser, Place, anchored, problem};
use super::pattern::{ListMatch, matches_list};
use super::problem::{ExpansionError, Origin, Spot, SshConfigError};
use super::route::{Request, Role};
use super::tokens::{self, Tokens};
use super::value::Value;

impl SshConfig {
    /// Everything that holds for a host.
    pub fn resolve(&self, request: &Request<'_>) -> Result<Effective, SshConfigError> {
        check_host(request.host)?;
        request.user.map_or(Ok(()), check_user)?;
        let mut walk = Walk {
            config: self,
            request,
            host: request.host.to_owned(),
            is_second_pass: false,
            wants_second_pass: false,
            chosen: Chosen::new(),
        };
        walk.take_layers()?;
        walk.take_files()?;
        walk.settle_host_name()?;
        walk.finish()
    }
}

struct Walk<'a> {
    config: &'a SshConfig,
    request: &'a Request<'a>,
    /// The name that `Host` patterns see: as given, then as resolved.
    host: String,
    is_second_pass: bool,
    wants_second_pass: bool,
    chosen: Chosen,
}

impl<'a> Walk<'a> {
    fn take(&mut self, setting: &Arc<Setting>) -> Result<(), SshConfigError> {
        if let (Keyword::RefuseConnection, Value::Text(reason)) = (setting.keyword, &setting.value) {
            return Err(SshConfigError::Refused {
                host: self.request.host.into(),
                origin: setting.origin.clone(),
                reason: reason.to_string(),
            });
        }
        let taken = self.chosen.take(setting);
        taken.map_err(|_| self.unusable(setting.origin.clone(), "more than 100 keys or certificates"))
    }

    fn take_layers(&mut self) -> Result<(), SshConfigError> {
        let config = self.config;
        if self.request.role == Role::Target {
            self.take_layer(&config.command_line)?;
        }
        let label = match self.request.role {
            Role::Target => "command line",
            Role::Hop => "jump host",
        };
        let origin = Origin::Label(label.into());
        if let Some(user) = self.request.user {
            let value = Value::Text(literal(user));
            self.take(&Setting::new(Keyword::User, value, origin.clone(), Owner::User))?;
        }
        if let Some(port) = self.request.port {
            self.take(&Setting::new(Keyword::Port, Value::Number(port.into()), origin, Owner::User))?;
        }
        if self.request.role == Role::Target {
            self.take_layer(&config.defaults)?;
        }
        let layers = self.request.layers;
        layers.iter().try_for_each(|layer| self.take_layer(layer))
    }

    fn take_layer(&mut self, layer: &Layer) -> Result<(), SshConfigError> {
        layer.settings().iter().try_for_each(|setting| self.take(setting))
    }

    fn take_files(&mut self) -> Result<(), SshConfigError> {
        let config = self.config;
        config.files.iter().try_for_each(|file| self.take_file(file, true))
    }

    /// Takes what applies of a file. One that is included where nothing applies is only searched for doubtful keywords.
    fn take_file(&mut self, file: &File, applies: bool) -> Result<(), SshConfigError> {
        self.wants_second_pass |= file.wants_second_pass;
        if !file.has_doubtful {
            let host = self.host.clone();
            for section in file.sections_for(&host) {
                if self.meets(&section.condition)? {
                    section.items.iter().try_for_each(|item| self.take_item(item, true))?;
                }
            }
            return Ok(());
        }
        for section in &file.sections {
            let applies = applies && self.meets(&section.condition)?;
            section.items.iter().try_for_each(|item| self.take_item(item, applies))?;
        }
        Ok(())
    }

    fn take_item(&mut self, item: &Item, applies: bool) -> Result<(), SshConfigError> {
        match item {
            Item::Setting(setting) if applies => self.take(setting),
            Item::Include(files) => files
                .iter()
                .filter(|file| applies || file.has_doubtful)
                .try_for_each(|file| self.take_file(file, applies)),
            Item::IncludeByHost { pattern, owner, origin, depth } if applies => {
                self.include_by_host(pattern, *owner, origin, *depth)
            }
            Item::Doubtful { keyword, problem } => {
                let ignored = self
                    .chosen
                    .text(Keyword::IgnoreUnknown)
                    .is_some_and(|list| matches_list(keyword, &list.to_ascii_lowercase()) == ListMatch::Matched);
                if ignored { Ok(()) } else { Err(SshConfigError::Invalid(vec![(**problem).clone()])) }
            }
            Item::Setting(_) | Item::IncludeByHost { .. } => Ok(()),
        }
    }

    fn meets(&self, condition: &Condition) -> Result<bool, SshConfigError> {
        match condition {
            Condition::Always => Ok(true),
            Condition::Host(patterns) => Ok(selects(patterns, &self.host)),
            Condition::Match(criteria, origin) => holds(criteria, origin, self),
        }
    }

    /// Reads the files of an `Include` with tokens; each set of files is read once.
    fn include_by_host(
        &mut self,
        pattern: &str,
        owner: Owner,
        origin: &Origin,
        depth: usize,
    ) -> Result<(), SshConfigError> {
        let config = self.config;
        let host = self.host()?;
        let expanded = self.tokens(&host).percent_dollar(pattern, tokens::MOST);
        let expanded = expanded.map_err(|error| self.unexpanded((origin.clone(), error)))?;
        let fail = |fault| SshConfigError::Invalid(vec![problem(origin, pattern, (0, fault))]);
        let expanded = anchored(&expanded, owner, &config.account).map_err(fail)?;
        let files = config.included_by_host(&expanded, || {
            let mut parser = Parser::new(&config.account, config.command_line.ignored_or(&config.defaults));
            let place = Place { owner, depth, for_every_host: false };
            let files = parser.include(&expanded, place, (0, origin, pattern));
            if parser.problems.is_empty() { Ok(files) } else { Err(SshConfigError::Invalid(parser.problems)) }
        })?;
        files.iter().try_for_each(|file| self.take_file(file, true))
    }

    /// Settles which name is dialled and takes the second pass where one is asked for (`main` in OpenSSH's ssh.c).
    fn settle_host_name(&mut self) -> Result<(), SshConfigError> {
        let written = self.chosen.is_set(Keyword::HostName);
        if written {
            self.host = self.host()?;
        }
        let family = address_family(&self.chosen);
        let numeric = canonical_address(&self.host, family);
        let is_address = looks_like_address(&self.host) || numeric.is_some();
        if !is_address {
            self.host.make_ascii_lowercase();
        }
        let mode = self.chosen.choice(Keyword::CanonicalizeHostname);
        if let Some(address) = numeric {
            // Another case alone is not another form.
            if !address.eq_ignore_ascii_case(&self.host) {
                self.host = address;
            }
        } else if !is_address {
            let proxied = self.chosen.jumps() || self.chosen.text_or_none(Keyword::ProxyCommand).is_some();
            let direct = !proxied || mode == "always";
            let rules = Rules {
                resolver: &*self.config.resolver,
                family,
                is_on: mode != "false" && direct,
                largest_dots: self.chosen.number(Keyword::CanonicalizeMaxDots),
                domains: self.chosen.words(Keyword::CanonicalDomains),
                permitted: self.chosen.words(Keyword::CanonicalizePermittedCNAMEs),
                falls_back: self.chosen.is_on(Keyword::CanonicalizeFallbackLocal),
                // Without canonicalisation OpenSSH looks the name up, but follows no alias either.
                follows_bare: mode != "false" && direct,
            };
            match rules.canonicalize(&self.host) {
                Outcome::Found(name) => self.host = name,
                Outcome::NotFound if !rules.falls_back => {
                    return Err(SshConfigError::NotCanonical { host: self.host.clone() });
                }
                Outcome::NotFound | Outcome::Unchanged => {}
            }
        }
        if self.wants_second_pass || mode != "false" {
            self.is_second_pass = true;
            self.chosen.fix_canonicalization();
            self.take_files()?;
        }
        Ok(())
    }

    fn finish(self) -> Result<Effective, SshConfigError> {
        let chosen = &self.chosen;
        let account = &self.config.account;
        if chosen.number(Keyword::ConnectionAttempts) == 0 {
            return Err(
                self.unusable(chosen.origin(Keyword::ConnectionAttempts), "`ConnectionAttempts` must be at least 1")
            );
        }
        let host_key_alias = chosen.text(Keyword::HostKeyAlias).map(|alias| alias.to_ascii_lowercase());
        let mut tokens = Tokens {
            account,
            host: &self.host,
            original: self.request.host,
            key_alias: host_key_alias.as_deref().unwrap_or(self.request.host),
            port: self.port(),
            user: "",
            jump_host: self.jump_host(),
            differs: Cell::new(false),
        };
        let user = match chosen.setting(Keyword::User) {
            Some(setting) => {
                let written = chosen.text(Keyword::User).map_or("", |text| text);
                let user = tokens.percent_dollar(written, tokens::USER);
                let user = user.map_err(|error| self.unexpanded((setting.origin.clone(), error)))?;
                // As OpenSSH: what stands literally in a file is trusted, what was put together is not.
                if user != written {
                    check_user(&user)?;
                }
                user
            }
            None => account.user.clone(),
        };
        tokens.user = &user;
        tokens.differs.set(false);
        let (proxy, proxy_text) = self.proxy(&tokens)?;
        tokens.differs.set(false);
        let build = || {
            let built = options(chosen, &tokens).map_err(|error| self.unexpanded(error))?;
            Ok((Arc::new(built), !tokens.differs.get()))
        };
        let options = self.config.shared_options(chosen.key(), build)?;
        let written = KEYWORDS.iter().map(|row| row.keyword).filter(|&keyword| differs_by_host(keyword));
        let origins = written.filter_map(|keyword| Some((keyword, chosen.setting(keyword)?.origin.clone()))).collect();
        Ok(Effective {
            name: HostName::new(self.request.host)?,
            port: tokens.port,
            host_key_alias: host_key_alias.as_deref().map(Arc::from),
            user: user.as_str().into(),
            host_name: self.host.as_str().into(),
            proxy,
            options,
            origins,
            proxy_text,
        })
    }

    /// The way to the host, and what `ssh -G` prints for it.
    fn proxy(&self, tokens: &Tokens<'_>) -> Result<(Proxy, Option<Arc<str>>), SshConfigError> {
        if let Some(Value::Jump(chain)) = self.chosen.value(Keyword::ProxyJump)
            && let Some(last) = chain.hops.last()
        {
            let user = last.user.as_deref().unwrap_or(tokens.user);
            if last.host == self.host && last.port.unwrap_or(22) == tokens.port && user == tokens.user {
                let (host, hop) = (self.request.host.to_owned(), last.host.clone());
                return Err(SshConfigError::JumpLoop { host, hop });
            }
            return Ok((Proxy::Jump(chain.hops.clone().into()), Some(chain.to_string().into())));
        }
        let Some(command) = self.chosen.text_or_none(Keyword::ProxyCommand) else { return Ok((Proxy::Direct, None)) };
        let expanded = tokens.percent(command, tokens::PROXY);
        let expanded = expanded.map_err(|error| self.unexpanded((self.chosen.origin(Keyword::ProxyCommand), error)))?;
        // These reach a shell.
        self.check_for_shell(command, tokens)?;
        Ok((Proxy::Command { written: command.clone(), line: expanded.into() }, Some(command.clone())))
    }

    /// Checks the names that a command for the shell refers to.
    fn check_for_shell(&self, command: &str, tokens: &Tokens<'_>) -> Result<(), NameError> {
        if command.contains("%h") {
            check_host(tokens.host)?;
        }
        if command.contains("%k") {
            check_host(tokens.key_alias)?;
        }
        if command.contains("%j") && !tokens.jump_host.is_empty() {
            check_host(tokens.jump_host)?;
        }
        if command.contains("%r") {
            check_user(tokens.user)?;
        }
        Ok(())
    }

    fn port(&self) -> u16 {
        self.chosen.number(Keyword::Port).try_into().unwrap_or(22)
    }

    fn jump_host(&self) -> &str {
        match self.chosen.value(Keyword::ProxyJump) {
            Some(Value::Jump(chain)) => chain.hops.last().map_or("", |hop| hop.host.as_str()),
            _ => "",
        }
    }

    /// The tokens as things stand while files are being read.
    fn tokens<'t>(&'t self, host: &'t str) -> Tokens<'t> {
        Tokens {
            account: &self.config.account,
            host,
            original: self.request.host,
            key_alias: self.chosen.text(Keyword::HostKeyAlias).map_or(host, |alias| alias),
            port: self.port(),
            user: Circumstances::user(self),
            jump_host: self.jump_host(),
            differs: Cell::new(false),
        }
    }

    fn unexpanded(&self, (origin, why): Unexpanded) -> SshConfigError {
        let spot = Spot::of(why.text(), &origin).map(Box::new);
        SshConfigError::Expansion { host: self.request.host.into(), origin, why, spot }
    }

    fn unusable(&self, origin: Origin, reason: &'static str) -> SshConfigError {
        SshConfigError::Unusable { host: self.request.host.into(), origin, reason }
    }
}

impl Circumstances for Walk<'_> {
    type Error = SshConfigError;

    fn is_second_pass(&self) -> bool {
        self.is_second_pass
    }

    fn host(&self) -> Result<String, SshConfigError> {
        let written = self.chosen.text(Keyword::HostName).filter(|_| !self.is_second_pass);
        let Some(written) = written else { return Ok(self.host.clone()) };
        let tokens = Tokens {
            account: &self.config.account,
            host: &self.host,
            original: self.request.host,
            key_alias: "",
            port: 0,
            user: "",
            jump_host: "",
            differs: Cell::new(false),
        };
        let expanded = tokens.percent(written, tokens::HOST_NAME);
        expanded.map_err(|error: ExpansionError| self.unexpanded((self.chosen.origin(Keyword::HostName), error)))
    }

    fn original_host(&self) -> &str {
        self.request.host
    }

    fn user(&self) -> &str {
        self.chosen.text(Keyword::User).map_or(&self.config.account.user, |user| user)
    }

    fn local_user(&self) -> &str {
        &self.config.account.user
    }

    fn is_in(&self, networks: &[Network]) -> bool {
        static ADDRESSES: OnceLock<Vec<std::net::IpAddr>> = OnceLock::new();
        let addresses = ADDRESSES.get_or_init(local_addresses);
        networks.iter().any(|network| addresses.iter().any(|&address| network.contains(address)))
    }

    fn tag(&self) -> &str {
        self.chosen.text(Keyword::Tag).map_or("", |tag| tag)
    }

    fn command(&self) -> &str {
        self.request.command.unwrap_or_default()
    }

    fn session_type(&self) -> &str {
        match self.chosen.choice(Keyword::SessionType) {
            "default" if self.command().is_empty() => "shell",
            "default" => "exec",
            other => other,
        }
    }

    fn run(&self, command: &str, origin: &Origin) -> Result<bool, SshConfigError> {
        let host = self.host()?;
        let tokens = self.tokens(&host);
        let expanded = tokens.percent(command, tokens::MOST);
        let expanded = expanded.map_err(|error| self.unexpanded((origin.clone(), error)))?;
        self.check_for_shell(command, &tokens)?;
        let shell = &self.config.account.shell;
        self.config.ran_before(&expanded, || {
            let fail = |reason: String| SshConfigError::Exec { origin: origin.clone(), reason };
            let mut child = Command::new(shell);
            child.arg("-c").arg(&expanded).stdin(Stdio::null()).stdout(Stdio::null());
            let status = child.status().map_err(|error| fail(format!("`{}`: {error}", shell.display())))?;
            let code = status.code().ok_or_else(|| fail(format!("`{expanded}` was ended by a signal")))?;
            Ok(code == 0)
        })
    }
}
