//! Punctuation marks that mean the same in different scripts.

/// Question marks but `?`. Greek's `;` is one too: [`is_greek_question`].
pub const QUESTIONS: [char; 13] = ['？', '؟', '\u{37E}', '՞', '፧', '⁇', '⁈', '⁉', '‽', '⸮', '﹖', '︖', '꘏'];
/// Exclamation marks but `!`.
pub const EXCLAMATIONS: [char; 7] = ['！', '՜', '߹', '‼', '⁈', '﹗', '︕'];
/// Commas but `,`.
pub const COMMAS: [char; 10] = ['，', '、', '،', '՝', '፣', '᠂', '﹐', '﹑', '､', '߸'];
/// What ends a sentence that neither asks nor exclaims, but `.`.
pub const PERIODS: [char; 12] = ['。', '۔', '।', '॥', '։', '።', '။', '។', '᠃', '།', '．', '｡'];
/// Semicolons but `;`.
pub const SEMICOLONS: [char; 4] = ['；', '؛', '፤', '﹔'];
/// Colons but `:`.
pub const COLONS: [char; 4] = ['：', '፥', '﹕', '︓'];

/// Whether a `;` with this text before it is Greek's question mark: it follows a Greek letter.
pub fn is_greek_question(before: &str) -> bool {
    let is_greek =
        |c: char| c.is_alphabetic() && matches!(c, '\u{370}'..='\u{3FF}' | '\u{1F00}'..='\u{1FFF}');
    before.chars().next_back().is_some_and(is_greek)
}

/// Whether a text has a question mark.
pub fn has_question(text: &str) -> bool {
    let is_greek = |at: usize| is_greek_question(&text[..at]);
    text.contains('?')
        || !text.is_ascii()
            && (text.contains(QUESTIONS) || text.match_indices(';').any(|(at, _)| is_greek(at)))
}
