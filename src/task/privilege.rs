//! Running as somebody else: sudo, su and doas, with a password where they want one.
//!
//! The command is preceded by a mark that is printed on both of its streams once it runs. What a stream carries before its
//! mark is the conversation with sudo; so a wrong password, a missing sudo and a command that fails are never taken for
//! each other, and nothing of the command's is lost in whatever order the two streams arrive. The password goes
//! in only after it was asked for: to a host that does not ask, it would be the command's input.

use super::shell::{in_posix_shell, quote};
use crate::event::Stream;
use crate::outcome::{Code, Failure};
use crate::secret::Secret;
use bytes::Bytes;

/// The conversation is a few lines; more of it is not kept.
const CONVERSATION_LIMIT: usize = 16 * 1024;

/// Who the command runs as, and how.
#[derive(Clone, Debug)]
pub struct Privilege {
    /// The program that changes the user.
    pub method: Method,
    /// The user to become.
    pub user: String,
    /// The password that the method asks for.
    pub password: Option<Secret>,
    /// What holds that password and cannot be opened, where that is why there is none: a failure says so.
    pub sealed_password: Option<&'static str>,
}

/// How another user is become.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// sudo(8); asks for the caller's own password.
    #[default]
    Sudo,
    /// su(1); asks for the other user's password.
    Su,
    /// doas(1), OpenBSD's; asks on a terminal.
    Doas,
}

impl Method {
    /// The program's name.
    pub fn program(self) -> &'static str {
        match self {
            Self::Sudo => "sudo",
            Self::Su => "su",
            Self::Doas => "doas",
        }
    }
}

impl std::str::FromStr for Method {
    type Err = UnknownMethod;

    fn from_str(text: &str) -> Result<Self, UnknownMethod> {
        match text {
            "sudo" => Ok(Self::Sudo),
            "su" => Ok(Self::Su),
            "doas" => Ok(Self::Doas),
            other => Err(UnknownMethod(other.into())),
        }
    }
}

/// No such way to become another user.
#[derive(Debug, thiserror::Error)]
#[error("unknown become method `{0}`: bugle knows sudo, su and doas")]
pub struct UnknownMethod(String);

impl Privilege {
    /// The command for the login shell; `token` makes prompt and mark unique.
    pub(super) fn wrap(&self, text: &str, token: &str, streams: Streams) -> String {
        // In two words, which printf joins: sudo quotes a command that it refuses, and must not say the mark by that.
        let mark = format!("{} {}", quote(MARK), quote(&format!("{token}]")));
        let marked = match streams {
            Streams::Two => format!("printf %s {mark}; printf %s {mark} >&2\n{text}"),
            Streams::OneTerminal => format!("printf %s {mark}\n{text}"),
        };
        let user = quote(&self.user);
        let inner = format!("/bin/sh -c {}", quote(&marked));
        in_posix_shell(&match (self.method, &self.password) {
            // -n: without a password to give, sudo must fail instead of waiting.
            (Method::Sudo, None) => format!("exec sudo -n -H -u {user} -- {inner}"),
            (Method::Sudo, Some(_)) => format!("exec sudo -S -H -p {} -u {user} -- {inner}", quote(&prompt(token))),
            // It goes through the login shell of that user.
            (Method::Su, _) => format!("LC_ALL=C exec su {user} -c {}", quote(&in_posix_shell(&marked))),
            (Method::Doas, None) => format!("exec doas -n -u {user} {inner}"),
            (Method::Doas, Some(_)) => format!("exec doas -u {user} {inner}"),
        })
    }

    /// Whether the program asks for its password on a terminal only.
    pub(super) fn needs_terminal(&self) -> bool {
        self.method == Method::Doas && self.password.is_some()
    }
}

/// How the command's output comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Streams {
    /// Standard output and standard error apart.
    Two,
    /// A terminal: everything is standard output.
    OneTerminal,
}

fn prompt(token: &str) -> String {
    format!("[bugle-asks-{token}]")
}

/// How a mark begins.
const MARK: &str = "[bugle-runs-";

fn mark(token: &str) -> String {
    format!("{MARK}{token}]")
}

/// The conversation before the command runs.
pub(super) struct Conversation {
    privilege: Privilege,
    prompt: String,
    mark: String,
    /// What each stream carried so far; `None` once its mark was seen.
    stdout: Option<Vec<u8>>,
    stderr: Option<Vec<u8>>,
    answered: bool,
    runs: bool,
}

