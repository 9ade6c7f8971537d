//! The work on one host: [`Site`] looks, decides, changes on trial, proves, and tells.

use super::changes::{Changes, Replacement};
use super::facts::{Account, Accounts, Found, KeyFile, Unknown, look};
use super::intent::{Intent, Place, place};
use super::obstacle::{may_not, refused, refused_for};
use super::order::{Absent, Caution, Errand, Sequence, Whose};
use super::proving::Proofs;
use super::transaction::{Left, Refused, Transaction};
use super::{Rollout, RolloutHost, accounts_of};
use crate::connection::{Connection, Connector};
use crate::event::Stream;
use crate::outcome::{Code, Failure, Outcome};
use crate::scheduler::Unit;
use crate::task::command::chance;
use crate::task::privilege::Privilege;
use crate::task::shell::quote;
use crate::task::transfer::Extent;
use crate::task::trouble::Trouble;
use bytes::Bytes;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// How often files are read again that somebody else writes to.
const TRIES: u32 = 5;
/// What is waited before that, at most, times the number of tries: two that hold each other up are not to do it again.
const PAUSE: Duration = Duration::from_millis(200);
/// Seconds that other runs get for their trials.
const PATIENCE: u32 = 30;
/// What the host waits for a word of ours while files are on trial, in times that a login may take.
const SILENCE: u32 = 3;
/// And at least, and at most.
const SHORTEST: Duration = Duration::from_secs(3);
const LONGEST: Duration = Duration::from_secs(120);

/// The work on one host.
pub(super) struct Site<'a> {
    pub(super) rollout: &'a Rollout,
    pub(super) host: &'a RolloutHost,
    pub(super) connection: &'a Arc<Connection>,
    pub(super) unit: &'a Unit,
}

/// What was found before anything is done.
struct Survey {
    intents: Vec<Intent>,
    /// Accounts about which nothing can be done while others are looked after.
    left: Vec<Failure>,
}

/// What came of an errand at one time.
struct Pass {
    changed: bool,
    /// Whether a line went.
    removed: bool,
    /// Accounts about which nothing could be done.
    left: Vec<Failure>,
    /// Accounts whose files somebody else changed meanwhile.
    again: Vec<Failure>,
}

