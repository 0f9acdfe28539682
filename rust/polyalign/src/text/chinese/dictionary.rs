//! The dictionary as the segmenter reads it: a double array over small codes of characters.

use super::hmm::{self, Emissions};
use super::lexicon::{LONGEST, Lexicon};
use std::sync::LazyLock;

/// Stored by `write_dictionary` in `tests.rs`.
pub(super) static LEXICON: &[u8] = include_bytes!("dictionary.bin");
pub(super) static MODEL: &[u8] = include_bytes!("hmm.bin");

static DICTIONARY: LazyLock<Dictionary> = LazyLock::new(|| {
    let lexicon = Lexicon::read(LEXICON).expect("dictionary.bin is whole");
    let model = hmm::Model::read(MODEL).expect("hmm.bin is whole");
    Dictionary::new(&lexicon, &model)
});

/// What a character is to the dictionary, by which tables are indexed.
pub(super) type Code = u16;

/// Of a character that is in no word and not in the model's range.
pub(super) const OTHER: Code = 0;
/// Of a Han character of the model's range that is in no word and unknown to the model.
pub(super) const UNKNOWN: Code = 1;
/// The ASCII characters that can be part of words.
const ASCII: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz+#&._%-";
/// From here on codes are of Han characters, the more frequent the lower.
pub(super) const FIRST_HAN: Code = 2 + ASCII.len() as Code;

/// The main block of Han characters.
pub(super) const HAN: std::ops::RangeInclusive<u16> = 0x4E00..=0x9FFF;

/// Codes by ASCII character; `OTHER` of what ends a block.
pub(super) static ASCII_CODES: [Code; 128] = {
    let mut codes = [OTHER; 128];
    let mut i = 0;
    while i < ASCII.len() {
        codes[ASCII[i] as usize] = 2 + i as Code;
        i += 1;
    }
    codes
};

/// One character of a word after those before it.
#[derive(Clone, Copy)]
pub(super) struct Node {
    /// The character; `NO_LABEL` in a free place.
    pub label: Code,
    /// The index of the word's weight; 0 where no word ends.
    pub weight: u16,
    /// The next character's node is at its code after this; 0 where none follows.
    pub base: u32,
}

const NO_LABEL: Code = Code::MAX;
const FREE: Node = Node { label: NO_LABEL, weight: 0, base: 0 };

/// Places for nodes: about half of them stay free, so that families are placed at once.
const PLACES: usize = 1 << 20;

/// The words with their weights, and the emissions of the model.
pub(super) struct Dictionary {
    /// Codes of the characters of [`HAN`].
    pub han: Box<[Code]>,
    /// By code: the word of one character.
    pub roots: Vec<Node>,
    pub nodes: Vec<Node>,
    /// Logarithms of the shares of words; number 0 is that of a word seen once.
    pub weights: Vec<f64>,
    /// By code.
    pub emissions: Vec<Emissions>,
}

