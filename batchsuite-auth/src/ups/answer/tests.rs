use serde_json::json;

use super::*;

fn defaults() -> PairDefaults {
    PairDefaults { access_lifetime: Duration::from_secs(3600), client_id: "id".to_owned() }
}

fn parse_bytes(body: &[u8]) -> Option<Pair> {
    Pair::parse(&Content::of(body.to_vec().into(), true), &defaults())
}

fn parse(value: &Value) -> Option<Pair> {
    parse_bytes(value.to_string().as_bytes())
}

fn with(name: &str, value: Value) -> Value {
    let mut answer = json!({
        "refresh_token_expires_in": "5183999", "refresh_token_status": "approved", "token_type": "Bearer",
        "issued_at": "1706710138962", "client_id": "id", "access_token": "a", "refresh_token": "r", "scope": "",
        "refresh_token_issued_at": "1706710138962", "expires_in": "14399", "refresh_count": "0",
        "status": "approved",
    });
    answer[name] = value;
    answer
}

#[test]
fn ups_sample_is_read_whole() {
    let pair = parse(&with("scope", json!(""))).unwrap();

    assert_eq!(pair.access_token.unwrap().expose_secret(), "a");
    assert_eq!(pair.refresh_token.unwrap().expose_secret(), "r");
    assert_eq!(pair.access_lifetime, Duration::from_secs(14_399));
    assert_eq!(pair.refresh_lifetime, Some(Duration::from_secs(5_183_999)));
    assert_eq!(pair.issued_at.unwrap().timestamp_millis(), 1_706_710_138_962);
    assert!(pair.oddities.is_empty());
}

#[test]
fn an_access_lifetime_is_read_or_assumed_and_never_panics() {
    let most = 10 * 365 * 86_400;
    for (value, seconds) in [
        (json!(most), most),
        (json!(most + 1), most),
        (json!("3599"), 3599),
        (json!(3599), 3599),
        (json!(3599.9), 3599),
        (json!(" 60 "), 60),
        (json!("99999999999999999999999999"), most),
        (json!(1e300), most),
        (json!(u64::MAX), most),
        (Value::Null, 3600),
        (json!("soon"), 3600),
        (json!(""), 3600),
        (json!({}), 3600),
    ] {
        let pair = parse(&with("expires_in", value.clone())).unwrap();
        assert_eq!(pair.access_lifetime.as_secs(), seconds, "{value}");
        assert!(pair.access_token.is_some(), "{value}");
    }
}

#[test]
fn an_access_token_that_cannot_be_used_leaves_the_refresh_token() {
    for (name, value) in [
        ("expires_in", json!("0")),
        ("expires_in", json!(-1)),
        ("expires_in", json!("-99999999999999999999999")),
        ("access_token", Value::Null),
        ("access_token", json!("")),
        ("access_token", json!(["a"])),
        ("access_token", json!("a\nb")),
        ("token_type", json!("MAC")),
    ] {
        let pair = parse(&with(name, value.clone())).unwrap();
        assert!(pair.access_token.is_none(), "{name} {value}");
        assert!(pair.refresh_token.is_some(), "{name} {value}");
        assert!(!pair.oddities.is_empty(), "{name} {value}");
    }
}

#[test]
fn a_refresh_lifetime_that_is_missing_or_implausible_is_unknown() {
    for value in [json!("0"), json!(0), Value::Null, json!("-5"), json!("99999999999999999999"), json!("x")] {
        let pair = parse(&with("refresh_token_expires_in", value.clone())).unwrap();
        assert_eq!(pair.refresh_lifetime, None, "{value}");
    }
}

#[test]
fn what_is_odd_is_told_and_the_pair_is_kept() {
    for (name, value) in
        [("client_id", json!("other")), ("status", json!("revoked")), ("refresh_token_status", json!("x"))]
    {
        let pair = parse(&with(name, value)).unwrap();
        assert_eq!(pair.oddities.len(), 1, "{name}");
        assert!(pair.access_token.is_some() && pair.refresh_token.is_some(), "{name}");
    }
}

#[test]
fn what_is_missing_or_unknown_is_no_fault() {
    let pair = parse(&json!({"access_token": "a", "token_type": "bearer", "new": [1]})).unwrap();

    assert!(pair.access_token.is_some());
    assert!(pair.oddities.is_empty());
    assert_eq!(pair.issued_at, None);
}

