//! Where hosts come from: the inventory, the ssh_config, and the selection among them.

use super::failure::{Failed, warn};
use super::options::{GlobalOptions, TargetOptions};
use super::prompt;
use super::variables::Everybody;
use crate::host::HostName;
use crate::inventory::{
    self, Discovered, GroupIndex, HostIndex, Inventory, InventoryErrors, Problem, Severity, Source, Surroundings,
    discover,
};
use crate::known_hosts::open_at_once;
use crate::selection::{ListSource, Lists, Population, Request, Selection, SelectionError, SystemLists, select};
use crate::ssh_config::{Account, Files, JumpError, Layer, Sources, SshConfig, SshConfigError};
use crate::task::quote;
use crate::template::Templates;
use std::borrow::Cow;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The label of values that were typed.
pub(super) const COMMAND_LINE: &str = "command line";
/// How jump hosts are written.
pub(super) const JUMP_HINT: &str =
    "jump hosts are written [user@]host[:port], several with commas between them, IPv6 in brackets";
/// The inventory that uses up standard input.
pub(super) const PIPED_INVENTORY: &str = "`-i -`";
/// The group of the hosts that the ssh_config names.
const SSH_CONFIG_GROUP: &str = "ssh_config";

/// Everybody who could be called.
pub(super) struct Known {
    pub(super) inventory: Arc<Inventory>,
    pub(super) ssh_config: SshConfig,
    /// With the variables of the inventory.
    pub(super) templates: Templates,
    /// What `all` means: the hosts of the inventory, or without one those of the ssh_config. Somebody whose ssh_config
    /// names a router does not mean it by `all` of an inventory.
    all: Arc<[u32]>,
    has_inventory: bool,
    /// What standard input is for, where it is not there for lists of targets.
    standard_input: Option<&'static str>,
    /// What environment and configuration file add to every selection.
    limits: Vec<String>,
    excludes: Vec<String>,
    /// Whether --connect-timeout was typed, and is more than a default.
    pub(super) connect_timeout_is_typed: bool,
}

/// The options of a verb that read standard input.
#[derive(Clone, Copy, Default)]
pub(super) struct Readers {
    /// A password from descriptor 0.
    pub(super) descriptor: Option<&'static str>,
    /// What reads all of it.
    pub(super) option: Option<&'static str>,
}

impl Known {
    /// Reads inventory and ssh_config; warnings go to standard error.
    pub(super) fn load(global: &GlobalOptions) -> Result<Self, Failed> {
        Self::load_beside(Readers::default(), global)
    }

    /// The same for a verb whose options may read standard input, which one alone can.
    pub(super) fn load_beside(readers: Readers, global: &GlobalOptions) -> Result<Self, Failed> {
        let piped = global.inventory_is_piped().then_some(PIPED_INVENTORY);
        let descriptor = (global.pass_fd == Some(0)).then_some("`--pass-fd 0`").or(readers.descriptor);
        let mut taken = [piped, descriptor, readers.option].into_iter().flatten();
        let standard_input = taken.next();
        if let (Some(by), Some(and)) = (standard_input, taken.next()) {
            return Err(standard_input_is_taken(by, and));
        }
        let ssh_config = ssh_config(global)?;
        let (inventory, has_inventory) = load_inventory(global)?;
        let (limits, excludes) = (global.lists.values("limit"), global.lists.values("exclude"));
        let known = Self::of(inventory, has_inventory, ssh_config);
        let connect_timeout_is_typed = global.connect_timeout_is_typed;
        Ok(Self { standard_input, limits, excludes, connect_timeout_is_typed, ..known })
    }

    /// The hosts of an inventory that was read already, and of the ssh_config.
    pub(super) fn of(mut inventory: Inventory, has_inventory: bool, ssh_config: SshConfig) -> Self {
        let hosts = ssh_config.concrete_hosts().iter().filter_map(|host| HostName::new(&host.name).ok());
        let inventory_hosts = inventory.host_count() as u32;
        if !ssh_config.concrete_hosts().is_empty() {
            inventory.add_group_of_hosts(SSH_CONFIG_GROUP, hosts);
        }
        let all = if has_inventory {
            all_members(&inventory, inventory_hosts)
        } else {
            (0..inventory.host_count() as u32).collect()
        };
        let (inventory, all) = (Arc::new(inventory), Arc::from(all));
        let everybody = Everybody { inventory: Arc::clone(&inventory), all: Arc::clone(&all) };
        let templates = Templates::new(Arc::new(everybody), quote);
        Self {
            inventory,
            ssh_config,
            templates,
            all,
            has_inventory,
            standard_input: None,
            limits: Vec::new(),
            excludes: Vec::new(),
            connect_timeout_is_typed: false,
        }
    }

