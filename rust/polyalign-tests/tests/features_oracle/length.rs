use super::{Response, Values};
use super::{characters, count, greatest, is_blank, least, mean, standard_deviation, visible};

pub fn fill(response: &Response<'_>, values: &mut Values) {
    let text = response.text;
    values.count("char_count", characters(text));
    values.count("char_no_space_count", visible(text).len());
    values.count("newline_count", count("\n", text));

    let lines: Vec<usize> = response.lines.iter().map(|line| characters(line)).collect();
    values.count("line_count", lines.len());
    values.put("line_chars_mean", mean(&lines));
    values.put("line_chars_max", greatest(&lines));

    let paragraphs: Vec<usize> = paragraphs(text).iter().map(|paragraph| characters(paragraph)).collect();
    values.count("paragraph_count", paragraphs.len());
    values.put("paragraph_chars_mean", mean(&paragraphs));
    values.share("paragraph_sentences_mean", response.sentences.len(), paragraphs.len());

    let sentences: Vec<usize> = response.sentences.iter().map(|sentence| characters(sentence)).collect();
    values.count("sentence_count", sentences.len());
    values.put("sentence_chars_mean", mean(&sentences));
    values.put("sentence_chars_std", standard_deviation(&sentences));
    values.put("sentence_chars_min", least(&sentences));
    values.put("sentence_chars_max", greatest(&sentences));

    let words: Vec<usize> = response.sentence_types.iter().map(Vec::len).collect();
    values.count("word_count", response.words.len());
    values.put("sentence_words_mean", mean(&words));
    values.put("sentence_words_std", standard_deviation(&words));
    values.put("sentence_words_min", least(&words));
    values.put("sentence_words_max", greatest(&words));
    values.put("first_sentence_words", words.first().map_or(f64::NAN, |&words| words as f64));
    values.put("last_sentence_words", words.last().map_or(f64::NAN, |&words| words as f64));
}

fn paragraphs(text: &str) -> Vec<String> {
    // As they stand, but for the \r of a last line.
    let lines: Vec<&str> = text.split('\n').collect();
    let runs = lines.split(|line| is_blank(line)).filter(|run| !run.is_empty()).map(|run| run.join("\n"));
    runs.map(|run| run.strip_suffix('\r').unwrap_or(&run).to_string()).collect()
}
