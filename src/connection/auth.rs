//! Logging in (RFC 4252): which methods in which order, with which keys, and why it failed.
//!
//! One login never makes more than [`MAX_OFFERS`] key offers and one try per password, because servers count:
//! MaxAuthTries ends the connection and PerSourcePenalties then refuses the whole address. It is never tried again.

use super::client::{Client, Facts};
use super::keyring::{Offer, Offers};
use super::trace::Trace;
use crate::duration::human;
use crate::outcome::{Code, Failure};
use crate::secret::Secret;
use russh::client::{AuthResult, Handle, KeyboardInteractiveAuthResponse};
use russh::keys::ssh_key::certificate::CertType;
use russh::keys::{Algorithm, Certificate, HashAlg};
use russh::{MethodKind, MethodSet};
use std::collections::VecDeque;
use std::time::SystemTime;

/// Keys offered in one login: one below sshd's default MaxAuthTries of 6.
pub(super) const MAX_OFFERS: usize = 5;
/// Rounds of questions that a keyboard-interactive server may ask.
const MAX_ROUNDS: usize = 8;
/// Questions in one round.
const MAX_QUESTIONS: usize = 8;

/// How to log in to one host.
#[derive(Clone)]
pub(super) struct Credentials {
    pub(super) user: String,
    /// Methods in the order of `PreferredAuthentications`, those that are switched off left out.
    pub(super) methods: Vec<MethodKind>,
    pub(super) offers: Offers,
    /// For `password` and for the one hidden question of `keyboard-interactive`.
    pub(super) password: Option<Secret>,
    /// What holds the password encrypted.
    pub(super) sealed_password: Option<&'static str>,
    /// RSA keys below this many bits are not offered (`RequiredRSASize`).
    pub(super) required_rsa_bits: u32,
    /// Signature algorithms for RSA keys, best first (`PubkeyAcceptedAlgorithms`).
    pub(super) rsa_hashes: Vec<HashAlg>,
}

struct Login<'a> {
    handle: &'a mut Handle<Client>,
    facts: &'a Facts,
    credentials: &'a Credentials,
    keys: VecDeque<&'a Offer>,
    offered: Vec<&'a Offer>,
    passwords_left: bool,
    questions_left: bool,
    /// What the server says it would still take; `None` until it has said so.
    remaining: Option<MethodSet>,
    unanswered: Option<String>,
    /// Methods that did their part of a login that wants several.
    accepted: Vec<&'static str>,
}

enum Step {
    In,
    Refused(MethodSet),
    /// This method did its part; the server wants another one as well.
    Partial(MethodSet),
    /// Not sent: the server was not asked.
    NotTried,
}

/// How somebody was let in.
pub(super) struct LoggedIn {
    /// The methods, in words.
    pub(super) how: String,
    /// The same again would be possible without a person: nothing was asked, and nothing touched.
    pub(super) unattended: bool,
}

/// Logs in, or says why not.
pub(super) async fn login(
    handle: &mut Handle<Client>,
    facts: &Facts,
    credentials: &Credentials,
    trace: &mut Trace,
) -> Result<LoggedIn, Failure> {
    let mut login = Login {
        handle,
        facts,
        credentials,
        keys: credentials.offers.list.iter().take(MAX_OFFERS).collect(),
        offered: Vec::new(),
        passwords_left: credentials.password.is_some(),
        questions_left: credentials.password.is_some(),
        remaining: None,
        unanswered: None,
        accepted: Vec::new(),
    };
    login.run(trace).await
}

