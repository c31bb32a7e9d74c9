//! Checks typed text before it is shown to others.

/// Whether `character` is invisible or changes how its neighbours are displayed: controls, line separators,
/// bidirectional overrides and isolates, zero-width characters, variation selectors, tags. Such characters can make one
/// name look like another.
///
/// Unicode's categories Cc, Cf, Zl and Zp, the default-ignorable characters (DerivedCoreProperties of 16.0), characters
/// with an empty glyph, and noncharacters (the last two of each plane, and U+FDD0 to U+FDEF).
pub(crate) fn is_invisible(character: char) -> bool {
    character.is_control()
        || u32::from(character) & 0xfffe == 0xfffe
        || matches!(character,
            '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}'
            | '\u{8e2}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
            | '\u{fdd0}'..='\u{fdef}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}'
            | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d159}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// At most `most` characters of typed text, without invisible ones.
pub(crate) fn shown(text: &str, most: usize) -> String {
    text.chars().filter(|character| !is_invisible(*character)).take(most).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shows_nothing_is_told_from_what_shows() {
        for invisible in "\0\n\t\u{7f}\u{9b}\u{ad}\u{61c}\u{200b}\u{200d}\u{200e}\u{2028}\u{202a}\u{202e}\u{2060}\u{2066}\u{2069}\u{feff}\u{e0041}\u{2800}\u{1d159}\u{fdd0}\u{fffe}\u{1ffff}".chars() {
            assert!(is_invisible(invisible), "{invisible:?}");
        }
        for shown in "A é ß ñ 漢 م ก \u{301}’–&<>😀".chars() {
            assert!(!is_invisible(shown), "{shown:?}");
        }
        assert_eq!(shown("a\u{202e}b\u{200b}c", 2), "ab");
    }
}
