//! `docs/opt-in.svg` shows what the machine does: every arrow is an allowed step, and every allowed step has an arrow.
//! Steps that change no state (a notice, a look, a fence) are not drawn; `reachable` proves that they change none.

use std::collections::BTreeSet;

use super::reachable::steps;

const DIAGRAM: &str = include_str!("../../../docs/opt-in.svg");

/// The values of the attribute `name="…"` at the start of `text`, and the rest of the text.
fn attribute<'a>(text: &'a str, name: &str) -> (Vec<&'a str>, &'a str) {
    let value = text.trim_start().strip_prefix(name).and_then(|rest| rest.strip_prefix("=\""));
    let (value, rest) = value.and_then(|value| value.split_once('"')).unwrap_or_else(|| panic!("no {name} in {text}"));
    (value.split_whitespace().collect(), rest)
}

/// The steps that the arrows show. An arrow may stand for several states or events; `=` leads back to each state.
fn drawn() -> BTreeSet<(&'static str, &'static str, &'static str)> {
    let mut drawn = BTreeSet::new();
    for arrow in DIAGRAM.split("<g class=\"arrow").skip(1) {
        let (_, attributes) = arrow.split_once('"').unwrap();
        let (from, attributes) = attribute(attributes, "data-from");
        let (events, attributes) = attribute(attributes, "data-event");
        let (to, _) = attribute(attributes, "data-to");
        for from in from {
            for event in &events {
                for to in &to {
                    let step = (from, *event, if *to == "=" { from } else { to });
                    assert!(drawn.insert(step), "{step:?} is drawn twice");
                }
            }
        }
    }
    drawn
}

#[test]
fn every_arrow_is_an_allowed_step_and_every_allowed_step_is_an_arrow() {
    let (drawn, allowed) = (drawn(), steps());

    let without = |these: &BTreeSet<_>, those| these.difference(those).copied().collect::<Vec<_>>();
    assert_eq!((without(&drawn, &allowed), without(&allowed, &drawn)), (vec![], vec![]), "drawn too much, too little");
}

#[test]
fn every_arrow_is_drawn_and_labelled() {
    for arrow in DIAGRAM.split("<g class=\"arrow").skip(1) {
        let (arrow, _) = arrow.split_once("</g>").unwrap();
        assert!(arrow.contains("<path d=") && arrow.contains("<text"), "{arrow}");
    }
}
