use super::*;

fn names(list: &str) -> String {
    expand(list).unwrap_or_else(|error| panic!("{list}: {error}")).join(" ")
}

#[test]
fn ranges_mean_the_names_that_clustershell_and_ansible_read_in_them() {
    for (list, expected) in [
        ("web01", "web01"),
        ("web[01-03]", "web01 web02 web03"),
        ("web[1-3]", "web1 web2 web3"),
        ("web[8-11]", "web8 web9 web10 web11"),
        ("web[08-11]", "web08 web09 web10 web11"),
        ("web[01-10/3]", "web01 web04 web07 web10"),
        ("web[1-4,7]", "web1 web2 web3 web4 web7"),
        ("web[7,1-2]", "web7 web1 web2"),
        ("web[1-3,2-4]", "web1 web2 web3 web4"),
        ("web[5]", "web5"),
        ("web[005]", "web005"),
        ("r[1-2]n[1-2,7]", "r1n1 r1n2 r1n7 r2n1 r2n2 r2n7"),
        ("web[01:03]", "web01 web02 web03"),
        ("web[01:05:2]", "web01 web03 web05"),
        ("web[:2]", "web0 web1 web2"),
        ("[a:c]", "a b c"),
        ("db-[a:e:2].lan", "db-a.lan db-c.lan db-e.lan"),
        ("db-[X:Z]", "db-X db-Y db-Z"),
        ("[1-3]", "1 2 3"),
        ("web[ 1 - 2 , 4 ]", "web1 web2 web4"),
        ("a,b[1-2],a", "a b1 b2"),
        ("web1[0-1]0", "web100 web110"),
        ("a[1-2][x:y]", "a1x a1y a2x a2y"),
        ("2001:db8::[9-11]", "2001:db8::9 2001:db8::10 2001:db8::11"),
        ("web[9999999999999999998-9999999999999999999]", "web9999999999999999998 web9999999999999999999"),
    ] {
        assert_eq!(names(list), expected, "{list}");
    }
}

#[test]
fn wrong_ranges_are_refused_with_their_column_and_what_to_write() {
    for (list, column, message, hint) in [
        ("", 1, "a name is missing", None),
        ("a,,b", 3, "a name is missing", None),
        ("web[1-3", 4, "the bracket is never closed", None),
        ("web1-3]", 7, "`]` closes no bracket", None),
        ("web[]", 5, "a range is missing", Some("`[01-20]`")),
        ("web[1,,2]", 7, "a range is missing", Some("`[01-20]`")),
        ("web[1-x]", 5, "`x` is not a number", Some("`[01-20]`")),
        ("web[1-2-3]", 5, "`2-3` is not a number", Some("`[01-20]`")),
        ("web[a-c]", 5, "letters are counted with `:`", Some("write `[a:c]`")),
        ("web[aa:ac]", 5, "`aa` is not a number", Some("`[a:f]`")),
        ("web[a:C]", 5, "runs backwards", Some("write `[C-a]`")),
        ("web[01-100]", 5, "padded to different widths", Some("write `[001-100]`")),
        ("web[1-010]", 5, "padded to different widths", Some("write `[001-010]`")),
        ("ä,web[1,9-1]", 9, "runs backwards, from `9` to `1`", Some("write `[1-9]`")),
        ("web[1-9/0]", 5, "a step of 0", None),
        ("web[1-9/x]", 5, "`x` is not a number", Some("`[0-10/2]`")),
        ("web[5/2]", 5, "has a step but no end", Some("`[0-10/2]`")),
        ("web[1:2:3:4]", 5, "`1:2:3:4` is not a range", Some("`[01:20]`")),
        ("web[1:]", 5, "`1:` is not a range", Some("`[01:20]`")),
        ("web[-3-5]", 5, "begins with `-`", Some("count from 0")),
        ("web[12345678901234567890]", 5, "too many digits", None),
        ("web[0-9999999999]", 4, "10000000000 names, more than the 1000000 allowed", None),
        ("r[1-2000]n[1-2000]", 11, "4000000 names", None),
        ("a[1-600000],b[1-600000]", 13, "1200000 names", None),
    ] {
        let error = expand(list).expect_err(list);
        assert_eq!(error.column(), column, "{list}: {error}");
        assert!(error.to_string().contains(message), "{list}: {error}");
        match hint {
            Some(hint) => assert!(error.hint().is_some_and(|text| text.contains(hint)), "{list}: {:?}", error.hint()),
            None => assert_eq!(error.hint(), None, "{list}"),
        }
    }
}

#[test]
fn names_fold_to_the_node_sets_of_headers() {
    for (unfolded, folded) in [
        ("", ""),
        ("web", "web"),
        ("web01", "web01"),
        ("web[01-18],web20", "web[01-18,20]"),
        ("web3,web1,web2,web2", "web[1-3]"),
        ("web9,web10,web11", "web[9-11]"),
        ("web[9-11],web[05-12]", "web[9,05-12]"),
        ("web08,web[10-120]", "web[08,10-99,100-120]"),
        ("web[098-102]", "web[098-102]"),
        ("db,web1,app", "app,db,web1"),
        ("a,b,a1,b1", "a,a1,b,b1"),
        ("web[1-2].example.com,db1.example.com", "db1.example.com,web[1-2].example.com"),
        ("r[1-3]n[1-4],r2n9,r5n[1-4]", "r[1,3,5]n[1-4],r2n[1-4,9]"),
        ("10.0.0.[1-20],10.0.1.[5-20]", "10.0.0.[1-20],10.0.1.[5-20]"),
        ("[1-3]", "[1-3]"),
        ("100%,50%", "[50,100]%"),
        ("x12345678901234567890", "x12345678901234567890"),
        ("::1,::2", "::[1-2]"),
    ] {
        let names = if unfolded.is_empty() { Vec::new() } else { expand(unfolded).unwrap() };
        assert_eq!(fold(names.iter().map(String::as_str)), folded, "{unfolded}");
        assert_eq!(fold(names.iter().rev().map(String::as_str)), folded, "{unfolded}, the other way round");
    }
}

#[test]
fn names_with_brackets_of_their_own_are_left_as_they_are() {
    assert_eq!(fold(["[::1]:2202", "[::1]:2201", "web1", "web2"]), "[::1]:2201,[::1]:2202,web[1-2]");
}

#[test]
fn a_hundred_thousand_names_are_named_without_being_kept() {
    let pattern = Pattern::parse("r[001-100]n[0001-1000]").unwrap();
    assert_eq!(pattern.len(), 100_000);
    assert_eq!(pattern.names().len(), 100_000);
    assert_eq!(pattern.names().last().as_deref(), Some("r100n1000"));
}
