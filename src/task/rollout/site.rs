//! The work on one host: [`Site`] looks, plans, writes on trial, proves, and tells.

use super::facts::{Account, Accounts, Unknown, look, run};
use super::obstacle::{cannot_be_made, may_not, obstacle, refused, refused_for};
use super::order::{Absent, Caution, Errand, Repair, Sequence, Whose};
use super::plan::Plan;
use super::proof::{self, Proof};
use super::strict::violations;
use super::transaction::{Refused, Replacement, Transaction};
use super::{Bearer, Rollout, RolloutHost, accounts_of};
use crate::connection::Connection;
use crate::event::Stream;
use crate::keys::authorized::{Entry, Line, Options, Presence};
use crate::known_hosts::PublicKey;
use crate::outcome::{Code, Failure, Outcome};
use crate::scheduler::Unit;
use crate::task::privilege::Privilege;
use crate::task::transfer::Extent;
use crate::task::trouble::Trouble;
use bytes::Bytes;
use std::sync::Arc;

/// How often a file is read again that somebody else writes to.
const TRIES: u32 = 3;

/// The work on one host.
pub(super) struct Site<'a> {
    pub(super) rollout: &'a Rollout,
    pub(super) host: &'a RolloutHost,
    pub(super) connection: &'a Arc<Connection>,
    pub(super) unit: &'a Unit,
}

/// Whether anything was done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    None,
    Some,
    /// Somebody else was faster; nothing was done.
    Stale,
}

