//! Members of JSON objects.

use conpool::Facts;

#[test]
fn members_of_every_type() {
    let facts = Facts::from_json(
        r#"{"a":"x\"\\,}\u0041\n","b":-12,"c":true,"d":{"a":[1,"}"],"b":7},"e":[1,2] ,"f":""}"#,
    );
    assert_eq!(facts.text("a").unwrap(), "x\"\\,}A\n");
    assert_eq!(facts.number("b"), Some(-12));
    assert_eq!(facts.flag("c"), Some(true));
    assert_eq!(facts.get("d"), Some(r#"{"a":[1,"}"],"b":7}"#));
    assert_eq!(facts.get("e"), Some("[1,2]"));
    assert_eq!(facts.text("f").unwrap(), "");
    assert_eq!(facts.get("g"), None);
    assert_eq!(facts.number("a"), None);
    assert_eq!(facts.text("b"), None);
}

#[test]
fn broken_texts_have_no_members() {
    for json in ["", "{", "{}", "{\"a", "{\"a\"", "{\"a\":", "{\"a\":\"", "null", "{\"a\":[1"] {
        assert_eq!(Facts::from_json(json).get("a"), None, "{json}");
    }
}

#[test]
fn escapes_and_other_letters() {
    let facts = Facts::from_json(
        r#"{"é":"ü","a":"\ud83d\ude00 \b\f\u00e9\u0041 \ud83d","b":"\u12","c":"\u00é9"}"#,
    );
    assert_eq!(facts.text("é").unwrap(), "ü");
    assert_eq!(facts.text("a").unwrap(), "😀 \u{8}\u{c}éA \u{fffd}");
    assert_eq!((facts.text("b"), facts.text("c")), (None, None));
    for json in ["é", "é\"é", "{é", "{\"é", "\"\"é", "😀{}"] {
        assert_eq!(Facts::from_json(json).get("a"), None, "{json}");
    }
}
