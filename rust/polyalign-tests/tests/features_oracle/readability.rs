use super::{Response, Values, characters, count, find, has_alphanumeric, matches};
use polyalign::text::chinese::is_common;

pub fn fill(response: &Response<'_>, values: &mut Values) {
    let (words, sentences) = (response.words.len(), response.sentences.len());
    let syllables: Vec<usize> = response.types.iter().map(|word| syllables(word)).collect();
    let polysyllables = syllables.iter().filter(|&&count| count >= 3).count();
    let ratio = |part: usize, whole: usize| if whole == 0 { f64::NAN } else { part as f64 / whole as f64 };
    let per_word = ratio(syllables.iter().sum(), words);
    let per_sentence = ratio(words, sentences);
    values.put("syllables_per_word", per_word);
    values.share("polysyllable_share", polysyllables, words);
    values.put("flesch_reading_ease", 206.835 - 1.015 * per_sentence - 84.6 * per_word);
    values.put("flesch_kincaid_grade", 0.39 * per_sentence + 11.8 * per_word - 15.59);
    values.put("gunning_fog", 0.4 * (per_sentence + 100.0 * ratio(polysyllables, words)));
    values.put("smog_index", 1.043 * (30.0 * ratio(polysyllables, sentences)).sqrt() + 3.1291);
    let letters = response.types.iter().map(|word| count(r"\p{L}", word)).sum();
    let liau = 5.88 * ratio(letters, words) - 29.6 * ratio(sentences, words) - 15.8;
    values.put("coleman_liau_index", liau);
    let in_words = response.types.iter().map(|word| characters(word)).sum();
    values.put("automated_readability_index", 4.71 * ratio(in_words, words) + 0.5 * per_sentence - 21.43);
    let long = response.types.iter().filter(|word| characters(word) > 6).count();
    values.put("lix", per_sentence + 100.0 * ratio(long, words));
    values.share("rix", long, sentences);
    chinese(response, values);
}

fn chinese(response: &Response<'_>, values: &mut Values) {
    let clauses: Vec<usize> = (response.text.split(|c| "，；：。！？…,;:!?\n".contains(c)))
        .map(str::trim)
        .filter(|clause| has_alphanumeric(clause))
        .map(characters)
        .collect();
    values.share("clause_chars_mean", clauses.iter().sum(), clauses.len());
    values.share("clauses_per_sentence", clauses.len(), response.sentences.len());
    let han = find(r"[\p{Han}&&\p{L}]", response.text);
    values.share(
        "common_character_share",
        han.iter().filter(|han| han.chars().all(is_common)).count(),
        han.len(),
    );
    let four = response.words.iter().filter(|word| matches(r"^[\p{Han}&&\p{L}]{4}$", word)).count();
    values.share("four_character_word_share", four, response.words.len());
}

/// Of a type.
fn syllables(word: &str) -> usize {
    let letters: String = find("[a-z]", word).concat();
    let groups = count("[aeiouy]+", &letters);
    let silent = usize::from(groups > 1 && matches("[^ly]e$", &letters));
    if letters.len() <= 3 { 1 } else { (groups - silent).max(1) }
}
