//! Classes of characters, looked up in a two-level table.

use regex_syntax::hir::{Class, HirKind};

const PAGE: usize = 256;
const PAGES: usize = 0x11_0000 / PAGE;

/// A small number for every character.
pub struct ClassTable {
    index: Box<[u16; PAGES]>,
    pages: Vec<[u8; PAGE]>,
}

impl ClassTable {
    /// From character classes in regex syntax and their numbers; where they overlap the later wins,
    /// what is in none is 0.
    ///
    /// # Panics
    /// If a pattern is not one character class: patterns are written into the code.
    pub fn new(classes: &[(&str, u8)]) -> Self {
        let mut flat = vec![0u8; PAGES * PAGE];
        for (pattern, number) in classes {
            for (first, last) in ranges(pattern) {
                flat[first as usize..=last as usize].fill(*number);
            }
        }
        let mut pages: Vec<[u8; PAGE]> = Vec::new();
        let mut index = Box::new([0u16; PAGES]);
        for (slot, page) in index.iter_mut().zip(flat.as_chunks::<PAGE>().0) {
            let known = pages.iter().position(|known| known == page);
            *slot = known.unwrap_or_else(|| {
                pages.push(*page);
                pages.len() - 1
            }) as u16;
        }
        Self { index, pages }
    }

    /// The character's number.
    #[inline]
    pub fn get(&self, c: char) -> u8 {
        let code = c as usize;
        self.pages[usize::from(self.index[code / PAGE])][code % PAGE]
    }
}

fn ranges(pattern: &str) -> Vec<(u32, u32)> {
    let hir = regex_syntax::parse(pattern).expect("a valid pattern");
    let HirKind::Class(Class::Unicode(class)) = hir.kind() else { panic!("{pattern} is no character class") };
    class.ranges().iter().map(|range| (range.start() as u32, range.end() as u32)).collect()
}
