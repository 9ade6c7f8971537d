use super::*;
use crate::nodeset::{expand, fold};
use std::io;

/// `web01`–`web05`, `db1`–`db3`, an address and an FQDN; `prod` spans web and db, `empty` has nobody.
fn fleet() -> HostTable {
    let names = expand("web[01-05],db[1-3],10.0.0.7,mail.example.com,::2,rack1,rack2").unwrap();
    let mut table = HostTable::of_inventory(names.iter().map(|name| HostName::new(name).unwrap()));
    let all: Vec<u32> = (0..table.host_total()).collect();
    table.set_group("all", all);
    table.set_group("ungrouped", vec![8, 9, 10]);
    table.set_group("web", vec![0, 1, 2, 3, 4]);
    table.set_group("db", vec![5, 6, 7]);
    table.set_group("prod", vec![7, 5, 0, 1]);
    table.set_group("canary", vec![0]);
    table.set_group("empty", vec![]);
    table.set_group("row1", vec![11]);
    table.set_group("row2", vec![12]);
    table
}

/// Lists by name; `stdin` is standard input.
struct Written(&'static [(&'static str, &'static str)]);

impl Lists for Written {
    fn read(&mut self, source: &ListSource) -> io::Result<String> {
        let name = match source {
            ListSource::File(path) => path.to_str().unwrap(),
            ListSource::StandardInput => "stdin",
        };
        let found = self.0.iter().find(|(list, _)| *list == name);
        found.map(|(_, text)| (*text).to_owned()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

const LISTS: Written = Written(&[
    ("hosts.txt", "# the first two\nweb02   # two\n\n  web01,db1\r\ndeploy@new.example.com:2222\n"),
    ("down.txt", "web03\nlong.gone.example.com\ngone\n"),
    ("slip.txt", "web01\n  wbe02 # oops\n"),
    ("loop.txt", "web01\n^loop.txt\n"),
    ("outer.txt", "web05\n^hosts.txt\n"),
    ("nothing.txt", "# nobody\n"),
    ("stdin", "db2\ndb1\n"),
]);

fn select_in(
    population: &HostTable,
    targets: &str,
    limits: &[&str],
    excludes: &[&str],
) -> Result<Selection, SelectionError> {
    let own = |expressions: &[&str]| expressions.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    let request = Request { targets, limits: &own(limits), excludes: &own(excludes) };
    select(population, &request, &mut Written(LISTS.0))
}

/// The selected names in order, with users and ports, or the error.
fn answer(result: Result<Selection, SelectionError>) -> String {
    let selection = match result {
        Ok(selection) => selection,
        Err(error) => return format!("error: {error}"),
    };
    let show = |host: &Selected| {
        let user = host.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        let port = host.port.map(|port| format!(" port {port}")).unwrap_or_default();
        let known = if matches!(host.origin, Origin::Implicit(_)) { " (implicit)" } else { "" };
        format!("{user}{}{port}{known}", host.name)
    };
    selection.hosts.iter().map(show).collect::<Vec<_>>().join(" ")
}

#[test]
fn every_form_of_the_table_selects_its_hosts_in_order() {
    let fleet = fleet();
    let mut wrong = Vec::new();
    for (targets, expected) in [
        // Hosts.
        ("web01", "web01"),
        ("db2,web01,db2", "db2 web01"),
        (" web02 , web01 ", "web02 web01"),
        ("deploy@web01:2222", "deploy@web01 port 2222"),
        ("web01:2222", "web01 port 2222"),
        ("user@realm@web01", "user@realm@web01"),
        ("ssh://u@h:22", "u@h port 22 (implicit)"),
        ("ssh://web01", "web01"),
        ("ssh://u@[::1]:2200/", "u@::1 port 2200 (implicit)"),
        ("new.example.com", "new.example.com (implicit)"),
        ("localhost", "localhost (implicit)"),
        ("u@nowhere", "u@nowhere (implicit)"),
        ("nowhere:22", "nowhere port 22 (implicit)"),
        ("192.0.2.1", "192.0.2.1 (implicit)"),
        ("::1", "::1 (implicit)"),
        ("[::1]", "::1 (implicit)"),
        ("[::1]:22", "::1 port 22 (implicit)"),
        ("root@::1", "root@::1 (implicit)"),
        ("root@[fe80::1%eth0]:22", "root@fe80::1%eth0 port 22 (implicit)"),
        ("::2", "::2"),
        ("[::2]:22", "::2 port 22"),
        ("::1,web01", "::1 (implicit) web01"),
        ("[::1]:22:web01", "::1 port 22 (implicit) web01"),
        ("web01:[::1]:22", "web01 ::1 port 22 (implicit)"),
        ("2001:db8::1:2222", "2001:db8::1:2222 (implicit)"),
        // Ranges.
        ("web[01-03]", "web01 web02 web03"),
        ("web[01-05/2]", "web01 web03 web05"),
        ("web[01:03]", "web01 web02 web03"),
        ("db[1-2,3]", "db1 db2 db3"),
        ("db[3,1]", "db3 db1"),
        ("deploy@web[01-02]:2222", "deploy@web01 port 2222 deploy@web02 port 2222"),
        ("n[1-2].example.com", "n1.example.com (implicit) n2.example.com (implicit)"),
        ("2001:db8::[1-2]", "2001:db8::1 (implicit) 2001:db8::2 (implicit)"),
        ("ssh://[a:c]", "a (implicit) b (implicit) c (implicit)"),
        ("row[1-2]", "rack1 rack2"),
        ("@row[1-2]", "rack1 rack2"),
        // Groups.
        ("web", "web01 web02 web03 web04 web05"),
        ("@db", "db1 db2 db3"),
        ("prod", "db3 db1 web01 web02"),
        ("db,web[01-02]", "db1 db2 db3 web01 web02"),
        ("@d*", "db1 db2 db3"),
        ("empty,web01", "web01"),
        // Patterns.
        ("web0[12]", "error: no host or group is called `web0[12]`"),
        ("web0[!12]", "web03 web04 web05"),
        ("web[a-z0]*", "web01 web02 web03 web04 web05"),
        ("db?", "db1 db2 db3"),
        ("d*", "db1 db2 db3"),
        ("ca*", "web01"),
        ("*.example.com", "mail.example.com"),
        ("web0[1-2]*", "web01 web02"),
        (r"~web\d+", "web01 web02 web03 web04 web05"),
        (r"~web0[12]$", "web01 web02"),
        ("~(web|db)0?1", "web01 db1"),
        ("~db[1,2]", "db1 db2"),
        (r"~^web0{1,2}1,db1", "web01 db1"),
        (r"~db1|^web02:db3", "web02 db1 db3"),
        (r"~(?i)DB1&~db", "db1"),
        ("~1", "10.0.0.7"),
        // Positions.
        ("web[0]", "web01"),
        ("web[-1]", "web05"),
        ("web[-5]", "web01"),
        ("web[0:2]", "web01 web02 web03"),
        ("web[3:]", "web04 web05"),
        ("web[3:99]", "web04 web05"),
        ("@prod[1:2]", "db1 web01"),
        ("web*[1]", "web02"),
        ("all[5]", "db1"),
        ("*[-1]", "rack2"),
        // Left to right.
        ("web&prod", "web01 web02"),
        ("prod&web", "web01 web02"),
        ("web!web0[2-4]", "web01 web05"),
        ("web!web[02-04]", "web01 web05"),
        ("prod^web", "db3 db1 web03 web04 web05"),
        ("web,db!prod", "web03 web04 web05 db2"),
        ("web!prod,db", "web03 web04 web05 db1 db2 db3"),
        ("web01,db&db,web02", "db1 db2 db3 web02"),
        ("db ! db1 , web01", "db2 db3 web01"),
        ("all!all,web01", "web01"),
        // Ansible's.
        ("web01:db1", "web01 db1"),
        ("web:&prod", "web01 web02"),
        ("web:!prod:db", "web03 web04 web05 db2"),
        ("web:&prod,db", "web01 web02 db1 db3"),
        ("web,&prod,!canary", "web02"),
        ("!web:&prod", "db1 db3"),
        ("&canary", "web01"),
        ("web: &prod : !canary", "web02"),
        ("web01:22:db1", "web01 port 22 db1"),
        // Lists.
        ("^hosts.txt", "web02 web01 db1 deploy@new.example.com port 2222 (implicit)"),
        ("web05,^hosts.txt", "web05 web02 web01 db1 deploy@new.example.com port 2222 (implicit)"),
        ("^outer.txt!^hosts.txt", "web05"),
        ("web:^hosts.txt:&db", "db1"),
        ("-", "db2 db1"),
        ("web01,-", "web01 db2 db1"),
        ("web[01-03]!^down.txt", "web01 web02"),
        ("web^^hosts.txt&web", "web03 web04 web05"),
        // Nothing between commas.
        ("web01,,db1,", "web01 db1"),
    ] {
        let answer = answer(select_in(&fleet, targets, &[], &[]));
        if answer != expected {
            wrong.push(format!("{targets}\n  selects  {answer}\n  expected {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn everybody_is_the_group_all_in_its_order() {
    let mut fleet = fleet();
    let everybody = (0..fleet.host_total()).rev().skip(2).collect();
    fleet.set_group("all", everybody);
    for targets in ["all", "*", "@*", "@all", "all,*"] {
        let selection = select_in(&fleet, targets, &[], &[]).unwrap();
        assert_eq!(selection.hosts.len(), 11, "{targets}");
        assert_eq!(selection.hosts[0].name.as_str(), "::2", "{targets}");
    }
    let mut plain = HostTable::of_inventory([HostName::new("one").unwrap()]);
    assert_eq!(answer(select_in(&plain, "all", &[], &[])), "one");
    plain.set_group("all", vec![]);
    assert_eq!(answer(select_in(&plain, "all", &[], &[])), "error: `all` selects no host");
}

#[test]
fn patterns_do_not_match_the_groups_that_nobody_wrote() {
    let fleet = fleet();
    for targets in ["al*", "un*", "~a", "~ungrouped"] {
        assert!(answer(select_in(&fleet, targets, &[], &[])).contains("no host or group matches"), "{targets}");
    }
    assert_eq!(answer(select_in(&fleet, "ungrouped", &[], &[])), "10.0.0.7 mail.example.com ::2");
}

#[test]
fn limits_intersect_and_exclusions_leave_out() {
    let fleet = fleet();
    for (targets, limits, excludes, expected) in [
        ("web,db", &["prod"][..], &[][..], "web01 web02 db1 db3"),
        ("web,db", &["prod", "web"], &[], "web01 web02"),
        ("web,db", &["prod"], &["canary", "db3"], "web02 db1"),
        ("web", &["!canary"], &[], "web02 web03 web04 web05"),
        ("web:!canary", &["web&prod"], &[], "web02"),
        (
            "web",
            &["^hosts.txt!web01"],
            &[],
            "error: hosts.txt:5:1: `new.example.com` is not in the inventory and not among the hosts selected before it",
        ),
        (
            "web,new.example.com",
            &["^hosts.txt"],
            &[],
            "error: hosts.txt:5:1: `new.example.com` is not in the inventory and not among the hosts selected before it",
        ),
        (
            "web,deploy@new.example.com:2222",
            &["^hosts.txt"],
            &[],
            "web01 web02 deploy@new.example.com port 2222 (implicit)",
        ),
        ("web", &[], &["^down.txt"], "web01 web02 web04 web05"),
        ("10.9.9.9,10.9.9.8,web01", &["!web"], &[], "10.9.9.9 (implicit) 10.9.9.8 (implicit)"),
        ("10.9.9.9,10.9.9.8,web01", &[], &["10.9.9.*"], "web01"),
        ("10.9.9.9:22,10.9.9.9:23,web01", &[], &["10.9.9.9:22"], "10.9.9.9 port 23 (implicit) web01"),
        ("10.9.9.9:22,10.9.9.9:23,web01", &[], &["10.9.9.9"], "web01"),
        ("web", &["db"], &[], "error: --limit: no host is left: none of the hosts of `web` is in `db`"),
        ("web", &["empty"], &[], "error: --limit: `empty` selects no host"),
        ("web", &[], &["all"], "error: --exclude: no host is left: `all` takes away every host"),
        ("web", &[], &["empty"], "web01 web02 web03 web04 web05"),
        ("web", &["wbe"], &[], "error: --limit: no host or group is called `wbe`"),
        (
            "web",
            &[],
            &["web9.example.com"],
            "error: --exclude: `web9.example.com` is not in the inventory and not among the hosts selected before it",
        ),
        ("web", &[], &["root@web9"], "error: --exclude: no host or group is called `web9`"),
    ] {
        assert_eq!(answer(select_in(&fleet, targets, limits, excludes)), expected, "{targets} {limits:?} {excludes:?}");
    }
}

#[test]
fn without_an_inventory_every_name_is_a_host() {
    let mut nobody = HostTable::default();
    for (targets, expected) in [
        ("web01,web02", "web01 (implicit) web02 (implicit)"),
        ("web[01-03]!web02", "web01 (implicit) web03 (implicit)"),
        ("web01:22:web02", "web01 port 22 (implicit) web02 (implicit)"),
        ("[a:c]", "a (implicit) b (implicit) c (implicit)"),
        ("web[0:1]", "web0 (implicit) web1 (implicit)"),
        ("web*", "error: no host or group matches `web*`"),
        ("@web", "error: no group is called `web`"),
        ("all", "error: `all` selects no host"),
        ("web01!web03", "error: no host or group is called `web03`"),
        ("-o", "error: the host name `-o` begins with `-`"),
    ] {
        assert_eq!(answer(select_in(&nobody, targets, &[], &[])), expected, "{targets}");
    }
    nobody.set_group("ssh_config", vec![]);
    assert_eq!(answer(select_in(&nobody, "web01", &[], &[])), "web01 (implicit)");
}

#[test]
fn hosts_that_share_an_address_are_told_apart_by_name() {
    let fleet = fleet();
    for (targets, expected) in [
        ("127.0.0.1:2201,127.0.0.1:2202", "127.0.0.1:2201 127.0.0.1:2202"),
        ("127.0.0.1:2201,127.0.0.1:2201", "127.0.0.1"),
        ("[::1]:2201,[::1]:2202", "[::1]:2201 [::1]:2202"),
        ("a.b,root@a.b", "a.b root@a.b"),
    ] {
        let selection = select_in(&fleet, targets, &[], &[]).unwrap();
        let names: Vec<_> = selection.names().map(HostName::as_str).collect();
        assert_eq!(names.join(" "), expected, "{targets}");
    }
    let folded = select_in(&fleet, "127.0.0.1:[2201-2203]", &[], &[]);
    assert!(folded.is_err(), "a range of ports is not a port");
}

#[test]
fn mistakes_are_shown_where_they_are_with_what_to_write() {
    let fleet = fleet();
    for (targets, message, underlined, hint) in [
        ("", "no targets are given", "", Some("write a host, a group or `all`")),
        (" , ", "no targets are given", " , ", Some("write a host")),
        ("wbe01,db", "no host or group is called `wbe01`", "wbe01", Some("did you mean `web01`?")),
        ("web,caanry", "no host or group is called `caanry`", "caanry", Some("did you mean `canary`?")),
        ("web[03-07]", "no host or group is called `web[06-07]`", "web[03-07]", Some("there are `web[03-05]`")),
        ("unheard-of", "no host or group is called `unheard-of`", "unheard-of", Some("`ssh://NAME`")),
        ("@wbe", "no group is called `wbe`", "@wbe", Some("did you mean `web`?")),
        ("@./hosts.txt", "no group is called `./hosts.txt`", "@./hosts.txt", Some("written `^./hosts.txt`")),
        ("./hosts.txt", "contains `/`", "./hosts.txt", Some("`^FILE`")),
        ("web,zz*", "no host or group matches `zz*`", "zz*", None),
        ("@zz*", "no host or group matches `@zz*`", "@zz*", None),
        ("web:!ghost", "no host or group is called `ghost`", "ghost", None),
        ("web!", "a name is missing after `!`", "!", None),
        ("web&", "a name is missing after `&`", "&", Some("quote the targets")),
        ("web&!db", "a name is missing after `&`", "!", Some("quote the targets")),
        ("web:", "a name is missing after `:`", ":", Some("IPv6")),
        ("web::db", "a name is missing after `:`", ":", Some("IPv6")),
        (":web", "a name is missing before `:`", ":", Some("IPv6")),
        ("2001:db8::xyz", "a name is missing after `:`", ":", Some("IPv6")),
        ("web01 web02", "nothing separates this", "web02", Some("write `,` between names")),
        ("web:&prod!db", "`:&` and `!` are of two forms", "!", Some("throughout")),
        ("web&prod:db", "`:` and `&` are of two forms", "&", Some("throughout")),
        ("web^db,!prod", "`,!` and `^` are of two forms", "^", Some("throughout")),
        ("!web&db", "`!` and `&` are of two forms", "&", Some("throughout")),
        ("db,web[01-", "the bracket is never closed", "[01-", None),
        ("web[05-01]", "runs backwards", "05-01]", Some("write `[01-05]`")),
        ("web[1-100]x[1-100000]", "10000000 names", "[1-100000]", None),
        ("root@web[a-b]", "`web[a-b]` is not a single host", "root@web[a-b]", Some("--user")),
        ("web01:99999", "`99999` is not a port", "web01:99999", None),
        ("web01:0", "`0` is not a port", "web01:0", None),
        ("[::1]x", "`x` follows an address", "[::1]x", None),
        ("web{01,02}", "braces mean nothing", "web{01", Some("web[01-20]")),
        ("web01;reboot", "contains `;`", "web01;reboot", None),
        ("$(id)@web01", "contains `$`", "$(id)@web01", None),
        ("-oProxyCommand=x.y", "begins with `-`", "-oProxyCommand=x.y", Some("--exclude")),
        ("web,~(db", "`(db` is not a regular expression", "~(db", None),
        ("web,~db)|(web", "is not a regular expression", "~db)|(web", None),
        ("web[[", "the bracket is never closed", "[[", None),
        ("deploy@web", "`web` is not a single host", "deploy@web", Some("--user")),
        ("root@all", "`all` is not a single host", "root@all", Some("--user")),
        ("root@web*", "`web*` is not a single host", "root@web*", Some("--user")),
        ("root@web01,deploy@web01", "`web01` is written with two different users", "deploy@web01", None),
        ("web01,web01:2222", "`web01` is written with two different users or ports", "web01:2222", None),
        ("web[01-02]:2222,web02", "`web02` is written with two different users or ports", "web02", None),
        ("web[5]", "`web` has 5 hosts and no position 5", "web[5]", Some("count from 0")),
        ("web[-6]", "no position -6", "web[-6]", Some("count from 0")),
        ("empty[0]", "`empty` has 0 hosts and no position 0", "empty[0]", None),
        ("web[3:1]", "the positions of `web` run backwards", "web[3:1]", Some("write `web[1:3]`")),
        ("web[9:]", "`web[9:]` selects no host", "web[9:]", None),
        ("db[0-2]", "no host or group is called `db0`", "db[0-2]", Some("of this range there are `db[1-2]`")),
        ("prod[0-2]", "no host or group is called `prod[0-2]`", "prod[0-2]", Some("did you mean `prod[0:2]`?")),
        ("web,prod[:2]", "no host or group is called `prod[:2]`", "prod[:2]", Some("did you mean `prod[0:2]`?")),
        ("all[:2]", "no host or group is called `all[:2]`", "all[:2]", Some("did you mean `all[0:2]`?")),
        ("@prod[0-2]", "no group is called `prod[0-2]`", "@prod[0-2]", Some("did you mean `@prod[0:2]`?")),
        ("wbe[1-2]", "no host or group is called `wbe[1-2]`", "wbe[1-2]", None),
        ("^", "the name of a file is missing", "^", None),
        ("web,^", "the name of a file is missing", "^", None),
        ("^gone.txt", "the list `gone.txt` can't be read", "^gone.txt", None),
        ("^slip.txt", "slip.txt:2:3: no host or group is called `wbe02`", "wbe02", Some("did you mean `web02`")),
        ("^loop.txt", "loop.txt:2:1: the list `loop.txt` includes itself", "^loop.txt", None),
        ("^nothing.txt", "`^nothing.txt` selects no host", "^nothing.txt", None),
        ("empty", "`empty` selects no host", "empty", None),
        ("web!web", "no host is left: `web` takes away every host", "web", None),
        ("web&db", "no host is left: none of the hosts before it is in `db`", "db", None),
        ("web:&prod:!prod", "no host is left: `prod` takes away every host", "prod", None),
        ("web^web", "no host is left: `web` is the same hosts", "web", None),
        ("web!10.1.1.1", "`10.1.1.1` is not in the inventory and not among", "10.1.1.1", None),
    ] {
        let error = select_in(&fleet, targets, &[], &[]).expect_err(targets);
        assert!(error.to_string().contains(message), "{targets}: {error}");
        assert_eq!(&error.expression[error.span.clone()], underlined, "{targets}: {error}");
        match (hint, error.hint()) {
            (Some(hint), Some(shown)) => assert!(shown.contains(hint), "{targets}: {shown}"),
            (None, _) => {}
            (Some(_), None) => panic!("{targets}: {error} has no hint"),
        }
    }
}

#[test]
fn an_error_underlines_its_place() {
    let excerpt = |targets: &str| select_in(&fleet(), targets, &[], &[]).expect_err(targets).excerpt();
    assert_eq!(excerpt("web,wbe01,db"), "web,wbe01,db\n    ^^^^^");
    assert_eq!(excerpt("bücher.de,wbe"), "bücher.de,wbe\n          ^^^");
    assert_eq!(excerpt(""), "\n^");
    assert_eq!(excerpt("web01,wb\te"), "web01,wb\u{fffd}e\n         ^");
    let long = format!("{},wbe,{}", ["web01"; 100].join(","), ["web02"; 100].join(","));
    let excerpt = excerpt(&long);
    assert_eq!(excerpt.lines().count(), 2);
    assert!(excerpt.lines().all(|line| line.chars().count() < 100), "{excerpt}");
    let (shown, carets) = excerpt.split_once('\n').unwrap();
    let at = carets.chars().count() - 3;
    assert_eq!(shown.chars().skip(at).take(3).collect::<String>(), "wbe");
}

#[test]
fn nobody_selected_is_told_from_a_mistake() {
    let fleet = fleet();
    for (targets, nobody) in
        [("empty", true), ("web!web", true), ("^nothing.txt", true), ("wbe", false), ("web!", false)]
    {
        assert_eq!(select_in(&fleet, targets, &[], &[]).expect_err(targets).is_nobody(), nobody, "{targets}");
    }
}

#[test]
fn a_list_is_read_once_however_often_it_is_named() {
    struct Once(bool);
    impl Lists for Once {
        fn read(&mut self, _: &ListSource) -> io::Result<String> {
            assert!(!std::mem::replace(&mut self.0, true), "read twice");
            Ok("web01\nweb02\n".into())
        }
    }
    let limits = ["-".to_owned()];
    let request = Request { targets: "-,-", limits: &limits, excludes: &[] };
    let selection = select(&fleet(), &request, &mut Once(false)).unwrap();
    assert_eq!(fold(selection.names().map(HostName::as_str)), "web[01-02]");
}
