//! The variables that say how a host is reached, with Ansible's names and its preference among them.
//!
//! Of several names for one thing the later in the list wins, as in Ansible's own options (`vars:` of
//! `plugins/connection/ssh.py`). Values may be templates: the caller renders them before they are read here.

use super::ssh_arguments::{ArgumentFault, SshArgument, parse};
use super::{HostIndex, Inventory, Severity, Variable};
use crate::host::{NameError, check_user};
use crate::secret::Secret;
use serde_yaml::Value;
use std::time::Duration;

/// How a host is reached, as far as its variables say so. Passwords do not show in `Debug`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConnectionVariables {
    /// Name or address to dial.
    pub address: Option<String>,
    /// Port to dial.
    pub port: Option<u16>,
    /// Login name.
    pub user: Option<String>,
    /// Private key file.
    pub identity: Option<String>,
    /// Login password.
    pub password: Option<Secret>,
    /// The variable that holds the login password encrypted, where that is why there is none.
    pub sealed_password: Option<&'static str>,
    /// `ansible_ssh_args`: stronger than the variables above.
    pub first_arguments: Vec<SshArgument>,
    /// `ansible_ssh_common_args`: weaker than the variables above.
    pub common_arguments: Vec<SshArgument>,
    /// `ansible_ssh_extra_args`: weaker still.
    pub extra_arguments: Vec<SshArgument>,
    /// Over SSH, or on this machine.
    pub kind: Option<ConnectionKind>,
    /// Whether commands run as another user.
    pub becomes: Option<bool>,
    /// By which program.
    pub become_method: Option<BecomeMethod>,
    /// As whom.
    pub become_user: Option<String>,
    /// With which password.
    pub become_password: Option<Secret>,
    /// The variable that holds that password encrypted, where that is why there is none.
    pub sealed_become_password: Option<&'static str>,
    /// Whether host keys are checked.
    pub host_key_checking: Option<bool>,
    /// Shell that commands are handed to.
    pub shell: Option<String>,
    /// Time to connect.
    pub timeout: Option<Duration>,
}

/// `ansible_connection`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionKind {
    /// Over SSH.
    Ssh,
    /// On this machine.
    Local,
}

/// `ansible_become_method`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BecomeMethod {
    /// sudo(8).
    Sudo,
    /// su(1).
    Su,
    /// doas(1).
    Doas,
}

/// A variable that cannot be used as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct VariableFault {
    /// Its name.
    pub variable: &'static str,
    /// An error keeps the host from being called.
    pub severity: Severity,
    /// What is wrong.
    pub problem: VariableProblem,
}

/// What is wrong with a variable. Passwords are never shown.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum VariableProblem {
    /// A value of the wrong kind.
    #[error("must be {wanted}, not `{found}`")]
    Wrong {
        /// What would be right, with its article.
        wanted: &'static str,
        /// What is there.
        found: String,
    },
    /// A list, a mapping or nothing where text is wanted.
    #[error("must be text")]
    NotText,
    /// Encrypted.
    #[error("is encrypted with Ansible's vault")]
    Vault,
    /// What bugle does not follow.
    #[error("`{found}` is left out: bugle calls sudo, su and doas with arguments of its own")]
    LeftOut {
        /// What is there.
        found: String,
    },
    /// A login name that is refused.
    #[error("{0}")]
    User(NameError),
    /// An argument of ssh.
    #[error("{0}")]
    Argument(ArgumentFault),
}

