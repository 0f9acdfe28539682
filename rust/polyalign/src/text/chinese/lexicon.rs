//! The words of the dictionary as a tree of characters, and how it is stored.

use super::coder::{Bit, Coder, Decoder, Number, Sets};

/// No word of the dictionary is longer, in characters.
pub(super) const LONGEST: usize = 16;

/// More nodes than the dictionary has.
const MAX_NODES: usize = 1 << 20;

/// The words, as a tree in level order: node 0 is the empty word, and a node's children are neighbours.
#[derive(Debug, Default, PartialEq)]
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

impl Lexicon {
    /// Reads what [`Lexicon::code`] wrote.
    pub fn read(bytes: &[u8]) -> Option<Lexicon> {
        let mut lexicon = Lexicon::default();
        lexicon.code(&mut Decoder::new(bytes), false)?;
        Some(lexicon)
    }

    /// Codes the whole; `known` says whether it is there already.
    fn code(&mut self, coder: &mut impl Coder, known: bool) -> Option<()> {
        self.code_characters(coder);
        let mut model = Model::new(self.characters.len());
        if !known {
            self.symbols.push(0);
            self.children.push(1);
        }
        let mut parents = vec![Parent { depth: 0, fanout: 0, frequency: 0 }];
        let mut node = 0;
        while node < parents.len() {
            let parent = parents[node];
            let (mut fanout, mut frequency) = (0, 0);
            if known {
                fanout = self.children[node + 1] - self.children[node];
                frequency = self.frequencies[node];
            }
            (fanout, frequency) = model.node(coder, parent, fanout, frequency)?;
            let first = self.children[node] as usize;
            let end = first.saturating_add(fanout as usize);
            if end > MAX_NODES || parent.depth == LONGEST && fanout > 0 {
                return None;
            }
            if !known {
                self.frequencies.push(frequency);
                self.children.push(end as u32);
                self.symbols.resize(end, 0);
            }
            model.sets[parent.depth.min(3)].code(coder, &mut self.symbols[first..end])?;
            parents.resize(end, Parent { depth: parent.depth + 1, fanout, frequency });
            node += 1;
        }
        self.code_logarithms(coder, known);
        self.symbols.iter().all(|&symbol| usize::from(symbol) < self.characters.len()).then_some(())
    }

    /// One logarithm in 65 of `libm` is a unit in the last place off what jieba works with, the C
    /// library's; ties hang on it. So whether it is off, and where to, is stored.
    fn code_logarithms(&mut self, coder: &mut impl Coder, known: bool) {
        self.distinct = self.frequencies.iter().copied().filter(|&frequency| frequency > 0).collect();
        self.distinct.sort_unstable();
        self.distinct.dedup();
        let total = self.frequencies.iter().map(|&frequency| u64::from(frequency)).sum::<u64>();
        let (mut off, mut up) = (Bit::NEW, Bit::NEW);
        for i in 0..=self.distinct.len() {
            let number = self.distinct.get(i).map_or(total as f64, |&frequency| f64::from(frequency));
            let near = libm::log(number);
            let exact = if known { self.logarithms[i] } else { near };
            let mut exact_bits = near.to_bits();
            if off.code(coder, exact != near) {
                let up = up.code(coder, exact > near);
                exact_bits = exact_bits.wrapping_add_signed(if up { 1 } else { -1 });
            }
            if !known {
                self.logarithms.push(f64::from_bits(exact_bits));
            }
        }
    }

    fn code_characters(&mut self, coder: &mut impl Coder) {
        let mut models = [Bit::NEW; 4];
        let mut last = 0;
        let mut known = std::mem::take(&mut self.characters).into_iter().peekable();
        for character in 0..0xFFFF {
            let bit = models[last].code(coder, known.next_if_eq(&character).is_some());
            if bit {
                self.characters.push(character);
            }
            last = last << 1 & 3 | usize::from(bit);
        }
    }
}

/// What is known of a node before it is read.
#[derive(Clone, Copy)]
struct Parent {
    /// Of the node itself.
    depth: usize,
    fanout: u32,
    frequency: u32,
}

/// What has been learned of the tree so far.
struct Model {
    fanouts: Vec<Number>,
    frequencies: Vec<Number>,
    sets: [Sets; 4],
}

/// Up to how many bits a number of the context is told apart by.
const CONTEXT: usize = 8;

fn class(number: u32, classes: usize) -> usize {
    ((32 - number.leading_zeros()) as usize).min(classes - 1)
}

impl Model {
    fn new(characters: usize) -> Self {
        Model {
            fanouts: vec![Number::new(14); 5 * CONTEXT * CONTEXT],
            frequencies: vec![Number::new(20); 5 * CONTEXT * 4],
            sets: std::array::from_fn(|_| Sets::new(characters)),
        }
    }

    /// The number of children and the frequency.
    fn node(
        &mut self,
        coder: &mut impl Coder,
        parent: Parent,
        fanout: u32,
        frequency: u32,
    ) -> Option<(u32, u32)> {
        let depth = parent.depth.min(4);
        let (family, usage) = (class(parent.fanout, CONTEXT), class(parent.frequency, CONTEXT));
        let fanouts = &mut self.fanouts[(depth * CONTEXT + family) * CONTEXT + usage];
        let fanout = fanouts.code(coder, fanout)?;
        let frequencies = &mut self.frequencies[(depth * CONTEXT + usage) * 4 + class(fanout, 4)];
        Some((fanout, frequencies.code(coder, frequency)?))
    }
}

#[cfg(test)]
pub(super) mod write {
    use super::super::coder::Encoder;
    use super::Lexicon;

    /// The tree of words, given ascending and once each, with their frequencies.
    pub fn lexicon(words: &[(Vec<u16>, u32)]) -> Lexicon {
        let mut characters: Vec<u16> = words.iter().flat_map(|(word, _)| word).copied().collect();
        characters.sort_unstable();
        characters.dedup();
        let mut lexicon = Lexicon { characters, symbols: vec![0], children: vec![1], ..Lexicon::default() };
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
                lexicon.frequencies.push(frequency);
                for family in longer.chunk_by(|(a, _), (b, _)| a[depth] == b[depth]) {
                    let symbol = lexicon.characters.binary_search(&family[0].0[depth]);
                    lexicon.symbols.push(symbol.expect("gathered above") as u16);
                    next.push(family);
                }
                lexicon.children.push(lexicon.symbols.len() as u32);
            }
            if next.is_empty() {
                break;
            }
            level = next;
        }
        let mut numbers: Vec<u32> = words.iter().map(|&(_, frequency)| frequency).collect();
        let total = numbers.iter().map(|&frequency| u64::from(frequency)).sum::<u64>();
        numbers.sort_unstable();
        numbers.dedup();
        lexicon.logarithms = numbers.iter().map(|&frequency| f64::from(frequency).ln()).collect();
        lexicon.logarithms.push((total as f64).ln());
        lexicon
    }

    impl Lexicon {
        /// The tree, stored.
        pub fn write(&mut self) -> Vec<u8> {
            let mut encoder = Encoder::new();
            self.code(&mut encoder, true).expect("a tree of words");
            encoder.finish()
        }
    }
}
