use super::*;
use proptest::prelude::*;
use serde_yaml::Value;

fn value(text: &str) -> Value {
    parse(text, "test").unwrap_or_else(|error| panic!("{error}")).root.to_value()
}

fn fault(text: &str) -> YamlError {
    parse(text, "test.yaml").expect_err(text)
}

fn json(text: &str) -> Value {
    serde_json::from_str::<Value>(text).unwrap()
}

#[test]
fn plain_scalars_mean_what_yaml_1_1_says() {
    // What PyYAML's safe loader answers, written as JSON.
    for (written, meant) in [
        ("yes", "true"),
        ("No", "false"),
        ("ON", "true"),
        ("off", "false"),
        ("y", "\"y\""),
        ("oN", "\"oN\""),
        ("'yes'", "\"yes\""),
        ("\"no\"", "\"no\""),
        ("~", "null"),
        ("Null", "null"),
        ("nUll", "\"nUll\""),
        ("0644", "420"),
        ("-017", "-15"),
        ("08", "\"08\""),
        ("0o17", "\"0o17\""),
        ("0x1F", "31"),
        ("0b101", "5"),
        ("0", "0"),
        ("00", "0"),
        ("-0", "0"),
        ("+12", "12"),
        ("1_000", "1000"),
        ("1__0", "10"),
        ("_1", "\"_1\""),
        ("1:30", "90"),
        ("1:30:00", "5400"),
        ("-1:30", "-90"),
        ("1:60", "\"1:60\""),
        ("01:30", "\"01:30\""),
        ("190:20:30", "685230"),
        ("1:30.5", "90.5"),
        ("01:30.", "90.0"),
        ("1.5", "1.5"),
        ("1.", "1.0"),
        (".5", "0.5"),
        ("1e3", "\"1e3\""),
        ("1.0e3", "\"1.0e3\""),
        ("1.5e+3", "1500.0"),
        ("-.5", "\"-.5\""),
        ("1_0.5", "10.5"),
        ("10.0.0.1", "\"10.0.0.1\""),
        (".", "\".\""),
        ("-", "[null]"),
        ("+", "\"+\""),
        ("9223372036854775807", "9223372036854775807"),
        ("18446744073709551615", "18446744073709551615"),
        ("18446744073709551616", "\"18446744073709551616\""),
        ("-9223372036854775808", "-9223372036854775808"),
        ("2024-02-03", "\"2024-02-03\""),
        ("2001-12-14t21:59:43.10-05:00", "\"2001-12-14T21:59:43.100000-05:00\""),
        ("2001-12-14 21:59:43.10 -5", "\"2001-12-14T21:59:43.100000-05:00\""),
        ("2001-12-15 2:59:43", "\"2001-12-15T02:59:43\""),
        ("2001-12-15T02:59:43Z", "\"2001-12-15T02:59:43+00:00\""),
        ("!!str 12", "\"12\""),
        ("!!int '12'", "12"),
        ("!!float 1", "1.0"),
        ("! 12", "\"12\""),
        ("=", "\"=\""),
        ("host:22", "\"host:22\""),
    ] {
        assert_eq!(value(written), json(meant), "{written}");
    }
    assert!(value(".inf").as_f64().unwrap().is_infinite());
    assert!(value(".NaN").as_f64().unwrap().is_nan());
}

