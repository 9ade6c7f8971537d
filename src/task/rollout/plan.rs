//! What has to be done to the files of one account so that they are as they should be: [`Plan`]. Nothing is done here.

use super::facts::{Account, KeyFile};
use super::obstacle::cannot_be_written;
use super::{Absent, Admission, Wish};
use crate::keys::authorized::{Document, Entry, LineTooLong, Options, OptionsRule, Presence};
use crate::known_hosts::PublicKey;

/// The edits of one account's files.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// The files that change, by their place among the account's, and what they become.
    pub(super) edits: Vec<(usize, Document)>,
    /// What became of each key that should be there, in order.
    pub(super) present: Vec<Presence>,
    /// The lines that go.
    pub(super) removed: Vec<Entry>,
    /// The keys of those lines that log in by other lines still.
    staying: Vec<PublicKey>,
    /// What should go and is not there, in words.
    pub(super) missed: Vec<String>,
}

impl Plan {
    /// Finds the edits. New keys go into the first file that is there, else the first that can be made.
    pub(super) fn new(account: &Account, wish: &Wish) -> Result<Self, LineTooLong> {
        let mut plan = Self::default();
        let mut documents: Vec<Document> = account.files.iter().map(KeyFile::document).collect();
        let there = account.files.iter().position(|file| file.content.is_some());
        let first = there.or_else(|| account.files.iter().position(|file| cannot_be_written(account, file).is_none()));
        let first = first.unwrap_or_default();
        if matches!(wish.absent, Absent::Others) {
            plan.removed = keep_one_of_each(&wish.present, &mut documents);
        }
        for admission in &wish.present {
            let inherited = inherited(admission, &documents);
            let holds = |document: &Document| document.entries().any(|entry| admission.is_by(entry));
            let holding: Vec<usize> = (0..documents.len()).filter(|index| holds(&documents[*index])).collect();
            // What is there already keeps its options unless others are said.
            let inherited = inherited.filter(|_| holding.is_empty());
            let rule = admission.options.as_ref().or(inherited.as_ref()).map_or(OptionsRule::Keep, OptionsRule::Set);
            let mut presence = Presence::There;
            for index in if holding.is_empty() { vec![first] } else { holding } {
                let Some(document) = documents.get_mut(index) else { continue };
                match document.let_in(&admission.bearer.key, rule)? {
                    Presence::There => {}
                    other => presence = other,
                }
            }
            plan.present.push(presence);
        }
        if let Absent::These(wanted) = &wish.absent {
            // A comment may be that of the key that comes, too.
            let is_let_in = |entry: &Entry| wish.present.iter().any(|admission| admission.is_by(entry));
            for document in &mut documents {
                let goes = |entry: &Entry| wanted.iter().any(|wanted| wanted.matches(entry)) && !is_let_in(entry);
                plan.removed.extend(document.remove(goes));
            }
            let missed = wanted.iter().filter(|wanted| !plan.removed.iter().any(|entry| wanted.matches(entry)));
            plan.missed = missed.map(ToString::to_string).collect();
        }
        let lets_in = |entry: &&Entry| {
            let mut left = documents.iter().flat_map(Document::entries);
            left.any(|other| other.key == entry.key && !other.is_authority())
        };
        plan.staying = plan.removed.iter().filter(lets_in).map(|entry| entry.key.clone()).collect();
        plan.edits = documents.into_iter().enumerate().filter(|(_, document)| document.is_changed()).collect();
        Ok(plan)
    }

    /// Whether a key of which a line goes logs in by another one.
    pub(super) fn stays(&self, key: &PublicKey) -> bool {
        self.staying.contains(key)
    }

    /// The keys that go, each once.
    pub(super) fn removed_keys(&self) -> Vec<PublicKey> {
        let mut keys: Vec<PublicKey> = Vec::new();
        for entry in &self.removed {
            if !keys.contains(&entry.key) && !self.stays(&entry.key) {
                keys.push(entry.key.clone());
            }
        }
        keys
    }

    /// Whether lines that were there become others or go: then a way in may be lost.
    pub(super) fn takes_away(&self) -> bool {
        !self.removed.is_empty() || self.present.contains(&Presence::Changed)
    }

