//! What has to be proved on one host before anything is begun, while it is on trial, and after it.

use super::facts::Guess;
use super::intent::{Intent, commands, repair_of};
use super::obstacle::{refused, refused_for};
use super::order::{Admission, Bearer, Errand, Whose};
use super::proof::{self, Proof, Purpose, Way};
use super::rest::Rest;
use super::site::Site;
use crate::connection::{PrivateHalf, Route};
use crate::keys::authorized::{Entry, NewKey, Options, Presence};
use crate::known_hosts::PublicKey;
use crate::outcome::{Code, Failure};
use std::sync::Arc;

/// What was found of each key that should log in, in order.
pub(super) type Proofs = Vec<Proof>;

impl Site<'_> {
    /// Why nothing is begun.
    pub(super) async fn refusal(&self, errand: &Errand, intents: &[Intent]) -> Result<(), Failure> {
        if self.is_forced() {
            return Ok(());
        }
        for way in self.ways() {
            let without = way.gone(intents);
            // A key that comes may be the way in that stays: the trial shows.
            let comes = intents.iter().filter(|intent| way.is_by(intent)).any(|intent| {
                let mut added = errand.wish.present.iter().zip(&intent.plan.present);
                added.any(|(admission, presence)| *presence == Presence::Added && self.may_use(&way, admission))
            });
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
        // Who leaves has to lose access everywhere.
        if errand.whose == Whose::Everyone {
            return Ok(());
        }
        for intent in intents.iter().filter(|intent| intent.account.name != self.login_user()) {
            let (text, hint) = match intent.rest() {
                None => continue,
                Some(Rest::Nothing) => {
                    ("its last key would go, and no other way in is proved", "let another key in first, or say --force")
                }
                Some(Rest::Doubtful(entries)) if self.any_lets_in(&entries, intent, errand).await => continue,
                Some(Rest::Doubtful(_)) => (
                    "its last key would go but such as have expired, are for certificates, have `from=` or are ignored by \
                     sshd, and no login with those is proved",
                    "name the private half of one that stays (-I), let another key in first, or say --force",
                ),
            };
            return Err(refused_for(&intent.account, text).hint(hint));
        }
        Ok(())
    }

    /// Whether one of these keys that stay lets in from here: one that is declared shows it while it is on trial, or fails.
    async fn any_lets_in(&self, entries: &[Entry], intent: &Intent, errand: &Errand) -> bool {
        for entry in entries {
            let declared = errand.wish.present.iter().find(|admission| admission.is_by(entry));
            let (connector, destination) = (self.connector(), &self.host.destination);
            if let Some(admission) = declared {
                if proof::here(connector, destination, &admission.bearer).is_some() {
                    return true;
                }
                continue;
            }
            let Ok(key) = NewKey::new(entry.key.clone(), "") else { continue };
            let bearer = Bearer { key, identity: None };
            let found = proof::of_key(connector, destination, &intent.account.name, &bearer).await;
            if matches!(found, Ok(Proof::LogsIn | Proof::Accepted)) {
                return true;
            }
        }
        false
    }

    /// Whether the private half of a key is among what a way in is gone with.
    fn may_use(&self, way: &Way, admission: &Admission) -> bool {
        let sources = &way.destination.profile.keys;
        self.connector().private_half(sources, admission.bearer.key.key()) == PrivateHalf::Here
    }

    /// The ways into this host that stay: that of this run, and those of its hosts behind it.
    pub(super) fn ways(&self) -> Vec<Way> {
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

    /// Logs in with every key that should log in, and by every way that has to stay open, where one may have been touched.
    ///
    /// Gives what was found of each key of each account.
    pub(super) async fn prove(&self, errand: &Errand, intents: &[Intent]) -> Result<Vec<Proofs>, Failure> {
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

    pub(super) async fn prove_key(&self, admission: &Admission, intent: &Intent) -> Result<Proof, Failure> {
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
                Err(unproved(&admission.bearer, &Failure { message, ..failure }).hints(repair_of(&intent.doubts)))
            }
            proof => Ok(proof),
        }
    }

    /// What a dry run can say of what only the run proves. Where it is not sure which files sshd reads, whoever cannot be tried
    /// fails it.
    pub(super) async fn foresee(&self, errand: &Errand, intents: &[Intent]) -> Result<(), Failure> {
        for way in self.ways() {
            let mut by = intents.iter().filter(|intent| way.is_by(intent));
            let is_changed = by.any(|intent| {
                let mut changed = errand.wish.present.iter().zip(&intent.plan.present);
                changed.any(|(admission, presence)| *presence == Presence::Changed && self.may_use(&way, admission))
            });
            if is_changed {
                let text = "the options of a key change that may be the way in of";
                self.notice(format!(
                    "{text} {}: only the run proves that it lets in still, or takes it back",
                    way.whose()
                ))
                .await;
            }
        }
        for intent in intents {
            let Some(guess) = intent.doubt(&errand.wish.absent) else { continue };
            let gone = intent.gone();
            let is_here = |key: &PublicKey| {
                let bearer = bearer(errand, intent, key);
                bearer.is_some_and(|bearer| proof::here(self.connector(), &self.host.destination, &bearer).is_some())
            };
            if gone.is_empty() || !gone.iter().all(is_here) {
                return Err(unsure(intent, guess));
            }
            self.notice(format!("{}: {} is assumed", guess.why(), intent.path())).await;
        }
        Ok(())
    }

    /// What must not log in any more does not, as far as that can be tried.
    pub(super) async fn prove_refused(&self, errand: &Errand, intents: &[Intent]) -> Result<(), Failure> {
        for intent in intents {
            let mut bearers: Vec<Arc<Bearer>> = Vec::new();
            if errand.whose != Whose::Everyone {
                bearers.extend(errand.refused.iter().cloned());
            }
            for key in intent.gone() {
                if !bearers.iter().any(|bearer| *bearer.key.key() == key) {
                    bearers.extend(bearer(errand, intent, &key));
                }
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
            if let Some(guess) = intent.doubt(&errand.wish.absent).filter(|_| !is_tried) {
                return Err(unsure(intent, guess));
            }
        }
        Ok(())
    }
}

/// What is known of a key that goes.
fn bearer(errand: &Errand, intent: &Intent, key: &PublicKey) -> Option<Arc<Bearer>> {
    let known = errand.refused.iter().find(|bearer| bearer.key.key() == key);
    let comment = intent.plan.removed.iter().find(|entry| entry.key == *key).map(|entry| &entry.comment);
    let comment = String::from_utf8_lossy(comment.map(Vec::as_slice).unwrap_or_default());
    let new = || NewKey::new(key.clone(), &comment).or_else(|_| NewKey::new(key.clone(), "")).ok();
    let made = || new().map(|key| Arc::new(Bearer { key, identity: None }));
    known.cloned().or_else(made)
}

fn unsure(intent: &Intent, guess: Guess) -> Failure {
    let text = format!("{}: {} was looked after, and a key may stand in another", guess.why(), intent.path());
    let failure = Failure { code: Code::KeysUnproved, ..refused_for(&intent.account, &text) };
    failure.hint(guess.hint())
}

fn unproved(bearer: &Bearer, failure: &Failure) -> Failure {
    let text = format!("{} does not log in: {}", bearer.key, failure.message);
    let hint = "AllowUsers, DenyUsers, PermitRootLogin, AuthenticationMethods, `from=`, `expiry-time=` and the account's shell \
                decide too: `sshd -T` on the host shows";
    Failure::new(Code::KeysUnproved, text).hint(hint)
}
