use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD},
};

use super::*;

const TOKEN: &str = "r3fr3shT0kenOfUPS8chars4Test0123-bG9uZ2VyQmxvYi+/MDEyMzQ1Njc4OQ==";

/// The longest piece of `secret` that can be read in `text`, ignoring whitespace.
fn in_common(text: &str, secret: &str) -> usize {
    let shown = |text: &str| text.chars().filter(|c| is_shown(*c)).collect::<Vec<_>>();
    let (text, secret) = (shown(text), shown(secret));
    let longest = |start: usize| {
        let lengths = (0..text.len()).map(|at| {
            text[at..].iter().zip(&secret[start..]).take_while(|(one, other)| one.eq_ignore_ascii_case(other)).count()
        });
        lengths.max().unwrap_or(0)
    };
    (0..secret.len()).map(longest).max().unwrap_or(0)
}

#[track_caller]
fn assert_cut(echo: &str, what: &str) {
    let message = format!("Invalid token: {echo} was sent");
    let kept = cut(&message, &[TOKEN]);

    assert!(kept.contains(CUT), "{what}: {message} -> {kept}");
    assert!(kept.starts_with("Invalid token: ") && kept.ends_with(" was sent"), "{what}: {kept}");
    assert!(in_common(&kept, TOKEN) < RUN, "{what}: {message} -> {kept}");
    assert_eq!(cut(&kept, &[TOKEN]), kept, "{what}: there is nothing more to be read");
}

fn hex(text: &str, between: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(between)
}

fn base32(text: &str) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let bits: Vec<u8> = text.bytes().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    let letter = |five: &[u8]| (0..5).fold(0, |value, bit| value << 1 | five.get(bit).copied().unwrap_or(0));
    bits.chunks(5).map(|five| char::from(ALPHABET[usize::from(letter(five))])).collect()
}

/// Encodings that change every character, so the remaining characters cannot show whether they were cut.
#[test]
fn a_secret_in_another_alphabet_is_cut_out() {
    for (what, echo) in [
        ("hexadecimal", hex(TOKEN, "")),
        ("hexadecimal, upper case", hex(TOKEN, "").to_uppercase()),
        ("hexadecimal with colons", hex(TOKEN, ":")),
        ("hexadecimal with blanks", hex(TOKEN, " ")),
        ("hexadecimal of 12", hex(&TOKEN[20..32], "")),
        ("a dump", TOKEN.bytes().map(|byte| format!("0x{byte:02x}, ")).collect()),
        ("quoted printable", TOKEN.bytes().map(|byte| format!("={byte:02X}")).collect()),
        ("octal", TOKEN.bytes().map(|byte| format!("\\{byte:03o}")).collect()),
        ("numbers", TOKEN.bytes().map(|byte| format!("{byte},")).collect()),
        ("base32", base32(TOKEN)),
        ("backwards", TOKEN.chars().rev().collect()),
        ("12 backwards", TOKEN[20..32].chars().rev().collect()),
        ("base64 of hexadecimal", STANDARD.encode(hex(TOKEN, ""))),
        ("base64 of base64 of the middle", STANDARD.encode(STANDARD.encode(&TOKEN[20..34]))),
    ] {
        let message = format!("Invalid token: {echo} was sent");
        let kept = cut(&message, &[TOKEN]);

        assert!(kept.contains(CUT) && kept.starts_with("Invalid token"), "{what}: {kept}");
        let left = kept.replace("Invalid token", "").replace("was sent", "");
        assert!(left.chars().filter(|c| c.is_ascii_alphanumeric()).count() < RUN, "{what}: {message} -> {kept}");
    }
}

