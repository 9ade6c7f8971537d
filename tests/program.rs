//! The program as its users meet it: the `bugle` binary against fleets, with its exact output and exit codes.

// Who is skipped says so aloud.
#![allow(clippy::print_stderr)]

mod fleet;

#[path = "program/agents.rs"]
mod agents;
#[path = "program/as_ssh.rs"]
mod as_ssh;
#[path = "program/asked_for.rs"]
mod asked_for;
#[path = "program/bugle.rs"]
mod bugle;
#[path = "program/exit_codes.rs"]
mod exit_codes;
#[path = "program/false_proofs.rs"]
mod false_proofs;
#[path = "program/faults.rs"]
mod faults;
#[path = "program/interrupts.rs"]
mod interrupts;
#[path = "program/key_files.rs"]
mod key_files;
#[path = "program/known_hosts.rs"]
mod known_hosts;
#[path = "program/learning.rs"]
mod learning;
#[path = "program/mistakes.rs"]
mod mistakes;
#[path = "program/moving.rs"]
mod moving;
#[path = "program/output.rs"]
mod output;
#[path = "program/passphrases.rs"]
mod passphrases;
#[path = "program/privileges.rs"]
mod privileges;
#[path = "program/pulling.rs"]
mod pulling;
#[path = "program/pulling_faults.rs"]
mod pulling_faults;
#[path = "program/questions.rs"]
mod questions;
#[path = "program/redactor.rs"]
mod redactor;
#[path = "program/rotating.rs"]
mod rotating;
#[path = "program/running.rs"]
mod running;
#[path = "program/scale.rs"]
mod scale;
#[path = "program/secrets.rs"]
mod secrets;
#[path = "program/settings.rs"]
mod settings;
#[path = "program/streams.rs"]
mod streams;
#[path = "program/verbs.rs"]
mod verbs;