impl Site<'_> {
    pub(super) async fn all(&self) -> Result<Outcome, Trouble> {
        let (mut changed, mut failures) = (false, Vec::new());
        for errand in &self.rollout.order.errands {
            match (self.errand(errand).await, self.rollout.order.sequence) {
                (Ok(effect), _) => changed |= effect,
                (Err(Trouble::Failure(failure)), Sequence::Apart) if is_about_an_account(&failure) => {
                    failures.push(failure);
                }
                (Err(trouble), _) => return Err(trouble),
            }
        }
        match together(failures) {
            Some(failure) => Err(failure.into()),
            None => Ok(if changed { Outcome::Changed } else { Outcome::Ok }),
        }
    }

    /// Does an errand. Accounts whose files somebody else writes to at the same moment are looked at again.
    async fn errand(&self, errand: &Errand) -> Result<bool, Trouble> {
        let (mut changed, mut removed) = (false, false);
        for attempt in 1.. {
            let pass = self.once(errand, attempt).await?;
            changed |= pass.changed;
            removed |= pass.removed;
            if !pass.again.is_empty() && attempt < TRIES {
                sleep(PAUSE.mul_f64(chance()) * attempt).await;
                continue;
            }
            if let Some(failure) = together(pass.again.into_iter().chain(pass.left).collect()) {
                return Err(failure.into());
            }
            if errand.whose == Whose::Everyone && !removed {
                self.say("not there in any file\n".into()).await;
            }
            break;
        }
        Ok(changed)
    }

    /// Brings the files of all accounts of an errand into shape, all at once.
    async fn once(&self, errand: &Errand, attempt: u32) -> Result<Pass, Trouble> {
        let Survey { intents, left } = self.survey(errand).await?;
        let refusal = self.refusal(errand, &intents).await;
        if !self.is_real() {
            for intent in &intents {
                self.unit.events.output(Stream::Stdout, Bytes::from(intent.shown())).await;
                if let Some(rest) = intent.rest() {
                    let whose = self.name_of(&intent.account);
                    self.say(format!("{whose}no key would be left{}\n", rest.words())).await;
                }
            }
        }
        refusal?;
        let removes = |intents: &[Intent]| intents.iter().any(|intent| !intent.plan.removed.is_empty());
        if !self.is_real() {
            self.foresee(errand, &intents).await?;
            return Ok(Pass { changed: false, removed: removes(&intents), left, again: Vec::new() });
        }
        let mut pass = Pass { changed: false, removed: false, left, again: Vec::new() };
        let (intents, proofs) = self.carry_out(errand, intents, attempt, &mut pass).await?;
        for (intent, proofs) in intents.iter().zip(&proofs) {
            self.tell(intent, proofs, errand).await;
            pass.changed |= !intent.plan.edits.is_empty() || !intent.repairs.is_empty();
        }
        pass.removed = removes(&intents);
        self.prove_refused(errand, &intents).await?;
        Ok(pass)
    }

    /// Changes files on trial, and gives what stands and what was proved of it; the pass learns of the rest.
    async fn carry_out(
        &self,
        errand: &Errand,
        intents: Vec<Intent>,
        attempt: u32,
        pass: &mut Pass,
    ) -> Result<(Vec<Intent>, Vec<Proofs>), Trouble> {
        // Somebody who holds others up for no good is not heeded for ever.
        let changes = Changes { is_wary: attempt == 1, ..self.changes(&intents) };
        if changes.is_empty() {
            let proofs = self.prove(errand, &intents).await?;
            return Ok((intents, proofs));
        }
        let begun = Transaction::begin(self.connection, self.privilege(), &changes).await;
        let trial = begun.map_err(|refused| said(&intents, refused))?;
        let is_left = |left: &[(usize, Left)], number: usize| left.iter().any(|(account, _)| *account == number);
        let (mut standing, mut others) = (Vec::new(), Vec::new());
        for (number, intent) in intents.into_iter().enumerate() {
            if is_left(&trial.left, number) { others.push((number, intent)) } else { standing.push((number, intent)) }
        }
        let (numbers, standing): (Vec<usize>, Vec<Intent>) = standing.into_iter().unzip();
        let proofs = match trial.during(self.prove(errand, &standing)).await {
            Ok(proofs) => proofs,
            Err(failure) => return Err(put_back(trial, failure).await.into()),
        };
        let left = trial.keep().await.map_err(|refused| said(&standing, refused))?;
        let mut kept = (Vec::new(), Vec::new());
        for ((number, intent), proofs) in numbers.into_iter().zip(standing).zip(proofs) {
            if is_left(&left, number) {
                others.push((number, intent));
            } else {
                kept.0.push(intent);
                kept.1.push(proofs);
            }
        }
        for (number, why) in left {
            let Some((_, Intent { account, .. })) = others.iter().find(|(other, _)| *other == number) else { continue };
            let again = |why: &str| refused_for(account, why).hint("run this again when they are done");
            match why {
                Left::Busy => pass.again.push(again("other runs have its files on trial all the time")),
                Left::Changed => pass.again.push(again("somebody else writes to the file all the time")),
                Left::Refused(why) => pass.left.push(refused_for(account, &why).hints(may_not(account, &why))),
            }
        }
        Ok(kept)
    }

    fn privilege(&self) -> Option<&Privilege> {
        self.host.privilege.as_ref()
    }

    pub(super) fn connector(&self) -> &Connector {
        &self.rollout.caller.connector
    }

    pub(super) fn login_user(&self) -> &str {
        &self.host.destination.endpoint.user
    }

    pub(super) fn is_real(&self) -> bool {
        self.rollout.order.conduct.extent == Extent::Whole
    }

    pub(super) fn is_forced(&self) -> bool {
        self.rollout.order.caution == Caution::Forced
    }

    /// Looks at the accounts, and at the files that this run logs in by: others may be in them too.
    async fn survey(&self, errand: &Errand) -> Result<Survey, Trouble> {
        let mut which = accounts_of(self.host, &errand.whose);
        if let (Whose::User(_), Accounts::Named(names)) = (&errand.whose, &mut which)
            && !names.iter().any(|name| name == self.login_user())
        {
            names.push(self.login_user().to_owned());
        }
        let Found { mut accounts, remarks } = look(self.connection, self.privilege(), &which, PATIENCE).await?;
        let is_login = |account: &Account| errand.whose == Whose::Login || account.name == self.login_user();
        let own: Vec<Place> = accounts
            .iter()
            .filter(|account| is_login(account))
            .flat_map(|account| account.files.iter().map(place))
            .collect();
        if let Whose::User(user) = &errand.whose {
            accounts.retain(|account| account.name == *user);
        }
        if let Some(account) = accounts.iter().find(|account| account.unknown == Some(Unknown::Forbidden)) {
            return Err(Unknown::Forbidden.failure(account).into());
        }
        let mut survey = Survey { intents: Vec::new(), left: Vec::new() };
        // Who is let in is let in by others, too; who is shut out should not be.
        for remark in remarks.iter().filter(|_| !matches!(errand.wish.absent, Absent::Nothing)) {
            match remark.failure() {
                Some(failure) => survey.left.push(failure),
                None => self.notice(remark.text()).await,
            }
        }
        for file in accounts.iter().flat_map(|account| &account.files) {
            if let Some(room) = &file.cut {
                let text = "a run was cut off while it had `{}` on trial: what stood before is in `{room}/old`; look, then `rm -r {}`";
                let text = text.replacen("{}", &file.path, 1).replace("{room}", room).replace("{}", &quote(room));
                self.notice(text).await;
            }
        }
        let mut taken = Vec::new();
        for account in accounts {
            let is_login = is_login(&account);
            match Intent::new(errand, account, self.rollout.order.repair) {
                Ok(None) => {}
                Ok(Some(mut intent)) => {
                    intent.is_own = is_login || intent.touches(&own);
                    intent.leave_out(&mut taken);
                    survey.intents.push(intent);
                }
                Err(failure) if errand.whose == Whose::Everyone => survey.left.push(failure),
                Err(failure) => return Err(failure.into()),
            }
        }
        if matches!(errand.wish.absent, Absent::Others) {
            for intent in &survey.intents {
                self.tell_foreign(&intent.account).await;
            }
        }
        for intent in survey.intents.iter().filter(|_| !errand.wish.present.is_empty()) {
            if let Some(text) = intent.account.assumption() {
                self.notice(text).await;
            }
        }
        Ok(survey)
    }

    /// A file whose owner or mode is mended becomes another one too.
    fn changes<'a>(&self, intents: &'a [Intent]) -> Changes<'a> {
        let (mut files, mut repairs) = (Vec::new(), Vec::new());
        for (number, Intent { account, plan, repairs: found, .. }) in intents.iter().enumerate() {
            let mut directories = found.clone();
            for (index, file) in account.files.iter().enumerate() {
                let edit = plan.edits.iter().find(|(edited, _)| *edited == index);
                let is_mended = found.iter().any(|violation| violation.is_of(file));
                directories.retain(|violation| !violation.is_of(file));
                let document = edit.map(|(_, document)| Cow::Borrowed(document));
                let document = document.or_else(|| is_mended.then(|| Cow::Owned(file.document())));
                files.extend(document.map(|document| Replacement { number, account, file, document, is_mended }));
            }
            for violation in directories {
                if repairs.iter().all(|(_, known)| *known != violation) {
                    repairs.push((number, violation));
                }
            }
        }
        let (mut claims, mut elsewhere) = (Vec::new(), Vec::new());
        for (number, Intent { account, .. }) in intents.iter().enumerate() {
            let is_replaced = files.iter().any(|replacement| replacement.number == number);
            let is_mended = repairs.iter().any(|(mended, _)| *mended == number);
            if is_mended && !is_replaced {
                claims.extend(account.files.iter().find(|file| file.content.is_some()).map(|file| (number, file)));
            }
            if is_mended || is_replaced {
                elsewhere.extend(account.files.iter().map(KeyFile::own_directory));
            }
        }
        elsewhere.sort();
        elsewhere.dedup();
        let login = self.host.destination.profile.connect_timeout;
        let silence = login.saturating_mul(SILENCE).clamp(SHORTEST, LONGEST);
        Changes { files, repairs, claims, elsewhere, silence, ..Changes::default() }
    }
}

