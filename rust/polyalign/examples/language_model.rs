//! Makes `src/buckets/latin.bin`, what tells languages in Latin script apart.
//!
//! `cargo run --release --example language_model -- FOLDER latin.bin`
//!
//! FOLDER holds the unpacked crates `lingua-*-language-model` 1.3.0 (Apache-2.0): for each language how
//! often strings of one to five letters occur in a million sentences of news. `benches/languages.py
//! model` fetches them and calls this.
//!
//! The counts leave out word boundaries, but imply them: a string begins a word as often as it occurs
//! without a letter before it. Serbian is counted in Cyrillic, and written in Latin here.

mod common;

use common::say;
use fst::{Map, Streamer};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::error::Error;
use std::path::Path;

/// Tags and the crates' names.
const LANGUAGES: [(&str, &str); 50] = [
    ("af", "afrikaans"),
    ("sq", "albanian"),
    ("az", "azerbaijani"),
    ("eu", "basque"),
    ("bs", "bosnian"),
    ("ca", "catalan"),
    ("hr", "croatian"),
    ("cs", "czech"),
    ("da", "danish"),
    ("nl", "dutch"),
    ("en", "english"),
    ("eo", "esperanto"),
    ("et", "estonian"),
    ("fi", "finnish"),
    ("fr", "french"),
    ("lg", "ganda"),
    ("de", "german"),
    ("hu", "hungarian"),
    ("is", "icelandic"),
    ("id", "indonesian"),
    ("ga", "irish"),
    ("it", "italian"),
    ("la", "latin"),
    ("lv", "latvian"),
    ("lt", "lithuanian"),
    ("ms", "malay"),
    ("mi", "maori"),
    ("nb", "bokmal"),
    ("nn", "nynorsk"),
    ("pl", "polish"),
    ("pt", "portuguese"),
    ("ro", "romanian"),
    ("sr", "serbian"),
    ("sn", "shona"),
    ("sk", "slovak"),
    ("sl", "slovene"),
    ("so", "somali"),
    ("st", "sotho"),
    ("es", "spanish"),
    ("sw", "swahili"),
    ("sv", "swedish"),
    ("tl", "tagalog"),
    ("ts", "tsonga"),
    ("tn", "tswana"),
    ("tr", "turkish"),
    ("vi", "vietnamese"),
    ("cy", "welsh"),
    ("xh", "xhosa"),
    ("yo", "yoruba"),
    ("zu", "zulu"),
];
/// Strings of the model.
const ROWS: usize = 20_000;
/// A string is a candidate if it has this share of any language's letters; a letter has a symbol of its own.
const CANDIDATE_SHARE: f64 = 2e-5;
const LETTER_SHARE: f64 = 5e-5;
/// How often a letter after a string is taken to be seen as it is after the shorter string.
const PRIOR: f64 = 10.0;
/// Share of what any language has, in each: words of others occur everywhere.
const COMMON: f64 = 0.02;
/// Costs are in so many parts of a nat.
const PARTS: f64 = 8.0;
const ORDER: u32 = 5;
const BOUNDARY: u64 = 1;
const UNKNOWN: u64 = 2;
const FIRST_LETTER: u64 = 3;

/// Strings of symbols, a byte each, the last in the lowest; and how often they occur.
type Counts = HashMap<u64, f64>;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: language_model FOLDER OUT";
    let (folder, out) = (arguments.next().ok_or(usage)?, arguments.next().ok_or(usage)?);
    let mut languages = Vec::new();
    for (_, name) in LANGUAGES {
        let crate_name = format!("lingua-{name}-language-model-1.3.0/models/ngrams.fst");
        languages.push(read(&Path::new(&folder).join(crate_name), name == "serbian")?);
    }
    let letters = alphabet(&languages);
    let symbols: HashMap<char, u64> = letters.iter().copied().zip(FIRST_LETTER..).collect();
    let tables: Vec<Counts> = languages.into_iter().map(|counts| with_boundaries(counts, &symbols)).collect();
    let candidates = candidates(&tables);
    let (likelihoods, gains) = likelihoods(&candidates, &tables, letters.len() as f64 + 2.0);
    let rows = choose(&candidates, gains);
    let file = encode(&letters, &rows, &likelihoods);
    let packed = zstd::bulk::compress(&file, 19)?;
    say!("{} letters, {} strings, {} bytes, packed {}", letters.len(), rows.len(), file.len(), packed.len());
    Ok(std::fs::write(out, packed)?)
}

