//! The characters that stand for bytes in a byte-level vocabulary.

/// Both ways.
pub(super) struct Alphabet {
    char_of: [char; 256],
    byte_of: [u16; 512],
}

impl Alphabet {
    pub(super) fn new() -> Self {
        let (mut char_of, mut byte_of) = (['\0'; 256], [u16::MAX; 512]);
        let mut spare = 256;
        for byte in 0..=255u8 {
            let printable = matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..);
            let c = if printable { byte as u32 } else { spare };
            spare += !printable as u32;
            char_of[byte as usize] = char::from_u32(c).expect("below 0x200");
            byte_of[c as usize] = byte as u16;
        }
        Self { char_of, byte_of }
    }

    /// The character that stands for a byte.
    pub(super) fn char_of(&self, byte: u8) -> char {
        self.char_of[byte as usize]
    }

    /// Every byte that occurs in UTF-8, and its character.
    pub(super) fn spelled(&self) -> impl Iterator<Item = (u8, char)> {
        (0..=0xf4).filter(|byte| !matches!(byte, 0xc0 | 0xc1)).map(|byte| (byte, self.char_of[byte as usize]))
    }

    /// The bytes a token stands for; false if it holds other characters.
    pub(super) fn decode(&self, token: &str, out: &mut Vec<u8>) -> bool {
        out.clear();
        self.decode_more(token, out)
    }

    /// The same, behind what is there already.
    pub(super) fn decode_more(&self, token: &str, out: &mut Vec<u8>) -> bool {
        for c in token.chars() {
            match self.byte_of.get(c as usize) {
                Some(&byte) if byte <= 0xff => out.push(byte as u8),
                _ => return false,
            }
        }
        true
    }
}
