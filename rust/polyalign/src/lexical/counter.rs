//! Counting responses from many threads.

use super::cut::{Cutter, views};
use super::keys::{END, FIRST_SPARE, History, LONGEST, Levels, View, context, gram, spelled};
use super::sample::Smallest;
use super::table::Entries;
use super::validate::{check_settings, too_many_words};
use super::{Bucket, Lexical, Settings};
use crate::buckets::{BucketTable, join_parts};
use crate::error::unless_stopped;
use crate::features::Language;
use crate::records::record::Record;
use crate::reference::meter::{record_key, response_language};
use crate::{Error, Result};
use std::collections::BTreeSet;
use std::collections::hash_map::{Entry, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Counts that wait to be merged, at least, before they are.
const WAITING: usize = 1 << 20;

/// N-grams that a thread counts before it hands them on.
const OWN: usize = 1 << 19;

/// Counts responses of buckets, from any number of threads, in any order, with one result.
///
/// Memory does not grow with the rows, but for the buckets' samples: the table is bounded, and so is what waits.
pub struct Builder {
    settings: Settings,
    shared: Mutex<Shared>,
}

struct Shared {
    table: BucketTable,
    rows: Vec<Rows>,
    sources: BTreeSet<String>,
    entries: Entries,
    /// Each ascending.
    waiting: Vec<Vec<(u64, u32)>>,
}

/// What is known of a bucket beside its counts.
struct Rows {
    rows: u64,
    sample: Smallest,
}

impl Builder {
    /// A builder that has counted nothing.
    ///
    /// # Errors
    /// The schema's length edges are not known yet, the tokenizer is no SHA-256, the sample or the table too large.
    pub fn new(settings: Settings) -> Result<Self> {
        let shared = Shared {
            table: BucketTable::default(),
            rows: Vec::new(),
            sources: BTreeSet::new(),
            entries: Entries::new(),
            waiting: Vec::new(),
        };
        Ok(Self { settings: check_settings(settings)?, shared: Mutex::new(shared) })
    }

    /// What it counts under.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Notes where rows are from.
    pub fn add_source(&self, label: &str) {
        self.shared().sources.insert(label.to_owned());
    }

    /// Makes sure of the bucket with these parts (as they stand in ids).
    ///
    /// # Errors
    /// There are too many buckets, which names the axis that has the most values; the parts are none under the schema.
    pub fn bucket<S: AsRef<str>>(&self, parts: &[S]) -> Result<()> {
        let schema = &self.settings.schema;
        schema.check_parts(parts).map_err(|what| Error::Input(format!("lexical counts: {what}")))?;
        let mut shared = self.shared();
        shared.rows_of(parts, self.settings.sample_size);
        shared.table.check(schema)
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The counts of all.
    ///
    /// # Errors
    /// There are more different words than the table has room for.
    pub fn finish(self) -> Result<Lexical> {
        let mut shared = self.shared.into_inner().unwrap_or_else(PoisonError::into_inner);
        shared.settle(1 << self.settings.bits);
        if shared.entries.bound < FIRST_SPARE {
            return Err(too_many_words(self.settings.bits));
        }
        let Shared { table, rows, sources, entries, .. } = shared;
        let mut buckets: Vec<(Bucket, Smallest)> = (0..table.len() as u32)
            .zip(rows)
            .filter(|(_, rows)| rows.rows > 0)
            .map(|(bucket, Rows { rows, sample })| {
                let (id, parts) = (table.id(bucket).to_owned(), table.parts(bucket).to_vec());
                (Bucket { id, parts, rows }, sample)
            })
            .collect();
        buckets.sort_by(|(a, _), (b, _)| a.id.cmp(&b.id));
        let (buckets, samples) =
            buckets.into_iter().map(|(bucket, sample)| (bucket, sample.into_sorted())).unzip();
        Ok(Lexical { settings: self.settings, sources, buckets, entries, samples, index: OnceLock::new() })
    }
}

impl Shared {
    fn rows_of<S: AsRef<str>>(&mut self, parts: &[S], sample_size: u32) -> &mut Rows {
        let bucket = self.table.insert(parts) as usize;
        if bucket == self.rows.len() {
            self.rows.push(Rows { rows: 0, sample: Smallest::new(sample_size) });
        }
        &mut self.rows[bucket]
    }

    /// Adds what waits to the entries.
    fn settle(&mut self, capacity: usize) {
        let mut all = std::mem::take(&mut self.waiting).concat();
        // Of rows that ascend already.
        all.sort();
        all.dedup_by(|next, one| {
            let same = next.0 == one.0;
            if same {
                one.1 = one.1.saturating_add(next.1);
            }
            same
        });
        self.entries = self.entries.plus(all.iter().copied(), u64::MAX, all.len(), capacity);
    }
}

/// Keys are hashes already: one multiplication spreads what they share.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(self.0 << 8 ^ u64::from(byte)));
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(32);
    }
}

