//! What is left of the keys of an account when some go: [`Rest`].

use super::facts::{Account, KeyFile};
use super::intent::Intent;
use super::strict::{Violation, is_heeded};
use crate::keys::authorized::{Document, Entry, Expiry, Options};

/// What is left of an account's keys when the last one goes that lets in without doubt.
pub(super) enum Rest {
    /// No key.
    Nothing,
    /// Keys that have expired or are for certificates, and these, which let in from some places only.
    Doubtful(Vec<Entry>),
}

impl Rest {
    /// What is said of it, after `no key is left`.
    pub(super) fn words(&self) -> &'static str {
        match self {
            Self::Nothing => "",
            Self::Doubtful(_) => " but such as have expired, are for certificates, have `from=` or are ignored by sshd",
        }
    }
}

impl Intent {
    /// What is left where the last key goes that let somebody in, or lets in no more as it did, as far as files say.
    pub(super) fn rest(&self) -> Option<Rest> {
        let over = |entry: &Entry| expiry(entry).map(|end| end.is_over(&self.account.clock));
        let before = heeded(&self.account, &[], self.account.files.iter().map(KeyFile::document));
        let mut left = heeded(&self.account, &self.repairs, self.documents());
        let stays = |(entry, was_heeded): &(Entry, bool)| {
            let mut lines = left.iter().filter(|(line, is_heeded)| line.key == entry.key && is_heeded >= was_heeded);
            lines.any(|(line, _)| {
                let lets_in = !matches!(over(line), Some(None | Some(true)));
                let anywhere = from(line).is_none_or(|places| from(entry).as_ref() == Some(&places));
                line.options == entry.options || line.is_authority() == entry.is_authority() && lets_in && anywhere
            })
        };
        // What has expired lets nobody in who could be shut out.
        let going: Vec<&(Entry, bool)> =
            before.iter().filter(|line| over(&line.0) != Some(Some(true)) && !stays(line)).collect();
        if going.is_empty() {
            return None;
        }
        if left.is_empty() {
            return Some(Rest::Nothing);
        }
        left.retain(|(entry, _)| !entry.is_authority() && matches!(over(entry), None | Some(Some(false))));
        // Who comes from where the other did has a place to come from, and who is ignored is no worse off.
        let counts = |(entry, is_heeded): &(Entry, bool)| {
            from(entry).is_none_or(|places| going.iter().all(|(gone, _)| from(gone).as_ref() == Some(&places)))
                && (*is_heeded || going.iter().all(|(_, was_heeded)| !was_heeded))
        };
        let is_well = left.iter().any(counts);
        (!is_well).then(|| Rest::Doubtful(left.into_iter().map(|(entry, _)| entry).collect()))
    }
}

/// When a line ends.
pub(super) fn expiry(entry: &Entry) -> Option<Expiry> {
    Expiry::of(&Options::found(&entry.options))
}

/// The places from which a key lets in.
fn from(entry: &Entry) -> Option<String> {
    Options::found(&entry.options).get("from").and_then(|option| option.value.clone())
}

/// The lines with keys, and of each whether sshd heeds it, as far as is known.
fn heeded(account: &Account, mended: &[Violation], documents: impl Iterator<Item = Document>) -> Vec<(Entry, bool)> {
    let mut lines = Vec::new();
    for (file, document) in account.files.iter().zip(documents) {
        let is_heeded = is_heeded(account, file, mended);
        let is_known = |entry: &Entry| Options::found(&entry.options).unknown().is_none();
        lines.extend(document.entries().map(|entry| (entry.clone(), is_heeded && is_known(entry))));
    }
    lines
}
