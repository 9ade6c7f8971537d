use crate::bugle::*;
use crate::fleet::*;

fn show(what: &str, answer: Answer) {
    eprintln!("===== {what} -> {}\n--- out\n{}--- err\n{}", answer.code(), answer.stdout, answer.stderr);
}

#[test]
fn explore() {
    let fleet = Fleet::start(6);
    let list: &[&[&str]] = &[
        &["run", "all", "echo", "hello"],
        &["run", "web01", "echo", "hello"],
        &["run", "web01", "exit 3"],
        &["run", "all", "--output", "group", "hostname; [ $FLEET_HOST != web02 ] || exit 3"],
        &["run", "all", "--output", "group", "echo same; [ $FLEET_HOST != web02 ] || { echo bad >&2; exit 3; }"],
        &["run", "all", "--output", "diff", "echo same; [ $FLEET_HOST != web02 ] || { echo bad >&2; exit 3; }"],
        &["run", "all", "--output", "none", "echo same; [ $FLEET_HOST != web02 ] || { echo bad >&2; exit 3; }"],
        &["run", "web", "--output", "json", "echo same; [ $FLEET_HOST != web02 ] || { echo bad >&2; exit 3; }"],
        &["run", "web[01-02]", "--output", "none", "--json", "-", "--junit", "-", "echo x"],
        &["run", "web[01-02]", "--junit", "-", "echo x; exit 3"],
        &["run", "web01", "-v", "true"],
        &["run", "web01", "-vv", "true"],
        &["run", "web01", "-vvv", "true"],
        &["run", "web", "-v", "--serial", "1,2", "--pause", "10ms", "true"],
        &["run", "web", "-q", "false"],
        &["run", "all", "--serial", "2", "--max-fail", "1", "false"],
        &["run", "all", "-f1", "--fail-fast", "false"],
        &["run", "all", "--serial", "2", "false"],
        &["run", "all", "--dry-run", "uptime"],
        &["run", "all", "--dry-run", "--serial", "1,50%", "uptime"],
        &["run", "all", "--dry-run", "--template", "echo {{ inventory_hostname }} {{ group_names }}"],
        &["run", "all", "--template", "echo {{ nope }}"],
        &["run", "web", "--sudo", "id -un"],
        &["run", "web01", "--env", "A=it's", "--chdir", "/", "echo $A; pwd"],
        &["run", "web01", "--env", "A-B=1", "echo $A; pwd"],
        &["run", "web01", "--tty", "echo $TERM; echo err >&2"],
        &["run", "web01", "--exit", "run", "exit 4"],
        &["run", "all", "--exit", "remote", "[ $FLEET_HOST != web02 ] || exit 9"],
        &["run", "nobody", "true"],
        &["run", "wbe01", "true"],
        &["run", "web[01-", "true"],
        &["run", "web01,db01&&x", "true"],
        &["run", "web,db:web", "true"],
        &["run", "all", "-x", "all", "true"],
        &["hosts", "all"],
        &["hosts", "all", "--fold"],
        &["hosts", "all", "--count"],
        &["hosts", "web01,db", "--groups"],
        &["hosts", "web01", "--json"],
        &["hosts", "web01", "--json", "-"],
        &["hosts", "all", "--limit", "web", "-x", "web01"],
        &["inventory", "--list"],
        &["inventory", "--host", "web01"],
        &["inventory", "--host", "wbe01"],
        &["inventory", "--graph"],
        &["inventory", "--graph", "web"],
        &["inventory", "--graph", "--vars"],
        &["inventory", "--check"],
        &["inventory"],
        &["config", "web01"],
        &["config", "web01", "--explain"],
        &["run", "all", "--ask-pass", "true"],
        &["run", "all", "-K", "true"],
        &["run", "all", "--pass-fd", "9", "true"],
        &["run", "all", "--timeuot", "9", "true"],
        &["run", "all", "--timeout", "9x", "true"],
        &["run", "all", "--fanout", "0", "true"],
        &["run", "all", "--output", "gruop", "true"],
        &["run", "all", "--serial", "0", "true"],
        &["run", "all", "-o", "Prot=1", "true"],
        &["run", "all", "-o", "Port=x", "true"],
        &["run", "all", "-J", "a b", "true"],
        &["run", "all", "-l", "a;b", "true"],
        &["run", "all", "--port", "0", "true"],
        &["run", "all", "-I", "/nonexistent", "true"],
        &["run", "all", "--outdir", "/proc/x", "true"],
        &["run", "all", "--json", "/nonexistent/x", "true"],
        &["run", "all"],
        &["script", "all", "/nonexistent"],
        &["run", "a;b", "true"],
        &["run", "web01", "-J", "web02", "echo via"],
        &["run", "web01", "-l", "nobody", "true"],
        &["rnu"],
        &["completions", "tcsh"],
    ];
    for arguments in list {
        show(&arguments.join(" "), Bugle::on(&fleet).args(*arguments).run());
    }
}

