//! What the verbs share that look after the keys on hosts: their options, and the way from what was typed to a run.

use crate::cli::called::{Called, CalledAs, Questions};
use crate::cli::failure::Failed;
use crate::cli::fleet::{Epilogue, FleetRun, Traffic};
use crate::cli::options::{FanoutOptions, GlobalOptions, TargetOptions};
use crate::cli::privilege::PrivilegeOptions;
use crate::cli::reach::Reached;
use crate::cli::sources::{Known, Readers};
use crate::connection::{Connector, PrivateHalf};
use crate::host::check_user;
use crate::scheduler::{LocalFiles, Work};
use crate::task::rollout::{
    Bearer, Caution, Errand, Repair, Rollout, RolloutHost, RolloutOrder, Sequence, Whose, sources,
};
use crate::task::{Caller, Conduct, Extent, Interrupted};
use clap::Args;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What all of them take.
#[derive(Args, Debug)]
pub(super) struct RolloutOptions {
    #[command(flatten)]
    pub(super) targets: TargetOptions,
    /// Whose keys, where not those of the login user; with --sudo, unless root logs in
    #[arg(long = "for", id = "for", value_name = "USER")]
    pub(super) account: Option<String>,
    #[command(flatten)]
    pub(super) privilege: PrivilegeOptions,
    #[command(flatten)]
    pub(super) fanout: FanoutOptions,
}

/// What changes files of keys.
#[derive(Args, Debug)]
pub(super) struct RepairOptions {
    /// Mend owners and modes that make sshd ignore the keys (StrictModes)
    #[arg(long)]
    repair: bool,
}

impl RepairOptions {
    pub(super) fn repair(&self) -> Repair {
        if self.repair { Repair::Mend } else { Repair::Refuse }
    }
}

/// A run whose hosts can be called.
pub(super) struct Ready<'a> {
    global: GlobalOptions,
    options: &'a RolloutOptions,
    verb: &'static str,
    pub(super) called: Called,
    /// What is said of all hosts together.
    pub(super) epilogue: Option<Epilogue>,
}

impl RolloutOptions {
    /// Whose files are meant.
    pub(super) fn whose(&self) -> Result<Whose, Failed> {
        let Some(user) = &self.account else { return Ok(Whose::Login) };
        check_user(user).map_err(|error| Failed::mistake(error).hint("--for takes a login name"))?;
        Ok(Whose::User(user.clone()))
    }

    pub(super) fn conduct(&self) -> Conduct {
        Conduct {
            extent: if self.fanout.dry_run { Extent::PlanOnly } else { Extent::Whole },
            interrupted: Interrupted::Remove,
            timeout: self.fanout.timeout,
            fanout: self.fanout.fanout.get(),
            open_files: 0,
        }
    }

    /// Finds the way to every host; passwords are asked for.
    pub(super) fn reach(&self, global: &GlobalOptions, verb: &'static str) -> Result<Ready<'_>, Failed> {
        let readers = Readers { descriptor: self.privilege.reads_standard_input(), option: None };
        let known = Known::load_beside(readers, global)?;
        let hosts = known.select(&self.targets)?.hosts;
        let called = Called::reach(
            &known,
            &hosts,
            &CalledAs {
                global,
                fanout: &self.fanout,
                privilege: &self.privilege,
                verb,
                command: verb,
                questions: Questions::Passwords,
            },
        )?;
        Ok(Ready { global: global.clone(), options: self, verb, called, epilogue: None })
    }
}

/// What is done on the hosts.
pub(super) struct Plan {
    pub(super) title: String,
    pub(super) errands: Vec<Errand>,
    pub(super) sequence: Sequence,
    pub(super) repair: Repair,
    pub(super) caution: Caution,
    /// Keys of which the private half has to be here.
    pub(super) needed: Vec<Arc<Bearer>>,
}

impl Ready<'_> {
    /// The agent that holds the keys of this run.
    pub(super) fn agent(&self) -> Option<&Path> {
        self.called.hosts.first().and_then(|host| host.destination.profile.keys.agent.as_deref())
    }