impl Dictionary {
    /// The dictionary, made at its first use.
    pub fn get() -> &'static Dictionary {
        &DICTIONARY
    }

    fn new(lexicon: &Lexicon, model: &hmm::Model) -> Dictionary {
        let (han, characters) = codes(lexicon, model);
        let emissions = characters.iter().map(|&c| model.emissions(c).unwrap_or(hmm::UNSEEN)).collect();
        let total = lexicon.logarithms[lexicon.distinct.len()];
        let mut weights = vec![0.0 - total];
        weights
            .extend(lexicon.logarithms[..lexicon.distinct.len()].iter().map(|logarithm| logarithm - total));
        let roots = vec![FREE; characters.len()];
        let mut dictionary = Dictionary { han, roots, nodes: Vec::new(), weights, emissions };
        dictionary.place(lexicon);
        dictionary
    }

    /// The code of a character of a word; `None` of one that no block has.
    fn code(&self, character: u16) -> Option<Code> {
        let code = match character {
            0..0x80 => ASCII_CODES[usize::from(character)],
            _ if HAN.contains(&character) => self.han[usize::from(character - HAN.start())],
            _ => OTHER,
        };
        (code > UNKNOWN).then_some(code)
    }

    /// Places every node that a block can reach.
    fn place(&mut self, lexicon: &Lexicon) {
        let codes: Vec<Option<Code>> = lexicon.characters.iter().map(|&c| self.code(c)).collect();
        let family = |node: usize| {
            let children = lexicon.children[node] as usize..lexicon.children[node + 1] as usize;
            children.filter_map(|child| Some((child, codes[usize::from(lexicon.symbols[child])]?)))
        };
        let weight = |node: usize| match lexicon.frequencies[node] {
            0 => 0,
            frequency => 1 + lexicon.distinct.partition_point(|&less| less < frequency) as u16,
        };
        let mut places = Places::new();
        let mut bases = vec![0; lexicon.symbols.len()];
        let mut parents: Vec<usize> = (1..lexicon.symbols.len()).collect();
        let fanout = |&node: &usize| lexicon.children[node + 1] - lexicon.children[node];
        parents.retain(|node| fanout(node) > 0);
        parents.sort_by_key(|node| std::cmp::Reverse(fanout(node)));
        let mut labels = Vec::new();
        for parent in parents {
            labels.clear();
            labels.extend(family(parent).map(|(_, code)| code));
            if !labels.is_empty() {
                bases[parent] = places.take(&labels);
            }
        }
        self.nodes = vec![FREE; places.end() + usize::from(Code::MAX)];
        for (child, code) in family(0) {
            self.roots[usize::from(code)] = Node { label: code, weight: weight(child), base: bases[child] };
        }
        for parent in 1..lexicon.symbols.len() {
            for (child, code) in family(parent) {
                let place = bases[parent] as usize + usize::from(code);
                self.nodes[place] = Node { label: code, weight: weight(child), base: bases[child] };
            }
        }
    }

    /// Whether codes spell a word.
    pub fn is_word(&self, word: &[Code]) -> bool {
        let Some((&first, rest)) = word.split_first() else { return false };
        if word.len() > LONGEST {
            return false;
        }
        let mut node = self.roots[usize::from(first)];
        for &code in rest {
            let next = self.nodes[node.base as usize + usize::from(code)];
            if node.base == 0 || next.label != code {
                return false;
            }
            node = next;
        }
        node.weight != 0
    }
}

/// The codes of the characters of [`HAN`], and the characters of all codes, 0 where there is none.
fn codes(lexicon: &Lexicon, model: &hmm::Model) -> (Box<[Code]>, Vec<u16>) {
    let mut characters: Vec<(u32, u16)> = HAN.map(|character| (0, character)).collect();
    for child in 1..lexicon.children[1] as usize {
        let character = lexicon.characters[usize::from(lexicon.symbols[child])];
        if HAN.contains(&character) {
            characters[usize::from(character - HAN.start())].0 = lexicon.frequencies[child];
        }
    }
    characters.retain(|&(_, c)| lexicon.characters.binary_search(&c).is_ok() || model.emissions(c).is_some());
    characters.sort_by_key(|&(frequency, character)| (std::cmp::Reverse(frequency), character));
    let unknown = |character: u16| if character <= hmm::LAST { UNKNOWN } else { OTHER };
    let mut codes: Box<[Code]> = HAN.map(unknown).collect();
    let mut all = vec![0; usize::from(FIRST_HAN)];
    for (_, character) in characters {
        codes[usize::from(character - HAN.start())] = all.len() as Code;
        all.push(character);
    }
    (codes, all)
}

/// Which places of the double array are taken.
struct Places {
    taken: Vec<bool>,
    /// No two families have the same base, so that a node's label alone tells whose it is.
    bases: Vec<bool>,
    random: u32,
    end: usize,
}

impl Places {
    fn new() -> Self {
        let taken = vec![false; PLACES + usize::from(Code::MAX)];
        Places { taken, bases: vec![false; PLACES], random: 1, end: 0 }
    }

    /// Takes places for a family, and gives its base.
    fn take(&mut self, labels: &[Code]) -> u32 {
        loop {
            self.random = self.random.wrapping_mul(0x9E37_79B1).wrapping_add(0x7F4A_7C15);
            let base = (self.random >> 12) as usize;
            let free = |&label: &Code| !self.taken[base + usize::from(label)];
            if base == 0 || self.bases[base] || !labels.iter().all(free) {
                continue;
            }
            self.bases[base] = true;
            for &label in labels {
                self.taken[base + usize::from(label)] = true;
                self.end = self.end.max(base + usize::from(label) + 1);
            }
            return base as u32;
        }
    }

    fn end(&self) -> usize {
        self.end
    }
}