type Map<T> = HashMap<u64, T, BuildHasherDefault<Spread>>;

/// Single tokens of a bucket, by token.
#[derive(Default)]
struct Alone {
    words: Map<Word>,
    characters: Map<u32>,
}

/// How often a word occurs, and where it is written.
struct Word {
    count: u32,
    lower: (u32, u32),
}

/// What waits of a bucket.
struct Own {
    levels: Levels,
    alone: Alone,
    rows: u64,
    sample: Smallest,
}

/// Counts records into a builder that threads share, on one thread. Buckets are numbered by a table of the caller's.
pub struct Counter {
    builder: Arc<Builder>,
    cutter: Cutter,
    /// N-grams of two tokens and more.
    grams: Map<u32>,
    /// By the bucket's number in the caller's table.
    own: Vec<Option<Own>>,
    /// Words in lower case.
    lower: String,
    failed: Result<()>,
}

impl Counter {
    /// One that has seen nothing.
    pub fn new(builder: Arc<Builder>) -> Self {
        Self {
            builder,
            cutter: Cutter::default(),
            grams: Map::default(),
            own: Vec::new(),
            lower: String::new(),
            failed: Ok(()),
        }
    }

    /// What it counts into.
    pub fn builder(&self) -> &Builder {
        &self.builder
    }

    /// Counts a record of a bucket of the table. What fails is told by [`flush`](Self::flush).
    pub fn add(&mut self, record: &Record<'_>, bucket: u32, table: &BucketTable, stop: &AtomicBool) {
        if self.failed.is_ok() {
            self.failed = self.count(record, bucket, table, stop);
        }
    }

    fn count(
        &mut self,
        record: &Record<'_>,
        bucket: u32,
        table: &BucketTable,
        stop: &AtomicBool,
    ) -> Result<()> {
        let builder = Arc::clone(&self.builder);
        let Settings { schema, sample_size, .. } = builder.settings();
        let (number, parts) = (bucket as usize, table.parts(bucket));
        if self.own.len() <= number {
            self.own.resize_with(number + 1, || None);
        }
        let own = self.own[number].get_or_insert_with(|| Own {
            levels: levels(schema, parts),
            alone: Alone::default(),
            rows: 0,
            sample: Smallest::new(*sample_size),
        });
        own.rows += 1;
        own.sample.add(record_key(record), record.answer());
        let language = Language::of(response_language(schema, parts, record));
        for &view in views(language) {
            self.tokens(record.answer(), number, language, view, table, stop)?;
        }
        Ok(())
    }

    fn tokens(
        &mut self,
        text: &str,
        bucket: usize,
        language: Language,
        view: View,
        table: &BucketTable,
        stop: &AtomicBool,
    ) -> Result<()> {
        let (mut at, mut history) = (0, History::new());
        while at < text.len() {
            unless_stopped(stop)?;
            at = self.cutter.part(text, at, language, view);
            let Self { cutter, grams, own, lower, .. } = self;
            let Some(Own { levels, alone, .. }) = &mut own[bucket] else { break };
            for token in cutter.tokens() {
                match view {
                    View::Words => alone.word(token.id, cutter.lower(token), lower),
                    _ => alone.character(token.id),
                }
                follow(grams, levels, view, &mut history, token.id);
            }
            // In the middle of a long text, too: what is counted already is not counted again.
            if self.grams.len() > OWN || self.lower.len() > 64 * OWN {
                self.hand_on(table);
            }
        }
        let Some(Own { levels, alone, .. }) = &mut self.own[bucket] else { return Ok(()) };
        match view {
            View::Words => alone.word(END, "", &mut self.lower),
            _ => alone.character(END),
        }
        follow(&mut self.grams, levels, view, &mut history, END);
        Ok(())
    }

