//! The dictionary as the segmenter reads it: a double array over small codes of characters.

use super::hmm::{self, Emissions};
use super::lexicon::{Files, LONGEST, Lexicon};
use std::sync::LazyLock;

// Stored by `write_dictionary` in `tests.rs`.
static WORDS: &[u8] = include_bytes!("words.txt.zst");
static FREQUENCIES: &[u8] = include_bytes!("frequencies.txt.zst");
static LOGARITHMS: &str = include_str!("logarithms.txt");
static MODEL: &[u8] = include_bytes!("hmm.txt.zst");

static DICTIONARY: LazyLock<Dictionary> = LazyLock::new(|| {
    let lexicon = Lexicon::read(&lexicon_files()).expect("the dictionary's files are whole");
    let model = hmm::Model::read(&model_file()).expect("hmm.txt.zst is whole");
    Dictionary::new(&lexicon, &model)
});

pub(super) fn lexicon_files() -> Files {
    Files { words: unpack(WORDS), frequencies: unpack(FREQUENCIES), logarithms: LOGARITHMS.to_owned() }
}

pub(super) fn model_file() -> String {
    unpack(MODEL)
}

fn unpack(packed: &[u8]) -> String {
    let text = zstd::decode_all(packed).expect("the dictionary's files are zstd");
    String::from_utf8(text).expect("the dictionary's files are text")
}

/// What a character is to the dictionary, by which tables are indexed.
pub(super) type Code = u16;

/// Of a character that no word is made of, such as a comma: it parts the text into blocks.
pub(super) const BREAK: Code = 0;
/// Of one that can be part of words, but is in none and not in the model's range.
pub(super) const OTHER: Code = 1;
/// Of a Han character of the model's range that is in no word and unknown to the model.
pub(super) const UNKNOWN: Code = 2;
/// The ASCII characters that can be part of words.
const ASCII: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz+#&._%-";
/// From here on codes are of Han characters, the more frequent the lower.
pub(super) const FIRST_HAN: Code = 3 + ASCII.len() as Code;

/// The main block of Han characters.
pub(super) const HAN: std::ops::RangeInclusive<u16> = 0x4E00..=0x9FFF;

/// Codes by ASCII character.
pub(super) static ASCII_CODES: [Code; 128] = {
    let mut codes = [BREAK; 128];
    let mut i = 0;
    while i < ASCII.len() {
        codes[ASCII[i] as usize] = 3 + i as Code;
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
    /// The base, below [`PLACES`]: the next character's node is at its code after this. The bits above tell
    /// which characters may follow, so that most others are not looked up.
    next: u32,
}

impl Node {
    fn set_next(&mut self, base: u32, followers: impl Iterator<Item = Code>) {
        self.next = followers.fold(base, |next, code| next | filter(code));
    }

    /// Whether a node for the character may be at [`Node::place`].
    #[inline]
    pub fn may_precede(self, code: Code) -> bool {
        self.next & filter(code) != 0
    }

    /// Where the node of the next character is, if one has that label.
    #[inline]
    pub fn place(self, code: Code) -> usize {
        (self.next as usize & (PLACES - 1)) + usize::from(code)
    }
}

/// The bit of a character among those of a node that are no part of the base.
#[inline]
fn filter(code: Code) -> u32 {
    const BITS: u32 = u32::BITS - PLACES.ilog2();
    1 << (u32::BITS - 1 - u32::from(code) % BITS)
}

const NO_LABEL: Code = Code::MAX;
/// No node.
pub(super) const FREE: Node = Node { label: NO_LABEL, weight: 0, next: 0 };

/// Places for nodes: about half of them stay free, so that families are placed at once.
const PLACES: usize = 1 << 20;

/// The words with their weights, and the emissions of the model.
pub(super) struct Dictionary {
    /// Codes of the characters of [`HAN`].
    pub han: Box<[Code]>,
    /// By code: the word of one character.
    pub roots: Vec<Node>,
    pub nodes: Vec<Node>,
    /// Logarithms of the shares of words, after that of no word, −∞.
    pub weights: Vec<f64>,
    /// The logarithm of the share of a word seen once, as which unknown characters count.
    pub single: f64,
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
        let mut weights = vec![f64::NEG_INFINITY];
        weights
            .extend(lexicon.logarithms[..lexicon.distinct.len()].iter().map(|logarithm| logarithm - total));
        let roots = vec![FREE; characters.len()];
        let mut dictionary =
            Dictionary { han, roots, nodes: Vec::new(), weights, single: 0.0 - total, emissions };
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
        self.nodes = vec![FREE; PLACES + usize::from(Code::MAX)];
        for parent in 0..lexicon.symbols.len() {
            for (child, label) in family(parent) {
                let mut node = Node { label, weight: weight(child), next: 0 };
                node.set_next(bases[child], family(child).map(|(_, code)| code));
                if parent == 0 {
                    self.roots[usize::from(label)] = node;
                } else {
                    self.nodes[bases[parent] as usize + usize::from(label)] = node;
                }
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
            node = self.nodes[node.place(code)];
            if node.label != code {
                return false;
            }
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
    taken: Bits,
    /// No two families have the same base, so that a node's label alone tells whose it is.
    bases: Bits,
    random: u32,
}

impl Places {
    fn new() -> Self {
        Places { taken: Bits::new(PLACES + usize::from(Code::MAX)), bases: Bits::new(PLACES), random: 1 }
    }

    /// Takes places for a family, and gives its base.
    fn take(&mut self, labels: &[Code]) -> u32 {
        loop {
            self.random = self.random.wrapping_mul(0x915F_77F5).wrapping_add(1);
            let base = (self.random >> (u32::BITS - PLACES.ilog2())) as usize;
            let taken = |&label: &Code| self.taken.get(base + usize::from(label));
            if base == 0 || self.bases.get(base) || labels.iter().any(taken) {
                continue;
            }
            self.bases.set(base);
            labels.iter().for_each(|&label| self.taken.set(base + usize::from(label)));
            return base as u32;
        }
    }
}

struct Bits(Vec<u64>);

impl Bits {
    fn new(size: usize) -> Self {
        Bits(vec![0; size.div_ceil(64)])
    }

    fn get(&self, i: usize) -> bool {
        self.0[i / 64] >> (i % 64) & 1 == 1
    }

    fn set(&mut self, i: usize) {
        self.0[i / 64] |= 1 << (i % 64);
    }
}