    /// Lets the run log in with these keys too.
    pub(super) fn offer(&mut self, identities: &[PathBuf]) {
        let mut profiles = HashMap::new();
        for Reached { destination, .. } in &mut self.called.hosts {
            let profile = profiles.entry(Arc::as_ptr(&destination.profile)).or_insert_with(|| {
                let mut profile = (*destination.profile).clone();
                for identity in identities.iter().filter(|path| path.exists()) {
                    if !profile.keys.identity_files.contains(identity) {
                        profile.keys.identity_files.push(identity.clone());
                    }
                }
                // The old one is kept beside it, so that no other profile gets its address.
                (Arc::clone(&destination.profile), Arc::new(profile))
            });
            destination.profile = Arc::clone(&profile.1);
        }
    }

    /// Does it on every host and gives the exit code.
    pub(super) fn run(self, plan: Plan) -> Result<u8, Failed> {
        let order = RolloutOrder {
            errands: plan.errands,
            sequence: plan.sequence,
            repair: plan.repair,
            caution: plan.caution,
            conduct: self.options.conduct(),
        };
        let proved: Vec<Arc<Bearer>> = bearers(&order).cloned().collect();
        let needed = plan.needed;
        self.work(plan.title, &proved, |caller, hosts| {
            let refused: Vec<&Arc<Bearer>> = order.errands.iter().flat_map(|errand| &errand.refused).collect();
            // A key that goes may be anybody's: where it is locked, it is not tried.
            for bearer in proved.iter().filter(|bearer| needed.contains(bearer) || !refused.contains(bearer)) {
                let must = needed.contains(bearer);
                hosts.first().map_or(Ok(()), |host| check_private(&caller.connector, host, bearer, must))?;
            }
            Ok(Rollout { caller, hosts, order })
        })
    }

    /// Runs the work that `work` makes of the hosts.
    pub(super) fn work<Made: Work>(
        self,
        title: String,
        proved: &[Arc<Bearer>],
        work: impl FnOnce(Caller, Vec<RolloutHost>) -> Result<Made, Failed>,
    ) -> Result<u8, Failed> {
        let Self { global, options, verb, called, epilogue } = self;
        let (detail, privileges) = (options.fanout.detail(&global), called.privileges);
        let mut further_keys = Vec::new();
        for host in &called.hosts {
            // Of one profile one is enough; profiles are few.
            for sources in proved.iter().map(|bearer| sources(&host.destination, bearer)) {
                if !further_keys.contains(&sources) {
                    further_keys.push(sources);
                }
            }
        }
        let run = FleetRun {
            global: &global,
            options: &options.fanout,
            targets: &options.targets,
            verb,
            title,
            hosts: called.hosts,
            remarks: called.remarks,
            // The login that proves a key is a second connection.
            local_files: LocalFiles { per_host: 1, shared: 0 },
            traffic: Traffic::Words,
            further_keys,
            epilogue,
        };
        run.run(|connector, hosts| {
            let hosts = hosts.into_iter().zip(privileges);
            let hosts = hosts.map(|(host, privilege)| RolloutHost { destination: host.destination, privilege });
            work(Caller { connector, detail }, hosts.collect())
        })
    }
}

/// The keys that are logged in with.
fn bearers(order: &RolloutOrder) -> impl Iterator<Item = &Arc<Bearer>> {
    order
        .errands
        .iter()
        .flat_map(|errand| errand.wish.present.iter().map(|admission| &admission.bearer).chain(&errand.refused))
}

/// A key that is here and locked cannot be proved: that is found before anything is contacted.
fn check_private(connector: &Connector, host: &RolloutHost, bearer: &Bearer, must: bool) -> Result<(), Failed> {
    match connector.private_half(&sources(&host.destination, bearer), bearer.key.key()) {
        PrivateHalf::Here => Ok(()),
        // Nobody named the file: it is one of those with which the run might log in.
        PrivateHalf::Locked(_) if bearer.identity.is_none() && !must => Ok(()),
        PrivateHalf::Locked(path) => {
            let text = format!("the key `{}` is locked, and nobody gave its passphrase", path.display());
            Err(Failed::mistake_text(text)
                .hint(format!("ssh-add {0} first; without it a login with the key cannot be proved", path.display())))
        }
        PrivateHalf::Elsewhere if must => {
            let text = format!("the private half of {} is neither in a file here nor in the agent", bearer.key);
            Err(Failed::mistake_text(text).hint("name the private key file, or ssh-add it first"))
        }
        PrivateHalf::Elsewhere => Ok(()),
    }
}