impl Site<'_> {
    pub(super) async fn all(&self) -> Result<Outcome, Trouble> {
        let (mut changed, mut failures) = (false, Vec::new());
        for errand in &self.rollout.order.errands {
            match (self.errand(errand).await, self.rollout.order.sequence) {
                (Ok(effect), _) => changed |= effect,
                (Err(Trouble::Failure(failure)), Sequence::Apart) if is_about_an_account(&failure) => {
                    failures.push(failure)
                }
                (Err(trouble), _) => return Err(trouble),
            }
        }
        match together(failures) {
            Some(failure) => Err(failure.into()),
            None => Ok(if changed { Outcome::Changed } else { Outcome::Ok }),
        }
    }

    async fn errand(&self, errand: &Errand) -> Result<bool, Trouble> {
        let (mut changed, mut removed) = (false, false);
        let accounts = look(self.connection, self.privilege(), &accounts_of(self.host, &errand.whose)).await?;
        let mut failures = Vec::new();
        for account in accounts {
            match self.read_again(errand, account, &mut removed).await {
                Ok(effect) => changed |= effect == Effect::Some,
                // Who leaves has to go from all the others.
                Err(Trouble::Failure(failure)) if errand.whose == Whose::Everyone && is_about_an_account(&failure) => {
                    failures.push(failure);
                }
                Err(trouble) => return Err(trouble),
            }
        }
        if let Some(failure) = together(failures) {
            return Err(failure.into());
        }
        if errand.whose == Whose::Everyone && !removed {
            self.say("not there in any file\n".into()).await;
        }
        if let Some(bearer) = errand.refused.as_ref().filter(|_| self.is_real()) {
            self.prove_refused(errand, bearer).await?;
        }
        Ok(changed)
    }

    /// Brings one account into shape, from the beginning where somebody else was faster.
    async fn read_again(&self, errand: &Errand, mut account: Account, removed: &mut bool) -> Result<Effect, Trouble> {
        for attempt in 1.. {
            match self.account(errand, &account, removed).await? {
                Effect::Stale if attempt < TRIES => {
                    let again = Accounts::Named(vec![account.name.clone()]);
                    let found = look(self.connection, self.privilege(), &again).await?.into_iter().next();
                    account = found.ok_or_else(|| refused("the account is gone"))?;
                }
                Effect::Stale => break,
                effect => return Ok(effect),
            }
        }
        Err(refused("somebody else writes to the file all the time").into())
    }

    fn privilege(&self) -> Option<&Privilege> {
        self.host.privilege.as_ref()
    }

    fn is_real(&self) -> bool {
        self.rollout.order.conduct.extent == Extent::Whole
    }

    async fn say(&self, text: String) {
        self.unit.events.output(Stream::Stdout, Bytes::from(text)).await;
    }

    /// Brings the files of one account into shape.
    async fn account(&self, errand: &Errand, account: &Account, removed: &mut bool) -> Result<Effect, Trouble> {
        if let Some(unknown) = account.unknown {
            // Nothing has to be taken from where no keys are read.
            let is_well = errand.whose == Whose::Everyone && unknown == Unknown::NoFiles;
            return if is_well { Ok(Effect::None) } else { Err(unknown.failure(account).into()) };
        }
        if account.files.is_empty() {
            return Err(refused_for(account, "it is not known which files sshd reads").into());
        }
        if let Some(why) = account.files.iter().find_map(|file| obstacle(account, file)) {
            return Err(refused_for(account, &why).hints(may_not(account, &why)).into());
        }
        let plan = Plan::new(account, &errand.wish).map_err(|error| refused_for(account, &error.to_string()))?;
        if let Some(why) = plan.edits.iter().find_map(|(index, _)| cannot_be_made(account, &account.files[*index])) {
            return Err(refused_for(account, &why).into());
        }
        *removed |= !plan.removed.is_empty();
        let repairs = if errand.wish.present.is_empty() { Vec::new() } else { self.repairs(account, &plan)? };
        if account.assumed && !errand.wish.present.is_empty() {
            let text = "its sshd_config names several AuthorizedKeysFile, and sshd cannot be asked without root";
            let path = account.files.first().map(|file| file.path.as_str()).unwrap_or_default();
            self.unit.events.notice(0, format!("{text}: {path} is assumed")).await;
        }
        if matches!(errand.wish.absent, Absent::Others) {
            self.tell_foreign(account).await;
        }
        if !self.is_real() {
            self.tell_plan(account, &plan, &repairs).await;
            return Ok(Effect::None);
        }
        let is_own = self.is_own(errand, account);
        let gone = plan.removed_keys();
        let careful = self.rollout.order.caution == Caution::Careful;
        if is_own && careful && !gone.is_empty() {
            self.prove_way_without(&gone, account).await?;
        }
        let mended = !repairs.is_empty();
        if mended {
            let script: String = repairs.iter().map(|(script, _)| script.as_str()).collect();
            run(self.connection, self.privilege(), format!("{{\n{script}}}\n")).await.map_err(|failure| {
                refused_for(account, &format!("what sshd would refuse could not be mended: {}", failure.message))
            })?;
            let whose = self.name_of(account);
            let commands = repairs.iter().flat_map(|(_, commands)| commands);
            self.say(commands.map(|command| format!("{whose}repaired: {command}\n")).collect()).await;
        }
        let Some(trials) = self.replace(account, &plan).await? else { return Ok(Effect::Stale) };
        let proved = self.prove(errand, account, &plan, is_own).await;
        let proved = match proved {
            Ok(proved) => proved,
            Err(failure) if trials.is_empty() => return Err(failure.into()),
            Err(failure) => return Err(put_all_back(trials, failure).await.into()),
        };
        for trial in trials {
            trial.keep().await.map_err(|refused| said(account, refused))?;
        }
        self.tell(account, &plan, &proved, errand).await;
        Ok(if plan.edits.is_empty() && !mended { Effect::None } else { Effect::Some })
    }

    /// Whether it is the account that this run logs in to.
    fn is_own(&self, errand: &Errand, account: &Account) -> bool {
        let is_named = errand.whose == Whose::Login || account.name == self.host.destination.endpoint.user;
        // Another name of it.
        is_named || self.host.privilege.is_none() && account.uid == account.looked_as
    }

    /// The name of an account before what is said of it; nothing for that of the login user.
    fn name_of(&self, account: &Account) -> String {
        if account.name == self.host.destination.endpoint.user { String::new() } else { format!("{}: ", account.name) }
    }

    /// What has to be mended, each as a script and as a person would type it.
    fn repairs(&self, account: &Account, plan: &Plan) -> Result<Vec<(String, Vec<String>)>, Failure> {
        let touched = |index: &usize| plan.edits.iter().any(|(edited, _)| edited == index);
        let files = account.files.iter().enumerate();
        let files = files.filter(|(index, file)| file.content.is_some() || touched(index)).map(|(_, file)| file);
        let mut repairs: Vec<(String, Vec<String>)> = Vec::new();
        for violation in files.flat_map(|file| violations(account, file)) {
            let repair = (violation.script(), violation.commands());
            if !repairs.contains(&repair) {
                repairs.push(repair);
            }
        }
        if repairs.is_empty() || self.rollout.order.repair == Repair::Mend {
            return Ok(repairs);
        }
        let commands: Vec<String> = repairs.into_iter().flat_map(|(_, commands)| commands).collect();
        let why = format!("sshd would ignore the keys (StrictModes) until this is done: {}", commands.join("; "));
        Err(refused_for(account, &why).hint("--repair does it"))
    }

    /// What is no key stays, also where nothing else should: nobody logs in by it, as far as we know.
    async fn tell_foreign(&self, account: &Account) {
        for file in &account.files {
            let document = file.document();
            let foreign = document.lines().filter(|line| matches!(line.content, Line::Foreign(_)));
            let numbers: Vec<String> = foreign.filter_map(|line| Some(line.number?.to_string())).collect();
            if !numbers.is_empty() {
                let text = format!("stays, since it is no key that bugle understands: line {}", numbers.join(", "));
                self.unit.events.notice(0, format!("{}: {text}", file.path)).await;
            }
        }
    }

    async fn tell_plan(&self, account: &Account, plan: &Plan, repairs: &[(String, Vec<String>)]) {
        let mut text = Vec::new();
        for command in repairs.iter().flat_map(|(_, commands)| commands) {
            text.extend_from_slice(format!("would repair: {command}\n").as_bytes());
        }
        text.extend(plan.difference(account));
        if text.is_empty() && !plan.present.is_empty() {
            text = b"nothing to do\n".to_vec();
        }
        self.unit.events.output(Stream::Stdout, Bytes::from(text)).await;
    }

    /// Puts every file that changes in its place, on trial. Nothing where one was changed by somebody else.
    async fn replace(&self, account: &Account, plan: &Plan) -> Result<Option<Vec<Transaction>>, Failure> {
        let mut trials = Vec::new();
        for (index, document) in &plan.edits {
            let file = &account.files[*index];
            let replacement = Replacement { account, file, bytes: document.to_bytes() };
            match Transaction::begin(self.connection, self.privilege(), &replacement).await {
                Ok(Some(trial)) => trials.push(trial),
                Ok(None) => {
                    for trial in trials {
                        trial.put_back().await.map_err(|refused| said(account, refused))?;
                    }
                    return Ok(None);
                }
                Err(refused) => return Err(put_all_back(trials, said(account, refused)).await),
            }
        }
        Ok(Some(trials))
    }

    /// Logs in with every key that should log in, and as this run does where its way may have been touched.
    ///
    /// Gives what was found of each key, in order.
    async fn prove(
        &self,
        errand: &Errand,
        account: &Account,
        plan: &Plan,
        is_own: bool,
    ) -> Result<Vec<Proof>, Failure> {
        let connector = &self.rollout.caller.connector;
        let destination = &self.host.destination;
        let mut proofs = Vec::new();
        for admission in &errand.wish.present {
            // What logs in with an authority is a certificate.
            if admission.options.as_ref().is_some_and(Options::is_authority) {
                proofs.push(Proof::NotHere);
                continue;
            }
            let found = proof::of_key(connector, destination, &account.name, &admission.bearer).await;
            match found.map_err(|failure| unproved(&admission.bearer, &failure))? {
                Proof::Refused(failure) => return Err(unproved(&admission.bearer, &failure)),
                proof => proofs.push(proof),
            }
        }
        let added_unproved = plan.present.iter().zip(&proofs);
        let added_unproved = added_unproved
            .into_iter()
            .any(|(presence, proof)| *presence == Presence::Added && matches!(proof, Proof::NotHere));
        let forced = self.rollout.order.caution == Caution::Forced;
        if is_own && !forced && (plan.takes_away() || added_unproved) {
            let own = proof::of_own_way(connector, destination, &plan.removed_keys()).await;
            own.map_err(|failure| {
                let text = format!("after it, there is no way in for this run: {}", failure.message);
                Failure { message: text, code: Code::KeysUnproved, ..failure }
            })?;
        }
        Ok(proofs)
    }

    /// Before anything is taken away: there is a way in that does not need it.
    async fn prove_way_without(&self, keys: &[PublicKey], account: &Account) -> Result<(), Failure> {
        let own = proof::of_own_way(&self.rollout.caller.connector, &self.host.destination, keys).await;
        own.map_err(|failure| {
            let text = format!("without it, this run would have no way in: {}", failure.message);
            refused_for(account, &text).hint("log in with another key (-I) or a password, or say --force")
        })
    }

    async fn prove_refused(&self, errand: &Errand, bearer: &Bearer) -> Result<(), Failure> {
        let user = match &errand.whose {
            Whose::User(user) => user,
            Whose::Login | Whose::Everyone => &self.host.destination.endpoint.user,
        };
        let connector = &self.rollout.caller.connector;
        match proof::of_key(connector, &self.host.destination, user, bearer).await? {
            Proof::Refused(_) => self.say(format!("refused: {}\n", bearer.key)).await,
            Proof::NotHere => self.say(format!("not tried: {}, its private half is not here\n", bearer.key)).await,
            Proof::LogsIn | Proof::Accepted => {
                let text = format!("the old key {} still logs in", bearer.key);
                return Err(Failure::new(Code::KeysUnproved, text).hint(
                    "another file, AuthorizedKeysCommand or a certificate lets it in: see `sshd -T` on the host",
                ));
            }
        }
        Ok(())
    }

    async fn tell(&self, account: &Account, plan: &Plan, proofs: &[Proof], errand: &Errand) {
        let whose = self.name_of(account);
        let mut text = String::new();
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
        if errand.whose != Whose::Everyone {
            for missed in &plan.missed {
                text += &format!("{whose}not there: {missed}\n");
            }
        }
        self.say(text).await;
    }
}

