//! What the files and layers have set so far: the first value of each keyword, and all of those that accumulate.

use std::sync::{Arc, LazyLock};

use super::algorithm::AlgorithmList;
use super::block::Setting;
use super::forward::Forward;
use super::keyword::{KEYWORDS, Keyword};
use super::pattern::matches;
use super::problem::Origin;
use super::value::{Value, parse_default};

/// The values that hold where nothing is written.
static DEFAULTS: LazyLock<Vec<Option<Value>>> = LazyLock::new(|| {
    KEYWORDS.iter().map(|row| row.default.and_then(|default| parse_default(row.keyword, default))).collect()
});

/// Most identity files, and most certificates, that OpenSSH takes.
const MOST_KEYS: usize = 100;

/// More keys than OpenSSH takes.
#[derive(Debug)]
pub(super) struct TooManyKeys;

/// The directives that were chosen for one host.
#[derive(Clone, Debug)]
pub(super) struct Chosen {
    first: Vec<Option<Arc<Setting>>>,
    /// `IdentityFile`, `CertificateFile` and forwardings, each once.
    accumulated: Vec<Arc<Setting>>,
    /// `SendEnv` after its removals.
    send_env: Vec<(Arc<str>, Origin)>,
    /// Ids of everything that counts for [`super::Options`], in order.
    key: Vec<u32>,
    is_canonicalization_fixed: bool,
}

impl Chosen {
    pub(super) fn new() -> Self {
        Self {
            first: vec![None; Keyword::COUNT],
            accumulated: Vec::new(),
            send_env: Vec::new(),
            key: Vec::new(),
            is_canonicalization_fixed: false,
        }
    }

    /// Fixes the defaults of what has been used by now: the second pass cannot change how names are completed.
    pub(super) fn fix_canonicalization(&mut self) {
        self.is_canonicalization_fixed = true;
    }

    /// Takes a directive, if it still counts.
    pub(super) fn take(&mut self, setting: &Arc<Setting>) -> Result<(), TooManyKeys> {
        let keyword = setting.keyword;
        if keyword == Keyword::SendEnv {
            self.send_env(setting);
        } else if keyword.accumulates() {
            let same = |other: &&Arc<Setting>| other.keyword == keyword && other.value == setting.value;
            let known = |other: &Arc<Setting>| same(&other) && other.explicit == setting.explicit;
            if self.accumulated.iter().any(known) {
                return Ok(());
            }
            let keys = matches!(keyword, Keyword::IdentityFile | Keyword::CertificateFile);
            if keys && self.all(keyword).count() == MOST_KEYS {
                return Err(TooManyKeys);
            }
            self.accumulated.push(setting.clone());
        } else {
            let blocked = match keyword {
                // `none` is how OpenSSH stores "not set": a later directive still counts.
                _ if setting.value == Value::Seconds(None) => true,
                Keyword::CanonicalizeMaxDots | Keyword::CanonicalizeFallbackLocal | Keyword::CanonicalizeHostname => {
                    self.is_canonicalization_fixed
                }
                Keyword::ProxyCommand => self.jumps(),
                Keyword::ProxyJump if !is_none(setting) => self.is_set(Keyword::ProxyCommand),
                _ => false,
            };
            let slot = &mut self.first[keyword as usize];
            *slot = match slot.as_deref() {
                _ if blocked => return Ok(()),
                None => Some(setting.clone()),
                // Two keywords consist of two values, each of which is set once.
                Some(known) => match (&known.value, &setting.value) {
                    (&Value::Rekey(bytes, 0), &Value::Rekey(_, seconds)) if seconds > 0 => {
                        Some(known.with(Value::Rekey(bytes, seconds)))
                    }
                    (Value::Choice("yes"), Value::Text(_)) if keyword == Keyword::ForwardAgent => {
                        Some(known.with(setting.value.clone()))
                    }
                    _ => return Ok(()),
                },
            };
        }
        if !differs_by_host(keyword) {
            self.key.push(setting.id);
        }
        Ok(())
    }