    /// The hosts that the targets mean.
    pub(super) fn select(&self, targets: &TargetOptions) -> Result<Selection, Failed> {
        let limits = [&targets.limit[..], &self.limits].concat();
        let excludes = [&targets.exclude[..], &self.excludes].concat();
        let request = Request { targets: &targets.targets, limits: &limits, excludes: &excludes };
        let mut remaining = Remaining { lists: SystemLists, taken: self.standard_input, refused: None };
        select(self, &request, &mut remaining).map_err(|error| match remaining.refused {
            Some(taken) => standard_input_is_taken(taken, "the targets `-`"),
            None => Failed::from(error),
        })
    }
}

/// The members of `all` in Ansible's order, without what came from elsewhere.
fn all_members(inventory: &Inventory, inventory_hosts: u32) -> Vec<u32> {
    let members = inventory.members(Inventory::ALL);
    members.iter().map(|host| host.index() as u32).filter(|&host| host < inventory_hosts).collect()
}

impl Population for Known {
    fn host_total(&self) -> u32 {
        self.inventory.host_count() as u32
    }

    fn host_name(&self, host: u32) -> &HostName {
        self.inventory.host_name(HostIndex::new(host))
    }

    fn host_index(&self, name: &str) -> Option<u32> {
        self.inventory.host(name).map(|host| host.index() as u32)
    }

    fn group_total(&self) -> u32 {
        self.inventory.group_count() as u32
    }

    fn group_name(&self, group: u32) -> &str {
        self.inventory.group_name(GroupIndex::new(group))
    }

    fn group_index(&self, name: &str) -> Option<u32> {
        self.inventory.group(name).map(|group| group.index() as u32)
    }

    fn members(&self, group: u32) -> Cow<'_, [u32]> {
        let group = GroupIndex::new(group);
        if group == Inventory::ALL {
            return Cow::Borrowed(&self.all);
        }
        Cow::Owned(self.inventory.members(group).iter().map(|host| host.index() as u32).collect())
    }

    fn has_inventory(&self) -> bool {
        self.has_inventory
    }
}

/// Lists of targets where standard input may be for something else.
struct Remaining {
    lists: SystemLists,
    taken: Option<&'static str>,
    /// For what it was refused.
    refused: Option<&'static str>,
}

impl Lists for Remaining {
    fn read(&mut self, source: &ListSource) -> io::Result<String> {
        self.refused = self.refused.or(self.taken.filter(|_| *source == ListSource::StandardInput));
        if self.refused.is_some() { Err(io::ErrorKind::ResourceBusy.into()) } else { self.lists.read(source) }
    }
}

/// Standard input is asked for twice.
pub(super) fn standard_input_is_taken(by: &str, and: &str) -> Failed {
    Failed::mistake_text(format!("{by} and {and} cannot both read standard input")).hint("give one of them a file")
}

/// The inventory that the options name or that is found, without the hosts of the ssh_config, and whether there is one.
pub(super) fn load_inventory(global: &GlobalOptions) -> Result<(Inventory, bool), Failed> {
    if global.inventory.iter().filter(|source| *source == "-").count() > 1 {
        return Err(standard_input_is_taken(PIPED_INVENTORY, "another `-i -`"));
    }
    let found = if global.inventory.is_empty() {
        discover(&Surroundings {
            variable: None,
            directory: PathBuf::new(),
            config: super::settings::directory(),
            user: rustix::process::geteuid().as_raw(),
        })
    } else {
        Discovered {
            sources: global.inventory.iter().map(|source| Source::parse(source)).collect(),
            warnings: Vec::new(),
        }
    };
    let has_inventory = !found.sources.is_empty();
    let inventory = Inventory::load(&found.sources, &inventory::Options::default())?;
    if !global.quiet {
        let mut stderr = io::stderr().lock();
        for warning in
            found.warnings.iter().chain(inventory.warnings()).filter(|problem| problem.severity == Severity::Warning)
        {
            tell(&mut stderr, warning)?;
        }
    }
    Ok((inventory, has_inventory))
}

/// Tells a warning of the inventory with its hint.
pub(super) fn tell(out: &mut dyn Write, warning: &Problem) -> io::Result<()> {
    match &warning.hint {
        Some(hint) => warn(out, format_args!("{warning}\nhint: {hint}")),
        None => warn(out, warning),
    }
}