/// Whether the files of other accounts can still be looked after.
fn is_about_an_account(failure: &Failure) -> bool {
    matches!(failure.code, Code::KeysRefused | Code::KeysUnproved | Code::KeysRolledBack)
}

/// What went wrong about several accounts as one.
fn together(failures: Vec<Failure>) -> Option<Failure> {
    failures
        .into_iter()
        .reduce(|first, other| Failure { message: format!("{}; {}", first.message, other.message), ..first })
}

/// `SHA256:… COMMENT` of a line.
fn named(entry: &Entry) -> String {
    let comment = String::from_utf8_lossy(&entry.comment);
    format!("{} {comment}", entry.key.fingerprint()).trim_end().to_owned()
}

async fn put_all_back(trials: Vec<Transaction>, failure: Failure) -> Failure {
    let was_written = !trials.is_empty();
    for trial in trials.into_iter().rev() {
        match trial.put_back().await {
            Ok(()) => {}
            Err(Refused::ByHost(why)) => {
                return Failure { message: format!("{}; {why}", failure.message), ..failure };
            }
            // The host does it by itself then.
            Err(Refused::Session(_)) => {}
        }
    }
    if was_written && failure.code == Code::KeysUnproved {
        let message = format!("{}; the old file stands again", failure.message);
        return Failure { code: Code::KeysRolledBack, message, ..failure };
    }
    failure
}

fn unproved(bearer: &Bearer, failure: &Failure) -> Failure {
    let text = format!("{} does not log in: {}", bearer.key, failure.message);
    let hint = "AllowUsers, DenyUsers, PermitRootLogin, AuthenticationMethods, `from=`, `expiry-time=` and the account's shell \
                decide too: `sshd -T` on the host shows";
    Failure::new(Code::KeysUnproved, text).hint(hint)
}

fn said(account: &Account, refused: Refused) -> Failure {
    match refused {
        Refused::ByHost(why) => refused_for(account, &why).hints(may_not(account, &why)),
        Refused::Session(failure) => failure,
    }
}