const ADDRESS: &[&str] = &["ansible_host", "ansible_ssh_host"];
const PORT: &[&str] = &["ansible_port", "ansible_ssh_port"];
const USER: &[&str] = &["ansible_user", "ansible_ssh_user"];
const IDENTITY: &[&str] = &["ansible_private_key_file", "ansible_ssh_private_key_file"];
const PASSWORD: &[&str] = &["ansible_password", "ansible_ssh_pass", "ansible_ssh_password"];
const FIRST_ARGUMENTS: &[&str] = &["ansible_ssh_args"];
const COMMON_ARGUMENTS: &[&str] = &["ansible_ssh_common_args"];
const EXTRA_ARGUMENTS: &[&str] = &["ansible_ssh_extra_args"];
const KIND: &[&str] = &["ansible_connection"];
const BECOME: &[&str] = &["ansible_become"];
const BECOME_METHOD: &[&str] = &["ansible_become_method"];
const BECOME_USER: &[&str] = &["ansible_become_user", "ansible_su_user", "ansible_sudo_user"];
const BECOME_FLAGS: &[&str] = &["ansible_become_flags", "ansible_su_flags", "ansible_sudo_flags"];
const BECOME_PROGRAM: &[&str] = &["ansible_become_exe", "ansible_su_exe", "ansible_sudo_exe"];
const BECOME_PASSWORD: &[&str] =
    &["ansible_become_password", "ansible_become_pass", "ansible_su_pass", "ansible_sudo_pass"];
const HOST_KEY_CHECKING: &[&str] = &["ansible_host_key_checking", "ansible_ssh_host_key_checking"];
const SHELL: &[&str] = &["ansible_shell_executable"];
const TIMEOUT: &[&str] = &["ansible_timeout", "ansible_ssh_timeout"];

const EVERY: [&[&str]; 18] = [
    ADDRESS,
    PORT,
    USER,
    IDENTITY,
    PASSWORD,
    FIRST_ARGUMENTS,
    COMMON_ARGUMENTS,
    EXTRA_ARGUMENTS,
    KIND,
    BECOME,
    BECOME_METHOD,
    BECOME_USER,
    BECOME_FLAGS,
    BECOME_PROGRAM,
    BECOME_PASSWORD,
    HOST_KEY_CHECKING,
    SHELL,
    TIMEOUT,
];

impl Inventory {
    /// The variables of a host that say how it is reached, as they were written and where.
    pub fn connection_variables(&self, host: HostIndex) -> Vec<&Variable> {
        EVERY.iter().flat_map(|names| names.iter()).filter_map(|name| self.variable(host, name)).collect()
    }
}

impl ConnectionVariables {
    /// Reads rendered variables. What cannot be used comes as faults beside what can.
    pub fn read<'a>(variables: impl Fn(&str) -> Option<&'a Value>) -> (Self, Vec<VariableFault>) {
        let mut reader = Reader { variables, faults: Vec::new() };
        let mut read = Self {
            address: reader.text(ADDRESS),
            port: reader.parsed(PORT, "a port from 1 to 65535", |text| text.parse().ok().filter(|port| *port != 0)),
            user: reader.user(USER),
            identity: reader.text(IDENTITY),
            password: reader.text(PASSWORD).map(Secret::new),
            sealed_password: None,
            first_arguments: reader.arguments(FIRST_ARGUMENTS),
            common_arguments: reader.arguments(COMMON_ARGUMENTS),
            extra_arguments: reader.arguments(EXTRA_ARGUMENTS),
            kind: reader.parsed(KIND, "`ssh` or `local`", connection_kind),
            becomes: reader.parsed(BECOME, "a boolean", boolean),
            become_method: reader.parsed(BECOME_METHOD, "`sudo`, `su` or `doas`", become_method),
            become_user: reader.user(BECOME_USER),
            become_password: reader.text(BECOME_PASSWORD).map(Secret::new),
            sealed_become_password: None,
            host_key_checking: reader.parsed(HOST_KEY_CHECKING, "a boolean", boolean),
            shell: reader.text(SHELL),
            timeout: reader.parsed(TIMEOUT, "a number of seconds", |text| text.parse().ok().map(Duration::from_secs)),
        };
        reader.warn_of_become_options();
        read.sealed_password = reader.sealed(PASSWORD);
        read.sealed_become_password = reader.sealed(BECOME_PASSWORD);
        (read, reader.faults)
    }
}

