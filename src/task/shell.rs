//! The text that the login shell of a host is given.
//!
//! A plain command goes there as it was typed, as with ssh. As soon as something has to happen before it (a directory,
//! variables, another user), the text is handed to `/bin/sh`, because login shells may be fish or csh: in one line that all of
//! them pass on as it is ([`in_posix_shell`]). Values are always quoted, never pasted.

use std::path::Path;

/// A command with what surrounds it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct CommandLine {
    /// The command, in the words of a shell.
    pub command: String,
    /// Variables that are exported first.
    pub environment: Vec<(String, String)>,
    /// The directory that it runs in.
    pub directory: Option<String>,
}

/// A local script that is sent along and run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptFile {
    /// The last component of its path, for `$0`.
    pub name: String,
    /// What the `#!` line says, or nothing for `/bin/sh`.
    pub interpreter: Option<String>,
    /// How many bytes there are.
    pub length: usize,
    /// Its arguments.
    pub arguments: Vec<String>,
}

/// Quotes a value so that a POSIX shell reads it as one word.
pub fn quote(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:=@%+,".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// A path as one word; `~` and `~/…` are the home directory of the user that the command runs as.
fn path(directory: &str) -> String {
    match directory.strip_prefix('~') {
        Some("") => "\"$HOME\"".into(),
        Some(rest) if rest.starts_with('/') => format!("\"$HOME\"{}", quote(rest)),
        _ => quote(directory),
    }
}

/// Runs a text in `/bin/sh`, replacing the login shell, whichever that is.
///
/// csh reads no line feed between quotes and takes `!` for its history there, and fish takes backslashes away. A text with any
/// of them goes as the argument of printf(1), which writes them for the `/bin/sh`.
pub(super) fn in_posix_shell(text: &str) -> String {
    if !text.contains(['\n', '\r', '!', '\\']) {
        return format!("exec /bin/sh -c {}", quote(text));
    }
    let mut spelled = String::with_capacity(2 * text.len());
    for character in text.chars() {
        // What means something between the quotes of the login shell, or between those of the `/bin/sh`.
        if character.is_ascii_control() || "!\\'\"$`".contains(character) {
            spelled.push_str(&format!("\\0{:03o}", u32::from(character)));
        } else {
            spelled.push(character);
        }
    }
    format!("exec /bin/sh -c 'eval \"$(printf %b \"{spelled}\")\"'")
}

impl CommandLine {
    /// Whether the login shell can be given the command as it is.
    pub(super) fn is_plain(&self) -> bool {
        self.environment.is_empty() && self.directory.is_none()
    }

    /// The whole as a text for `/bin/sh`.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.environment {
            text.push_str(&format!("export {name}={}\n", quote(value)));
        }
        if let Some(directory) = &self.directory {
            text.push_str(&format!("cd -- {} || exit 1\n", path(directory)));
        }
        text.push_str(&self.command);
        text
    }
}

