//! Adaptive binary arithmetic coding, by which the dictionary is stored.
//!
//! One model drives both directions: what a method codes is an argument that the [`Decoder`] ignores
//! and returns. All arithmetic is on integers, or on `f64` by +, −, × and / in a fixed order, so that
//! every platform reads the same.

/// Bits of a probability.
const BITS: u32 = 16;

/// A direction of coding.
pub(super) trait Coder {
    /// Codes a bit that is set with probability `p` / 2¹⁶, 0 < `p` < 2¹⁶.
    fn bit(&mut self, p: u32, bit: bool) -> bool;
}

/// Reads what [`Encoder`] wrote; past the end it reads zeros.
pub(super) struct Decoder<'a> {
    bytes: std::slice::Iter<'a, u8>,
    low: u32,
    high: u32,
    value: u32,
}

impl<'a> Decoder<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        let mut bytes = bytes.iter();
        let value = (0..4).fold(0, |value, _| value << 8 | next(&mut bytes));
        Decoder { bytes, low: 0, high: u32::MAX, value }
    }
}

fn next(bytes: &mut std::slice::Iter<u8>) -> u32 {
    u32::from(bytes.next().copied().unwrap_or(0))
}

/// The last value of `low..=high` that stands for a set bit.
#[inline]
fn split(low: u32, high: u32, p: u32) -> u32 {
    low + ((u64::from(high - low) * u64::from(p)) >> BITS) as u32
}

impl Coder for Decoder<'_> {
    #[inline]
    fn bit(&mut self, p: u32, _: bool) -> bool {
        let middle = split(self.low, self.high, p);
        let bit = self.value <= middle;
        if bit {
            self.high = middle;
        } else {
            self.low = middle + 1;
        }
        while (self.low ^ self.high) >> 24 == 0 {
            self.low <<= 8;
            self.high = self.high << 8 | 0xFF;
            self.value = self.value << 8 | next(&mut self.bytes);
        }
        bit
    }
}

/// Writes what [`Decoder`] reads.
#[cfg(test)]
pub(super) struct Encoder {
    bytes: Vec<u8>,
    low: u32,
    high: u32,
}

#[cfg(test)]
impl Encoder {
    pub fn new() -> Self {
        Encoder { bytes: Vec::new(), low: 0, high: u32::MAX }
    }

    pub fn finish(mut self) -> Vec<u8> {
        self.bytes.extend(self.low.to_be_bytes());
        self.bytes
    }
}

#[cfg(test)]
impl Coder for Encoder {
    fn bit(&mut self, p: u32, bit: bool) -> bool {
        let middle = split(self.low, self.high, p);
        if bit {
            self.high = middle;
        } else {
            self.low = middle + 1;
        }
        while (self.low ^ self.high) >> 24 == 0 {
            self.bytes.push((self.high >> 24) as u8);
            self.low <<= 8;
            self.high = self.high << 8 | 0xFF;
        }
        bit
    }
}

/// A bit's probability, learned: quickly at first, then slowly.
#[derive(Clone, Copy)]
pub(super) struct Bit {
    p: u16,
    seen: u16,
}

impl Bit {
    pub const NEW: Bit = Bit { p: 1 << (BITS - 1), seen: 0 };
    /// Bits after which learning slows down no more.
    const LIMIT: u16 = 250;

    #[inline]
    pub fn code(&mut self, coder: &mut impl Coder, bit: bool) -> bool {
        let p = u32::from(self.p);
        let bit = coder.bit(p.clamp(32, (1 << BITS) - 32), bit);
        let step = 2 * u32::from(self.seen) + 3;
        self.p = if bit { p + 2 * (0xFFFF - p) / step } else { p - 2 * p / step } as u16;
        self.seen = (self.seen + 1).min(Bit::LIMIT);
        bit
    }
}

/// A number of up to 32 bits, small ones exactly learned: its length in bits, then its bits.
#[derive(Clone)]
pub(super) struct Number {
    lengths: [Bit; 64],
    /// The bits after the first, by length and up to four bits before.
    bits: Vec<Bit>,
}

