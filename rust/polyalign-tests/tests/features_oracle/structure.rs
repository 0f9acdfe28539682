use super::{Response, Values, count, expression, matches};

pub fn fill(response: &Response<'_>, values: &mut Values) {
    let text = response.text;
    let lines: Vec<&str> = response.lines.iter().map(|line| line.trim()).collect();
    let such = |pattern| lines.iter().filter(|line| matches(pattern, line)).count();
    let bullets = such(r"^[-*•]\s");
    let enumerated =
        such(r"^[(（]?([0-9]{1,3}|[A-Za-z]|[一二三四五六七八九十]{1,3})[.)、．）](\s|[\p{Han}&&\p{L}])");
    values.count("bullet_line_count", bullets);
    values.count("enumerated_line_count", enumerated);
    values.share("list_line_share", bullets + enumerated, lines.len());
    values.count("heading_line_count", such(r"^#{1,6}\s"));
    values.count("quoted_line_count", such("^>"));
    values.count("table_line_count", such(r"^\|.*\|$"));
    values.count("code_fence_count", such("^(```|~~~)"));
    values.share("code_line_share", code_lines(&lines), lines.len());
    values.count("backtick_count", count("`", text));
    values.count("bold_count", count(r"\*\*", text) / 2);
    values.count("markdown_link_count", count(r"\]\(", text));
    let hosts = followed(r"(?i-u:www\.)", r"^[\p{L}\p{N}]", text);
    let hosts = hosts.into_iter().filter(|before| !matches(r"[\p{L}\p{N}/]$", before)).count();
    values.count("url_count", followed("(?i-u:https?://)", r"^\S", text).len() + hosts);
    let host = r"^[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*\.[A-Za-z]";
    let mails = followed("@", host, text).into_iter().filter(|before| matches("[A-Za-z0-9_.+-]$", before));
    values.count("email_count", mails.count());
    values.count("emoji_count", emoji(text).len());
    let faces = followed("[:;=]", r"^[-^']?[)(DPpOo3/\\|\]\[]([^\p{L}\p{N}/]|$)", text);
    values.count("emoticon_count", faces.into_iter().filter(|before| matches(r"(^|\s)$", before)).count());
    values.count("math_count", followed(r"\$", r"^[A-Za-z\\]", text).len() + count(r"\\[(\[]", text));
}

/// What stands before each match of a pattern that another one matches after.
fn followed<'t>(pattern: &'static str, next: &'static str, text: &'t str) -> Vec<&'t str> {
    let places = expression(pattern).find_iter(text).map(|found| found.range()).collect::<Vec<_>>();
    places.into_iter().filter(|at| matches(next, &text[at.end..])).map(|at| &text[..at.start]).collect()
}

fn code_lines(lines: &[&str]) -> usize {
    let (mut within, mut found) = (false, 0);
    for line in lines {
        let fence = matches("^(```|~~~)", line);
        found += usize::from(within || fence);
        within ^= fence;
    }
    found
}

/// The places of a text's emoji among its characters.
pub fn emoji(text: &str) -> Vec<usize> {
    let characters: Vec<char> = text.chars().collect();
    let is = |at: &usize| {
        let one = characters[*at].to_string();
        let selected = characters.get(at + 1) == Some(&'\u{FE0F}');
        matches(r"[\p{Emoji_Presentation}--\p{Emoji_Modifier}]", &one)
            || selected && matches(r"[\p{Emoji}--\p{Emoji_Presentation}]", &one)
    };
    (0..characters.len()).filter(is).collect()
}
