//! What is to be done about one account, found before anything is done: [`Intent`].

use super::facts::{Account, Guess, KeyFile, Unknown};
use super::obstacle::{cannot_be_written, obstacle, refused_for, remedy};
use super::order::{Absent, Admission, Errand, Repair, Whose};
use super::plan::Plan;
use super::rest::expiry;
use super::strict::{Violation, violations};
use crate::keys::authorized::{Document, Entry, Expiry, Presence};
use crate::known_hosts::PublicKey;
use crate::outcome::Failure;
use crate::task::shell::quote;

const REPAIR: &str = "--repair does it";

/// What is to be done about one account.
pub(super) struct Intent {
    pub(super) account: Account,
    pub(super) plan: Plan,
    /// What is mended first.
    pub(super) repairs: Vec<Violation>,
    /// What may make sshd ignore the keys, and is left as it is.
    pub(super) doubts: Vec<Violation>,
    /// Whether what this run logs in with may stand in a file that changes.
    pub(super) is_own: bool,
}

/// Where a file is, without links.
pub(super) type Place = (String, String);

pub(super) fn place(file: &KeyFile) -> Place {
    (file.directory.clone() + "/" + &file.make, file.name.clone())
}

impl Intent {
    /// Finds what is to be done; nothing where no keys are read and none are to be.
    ///
    /// # Errors
    /// Why nothing can be done about this account.
    pub(super) fn new(errand: &Errand, account: Account, repair: Repair) -> Result<Option<Self>, Failure> {
        if let Some(unknown) = account.unknown {
            // Nothing has to be taken from where no keys are read.
            let is_well = errand.whose == Whose::Everyone && unknown == Unknown::NoFiles;
            return if is_well { Ok(None) } else { Err(unknown.failure(&account)) };
        }
        if account.files.is_empty() {
            return Err(refused_for(&account, "it is not known which files sshd reads"));
        }
        let mut obstacles = account.files.iter().filter_map(|file| Some((file, obstacle(&account, file)?)));
        if let Some((file, why)) = obstacles.next() {
            return Err(refused_for(&account, &why).hints(remedy(&account, file, &why)));
        }
        let plan = Plan::new(&account, &errand.wish).map_err(|error| refused_for(&account, &error.to_string()))?;
        for file in plan.edits.iter().map(|(index, _)| &account.files[*index]) {
            is_writable(&account, file)?;
        }
        for (admission, presence) in errand.wish.present.iter().zip(&plan.present) {
            // What nobody has touched is told with the key.
            let is_ours = admission.options.is_some() || *presence == Presence::Added;
            if let Some(end) = ended(admission, &account, &plan).filter(|_| is_ours) {
                let why =
                    format!("{} would not log in: its `expiry-time` ({end}) has passed here", admission.bearer.key);
                return Err(refused_for(&account, &why).hint("give it a later one, or leave it out"));
            }
        }
        let found = if errand.wish.present.is_empty() { Vec::new() } else { found(&account, &plan) };
        if let Some(failure) = shared(&account, &found) {
            return Err(failure);
        }
        let (mendable, others): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|violation| violation.shared().is_none());
        let (repairs, doubts) = match repair {
            Repair::Mend => match given_away(&account, &mendable) {
                Some(failure) => return Err(failure),
                None => (mendable, others),
            },
            Repair::Refuse if mendable.iter().any(Violation::is_certain) => {
                let text = "sshd would ignore the keys (StrictModes) until this is done";
                let failure = refused_for(&account, &format!("{text}: {}", commands(&mendable)));
                return Err(failure.hint(REPAIR));
            }
            Repair::Refuse => (Vec::new(), [mendable, others].concat()),
        };
        for file in account.files.iter().filter(|file| repairs.iter().any(|violation| violation.is_of(file))) {
            is_writable(&account, file)?;
        }
        Ok(Some(Self { account, plan, repairs, doubts, is_own: false }))
    }

    /// Leaves out the files that others of this errand change already: one may be read for many accounts.
    pub(super) fn leave_out(&mut self, taken: &mut Vec<Place>) {
        let (account, edits) = (&self.account, &mut self.plan.edits);
        if edits.is_empty() {
            return;
        }
        edits.retain(|(index, _)| {
            let place = place(&account.files[*index]);
            let is_new = !taken.contains(&place);
            taken.push(place);
            is_new
        });
        if edits.is_empty() {
            self.plan.removed.clear();
        }
    }

    /// Whether one of these files changes.
    pub(super) fn touches(&self, places: &[Place]) -> bool {
        self.plan.edits.iter().any(|(index, _)| places.contains(&place(&self.account.files[*index])))
    }

    /// The files as they will be.
    pub(super) fn documents(&self) -> impl Iterator<Item = Document> {
        documents(&self.account, &self.plan)
    }

    /// When a key ended that is there, and lets nobody in.
    pub(super) fn ended(&self, admission: &Admission) -> Option<Expiry> {
        ended(admission, &self.account, &self.plan)
    }

    /// The keys that let nobody in afterwards, as far as the files say.
    pub(super) fn gone(&self) -> Vec<PublicKey> {
        let left: Vec<Document> = self.documents().collect();
        let is_left = |key: &PublicKey| left.iter().flat_map(Document::entries).any(|entry| entry.key == *key);
        self.plan.removed_keys().into_iter().filter(|key| !is_left(key)).collect()
    }

    /// Whether a way in may be lost.
    pub(super) fn takes_away(&self) -> bool {
        self.plan.takes_away() || !self.repairs.is_empty()
    }

    /// Why it is not sure that sshd reads these files alone, where a key must not stand in any.
    pub(super) fn doubt(&self, absent: &Absent) -> Option<Guess> {
        self.account.assumed.filter(|_| !matches!(absent, Absent::Nothing))
    }

    /// The first file, which is the only one that is meant where sshd cannot be asked.
    pub(super) fn path(&self) -> &str {
        self.account.files.first().map(|file| file.path.as_str()).unwrap_or_default()
    }

    /// What a dry run shows.
    pub(super) fn shown(&self) -> Vec<u8> {
        let repairs = self.repairs.iter().flat_map(Violation::commands);
        let mut text: Vec<u8> = repairs.flat_map(|command| format!("would repair: {command}\n").into_bytes()).collect();
        text.extend(self.plan.difference(&self.account));
        if text.is_empty() && !self.plan.present.is_empty() {
            text = b"nothing to do\n".to_vec();
        }
        text
    }
}