impl Number {
    pub fn new() -> Self {
        Number { lengths: [Bit::NEW; 64], bits: vec![Bit::NEW; 64 * 64] }
    }

    pub fn code(&mut self, coder: &mut impl Coder, value: u32) -> u32 {
        let length = self.length(coder, 32 - value.leading_zeros());
        self.rest(coder, length, value)
    }

    /// The length in bits, of 0 to 32.
    pub fn length(&mut self, coder: &mut impl Coder, length: u32) -> u32 {
        let mut node = 1;
        for shift in (0..6).rev() {
            node = node << 1 | usize::from(self.lengths[node].code(coder, length >> shift & 1 == 1));
        }
        (node as u32 - 64).min(32)
    }

    /// The value, of known length.
    pub fn rest(&mut self, coder: &mut impl Coder, length: u32, value: u32) -> u32 {
        if length == 0 {
            return 0;
        }
        let mut read = 1;
        for shift in (0..length - 1).rev() {
            let known = length - 1 - shift;
            let context = if known <= 5 { read as usize } else { 32 + shift as usize };
            let bit = self.bits[length as usize * 64 + context].code(coder, value >> shift & 1 == 1);
            read = read << 1 | u32::from(bit);
        }
        read
    }
}

/// Sets of symbols below a power of two, each coded by how many lie in the lower half, and so on.
pub(super) struct Sets {
    /// By node of the tree of halves: symbols seen in the lower half, and in both.
    seen: Vec<(u32, u32)>,
    size: u32,
}

impl Sets {
    pub fn new(symbols: u32) -> Self {
        let size = symbols.next_power_of_two();
        Sets { seen: vec![(0, 0); size as usize], size }
    }

    /// Codes `set`, ascending and without repeats, of known size; `None` for what can't have been written.
    pub fn code(&mut self, coder: &mut impl Coder, set: &mut [u16]) -> Option<()> {
        self.half(coder, set, 1, 0, self.size)
    }

    fn half(
        &mut self,
        coder: &mut impl Coder,
        set: &mut [u16],
        node: usize,
        low: u32,
        size: u32,
    ) -> Option<()> {
        if set.is_empty() {
            return Some(());
        }
        if size == 1 {
            set[0] = low as u16;
            return (set.len() == 1).then_some(());
        }
        let middle = low + size / 2;
        let (left, total) = self.seen[node];
        let p = (f64::from(left) + 0.4) / (f64::from(total) + 0.8);
        let lower = set.iter().take_while(|&&symbol| u32::from(symbol) < middle).count();
        let lower = binomial(coder, p, set.len(), lower);
        self.seen[node] = (left + lower as u32, total + set.len() as u32);
        let (lower, upper) = set.split_at_mut(lower);
        self.half(coder, lower, 2 * node, low, size / 2)?;
        self.half(coder, upper, 2 * node + 1, middle, size / 2)
    }
}

/// A probability for [`Coder::bit`].
#[inline]
fn fixed(p: f64) -> u32 {
    let scale = f64::from(1u32 << BITS);
    (p * scale).clamp(4.0, scale - 4.0) as u32
}

/// Codes how many of `n` fall in a part of probability `p`.
#[inline]
fn binomial(coder: &mut impl Coder, p: f64, n: usize, count: usize) -> usize {
    if n == 1 {
        return usize::from(coder.bit(fixed(p), count == 1));
    }
    let odds = p / (1.0 - p);
    let mut exactly = power(1.0 - p, n);
    let mut at_least = 1.0;
    for i in 0..n {
        // At the far end rounding leaves nothing of either; any number does.
        let more = if at_least > exactly { 1.0 - exactly / at_least } else { 0.0 };
        if !coder.bit(fixed(more), count > i) {
            return i;
        }
        at_least -= exactly;
        exactly *= odds * (n - i) as f64 / (i + 1) as f64;
    }
    n
}

/// `base` to the power of `exponent`, multiplied out in one order everywhere.
#[inline]
fn power(mut base: f64, mut exponent: usize) -> f64 {
    let mut product = 1.0;
    while exponent > 0 {
        if exponent & 1 == 1 {
            product *= base;
        }
        base *= base;
        exponent >>= 1;
    }
    product
}