/// How often each string of letters occurs; the file says with what probability its last letter
/// follows the others.
fn read(path: &Path, cyrillic: bool) -> Result<HashMap<String, f64>, Box<dyn Error>> {
    let file = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let map = Map::new(file)?;
    let mut shares: HashMap<String, f64> = HashMap::new();
    let mut rarest = f64::MAX;
    // In order: what a string begins with is there before it.
    let mut stream = map.stream();
    while let Some((string, bits)) = stream.next() {
        let string = std::str::from_utf8(string)?;
        let mut share = f64::from_bits(bits).exp();
        let (last, _) = string.char_indices().next_back().ok_or("an empty string")?;
        if last == 0 {
            rarest = rarest.min(share);
        } else {
            match shares.get(&string[..last]) {
                Some(head) => share *= head,
                None => continue,
            }
        }
        shares.insert(string.to_owned(), share);
    }
    // The rarest letter occurs once.
    let counts = shares.into_iter().map(|(string, share)| (string, (share / rarest).round()));
    Ok(if cyrillic { in_latin(counts) } else { counts.collect() })
}

/// Counts of Serbian in Latin letters. A letter may become two; a Latin string is counted where it
/// begins within the first letter and ends within the last.
fn in_latin(counts: impl Iterator<Item = (String, f64)>) -> HashMap<String, f64> {
    let cyrillic = "абвгдђежзијклљмнњопрстћуфхцчџш";
    let latin = "a b v g d đ e ž z i j k l lj m n nj o p r s t ć u f h c č dž š";
    let letters: HashMap<char, &str> = cyrillic.chars().zip(latin.split(' ')).collect();
    let mut found = HashMap::new();
    for (string, count) in counts {
        let Some(parts) = string.chars().map(|c| letters.get(&c).copied()).collect::<Option<Vec<_>>>() else {
            continue;
        };
        let written: Vec<char> = parts.concat().chars().collect();
        let (first, last) = (parts[0].chars().count(), parts[parts.len() - 1].chars().count());
        for start in 0..first {
            for end in (written.len() - last + 1).max(start + 1)..=written.len().min(start + ORDER as usize) {
                *found.entry(written[start..end].iter().collect()).or_default() += count;
            }
        }
    }
    found
}

/// The letters that have symbols of their own.
fn alphabet(languages: &[HashMap<String, f64>]) -> Vec<char> {
    let is_latin = |c: char| {
        c.is_ascii_lowercase()
            || matches!(c, '\u{DF}'..='\u{2AF}' | '\u{1E00}'..='\u{1EFF}') && c.is_alphabetic()
    };
    let mut letters = BTreeSet::new();
    for counts in languages {
        let single = |string: &str| string.chars().next().filter(|c| c.len_utf8() == string.len());
        let singles: Vec<_> =
            counts.iter().filter_map(|(string, count)| Some((single(string)?, count))).collect();
        let all: f64 = singles.iter().map(|(_, count)| **count).sum();
        let often = singles.iter().filter(|(c, count)| is_latin(*c) && **count / all > LETTER_SHARE);
        letters.extend(often.map(|(c, _)| *c));
    }
    letters.into_iter().collect()
}

fn length(key: u64) -> u32 {
    (64 - key.leading_zeros()).div_ceil(8)
}

/// Without the first symbol.
fn tail(key: u64) -> u64 {
    key & ((1 << (8 * (length(key) - 1))) - 1)
}

/// Without the last.
fn head(key: u64) -> u64 {
    key >> 8
}

/// The counts by symbols, with those of strings that begin or end words. The empty string's are all
/// letters and words.
fn with_boundaries(counts: HashMap<String, f64>, symbols: &HashMap<char, u64>) -> Counts {
    let mut table = Counts::new();
    for (string, count) in counts {
        let symbol = |c| symbols.get(&c).copied().unwrap_or(UNKNOWN);
        *table.entry(string.chars().fold(0, |key, c| key << 8 | symbol(c))).or_default() += count;
    }
    // What is left of a string's count when those of longer ones about it are taken away.
    let without = |table: &Counts, most: u32, shorter: fn(u64) -> u64| {
        let mut left = Counts::new();
        for (&key, count) in table {
            if length(key) < most {
                *left.entry(key).or_default() += count;
            }
            if length(key) > 1 && length(key) <= most {
                *left.entry(shorter(key)).or_default() -= count;
            }
        }
        left.retain(|_, count| *count > 0.5);
        left
    };
    let beginning = without(&table, ORDER, tail);
    let ending = without(&table, ORDER, head);
    let whole = without(&beginning, ORDER - 1, head);
    let behind = |key: u64| BOUNDARY << (8 * length(key)) | key;
    let words = beginning.iter().filter(|(key, _)| length(**key) == 1).map(|(_, count)| count).sum();
    table.extend(beginning.iter().map(|(&key, &count)| (behind(key), count)));
    table.extend(ending.iter().map(|(&key, &count)| (key << 8 | BOUNDARY, count)));
    table.extend(whole.iter().map(|(&key, &count)| (behind(key) << 8 | BOUNDARY, count)));
    table.insert(BOUNDARY, words);
    let all = table.iter().filter(|(key, _)| length(**key) == 1).map(|(_, count)| count).sum();
    table.insert(0, all);
    table
}

