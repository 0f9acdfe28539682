use super::{Response, Values, characters, entropy, greatest, mean, standard_deviation, visible};
use std::collections::{HashMap, HashSet};

pub fn fill(response: &Response<'_>, values: &mut Values) {
    lengths(response, values);
    let types = &response.types;
    let (n, u) = (types.len(), response.counts.len());
    values.count("type_count", u);
    values.share("type_token_ratio", u, n);
    values.put("root_ttr", u as f64 / (n as f64).sqrt());
    values.put("log_ttr", if n == 1 { 1.0 } else { (u as f64).ln() / (n as f64).ln() });
    values.put("mattr_50", moving_ratio(types));
    let occurring = |times| response.counts.values().filter(|&&count| count == times).count();
    values.share("hapax_share", occurring(1), n);
    values.share("dislegomena_share", occurring(2), n);
    values.put("distinct_2", distinct(types, 2));
    values.put("distinct_3", distinct(types, 3));
    let bits = entropy(response.counts.values().copied());
    values.put("word_entropy", bits);
    values.put("word_entropy_share", if n == 1 { 1.0 } else { bits / (n as f64).log2() });
    values.share("max_word_share", response.counts.values().copied().max().unwrap_or(0), n);
    let squares: usize = response.counts.values().map(|count| count * count).sum();
    values.put("yule_k", 1e4 * (squares as f64 - n as f64) / (n as f64).powi(2));
    values.count("adjacent_repeat_count", types.windows(2).filter(|pair| pair[0] == pair[1]).count());
    values.put("sentence_start_repeat_share", repeated_starts(response));

    let mut occurrences = HashMap::new();
    for c in visible(response.text) {
        *occurrences.entry(c).or_insert(0) += 1;
    }
    values.share("char_type_share", occurrences.len(), occurrences.values().sum());
    values.put("char_entropy", entropy(occurrences.into_values()));
}

fn lengths(response: &Response<'_>, values: &mut Values) {
    let lengths: Vec<usize> = response.types.iter().map(|word| characters(word)).collect();
    values.put("word_length_mean", mean(&lengths));
    values.put("word_length_std", standard_deviation(&lengths));
    values.put("word_length_max", greatest(&lengths));
    let [short, long, very_long] = if response.is_chinese() { [1, 3, 4] } else { [3, 7, 11] };
    let such = |is: &dyn Fn(usize) -> bool| lengths.iter().filter(|&&length| is(length)).count();
    values.share("short_word_share", such(&|length| length <= short), lengths.len());
    values.share("long_word_share", such(&|length| length >= long), lengths.len());
    values.share("very_long_word_share", such(&|length| length >= very_long), lengths.len());
}

fn distinct_among(run: &[String]) -> f64 {
    run.iter().collect::<HashSet<_>>().len() as f64 / run.len() as f64
}

fn moving_ratio(types: &[String]) -> f64 {
    if types.len() <= 50 {
        return distinct_among(types);
    }
    let windows: Vec<f64> = types.windows(50).map(distinct_among).collect();
    windows.iter().sum::<f64>() / windows.len() as f64
}

fn distinct(types: &[String], n: usize) -> f64 {
    let runs: Vec<&[String]> = types.windows(n).collect();
    runs.iter().collect::<HashSet<_>>().len() as f64 / runs.len() as f64
}

fn repeated_starts(response: &Response<'_>) -> f64 {
    let starts: Vec<&String> = response.sentence_types.iter().filter_map(|types| types.first()).collect();
    let repeated = (0..starts.len()).filter(|&i| starts[..i].contains(&starts[i])).count();
    repeated as f64 / starts.len() as f64
}
