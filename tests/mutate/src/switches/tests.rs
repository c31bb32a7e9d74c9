use super::*;

/// The text with one change: `was`, found once in `source`, becomes `replacement`.
fn switched(source: &str, genre: Genre, was: &str, replacement: &str) -> String {
    let start = source.find(was).unwrap();
    let mutant = Mutant::for_test(7, genre, start..start + was.len(), replacement);
    let text = rewrite(source, &[&mutant]).text;
    syn::parse_file(&text).unwrap();
    text.replace("/*m7*/", "")
        .replace("/*me*/", "")
        .replace(SWITCH, "on")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn a_function_returns_the_value_if_its_switch_is_on() {
    let text = switched("fn f() -> u8 { g(); 3 }", Genre::FnValue, "g(); 3", "0");
    assert_eq!(text, "fn f() -> u8 { if on(7) { return 0; } g(); 3 }");
}

#[test]
fn an_operator_changes_with_its_own_operands() {
    let source = "fn f() -> bool { a + 1 < b && c }";
    assert_eq!(
        switched(source, Genre::BinaryOperator, "<", ">="),
        "fn f() -> bool { ( if on(7) { (a + 1 >= b) } else { (a + 1 < b) }) && c }"
    );
    assert_eq!(
        switched("fn f() -> bool { !a.b() }", Genre::UnaryOperator, "!", ""),
        "fn f() -> bool { ( if on(7) { (a.b()) } else { (!a.b()) } ) }"
    );
}

#[test]
fn an_arm_is_passed_over_and_a_guard_is_decided() {
    let source = "fn f() { match a { B if z => d, E => f, _ => g } }";
    assert_eq!(
        switched(source, Genre::MatchArm, "B if z => d,", ""),
        "fn f() { match a { B if !on(7) && (z) => d, E => f, _ => g } }"
    );
    assert_eq!(
        switched(source, Genre::MatchArm, "E => f,", ""),
        "fn f() { match a { B if z => d, E if !on(7) => f, _ => g } }"
    );
    assert_eq!(
        switched(source, Genre::MatchArmGuard, "z", "true"),
        "fn f() { match a { B if (on(7) || (z)) => d, E => f, _ => g } }"
    );
}

#[test]
fn a_field_is_the_base_s() {
    assert_eq!(
        switched("fn f() -> S { S { a: x, ..b } }", Genre::StructField, "a: x", ""),
        "fn f() -> S { S { a: if on(7) { (b).a } else { x } , ..b } }"
    );
}

#[test]
fn sql_is_chosen_as_a_whole_literal_or_macro() {
    assert_eq!(
        switched(r#"fn f() -> &str { "SELECT a < b" }"#, Genre::Sql, "<", "<="),
        r#"fn f() -> &str { (match () { _ if on(7) => "SELECT a <= b", _ => "SELECT a < b" }) }"#
    );
    assert_eq!(
        switched(r#"fn f() -> String { format!("SELECT {a} < b") }"#, Genre::Sql, "<", "<="),
        r#"fn f() -> String { (match () { _ if on(7) => format!("SELECT {a} <= b"), _ => format!("SELECT {a} < b") }) }"#
    );
}

#[test]
fn changes_in_changes_each_have_their_switch() {
    let source = "fn f() -> bool { a < b && !c }";
    let mutants = [
        Mutant::for_test(0, Genre::FnValue, 17..28, "true"),
        Mutant::for_test(1, Genre::BinaryOperator, 19..20, "<="),
        Mutant::for_test(2, Genre::BinaryOperator, 23..25, "||"),
        Mutant::for_test(3, Genre::UnaryOperator, 26..27, ""),
    ];
    let text = rewrite(source, &mutants.iter().collect::<Vec<_>>()).text;
    syn::parse_file(&text).unwrap();
    assert_eq!(marks(&text), [0, 1, 2, 3]);
    let inner = text.find("(a <= b)").unwrap();
    assert_eq!(around(&text, inner), [1, 2]);
    assert_eq!(in_function(&text, text.len() - 3), [0, 1, 2, 3]);
}

#[test]
fn a_chain_with_let_permits_no_other_operator() {
    let source = "fn f() { if let Some(a) = b && c {} }";
    let mutant =
        Mutant::for_test(7, Genre::BinaryOperator, source.find("&&").unwrap()..source.find(" c").unwrap(), "||");
    let switched = rewrite(source, &[&mutant]);
    assert_eq!((switched.text.as_str(), &switched.apart[..]), (source, &[7][..]));
}