/// The ssh_config with what the command line says on top.
pub(super) fn ssh_config(global: &GlobalOptions) -> Result<SshConfig, Failed> {
    let account = Account::current();
    let file = global.ssh_config.as_deref().map(expand_tilde);
    let mut sources = Sources::new(Files::chosen(file.as_deref(), &account), account);
    sources.command_line = layer(Rank::Typed, global, &sources.account)?;
    sources.defaults = layer(Rank::Default, global, &sources.account)?;
    let config = SshConfig::load(sources)?;
    if !global.quiet {
        let mut stderr = io::stderr().lock();
        config
            .warnings()
            .iter()
            .try_for_each(|warning| warn(&mut stderr, format_args!("{}: {}", warning.origin, warning.text)))?;
    }
    Ok(config)
}

/// What options about reaching hosts were typed, or come from elsewhere and stand in for those.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rank {
    Typed,
    Default,
}

fn layer(rank: Rank, global: &GlobalOptions, account: &Account) -> Result<Layer, Failed> {
    let ranked = |option: &str| {
        let origin = global.origins.of(option, 0);
        let its = if origin.is_some() { Rank::Default } else { Rank::Typed };
        (its == rank).then(|| origin.unwrap_or(COMMAND_LINE))
    };
    let mut layer = Layer::new();
    // Flags before -o: of two values for one thing the more specific spelling is meant.
    if let (Some(user), Some(origin)) = (&global.user, ranked("user")) {
        layer = layer.user(origin, user).map_err(Failed::mistake)?;
    }
    if let (Some(port), Some(origin)) = (global.port, ranked("port")) {
        layer = layer.port(origin, port);
    }
    let identities: Vec<(String, &str)> = match rank {
        Rank::Typed => global.identity.iter().map(|path| (path.display().to_string(), COMMAND_LINE)).collect(),
        Rank::Default => global.lists.of("identity").map(|(path, origin)| (path.to_owned(), origin)).collect(),
    };
    let options: Vec<(&str, &str)> = match rank {
        Rank::Typed => global.option.iter().map(|option| (&**option, COMMAND_LINE)).collect(),
        Rank::Default => global.lists.of("option").collect(),
    };
    for (identity, origin) in identities {
        // A key that is named and not there is a slip, not one of several guesses.
        open_at_once(&expand_tilde(&identity))
            .map_err(|error| Failed::mistake_text(format!("cannot read the key `{identity}`: {error}")))?;
        layer = layer.identity_file(origin, &identity);
    }
    if let (Some(hops), Some(origin)) = (&global.jump, ranked("jump")) {
        layer = layer.jump(origin, hops)?;
    }
    // All mistakes of one place are told together.
    for options in options.chunk_by(|(_, one), (_, other)| one == other) {
        layer = layer.options(options[0].1, options.iter().map(|(option, _)| *option), account)?;
    }
    Ok(layer)
}

fn expand_tilde(path: &str) -> PathBuf {
    match path.strip_prefix("~/").zip(std::env::home_dir()) {
        Some((rest, home)) => home.join(rest),
        None => Path::new(path).to_owned(),
    }
}

/// The login password, where one was announced.
pub(super) fn login_password(global: &GlobalOptions) -> Result<Option<crate::secret::Secret>, Failed> {
    prompt::password(global.ask_pass, global.pass_fd, "login password", "--pass-fd")
}

impl From<SshConfigError> for Failed {
    fn from(error: SshConfigError) -> Self {
        match &error {
            SshConfigError::Permissions { path, .. } => {
                let hint = format!("chmod go-w {0}; it must belong to you or root", path.display());
                Self::mistake(error).hint(hint)
            }
            _ => Self::mistake(error),
        }
    }
}

impl From<JumpError> for Failed {
    fn from(error: JumpError) -> Self {
        Self::mistake(error).hint(JUMP_HINT)
    }
}

impl From<InventoryErrors> for Failed {
    fn from(errors: InventoryErrors) -> Self {
        Self::mistake_text(errors.to_string())
    }
}

impl From<SelectionError> for Failed {
    fn from(error: SelectionError) -> Self {
        let failed = Self::mistake_text(format!("{error}\n  {}", error.excerpt().replace('\n', "\n  ")));
        match error.hint() {
            Some(hint) => failed.hint(hint),
            None => failed,
        }
    }
}
