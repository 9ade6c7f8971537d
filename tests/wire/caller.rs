//! Calls hosts the way `bugle run` does, and keeps everything that is heard.

use crate::fleet::openssh::Daemon;
use crate::fleet::{Fleet, Host, USER};
use bugle::connection::{
    Ask, Configured, ConnectError, Connection, Connector, Destination, KeyChoice, KeyFileError, KeySources, Keyring,
    LoginMethod, Profile, ProxyCommand, Route, SocketOptions, Strictness, Terminal, Trace,
};
use bugle::event::{Event, Phase, Stream, What};
use bugle::host::{Endpoint, HostId, HostName, Roster};
use bugle::outcome::{Code, Failure, Outcome};
use bugle::scheduler::{self, Detached, Ended, Fanout, Plan, RunResult, Unit, Work};
use bugle::secret::Secret;
use bugle::task::{Broadcast, Call, CommandLine, Privilege, RunCommand, ScriptFile};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinHandle;

/// Nothing in these tests takes that long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(40);

/// How a host is called; the fields are changed to taste.
#[derive(Clone)]
pub struct Caller {
    pub destination: Destination,
    pub input: Option<Broadcast>,
    pub terminal: Option<Terminal>,
    pub timeout: Option<Duration>,
    pub passphrases: Arc<Passphrases>,
    pub privilege: Option<Privilege>,
    pub script: Option<ScriptFile>,
}

/// Answers every question for a passphrase with the next one.
#[derive(Default)]
pub struct Passphrases {
    answers: Vec<&'static str>,
    asked: Mutex<Vec<PathBuf>>,
}

/// What a host answered.
#[derive(Debug)]
pub struct Answer {
    pub ended: Ended,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub phases: Vec<(Phase, String)>,
    pub notices: Vec<(u8, String)>,
}

/// A command that runs.
pub struct Running {
    pub outside: Detached,
    task: JoinHandle<Ended>,
    heard: Answer,
}

/// What a run over several hosts came to.
pub struct Run {
    pub result: RunResult,
    pub outcomes: Vec<Outcome>,
    pub outputs: Vec<Vec<u8>>,
    pub retries: usize,
}

impl Passphrases {
    pub fn new(answers: &[&'static str]) -> Arc<Self> {
        Arc::new(Self { answers: answers.to_vec(), asked: Mutex::default() })
    }

    /// The files that were asked about, in order.
    pub fn asked(&self) -> Vec<PathBuf> {
        self.asked.lock().expect("nobody panics while asking").clone()
    }
}

impl Ask for Passphrases {
    fn passphrase(&self, path: &Path, _attempt: u32) -> Option<Secret> {
        let mut asked = self.asked.lock().expect("nobody panics while asking");
        asked.push(path.to_owned());
        self.answers.get(asked.len() - 1).map(|&answer| Secret::new(answer.into()))
    }
}

impl Caller {
    /// Calls a host of a fleet with the fleet's key.
    pub fn of(fleet: &Fleet, host: &Host) -> Self {
        let endpoint =
            Endpoint { user: USER.into(), address: host.address.ip().to_string(), port: host.address.port() };
        Self::new(&host.name, endpoint, profile(vec![fleet.key()], fleet.known_hosts()))
    }

    /// Calls the host of this name.
    pub fn named(fleet: &Fleet, name: &str) -> Self {
        Self::of(fleet, fleet.host(name))
    }

    /// Calls the only host of a fleet.
    pub fn only(fleet: &Fleet) -> Self {
        Self::of(fleet, &fleet.hosts()[0])
    }

    /// Calls a real server with the key that it was started with.
    pub fn daemon(daemon: &Daemon) -> Self {
        let endpoint = Endpoint { user: daemon.user.clone(), address: "127.0.0.1".into(), port: daemon.port };
        Self::new("real", endpoint, profile(vec![daemon.key()], daemon.known_hosts()))
    }

    fn new(name: &str, endpoint: Endpoint, profile: Profile) -> Self {
        let name = HostName::new(name).expect("tests give good names");
        let destination = Destination {
            name,
            endpoint,
            route: Route::Direct,
            profile: Arc::new(profile),
            host_key_alias: None,
            password: None,
            sealed_password: None,
            choice: KeyChoice::All,
        };
        Self {
            destination,
            input: None,
            terminal: None,
            timeout: None,
            passphrases: Arc::default(),
            privilege: None,
            script: None,
        }
    }

    /// The settings, to be changed.
    pub fn profile(&mut self) -> &mut Profile {
        Arc::make_mut(&mut self.destination.profile)
    }

    /// With a change to the settings.
    pub fn with(mut self, change: impl FnOnce(&mut Profile)) -> Self {
        change(self.profile());
        self
    }

    /// With a password and without keys.
    pub fn with_password(mut self, password: &str) -> Self {
        self.destination.password = Some(Secret::new(password.into()));
        self.profile().keys = KeySources::default();
        self
    }