impl Login<'_> {
    async fn run(&mut self, trace: &mut Trace) -> Result<LoggedIn, Failure> {
        let mut how = Vec::new();
        let mut unattended = true;
        if self.next_method() != Some(MethodKind::PublicKey) {
            // A refused key would tell what the server takes; without one it is asked, which no server counts as a try.
            match self.handle.authenticate_none(&self.credentials.user).await {
                Ok(AuthResult::Success) => {
                    trace.notice(0, "the server let us in without any authentication");
                    return Ok(LoggedIn { how: "none".into(), unattended });
                }
                Ok(AuthResult::Failure { remaining_methods, .. }) => self.remaining = Some(remaining_methods),
                Err(error) => return Err(self.broken(&error)),
            }
            if self.handle.is_closed() {
                return Err(self.thrown_out());
            }
        }
        while let Some(method) = self.next_method() {
            let (label, step) = match method {
                MethodKind::PublicKey => self.publickey(trace).await?,
                MethodKind::Password => self.password().await?,
                _ => self.keyboard_interactive().await?,
            };
            if matches!(step, Step::In | Step::Partial(_)) {
                // What a server asks may be a code that holds once, and a security key wants to be touched.
                unattended &= match method {
                    MethodKind::PublicKey => !self.offered.last().is_some_and(|offer| offer.is_security_key()),
                    MethodKind::Password => true,
                    _ => false,
                };
            }
            match step {
                Step::In => {
                    how.push(label);
                    return Ok(LoggedIn { how: how.join(" + "), unattended });
                }
                Step::Partial(methods) => {
                    trace.notice(2, format!("{label} accepted; the server wants more: {}", names(&methods)));
                    how.push(label);
                    self.accepted.push((&method).into());
                    self.remaining = Some(methods);
                    self.passwords_left |= method != MethodKind::Password && self.credentials.password.is_some();
                }
                Step::Refused(methods) => {
                    trace.notice(2, format!("{label} refused; the server takes: {}", names(&methods)));
                    if self.handle.is_closed() {
                        return Err(self.thrown_out());
                    }
                    self.remaining = Some(methods);
                }
                Step::NotTried => {}
            }
        }
        Err(self.refused())
    }

    /// The first method in our order that the server takes and that has something left to offer.
    fn next_method(&self) -> Option<MethodKind> {
        self.credentials.methods.iter().copied().find(|method| {
            let has_material = match method {
                MethodKind::PublicKey => !self.keys.is_empty(),
                MethodKind::Password => self.passwords_left,
                MethodKind::KeyboardInteractive => self.questions_left,
                _ => false,
            };
            has_material && self.remaining.as_ref().is_none_or(|remaining| remaining.contains(method))
        })
    }

    async fn publickey(&mut self, trace: &mut Trace) -> Result<(String, Step), Failure> {
        let Some(offer) = self.keys.pop_front() else { return Ok((String::new(), Step::NotTried)) };
        let label = format!("publickey {}", offer.describe());
        if let Some(bits) = offer.rsa_bits().filter(|&bits| bits < self.credentials.required_rsa_bits) {
            trace.notice(
                1,
                format!(
                    "{} not offered: {bits} bits, RequiredRSASize is {}",
                    offer.origin, self.credentials.required_rsa_bits
                ),
            );
            return Ok((label, Step::NotTried));
        }
        let hash = match offer.public.algorithm() {
            Algorithm::Rsa { .. } => match self.rsa_hash().await? {
                Some(hash) => Some(hash),
                None => {
                    trace.notice(1, format!("{} not offered: the server takes only SHA-1 signatures", offer.origin));
                    return Ok((label, Step::NotTried));
                }
            },
            _ => None,
        };
        self.offered.push(offer);
        let mut signer = offer.signer.clone();
        let user = self.credentials.user.as_str();
        let result = match &offer.certificate {
            Some(certificate) => {
                self.handle.authenticate_certificate_with(user, certificate.clone(), hash, &mut signer).await
            }
            None => self.handle.authenticate_publickey_with(user, offer.public.clone(), hash, &mut signer).await,
        };
        match result {
            Ok(result) => Ok((label, step(result))),
            Err(super::signer::SignError::Ended) => Err(self.thrown_out()),
            Err(error) => {
                let reason = chain(&error);
                trace.notice(1, format!("the server accepts {}, but {reason}", offer.describe()));
                self.unanswered = Some(format!("the key {} was accepted, but {reason}", offer.origin));
                Ok((label, Step::NotTried))
            }
        }
    }

    async fn password(&mut self) -> Result<(String, Step), Failure> {
        self.passwords_left = false;
        let Some(password) = &self.credentials.password else { return Ok((String::new(), Step::NotTried)) };
        let result = self.handle.authenticate_password(&self.credentials.user, password.expose()).await;
        result.map(|result| ("password".into(), step(result))).map_err(|error| self.broken(&error))
    }

    async fn keyboard_interactive(&mut self) -> Result<(String, Step), Failure> {
        use KeyboardInteractiveAuthResponse::{Failure as Refused, InfoRequest, Success};
        self.questions_left = false;
        let label = "keyboard-interactive".to_owned();
        let mut answer = self.handle.authenticate_keyboard_interactive_start(&self.credentials.user, None).await;
        let mut answered = false;
        for _ in 0..MAX_ROUNDS {
            match answer.map_err(|error| self.broken(&error))? {
                Success => return Ok((label, Step::In)),
                Refused { remaining_methods, partial_success: true } => {
                    return Ok((label, Step::Partial(remaining_methods)));
                }
                Refused { remaining_methods, .. } => return Ok((label, Step::Refused(remaining_methods))),
                InfoRequest { prompts, .. } => {
                    if prompts.len() > MAX_QUESTIONS {
                        return Err(Failure::new(
                            Code::AuthRefused,
                            format!("the server asks {} questions at once", prompts.len()),
                        ));
                    }
                    let responses = match (&self.credentials.password, prompts.as_slice()) {
                        (_, []) => Vec::new(),
                        (Some(password), [question]) if !question.echo && !answered => {
                            answered = true;
                            vec![password.expose().to_owned()]
                        }
                        (_, questions) => {
                            let asked: Vec<_> = questions.iter().map(|question| question.prompt.trim()).collect();
                            return Err(Failure::new(
                                Code::AuthRefused,
                                format!("the server asks what bugle has no answer for: `{}`", asked.join("`, `")),
                            )
                            .hint("log in by key, or by a method that needs only the password"));
                        }
                    };
                    answer = self.handle.authenticate_keyboard_interactive_respond(responses).await;
                }
            }
        }
        Err(Failure::new(Code::AuthRefused, format!("the server asked questions {MAX_ROUNDS} times without deciding")))
    }

    /// The best RSA signature that both sides take. Waits up to a second for a server that does not say.
    async fn rsa_hash(&mut self) -> Result<Option<HashAlg>, Failure> {
        let ours = &self.credentials.rsa_hashes;
        match self.handle.best_supported_rsa_hash().await {
            Ok(Some(Some(theirs))) if ours.contains(&theirs) => Ok(Some(theirs)),
            Ok(Some(None)) => Ok(None),
            Ok(_) => Ok(ours.first().copied()),
            Err(error) => Err(self.broken(&error)),
        }
    }

    fn broken(&self, error: &russh::Error) -> Failure {
        match error {
            russh::Error::SendError | russh::Error::RecvError | russh::Error::Disconnect | russh::Error::HUP => {
                self.thrown_out()
            }
            other => Failure::new(Code::AuthRefused, format!("the login broke off: {other}")),
        }
    }

    /// The server ended the connection instead of answering.
    fn thrown_out(&self) -> Failure {
        let tried = self.what_was_tried();
        let last_words = self.facts.read().ended.clone().unwrap_or_default();
        if self.offered.len() > 1 || last_words.to_lowercase().contains("too many authentication failures") {
            return Failure::new(Code::AuthTooMany, format!("the server ended the login after {tried}"))
                .hint("offer fewer keys: -I FILE, or `IdentitiesOnly yes` with an `IdentityFile` in ssh_config");
        }
        Failure::new(Code::AuthRefused, format!("the server ended the connection during the login, after {tried}"))
            .hint("sshd's log on the host says why: AllowUsers, a locked account, or MaxAuthTries")
    }

    fn refused(&self) -> Failure {
        let taken = self.remaining.as_ref().map(names).unwrap_or_default();
        if let Some(reason) = &self.unanswered {
            return Failure::new(Code::AuthAgent, reason.clone())
                .hint("check `ssh-add -l`; a key may wait for its confirmation");
        }
        let sealed = self.credentials.sealed_password.filter(|_| self.credentials.password.is_none());
        let sealed = sealed.map(|name| format!("`{name}` is encrypted with Ansible's vault"));
        let missing = self.credentials.offers.missing.iter().cloned().chain(sealed).collect::<Vec<_>>().join("; ");
        if self.offered.is_empty() && self.credentials.password.is_none() {
            let why = if missing.is_empty() { String::new() } else { format!("; {missing}") };
            return Failure::new(Code::AuthNoKey, format!("no key to log in with as `{}`{why}", self.credentials.user))
                .hint(format!(
                    "the server takes {taken}: name a key with -I FILE, add one with ssh-add, or use --ask-pass"
                ));
        }
        let has_sent_password = self.credentials.password.is_some() && !(self.passwords_left && self.questions_left);
        let flaws = self.offered.iter().filter_map(|offer| {
            let flaw = flaw(offer.certificate.as_ref()?, &self.credentials.user)?;
            Some((offer, flaw))
        });
        let flaws: Vec<(&&Offer, Flaw)> = flaws.collect();
        let hint = if has_sent_password && (self.offered.is_empty() || !self.accepted.is_empty()) {
            "the password was refused; a host with another one has it as `ansible_password` in its inventory variables"
                .to_owned()
        } else if let Some((_, flaw)) = flaws.first() {
            flaw.hint.clone()
        } else if self.remaining.as_ref().is_some_and(|left| left.contains(&MethodKind::PublicKey)) {
            format!(
                "is the public key in authorized_keys of `{}` there, and is that the right user (-l USER)?",
                self.credentials.user
            )
        } else {
            format!(
                "the server takes {taken}: hand the password over with --ask-pass or --pass-fd, or set ansible_password"
            )
        };
        let dropped = self.credentials.offers.list.len().saturating_sub(MAX_OFFERS);
        let more = if dropped > 0 {
            format!("; {dropped} more keys were not offered: pick one with -I FILE")
        } else {
            String::new()
        };
        let mut why = if missing.is_empty() { String::new() } else { format!("; {missing}") };
        if !self.accepted.is_empty() {
            why.push_str(&format!("; {} was accepted, the rest was not", self.accepted.join(" and ")));
        }
        let code = if self.accepted.is_empty() { Code::AuthRefused } else { Code::AuthPartial };
        for (offer, flaw) in &flaws {
            why.push_str(&format!("; the certificate {} {}", offer.origin, flaw.what));
        }
        Failure::new(
            code,
            format!(
                "login as `{}` refused ({taken}); tried {}{more}{why}",
                self.credentials.user,
                self.what_was_tried()
            ),
        )
        .hint(hint)
    }

    fn what_was_tried(&self) -> String {
        let mut tried: Vec<String> = self.offered.iter().map(|offer| offer.describe()).collect();
        if self.credentials.password.is_some() && !(self.passwords_left && self.questions_left) {
            tried.push("a password".into());
        }
        if tried.is_empty() { "nothing".into() } else { tried.join(", ") }
    }
}