#[test]
fn a_field_that_cannot_be_read_costs_only_itself() {
    let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
    for odd in ["1e400", "-1e400", r#""\ud800""#, &deep] {
        let body = format!("\u{feff}{{\"access_token\":\"a\",\"odd\":{odd},\"refresh_token\":\"r\"}}");
        let pair = parse_bytes(body.as_bytes()).unwrap();

        assert_eq!(pair.access_token.unwrap().expose_secret(), "a", "{odd}");
        assert_eq!(pair.refresh_token.unwrap().expose_secret(), "r", "{odd}");
    }
    let body = b"{\"access_token\":\"a\",\"refresh_token\":\"r\xff\",\"scope\":\"\xff\"}";
    let pair = parse_bytes(body).unwrap();
    assert!(pair.access_token.is_some() && pair.refresh_token.is_none() && pair.erases_refresh_token);
}

/// RFC 8259 §8.2: the grammar allows unpaired surrogates in names too.
#[test]
fn a_name_that_is_no_text_is_unknown_and_never_stands_for_a_known_one() {
    for odd in [r"x\ud800", r"\udc00x", r"\ud800\ud800", r"refresh_token\ud800", r"\udfffrefresh_token"] {
        let body = format!(r#"{{"{odd}":"1","access_token":"a","refresh_token":"r","{odd}":"2"}}"#);
        let pair = parse_bytes(body.as_bytes()).unwrap_or_else(|| panic!("{odd}"));

        assert_eq!(pair.access_token.unwrap().expose_secret(), "a", "{odd}");
        assert_eq!(pair.refresh_token.unwrap().expose_secret(), "r", "{odd}");
        assert!(pair.oddities.is_empty(), "{odd}: {:?}", pair.oddities);
    }
    let pair = parse_bytes(br#"{"refresh_token":"1","refresh\u005ftoken":"2","x\ud800":3}"#).unwrap();
    assert_eq!(pair.refresh_token.unwrap().expose_secret(), "2");
    assert!(pair.oddities.contains(&"a key appears twice; the last one counts"));
    assert!(parse_bytes(br#"{"access_token":"a","x\ud800"}"#).is_none(), "the rest must still be JSON");
}

#[test]
fn a_refresh_token_is_kept_if_it_can_be_sent_and_otherwise_told() {
    for (raw, kept, oddities) in [
        (r#""r""#, Some("r"), 0),
        ("null", None, 0),
        (r#""""#, None, 0),
        ("7", Some("7"), 1),
        ("-1.50e400", Some("-1.50e400"), 1),
        (r#""a\u0000b\r\n""#, Some("a\0b\r\n"), 1),
        (r#""\ufffd""#, Some("\u{fffd}"), 0),
        (r#""caf\u00e9""#, Some("caf\u{e9}"), 0),
        (r#"{"token":"r"}"#, None, 1),
        (r#"["r"]"#, None, 1),
        ("true", None, 1),
        (r#""\ud800""#, None, 1),
    ] {
        let body = format!(r#"{{"access_token":"a","refresh_token":{raw}}}"#);
        let pair = parse_bytes(body.as_bytes()).unwrap();

        assert_eq!(pair.refresh_token.as_ref().map(RefreshToken::expose_secret), kept, "{raw}");
        assert_eq!(pair.oddities.len(), oddities, "{raw}");
        assert_eq!(pair.erases_refresh_token, kept.is_none() && oddities > 0, "{raw}");
    }
}

#[test]
fn of_two_tokens_the_last_one_counts_but_none_never_replaces_one() {
    for (tokens, kept) in [
        (r#""refresh_token":"1","refresh_token":"2""#, "2"),
        (r#""refresh_token":null,"refresh_token":"2""#, "2"),
        (r#""refresh_token":"1","refresh_token":null"#, "1"),
        (r#""refresh_token":"1","refresh_token":"""#, "1"),
        (r#""refresh_token":"1","refresh_token":{}"#, "1"),
        (r#""refresh_token":{},"refresh_token":"2""#, "2"),
    ] {
        let pair = parse_bytes(format!(r#"{{"access_token":"a",{tokens}}}"#).as_bytes()).unwrap();

        assert_eq!(pair.refresh_token.unwrap().expose_secret(), kept, "{tokens}");
        assert_eq!(pair.oddities, ["a key appears twice; the last one counts"], "{tokens}");
    }
}

#[test]
fn a_whole_object_is_a_pair_whatever_follows_it_or_is_missing_after_it() {
    let with = |rest: &str, whole| {
        let body = format!(r#"{{"access_token":"a","refresh_token":"r"}}{rest}"#);
        Pair::parse(&Content::of(body.into_bytes().into(), whole), &defaults()).unwrap()
    };
    for rest in ["\0", "\0\0", "// a comment", "<!-- x -->", "}", "{", "\u{feff}", ";", ")", "\u{1}", "garbage"] {
        assert_eq!(with(rest, true).oddities, ["there is text around the JSON"], "{rest:?}");
    }
    for before in ["\0", "\0\0\0", "\u{feff}\u{feff}", "\u{1} "] {
        let body = format!(r#"{before}{{"access_token":"a","refresh_token":"r"}}"#);
        assert_eq!(parse_bytes(body.as_bytes()).unwrap().oddities, ["there is text around the JSON"], "{before:?}");
    }
    for rest in ["", " \r\n\t"] {
        assert!(with(rest, true).oddities.is_empty() && with(rest, false).oddities.is_empty(), "{rest:?}");
    }
    let lone = |rest: &str, whole| {
        let body = format!(r#"{{"access_token":"a"}}{rest}"#);
        Pair::parse(&Content::of(body.into_bytes().into(), whole), &defaults()).is_some()
    };
    assert!(lone("", true) && !lone("", false) && !lone("x", true), "without a refresh token there is nothing to save");
}

#[test]
fn json_that_is_almost_none_is_a_pair() {
    for (body, token) in [
        ("{\"scope\":\"a\nb\",\"access_token\":\"a\",\"refresh_token\":\"r\"}", "r"),
        ("{\"access_token\":\"a\",\"refresh_token\":\"r\r\n\"}", "r\r\n"),
        ("{\"access_token\":\"a\",\0\"refresh_token\":\"r\"}", "r"),
        (r#"{"display":"Ben\'s","access_token":"a","refresh_token":"r"}"#, "r"),
        (r#"{"access_token":"a","refresh_token":"r",}"#, "r"),
        (r#"{"home":"C:\users","access_token":"a","refresh_token":"r"}"#, "r"),
        (r#"{"home":"C:\u00","C:\u":1,"access_token":"a","refresh_token":"r"}"#, "r"),
        (r#"{"x":NaN,"y":[1,-Infinity],"z":007,"access_token":"a","refresh_token":"r"}"#, "r"),
        (r#"{"x":,"access_token":"a","refresh_token":"r","y": }"#, "r"),
        (r#"{"x":"NaN,:,","y":True,"access_token":"a","refresh_token":"r"}"#, "r"),
        (r#"{"access_token":"a","refresh_token":007}"#, "007"),
    ] {
        let pair = parse_bytes(body.as_bytes()).unwrap_or_else(|| panic!("{body}"));

        assert_eq!(pair.refresh_token.unwrap().expose_secret(), token, "{body}");
        assert_eq!(pair.access_token.unwrap().expose_secret(), "a", "{body}");
        assert!(pair.oddities.contains(&"the JSON had small faults"), "{body}");
    }
    for refresh in ["", r#","refresh_token":NaN"#, r#","refresh_token":undefined"#, r#","refresh_token":"#] {
        let body = format!(r#"{{"access_token":"a"{refresh},}}"#);
        assert!(parse_bytes(body.as_bytes()).is_none(), "{body}: without a refresh token there is nothing to save");
    }
}

#[test]
fn without_any_token_it_is_no_pair() {
    for body in ["", "{}", "[]", "null", "<html>", r#"{"refresh_token":"r""#, r#"{"access_token":"","expires_in":1}"#] {
        assert!(parse_bytes(body.as_bytes()).is_none(), "{body}");
    }
}

#[test]
fn an_implausible_date_of_issue_is_unknown() {
    for value in [json!("0"), json!("x"), json!(i64::MAX), json!("99999999999999999999"), json!(-1)] {
        assert_eq!(parse(&with("issued_at", value.clone())).unwrap().issued_at, None, "{value}");
    }
}

#[test]
fn the_time_of_issue_is_read_from_a_number_too() {
    for value in [json!(1_706_710_138_962_u64), json!("1706710138962")] {
        let pair = parse(&with("issued_at", value.clone())).unwrap();
        assert_eq!(pair.issued_at.unwrap().timestamp_millis(), 1_706_710_138_962, "{value}");
    }
}