#[test]
fn explore_faults() {
    let all = [
        ("absent", Behaviour::receiving(Reception::Absent)),
        ("deaf", Behaviour::receiving(Reception::Deaf)),
        ("silent", Behaviour::receiving(Reception::Silent)),
        ("tarpit", Behaviour::receiving(Reception::Tarpit(std::time::Duration::from_millis(100)))),
        ("http", Behaviour::receiving(Reception::Says("HTTP/1.1 400 Bad Request\r\n\r\n"))),
        ("oldssh", Behaviour::receiving(Reception::Says("SSH-1.5-old\r\n"))),
        ("throttled", Behaviour::receiving(Reception::Says("Exceeded MaxStartups\r\n"))),
        ("penalty", Behaviour::receiving(Reception::Says("Not allowed at this time\r\n"))),
        ("closes", Behaviour::receiving(Reception::Closes)),
        ("resets", Behaviour::receiving(Reception::Resets)),
        ("namesitself", Behaviour::receiving(Reception::NamesItselfOnly)),
        ("resetskex", Behaviour::receiving(Reception::ResetsInKeyExchange)),
        ("nonsense", Behaviour::receiving(Reception::SpeaksNonsense)),
        ("chatty", Behaviour::receiving(Reception::Chatty("welcome\r\n"))),
        ("unknown", Behaviour::showing(HostKey::Unknown)),
        ("changed", Behaviour::showing(HostKey::Changed)),
        ("revoked", Behaviour::showing(HostKey::Revoked)),
        ("certified", Behaviour::showing(HostKey::Certified(Certified::Rightly))),
        ("certother", Behaviour::showing(HostKey::Certified(Certified::ForAnotherName))),
        ("certpast", Behaviour::showing(HostKey::Certified(Certified::InThePast))),
        ("nobody", Behaviour::letting_in(Login::Nobody)),
        ("nobodyfor", Behaviour::letting_in(Login::NobodyFor(1))),
        ("stalls", Behaviour::letting_in(Login::Stalls)),
        ("password", Behaviour::letting_in(Login::Only(russh::MethodKind::Password))),
        ("refused", Behaviour::executing(Exec::Refused)),
        ("nostatus", Behaviour::executing(Exec::NoStatus)),
        ("cutreset", Behaviour::executing(Exec::Cut(Cut::Reset))),
        ("cutclose", Behaviour::executing(Exec::Cut(Cut::Close))),
        ("latestderr", Behaviour::executing(Exec::LateStderr)),
        ("nokex", Behaviour::taking(&[russh::kex::DH_G1_SHA1], &[], &[])),
        ("nocipher", Behaviour::taking(&[], &[russh::cipher::AES_256_CBC], &[])),
        ("nomac", Behaviour::taking(&[], &[russh::cipher::AES_128_CTR], &[russh::mac::HMAC_SHA1])),
    ];
    let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
    let fleet = Fleet::of(all.clone());
    show("all", Bugle::on(&fleet).args(["run", "all", "--connect-timeout", "3s", "--retries", "1", "echo ran"]).run());
    for name in names {
        show(name, Bugle::on(&fleet).args(["run", name, "--connect-timeout", "2s", "--retries", "0", "echo ran"]).run());
    }
}