#[test]
fn a_piece_of_a_secret_is_cut_out_in_whichever_encoding() {
    let percent = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
    let json = |text: &str| text.chars().map(|c| format!("\\u{:04X}", u32::from(c))).collect::<String>();
    let quoted = serde_json::json!({"message": format!("\"{TOKEN}\"")}).to_string();
    let twice = serde_json::json!({"message": quoted}).to_string();
    let split = |by: &str| TOKEN.chars().map(|c| format!("{c}{by}")).collect::<String>();
    for (what, echo) in [
        ("whole", TOKEN.to_owned()),
        ("the first 30", TOKEN[..30].to_owned()),
        ("all but the last", TOKEN[..TOKEN.len() - 1].to_owned()),
        ("12 of the middle", TOKEN[20..32].to_owned()),
        ("the last 12", TOKEN[TOKEN.len() - 12..].to_owned()),
        ("form", url::form_urlencoded::byte_serialize(TOKEN.as_bytes()).collect()),
        ("all percent, lower case", percent(TOKEN)),
        ("all percent, upper case", percent(TOKEN).to_uppercase()),
        ("percent twice", percent(&percent(TOKEN))),
        ("upper case", TOKEN.to_uppercase()),
        ("lower case", TOKEN.to_lowercase()),
        ("entities", TOKEN.chars().map(|c| format!("&#{};", u32::from(c))).collect()),
        ("hexadecimal entities", TOKEN.chars().map(|c| format!("&#X{:x}", u32::from(c))).collect()),
        ("named entities", TOKEN.replace('+', "&plus;").replace('/', "&sol;").replace('=', "&equals;")),
        ("escaped", json(TOKEN)),
        ("a slash escaped", TOKEN.replace('/', "\\/")),
        ("JSON in JSON", quoted),
        ("JSON in JSON in JSON", twice),
        ("a string of C", TOKEN.bytes().map(|byte| format!("\\x{byte:02x}")).collect()),
        ("blanks", split(" ")),
        ("new lines", split("\r\n")),
        ("no-break spaces", split("\u{a0}")),
        ("zero-width spaces", split("\u{200b}")),
        ("soft hyphens", split("\u{ad}")),
        ("variation selectors", split("\u{fe0f}")),
        ("tags", split("\u{e0041}")),
        ("hyphens", split("-")),
        (
            "byte order marks of groups",
            TOKEN.as_bytes().chunks(5).map(|c| format!("{}\u{feff}", String::from_utf8_lossy(c))).collect(),
        ),
        ("base64", STANDARD.encode(TOKEN)),
        ("base64url", URL_SAFE_NO_PAD.encode(TOKEN)),
        ("base64 twice", STANDARD.encode(STANDARD.encode(TOKEN))),
        ("base64 of a part", STANDARD.encode(&TOKEN[7..30])),
        ("base64 of a form", STANDARD.encode(format!("grant_type=refresh_token&refresh_token={}", percent(TOKEN)))),
        ("base64 in a form", percent(&STANDARD.encode(TOKEN))),
        ("base64 cut off in front", STANDARD.encode(TOKEN)[3..].to_owned()),
        (
            "wrapped base64",
            STANDARD
                .encode(TOKEN)
                .as_bytes()
                .chunks(19)
                .map(|c| format!("{}\r\n ", String::from_utf8_lossy(c)))
                .collect(),
        ),
        ("base64 of UTF-16", STANDARD.encode(TOKEN.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>())),
        ("HTML of JSON", json(TOKEN).replace('\\', "&#92;")),
    ] {
        assert_cut(&echo, what);
    }
}

/// A random-number generator that repeats its numbers.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        // Knuth's MMIX.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % most
    }

    fn token(&mut self) -> String {
        const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=.~ ";
        let length = 16 + self.below(100);
        let mut token: String = (0..length).map(|_| char::from(ALPHABET[self.below(ALPHABET.len())])).collect();
        if self.below(4) == 0 {
            token.push('\u{e9}');
        }
        token
    }

    fn encode(&mut self, text: &str) -> String {
        let which = self.below(11);
        // The character that starts an escape is always escaped, as every encoder does.
        let mut each = |percentage: usize, begins: char, code: &dyn Fn(char) -> String| -> String {
            let coded = |c: char, dice: &mut Self| c == begins || dice.below(100) < percentage;
            text.chars().map(|c| if coded(c, self) { code(c) } else { c.to_string() }).collect()
        };
        let percent = |c: char, upper: bool| {
            let bytes = c.to_string().into_bytes();
            bytes.iter().map(|b| if upper { format!("%{b:02X}") } else { format!("%{b:02x}") }).collect::<String>()
        };
        match which {
            0 => each(100, '%', &|c| percent(c, true)),
            1 => each(40, '%', &|c| percent(c, false)),
            2 => each(50, '&', &|c| format!("&#{};", u32::from(c))),
            3 => each(50, '&', &|c| format!("&#x{:X};", u32::from(c))),
            4 => each(50, '\\', &|c| format!("\\u{:04x}", u32::from(c))),
            5 => each(30, '\0', &|c| format!("{c}\u{200b}")),
            6 => each(30, '\0', &|c| format!("{c} ")),
            7 => STANDARD.encode(text),
            8 => URL_SAFE.encode(text),
            9 => STANDARD_NO_PAD.encode(text),
            _ => serde_json::Value::from(text).to_string(),
        }
    }
}