    /// Hands all that was counted to the builder.
    ///
    /// # Errors
    /// What went wrong first since the last time: [`Interrupted`](crate::Error::Interrupted).
    pub fn flush(&mut self, table: &BucketTable) -> Result<()> {
        std::mem::replace(&mut self.failed, Ok(()))?;
        self.hand_on(table);
        Ok(())
    }

    fn hand_on(&mut self, table: &BucketTable) {
        let mut run: Vec<(u64, u32)> = self.grams.drain().collect();
        let Settings { sample_size, bits, .. } = *self.builder.settings();
        let mut spellings = Map::default();
        for own in self.own.iter_mut().flatten() {
            let Alone { words, characters } = &mut own.alone;
            let mut everywhere = |view, token, count| {
                run.extend(own.levels.alone(view).map(|context| (gram(context, token), count)));
            };
            characters.drain().for_each(|(token, count)| everywhere(View::Characters, token, count));
            for (token, Word { count, lower: (start, end) }) in words.drain() {
                everywhere(View::Words, token, count);
                if token != END {
                    spell(own.levels.language(), &self.lower[start as usize..end as usize], |key| {
                        add(&mut spellings, key, count);
                    });
                }
            }
        }
        self.lower.clear();
        run.extend(spellings);
        run.sort_unstable();
        let mut shared = self.builder.shared();
        for (bucket, own) in (0..).zip(&mut self.own) {
            let Some(own) = own.as_mut().filter(|own| own.rows > 0) else { continue };
            let rows = shared.rows_of(table.parts(bucket), sample_size);
            rows.rows = rows.rows.saturating_add(std::mem::take(&mut own.rows));
            rows.sample.merge(std::mem::replace(&mut own.sample, Smallest::new(sample_size)));
        }
        shared.waiting.push(run);
        let waiting: usize = shared.waiting.iter().map(Vec::len).sum();
        if waiting > WAITING.max(shared.entries.keys.len() / 2) {
            shared.settle(1 << bits);
        }
    }
}

/// The levels of a bucket's responses.
pub(super) fn levels(schema: &crate::buckets::BucketSchema, parts: &[String]) -> Levels {
    let ids: Vec<String> = schema.levels(parts.to_vec()).iter().map(|parts| join_parts(parts)).collect();
    Levels::new(&ids)
}

/// Counts the longer n-grams that end with a token.
#[inline]
fn follow(grams: &mut Map<u32>, levels: &Levels, view: View, history: &mut History, token: u64) {
    for longer in levels.longer(view, history).iter() {
        add(grams, gram(longer.context, token), 1);
    }
    history.push(token);
}

/// The keys of the n-grams of a word's characters.
pub(super) fn spell(language: u64, word: &str, mut each: impl FnMut(u64)) {
    spelled(word, |history, token| {
        for order in 1..=LONGEST {
            each(gram(context(language, true, View::Spelling, history.last(order - 1)), token));
        }
    });
}

#[inline]
fn add(map: &mut Map<u32>, key: u64, count: u32) {
    let sum = map.entry(key).or_default();
    *sum = sum.saturating_add(count);
}

impl Alone {
    #[inline]
    fn word(&mut self, token: u64, lower: &str, all: &mut String) {
        match self.words.entry(token) {
            Entry::Occupied(mut word) => word.get_mut().count = word.get().count.saturating_add(1),
            Entry::Vacant(place) => {
                let start = all.len() as u32;
                all.push_str(lower);
                place.insert(Word { count: 1, lower: (start, all.len() as u32) });
            }
        }
    }

    #[inline]
    fn character(&mut self, token: u64) {
        add(&mut self.characters, token, 1);
    }
}