/// Whether the files of other accounts can still be looked after.
fn is_about_an_account(failure: &Failure) -> bool {
    matches!(failure.code, Code::KeysRefused | Code::KeysUnproved | Code::KeysRolledBack)
}

/// What went wrong about several accounts as one.
fn together(failures: Vec<Failure>) -> Option<Failure> {
    failures.into_iter().reduce(|one, other| {
        let message = format!("{}; {}", one.message, other.message);
        Failure { message, hint: one.hint.or(other.hint), ..one }
    })
}

async fn put_back(trial: Transaction, failure: Failure) -> Failure {
    let found = trial.put_back().await;
    let is_about_a_key = failure.code == Code::KeysUnproved;
    let (code, stands) = match found {
        Ok(stands) if is_about_a_key => (Code::KeysRolledBack, stands),
        Err(Refused::Session(_)) if is_about_a_key => (
            failure.code,
            "what stands could not be seen: the host takes the change back when it hears nothing of this run".into(),
        ),
        Err(Refused::ByHost(why)) => (failure.code, why),
        Ok(_) | Err(Refused::Session(_)) => return failure,
    };
    Failure { code, message: format!("{}; {stands}", failure.message), ..failure }
}

/// What the host refused is about the one account, where there is one.
fn said(intents: &[Intent], refusal: Refused) -> Failure {
    match (refusal, intents) {
        (Refused::ByHost(why), [intent]) => refused_for(&intent.account, &why).hints(may_not(&intent.account, &why)),
        (Refused::ByHost(why), _) => refused(&why),
        (Refused::Session(failure), _) => failure,
    }
}
