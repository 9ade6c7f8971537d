//! Configurations made from a seed: the same seed makes the same ones, everywhere and always.

use super::Question;

/// A small generator of numbers (splitmix64).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5bf0_3635)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }

    pub fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }

    fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }
}

const HOSTS: &[&str] = &[
    "web1",
    "web2",
    "Web1",
    "db.example.com",
    "10.0.0.1",
    "127.1",
    "::1",
    "a-b_c",
    "x",
    "0x7f.1",
    "WEB1.Example.COM",
    "bastion",
];
const PATTERNS: &[&str] = &[
    "*",
    "web*",
    "web?",
    "web1",
    "*.example.com",
    "10.*",
    "!web2",
    "!x",
    "Web1",
    "db.example.com",
    "?",
    "*1",
    "w*b*1",
    "bastion",
    "\"web1\"",
    "10.0.0.1",
    "127.0.0.1",
    "!*.example.com",
    "nobody",
    "a-b_c",
];
const LISTS: &[&str] = &[
    "*",
    "web*",
    "web1,web2",
    "*,!web1",
    "!web1,*",
    "WEB1",
    "*.example.com",
    "web1.example.com",
    "db.example.com",
    "10.0.0.1",
    "127.0.0.1",
    "nobody",
    "root,deploy",
    "deploy",
    "dep*",
    "bastion,x",
];
const FLAGS: &[&str] = &["yes", "no", "true", "false", "YES", "No"];
const FLAG_KEYWORDS: &[&str] = &[
    "BatchMode",
    "CheckHostIP",
    "ClearAllForwardings",
    "ExitOnForwardFailure",
    "ForwardX11",
    "ForwardX11Trusted",
    "GatewayPorts",
    "HashKnownHosts",
    "HostbasedAuthentication",
    "IdentitiesOnly",
    "KbdInteractiveAuthentication",
    "ChallengeResponseAuthentication",
    "NoHostAuthenticationForLocalhost",
    "PasswordAuthentication",
    "PermitLocalCommand",
    "ProxyUseFdpass",
    "StdinNull",
    "StreamLocalBindUnlink",
    "TCPKeepAlive",
    "KeepAlive",
    "VisualHostKey",
    "EnableEscapeCommandline",
    "CanonicalizeFallbackLocal",
    "EnableSSHKeysign",
    "ForwardAgent",
    "PubkeyAuthentication",
    "DSAAuthentication",
];
const TIMES: &[&str] = &["0", "30", "1h", "1h30m", "2d", "1w1d1h1m1s", "90s", "none", "300"];
/// A keyword, values that are right, values that are wrong.
const VALUES: &[(&str, &[&str], &[&str])] = &[
    ("User", &["deploy", "root", "\"quoted\"", "a#b", "x.y", "'q'"], &["", "a b", "\"\"", "\"open"]),
    (
        "HostName",
        &["%h.example.com", "10.1.2.3", "Real.Example.COM", "%h", "%%h", "127.1", "::1", "FE80::1", "web1"],
        &["", "%z", "a b"],
    ),
    ("Port", &["22", "2222", "65535", "ssh", "=22 "], &["0", "65536", "22x", "-1", "==22"]),
    ("Port", &["1", "443"], &["none", "1 2"]),
    ("AddressFamily", &["any", "inet", "inet6", "INET"], &["ipv4", ""]),
    ("CanonicalizeMaxDots", &["0", "1", "5"], &["-1", "x"]),
    ("Compression", &["yes", "no", "YES"], &["true", "false", "9"]),
    ("ControlMaster", &["yes", "no", "auto", "ask", "autoask"], &["maybe"]),
    (
        "ControlPath",
        &["~/.ssh/cm-%r@%h:%p", "/tmp/%n-%k-%u-%i-%L", "none", "/tmp/%%x", "/tmp/${FLAVOUR}", "%d/x"],
        &["/tmp/%z", "/tmp/${UNSET}"],
    ),
    ("ControlPersist", &["yes", "no", "10m", "0", "300"], &["maybe", "YES"]),
    ("ConnectTimeout", TIMES, &["x", "-1", "1x"]),
    ("ServerAliveInterval", TIMES, &["soon"]),
    ("ForwardX11Timeout", TIMES, &["soon"]),
    ("ServerAliveCountMax", &["0", "3", "10"], &["x", "-1", ""]),
    ("ConnectionAttempts", &["1", "5"], &["0", "x"]),
    ("NumberOfPasswordPrompts", &["1", "3"], &["x"]),
    ("RequiredRSASize", &["2048", "1024"], &["big"]),
    ("BindAddress", &["127.0.0.1", "::1"], &["", "a b"]),
    ("BindInterface", &["lo", "eth0"], &[""]),
    (
        "Ciphers",
        &["aes128-ctr", "aes256-ctr,aes128-ctr", "+aes128-cbc", "-aes*", "^aes256-ctr"],
        &["aes", "aes128-ctr,no", "+no", "aes*"],
    ),
    ("MACs", &["hmac-sha2-256", "hmac-sha2-512,umac-64@openssh.com", "+hmac-md5", "-hmac*"], &["sha1", ""]),
    ("KexAlgorithms", &["curve25519-sha256", "-diffie*", "ecdh-sha2-nistp256,curve25519-sha256"], &["x25519"]),
    (
        "HostKeyAlgorithms",
        &["ssh-ed25519", "ssh-ed25519,rsa-sha2-512", "+ssh-rsa", "^ssh-ed25519", "-ecdsa*"],
        &["no-such-key"],
    ),
    ("PubkeyAcceptedAlgorithms", &["ssh-ed25519", "+ssh-rsa", "-rsa*"], &["none-such"]),
    ("PubkeyAcceptedKeyTypes", &["ssh-ed25519,ssh-rsa"], &["x"]),
    ("CASignatureAlgorithms", &["ssh-ed25519", "-rsa*", "rsa-sha2-512"], &["x"]),
    ("HostKeyAlias", &["Alias", "web"], &["", "a b"]),
    (
        "IdentityAgent",
        &["none", "SSH_AUTH_SOCK", "~/.agent", "/run/%u/agent", "$FLAVOUR", "${FLAVOUR}/x"],
        &["${UNSET}", "$a-b", "${", "/x/%z"],
    ),
    (
        "IdentityFile",
        &["~/.ssh/id_a", "~/.ssh/id_b", "/k/%h", "%d/.ssh/k", "none", "\"~/.ssh/with space\"", "${FLAVOUR}/k"],
        &["", "a b"],
    ),
    ("CertificateFile", &["~/.ssh/id_a-cert.pub", "/c/%h"], &["", "a b"]),
    ("IgnoreUnknown", &["Nonsense", "use*,nonsense", "Other*"], &["", "a b"]),
    ("LocalCommand", &["echo %h # kept", "none", "'quoted' \"too\""], &["it's"]),
    ("RemoteCommand", &["uptime", "echo %h %n %r", "none", "a # b"], &["echo %z"]),
    ("PermitLocalCommand", &["yes"], &["ask"]),
    ("KnownHostsCommand", &["/bin/echo %H", "none"], &["\"open"]),
    ("LogLevel", &["QUIET", "info", "DEBUG1", "DEBUG3", "verbose"], &["loud", "DEBUG4"]),
    ("PreferredAuthentications", &["publickey,password", "keyboard-interactive"], &["", "a b"]),
    ("DynamicForward", &["1080", "127.0.0.1:1080", "[::1]:1081"], &["x", "0", "1080 y"]),
    (
        "LocalForward",
        &[
            "8080 localhost:80",
            "127.0.0.1:8080 web:80",
            "/tmp/s.%h web:80",
            "8080 /run/x.sock",
            "[::1]:8080 [::1]:80",
            "*:9 a:9",
        ],
        &["8080", "x localhost:80", "8080 localhost", "0 a:1", "8080 a:0", "8080 a:1 extra"],
    ),
    (
        "RemoteForward",
        &["9000", "8081 localhost:80", "0 localhost:80", "*:8082 h:1", "/run/r.sock localhost:80"],
        &["x", "8081 localhost", "a:b c:d"],
    ),
    ("PermitRemoteOpen", &["any", "none", "a:1 b:*", "[::1]:22"], &["a", "any a:1", "a:x"]),
    ("GlobalKnownHostsFile", &["/etc/kh", "/etc/kh /etc/kh2", "none", "~/gk"], &["none x", "\"\""]),
    (
        "UserKnownHostsFile",
        &["~/.ssh/known_hosts", "/dev/null", "~/.ssh/a ~/.ssh/b", "none", "/kh/%h-%k"],
        &["none x", "\"\"", "/kh/%z"],
    ),
    ("SendEnv", &["LANG LC_*", "-LANG", "X", "-*", "X Y -X"], &["A=B", "\"\""]),
    ("SetEnv", &["A=1", "A=1 B=2", "A=1 A=2", "\"A=x y\""], &["A", "A=1 B"]),
    ("AddKeysToAgent", &["yes", "no", "ask", "confirm", "1h", "confirm 5m"], &["yes 5m", "x", "confirm x"]),
    ("ForwardAgent", &["/dev/null", "${FLAVOUR_PATH}"], &["${UNSET}", "$a-b"]),
    ("EscapeChar", &["~", "none", "^A", "%", "^["], &["ab", "^", "^ab", "\"\""]),
    ("RekeyLimit", &["1G", "default", "64K 1h", "default none", "1G 30"], &["8", "1X", "-1", "1G x"]),
    ("RequestTTY", &["yes", "no", "force", "auto"], &["maybe"]),
    ("SessionType", &["none", "subsystem", "default"], &["shell"]),
    ("StrictHostKeyChecking", &["yes", "no", "ask", "accept-new", "off", "true", "OFF"], &["maybe", "new"]),
    ("UpdateHostKeys", &["yes", "no", "ask"], &["maybe"]),
    ("VerifyHostKeyDNS", &["yes", "no", "ask"], &["maybe"]),
    ("Tunnel", &["yes", "no", "point-to-point", "ethernet"], &["maybe"]),
    ("TunnelDevice", &["any", "0", "1:2", "any:3"], &["x", "1:x"]),
    ("FingerprintHash", &["md5", "SHA256", "sha512"], &["crc"]),
    ("CanonicalDomains", &["example.com", "a.example B.Example.", "none"], &["-x", "a..b", "none a"]),
    ("SyslogFacility", &["USER"], &["MAIL"]),
    ("ProxyCommand", &["nc %h %p", "none", "ssh -W [%h]:%p gate # kept", "= odd"], &["\"open"]),
    (
        "ProxyJump",
        &[
            "bastion",
            "u@bastion:2200",
            "a,b@c:22,d",
            "none",
            "ssh://u@gate:2022",
            "10.0.0.9",
            "[fe80::9]:22",
            "gate # comment",
        ],
        &["@x", "gate:0", "a,,b", "gate:x", ""],
    ),
    ("Protocol", &["2", "2,1"], &[]),
    ("UseRoaming", &["no"], &[]),
    ("CompressionLevel", &["9"], &[]),
    ("RSAAuthentication", &["yes"], &[]),
    ("IdentityFile2", &["/k/2"], &[]),
];
/// Lines that no OpenSSH takes.
const BROKEN: &[&str] = &[
    "Nonsense yes",
    "User",
    "UseNothing 1",
    "Host",
    "Match",
    "Match host",
    "Match nothing x",
    "Match all host x",
    "Port=",
    "Hots x",
];

