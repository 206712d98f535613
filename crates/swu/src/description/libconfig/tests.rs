use proptest::prelude::*;

use super::*;

fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

fn one(source: &str) -> Result<Value, DescriptionError> {
    parse(format!("a = {source};").as_bytes()).map(|group| group.settings[0].1.clone())
}

#[test]
fn everything_of_the_format_is_read() {
    let source = br#"
# shell
// line
name : "a" /* in
between */ "b"
, other = { inner = 1; second: ( 1, "two", { }, [ ], [ true, FALSE ] ), };
empty = "";
last-one_* = -0x1  # no: that is not a number
"#;
    assert!(matches!(parse(source), Err(DescriptionError::Syntax { line: 8, expected: "a number" })));
    let source = String::from_utf8_lossy(source).replace("-0x1", "0x1F");
    let group = parse(source.as_bytes()).unwrap();
    assert_eq!(group.get("name"), Some(&text("ab")));
    let Some(Value::Group(other)) = group.get("other") else { panic!() };
    assert_eq!(other.get("inner"), Some(&Value::Integer(1)));
    let booleans = Value::Array(vec![Value::Boolean(true), Value::Boolean(false)]);
    let elements =
        [Value::Integer(1), text("two"), Value::Group(Group::default()), Value::Array(vec![]), booleans];
    assert_eq!(other.get("second").unwrap().elements(), Some(&elements[..]));
    assert_eq!(group.get("empty"), Some(&text("")));
    assert_eq!(group.get("last-one_*"), Some(&Value::Integer(31)));
    assert_eq!(parse(b"").unwrap(), Group::default());
}

#[test]
fn scalars() {
    assert_eq!(one(r#""\a\b\f\n\r\t\v\"\\\x41\q\x4""#).unwrap(), text("\x07\x08\x0c\n\r\t\x0b\"\\A\\q\\x4"));
    assert_eq!(one("\"zwei\nZeilen und \u{fc}\"").unwrap(), text("zwei\nZeilen und \u{fc}"));
    for (source, number) in [("0", 0), ("-5", -5), ("+5", 5), ("9L", 9), ("9LL", 9), ("0xffL", 255)] {
        assert_eq!(one(source).unwrap(), Value::Integer(number), "{source}");
    }
    for (source, number) in [("1.5", 1.5), (".5", 0.5), ("-1e3", -1000.0), ("2.", 2.0)] {
        assert_eq!(one(source).unwrap(), Value::Float(number), "{source}");
    }
    for source in
        ["010", "1LLL", "0x", "0x+1", "1e999", "1.5L", "1.2.3", "99999999999999999999", "-", "1a", "nan"]
    {
        assert!(matches!(one(source), Err(DescriptionError::Syntax { line: 1, .. })), "{source}");
    }
}

#[test]
fn each_fault_has_its_error() {
    let error = |source: &str| parse(source.as_bytes()).unwrap_err();
    assert_eq!(error("a = 1; b = 2;\na = 3"), DescriptionError::Duplicate { line: 2, name: "a".into() });
    assert_eq!(error("\n@include \"x\""), DescriptionError::Include { line: 2 });
    for (source, expected) in [
        ("a", "= or :"),
        ("a =", "a value"),
        ("a = 1 2", "the name of a setting"),
        ("a = { b = 1", "the name of a setting"),
        ("a = ( 1 2 )", ", or the end of the list"),
        ("a = [ 1, \"b\" ]", "scalars of one type in an array"),
        ("a = [ ( ) ]", "scalars of one type in an array"),
        ("a = \"open", "\" at the end of a text"),
        ("a = 1 /* open", "*/"),
        ("a = %", "a setting or a value"),
        ("= 1", "the name of a setting"),
        ("a = }", "a value"),
    ] {
        assert_eq!(error(source), DescriptionError::Syntax { line: 1, expected }, "{source}");
    }
    assert_eq!(error("a = \"\\x00\""), DescriptionError::Encoding);
    assert_eq!(error("a = \"\\xff\""), DescriptionError::Encoding);
    assert_eq!(error("a = 1 \0"), DescriptionError::Encoding);
    assert_eq!(parse(b"a = \"\xff\""), Err(DescriptionError::Encoding));
    assert_eq!(parse(&vec![b' '; DESCRIPTION_BYTES_MAX + 1]), Err(DescriptionError::TooLong));
    let deep = |depth: usize| format!("a = {}{}", "(".repeat(depth), ")".repeat(depth));
    assert!(parse(deep(DEPTH_MAX).as_bytes()).is_ok());
    assert_eq!(error(&deep(DEPTH_MAX + 1)), DescriptionError::TooDeep { line: 1 });
    assert_eq!(error(&"(".repeat(500_000).replacen('(', "a = (", 1)), DescriptionError::TooDeep { line: 1 });
    assert_eq!(error(&format!("a = ({})", "1,".repeat(VALUES_MAX))), DescriptionError::TooMany);
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(source in "[a-c =:;,{}()\\[\\]\"\\\\/*#@0-9x.L\n]{0,60}") {
        let _ = parse(source.as_bytes());
    }
}