#[test]
fn json_is_read_as_json() {
    for (written, meant) in [
        (
            r#"{"a": 1e3, "b": "\/\ud83d\ude00\u00e9", "c": [], "d": {}}"#,
            r#"{"a": 1000.0, "b": "/😀é", "c": [], "d": {}}"#,
        ),
        (r#"[0.5, -1, true, null, "yes", 1E+2]"#, r#"[0.5, -1, true, null, "yes", 100.0]"#),
        // Not JSON, but YAML in flow form.
        ("{a: yes, b: [0644]}", r#"{"a": true, "b": [420]}"#),
    ] {
        assert_eq!(value(written), json(meant), "{written}");
    }
    let error = parse_json("{\n  \"a\": 1,\n  b: 2\n}", "x.json").unwrap_err();
    assert_eq!(
        error.to_string(),
        "x.json:3:3: not valid JSON: expected a key in double quotes\n    3 |   b: 2\n      |   ^"
    );
    for bad in ["", "01", "1.", "-", "nul", "\"a", "\"\\x\"", "[1,]", "{\"a\" 1}", "1 2", "\"\u{1}\"", "1e", ".5"] {
        assert!(parse_json(bad, "x").is_err(), "{bad}");
    }
}

#[test]
fn merge_keys_give_way_to_the_mappings_own() {
    let text = "a: &a {x: 1, y: 1}\nb: &b {x: 2, z: 2}\nc:\n  y: 3\n  <<: [*a, *b]\nd: {<<: *b, w: 0}\ne: {'<<': 1}";
    assert_eq!(
        value(text),
        json(
            r#"{"a": {"x": 1, "y": 1}, "b": {"x": 2, "z": 2}, "c": {"x": 1, "z": 2, "y": 3},
                "d": {"x": 2, "z": 2, "w": 0}, "e": {"<<": 1}}"#
        )
    );
}

#[test]
fn the_last_of_two_equal_keys_wins_and_both_places_are_known() {
    let document = parse("a: 1\nb: 2\na: 3\n", "test").unwrap();
    assert_eq!(document.root.to_value(), json(r#"{"a": 3, "b": 2}"#));
    let [duplicate] = &document.duplicates[..] else { panic!("{:?}", document.duplicates) };
    assert_eq!(
        (duplicate.key.as_str(), duplicate.place.to_string(), duplicate.first.to_string()),
        ("a", "3:1".into(), "1:1".into())
    );
    assert!(parse("x: &x {a: 1}\ny: {<<: *x, a: 2}", "test").unwrap().duplicates.is_empty());
}

#[test]
fn vault_and_unsafe_values_keep_their_tags() {
    let document =
        parse("v: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  6162\nu: !unsafe '{{ x }}'\nl: !unsafe [a, 1]", "test")
            .unwrap();
    let get = |key: &str| document.root.get(key).unwrap().clone();
    assert!(matches!(get("v").data, Data::Vault(text) if text.starts_with("$ANSIBLE_VAULT")));
    assert!(matches!(get("u").data, Data::Unsafe(text) if &*text == "{{ x }}"));
    assert!(matches!(&get("l").as_sequence().unwrap()[0].data, Data::Unsafe(text) if &**text == "a"));
    let Value::Tagged(tagged) = get("v").to_value() else { panic!() };
    assert_eq!(tagged.tag, "!vault");
}

#[test]
fn mistakes_carry_their_place_and_line() {
    for (text, place, words) in [
        ("a: 1\nb: [1, 2\nc: 3", "3:", "not valid YAML"),
        ("a: b: c", "1:", "not valid YAML"),
        ("a: {{ x }}", "1:", "a key is a single value"),
        ("a: !thing x", "1:", "unknown tag `!thing`"),
        ("a: !!set {x}", "1:", "unknown tag `!!set`"),
        ("a: !!int x", "1:", "`x` is not an integer"),
        ("a: 1\n---\nb: 2", "3:1", "a second document"),
        ("a: *b", "1:", "not valid YAML"),
        ("a: &a [*a]", "1:8", "inside the very value"),
        ("a: {<<: 1}", "1:", "`<<` merges mappings"),
        ("? [a]\n: b", "1:3", "a key is a single value"),
    ] {
        let shown = fault(text).to_string();
        assert!(shown.starts_with(&format!("test.yaml:{place}")) && shown.contains(words), "{text}\n{shown}");
        assert!(shown.contains('\n'), "the line is missing: {shown}");
    }
    assert_eq!(fault("a: {{ x }}").hint().unwrap(), "a value that begins with `{{` must be quoted: \"{{ name }}\"");
    assert_eq!(fault("a:\n\tb: 1").hint().unwrap(), "YAML is indented with spaces, never with tabs");
}

#[test]
fn bombs_are_refused_quickly() {
    let mut billion = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let items = vec![format!("*a{}", level - 1); 10].join(", ");
        billion.push_str(&format!("a{level}: &a{level} [{items}]\n"));
    }
    assert_eq!(fault(&billion).fault, YamlFault::AliasBomb);
    for open in ["[", "{\"a\":", "- "] {
        assert!(parse(&open.repeat(100_000), "deep").is_err(), "{open}");
    }
}

#[test]
fn several_documents_are_read_where_asked_for() {
    let all = parse_all("---\na: 1\n---\nb: 2\n...\n", "test").unwrap();
    assert_eq!(all.len(), 2);
    assert_eq!(parse("", "test").unwrap().root.data, Data::Null);
    assert_eq!(parse("# only a comment\n", "test").unwrap().root.data, Data::Null);
}

#[test]
fn typed_files_report_unknown_keys_with_a_suggestion() {
    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        #[allow(dead_code)]
        fanout: Option<u32>,
    }
    let error = from_str::<Settings>("# comment\nfanuot: 3\n", "config.yaml").unwrap_err();
    assert!(error.to_string().starts_with("config.yaml:2:1: unknown field `fanuot`"), "{error}");
    assert_eq!(error.hint().as_deref(), Some("did you mean `fanout`?"));
    assert!(from_str::<Settings>("fanout: x", "config.yaml").unwrap_err().to_string().contains("config.yaml:1:9"));
    assert_eq!(from_str::<Settings>("fanout: 3", "config.yaml").unwrap().fanout, Some(3));
}

proptest! {
    #[test]
    fn no_text_makes_the_readers_panic(text in "(?s).{0,200}") {
        let _ = parse_all(&text, "x");
        let _ = parse_json(&text, "x");
    }

    #[test]
    fn no_yaml_like_text_makes_the_readers_panic(text in "[-a0:,\\[\\]{}&*!|>'\"#%@`? \n\t<~.\\\\]{0,80}") {
        for document in parse_all(&text, "x").into_iter().flatten() {
            let _ = document.root.to_value();
        }
        let _ = parse_json(&text, "x");
    }
}
