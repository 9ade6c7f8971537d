//! The work on one host: [`Site`] looks, decides, changes on trial, proves, and tells.

use super::changes::{Changes, Replacement};
use super::facts::{Account, Accounts, Found, Unknown, look};
use super::intent::{Intent, Place, place};
use super::obstacle::{ASSUMED, may_not, refused, refused_for};
use super::order::{Absent, Caution, Errand, Sequence, Whose};
use super::strict::Violation;
use super::transaction::{Kept, Refused, Transaction};
use super::{Rollout, RolloutHost, accounts_of};
use crate::connection::{Connection, Connector};
use crate::event::Stream;
use crate::outcome::{Code, Failure, Outcome};
use crate::scheduler::Unit;
use crate::task::privilege::Privilege;
use crate::task::transfer::Extent;
use crate::task::trouble::Trouble;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// How often files are read again that somebody else writes to.
const TRIES: u32 = 3;
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

    async fn errand(&self, errand: &Errand) -> Result<bool, Trouble> {
        for _ in 0..TRIES {
            if let Some(changed) = self.once(errand).await? {
                return Ok(changed);
            }
        }
        Err(refused("somebody else writes to the file all the time").into())
    }

    /// Brings the files of all accounts of an errand into shape, all at once. Nothing where somebody else was faster.
    async fn once(&self, errand: &Errand) -> Result<Option<bool>, Trouble> {
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
        if !self.is_real() {
            self.foresee(errand, &intents).await?;
        }
        let mut changed = false;
        if self.is_real() {
            let changes = self.changes(&intents);
            changed = !changes.is_empty();
            let proofs = if changes.is_empty() {
                self.prove(errand, &intents).await?
            } else {
                let begun = Transaction::begin(self.connection, self.privilege(), &changes).await;
                let Some(trial) = begun.map_err(|refused| said(&intents, refused))? else { return Ok(None) };
                let proofs = match trial.during(self.prove(errand, &intents)).await {
                    Ok(proofs) => proofs,
                    Err(failure) => return Err(put_back(trial, failure).await.into()),
                };
                if trial.keep().await.map_err(|refused| said(&intents, refused))? == Kept::Stale {
                    return Ok(None);
                }
                proofs
            };
            for (intent, proofs) in intents.iter().zip(&proofs) {
                self.tell(intent, proofs, errand).await;
            }
        }
        if errand.whose == Whose::Everyone && intents.iter().all(|intent| intent.plan.removed.is_empty()) {
            self.say("not there in any file\n".into()).await;
        }
        if self.is_real() {
            self.prove_refused(errand, &intents).await?;
        }
        together(left).map_or(Ok(Some(changed)), |failure| Err(failure.into()))
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
        let Found { mut accounts, remarks } = look(self.connection, self.privilege(), &which).await?;
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
        for intent in survey.intents.iter().filter(|intent| intent.account.assumed && !errand.wish.present.is_empty()) {
            self.notice(format!("{ASSUMED}: {} is assumed", intent.path())).await;
        }
        Ok(survey)
    }

    fn changes<'a>(&self, intents: &'a [Intent]) -> Changes<'a> {
        let mut repairs: Vec<Violation> = Vec::new();
        for violation in intents.iter().flat_map(|intent| &intent.repairs) {
            if !repairs.contains(violation) {
                repairs.push(violation.clone());
            }
        }
        let files = intents.iter().flat_map(|Intent { account, plan, .. }| {
            let file = |index: usize| &account.files[index];
            plan.edits.iter().map(move |(index, document)| Replacement { account, file: file(*index), document })
        });
        let login = self.host.destination.profile.connect_timeout;
        let silence = login.saturating_mul(SILENCE).clamp(SHORTEST, LONGEST);
        Changes { files: files.collect(), repairs, silence }
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