    fn send_env(&mut self, setting: &Setting) {
        let Value::Words(words) = &setting.value else { return };
        for word in words.iter() {
            if let Some(pattern) = word.strip_prefix('-') {
                self.send_env.retain(|(name, _)| !matches(name, pattern));
            } else if !self.send_env.iter().any(|(name, _)| name == word) {
                self.send_env.push((word.clone(), setting.origin.clone()));
            }
        }
    }

    /// Whether hosts with the same key have the same options, tokens aside.
    pub(super) fn key(&self) -> &[u32] {
        &self.key
    }

    pub(super) fn is_set(&self, keyword: Keyword) -> bool {
        self.first[keyword as usize].is_some()
    }

    /// Whether the way leads over jump hosts.
    pub(super) fn jumps(&self) -> bool {
        self.setting(Keyword::ProxyJump).is_some_and(|setting| !is_none(setting))
    }

    pub(super) fn setting(&self, keyword: Keyword) -> Option<&Arc<Setting>> {
        self.first[keyword as usize].as_ref()
    }

    /// All directives of a keyword that accumulates.
    pub(super) fn all(&self, keyword: Keyword) -> impl Iterator<Item = &Arc<Setting>> {
        self.accumulated.iter().filter(move |setting| setting.keyword == keyword)
    }

    /// The names to send, each with its place.
    pub(super) fn names_to_send(&self) -> &[(Arc<str>, Origin)] {
        &self.send_env
    }

    pub(super) fn origin(&self, keyword: Keyword) -> Origin {
        self.setting(keyword).map_or(Origin::Default, |setting| setting.origin.clone())
    }

    /// The value, or the default.
    pub(super) fn value(&self, keyword: Keyword) -> Option<&Value> {
        let set = self.setting(keyword).map(|setting| &setting.value);
        set.or_else(|| DEFAULTS[keyword as usize].as_ref())
    }

    pub(super) fn choice(&self, keyword: Keyword) -> &'static str {
        match self.value(keyword) {
            Some(Value::Choice(word)) => word,
            _ => "",
        }
    }

    pub(super) fn is_on(&self, keyword: Keyword) -> bool {
        !matches!(self.choice(keyword), "no" | "false" | "")
    }

    pub(super) fn number(&self, keyword: Keyword) -> u32 {
        match self.value(keyword) {
            Some(Value::Number(number)) => *number,
            _ => 0,
        }
    }

    /// Seconds that are set, not by default.
    pub(super) fn seconds(&self, keyword: Keyword) -> Option<u32> {
        match self.setting(keyword).map(|setting| &setting.value) {
            Some(Value::Seconds(seconds)) => *seconds,
            _ => None,
        }
    }

    pub(super) fn text(&self, keyword: Keyword) -> Option<&Arc<str>> {
        match self.value(keyword) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The same, none for `none`.
    pub(super) fn text_or_none(&self, keyword: Keyword) -> Option<&Arc<str>> {
        self.text(keyword).filter(|text| !text.eq_ignore_ascii_case("none"))
    }

    /// The words; none of them for `none`.
    pub(super) fn words(&self, keyword: Keyword) -> &[Arc<str>] {
        match self.value(keyword) {
            Some(Value::Words(words)) if !matches!(&words[..], [only] if only.eq_ignore_ascii_case("none")) => words,
            _ => &[],
        }
    }

    pub(super) fn algorithms(&self, keyword: Keyword) -> AlgorithmList {
        match self.value(keyword) {
            Some(Value::Algorithms(list)) => list.clone(),
            _ => AlgorithmList::Default,
        }
    }

    /// The forwardings of a keyword.
    pub(super) fn forwards(&self, keyword: Keyword) -> impl Iterator<Item = &Arc<Forward>> {
        self.all(keyword).filter_map(|setting| match &setting.value {
            Value::Forward(forward) => Some(forward),
            _ => None,
        })
    }
}

fn is_none(setting: &Setting) -> bool {
    matches!(&setting.value, Value::Jump(chain) if chain.hops.is_empty())
}

/// Keywords that say where a host is, rather than how to talk to it.
pub(super) fn differs_by_host(keyword: Keyword) -> bool {
    matches!(
        keyword,
        Keyword::User
            | Keyword::HostName
            | Keyword::Port
            | Keyword::HostKeyAlias
            | Keyword::ProxyCommand
            | Keyword::ProxyJump
    )
}