/// The files of a configuration, `config` first, and what is asked of it.
pub fn generate(seed: u64) -> (Vec<(String, String)>, Vec<Question>) {
    let mut random = Random::new(seed);
    let mut files = vec![("config".to_owned(), String::new())];
    // Most configurations hold no mistake: one in four may.
    let mistakes = random.one_in(4);
    let text = file(&mut random, &mut files, mistakes, 0);
    files[0].1 = text;
    let mut questions = Vec::new();
    for _ in 0..=seed % 2 {
        let mut question = Question { host: random.pick(HOSTS).to_owned(), ..Question::default() };
        if random.one_in(6) {
            question.user = Some((*random.pick(&["deploy", "root", "ada"])).to_owned());
        }
        if random.one_in(5) {
            let (keyword, mut right, _) = VALUES[random.below(VALUES.len())];
            if keyword == "SessionType" {
                // A subsystem on the command line needs a name beside it.
                right = &["none", "default"];
            }
            let separator = random.pick(&["=", " ", " = "]);
            question.options.push(format!("{keyword}{separator}{}", right[random.below(right.len())]));
        }
        questions.push(question);
    }
    (files, questions)
}

fn file(random: &mut Random, files: &mut Vec<(String, String)>, mistakes: bool, depth: usize) -> String {
    let mut text = String::new();
    for _ in 0..random.below(4) {
        line(random, files, mistakes, depth, &mut text);
    }
    for _ in 0..=random.below(5) {
        let newline = if random.one_in(12) { "\r\n" } else { "\n" };
        if random.one_in(3) {
            text += &format!("Match {}{newline}", criteria(random));
        } else {
            let patterns: Vec<&str> = (0..=random.below(3)).map(|_| random.pick(PATTERNS)).collect();
            let keyword = random.pick(&["Host ", "host ", "HOST\t", "Host="]);
            text += &format!("{keyword}{}{newline}", patterns.join(" "));
        }
        for _ in 0..=random.below(6) {
            line(random, files, mistakes, depth, &mut text);
        }
    }
    text
}

