//! Numbers in the control API: a JSON number or its text.

use std::{collections::BTreeMap, fmt::Display, str::FromStr};

use serde::{Deserialize, Deserializer, de::Error};

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a number")]
enum NumberOrText<T> {
    Number(T),
    Text(String),
}

impl<T: FromStr<Err: Display>> NumberOrText<T> {
    fn number<E: Error>(self) -> Result<T, E> {
        match self {
            Self::Number(number) => Ok(number),
            Self::Text(text) => {
                text.trim().parse().map_err(|error| E::custom(format_args!("{text:?} is not a number: {error}")))
            }
        }
    }
}

/// A number.
pub(in crate::fake_ups) fn number<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + FromStr<Err: Display>,
{
    NumberOrText::deserialize(deserializer)?.number()
}

/// An optional number.
pub(in crate::fake_ups) fn optional_number<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + FromStr<Err: Display>,
{
    Option::<NumberOrText<T>>::deserialize(deserializer)?.map(NumberOrText::number).transpose()
}

/// A number for each name.
pub(super) fn numbers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, usize>, D::Error> {
    let numbers = BTreeMap::<String, NumberOrText<usize>>::deserialize(deserializer)?;
    numbers.into_iter().map(|(name, number)| Ok((name, number.number()?))).collect()
}

/// An optional text, which may be written as a number.
pub(super) fn optional_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<NumberOrText<i64>>::deserialize(deserializer)?.map(text))
}

/// A text for each name, which may be written as a number.
pub(super) fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let texts = BTreeMap::<String, NumberOrText<i64>>::deserialize(deserializer)?;
    Ok(texts.into_iter().map(|(name, value)| (name, text(value))).collect())
}

fn text(value: NumberOrText<i64>) -> String {
    match value {
        NumberOrText::Number(number) => number.to_string(),
        NumberOrText::Text(text) => text,
    }
}
