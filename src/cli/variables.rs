//! What the variables of an inventory say about reaching a host, as layers over the ssh_config: [`InventoryReach`]; and
//! everything that is wrong with them: [`Mistakes`]. [`Everybody`] shows the variables to templates.

use super::failure::Failed;
use super::sources::{JUMP_HINT, Known};
use crate::inventory::{
    ConnectionVariables, HostIndex, Inventory, MAGIC_VARIABLES, Origin, Severity, SshArgument, VariableFault,
    VariableProblem,
};
use crate::nodeset::fold;
use crate::ssh_config::{Account, JumpError, Layer, SshConfigError};
use crate::template::{Fleet, Subject, is_template};
use crate::yaml::{self, Place};
use serde_yaml::Value;
use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// What an inventory says about reaching one host.
#[derive(Default)]
pub(super) struct InventoryReach {
    pub(super) layers: Vec<Layer>,
    pub(super) variables: ConnectionVariables,
    /// What keeps the host from being called.
    pub(super) errors: Vec<Mistake>,
    /// What is left out, so that the host is reached in another way than its variables say.
    pub(super) warnings: Vec<Mistake>,
    /// What could not be read, and is not needed by every run.
    pub(super) remarks: Vec<Mistake>,
}

/// A variable that cannot be used as it is. It does not say whose: many hosts may have it from one line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Mistake {
    /// `file:line:column`; empty where the variable has none.
    place: String,
    origin: Option<Origin>,
    variable: String,
    why: String,
    hint: Option<String>,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}`{}`: {}", self.prefix(), self.variable, self.why)
    }
}

impl Mistake {
    fn text(&self, hosts: &[&str]) -> String {
        format!("{}`{}` of `{}`: {}", self.prefix(), self.variable, fold(hosts.iter().copied()), self.why)
    }

    /// Whether what is wrong is shown already, or is long.
    fn shows_itself(&self) -> bool {
        self.why.contains('\n')
    }

    fn prefix(&self) -> String {
        if self.place.is_empty() { String::new() } else { format!("{}: ", self.place) }
    }
}

/// The mistakes of many hosts, equal ones once, in the order in which they were found.
#[derive(Default)]
pub(super) struct Mistakes<'a> {
    found: Vec<(Mistake, Vec<&'a str>)>,
    positions: HashMap<Mistake, usize>,
}

impl<'a> Mistakes<'a> {
    pub(super) fn add(&mut self, host: &'a str, mistakes: Vec<Mistake>) {
        for mistake in mistakes {
            match self.positions.get(&mistake) {
                Some(&position) => self.found[position].1.push(host),
                None => {
                    self.positions.insert(mistake.clone(), self.found.len());
                    self.found.push((mistake, vec![host]));
                }
            }
        }
    }

    /// Each with the names of its hosts and the line where it stands, to end the program or to be told.
    pub(super) fn failures(&self, inventory: &Inventory) -> Vec<Failed> {
        let mut files = Files::default();
        let told = self.found.iter().map(|(mistake, hosts)| {
            let mut text = mistake.text(hosts);
            if let Some(origin) = mistake.origin.filter(|_| !mistake.shows_itself())
                && let Some(line) = files.line(inventory, origin)
            {
                let place = Place { line: origin.line, column: origin.column };
                // Writing to a string does not fail.
                let _ = yaml::excerpt(&mut text, place, line);
            }
            Failed::mistake_text(text).hints(mistake.hint.clone())
        });
        told.collect()
    }
}

/// Files of an inventory, each read once more to show lines of it.
#[derive(Default)]
struct Files(HashMap<String, Vec<String>>);

impl Files {
    /// The line of a variable, where it is in a file; nothing where a secret may stand in it.
    fn line(&mut self, inventory: &Inventory, origin: Origin) -> Option<&str> {
        const SECRETS: [&str; 4] = ["pass", "secret", "token", "vault"];
        let file = inventory.file(origin);
        if !self.0.contains_key(file) {
            // A pipe was read already and would not end.
            let text = Some(file).filter(|file| Path::new(file).is_file()).map(std::fs::read_to_string);
            let lines = text.and_then(Result::ok).unwrap_or_default().lines().map(str::to_owned).collect();
            self.0.insert(file.to_owned(), lines);
        }
        let line = self.0.get(file)?.get((origin.line as usize).checked_sub(1)?)?;
        let lower = line.to_lowercase();
        (!SECRETS.iter().any(|word| lower.contains(word))).then_some(line)
    }
}

/// What templates see: the hosts of the inventory with the variables that Ansible adds itself.
pub(super) struct Everybody {
    pub(super) inventory: Arc<Inventory>,
    /// The hosts of the group `all`.
    pub(super) all: Arc<[u32]>,
}

