//! Random, repeatable changes to known inputs.

/// SplitMix64: small, and the same everywhere.
pub struct Random(u64);

impl Random {
    /// The same seed gives the same numbers.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }
    /// Any number.
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    }
    /// A number below `bound` (0 if that is 0).
    pub fn below(&mut self, bound: usize) -> usize {
        (self.word() % bound.max(1) as u64) as usize
    }
    /// True once in `n` times.
    pub fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
    /// A copy of one of `choices`.
    pub fn one_of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }
    /// One of `choices`.
    pub fn pick<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.below(choices.len())]
    }
}

/// One of `seeds` with a few changes, most of them pieces of `dictionary` put in or over.
pub fn mutate(seeds: &[&[u8]], dictionary: &[&[u8]], random: &mut Random) -> Vec<u8> {
    let mut input = random.pick(seeds).to_vec();
    // Few changes leave most inputs nearly right, which is where mistakes hide.
    let changes = random.below(4) + if random.below(8) == 0 { random.below(30) } else { 0 };
    for _ in 0..changes {
        change(&mut input, seeds, dictionary, random);
    }
    input
}

fn change(input: &mut Vec<u8>, seeds: &[&[u8]], dictionary: &[&[u8]], random: &mut Random) {
    let at = random.below(input.len() + 1);
    let end = (at + random.below(12)).min(input.len());
    match random.below(9) {
        0 if at < input.len() => input[at] = random.word() as u8,
        1 if at < input.len() => input[at] ^= 1 << random.below(8),
        2 => input.insert(at, random.word() as u8),
        3 => drop(input.drain(at..end)),
        4 => input.truncate(at),
        5 => {
            let piece = input[at..end].to_vec();
            let to = random.below(input.len() + 1);
            input.splice(to..to, piece);
        }
        6 => {
            let other = random.pick(seeds);
            let from = random.below(other.len() + 1);
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
        7 => drop(input.splice(at..end, random.pick(dictionary).iter().copied())),
        _ => {
            let piece = random.pick(dictionary);
            for _ in 0..=random.below(3) * random.below(3) {
                input.splice(at..at, piece.iter().copied());
            }
        }
    }
}