fn count(table: &Counts, key: u64) -> f64 {
    table.get(&key).copied().unwrap_or(0.0)
}

/// Strings often enough in any language and what they end in, the shorter first.
fn candidates(tables: &[Counts]) -> Vec<u64> {
    let mut found = BTreeSet::new();
    for table in tables {
        for (&key, count) in table {
            let mut key = if count / table[&0] >= CANDIDATE_SHARE { key } else { 0 };
            while key != 0 && found.insert((length(key), key)) {
                key = tail(key);
            }
        }
    }
    found.into_iter().map(|(_, key)| key).collect()
}

type Likelihoods = BTreeMap<u64, Vec<f64>>;

/// By language how likely a string's last symbol is after the others, and what the string tells that
/// the shorter one doesn't.
fn likelihoods(candidates: &[u64], tables: &[Counts], symbols: f64) -> (Likelihoods, Vec<(f64, u64)>) {
    let mut likelihoods = Likelihoods::new();
    let mut gains = Vec::new();
    for &key in candidates {
        let shorter = likelihoods.get(&tail(key));
        let likelihood: Vec<f64> = tables
            .iter()
            .enumerate()
            .map(|(language, table)| match shorter {
                None => (count(table, key) + 0.5) / (table[&0] + 0.5 * symbols),
                Some(shorter) => {
                    (count(table, key) + PRIOR * shorter[language]) / (count(table, head(key)) + PRIOR)
                }
            })
            .collect();
        if let Some(shorter) = shorter {
            let (own, other) = (mixed(&likelihood), mixed(shorter));
            let more: Vec<f64> = own.iter().zip(other).map(|(own, other)| (own / other).ln()).collect();
            let mean = more.iter().sum::<f64>() / more.len() as f64;
            let weighed = tables.iter().zip(&more);
            let gain = weighed.map(|(table, more)| count(table, key) / table[&0] * (more - mean).abs()).sum();
            gains.push((gain, key));
        }
        likelihoods.insert(key, likelihood);
    }
    (likelihoods, gains)
}

/// With a share of what all languages have.
fn mixed(likelihood: &[f64]) -> Vec<f64> {
    let mean = likelihood.iter().sum::<f64>() / likelihood.len() as f64;
    likelihood.iter().map(|own| (1.0 - COMMON) * own + COMMON * mean).collect()
}

/// The strings that tell most, with all that they end in; the shorter first.
fn choose(candidates: &[u64], mut gains: Vec<(f64, u64)>) -> Vec<u64> {
    gains.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let single = candidates.iter().copied().filter(|&key| length(key) == 1);
    let mut chosen: BTreeSet<(u32, u64)> = single.map(|key| (1, key)).collect();
    for (_, mut key) in gains {
        if chosen.len() >= ROWS {
            break;
        }
        while chosen.insert((length(key), key)) {
            key = tail(key);
        }
    }
    chosen.into_iter().map(|(_, key)| key).collect()
}

/// Little-endian: the letters, the languages, the strings, and by language a cost a string, beyond the
/// least of them; the least costs are the last.
fn encode(letters: &[char], rows: &[u64], likelihoods: &Likelihoods) -> Vec<u8> {
    let mut file = Vec::new();
    file.extend((letters.len() as u32).to_le_bytes());
    letters.iter().for_each(|&letter| file.extend(u32::from(letter).to_le_bytes()));
    file.extend((LANGUAGES.len() as u32).to_le_bytes());
    LANGUAGES.iter().for_each(|(tag, _)| file.extend(format!("{tag:4}").as_bytes()));
    file.extend((rows.len() as u32).to_le_bytes());
    rows.iter().for_each(|key| file.extend(&key.to_le_bytes()[..ORDER as usize]));
    let mut columns = vec![Vec::with_capacity(rows.len()); LANGUAGES.len() + 1];
    for key in rows {
        let costs: Vec<f64> = mixed(&likelihoods[key]).iter().map(|own| -own.ln() * PARTS).collect();
        let least = costs.iter().copied().fold(f64::MAX, f64::min);
        let beyond = costs.iter().map(|cost| cost - least).chain([least]);
        for (column, cost) in columns.iter_mut().zip(beyond) {
            column.push(cost.round().clamp(0.0, 255.0) as u8);
        }
    }
    file.extend(columns.concat());
    file
}
