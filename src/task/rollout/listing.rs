//! Who can log in where: [`KeyListing`] looks at the files of keys and changes nothing.

use super::facts::{Accounts, Found, Unknown, look};
use super::obstacle::may_not;
use super::{RolloutHost, Whose, accounts_of};
use crate::connection::{Connection, Destination, Trace};
use crate::host::HostId;
use crate::keys::authorized::{Entry, Expiry, Fault, Line, Options};
use crate::outcome::{Failure, Outcome};
use crate::scheduler::{Ended, Unit, Work};
use crate::task::caller::{Caller, OnHost, attempt};
use crate::task::transfer::Conduct;
use std::sync::{Arc, Mutex, PoisonError};

/// A line of a file on a host that lets somebody in, or looks as if it should.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Where.
    pub host: HostId,
    /// As whom.
    pub user: String,
    /// In which file.
    pub path: String,
    /// Its line, from 1.
    pub line: usize,
    /// When the file was last written to, in UTC, as `2030-01-31T12:00:00Z`, where the host tells.
    pub written: Option<String>,
    /// The key, or why there is none.
    pub key: Result<Entry, Fault>,
    /// When the key ends (`expiry-time`), and whether it has by the host's clock, where that is known.
    pub expiry: Option<(Expiry, Option<bool>)>,
}

/// Gathers the keys of every host of a run.
pub struct KeyListing {
    /// The way to the hosts.
    pub caller: Caller,
    /// The hosts, in the order of the roster.
    pub hosts: Vec<RolloutHost>,
    /// Whose files are looked at.
    pub whose: Whose,
    /// How it is carried out.
    pub conduct: Conduct,
    /// Where what is found is put.
    pub found: Arc<Mutex<Vec<Finding>>>,
}

impl Work for KeyListing {
    async fn attempt(&self, unit: Unit) -> Ended {
        attempt(self, unit).await
    }
}

impl OnHost for KeyListing {
    fn caller(&self) -> &Caller {
        &self.caller
    }

    fn destination(&self, host: HostId) -> &Destination {
        &self.hosts[host.index()].destination
    }

    async fn work(&self, unit: &Unit, connection: &Arc<Connection>, _: &mut Trace) -> Outcome {
        let listing = async {
            self.list(unit, connection).await?;
            Ok(Outcome::Ok)
        };
        self.conduct.bound(unit, Box::pin(listing)).await
    }
}

impl KeyListing {
    async fn list(&self, unit: &Unit, connection: &Arc<Connection>) -> Result<(), Failure> {
        let host = &self.hosts[unit.host.index()];
        let which = accounts_of(host, &self.whose);
        let Found { accounts, remarks } = look(connection, host.privilege.as_ref(), &which, 0).await?;
        for remark in remarks {
            unit.events.notice(0, remark.text()).await;
        }
        let mut findings = Vec::new();
        for account in accounts {
            match account.unknown {
                Some(Unknown::NoFiles) if which == Accounts::Everyone => continue,
                Some(unknown) => return Err(unknown.failure(&account)),
                None => {}
            }
            if let Some(text) = account.assumption() {
                unit.events.notice(0, text).await;
            }
            for file in &account.files {
                if let Some(why) = &file.obstacle {
                    let hint = may_not(&account, why).map(|hint| format!(" ({hint})")).unwrap_or_default();
                    unit.events.notice(0, format!("the keys of `{}`: {why}{hint}", account.name)).await;
                }
                for line in file.document().lines() {
                    let key = match &line.content {
                        Line::Key(entry) => Ok(entry.clone()),
                        Line::Foreign(fault) => Err(fault.clone()),
                        Line::Blank | Line::Comment => continue,
                    };
                    let expiry = key.as_ref().ok().and_then(|entry| Expiry::of(&Options::found(&entry.options)));
                    findings.push(Finding {
                        host: unit.host,
                        user: account.name.clone(),
                        path: file.path.clone(),
                        line: line.number.unwrap_or_default(),
                        written: Some(file.written.clone()).filter(|written| !written.is_empty()),
                        expiry: expiry.map(|expiry| {
                            let is_over = expiry.is_over(&account.clock);
                            (expiry, is_over)
                        }),
                        key,
                    });
                }
            }
        }
        self.found.lock().unwrap_or_else(PoisonError::into_inner).extend(findings);
        Ok(())
    }
}