#[test]
fn whatever_is_sent_back_however_often_encoded_is_cut_out() {
    let mut dice = Dice(7);
    for round in 0..250 {
        let secrets: Vec<String> = (0..3).map(|_| dice.token()).collect();
        let sent: Vec<&str> = secrets.iter().map(String::as_str).collect();
        let secret: Vec<char> = secrets[dice.below(3)].chars().collect();
        let start = dice.below(secret.len() - 14);
        let piece: String = secret[start..start + 14 + dice.below(secret.len() - 13 - start)].iter().collect();
        if piece.chars().filter(|c| is_shown(*c)).count() < RUN {
            continue;
        }
        let mut echo = piece.clone();
        for _ in 0..dice.below(4) {
            // Messages are not longer than this.
            if echo.len() < 600 {
                echo = dice.encode(&echo);
            }
        }

        let kept = cut(&format!("(<{echo}>)"), &sent);

        assert!(kept.contains(CUT), "{round}: {piece:?} in {echo:?} -> {kept:?}");
        assert!(kept.starts_with("(<") && kept.ends_with(">)"), "{round}: {kept:?}");
        // The rest of the echo has less than a run in common with the secret.
        assert!(in_common(&kept, &piece) < RUN, "{round}: {piece:?} in {kept:?}");
        let again = cut(&kept, &sent);
        assert_eq!(again, kept, "{round}: {piece:?} in {echo:?}");
    }
}

#[test]
fn a_long_word_that_looks_like_a_token_is_cut_out_whosever_it_is() {
    for token in [
        "eyJhbGciOiJSUzM4NCIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJkZW1vQGV4YW1wbGUuY29tIiwidXVpZCI6IjEifQ.c2ln",
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "9F86D081884C7D659A2FEAA0",
        "dGhpcyBpcyBhbiBleGFtcGxlIG9mIGJhc2U2NA==",
        "QkFTRTY0X29mX3NvbWV0aGluZ19lbHNl",
        "0mjQ7zS8xq2nGfKbVd3Rt5Yw",
        "123e4567-e89b-12d3-a456-426614174000",
        "0mjQ7zS8xq2nGf%4bVd3Rt5Yw9a",
        "0mjQ7zS8xq2n&#71;fKbVd3Rt5Yw9a",
    ] {
        assert_eq!(cut(&format!("no such token: {token} (sorry)"), &[]), "no such token: […] (sorry)", "{token}");
    }
}

#[test]
fn what_is_no_secret_stays() {
    for text in [
        "Invalid Refresh Token",
        "Invalid/Missing Authorization Header",
        "ClientId is Invalid",
        "InternalServerErrorException: java.lang.IllegalArgumentException",
        "com.ups.security.oauth.token.exception.InvalidRefreshTokenException",
        "see https://onlinetools.ups.com/security/v1/oauth/refresh",
        "at 2026-11-25T21:45:35.123Z, request 1706710138962",
        "too short for a token: 0mjQ7zS8xq2nGfKbVd3Rt5Y",
        "Donaudampfschifffahrtsgesellschaftskapit\u{e4}n",
        "000000000000000000000000000000",
        "100% of &amp; and \\ and &#; and %zz",
        "",
    ] {
        assert_eq!(cut(text, &[TOKEN, "the-client's-secret", "abc"]), text);
    }
}

#[test]
fn a_short_secret_is_cut_out_as_a_whole() {
    assert_eq!(cut("the secret is hunter2!", &["hunter2"]), "the secret is […]!");
    assert_eq!(cut("the secret is h u n t e r 2", &["hunter2"]), "the secret is […]");
    assert_eq!(cut("the secret is 68756e74657232!", &["hunter2"]), "the secret is […]!");
    assert_eq!(cut("7 68756e74657232!", &["hunter2"]), "7 […]!");
    assert_eq!(cut("abc", &["abc"]), "abc");
}