/// What to do after some bytes of the conversation.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Wait for more.
    Listen,
    /// Send this line.
    Answer(Secret),
    /// The command runs; these bytes of the stream are its own.
    Runs(Bytes),
    /// It will not run.
    Over(Failure),
}

impl Conversation {
    pub(super) fn new(privilege: &Privilege, token: &str, streams: Streams) -> Self {
        let prompt = match privilege.method {
            Method::Sudo => prompt(token),
            Method::Su | Method::Doas => "assword:".into(),
        };
        Self {
            privilege: privilege.clone(),
            prompt,
            mark: mark(token),
            stdout: Some(Vec::new()),
            stderr: (streams == Streams::Two).then(Vec::new),
            answered: false,
            runs: false,
        }
    }

    /// Whether the command was started.
    pub(super) fn runs(&self) -> bool {
        self.runs
    }

    /// Takes what the host sent.
    pub(super) fn hear(&mut self, stream: Stream, bytes: Bytes) -> Turn {
        let heard = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let Some(text) = heard else { return Turn::Runs(bytes) };
        text.extend_from_slice(&bytes);
        if let Some(at) = find(text, self.mark.as_bytes()) {
            let own = Bytes::from(text.split_off(at + self.mark.len()));
            *heard = None;
            self.runs = true;
            return Turn::Runs(own);
        }
        if let Some(at) = find(text, self.prompt.as_bytes()) {
            text.drain(..at + self.prompt.len());
            return match &self.privilege.password {
                Some(_) if self.answered => Turn::Over(self.wrong_password()),
                Some(password) => {
                    self.answered = true;
                    Turn::Answer(password.clone())
                }
                None => Turn::Over(self.no_password()),
            };
        }
        if text.len() > CONVERSATION_LIMIT {
            return Turn::Over(Failure::new(
                Code::SudoRefused,
                format!("{} talks on without an end", self.privilege.method.program()),
            ));
        }
        Turn::Listen
    }

    /// The program ended without running the command.
    pub(super) fn ended(&self, status: Option<u32>) -> Failure {
        let program = self.privilege.method.program();
        let said: Vec<u8> = [&self.stdout, &self.stderr].into_iter().flatten().flatten().copied().collect();
        let said = String::from_utf8_lossy(&said);
        let said = said.trim();
        // The program names itself before its reason; further lines are what followed from it.
        let mut lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
        let own = lines.clone().find(|line| line.starts_with(program));
        let reason = own.or_else(|| lines.next_back()).unwrap_or_default();
        // What follows is our command, which may say anything.
        if let Some((who, _)) = said.split_once(" is not allowed to execute ") {
            let who = who.lines().next_back().unwrap_or_default().trim_start_matches("Sorry, ");
            return Failure::new(
                Code::SudoRefused,
                format!("{program} refused: {who} is not allowed to execute `/bin/sh`"),
            )
            .hint("bugle runs every command with /bin/sh -c: sudoers has to allow that, not the command alone");
        }
        let lower = said.to_lowercase();
        if lower.contains("must have a tty") {
            return Failure::new(
                Code::SudoRefused,
                format!("{program} runs commands on a terminal only (`requiretty`)"),
            )
            .hint("--tty gives the command one");
        }
        if [
            "sorry, try again",
            "incorrect password",
            "authentication failure",
            "authentication failed",
            "authorization failed",
        ]
        .iter()
        .any(|text| lower.contains(text))
            && self.answered
        {
            return self.wrong_password();
        }
        if [
            "password is required",
            "a terminal is required",
            "authentication required",
            "tty is required",
            "authentication failure",
        ]
        .iter()
        .any(|text| lower.contains(text))
        {
            return self.no_password();
        }
        if status == Some(127) || lower.contains("not found") {
            return Failure::new(Code::SudoRefused, format!("there is no {program} on the host")).hint(
                "log in as that user (-l), or set `ansible_become_method` to what the host has: sudo, su or doas",
            );
        }
        let why = if reason.is_empty() { "it said nothing" } else { reason };
        Failure::new(
            Code::SudoRefused,
            format!("{program} refused to run the command as `{}`: {why}", self.privilege.user),
        )
        .hint(format!("is the login user allowed to? see `{program} -l` on the host"))
    }

    fn wrong_password(&self) -> Failure {
        Failure::new(Code::SudoPassword, format!("wrong password for {}", self.privilege.method.program()))
            .hint("a host with another password: set ansible_become_password for it in the inventory")
    }

