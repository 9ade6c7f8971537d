use super::*;
use crate::ssh_config::options::StrictHostKeyChecking as Strict;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

fn account() -> Account {
    Account {
        user: "ada".into(),
        home: "/home/ada".into(),
        host_name: "here.example.com".into(),
        shell: "/bin/sh".into(),
        environment: [("SOCKET".to_owned(), "/run/agent".to_owned())].into(),
        ..Account::current()
    }
}

struct Directory(tempfile::TempDir);

impl Directory {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }
}

fn config(text: &str) -> SshConfig {
    let directory = Directory::new();
    SshConfig::load(Sources::new(Files::Only(directory.file("config", text)), account())).unwrap()
}

fn resolve(text: &str, host: &str) -> Effective {
    config(text).resolve(&Request::new(host)).unwrap()
}

#[test]
fn the_users_file_ranks_before_the_systems() {
    let directory = Directory::new();
    let user = directory.file("user", "Host web1\n  User of-user\nHost shared\n  GSSAPIAuthentication yes\n");
    let system =
        directory.file("system", "User of-system\nPort 2222\nIdentityFile /k\nGSSAPIAuthentication yes\nTunnel yes\n");
    let config =
        SshConfig::load(Sources::new(Files::Standard { user: user.clone(), system: system.clone() }, account()));
    let config = config.unwrap();
    let effective = config.resolve(&Request::new("web1")).unwrap();
    assert_eq!((&*effective.user, effective.port), ("of-user", 2222));
    assert_eq!(effective.origin(Keyword::User).to_string(), format!("{}:2", user.display()));
    assert_eq!(effective.origin(Keyword::Port).to_string(), format!("{}:2", system.display()));
    assert_eq!(effective.origin(Keyword::BatchMode), Origin::Default);
    assert!(!effective.options.identity_files[0].explicit, "the system's files are nobody's choice");
    let warned: Vec<Keyword> = config.warnings().iter().map(|warning| warning.keyword).collect();
    assert_eq!(warned, [Keyword::GSSAPIAuthentication], "the system's file is not the user's to change");
}

#[test]
fn includes_of_the_systems_file_take_no_tilde() {
    let directory = Directory::new();
    let user = directory.file("user", "");
    let system = directory.file("system", "Include ~/x\n");
    let error = SshConfig::load(Sources::new(Files::Standard { user, system }, account())).unwrap_err();
    assert!(error.to_string().contains("begins with `~`"), "{error}");
}

#[test]
fn layers_rank_between_the_command_line_and_the_files() {
    let directory = Directory::new();
    let path = directory.file("config", "User file\nPort 1\nConnectTimeout 1\nHostName file\n");
    let account = account();
    let mut sources = Sources::new(Files::Only(path), account.clone());
    sources.command_line = Layer::new().options("command line -o", ["ConnectTimeout=3"], &account).unwrap();
    let config = SshConfig::load(sources).unwrap();
    let inventory = Layer::new().user("hosts.yaml:3", "inventory").unwrap().port("hosts.yaml:4", 2);
    let inventory = inventory.host_name("hosts.yaml:5", "fe80::1%eth0").unwrap().identity_file("hosts.yaml:6", "/k/%h");
    let layers = [Arc::new(inventory)];
    let request = Request { user: Some("asked"), layers: &layers, ..Request::new("web1") };
    let effective = config.resolve(&request).unwrap();
    assert_eq!((&*effective.user, effective.port, &*effective.host_name), ("asked", 2, "fe80::1%eth0"));
    assert_eq!(effective.options.connect_timeout, Some(Duration::from_secs(3)));
    assert_eq!(effective.origin(Keyword::Port).to_string(), "hosts.yaml:4");
    assert_eq!(effective.origin(Keyword::ConnectTimeout).to_string(), "command line -o");
    let hop = Hop { user: None, host: "web1".into(), port: None };
    let hop = config.resolve(&Request::hop(&hop)).unwrap();
    assert_eq!(hop.options.connect_timeout, Some(Duration::from_secs(1)), "-o is for the target, as with ssh -J");
}