#[test]
fn of_a_long_text_only_the_beginning_is_kept() {
    let text = format!("{}{TOKEN}", "long \u{e9} ".repeat(10_000));

    assert!(cut(&text, &[TOKEN]).len() <= WINDOW);
    let text = format!("{} {TOKEN}", "x".repeat(190));
    assert!(cut(&text, &[TOKEN]).ends_with("x […]"));
}

/// These secrets do not look like tokens in any of these encodings, so the cut shows that each encoding is read.
#[test]
fn a_secret_of_words_is_cut_out_with_the_whole_word_around_it_and_nothing_else() {
    const WORDS: &str = "correcthorsebattery";
    const SIGNS: &str = "staple???>>>~~~batter";
    const ANIMALS: &str = "ox\u{1f40e}\u{10000}\u{10ffff}ox";
    let each = |coded: fn(u32) -> String| WORDS.chars().map(|c| coded(c.into())).collect::<String>();
    let units = |text: &str| text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect::<String>();
    let in_lines = |text: String, length| {
        text.as_bytes().chunks(length).map(|line| String::from_utf8_lossy(line) + "\r\n ").collect::<String>()
    };
    for (what, secret, echo, kept) in [
        ("in a word", WORDS, format!("~token-{WORDS}+1"), ""),
        ("with padding", WORDS, format!("{WORDS}=="), ""),
        ("with a sign at the end", "correcthorse!", "correcthorse!".to_owned(), ""),
        ("hyphens", WORDS, "correct-horse-battery".to_owned(), ""),
        ("percent-u", WORDS, WORDS.replace('h', "%u0068"), ""),
        ("percent-U", WORDS, WORDS.replace('h', "%U0068"), ""),
        ("an entity beside an ampersand", "horse&lt/battery", "horse&lt&sol;battery".to_owned(), ""),
        ("escapes in braces", WORDS, each(|c| format!("\\u{{{c:x}}}")), ""),
        ("escapes in braces with zeros", WORDS, each(|c| format!("\\u{{{c:08x}}}")), ""),
        ("escapes of four digits", WORDS, units(WORDS), ""),
        ("surrogate pairs", ANIMALS, units(ANIMALS), ""),
        ("surrogate pairs in braces", ANIMALS, "ox\\u{1f40e}\\u{10000}\\u{10FFFF}ox".to_owned(), ""),
        ("octal", WORDS, each(|c| format!("\\{c:o}")), ""),
        ("wrapped base64", SIGNS, in_lines(STANDARD.encode(SIGNS), 10), "\r\n "),
        ("wrapped base64url", SIGNS, in_lines(URL_SAFE.encode(SIGNS), 10), "\r\n "),
        ("hexadecimal with colons", WORDS, hex(WORDS, ":"), ""),
        ("hexadecimal with letters between", WORDS, hex(WORDS, " or "), ""),
        ("base32 of 12", &WORDS[..12], base32(&WORDS[..12]), ""),
        ("base32 of 12, lower case", &WORDS[..12], base32(&WORDS[..12]).to_lowercase(), ""),
        ("base32 in lines", WORDS, in_lines(base32(WORDS), 8), "\r\n "),
        ("base32 with hyphens", WORDS, base32(WORDS).replace('X', "X-"), ""),
    ] {
        assert_eq!(cut(&format!("({echo})"), &[secret]), format!("([…]{kept})"), "{what}: {echo}");
    }
}

/// Between blanks a cut is not widened, so it shows from which character on a secret is read.
#[test]
fn of_base32_the_letters_before_a_secret_stay() {
    for (before, letters) in [("x", 1), ("xxx", 4), ("xxxxx", 8)] {
        let text = base32(&format!("{before}correcthorsebat")).chars().map(|c| format!("{c} ")).collect::<String>();

        let kept = cut(&text, &["correcthorsebat"]);

        assert_eq!(kept, format!("{}[…] ", &text[..2 * letters]), "{before}: {text}");
    }
}
