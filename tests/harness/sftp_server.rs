//! The fleet's own SFTP server: good towards OpenSSH's client, and odd exactly as it was told to, byte for byte.

use crate::fleet::openssh::find;
use crate::fleet::{Answer, Behaviour, Cut, Fleet, Host, Login, Oddity, PLANTED, USER, When};
use russh::keys::PublicKeyOrCertificate;
use russh::{ChannelStream, client};
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::{Command, Output};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const OPEN: u8 = 3;
const READ: u8 = 5;
const WRITE: u8 = 6;
const LSTAT: u8 = 7;
const OPENDIR: u8 = 11;
const READDIR: u8 = 12;
const REALPATH: u8 = 16;
const READLINK: u8 = 19;
const EXTENDED: u8 = 200;

const STATUS: u8 = 101;
const HANDLE: u8 = 102;
const DATA: u8 = 103;
const NAME: u8 = 104;
const ATTRS: u8 = 105;

/// A caller who sends packets as they are.
struct Raw {
    channel: ChannelStream<client::Msg>,
    _connection: client::Handle<Anyone>,
}

/// Takes every host key.
struct Anyone;

impl client::Handler for Anyone {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _key: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(true)
    }
}

impl Raw {
    async fn open(host: &Host) -> Self {
        let mut connection = client::connect(Arc::default(), host.address, Anyone).await.unwrap();
        assert!(connection.authenticate_none(USER).await.unwrap().success());
        let channel = connection.channel_open_session().await.unwrap();
        channel.request_subsystem(true, "sftp").await.unwrap();
        Self { channel: channel.into_stream(), _connection: connection }
    }

    /// After the version, of which this is the body.
    async fn begin(host: &Host) -> (Self, Vec<u8>) {
        let mut raw = Self::open(host).await;
        raw.channel.write_all(&[0, 0, 0, 5, 1, 0, 0, 0, 3]).await.unwrap();
        let (kind, body) = raw.packet().await.unwrap();
        assert_eq!(kind, 2);
        (raw, body)
    }

    async fn send(&mut self, kind: u8, id: u32, fields: &[&[u8]]) {
        let body = fields.concat();
        let length = u32::try_from(body.len() + 5).unwrap();
        let packet = [&length.to_be_bytes()[..], &[kind], &id.to_be_bytes(), &body].concat();
        self.channel.write_all(&packet).await.unwrap();
    }

    /// A packet without its length.
    async fn packet(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let length = self.channel.read_u32().await?;
        let mut packet = vec![0; length as usize];
        self.channel.read_exact(&mut packet).await?;
        Ok((packet[0], packet[1..].to_vec()))
    }

    /// What a request is answered, without the id, which is that of the request.
    async fn ask(&mut self, kind: u8, fields: &[&[u8]]) -> (u8, Vec<u8>) {
        self.send(kind, 7, fields).await;
        let (kind, body) = self.packet().await.unwrap();
        assert_eq!(body[..4], 7_u32.to_be_bytes());
        (kind, body[4..].to_vec())
    }

    /// The handle that is answered, with its length.
    async fn handle(&mut self, kind: u8, path: &[u8]) -> Vec<u8> {
        let after = if kind == OPEN { &[0, 0, 0, 1, 0, 0, 0, 0][..] } else { &[] };
        let (kind, handle) = self.ask(kind, &[&text(path), after]).await;
        assert_eq!(kind, HANDLE, "{}", String::from_utf8_lossy(path));
        handle
    }

    /// The data at the beginning of a file.
    async fn read(&mut self, handle: &[u8], length: u32) -> (u8, Vec<u8>) {
        self.ask(READ, &[handle, &0_u64.to_be_bytes(), &length.to_be_bytes()]).await
    }
}