/// What sshd refuses for certain about a directory that is not the account's alone.
fn shared(account: &Account, found: &[Violation]) -> Option<Failure> {
    let path = found.iter().filter(|violation| violation.is_certain()).find_map(Violation::shared)?;
    let text = "sshd would ignore the keys (StrictModes)";
    let why = format!("{text}: `{path}` belongs to root, and others write there, from whom --repair takes nothing");
    let hint = "give the account a home of its own (`usermod -d`), or find out on the host who has to write there";
    Some(refused_for(account, &why).hint(hint))
}

/// Whether a file can become another, before anything is done.
fn is_writable(account: &Account, file: &KeyFile) -> Result<(), Failure> {
    let why = cannot_be_written(account, file);
    why.map_or(Ok(()), |why| Err(refused_for(account, &why).hints(remedy(account, file, &why))))
}

/// Why something is not mended that another account owns: the user may have moved it there.
fn given_away(account: &Account, found: &[Violation]) -> Option<Failure> {
    let mut theirs = account.files.iter().flat_map(|file| &file.theirs);
    let (who, path) = theirs.find(|(_, path)| found.iter().any(|violation| violation.takes(path)))?;
    let failure = refused_for(account, &format!("`{path}` belongs to `{who}`, from whom --repair takes nothing"));
    Some(failure.hint(format!(
        "find out whose it should be; `chown {} {}` on the host makes it theirs",
        account.uid,
        quote(path)
    )))
}

/// The files of an account as they will be.
fn documents(account: &Account, plan: &Plan) -> impl Iterator<Item = Document> {
    account.files.iter().enumerate().map(|(index, file)| {
        let edit = plan.edits.iter().find(|(edited, _)| *edited == index);
        edit.map_or_else(|| file.document(), |(_, document)| document.clone())
    })
}

/// When a key ends of which every line has ended.
fn ended(admission: &Admission, account: &Account, plan: &Plan) -> Option<Expiry> {
    let documents: Vec<Document> = documents(account, plan).collect();
    let lines = documents.iter().flat_map(Document::entries).filter(|entry| admission.is_by(entry));
    let ends = lines.map(|entry| expiry(entry).filter(|end| end.is_over(&account.clock) == Some(true)));
    ends.collect::<Option<Vec<Expiry>>>()?.into_iter().max()
}

/// What sshd may refuse about the files that are there or come, each once.
fn found(account: &Account, plan: &Plan) -> Vec<Violation> {
    let touched = |index: &usize| plan.edits.iter().any(|(edited, _)| edited == index);
    let files = account.files.iter().enumerate();
    let files = files.filter(|(index, file)| file.content.is_some() || touched(index)).map(|(_, file)| file);
    let mut found: Vec<Violation> = Vec::new();
    for violation in files.flat_map(|file| violations(account, file)) {
        if !found.contains(&violation) {
            found.push(violation);
        }
    }
    found
}

/// Says what mends all of these, where something does.
pub(super) fn repair_of(violations: &[Violation]) -> Option<String> {
    violations.iter().all(|violation| violation.shared().is_none()).then(|| REPAIR.to_owned())
}

/// What mends these, as a person would type it.
pub(super) fn commands(violations: &[Violation]) -> String {
    let commands: Vec<String> = violations.iter().flat_map(Violation::commands).collect();
    commands.join("; ")
}

/// `SHA256:… COMMENT` of a line.
pub(super) fn named(entry: &Entry) -> String {
    let comment = String::from_utf8_lossy(&entry.comment);
    format!("{} {comment}", entry.key.fingerprint()).trim_end().to_owned()
}
