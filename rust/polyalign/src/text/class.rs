//! Classes of characters, looked up in a two-level table: which page a character's is, and the pages, each kept once.

use regex_syntax::hir::{Class, HirKind};

const PAGE: usize = 128;
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
        Self::pack(&flat)
    }

    /// From runs of one number, each a first code point and what is from there to the next run; the first begins at 0.
    pub fn from_runs(runs: impl IntoIterator<Item = (u32, u8)>) -> Self {
        let mut flat = vec![0u8; PAGES * PAGE];
        let mut runs = runs.into_iter().peekable();
        while let Some((first, number)) = runs.next() {
            let end = runs.peek().map_or(flat.len(), |(next, _)| *next as usize);
            flat[first as usize..end].fill(number);
        }
        Self::pack(&flat)
    }

    fn pack(flat: &[u8]) -> Self {
        let mut pages: Vec<[u8; PAGE]> = Vec::new();
        let mut index = Box::new([0u16; PAGES]);
        let mut last = 0;
        for (slot, page) in index.iter_mut().zip(flat.as_chunks::<PAGE>().0) {
            // Most are as the one before.
            if pages.get(last) != Some(page) {
                last = pages.iter().position(|known| known == page).unwrap_or_else(|| {
                    pages.push(*page);
                    pages.len() - 1
                });
            }
            *slot = last as u16;
        }
        Self { index, pages }
    }

    /// The character's number.
    #[inline]
    pub fn get(&self, c: char) -> u8 {
        self.of_code(c as u32)
    }

    /// The number of a code point.
    ///
    /// # Panics
    /// Above U+10FFFF.
    #[inline(always)]
    pub fn of_code(&self, code: u32) -> u8 {
        let code = code as usize;
        self.pages[usize::from(self.index[code / PAGE])][code % PAGE]
    }
}

fn ranges(pattern: &str) -> Vec<(u32, u32)> {
    let hir = regex_syntax::parse(pattern).expect("a valid pattern");
    let HirKind::Class(Class::Unicode(class)) = hir.kind() else { panic!("{pattern} is no character class") };
    class.ranges().iter().map(|range| (range.start() as u32, range.end() as u32)).collect()
}
