//! Our scripts as they are sent.

/// A script without its comments and indentation, which are two fifths of it. It has neither in the strings that go over
/// several lines.
pub(super) fn compact(script: &str) -> String {
    let lines = script.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.flat_map(|line| [line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    #[test]
    fn only_comments_and_indentation_are_left_out() {
        let script = "# What\n# it does.\nif x; then\n  y='a  #b\nc' # why\n\n  # Later.\nfi\n";
        assert_eq!(compact(script), "if x; then\ny='a  #b\nc' # why\nfi\n");
    }

    /// A here-document and a string with indentation would be others.
    #[test]
    fn what_is_left_is_a_script_that_says_the_same() {
        for script in [include_str!("look.sh"), include_str!("room.sh"), include_str!("put.sh")] {
            assert!(!script.contains("<<") && compact(script).len() * 3 < script.len() * 9 / 4);
            let parsed = |script: &str| {
                // With `set -v` a shell says what it reads; a function is printed by bash as it was understood.
                let mut shell =
                    Command::new("bash").arg("-s").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
                let text = format!("whole() {{\n{script}\n}}\ndeclare -f\n");
                shell.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
                let output = shell.wait_with_output().unwrap();
                assert!(output.status.success() && output.stdout.len() > 1000);
                String::from_utf8(output.stdout).unwrap()
            };
            assert_eq!(parsed(script), parsed(&compact(script)));
        }
    }
}