fn criteria(random: &mut Random) -> String {
    let mut words = Vec::new();
    for _ in 0..=random.below(2) {
        let negation = if random.one_in(4) { "!" } else { "" };
        words.push(match random.below(9) {
            0 => return ["all", "final all", "canonical all", "!all"][random.below(4)].to_owned(),
            1 => format!("{negation}canonical"),
            2 => "final".to_owned(),
            3 => {
                let command = random.pick(&[
                    "true",
                    "false",
                    "\"exit 3\"",
                    "\"test %h = web1\"",
                    "\"test %n = web1\"",
                    "\"test %r = deploy\"",
                    "\"test %p = 22\"",
                ]);
                format!("{negation}exec {command}")
            }
            number => {
                let criterion = ["host", "originalhost", "user", "localuser", "host"][number - 4];
                format!("{negation}{criterion} {}", random.pick(LISTS))
            }
        });
    }
    words.join(" ")
}

fn line(random: &mut Random, files: &mut Vec<(String, String)>, mistakes: bool, depth: usize, text: &mut String) {
    let indent = random.pick(&["", "  ", "\t"]);
    let tail = if random.one_in(10) { " " } else { "" };
    let newline = if random.one_in(15) { "\r\n" } else { "\n" };
    let written = match random.below(24) {
        0 => "# a comment".to_owned(),
        1 => String::new(),
        2 if depth < 2 => {
            let name = format!("part{}", files.len());
            let (path, written) = match random.below(4) {
                0 => (format!("home/.ssh/{name}"), name.clone()),
                1 => (format!("home/.ssh/{name}"), format!("~/.ssh/{name}")),
                2 => (format!("parts/{name}/a.conf"), format!("@DIR@/parts/{name}/*.conf")),
                _ => (name.clone(), format!("@DIR@/{name} @DIR@/no-such-file*")),
            };
            files.push((path, String::new()));
            let place = files.len() - 1;
            files[place].1 = file(random, files, mistakes, depth + 1);
            format!("Include {written}")
        }
        3..=6 => format!("{} {}", random.pick(FLAG_KEYWORDS), random.pick(FLAGS)),
        7 if mistakes && random.one_in(3) => random.pick(BROKEN).to_owned(),
        _ => {
            let (keyword, right, wrong) = VALUES[random.below(VALUES.len())];
            let separator = random.pick(&[" ", " ", " ", "=", " = ", "  ", "\t"]);
            let wrong_one = mistakes && random.one_in(12) && !wrong.is_empty();
            let values = if wrong_one { wrong } else { right };
            format!("{keyword}{separator}{}", values[random.below(values.len())])
        }
    };
    *text += &format!("{indent}{written}{tail}{newline}");
}