impl ScriptFile {
    /// Looks at a script's bytes.
    pub fn new(path: &Path, bytes: &[u8], arguments: Vec<String>) -> Self {
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().replace(['/', '\0'], "_"))
            .unwrap_or_else(|| "script".into());
        let first = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
        let interpreter = first
            .strip_prefix(b"#!")
            .map(|line| String::from_utf8_lossy(line).trim().to_owned())
            .filter(|line| !line.is_empty());
        Self { name, interpreter, length: bytes.len(), arguments }
    }

    /// A text for `/bin/sh` that takes the script from standard input and runs it.
    ///
    /// The directory is made by us alone (`mkdir` fails where somebody was first) under a name that nobody can guess;
    /// an incomplete script is never run; everything is removed on every way out that a shell can see. The interpreter
    /// is called by name, so that a `/tmp` mounted noexec does not matter.
    pub(super) fn loader(&self, token: &str) -> String {
        let run = match &self.interpreter {
            Some(interpreter) => format!("{interpreter} \"$d\"/{}", quote(&self.name)),
            None => format!("/bin/sh \"$d\"/{}", quote(&self.name)),
        };
        let arguments: String = self.arguments.iter().map(|argument| format!(" {}", quote(argument))).collect();
        format!(
            "umask 077\n\
             d=${{TMPDIR:-/tmp}}/bugle.{token}\n\
             mkdir \"$d\" || exit 1\n\
             trap 'rm -rf \"$d\"' EXIT\n\
             trap 'exit 129' HUP\ntrap 'exit 130' INT\ntrap 'exit 143' TERM\n\
             cat >\"$d\"/{name} || exit 1\n\
             [ \"$(wc -c <\"$d\"/{name})\" -eq {length} ] || {{ echo 'the script did not arrive whole' >&2; exit 1; }}\n\
             chmod 700 \"$d\"/{name}\n\
             {run}{arguments} </dev/null",
            name = quote(&self.name),
            length = self.length,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    #[test]
    fn quoting_survives_a_shell_whatever_the_value() {
        for value in ["", "plain", "a b", "it's", "$(id)`id`\\\"", "new\nline", "-n", "*?[a]", "ü€", "'''"] {
            let output = Command::new("/bin/sh").arg("-c").arg(format!("printf %s {}", quote(value))).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stdout), value);
        }
    }

    /// As a login shell each of them must pass on what it is given.
    const LOGIN_SHELLS: [&str; 9] = ["sh", "bash", "dash", "mksh", "busybox sh", "zsh", "csh", "tcsh", "fish"];

    #[test]
    fn every_login_shell_passes_on_what_is_meant_for_the_posix_shell() {
        let text = "a='it'\\''s'\nprintf '%s|' \"$a\" '!! !x' 'back\\slash' '\\\\' '50%' '`id` $HOME' \"tab\there\" '[ü] {a,b} ~ # ;'\n# last\n";
        let one_line = "echo \"it's\" `echo all` '$HOME' ~root/x 50% [a-z] '' | cat";
        // fish settles in.
        let home = tempfile::tempdir().unwrap();
        let run = |shell: &str, line: &str| {
            let mut words = shell.split(' ');
            let mut command = Command::new(words.next().unwrap_or_default());
            let output = command.args(words).arg("-c").arg(line).env("HOME", home.path()).output().ok()?;
            assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{shell}");
            Some(String::from_utf8_lossy(&output.stdout).into_owned())
        };
        for shell in LOGIN_SHELLS {
            assert!(!in_posix_shell(text).contains('\n'));
            let told = run(shell, &in_posix_shell(text));
            let expected = "it's|!! !x|back\\slash|\\\\|50%|`id` $HOME|tab\there|[ü] {a,b} ~ # ;|";
            assert!(told.as_deref().is_none_or(|told| told == expected), "{shell}: {told:?}");
            let told = run(shell, &in_posix_shell(one_line));
            let direct = run("/bin/sh", one_line);
            assert!(told.is_none() || told == direct, "{shell}: {told:?}");
            // Twice over, as through su(1).
            let told = run(shell, &in_posix_shell(&in_posix_shell(text)));
            assert!(told.as_deref().is_none_or(|told| told == expected), "{shell}: {told:?}");
        }
    }

    #[test]
    fn surroundings_come_before_the_command() {
        let line = CommandLine {
            command: "printf '%s %s' \"$A\" \"$(pwd)\"".into(),
            environment: vec![("A".into(), "it's $HOME".into())],
            directory: Some("/".into()),
        };
        let output = Command::new("/bin/sh").arg("-c").arg(in_posix_shell(&line.text())).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "it's $HOME /");
    }

    #[test]
    fn a_tilde_in_a_directory_is_the_home() {
        for (directory, expected) in [("~", "/usr"), ("~/share", "/usr/share"), ("/tmp", "/tmp")] {
            let line =
                CommandLine { command: "pwd".into(), directory: Some(directory.into()), ..CommandLine::default() };
            let output = Command::new("/bin/sh").arg("-c").arg(line.text()).env("HOME", "/usr").output().unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), expected);
        }
    }

    fn load(script: &[u8], sent: &[u8], arguments: &[&str], token: &str) -> (String, String, Option<i32>) {
        let file = ScriptFile::new(
            Path::new("dir/my script.sh"),
            script,
            arguments.iter().map(|&text| text.to_owned()).collect(),
        );
        let mut child = Command::new("/bin/sh")
            .arg("-c")
            .arg(file.loader(token))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(sent).unwrap();
        let output = child.wait_with_output().unwrap();
        (
            String::from_utf8_lossy(&output.stdout).into(),
            String::from_utf8_lossy(&output.stderr).into(),
            output.status.code(),
        )
    }

    #[test]
    fn a_script_runs_with_its_own_interpreter_and_leaves_nothing_behind() {
        let token = format!("test-{}", std::process::id());
        let script = b"#!/bin/sh -e\necho \"$1|$2|${0##*/}\"\nexit 3\n";
        assert_eq!(
            load(script, script, &["a b", "it's"], &token),
            ("a b|it's|my script.sh\n".into(), String::new(), Some(3))
        );
        assert!(!Path::new(&format!("/tmp/bugle.{token}")).exists());
    }

    #[test]
    fn half_a_script_is_never_run() {
        let token = format!("half-{}", std::process::id());
        let script = b"touch /nonexistent/x\necho ran\n";
        let (output, errors, status) = load(script, &script[..10], &[], &token);
        assert_eq!((output.as_str(), status), ("", Some(1)));
        assert!(errors.contains("did not arrive whole"), "{errors}");
    }
}