    /// The lines that go and come, file by file, as a person reads them.
    pub(super) fn difference(&self, account: &Account) -> Vec<u8> {
        let mut text = Vec::new();
        for (index, document) in &self.edits {
            let path = account.files.get(*index).map(|file| file.path.as_str()).unwrap_or_default();
            text.extend_from_slice(format!("{path}\n").as_bytes());
            for change in document.changes() {
                for (sign, line) in [(b"- ", &change.before), (b"+ ", &change.after)] {
                    if let Some(line) = line {
                        text.extend_from_slice(&[&sign[..], line, b"\n"].concat());
                    }
                }
            }
        }
        text
    }
}

/// Takes every line with a key away but one for each key that is let in, of which it is the one that is right already, if any.
fn keep_one_of_each(present: &[Admission], documents: &mut [Document]) -> Vec<Entry> {
    let place = |is_meant: &dyn Fn(&Entry) -> bool| {
        let mut files = documents.iter().enumerate();
        files.find_map(|(file, document)| Some((file, document.entries().position(is_meant)?)))
    };
    let kept: Vec<(usize, usize)> = present
        .iter()
        .filter_map(|admission| {
            place(&|entry| admission.is_exactly(entry)).or_else(|| place(&|entry| admission.is_by(entry)))
        })
        .collect();
    let mut removed = Vec::new();
    for (file, document) in documents.iter_mut().enumerate() {
        let mut entries = 0..;
        removed.extend(document.remove(|_| entries.next().is_some_and(|entry| !kept.contains(&(file, entry)))));
    }
    removed
}

/// The options of the key that another one is to be like.
fn inherited(admission: &Admission, documents: &[Document]) -> Option<Options> {
    let like = admission.like.as_ref()?;
    let mut entries = documents.iter().flat_map(Document::entries);
    let entry = entries.find(|entry| like.matches(entry) && !entry.is_authority())?;
    Some(Options::found(&entry.options))
}

#[cfg(test)]
mod tests {
    use super::super::Bearer;
    use super::super::facts::Content;
    use super::*;
    use crate::keys::authorized::NewKey;
    use std::sync::Arc;

    const ONE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB";
    const TWO: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIC";

    fn account(files: &[Option<&str>]) -> Account {
        let file = |(number, text): (usize, &Option<&str>)| KeyFile {
            path: format!("/k{number}"),
            content: text.map(|text| Content { bytes: text.into(), sum: String::new() }),
            ..KeyFile::default()
        };
        Account { files: files.iter().enumerate().map(file).collect(), ..Account::default() }
    }

    fn wish(present: &[(&str, Option<&str>)], absent: Absent) -> Wish {
        let admission = |(key, options): &(&str, Option<&str>)| Admission {
            bearer: Arc::new(Bearer { key: NewKey::parse(key.as_bytes()).unwrap(), identity: None }),
            options: options.map(|options| options.parse().unwrap()),
            like: None,
        };
        Wish { present: present.iter().map(admission).collect(), absent }
    }

    #[test]
    fn a_key_is_there_in_whichever_file_it_is() {
        let found = account(&[None, Some(ONE)]);
        let plan = Plan::new(&found, &wish(&[(ONE, None), (TWO, None)], Absent::Nothing)).unwrap();
        assert_eq!(plan.present, [Presence::There, Presence::Added]);
        assert_eq!(String::from_utf8(plan.difference(&found)).unwrap(), format!("/k1\n+ {TWO}\n"));
        assert!(!plan.takes_away());
        let none = account(&[None, None]);
        let plan = Plan::new(&none, &wish(&[(ONE, Some("restrict"))], Absent::Nothing)).unwrap();
        assert_eq!(String::from_utf8(plan.difference(&none)).unwrap(), format!("/k0\n+ restrict {ONE}\n"));
    }

    #[test]
    fn what_is_removed_goes_from_every_file() {
        let text = format!("{ONE} me\nrestrict {ONE} again\n{TWO} you\n");
        let found = account(&[Some(&text), Some(ONE)]);
        let wanted = Absent::These(vec![ONE.parse().unwrap(), "nobody".parse().unwrap()]);
        let plan = Plan::new(&found, &wish(&[], wanted)).unwrap();
        assert_eq!((plan.removed.len(), plan.removed_keys().len(), plan.edits.len()), (3, 1, 2));
        assert_eq!(plan.missed, ["nobody"]);
        assert!(plan.takes_away());
        let exclusive = Plan::new(&found, &wish(&[(TWO, Some("restrict"))], Absent::Others)).unwrap();
        assert_eq!((exclusive.removed.len(), &exclusive.present[..]), (3, &[Presence::Changed][..]));
        assert_eq!(exclusive.edits[0].1.to_bytes(), format!("restrict {TWO} you\n").as_bytes());
    }
}