/// Why a certificate may not let anybody in, as far as this side can see it.
struct Flaw {
    /// Follows `the certificate NAME`.
    what: String,
    hint: String,
}

/// The first thing that is wrong with a certificate for the login of a user (PROTOCOL.certkeys).
fn flaw(certificate: &Certificate, user: &str) -> Option<Flaw> {
    let found = |what: String, hint: &str| Some(Flaw { what, hint: hint.replace("USER", user) });
    if certificate.cert_type() == CertType::Host {
        let hint = "sign the key for a user: ssh-keygen -s CA -I ID -n USER KEY.pub, without -h";
        return found("is a host's and not a user's".into(), hint);
    }
    if let Some(reason) = out_of_time(certificate) {
        return found(reason, "renew the certificate; where it should hold, compare the clocks");
    }
    let names = certificate.valid_principals();
    if names.is_empty() {
        return found("names no user".into(), "have it signed for `USER` (ssh-keygen -s CA -n USER)");
    }
    if !names.iter().any(|name| name == user) {
        let hint = "have it signed for `USER` (-n), log in as whom it names (-l), or map the names on the host \
                    (AuthorizedPrincipalsFile)";
        return found(format!("is for `{}`, not for `{user}`", names.join("`, `")), hint);
    }
    let sources = certificate.critical_options().get("source-address")?;
    found(format!("holds only for connections from `{sources}`"), "is this machine among these, as the host sees it?")
}

/// Why a certificate does not hold now by this machine's clock, if so.
fn out_of_time(certificate: &Certificate) -> Option<String> {
    let now = SystemTime::now();
    let begins = certificate.valid_after_time().and_then(|begins| begins.duration_since(now).ok());
    let ended = certificate.valid_before_time().and_then(|ends| now.duration_since(ends).ok());
    match (begins, ended) {
        (Some(wait), _) => Some(format!("is not valid before {} from now", human(wait))),
        (None, Some(ago)) => Some(format!("expired {} ago", human(ago))),
        (None, None) => None,
    }
}

fn step(result: AuthResult) -> Step {
    match result {
        AuthResult::Success => Step::In,
        AuthResult::Failure { remaining_methods, partial_success: true } => Step::Partial(remaining_methods),
        AuthResult::Failure { remaining_methods, .. } => Step::Refused(remaining_methods),
    }
}

fn names(methods: &MethodSet) -> String {
    let names: Vec<&str> = methods.iter().map(<&str>::from).collect();
    if names.is_empty() { "nothing more".into() } else { names.join(",") }
}

/// An error with its sources on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