#[test]
fn every_wrong_option_of_the_command_line_is_reported() {
    let options = ["Prot=22", "Port=0", "Host=x", "ProxyJump=a;b", "User=ok"];
    let error = Layer::new().options("command line -o", options, &account()).unwrap_err();
    assert_eq!(error.problems().len(), 4, "{error}");
    assert!(error.to_string().contains("command line -o: unknown keyword `prot`"), "{error}");
    assert!(Layer::new().jump("-J", "a,b;c").is_err());
    assert!(Layer::new().jump("-J", "a,").is_err());
    assert!(Layer::new().user("-l", "a;b").is_err());
}

#[test]
fn the_route_visits_jump_hosts_in_order_each_with_its_own_configuration() {
    let text = "Host web1\n  ProxyJump u@gate:2200,inner\nHost gate\n  HostName gate.example.com\n  ProxyJump outer\n\
                Host inner\n  User in\n  ProxyJump never\nHost outer\n  ProxyCommand nc %h %p\n";
    let route = config(text).route(&Request::new("web1")).unwrap();
    let hops: Vec<String> =
        route.hops.iter().map(|hop| format!("{}@{}:{}", hop.user, hop.host_name, hop.port)).collect();
    assert_eq!(hops, ["ada@outer:22", "u@gate.example.com:2200", "in@inner:22"]);
    assert_eq!(route.hops[0].proxy, Proxy::Command { written: "nc %h %p".into(), line: "nc outer 22".into() });
    assert_eq!(&*route.target.host_name, "web1");
}

#[test]
fn a_route_that_leads_in_a_circle_is_refused() {
    for text in ["Host a\n  ProxyJump b\nHost b\n  ProxyJump a\n", "Host *\n  ProxyJump b,c\n", "ProxyJump a\n"] {
        let error = config(text).route(&Request::new("a")).unwrap_err();
        assert!(matches!(error, SshConfigError::JumpLoop { .. }), "{text}: {error}");
    }
}

#[test]
fn options_are_ready_to_use() {
    let text = "IdentityFile ~/.ssh/%r\nIdentityAgent $SOCKET\nServerAliveInterval 0\nStrictHostKeyChecking accept-new\n\
                SetEnv A=%h\nKnownHostsCommand /bin/keys %n %H %%\nRekeyLimit 1G 1h\nPreferredAuthentications a,b\n\
                CertificateFile ~/c\nAddKeysToAgent confirm 5m\nUserKnownHostsFile ~/kh\nForwardAgent ${SOCKET}\n";
    let effective = resolve(text, "web1");
    let options = &effective.options;
    assert_eq!(options.identity_files, [IdentityFile { path: "/home/ada/.ssh/ada".into(), explicit: true }]);
    assert_eq!(options.identity_agent, IdentityAgent::Socket("/run/agent".into()));
    assert_eq!(options.server_alive_interval, Some(Duration::ZERO));
    assert_eq!(options.strict_host_key_checking, Strict::AcceptNew);
    assert_eq!(options.set_env, [("A".to_owned(), "web1".to_owned())]);
    assert_eq!(options.known_hosts_command.as_deref(), Some("/bin/keys web1 %H %%"));
    assert_eq!(options.rekey_limit, RekeyLimit { bytes: Some(1 << 30), interval: Some(Duration::from_secs(3600)) });
    assert_eq!(options.preferred_authentications, Some(vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(options.certificate_files, [PathBuf::from("/home/ada/c")]);
    assert_eq!(options.add_keys_to_agent, AddKeysToAgent::Confirm(Some(Duration::from_secs(300))));
    assert_eq!(options.user_known_hosts_files, [PathBuf::from("/home/ada/kh")]);
    assert_eq!(options.forward_agent, ForwardAgent::Socket("/run/agent".into()));
    let bare = resolve("", "web1");
    assert_eq!(bare.options.identity_files[0].path, PathBuf::from("/home/ada/.ssh/id_rsa"));
    assert_eq!((bare.options.connect_timeout, bare.options.server_alive_interval), (None, None));
    assert_eq!(bare.options.identity_agent, IdentityAgent::Environment);
}

#[test]
fn hosts_share_their_options_unless_a_token_tells_them_apart() {
    let shared = config("Host web*\n  Port 2222\n  User %n\nHost *\n  ConnectTimeout 3\n  UserKnownHostsFile ~/kh\n");
    let answer = |config: &SshConfig, host: &str| config.resolve(&Request::new(host)).unwrap().options;
    assert!(Arc::ptr_eq(&answer(&shared, "web1"), &answer(&shared, "db1")));
    let told_apart = config("UserKnownHostsFile /kh/%h\n");
    assert_eq!(answer(&told_apart, "a").user_known_hosts_files, [PathBuf::from("/kh/a")]);
    assert_eq!(answer(&told_apart, "b").user_known_hosts_files, [PathBuf::from("/kh/b")]);
}

#[test]
fn a_configuration_answers_from_many_threads() {
    let config = config("Host web*\n  User %n\n  UserKnownHostsFile /kh/%h\n");
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let config = &config;
            scope.spawn(move || {
                for host in 0..50 {
                    let name = format!("web{thread}-{host}");
                    let effective = config.resolve(&Request::new(&name)).unwrap();
                    assert_eq!(*effective.user, name);
                    assert_eq!(effective.options.user_known_hosts_files, [PathBuf::from(format!("/kh/{name}"))]);
                }
            });
        }
    });
}