struct Reader<F> {
    variables: F,
    faults: Vec<VariableFault>,
}

impl<'a, F: Fn(&str) -> Option<&'a Value>> Reader<F> {
    fn fault(&mut self, variable: &'static str, problem: VariableProblem) {
        self.faults.push(VariableFault { variable, severity: Severity::Error, problem });
    }

    /// Of these names the one with a value that is encrypted.
    fn sealed(&self, names: &[&str]) -> Option<&'static str> {
        let sealed = self.faults.iter().filter(|fault| fault.problem == VariableProblem::Vault);
        sealed.map(|fault| fault.variable).find(|name| names.contains(name))
    }

    /// What says how sudo is called is told, unless it says what is done anyway.
    fn warn_of_become_options(&mut self) {
        let named = [BECOME_FLAGS, BECOME_PROGRAM].into_iter().filter_map(|names| self.named_text(names));
        for (variable, text) in named.collect::<Vec<_>>() {
            let is_usual = |word: &str| ["-H", "-S", "-n", "sudo", "su", "doas"].contains(&word);
            if !text.split_whitespace().all(is_usual) {
                let problem = VariableProblem::LeftOut { found: text };
                self.faults.push(VariableFault { variable, severity: Severity::Warning, problem });
            }
        }
    }

    /// The text of the strongest of several names. Null and an empty text say nothing.
    fn named_text(&mut self, names: &[&'static str]) -> Option<(&'static str, String)> {
        let set = names.iter().rev().find_map(|name| Some((*name, (self.variables)(name).filter(|v| !v.is_null())?)));
        let (name, value) = set?;
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
            Value::Tagged(tagged) if tagged.tag == "vault" => {
                self.fault(name, VariableProblem::Vault);
                return None;
            }
            Value::Tagged(tagged) if tagged.value.is_string() => tagged.value.as_str().unwrap_or_default().to_owned(),
            _ => {
                self.fault(name, VariableProblem::NotText);
                return None;
            }
        };
        (!text.is_empty()).then_some((name, text))
    }

    fn text(&mut self, names: &[&'static str]) -> Option<String> {
        self.named_text(names).map(|(_, text)| text)
    }

    fn user(&mut self, names: &[&'static str]) -> Option<String> {
        let (name, user) = self.named_text(names)?;
        match check_user(&user) {
            Ok(()) => Some(user),
            Err(error) => {
                self.fault(name, VariableProblem::User(error));
                None
            }
        }
    }

    fn parsed<T>(
        &mut self,
        names: &[&'static str],
        wanted: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let (name, text) = self.named_text(names)?;
        let value = parse(text.trim());
        if value.is_none() {
            self.fault(name, VariableProblem::Wrong { wanted, found: text });
        }
        value
    }

    fn arguments(&mut self, names: &[&'static str]) -> Vec<SshArgument> {
        let Some((name, text)) = self.named_text(names) else { return Vec::new() };
        let (arguments, faults) = parse(&text);
        for fault in faults {
            let severity = match fault {
                ArgumentFault::Unsupported(_) => Severity::Warning,
                _ => Severity::Error,
            };
            self.faults.push(VariableFault { variable: name, severity, problem: VariableProblem::Argument(fault) });
        }
        arguments
    }
}

/// Ansible's words for yes and no (`parsing/convert_bool.py`).
fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "y" | "yes" | "on" | "1" | "true" | "t" | "1.0" => Some(true),
        "n" | "no" | "off" | "0" | "false" | "f" | "0.0" => Some(false),
        _ => None,
    }
}

fn connection_kind(text: &str) -> Option<ConnectionKind> {
    match text.strip_prefix("ansible.builtin.").unwrap_or(text) {
        "ssh" | "smart" | "paramiko" | "paramiko_ssh" => Some(ConnectionKind::Ssh),
        "local" => Some(ConnectionKind::Local),
        _ => None,
    }
}

fn become_method(text: &str) -> Option<BecomeMethod> {
    match text.rsplit('.').next().unwrap_or(text) {
        "sudo" => Some(BecomeMethod::Sudo),
        "su" => Some(BecomeMethod::Su),
        "doas" => Some(BecomeMethod::Doas),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_yaml::Mapping;

    fn read(yaml: &str) -> (ConnectionVariables, Vec<String>) {
        let variables: Mapping = serde_yaml::from_str(yaml).unwrap();
        let (read, faults) = ConnectionVariables::read(|name| variables.get(name));
        (read, faults.iter().map(|fault| format!("{} {}", fault.variable, fault.problem)).collect())
    }

    #[test]
    fn variables_of_both_spellings_are_read() {
        let (read, faults) = read(
            "{ansible_host: 10.0.0.1, ansible_port: '2222', ansible_user: deploy, ansible_ssh_private_key_file: ~/k,
              ansible_password: hunter2, ansible_ssh_common_args: '-J bastion', ansible_ssh_extra_args: -C,
              ansible_ssh_args: -o User=x, ansible_connection: ssh, ansible_become: 'yes', ansible_become_method: su,
              ansible_become_user: root, ansible_become_pass: 12345, ansible_host_key_checking: false,
              ansible_shell_executable: /bin/dash, ansible_timeout: 5}",
        );
        assert_eq!(faults, [] as [String; 0]);
        assert_eq!(
            (read.address.as_deref(), read.port, read.user.as_deref()),
            (Some("10.0.0.1"), Some(2222), Some("deploy"))
        );
        for arguments in [&read.first_arguments, &read.common_arguments, &read.extra_arguments] {
            assert_eq!(arguments.len(), 1);
        }
        assert_eq!(
            (read.becomes, read.become_method, read.kind),
            (Some(true), Some(BecomeMethod::Su), Some(ConnectionKind::Ssh))
        );
        assert_eq!(read.become_password.as_ref().unwrap().expose(), "12345");
        assert_eq!((read.host_key_checking, read.timeout), (Some(false), Some(Duration::from_secs(5))));
        let shown = format!("{read:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("12345"), "{shown}");
    }

    #[test]
    fn the_later_name_wins_as_in_ansibles_options() {
        let (read, _) =
            read("{ansible_ssh_host: b, ansible_host: a, ansible_port: 1, ansible_ssh_port: 2, ansible_user: ''}");
        assert_eq!((read.address.as_deref(), read.port, read.user), (Some("b"), Some(2), None));
    }

    #[test]
    fn the_usual_flags_of_sudo_are_no_reason_for_a_warning() {
        assert!(read("{ansible_become_flags: '-H -S -n', ansible_become_exe: sudo}").1.is_empty());
        assert_eq!(read("{ansible_become_flags: '-H -E', ansible_become_exe: /opt/sudo}").1.len(), 2);
    }

    #[test]
    fn values_that_cannot_be_used_are_named() {
        for (yaml, expected) in [
            ("ansible_port: 70000", "ansible_port must be a port from 1 to 65535, not `70000`"),
            ("ansible_user: a;b", "ansible_user the user name `a;b` contains `;`, which is not allowed in names"),
            ("ansible_become: maybe", "ansible_become must be a boolean, not `maybe`"),
            ("ansible_connection: winrm", "ansible_connection must be `ssh` or `local`, not `winrm`"),
            ("ansible_host: [a]", "ansible_host must be text"),
            ("ansible_password: !vault x", "ansible_password is encrypted with Ansible's vault"),
            (
                "ansible_become_flags: -i",
                "ansible_become_flags `-i` is left out: bugle calls sudo, su and doas with arguments of its own",
            ),
            ("ansible_ssh_args: -W x", "ansible_ssh_args `-W x` is not supported and left out"),
        ] {
            assert_eq!(read(yaml).1, [expected], "{yaml}");
        }
    }
}