    /// With this time limit for connecting.
    pub fn within(self, limit: Duration) -> Self {
        self.with(|profile| profile.connect_timeout = limit)
    }

    /// Through these, in order.
    pub fn through(mut self, hops: &[&Caller]) -> Self {
        self.destination.route = Route::Jump(hops.iter().map(|hop| hop.destination.clone()).collect());
        self
    }

    /// Through the pipes of a command, which is written as `PROXY` in the configuration.
    pub fn by_way_of(mut self, line: impl Into<String>) -> Self {
        self.destination.route = Route::Command(ProxyCommand { written: "PROXY".into(), line: line.into() });
        self
    }

    /// With these bytes as standard input.
    pub fn sending(mut self, bytes: Vec<u8>) -> Self {
        self.input = Some(Broadcast::from_bytes(bytes));
        self
    }

    /// Reads keys and known_hosts as a run does before it contacts anybody.
    pub async fn prepare(&self) -> Result<Arc<Connector>, KeyFileError> {
        connector(&[self]).await
    }

    /// Connects and logs in.
    pub async fn connect(&self) -> (Result<Arc<Connection>, ConnectError>, Trace) {
        let connector = self.prepare().await.expect("the keys can be read");
        let mut trace = Trace::default();
        let made = tokio::time::timeout(PATIENCE, connector.connect(&self.destination, &mut trace)).await;
        (made.expect("connecting ends by its own limit"), trace)
    }

    /// Connects, or says why not.
    pub async fn refused(&self) -> ConnectError {
        match self.connect().await.0 {
            Ok(_) => panic!("{} let us in", self.destination.name),
            Err(error) => error,
        }
    }

    /// Connects; failing is a fault.
    pub async fn connected(&self) -> Arc<Connection> {
        match self.connect().await.0 {
            Ok(connection) => connection,
            Err(error) => panic!("{}: {error:?}", self.destination.name),
        }
    }

    /// Starts a command.
    pub async fn start(&self, command: &str) -> Running {
        let connector = self.prepare().await.expect("the keys can be read");
        self.start_with(connector, command)
    }

    /// Starts a command by way of a connector that others use too.
    pub fn start_with(&self, connector: Arc<Connector>, command: &str) -> Running {
        let work = Arc::new(self.work(connector, vec![self.call(command)]));
        let (unit, outside) = Unit::detached(HostId(0));
        let task = tokio::spawn(async move { work.attempt(unit).await });
        Running { outside, task, heard: Answer::default() }
    }

    /// Runs a command to its end.
    pub async fn run(&self, command: &str) -> Answer {
        self.start(command).await.end().await
    }

    fn call(&self, command: &str) -> Call {
        let command = CommandLine { command: command.into(), ..CommandLine::default() };
        Call { destination: self.destination.clone(), command: Arc::new(command), privilege: self.privilege.clone() }
    }

    fn work(&self, connector: Arc<Connector>, calls: Vec<Call>) -> RunCommand {
        RunCommand {
            caller: bugle::task::Caller { connector, detail: u8::MAX },
            calls,
            script: self.script.clone(),
            input: self.input.clone(),
            terminal: self.terminal.clone(),
            timeout: self.timeout,
        }
    }
}

/// What several callers share in one run.
pub async fn connector(callers: &[&Caller]) -> Result<Arc<Connector>, KeyFileError> {
    let passphrases = callers.first().map(|caller| Arc::clone(&caller.passphrases)).unwrap_or_default();
    let sources = callers.iter().flat_map(|caller| caller.destination.key_sources());
    let keyring = Keyring::prepare(sources, &*passphrases).await?;
    let destinations = callers.iter().map(|caller| &caller.destination);
    Ok(Arc::new(Connector::new(Arc::new(keyring), destinations).expect("known_hosts can be read")))
}

/// Runs a command on several hosts through the scheduler, as `bugle run` does.
pub async fn run_all(callers: &[Caller], fanout: usize, command: &str) -> Run {
    let shared = connector(&callers.iter().collect::<Vec<_>>()).await.expect("the keys can be read");
    let roster = Roster::new(callers.iter().map(|caller| caller.destination.name.clone()).collect());
    let calls = callers.iter().map(|caller| caller.call(command)).collect();
    let work = Arc::new(callers[0].work(shared, calls));
    let mut plan = Plan::new("run", command, roster);
    plan.fanout = Fanout::new(fanout).expect("somebody is called");
    plan.seed = 7;
    let (sender, mut events) = tokio::sync::mpsc::channel::<Event>(64);
    let run = tokio::spawn(scheduler::run(plan, work, sender, futures::stream::pending()));
    let mut outcomes = vec![None; callers.len()];
    let mut outputs = vec![Vec::new(); callers.len()];
    let mut retries = 0;
    while let Some(Event { what, .. }) = events.recv().await {
        match what {
            What::OutputReceived { host, bytes, .. } => outputs[host.index()].extend_from_slice(&bytes),
            What::AttemptFailed { .. } => retries += 1,
            What::HostFinished { host, outcome, .. } => outcomes[host.index()] = Some(outcome),
            _ => {}
        }
    }
    let result = run.await.expect("the scheduler does not panic");
    Run {
        result,
        outcomes: outcomes.into_iter().map(|outcome| outcome.expect("every host ends")).collect(),
        outputs,
        retries,
    }
}

impl Running {
    /// Waits until this much was written, on both outputs together.
    pub async fn says(&mut self, wanted: &str) {
        while !contains(&self.heard.stdout, wanted) && !contains(&self.heard.stderr, wanted) {
            let said = tokio::time::timeout(PATIENCE, self.outside.said()).await;
            let said = said.unwrap_or_else(|_| panic!("it does not say `{wanted}`: {:?}", self.heard));
            let Some(said) = said else { panic!("it ended without `{wanted}`: {:?}", self.heard) };
            self.heard.take(said);
        }
    }