    fn no_password(&self) -> Failure {
        let program = self.privilege.method.program();
        match self.privilege.sealed_password {
            None => Failure::new(Code::SudoPassword, format!("{program} needs a password"))
                .hint("-K asks for it once; or set ansible_become_password in the inventory"),
            Some(name) => {
                let message = format!("{program} needs a password, and `{name}` is encrypted with Ansible's vault");
                Failure::new(Code::SudoPassword, message).hint("-K asks for it once: bugle does not open vaults")
            }
        }
    }
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sudo(password: Option<&str>) -> Privilege {
        let password = password.map(|text| Secret::new(text.into()));
        Privilege { method: Method::Sudo, user: "root".into(), password, sealed_password: None }
    }

    const OUT: Stream = Stream::Stdout;
    const ERR: Stream = Stream::Stderr;

    fn bytes(text: &str) -> Bytes {
        Bytes::copy_from_slice(text.as_bytes())
    }

    #[test]
    fn the_password_is_sent_once_and_only_when_asked_for() {
        let privilege = sudo(Some("pw"));
        let mut conversation = Conversation::new(&privilege, "t", Streams::Two);
        assert_eq!(conversation.hear(ERR, bytes("lecture\n[bugle-as")), Turn::Listen);
        assert_eq!(conversation.hear(ERR, bytes("ks-t]")), Turn::Answer(Secret::new("pw".into())));
        assert_eq!(conversation.hear(ERR, bytes("[bugle-runs-t]error: x")), Turn::Runs(bytes("error: x")));
        assert!(conversation.runs());
    }

    #[test]
    fn nothing_of_the_command_is_lost_in_whatever_order_the_streams_come() {
        let privilege = sudo(None);
        let mut conversation = Conversation::new(&privilege, "t", Streams::Two);
        assert_eq!(conversation.hear(OUT, bytes("[bugle-runs-t]out")), Turn::Runs(bytes("out")));
        assert_eq!(conversation.hear(OUT, bytes(" more")), Turn::Runs(bytes(" more")));
        assert_eq!(conversation.hear(ERR, bytes("[bugle-ru")), Turn::Listen);
        assert_eq!(conversation.hear(ERR, bytes("ns-t]err")), Turn::Runs(bytes("err")));
        let mut terminal = Conversation::new(&privilege, "t", Streams::OneTerminal);
        assert_eq!(terminal.hear(OUT, bytes("[bugle-runs-t]a[bugle-runs-t]")), Turn::Runs(bytes("a[bugle-runs-t]")));
    }

    #[test]
    fn a_second_question_means_that_the_password_was_wrong() {
        let privilege = sudo(Some("pw"));
        let mut conversation = Conversation::new(&privilege, "t", Streams::Two);
        conversation.hear(ERR, bytes("[bugle-asks-t]"));
        let Turn::Over(failure) = conversation.hear(ERR, bytes("Sorry, try again.\n[bugle-asks-t]")) else { panic!() };
        assert_eq!(failure.code, Code::SudoPassword);
        assert!(failure.message.contains("wrong"));
    }

    #[test]
    fn what_sudo_says_at_its_end_is_told_apart() {
        let cases = [
            ("sudo: a password is required\n", Some(1), Code::SudoPassword, "needs a password"),
            ("sh: 1: exec: sudo: not found\n", Some(127), Code::SudoRefused, "there is no sudo"),
            ("joe is not in the sudoers file.\n", Some(1), Code::SudoRefused, "not in the sudoers"),
            ("sudo: sorry, you must have a tty to run sudo\n", Some(1), Code::SudoRefused, "requiretty"),
            ("", Some(1), Code::SudoRefused, "said nothing"),
        ];
        for (said, status, code, words) in cases {
            let privilege = sudo(None);
            let mut conversation = Conversation::new(&privilege, "t", Streams::Two);
            assert_eq!(conversation.hear(ERR, bytes(said)), Turn::Listen);
            let failure = conversation.ended(status);
            assert_eq!(failure.code, code, "{said}");
            assert!(failure.message.contains(words), "{}", failure.message);
        }
    }

    #[test]
    fn a_refusal_that_quotes_the_command_is_no_mark() {
        for method in [Method::Sudo, Method::Su, Method::Doas] {
            let privilege = Privilege { method, ..sudo(Some("pw")) };
            for streams in [Streams::Two, Streams::OneTerminal] {
                assert!(!privilege.wrap("id", "t", streams).contains(&mark("t")));
            }
        }
    }

    #[test]
    fn the_password_is_never_part_of_the_command() {
        for method in [Method::Sudo, Method::Su, Method::Doas] {
            let privilege = Privilege { method, ..sudo(Some("hunter2")) };
            assert!(!privilege.wrap("id", "t", Streams::Two).contains("hunter2"));
        }
    }
}
