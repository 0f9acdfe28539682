use super::{Response, Values, count, expression, find, matches, visible};

pub fn fill(response: &Response<'_>, values: &mut Values) {
    let text = response.text;
    let (visible, letters) = (visible(text).len(), count(r"\p{L}", text));
    values.share("letter_share", letters, visible);
    values.share("uppercase_share", count(r"\p{Lu}", text), letters);
    values.share("digit_share", count(r"\p{Nd}", text), visible);
    let numbers = find(r"\p{Nd}+(?:[.,]\p{Nd}+)*", text);
    values.count("number_count", numbers.len());
    let year = |number: &&&str| {
        number.len() == 4 && number.parse().is_ok_and(|year: u32| (1500..=2100).contains(&year))
    };
    values.count("year_count", numbers.iter().filter(year).count());
    values.count("ordinal_count", ordinals(text));
    values.share(
        "non_ascii_share",
        text.chars().filter(|c| !c.is_ascii() && !c.is_whitespace()).count(),
        visible,
    );
    values.share("han_share", count(r"[\p{Han}&&\p{L}]", text), letters);
    values.share("latin_share", count(r"[\p{Latin}&&\p{L}]", text), letters);
    let wide = count(r"[[\p{P}\p{S}]&&[\u3000-\u303F\uFF00-\uFFEF]]", text);
    values.share("full_width_share", wide, count(r"[\p{P}\p{S}]", text));
    words(response, values);
    let firsts: Vec<&str> =
        response.sentences.iter().filter_map(|s| find(r"\p{L}", s).first().copied()).collect();
    let upper = firsts.iter().filter(|letter| matches(r"\p{Lu}", letter)).count();
    let lower = firsts.iter().filter(|letter| matches(r"\p{Ll}", letter)).count();
    values.share("sentence_capital_share", upper, upper + lower);
    values.yes("begins_lower_case", find(r"\p{L}", text).first().map(|letter| matches(r"\p{Ll}", letter)));
    values.count("elongation_count", runs(text));
}

/// `\b` won't do: an ideograph or underscore may stand before or after.
fn ordinals(text: &str) -> usize {
    let ends =
        expression(r"\p{Nd}+(?:[.,]\p{Nd}+)*").find_iter(text).map(|number| number.end()).collect::<Vec<_>>();
    ends.into_iter().filter(|&end| matches(r"^(?i-u:st|nd|rd|th)([^\p{L}\p{N}]|$)", &text[end..])).count()
}

fn words(response: &Response<'_>, values: &mut Values) {
    let words = &response.words;
    let all_caps = |word: &&&str| matches(r"^[^\p{L}]*(?:\p{Lu}[^\p{L}]*){2,}$", word);
    values.count("all_caps_word_count", words.iter().filter(all_caps).count());
    let title = words.iter().filter(|word| matches(r"^\p{Lu}[^\p{Lu}]*$", word)).count();
    values.share("title_case_share", title, words.len());
}

/// Runs of three or more of a letter.
fn runs(text: &str) -> usize {
    let characters: Vec<char> = text.chars().collect();
    let runs = characters.chunk_by(|a, b| a == b);
    runs.filter(|run| run.len() >= 3 && matches(r"\p{L}", &run[0].to_string())).count()
}