fn text(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

/// A host that lets everybody in and has a file with 100 bytes.
fn odd(oddities: impl Into<Vec<Oddity>>) -> Fleet {
    let fleet = Fleet::one(Behaviour { login: Login::Everybody, ..Behaviour::serving(oddities) });
    fs::write(fleet.hosts()[0].home.join("file"), [b'c'; 100]).unwrap();
    fleet
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

/// Runs OpenSSH's `sftp`, with a directory of this machine as its own.
fn sftp(fleet: &Fleet, batch: &str) -> Option<Output> {
    let file = fleet.directory().join("batch");
    fs::write(&file, batch).unwrap();
    let host = &fleet.hosts()[0];
    let mut command = Command::new(find("sftp")?);
    command.arg("-q").arg("-b").arg(file).arg("-F").arg(fleet.ssh_config());
    command.args(["-P", &host.address.port().to_string(), &host.address.ip().to_string()]);
    Some(command.current_dir(fleet.directory()).output().unwrap())
}

#[test]
fn openssh_s_client_does_everything_with_the_good_server() {
    let oddities = [
        vec![],
        vec![Oddity::Shuffled],
        vec![Oddity::BinaryHandles, Oddity::Answer("read", When::From(1), Answer::Half)],
    ];
    for oddities in oddities {
        let fleet = Fleet::one(Behaviour::serving(oddities.clone()));
        let home = fleet.hosts()[0].home.clone();
        let source = fleet.directory().join("source");
        let content: Vec<u8> = (0..3_000_000_u32).map(|place| (place / 7 % 256) as u8).collect();
        fs::write(&source, &content).unwrap();
        fs::set_permissions(&source, fs::Permissions::from_mode(0o640)).unwrap();
        let batch = "put -fp source sub\\ file\nget -p sub\\ file back\nmkdir folder\nput source folder/a\nrename folder/a folder/b\n\
                     ln folder/b folder/hard\nln -s b folder/soft\nchmod 600 folder/b\nls -la folder\nget -r folder copy\n\
                     rm folder/b\ndf .\npwd\nmkdir gone\nrmdir gone\n-rm missing\n";
        let Some(output) = sftp(&fleet, batch) else { return };
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{oddities:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
        for path in [home.join("sub file"), fleet.directory().join("back")] {
            assert!(fs::read(&path).unwrap() == content, "{oddities:?}: {}", path.display());
            let metadata = fs::metadata(&path).unwrap();
            assert_eq!(metadata.mode() & 0o7777, 0o640);
            assert_eq!(metadata.mtime(), fs::metadata(&source).unwrap().mtime());
        }
        for name in ["copy/b", "copy/hard", "copy/soft"] {
            assert!(name == "copy/soft" || fs::read(fleet.directory().join(name)).unwrap() == content, "{name}");
        }
        assert_eq!(fs::metadata(home.join("folder/hard")).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(fs::read_link(home.join("folder/soft")).unwrap().to_str(), Some("b"));
        assert!(!home.join("folder/b").exists() && !home.join("gone").exists());
        assert!(String::from_utf8_lossy(&output.stderr).contains("No such file"), "{said}");
        let host = &fleet.hosts()[0];
        assert!(host.requests().iter().any(|line| line.starts_with("posix-rename ")), "{:?}", host.requests());
        assert_eq!(host.requests_to("fsync"), 1);
        assert!(host.requests_to("write") > 20 && host.requests_to("read") > 20);
        let files = host.counts().files;
        assert!(files.most_outstanding > 1 && files.most_handles >= 1, "{files:?}");
        assert_eq!((files.outstanding, files.handles), (0, 0));
    }
}

#[test]
fn openssh_s_client_complains_of_what_it_cannot_bear() {
    let rows: &[(&[Oddity], &str)] = &[
        (&[Oddity::Noise("welcome to this machine\n")], "Received message too long"),
        (&[Oddity::Answer("open", When::Nth(1), Answer::OtherId)], "ID mismatch"),
        (&[Oddity::Answer("open", When::Nth(1), Answer::Length(u32::MAX))], "Received message too long"),
        (&[Oddity::Answer("any", When::From(3), Answer::Closes)], "Connection closed"),
        (&[Oddity::Answer("write", When::From(2), Answer::Status(4, b"Failure"))], "Failure"),
    ];
    for (oddities, words) in rows {
        let fleet = Fleet::one(Behaviour::serving(*oddities));
        fs::write(fleet.directory().join("source"), vec![b'c'; 1_000_000]).unwrap();
        let Some(output) = sftp(&fleet, "put source there\n") else { return };
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(words), "{oddities:?}: {said}");
    }
}

#[tokio::test]
async fn versions_extensions_and_limits_are_what_was_asked_for() {
    let version = |oddities: &'static [Oddity]| async move {
        let fleet = odd(oddities);
        Raw::begin(&fleet.hosts()[0]).await.1
    };
    assert!(contains(&version(&[]).await, b"posix-rename@openssh.com\0\0\0\x011"));
    assert_eq!(version(&[Oddity::NoExtensions]).await, [0, 0, 0, 3]);
    assert_eq!(version(&[Oddity::NoExtensions, Oddity::Version(6)]).await, [0, 0, 0, 6]);
    let without = version(&[Oddity::Without("posix-rename"), Oddity::Version(2)]).await;
    assert!(without[3] == 2 && contains(&without, b"fsync@") && !contains(&without, b"posix-rename"));

    let fleet = odd([Oddity::Limits([0, 1, u64::MAX, 2])]);
    let (mut raw, _) = Raw::begin(&fleet.hosts()[0]).await;
    let limits = raw.ask(EXTENDED, &[&text(b"limits@openssh.com")]).await.1;
    assert_eq!(limits, [0, 1, u64::MAX, 2].map(u64::to_be_bytes).concat());
    let fleet = odd([Oddity::Without("limits")]);
    let (mut raw, _) = Raw::begin(&fleet.hosts()[0]).await;
    let refused = raw.ask(EXTENDED, &[&text(b"limits@openssh.com")]).await;
    assert_eq!((refused.0, refused.1[3]), (STATUS, 8));
}

#[tokio::test]
async fn each_false_answer_is_the_one_that_was_asked_for() {
    let body = text(&[b'c'; 100]);
    let row = |answer, kind, body: Vec<u8>| (answer, kind, body);
    let rows = [
        row(Answer::Data(0), DATA, text(b"")),
        row(Answer::Data(500), DATA, text(&[b'x'; 500])),
        row(Answer::Half, DATA, text(&[b'c'; 50])),
        row(Answer::Type(105), ATTRS, body.clone()),
        row(Answer::Count(u32::MAX), DATA, [&[255; 4], &[b'c'; 100][..]].concat()),
        row(
            Answer::Status(4, b"\x1b[31m\xff"),
            STATUS,
            [&[0, 0, 0, 4][..], &text(b"\x1b[31m\xff"), &text(b"")].concat(),
        ),
    ];
    for (answer, kind, expected) in rows {
        let fleet = odd([Oddity::Answer("read", When::Nth(2), answer)]);
        let host = &fleet.hosts()[0];
        let (mut raw, _) = Raw::begin(host).await;
        let handle = raw.handle(OPEN, b"file").await;
        for turn in 1..4 {
            let right = if turn == 2 { (kind, expected.clone()) } else { (DATA, body.clone()) };
            assert_eq!(raw.read(&handle, 100).await, right, "{answer:?}, read {turn}");
        }
        assert_eq!((host.requests_to("read"), host.counts().files.handles), (3, 1));
    }
}

#[tokio::test]
async fn false_frames_and_silence_are_those_that_were_asked_for() {
    let path = text(b".");
    let answered = |answer| {
        let path = path.clone();
        async move {
            let fleet = odd([Oddity::Answer("realpath", When::From(1), answer)]);
            let (mut raw, _) = Raw::begin(&fleet.hosts()[0]).await;
            raw.send(REALPATH, 1, &[&path]).await;
            let mut head = [0; 9];
            let first = raw.channel.read_exact(&mut head).await.map(|_| head);
            (fleet, raw, first)
        }
    };
    let (_fleet, _raw, head) = answered(Answer::OtherId).await;
    assert_eq!(head.unwrap()[4..], [&[NAME][..], &(1_u32 + 0x5EED).to_be_bytes()].concat());

    let (_fleet, mut raw, head) = answered(Answer::Length(u32::MAX)).await;
    assert_eq!(head.unwrap()[..4], [255; 4]);
    // A megabyte, and the channel stays open.
    let mut rest = vec![0; (1 << 20) + 4 - 9];
    raw.channel.read_exact(&mut rest).await.unwrap();

    let (_fleet, mut raw, head) = answered(Answer::Length(257 * 1024)).await;
    assert_eq!(head.unwrap()[..4], (257_u32 * 1024).to_be_bytes());
    raw.channel.read_exact(&mut vec![0; 257 * 1024 - 5]).await.unwrap();

    for answer in [Answer::Closes, Answer::Exits(1), Answer::Cut(Cut::Reset)] {
        let (_fleet, _raw, head) = answered(answer).await;
        assert_eq!(head.unwrap_err().kind(), io::ErrorKind::UnexpectedEof, "{answer:?}");
    }
    let (_fleet, mut raw, _) = answered(Answer::Torn).await;
    let mut rest = Vec::new();
    raw.channel.read_to_end(&mut rest).await.unwrap();

    let fleet = odd([Oddity::Answer("realpath", When::Nth(1), Answer::Nothing)]);
    let (mut raw, _) = Raw::begin(&fleet.hosts()[0]).await;
    raw.send(REALPATH, 1, &[&path]).await;
    raw.send(REALPATH, 2, &[&path]).await;
    assert_eq!(raw.packet().await.unwrap().1[..4], 2_u32.to_be_bytes());
}

#[tokio::test]
async fn noise_comes_before_the_version() {
    let fleet = odd([Oddity::Noise("hello\n")]);
    let mut raw = Raw::open(&fleet.hosts()[0]).await;
    let mut first = [0; 6];
    raw.channel.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"hello\n");
}

#[tokio::test]
async fn handles_may_be_any_bytes() {
    let fleet = odd([Oddity::BinaryHandles]);
    let (mut raw, _) = Raw::begin(&fleet.hosts()[0]).await;
    let mut handles = Vec::new();
    for _ in 0..300 {
        handles.push(raw.handle(OPEN, b"file").await);
    }
    for handle in &handles {
        let mut bytes = handle[4..].to_vec();
        bytes.sort_unstable();
        assert_eq!(bytes, (0..=255).collect::<Vec<u8>>());
        assert_eq!(raw.read(handle, 1).await.1, text(b"c"));
    }
    assert_eq!(fleet.hosts()[0].counts().files.most_handles, 300);
    drop(raw);
    fleet.hosts()[0].until("the handles are closed", |counts| counts.files.handles == 0).await;
}

#[tokio::test]
async fn answers_may_come_in_any_order() {
    let fleet = odd([Oddity::Shuffled]);
    let (mut raw, _) = Raw::begin(&fleet.hosts()[0]).await;
    for id in 0..10 {
        raw.send(REALPATH, id, &[&text(b".")]).await;
    }
    let mut ids = Vec::new();
    for _ in 0..10 {
        ids.push(raw.packet().await.unwrap().1[3]);
    }
    assert_ne!(ids, (0..10).collect::<Vec<u8>>());
    ids.sort_unstable();
    assert_eq!(ids, (0..10).collect::<Vec<u8>>());
}

#[tokio::test]
async fn a_write_that_fails_is_not_done_and_those_after_it_are() {
    let fleet = odd([Oddity::Answer("write", When::Nth(2), Answer::Status(4, b"Failure"))]);
    let (mut raw, _) = Raw::begin(&fleet.hosts()[0]).await;
    // To write, and to make it.
    let (_, handle) = raw.ask(OPEN, &[&text(b"new"), &[0, 0, 0, 0b1010, 0, 0, 0, 0]]).await;
    let mut codes = Vec::new();
    for place in 0_u64..3 {
        codes.push(raw.ask(WRITE, &[&handle, &place.to_be_bytes(), &text(b"w")]).await.1[3]);
    }
    assert_eq!(codes, [0, 4, 0]);
    assert_eq!(fs::read(fleet.hosts()[0].home.join("new")).unwrap(), b"w\0w");
}

#[tokio::test]
async fn names_are_made_up_and_lead_to_what_was_planted() {
    const NAMES: &[&[u8]] = &[b"../evil", b"/etc/evil", b"", b".", b"..", b"a\0b", b"a/b"];
    let fleet = odd([Oddity::Names(NAMES)]);
    let (mut raw, _) = Raw::begin(&fleet.hosts()[0]).await;
    let handle = raw.handle(OPENDIR, b".").await;
    let (_, listing) = raw.ask(READDIR, &[&handle]).await;
    for name in NAMES {
        assert!(contains(&listing, &text(name)));
        let file = raw.handle(OPEN, &[b"dir/", *name].concat()).await;
        assert_eq!(raw.read(&file, 1000).await, (DATA, text(PLANTED)));
    }
    assert!(contains(&listing, &text(b"file")));
    assert_eq!(raw.ask(READDIR, &[&handle]).await.1[..4], [0, 0, 0, 1]);
}

#[tokio::test]
async fn a_trap_is_a_link_first_and_a_directory_then() {
    let fleet = odd([Oddity::Trap("trap", "/somewhere/else")]);
    let home = &fleet.hosts()[0].home;
    symlink("elsewhere", home.join("good")).unwrap();
    let (mut raw, _) = Raw::begin(&fleet.hosts()[0]).await;
    let handle = raw.handle(OPENDIR, b".").await;
    let (_, listing) = raw.ask(READDIR, &[&handle]).await;
    assert_eq!(listing.windows(8).filter(|window| *window == text(b"trap")).count(), 2);
    let mode = |answer: (u8, Vec<u8>)| u32::from_be_bytes(answer.1[answer.1.len() - 12..][..4].try_into().unwrap());
    assert_eq!(mode(raw.ask(LSTAT, &[&text(b"./trap")]).await) & 0o170_000, 0o120_000);
    assert_eq!(mode(raw.ask(LSTAT, &[&text(b"./trap")]).await) & 0o170_000, 0o040_000);
    let target = raw.ask(READLINK, &[&text(b"./trap")]).await;
    assert!(target.0 == NAME && contains(&target.1, b"/somewhere/else"));
    assert!(contains(&raw.ask(READLINK, &[&text(b"good")]).await.1, b"elsewhere"));
    let inside = raw.handle(OPENDIR, b"./trap").await;
    assert!(contains(&raw.ask(READDIR, &[&inside]).await.1, &text(b"planted")));
    let file = raw.handle(OPEN, b"./trap/planted").await;
    assert_eq!(raw.read(&file, 1000).await, (DATA, text(PLANTED)));
}

#[tokio::test]
async fn a_listing_may_never_end() {
    let fleet = odd([Oddity::EndlessListing]);
    let (mut raw, _) = Raw::begin(&fleet.hosts()[0]).await;
    let handle = raw.handle(OPENDIR, b".").await;
    let mut last = Vec::new();
    for _ in 0..50 {
        let (kind, names) = raw.ask(READDIR, &[&handle]).await;
        assert!(kind == NAME && names != last);
        last = names;
    }
}

#[tokio::test]
async fn a_packet_out_of_proportion_ends_the_server() {
    let fleet = odd([]);
    let (mut raw, _) = Raw::begin(&fleet.hosts()[0]).await;
    raw.channel.write_all(&(256_u32 * 1024 + 1).to_be_bytes()).await.unwrap();
    assert_eq!(raw.packet().await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}
