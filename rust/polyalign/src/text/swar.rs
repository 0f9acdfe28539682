//! Eight ASCII bytes at a time, in a `u64`: sets of bytes are the high bits of its lanes, the first
//! byte the lowest.

const HIGH: u64 = 0x8080_8080_8080_8080;
const EACH: u64 = 0x0101_0101_0101_0101;

/// The set of all eight bytes.
pub const ALL: u64 = HIGH;

/// Eight bytes.
#[derive(Clone, Copy)]
pub struct Block(u64);

impl Block {
    /// The block at `at`, if there are eight bytes.
    #[inline]
    pub fn at(bytes: &[u8], at: usize) -> Option<Self> {
        let block = bytes.get(at..)?.first_chunk()?;
        Some(Self(u64::from_le_bytes(*block)))
    }

    /// How many bytes at the start are ASCII.
    #[inline]
    pub fn ascii(self) -> usize {
        (self.0 & HIGH).trailing_zeros() as usize / 8
    }

    /// Which bytes are within the (ASCII) range. All bytes must be ASCII for the set to be right; a
    /// wrong lane may only disturb those after it.
    #[inline]
    pub fn within(self, first: u8, last: u8) -> u64 {
        let at_least = self.0.wrapping_add(EACH * u64::from(0x80 - first));
        let above = self.0.wrapping_add(EACH * u64::from(0x7F - last));
        at_least & !above & HIGH
    }

    /// Which bytes are ASCII letters; as [`Block::within`].
    #[inline]
    pub fn letters(self) -> u64 {
        Self(self.0 | (EACH * 0x20)).within(b'a', b'z')
    }

    /// Which bytes are this one; as [`Block::within`].
    #[inline]
    pub fn equal(self, byte: u8) -> u64 {
        !(self.0 ^ (EACH * u64::from(byte))).wrapping_add(EACH * 0x7F) & HIGH
    }
}

/// Size of a set.
#[inline]
pub fn size(set: u64) -> u32 {
    ((set >> 7).wrapping_mul(EACH) >> 56) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_those_of_single_bytes() {
        for byte in 0..128u8 {
            for lane in 0..8 {
                let mut bytes = *b"a0 ~\x00\x7FZ_";
                bytes[lane] = byte;
                let block = Block::at(&bytes, 0).unwrap();
                let set = |is: &dyn Fn(u8) -> bool| {
                    bytes
                        .iter()
                        .enumerate()
                        .filter(|(_, b)| is(**b))
                        .map(|(i, _)| 0x80 << (8 * i))
                        .sum::<u64>()
                };
                assert_eq!(block.letters(), set(&|b| b.is_ascii_alphabetic()));
                assert_eq!(block.within(b'0', b'9'), set(&|b| b.is_ascii_digit()));
                assert_eq!(block.equal(byte), set(&|b| b == byte));
                assert_eq!(size(block.letters()), block.letters().count_ones());
                assert_eq!(block.ascii(), 8);
            }
        }
        assert_eq!(Block::at("abcdé fg".as_bytes(), 0).unwrap().ascii(), 4);
        assert!(Block::at(b"1234567", 0).is_none() && Block::at(b"12345678", 9).is_none());
    }
}
