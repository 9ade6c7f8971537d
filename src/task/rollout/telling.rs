//! What is said about the keys on one host.

use super::facts::Account;
use super::intent::{Intent, named};
use super::order::{Errand, Whose};
use super::proof::Proof;
use super::site::Site;
use super::strict::Violation;
use crate::event::Stream;
use crate::keys::authorized::{Line, Presence};
use bytes::Bytes;
use std::sync::Arc;

impl Site<'_> {
    pub(super) async fn say(&self, text: String) {
        self.unit.events.output(Stream::Stdout, Bytes::from(text)).await;
    }

    pub(super) async fn notice(&self, text: String) {
        self.unit.events.notice(0, text).await;
    }

    /// The name of an account before what is said of it; nothing for that of the login user.
    pub(super) fn name_of(&self, account: &Account) -> String {
        if account.name == self.login_user() { String::new() } else { format!("{}: ", account.name) }
    }

    /// What is no key stays, also where nothing else should: nobody logs in by it, as far as we know.
    pub(super) async fn tell_foreign(&self, account: &Account) {
        for file in &account.files {
            let document = file.document();
            let foreign = document.lines().filter(|line| matches!(line.content, Line::Foreign(_)));
            let numbers: Vec<String> = foreign.filter_map(|line| Some(line.number?.to_string())).collect();
            if !numbers.is_empty() {
                let text = format!("stays, since it is no key that bugle understands: line {}", numbers.join(", "));
                self.notice(format!("{}: {text}", file.path)).await;
            }
        }
    }

    pub(super) async fn tell(&self, intent: &Intent, proofs: &[Proof], errand: &Errand) {
        let Intent { account, plan, .. } = intent;
        let whose = self.name_of(account);
        let repairs = intent.repairs.iter().flat_map(Violation::commands);
        let mut text: String = repairs.map(|command| format!("{whose}repaired: {command}\n")).collect();
        let before = || self.rollout.order.errands.iter().take_while(|other| !std::ptr::eq(*other, errand));
        for ((admission, presence), proof) in errand.wish.present.iter().zip(&plan.present).zip(proofs) {
            let is_told = |other: &Errand| {
                let mut present = other.wish.present.iter();
                other.whose == errand.whose && present.any(|told| Arc::ptr_eq(&told.bearer, &admission.bearer))
            };
            if *presence == Presence::There && before().any(is_told) {
                continue;
            }
            let word = match presence {
                Presence::Added => "added",
                Presence::There => "already there",
                Presence::Changed => "options changed",
            };
            if let Some(end) = intent.ended(admission) {
                let key = &admission.bearer.key;
                self.notice(format!("{whose}{key} does not log in: its `expiry-time` ({end}) has passed")).await;
            }
            let proof = match proof {
                Proof::LogsIn => "logs in",
                Proof::Accepted => "accepted; sshd asks for more than a key",
                Proof::NotHere | Proof::Refused(_) => "not proved: the private half is not here",
            };
            text += &format!("{whose}{word}: {} ({proof})\n", admission.bearer.key);
        }
        for entry in &plan.removed {
            let (authority, more) = match (entry.is_authority(), plan.stays(&entry.key)) {
                (true, _) => ("cert-authority ", ""),
                (false, true) => ("", " (another line of it stays)"),
                (false, false) => ("", ""),
            };
            text += &format!("{whose}removed: {authority}{}{more}\n", named(entry));
        }
        let logs_in = proofs.iter().any(|proof| matches!(proof, Proof::LogsIn | Proof::Accepted));
        if let Some(rest) = intent.rest().filter(|_| !logs_in) {
            text += &format!("{whose}no key is left{}\n", rest.words());
        }
        if errand.whose != Whose::Everyone {
            for missed in &plan.missed {
                text += &format!("{whose}not there: {missed}\n");
            }
        }
        self.say(text).await;
    }
}
