//! The work on one host: [`Site`] looks, decides, changes on trial, proves, and tells.

use super::facts::{Account, Accounts, Unknown, look};
use super::intent::{Intent, Place, commands, named, place};
use super::obstacle::{ASSUMED, may_not, refused, refused_for};
use super::order::{Absent, Admission, Bearer, Caution, Errand, Sequence, Whose};
use super::proof::{self, Proof, Purpose, Way};
use super::strict::Violation;
use super::transaction::{Changes, Kept, Refused, Replacement, Transaction};
use super::{Rollout, RolloutHost, accounts_of};
use crate::connection::{Connection, Connector, Route};
use crate::event::Stream;
use crate::keys::authorized::{Line, NewKey, Options, Presence};
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

/// What was found of each key that should log in, in order.
type Proofs = Vec<Proof>;

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
                if intent.leaves_none() {
                    self.say(format!("{}no key would be left\n", self.name_of(&intent.account))).await;
                }
            }
        }
        refusal?;
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

    fn connector(&self) -> &Connector {
        &self.rollout.caller.connector
    }

    fn login_user(&self) -> &str {
        &self.host.destination.endpoint.user
    }

    fn is_real(&self) -> bool {
        self.rollout.order.conduct.extent == Extent::Whole
    }

    fn is_forced(&self) -> bool {
        self.rollout.order.caution == Caution::Forced
    }

    async fn say(&self, text: String) {
        self.unit.events.output(Stream::Stdout, Bytes::from(text)).await;
    }

    async fn notice(&self, text: String) {
        self.unit.events.notice(0, text).await;
    }

    /// Looks at the accounts, and at the files that this run logs in by: others may be in them too.
    async fn survey(&self, errand: &Errand) -> Result<Survey, Trouble> {
        let mut which = accounts_of(self.host, &errand.whose);
        if let (Whose::User(_), Accounts::Named(names)) = (&errand.whose, &mut which)
            && !names.iter().any(|name| name == self.login_user())
        {
            names.push(self.login_user().to_owned());
        }
        let mut accounts = look(self.connection, self.privilege(), &which).await?;
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

    /// What is no key stays, also where nothing else should: nobody logs in by it, as far as we know.
    async fn tell_foreign(&self, account: &Account) {
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

    /// Why nothing is begun.
    async fn refusal(&self, errand: &Errand, intents: &[Intent]) -> Result<(), Failure> {
        if self.is_forced() {
            return Ok(());
        }
        for way in self.ways() {
            let without = way.gone(intents);
            // A key that comes may be the way in that stays: the trial shows.
            let comes = intents.iter().filter(|intent| intent.is_own).any(|intent| self.brings_a_way(intent, errand));
            if without.is_empty() || comes {
                continue;
            }
            way.prove(self.connector(), &without).await.map_err(|failure| {
                let text = format!("without it, {} would have no way in: {}", way.whose(), failure.message);
                let intent = intents.iter().find(|intent| way.is_by(intent));
                let failure = intent.map_or_else(|| refused(&text), |intent| refused_for(&intent.account, &text));
                failure.hint(way.hint())
            })?;
        }
        let is_last = |intent: &&Intent| intent.leaves_none() && intent.account.name != self.login_user();
        match intents.iter().find(is_last) {
            // Who leaves has to lose access everywhere.
            Some(intent) if errand.whose != Whose::Everyone => {
                let failure = refused_for(&intent.account, "its last key would go, and no other way in is proved");
                Err(failure.hint("let another key in first, or say --force"))
            }
            _ => Ok(()),
        }
    }

    /// Whether a key is added of which the private half is here.
    fn brings_a_way(&self, intent: &Intent, errand: &Errand) -> bool {
        let mut added = errand.wish.present.iter().zip(&intent.plan.present);
        added.any(|(admission, presence)| {
            let bearer = &admission.bearer;
            *presence == Presence::Added && proof::here(self.connector(), &self.host.destination, bearer).is_some()
        })
    }

    /// The ways into this host that stay: that of this run, and those of its hosts behind it.
    fn ways(&self) -> Vec<Way> {
        let own = &self.host.destination;
        let mut ways = vec![Way { destination: own.clone(), purpose: Purpose::Work }];
        for hops in self.rollout.hosts.iter().map(|host| host.destination.hops()) {
            for (index, hop) in hops.iter().enumerate() {
                let (here, there) = (&own.endpoint, &hop.endpoint);
                let is_here = (&here.address, here.port) == (&there.address, there.port) || own.name == hop.name;
                let is_known = |way: &Way| way.purpose == Purpose::Jump && way.destination.endpoint == hop.endpoint;
                if !is_here || ways.iter().any(is_known) {
                    continue;
                }
                let mut destination = hop.clone();
                if index > 0 {
                    destination.route = Route::Jump(hops[..index].into());
                }
                ways.push(Way { destination, purpose: Purpose::Jump });
            }
        }
        ways
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

    /// The name of an account before what is said of it; nothing for that of the login user.
    fn name_of(&self, account: &Account) -> String {
        if account.name == self.login_user() { String::new() } else { format!("{}: ", account.name) }
    }

    /// Logs in with every key that should log in, and by every way that has to stay open, where one may have been touched.
    ///
    /// Gives what was found of each key of each account.
    async fn prove(&self, errand: &Errand, intents: &[Intent]) -> Result<Vec<Proofs>, Failure> {
        let (mut all, mut is_doubtful) = (Vec::new(), false);
        for intent in intents {
            let mut proofs = Vec::new();
            for admission in &errand.wish.present {
                proofs.push(self.prove_key(admission, intent).await?);
            }
            let mut added = intent.plan.present.iter().zip(&proofs);
            let is_unproved =
                added.any(|(presence, proof)| *presence == Presence::Added && matches!(proof, Proof::NotHere));
            is_doubtful |= intent.takes_away() || intent.is_own && is_unproved;
            if !intent.doubts.is_empty() && proofs.iter().any(|proof| matches!(proof, Proof::NotHere)) {
                let text = "sshd may ignore the keys (StrictModes) until this is done";
                let (name, commands) = (&intent.account.name, commands(&intent.doubts));
                self.notice(format!("the keys of `{name}`: {text}: {commands}")).await;
            }
            all.push(proofs);
        }
        if is_doubtful && !self.is_forced() {
            for way in self.ways() {
                way.prove(self.connector(), &way.gone(intents)).await.map_err(|failure| {
                    let text = format!("after it, there is no way in for {}: {}", way.whose(), failure.message);
                    Failure { message: text, code: Code::KeysUnproved, ..failure }
                })?;
            }
        }
        Ok(all)
    }

    async fn prove_key(&self, admission: &Admission, intent: &Intent) -> Result<Proof, Failure> {
        // What logs in with an authority is a certificate.
        if admission.options.as_ref().is_some_and(Options::is_authority) {
            return Ok(Proof::NotHere);
        }
        let (destination, user) = (&self.host.destination, &intent.account.name);
        let found = proof::of_key(self.connector(), destination, user, &admission.bearer).await;
        match found.map_err(|failure| unproved(&admission.bearer, &failure))? {
            Proof::Refused(failure) if intent.doubts.is_empty() => Err(unproved(&admission.bearer, &failure)),
            Proof::Refused(failure) => {
                let commands = commands(&intent.doubts);
                let message = format!("{}; sshd may want this (StrictModes): {commands}", failure.message);
                Err(unproved(&admission.bearer, &Failure { message, ..failure }).hint("--repair does it"))
            }
            proof => Ok(proof),
        }
    }

    /// What must not log in any more does not, as far as that can be tried.
    async fn prove_refused(&self, errand: &Errand, intents: &[Intent]) -> Result<(), Failure> {
        for intent in intents {
            let mut bearers: Vec<Arc<Bearer>> = Vec::new();
            if errand.whose != Whose::Everyone {
                bearers.extend(errand.refused.iter().cloned());
            }
            for key in intent.gone() {
                let known = errand.refused.iter().find(|bearer| *bearer.key.key() == key);
                let comment = intent.plan.removed.iter().find(|entry| entry.key == key).map(|entry| &entry.comment);
                let comment = String::from_utf8_lossy(comment.map(Vec::as_slice).unwrap_or_default());
                let new = || NewKey::new(key.clone(), &comment).or_else(|_| NewKey::new(key.clone(), "")).ok();
                let made = || new().map(|key| Arc::new(Bearer { key, identity: None }));
                let bearer = known.cloned().or_else(made);
                bearers
                    .extend(bearer.filter(|bearer| !bearers.iter().any(|other| other.key.key() == bearer.key.key())));
            }
            let (mut tried, whose) = (Vec::new(), self.name_of(&intent.account));
            for bearer in bearers {
                let found = proof::of_key(self.connector(), &self.host.destination, &intent.account.name, &bearer);
                match found.await? {
                    Proof::Refused(_) => {
                        self.say(format!("{whose}refused: {}\n", bearer.key)).await;
                        tried.push(bearer.key.key().clone());
                    }
                    // Of one key in the place of another, all is told.
                    Proof::NotHere if errand.wish.present.is_empty() || !errand.refused.contains(&bearer) => {}
                    Proof::NotHere => {
                        let text = format!("{whose}not tried: {}, its private half is not here\n", bearer.key);
                        self.say(text).await;
                    }
                    Proof::LogsIn | Proof::Accepted => {
                        let text = format!("{whose}the old key {} still logs in", bearer.key);
                        return Err(Failure::new(Code::KeysUnproved, text).hint(
                            "another file, AuthorizedKeysCommand or a certificate lets it in: see `sshd -T` on the host",
                        ));
                    }
                }
            }
            let is_tried = intent.gone().iter().all(|key| tried.contains(key)) && !tried.is_empty();
            if intent.is_unsure(&errand.wish.absent) && !is_tried {
                let text = format!("{ASSUMED}: {} was looked after, and a key may stand in another", intent.path());
                let failure = Failure { code: Code::KeysUnproved, ..refused_for(&intent.account, &text) };
                return Err(failure.hint("--sudo asks sshd"));
            }
        }
        Ok(())
    }

    async fn tell(&self, intent: &Intent, proofs: &[Proof], errand: &Errand) {
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
        if intent.leaves_none() {
            text += &format!("{whose}no key is left\n");
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
    failures.into_iter().reduce(|one, other| {
        let message = format!("{}; {}", one.message, other.message);
        Failure { message, hint: one.hint.or(other.hint), ..one }
    })
}

async fn put_back(trial: Transaction, failure: Failure) -> Failure {
    match trial.put_back().await {
        Err(Refused::ByHost(why)) => Failure { message: format!("{}; {why}", failure.message), ..failure },
        // Without a session, the host does it by itself.
        Ok(()) | Err(Refused::Session(_)) if failure.code == Code::KeysUnproved => {
            let message = format!("{}; the old file stands again", failure.message);
            Failure { code: Code::KeysRolledBack, message, ..failure }
        }
        Ok(()) | Err(Refused::Session(_)) => failure,
    }
}

fn unproved(bearer: &Bearer, failure: &Failure) -> Failure {
    let text = format!("{} does not log in: {}", bearer.key, failure.message);
    let hint = "AllowUsers, DenyUsers, PermitRootLogin, AuthenticationMethods, `from=`, `expiry-time=` and the account's shell \
                decide too: `sshd -T` on the host shows";
    Failure::new(Code::KeysUnproved, text).hint(hint)
}

/// What the host refused is about the one account, where there is one.
fn said(intents: &[Intent], refusal: Refused) -> Failure {
    match (refusal, intents) {
        (Refused::ByHost(why), [intent]) => refused_for(&intent.account, &why).hints(may_not(&intent.account, &why)),
        (Refused::ByHost(why), _) => refused(&why),
        (Refused::Session(failure), _) => failure,
    }
}