    /// Everything up to the end, of which nothing is taken before it has come.
    pub async fn end_unheard(mut self) -> Answer {
        self.heard.ended = tokio::time::timeout(PATIENCE, &mut self.task)
            .await
            .expect("the work ends")
            .expect("the work does not panic");
        self.heard
    }

    /// What was written up to now.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.heard.stdout).into_owned()
    }

    /// Everything up to the end.
    pub async fn end(mut self) -> Answer {
        let ending = async {
            while let Some(said) = self.outside.said().await {
                self.heard.take(said);
            }
            (&mut self.task).await.expect("the work does not panic")
        };
        self.heard.ended = tokio::time::timeout(PATIENCE, ending).await.expect("the work ends");
        self.heard
    }
}

fn contains(bytes: &[u8], wanted: &str) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted.as_bytes())
}

impl Default for Answer {
    fn default() -> Self {
        let ended = Ended::Done(Outcome::Skipped("not over".into()));
        Self { ended, stdout: Vec::new(), stderr: Vec::new(), phases: Vec::new(), notices: Vec::new() }
    }
}

impl Answer {
    fn take(&mut self, said: What) {
        match said {
            What::OutputReceived { stream: Stream::Stdout, bytes, .. } => self.stdout.extend_from_slice(&bytes),
            What::OutputReceived { stream: Stream::Stderr, bytes, .. } => self.stderr.extend_from_slice(&bytes),
            What::PhaseFinished { phase, detail, .. } => self.phases.push((phase, detail)),
            What::Noticed { level, message, .. } => self.notices.push((level, message)),
            _ => {}
        }
    }

    /// How it ended, without another try.
    pub fn outcome(&self) -> &Outcome {
        match &self.ended {
            Ended::Done(outcome) => outcome,
            Ended::Retry { failure, .. } => panic!("it would be tried again: {failure:?}"),
        }
    }

    /// Why it failed.
    pub fn failure(&self) -> &Failure {
        match &self.ended {
            Ended::Done(outcome) => outcome.failure().unwrap_or_else(|| panic!("it did not fail: {outcome:?}")),
            Ended::Retry { failure, .. } => failure,
        }
    }

    /// Why it failed, in one word.
    pub fn code(&self) -> Code {
        self.failure().code
    }

    /// Standard output as text, of a command that went well.
    pub fn text(&self) -> &str {
        assert_eq!(self.outcome(), &Outcome::Ok, "{:?}", String::from_utf8_lossy(&self.stderr));
        std::str::from_utf8(&self.stdout).expect("the output is text")
    }

    /// Whether a notice of this level says this.
    pub fn notices_have(&self, level: u8, wanted: &str) -> bool {
        self.notices.iter().any(|(at, message)| *at == level && message.contains(wanted))
    }
}

/// Settings for one identity file and one known_hosts file, nothing else taken from this machine.
fn profile(identity_files: Vec<PathBuf>, known_hosts: PathBuf) -> Profile {
    Profile {
        socket: SocketOptions::default(),
        connect_timeout: Duration::from_secs(15),
        connection_attempts: 1,
        alive_interval: Some(Duration::from_secs(15)),
        alive_count: 3,
        algorithms: Arc::default(),
        required_rsa_bits: 1024,
        rekey_bytes: None,
        rekey_time: None,
        strictness: Strictness::Yes,
        trust_localhost: false,
        user_known_hosts: vec![known_hosts],
        global_known_hosts: Vec::new(),
        revoked_host_keys: Vec::new(),
        hash_known_hosts: false,
        update_host_keys: false,
        keys: KeySources { identity_files, configured: Configured::Yes, prompts: 3, ..KeySources::default() },
        methods: LoginMethod::ALL.to_vec(),
        batch_mode: true,
        forward_agent: None,
        local_command: None,
        display: None,
        environment: Vec::new(),
    }
}
