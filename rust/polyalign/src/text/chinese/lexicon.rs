//! The words of the dictionary as a tree of characters, and how it is stored: as text, compressed with zstd.
//!
//! Nodes come in level order, a line each; the first is the empty word, and a node's children are neighbours. In
//! `words.txt.zst` a node's line has the characters that follow; in `frequencies.txt.zst` how often the word is seen
//! that ends there, and nothing if none does. So 中 (seen three times), 中国 (twice), 中文 (twice) and 大 (once) are
//!
//! ```text
//! node            .     中    大    中国  中文
//! words           中大  国文
//! frequencies           3     1     2     2
//! ```
//!
//! That takes 1.1 MB. The list of words with their frequencies would take 1.5 MB in zstd, an `fst` 2.1 MB.

/// No word of the dictionary is longer, in characters.
pub(super) const LONGEST: usize = 16;

/// The words, as a tree in level order: node 0 is the empty word, and a node's children are neighbours.
#[derive(Debug, PartialEq)]
pub(super) struct Lexicon {
    /// The characters of all words, ascending.
    pub characters: Vec<u16>,
    /// By node: the index of its last character in `characters`.
    pub symbols: Vec<u16>,
    /// By node: the frequency of the word that ends there, 0 for none.
    pub frequencies: Vec<u32>,
    /// By node: its first child, or where it would be; then the number of nodes.
    pub children: Vec<u32>,
    /// The distinct frequencies, ascending.
    pub distinct: Vec<u32>,
    /// Their natural logarithms, and that of the sum of all frequencies.
    pub logarithms: Vec<f64>,
}

/// What a [`Lexicon`] is read from, each a text.
#[derive(Debug, PartialEq)]
pub(super) struct Files {
    /// By node: the characters that may follow.
    pub words: String,
    /// By node: the frequency of the word that ends there, if one does.
    pub frequencies: String,
    /// The numbers whose logarithm is a unit in the last place more than `libm` says, then those whose is less.
    pub logarithms: String,
}

impl Lexicon {
    /// Reads texts; `None` if they don't fit together.
    pub fn read(files: &Files) -> Option<Lexicon> {
        let (characters, symbols, children) = tree(&files.words)?;
        let frequencies = files.frequencies.lines().map(|line| match line {
            "" => Some(0),
            number => number.parse().ok(),
        });
        let frequencies: Vec<u32> = frequencies.collect::<Option<_>>()?;
        if frequencies.len() != symbols.len() {
            return None;
        }
        let mut distinct: Vec<u32> = frequencies.iter().copied().filter(|&frequency| frequency > 0).collect();
        distinct.sort_unstable();
        distinct.dedup();
        let total = frequencies.iter().map(|&frequency| u64::from(frequency)).sum();
        let logarithms = logarithms(&files.logarithms, &distinct, total)?;
        Some(Lexicon { characters, symbols, frequencies, children, distinct, logarithms })
    }
}

/// The characters, symbols and children of a [`Lexicon`].
fn tree(words: &str) -> Option<(Vec<u16>, Vec<u16>, Vec<u32>)> {
    let followers = || words.lines().flat_map(str::chars).map(|character| u16::try_from(character).ok());
    let mut symbol_of = vec![0; usize::from(u16::MAX) + 1];
    for character in followers() {
        symbol_of[usize::from(character?)] = 1;
    }
    let characters: Vec<u16> = (0..=u16::MAX).filter(|&c| symbol_of[usize::from(c)] == 1).collect();
    for (symbol, &character) in (0..).zip(&characters) {
        symbol_of[usize::from(character)] = symbol;
    }
    let mut symbols = vec![0];
    symbols.extend(followers().flatten().map(|character| symbol_of[usize::from(character)]));
    let mut children = vec![1];
    let mut end = 1;
    for line in words.lines() {
        end += line.chars().count() as u32;
        children.push(end);
    }
    (children.len() == symbols.len() + 1).then_some((characters, symbols, children))
}