#[test]
fn concrete_hosts_come_in_order_each_once() {
    let config = config("Host web1 web* !web9\nHost db1\nMatch host x\nHost web1 a;b\n");
    let hosts: Vec<&str> = config.concrete_hosts().iter().map(|host| host.name.as_str()).collect();
    assert_eq!(hosts, ["web1", "db1"]);
    assert!(config.concrete_hosts()[1].origin.to_string().ends_with("config:2"));
}

#[test]
fn a_keyword_without_effect_is_warned_of_once_and_only_if_it_asks_for_something() {
    let config =
        config("ForwardX11 no\nControlMaster auto\nControlPath /x\nHost b\n  ControlMaster yes\n  UseKeychain yes\n");
    let texts: Vec<&str> = config.warnings().iter().map(|warning| warning.text.as_str()).collect();
    let expected = [
        "`ControlMaster` has no effect: bugle keeps its own pool of connections",
        "`ControlPath` has no effect",
        "`UseKeychain` has no effect: Apple's",
    ];
    assert_eq!(texts, expected);
}

#[test]
fn names_are_checked_before_a_shell_sees_them() {
    let checked = [
        ("HostName $(id)\nProxyCommand nc %h %p\n", false),
        ("HostName $(id)\nProxyCommand nc gate 22\n", true),
        ("User \"a b\"\nProxyCommand nc %r\n", false),
        ("User \"a b\"\n", true),
        ("HostName $(id)\nMatch exec \"true %h\"\n", false),
    ];
    for (text, fine) in checked {
        assert_eq!(config(text).resolve(&Request::new("web1")).is_ok(), fine, "{text}");
    }
    for host in ["-oProxyCommand=x", "a b", "", "a;b"] {
        assert!(config("").resolve(&Request::new(host)).is_err(), "{host}");
    }
}

#[test]
fn a_command_of_match_exec_runs_once() {
    let directory = Directory::new();
    let count = directory.0.path().join("count");
    let config = config(&format!("Match exec \"echo >> {}\"\n  User ran\n", count.display()));
    for host in ["a", "b", "c"] {
        assert_eq!(&*config.resolve(&Request::new(host)).unwrap().user, "ran");
    }
    assert_eq!(fs::read_to_string(count).unwrap().lines().count(), 1);
}

#[test]
fn names_resolve_only_where_canonicalisation_asks_for_it() {
    #[derive(Debug)]
    struct Zone;
    impl NameResolver for Zone {
        fn has_address(&self, name: &str, _: AddressFamily) -> bool {
            name == "web.example.com."
        }
        fn canonical_name(&self, _: &str, _: AddressFamily) -> Option<String> {
            None
        }
    }
    let directory = Directory::new();
    let text = "CanonicalizeHostname yes\nCanonicalDomains example.com\nCanonicalizeFallbackLocal no\n\
                Host web.example.com\n  User canonical\n";
    let mut sources = Sources::new(Files::Only(directory.file("config", text)), account());
    sources.resolver = Arc::new(Zone);
    let config = SshConfig::load(sources).unwrap();
    let effective = config.resolve(&Request::new("Web")).unwrap();
    assert_eq!((&*effective.host_name, &*effective.user), ("web.example.com", "canonical"));
    let error = config.resolve(&Request::new("db")).unwrap_err();
    assert!(matches!(error, SshConfigError::NotCanonical { .. }), "{error}");
}
