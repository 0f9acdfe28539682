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

/// Bits after which learning slows down no more.
const LIMIT: usize = 1023;

/// By bits seen: how much the next one counts, in 2¹⁶ths.
static STEPS: [u16; LIMIT + 1] = {
    let mut steps = [0; LIMIT + 1];
    let mut seen = 0;
    while seen <= LIMIT {
        steps[seen] = ((2 << BITS) / (2 * seen + 3)) as u16;
        seen += 1;
    }
    steps
};

impl Bit {
    pub const NEW: Bit = Bit { p: 1 << (BITS - 1), seen: 0 };

    #[inline]
    pub fn code(&mut self, coder: &mut impl Coder, bit: bool) -> bool {
        let p = u32::from(self.p);
        let bit = coder.bit(p.clamp(8, (1 << BITS) - 8), bit);
        let step = u32::from(STEPS[usize::from(self.seen)]);
        let (up, down) = (((0xFFFF - p) * step) >> BITS, (p * step) >> BITS);
        self.p = if bit { p + up } else { p - down } as u16;
        self.seen += u16::from(usize::from(self.seen) < LIMIT);
        bit
    }

    /// Codes how many of `n` such bits are set.
    fn count(&mut self, coder: &mut impl Coder, n: usize, count: usize) -> usize {
        if n == 1 {
            return usize::from(self.code(coder, count == 1));
        }
        let p = (f64::from(self.p) + 0.5) / SCALE;
        let count = binomial(coder, p, n, count);
        let seen = f64::from(self.seen) + 0.5;
        self.p = ((p * seen + count as f64) / (seen + n as f64) * (SCALE - 1.0)) as u16;
        self.seen = (usize::from(self.seen) + n).min(LIMIT) as u16;
        count
    }
}

/// A number of up to 32 bits, small ones exactly learned: its length in bits one by one, then its bits.
#[derive(Clone)]
pub(super) struct Number {
    lengths: [Bit; 32],
    /// The bits after the first, by length and up to four bits before.
    bits: Vec<Bit>,
}

impl Number {
    /// A model of numbers of up to so many bits.
    pub fn new(length: usize) -> Self {
        Number { lengths: [Bit::NEW; 32], bits: vec![Bit::NEW; (length + 1) * 64] }
    }

    /// Codes a number; `None` for one that is too long.
    pub fn code(&mut self, coder: &mut impl Coder, value: u32) -> Option<u32> {
        let known = 32 - value.leading_zeros() as usize;
        let mut length = 0;
        while self.lengths.get_mut(length)?.code(coder, known > length) {
            length += 1;
        }
        if length == 0 {
            return Some(0);
        }
        let bits = self.bits.get_mut(length * 64..(length + 1) * 64)?;
        let mut read = 1;
        for shift in (0..length - 1).rev() {
            let known = length - 1 - shift;
            let context = if known <= 5 { read as usize } else { 32 + shift };
            read = read << 1 | u32::from(bits[context].code(coder, value >> shift & 1 == 1));
        }
        Some(read)
    }
}

/// Sets of symbols below a power of two, each coded by how many lie in the lower half, and so on.
pub(super) struct Sets {
    /// By node of the tree of halves: whether a symbol lies in the lower.
    lower: Vec<Bit>,
    size: usize,
}

impl Sets {
    pub fn new(symbols: usize) -> Self {
        let size = symbols.next_power_of_two();
        Sets { lower: vec![Bit::NEW; size], size }
    }

    /// Codes `set`, ascending and without repeats, of known size; `None` for what can't have been written.
    pub fn code(&mut self, coder: &mut impl Coder, set: &mut [u16]) -> Option<()> {
        self.half(coder, set, 1, self.size)
    }

    /// Codes what of the set lies below `node`, of which there are `size` symbols.
    fn half(
        &mut self,
        coder: &mut impl Coder,
        set: &mut [u16],
        mut node: usize,
        mut size: usize,
    ) -> Option<()> {
        match set {
            [] => return Some(()),
            [symbol] => {
                while size > 1 {
                    size /= 2;
                    let known = usize::from(*symbol) & size == 0;
                    node = 2 * node + usize::from(!self.lower[node].code(coder, known));
                }
                *symbol = (node - self.size) as u16;
                return Some(());
            }
            _ if size == 1 => return None,
            _ => {}
        }
        size /= 2;
        let lower = set.iter().take_while(|&&symbol| usize::from(symbol) & size == 0).count();
        let lower = self.lower[node].count(coder, set.len(), lower);
        let (lower, upper) = set.split_at_mut(lower);
        self.half(coder, lower, 2 * node, size)?;
        self.half(coder, upper, 2 * node + 1, size)
    }
}

const SCALE: f64 = (1u32 << BITS) as f64;

/// A probability for [`Coder::bit`].
#[inline]
fn fixed(p: f64) -> u32 {
    (p * SCALE).clamp(4.0, SCALE - 4.0) as u32
}

/// Codes how many of `n` fall in a part of probability `p`.
#[inline]
fn binomial(coder: &mut impl Coder, p: f64, n: usize, count: usize) -> usize {
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