impl Fleet for Everybody {
    fn host_total(&self) -> u32 {
        self.inventory.host_count() as u32
    }

    fn host_name(&self, host: u32) -> &str {
        self.inventory.host_name(HostIndex::new(host)).as_str()
    }

    fn host(&self, name: &str) -> Option<u32> {
        self.inventory.host(name).map(|host| host.index() as u32)
    }

    fn variable_names(&self, host: u32) -> Vec<String> {
        let variables = self.inventory.variables(HostIndex::new(host));
        let own = variables.keys().filter_map(Value::as_str).filter(|name| !MAGIC_VARIABLES.contains(name));
        own.chain(MAGIC_VARIABLES).map(str::to_owned).collect()
    }

    fn variable(&self, host: u32, name: &str) -> Option<Value> {
        let host = HostIndex::new(host);
        let own = self.inventory.variable(host, name).map(|variable| variable.value.clone());
        own.or_else(|| self.inventory.magic_variable(host, name))
    }

    fn groups(&self) -> Vec<&str> {
        self.inventory.groups().map(|(_, name)| name).collect()
    }

    fn members(&self, group: &str) -> Option<Vec<&str>> {
        let group = self.inventory.group(group)?;
        Some(match group {
            Inventory::ALL => self.all.iter().map(|&host| self.host_name(host)).collect(),
            group => {
                self.inventory.members(group).iter().map(|&host| self.inventory.host_name(host).as_str()).collect()
            }
        })
    }
}

/// What the inventory says about reaching a host, templates rendered, and all that is wrong with it.
pub(super) fn inventory_reach(known: &Known, host: HostIndex) -> InventoryReach {
    let written = known.inventory.connection_variables(host);
    if written.is_empty() {
        return InventoryReach::default();
    }
    let mut reader = Reader { known, host, errors: Vec::new(), warnings: Vec::new(), remarks: Vec::new() };
    let mut rendered: HashMap<&str, Value> = HashMap::new();
    for variable in written.iter().filter(|variable| is_template(&variable.value)) {
        let text = variable.value.as_str().unwrap_or_default();
        let value = match known.templates.render(text, Subject::Member(host.index() as u32)) {
            Ok(text) => Value::String(text),
            Err(error) => {
                reader.refuse(&[&variable.name], error);
                Value::Null
            }
        };
        rendered.insert(&variable.name, value);
    }
    let (variables, faults) = ConnectionVariables::read(|name| {
        rendered.get(name).or_else(|| known.inventory.variable(host, name).map(|variable| &variable.value))
    });
    faults.iter().for_each(|fault| reader.fault(fault));
    let layers = reader.layers(&variables);
    let Reader { errors, warnings, remarks, .. } = reader;
    InventoryReach { layers, variables, errors, warnings, remarks }
}

/// One host's variables on their way into layers.
struct Reader<'a> {
    known: &'a Known,
    host: HostIndex,
    errors: Vec<Mistake>,
    warnings: Vec<Mistake>,
    remarks: Vec<Mistake>,
}

