use super::*;

fn is_among(text: &str, decoded: &[u8]) -> bool {
    views(text).iter().any(|view| view.bytes.as_slice() == decoded)
}

#[test]
fn a_text_that_can_be_decoded_without_end_is_decoded_so_many_times() {
    let text = format!("%{}{}&{}", "25".repeat(20), "\\".repeat(256), "amp;".repeat(20));

    let views = views(&text);

    let plain = views.iter().filter(|view| view.is_plain).count();
    let readings = plain * alphabets::readings(&View::of("")).count();
    assert_eq!(views.len(), MOST_VIEWS + readings);
}

#[test]
fn base64_ends_at_a_character_that_is_not_of_it_but_not_at_the_end_of_a_line() {
    for (text, decoded) in [
        ("token:c2VjcmV0c2VjcmV0", &b"secretsecret"[..]),
        ("token:c2VjcmV0c2VjcmV0:token", b"secretsecret"),
        ("c2VjcmV0\r\n c2VjcmV0", b"secretsecret"),
        ("c2VjcmV0\u{200b}c2VjcmV0", b"secretsecret"),
    ] {
        assert!(is_among(text, decoded), "{text:?}");
    }
    assert!(!is_among("c2Vj:cmV0:c2Vj:cmV0", b"secretsecret"), "pieces that are too short");
}

#[test]
fn what_looks_like_an_encoded_character_but_is_none_stays() {
    for (sequence, text, decoded) in [
        (percent_sequence as fn(&[u8]) -> Option<Decoded>, "%+5%4", "%+5%4"),
        (percent_sequence, "%u+041%u004", "%u+041%u004"),
        (percent_sequence, "%uD83D%uDC0E", "%uD83D%uDC0E"),
        (escape, "\\ud83d", "\\ud83d"),
        (escape, "\\udc0e", "\\udc0e"),
        (escape, "\\ud83d\\u0041", "\\ud83dA"),
        (escape, "\\ud83d\\ud83d\\udc0e", "\\ud83d\u{1f40e}"),
        (escape, "\\ud83dxxdc0e", "\\ud83dxxdc0e"),
        (escape, "\\u{}\\u{+41}\\u{110000}", "\\u{}\\u{+41}\\u{110000}"),
        (escape, "\\400\\18", "40018"),
    ] {
        let view = undone(&View::of(text), sequence);
        assert_eq!(String::from_utf8_lossy(&view.bytes), decoded, "{text}");
    }
}
