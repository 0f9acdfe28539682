//! How many texts of either side say a word or a phrase.

use super::tokens::{id, key, lowered};
use crate::Result;
use crate::error::unless_stopped;
use crate::features::{Cutter, Language};
use rayon::prelude::*;
use std::sync::atomic::AtomicBool;

/// A text and whether a dictionary of Chinese cuts it.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    /// The text.
    pub text: &'a str,
    /// Whether it is Chinese.
    pub chinese: bool,
}

/// A phrase and how many texts of either side say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phrase {
    /// Its words, in lower case.
    pub words: Vec<String>,
    /// How many texts of the first and of the second side say it.
    pub texts: [u64; 2],
}

/// The phrases of one length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phrases {
    /// Those that enough texts say, in an order of no meaning that is always the same.
    pub found: Vec<Phrase>,
    /// The sums over all phrases of that length, for either side.
    pub totals: [u64; 2],
}

/// The words of a text's pieces between punctuation.
pub fn pieces(cutter: &mut Cutter, said: Said<'_>) -> Vec<Vec<String>> {
    let text = said.text.to_lowercase();
    let language = if said.chinese { Language::Chinese } else { Language::English };
    let mut buffer = String::new();
    let mut word = |word: &str| match word.contains('’') {
        true => word.replace('’', "'"),
        false => lowered(word, &mut buffer).to_owned(),
    };
    text.split(is_break)
        .map(|piece| cutter.words(piece, language).into_iter().map(&mut word).collect::<Vec<_>>())
        .filter(|words| !words.is_empty())
        .collect()
}

/// Where a phrase ends.
const fn is_break(c: char) -> bool {
    matches!(
        c,
        '.' | '!'
            | '?'
            | ';'
            | ':'
            | ','
            | '('
            | ')'
            | '['
            | ']'
            | '{'
            | '}'
            | '"'
            | '\r'
            | '\n'
            | '—'
            | '…'
            | '。'
            | '！'
            | '？'
            | '；'
            | '：'
            | '，'
            | '、'
            | '（'
            | '）'
            | '【'
            | '】'
            | '“'
            | '”'
            | '«'
            | '»'
            | '「'
            | '」'
            | '『'
            | '』'
    )
}

/// Where a text says a phrase for the first time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    key: u64,
    text: u32,
    piece: u32,
    word: u32,
}

/// Counts the phrases of 1 to `n` words of both sides; those that fewer than `least` texts say are left out.
pub fn count(sides: [&[Said<'_>]; 2], n: usize, least: u64, stop: &AtomicBool) -> Result<Vec<Phrases>> {
    let texts: Vec<Said<'_>> = sides.concat();
    let cut = |cutter: &mut Cutter, &said: &Said<'_>| {
        unless_stopped(stop)?;
        let pieces = pieces(cutter, said);
        Ok(pieces.iter().map(|words| words.iter().map(|word| id(word)).collect()).collect())
    };
    let ids: Vec<Vec<Vec<u64>>> =
        texts.par_iter().map_init(Cutter::default, cut).collect::<Result<Vec<_>>>()?;
    let of_order = |order| of_order(&texts, &ids, sides[0].len() as u32, (order, least), stop);
    (1..=n).map(of_order).collect()
}

fn of_order(
    texts: &[Said<'_>],
    ids: &[Vec<Vec<u64>>],
    first_side: u32,
    (order, least): (usize, u64),
    stop: &AtomicBool,
) -> Result<Phrases> {
    let of_text = |(text, pieces): (usize, &Vec<Vec<u64>>)| {
        let mut places = Vec::new();
        for (piece, words) in pieces.iter().enumerate() {
            places.extend(words.windows(order).enumerate().map(|(word, ids)| Place {
                key: key(ids),
                text: text as u32,
                piece: piece as u32,
                word: word as u32,
            }));
        }
        // Once a text, where it stands first.
        places.sort_unstable();
        places.dedup_by_key(|place| place.key);
        places
    };
    let mut places: Vec<Place> = ids.par_iter().enumerate().map(of_text).flatten_iter().collect();
    unless_stopped(stop)?;
    places.par_sort_unstable();
    unless_stopped(stop)?;
    let mut totals = [0; 2];
    let mut kept = Vec::new();
    for run in places.chunk_by(|a, b| a.key == b.key) {
        let first = run.partition_point(|place| place.text < first_side) as u64;
        let said = [first, run.len() as u64 - first];
        totals = [totals[0] + said[0], totals[1] + said[1]];
        if said[0] + said[1] >= least {
            kept.push((run[0], said));
        }
    }
    Ok(Phrases { found: spelt(texts, kept, order, stop)?, totals })
}

/// The phrases in words: each text that is needed is cut once more.
fn spelt(
    texts: &[Said<'_>],
    mut kept: Vec<(Place, [u64; 2])>,
    order: usize,
    stop: &AtomicBool,
) -> Result<Vec<Phrase>> {
    kept.sort_unstable_by_key(|(place, _)| (place.text, place.piece, place.word));
    let of_text: Vec<&[(Place, [u64; 2])]> = kept.chunk_by(|a, b| a.0.text == b.0.text).collect();
    let spell = |cutter: &mut Cutter, rows: &&[(Place, [u64; 2])]| {
        unless_stopped(stop)?;
        let pieces = pieces(cutter, texts[rows[0].0.text as usize]);
        let phrase = |(place, texts): &(Place, [u64; 2])| {
            let words = &pieces[place.piece as usize][place.word as usize..][..order];
            Phrase { words: words.to_vec(), texts: *texts }
        };
        Ok(rows.iter().map(phrase).collect::<Vec<_>>())
    };
    Ok(of_text.par_iter().map_init(Cutter::default, spell).collect::<Result<Vec<_>>>()?.concat())
}