impl Reader<'_> {
    fn fault(&mut self, fault: &VariableFault) {
        // A password that cannot be read is missed only where it is needed, and said to be missing then.
        let is_sealed = fault.problem == VariableProblem::Vault
            && (fault.variable.contains("pass") && !fault.variable.contains("host"));
        let mistake = self.mistake(&[fault.variable], fault.problem.to_string());
        if is_sealed {
            let why = format!("{}: it is left out", mistake.why);
            self.remarks.push(Mistake { why, ..mistake });
        } else if fault.severity == Severity::Error {
            self.errors.push(mistake);
        } else {
            self.warnings.push(mistake);
        }
    }

    fn refuse(&mut self, names: &[&str], why: impl fmt::Display) {
        let mistake = self.mistake(names, why.to_string());
        self.errors.push(mistake);
    }

    /// A mistake in the first of `names` that the host has.
    fn mistake(&self, names: &[&str], why: String) -> Mistake {
        let inventory = &self.known.inventory;
        let written = names.iter().find_map(|name| inventory.variable(self.host, name));
        Mistake {
            place: written.map(|variable| inventory.describe(variable.origin)).unwrap_or_default(),
            origin: written.map(|variable| variable.origin),
            variable: written.map_or(names[0], |variable| &*variable.name).to_owned(),
            // Values may hold newlines, and must not pass for hints of ours.
            why: why.replace('\n', "\n    "),
            hint: None,
        }
    }

    /// Where the first of `names` that the host has was written.
    fn place(&self, names: &[&str]) -> String {
        let written = names.iter().find_map(|name| self.known.inventory.variable(self.host, name));
        written.map_or_else(|| "inventory".to_owned(), |variable| self.known.inventory.describe(variable.origin))
    }

    fn account(&self) -> &Account {
        self.known.ssh_config.account()
    }

    fn layers(&mut self, variables: &ConnectionVariables) -> Vec<Layer> {
        const ADDRESS: &[&str] = &["ansible_ssh_host", "ansible_host"];
        const PORT: &[&str] = &["ansible_ssh_port", "ansible_port"];
        const USER: &[&str] = &["ansible_ssh_user", "ansible_user"];
        const IDENTITY: &[&str] = &["ansible_ssh_private_key_file", "ansible_private_key_file"];
        const HOST_KEYS: &[&str] = &["ansible_ssh_host_key_checking", "ansible_host_key_checking"];
        const TIMEOUT: &[&str] = &["ansible_ssh_timeout", "ansible_timeout"];

        let mut layers = vec![self.argument_layer("ansible_ssh_args", &variables.first_arguments)];
        let mut layer = Layer::new();
        if let Some(address) = &variables.address {
            let address = address.trim_start_matches('[').trim_end_matches(']');
            match layer.clone().host_name(&self.place(ADDRESS), address) {
                Ok(named) => layer = named,
                Err(error) => self.refuse(ADDRESS, error),
            }
        }
        if let Some(port) = variables.port {
            layer = layer.port(&self.place(PORT), port);
        }
        if let Some(user) = &variables.user {
            match layer.clone().user(&self.place(USER), user) {
                Ok(named) => layer = named,
                Err(error) => self.refuse(USER, error),
            }
        }
        if let Some(identity) = &variables.identity {
            layer = layer.identity_file(&self.place(IDENTITY), identity);
        }
        if variables.host_key_checking == Some(false) {
            layer = self.option(layer, HOST_KEYS, "StrictHostKeyChecking=no");
        }
        if let Some(timeout) = variables.timeout {
            layer = self.option(layer, TIMEOUT, &format!("ConnectTimeout={}", timeout.as_secs().max(1)));
        }
        layers.push(layer);
        layers.push(self.argument_layer("ansible_ssh_common_args", &variables.common_arguments));
        layers.push(self.argument_layer("ansible_ssh_extra_args", &variables.extra_arguments));
        layers.retain(|layer| !layer.is_empty());
        layers
    }

    /// A layer with one option more; without it where it is wrong.
    fn option(&mut self, layer: Layer, names: &[&str], option: &str) -> Layer {
        match layer.clone().options(&self.place(names), [option], self.account()) {
            Ok(layer) => layer,
            Err(error) => {
                self.refuse_option(names, &error);
                layer
            }
        }
    }

    fn refuse_option(&mut self, names: &[&str], error: &SshConfigError) {
        for problem in error.problems() {
            let mistake = self.mistake(names, problem.fault.to_string());
            let why = format!("{}\n{}", mistake.why, problem.excerpt());
            self.errors.push(Mistake { why, hint: problem.fault.hint(), ..mistake });
        }
    }

    fn argument_layer(&mut self, name: &str, arguments: &[SshArgument]) -> Layer {
        let mut layer = Layer::new();
        if arguments.is_empty() {
            return layer;
        }
        let (names, label) = (&[name], self.place(&[name]));
        for argument in arguments {
            layer = match argument {
                SshArgument::Option { keyword, value } => self.option(layer, names, &format!("{keyword}={value}")),
                SshArgument::Jump(hops) => match layer.clone().jump(&label, hops) {
                    Ok(layer) => layer,
                    Err(error) => {
                        self.refuse_jump(names, &error);
                        layer
                    }
                },
                SshArgument::Identity(path) => layer.identity_file(&label, path),
                SshArgument::Port(port) => layer.port(&label, *port),
                SshArgument::User(user) => match layer.clone().user(&label, user) {
                    Ok(layer) => layer,
                    Err(error) => {
                        self.refuse(names, error);
                        layer
                    }
                },
                // One ssh_config is read for the whole run.
                SshArgument::Config(file) => {
                    let why = format!("`-F {file}` is left out: one ssh_config holds for all hosts");
                    let hint = Some("name it with --ssh-config, or put what it says into `-o` and `-J`".to_owned());
                    let mistake = self.mistake(names, why);
                    self.warnings.push(Mistake { hint, ..mistake });
                    layer
                }
            };
        }
        layer
    }

    fn refuse_jump(&mut self, names: &[&str], error: &JumpError) {
        let mistake = self.mistake(names, error.to_string());
        self.errors.push(Mistake { hint: Some(JUMP_HINT.into()), ..mistake });
    }
}