/// One logarithm in 65 of `libm` is a unit in the last place off what jieba works with, the C library's; ties hang
/// on it. So those are listed.
fn logarithms(off: &str, distinct: &[u32], total: u64) -> Option<Vec<f64>> {
    let mut lines = off.lines().map(|line| line.split(' ').map(str::parse).collect::<Result<Vec<u64>, _>>());
    let [more, less] = [lines.next()?.ok()?, lines.next()?.ok()?];
    let numbers = distinct.iter().map(|&frequency| u64::from(frequency)).chain([total]);
    let logarithm = |number: u64| {
        let near = libm::log(number as f64);
        match number {
            _ if more.contains(&number) => near.next_up(),
            _ if less.contains(&number) => near.next_down(),
            _ => near,
        }
    };
    Some(numbers.map(logarithm).collect())
}

#[cfg(test)]
pub(super) mod write {
    use super::{Files, Lexicon};
    use std::fmt::Write as _;

    /// The tree of words, given ascending and once each, with their frequencies.
    pub fn lexicon(words: &[(Vec<u16>, u32)]) -> Lexicon {
        let mut characters: Vec<u16> = words.iter().flat_map(|(word, _)| word).copied().collect();
        characters.sort_unstable();
        characters.dedup();
        let (mut symbols, mut children, mut frequencies) = (vec![0], vec![1], Vec::new());
        let mut level = vec![words];
        for depth in 0.. {
            let mut next = Vec::new();
            for words in level {
                let (mut longer, mut frequency) = (words, 0);
                if let Some((word, own)) = words.first()
                    && word.len() == depth
                {
                    (longer, frequency) = (&words[1..], *own);
                }
                frequencies.push(frequency);
                for family in longer.chunk_by(|(a, _), (b, _)| a[depth] == b[depth]) {
                    let symbol = characters.binary_search(&family[0].0[depth]);
                    symbols.push(symbol.expect("gathered above") as u16);
                    next.push(family);
                }
                children.push(symbols.len() as u32);
            }
            if next.is_empty() {
                break;
            }
            level = next;
        }
        let mut distinct: Vec<u32> = words.iter().map(|&(_, frequency)| frequency).collect();
        let total = distinct.iter().map(|&frequency| u64::from(frequency)).sum::<u64>();
        distinct.sort_unstable();
        distinct.dedup();
        let logarithms = distinct.iter().map(|&frequency| f64::from(frequency)).chain([total as f64]);
        let logarithms = logarithms.map(f64::ln).collect();
        Lexicon { characters, symbols, frequencies, children, distinct, logarithms }
    }

    impl Lexicon {
        /// The texts that the tree is read from.
        pub fn write(&self) -> Files {
            let (mut words, mut frequencies) = (String::new(), String::new());
            for (children, &frequency) in self.children.windows(2).zip(&self.frequencies) {
                let children = children[0] as usize..children[1] as usize;
                let followers =
                    self.symbols[children].iter().map(|&symbol| self.characters[usize::from(symbol)]);
                words.extend(followers.map(|c| char::from_u32(c.into()).expect("a character")).chain(['\n']));
                match frequency {
                    0 => frequencies.push('\n'),
                    _ => writeln!(frequencies, "{frequency}").expect("a string takes all"),
                }
            }
            Files { words, frequencies, logarithms: self.write_logarithms() }
        }

        fn write_logarithms(&self) -> String {
            let total = self.frequencies.iter().map(|&frequency| u64::from(frequency)).sum();
            let numbers = self.distinct.iter().map(|&frequency| u64::from(frequency)).chain([total]);
            let numbers = || numbers.clone().zip(&self.logarithms);
            let near = |number: u64| libm::log(number as f64);
            let more = numbers().filter(|&(number, &exact)| exact > near(number));
            let less = numbers().filter(|&(number, &exact)| exact < near(number));
            let line = |numbers: Vec<String>| numbers.join(" ") + "\n";
            line(more.map(|(number, _)| number.to_string()).collect())
                + &line(less.map(|(number, _)| number.to_string()).collect())
        }
    }
}
