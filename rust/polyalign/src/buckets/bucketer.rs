//! Assigns records to buckets.

use super::detect::{self, Detector};
use super::family;
use super::key::{MAX_PART, normalise_part};
use super::language;
use super::length::{LengthHistograms, bin};
use super::schema::{Axis, BucketSchema, LengthEdges, LengthUnit};
use super::table::BucketTable;
use super::target::ALL;
use super::track;
use super::unassigned::Unassigned;
use crate::error::{quoted, shown};
use crate::records::record::{Message, Record, RejectKind};
use crate::records::roles::is_known_role;
use crate::text;
use crate::tokens::{self, TokenCounter};
use crate::{Error, Result};
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

/// What a record is assigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// Index into the [`BucketTable`].
    pub bucket: u32,
    /// Length of the response (without reasoning) in the schema's unit.
    pub length: u32,
    /// Tokens of the prompt's message contents; `None` without a tokenizer or if not counted.
    pub prompt_tokens: Option<u32>,
    /// Tokens of the response's content; `None` without a tokenizer.
    pub completion_tokens: Option<u32>,
}

/// Per-thread working memory of a [`Bucketer`].
pub struct BucketerScratch {
    tokens: Option<tokens::TokenScratch>,
    detector: detect::DetectorScratch,
    languages: RawCache<&'static str>,
    families: RawCache<Box<str>>,
    custom: Vec<RawCache<Box<str>>>,
    key: Vec<u32>,
}

/// Assigns records to buckets. Cheap to clone; shared by threads, each with its [`BucketerScratch`].
#[derive(Clone)]
pub struct Bucketer {
    rules: Arc<Rules>,
    counter: Option<TokenCounter>,
    count_prompt: bool,
}

/// The schema, resolved once.
struct Rules {
    schema: BucketSchema,
    unit: LengthUnit,
    bins: Vec<Box<str>>,
    families: HashMap<String, Box<str>>,
    /// What stands for missing values of custom axes.
    missing: Vec<Option<Box<str>>>,
    /// Made when a record first needs it: that takes some milliseconds.
    detector: OnceLock<Detector>,
    languages: Option<Vec<&'static str>>,
    default_language: &'static str,
    uses_language: bool,
}

#[derive(Clone, Copy)]
struct Counts {
    length: u32,
    prompt_tokens: Option<u32>,
    completion_tokens: Option<u32>,
}

impl Bucketer {
    /// `count_prompt`: whether prompts are counted as well as responses.
    ///
    /// The schema's length unit, if it says none, becomes tokens with a counter, else words. Errors
    /// if the schema breaks a rule, or wants tokens and there is no counter.
    pub fn new(schema: BucketSchema, counter: Option<TokenCounter>, count_prompt: bool) -> Result<Self> {
        let mut schema = schema.validated()?;
        let unit = match (schema.length_unit, &counter) {
            (Some(LengthUnit::Tokens), None) => {
                let message = "length_unit `tokens` needs a tokenizer: give one, or choose `words`";
                return Err(Error::Schema(message.into()));
            }
            (Some(unit), _) => unit,
            (None, Some(_)) => LengthUnit::Tokens,
            (None, None) => LengthUnit::Words,
        };
        schema.length_unit = Some(unit);
        Ok(Self { rules: Arc::new(Rules::new(schema, unit)), counter, count_prompt })
    }

    /// The schema, its length unit always said.
    pub fn schema(&self) -> &BucketSchema {
        &self.rules.schema
    }

    /// The counter of tokens, if there is one.
    pub fn counter(&self) -> Option<&TokenCounter> {
        self.counter.as_ref()
    }

    /// Whether prompts are counted as well as responses.
    pub fn counts_prompts(&self) -> bool {
        self.count_prompt
    }

    /// Fresh working memory for one thread.
    pub fn scratch(&self) -> BucketerScratch {
        BucketerScratch {
            tokens: self.counter.as_ref().map(TokenCounter::scratch),
            detector: detect::DetectorScratch::default(),
            languages: RawCache::default(),
            families: RawCache::default(),
            custom: self.rules.schema.custom_axes().map(|_| RawCache::default()).collect(),
            key: Vec::new(),
        }
    }

    /// The record's bucket and counts; the error is the reason to reject the record.
    ///
    /// With `length_edges: auto` every record is rejected until the edges are found:
    /// [`Bucketer::observe`] all records, then [`Bucketer::with_observed_edges`].
    pub fn assign(
        &self,
        record: &Record<'_>,
        table: &mut BucketTable,
        scratch: &mut BucketerScratch,
    ) -> Result<Assignment, Unassigned> {
        let rules = &*self.rules;
        let LengthEdges::Fixed { default, languages } = &rules.schema.length_edges else {
            return Err("length_edges `auto` are not resolved yet".to_owned().into());
        };
        if record.notes.roles.iter().any(|role| !is_known_role(role.taken)) {
            rules.check_roles(record, scratch)?;
        }
        let language = rules.language(record, scratch)?;
        let mut key = std::mem::take(&mut scratch.key);
        key.clear();
        let mut counts = None;
        let mut custom = 0;
        for (axis, kind) in rules.schema.axes.iter().enumerate() {
            let number = match kind {
                Axis::Language => table.part(axis, language),
                Axis::Track => table.part(axis, track::track(record)?),
                Axis::Family => {
                    check_label("family", record.family)?;
                    table.part(axis, rules.family(record, &mut scratch.families))
                }
                Axis::Length => {
                    let counted = self.count(record, &mut scratch.tokens)?;
                    counts = Some(counted);
                    let edges = if languages.is_empty() { None } else { languages.get(language) };
                    table.part(axis, &rules.bins[bin(edges.unwrap_or(default), counted.length)])
                }
                Axis::Custom(custom_axis) => {
                    let raw = record.custom.get(custom).copied().flatten();
                    check_label(&custom_axis.name, raw)?;
                    let value = raw.and_then(|raw| scratch.custom[custom].get(raw, part));
                    let Some(part) = value.or(rules.missing[custom].as_ref()) else {
                        return Err(format!(
                            "no value for axis `{}` in column `{}`",
                            custom_axis.name, custom_axis.column
                        )
                        .into());
                    };
                    custom += 1;
                    table.part(axis, part)
                }
            };
            key.push(number);
        }
        let counts = match counts {
            Some(counts) => counts,
            None => self.count(record, &mut scratch.tokens)?,
        };
        let bucket = table.bucket(&key);
        scratch.key = key;
        Ok(Assignment {
            bucket,
            length: counts.length,
            prompt_tokens: counts.prompt_tokens,
            completion_tokens: counts.completion_tokens,
        })
    }

    /// First pass of `length_edges: auto`: adds the response's length to its language's histogram.
    /// The error is the reason to reject the record.
    pub fn observe(
        &self,
        record: &Record<'_>,
        histograms: &mut LengthHistograms,
        scratch: &mut BucketerScratch,
    ) -> Result<(), Unassigned> {
        let language = self.rules.language(record, scratch)?;
        let length = self.length(record.answer(), &mut scratch.tokens)?;
        histograms.add(language, length);
        Ok(())
    }

    /// The bucketer with edges at the quartiles of what was observed, by language if that is an axis.
    /// With nothing observed the default edges.
    pub fn with_observed_edges(&self, histograms: &LengthHistograms) -> Self {
        let mut schema = self.rules.schema.clone();
        schema.length_edges = match histograms.quartile_edges() {
            Some(LengthEdges::Fixed { default, .. }) if !schema.axes.contains(&Axis::Language) => {
                LengthEdges::uniform(default)
            }
            Some(edges) => edges,
            None => LengthEdges::default(),
        };
        let rules = Arc::new(Rules::new(schema, self.rules.unit));
        Self { rules, counter: self.counter.clone(), count_prompt: self.count_prompt }
    }

    fn count(
        &self,
        record: &Record<'_>,
        scratch: &mut Option<tokens::TokenScratch>,
    ) -> Result<Counts, String> {
        let (mut completion_tokens, mut prompt_tokens) = (None, None);
        if let (Some(counter), Some(scratch)) = (&self.counter, &mut *scratch) {
            let prompt = if self.count_prompt { record.prompt } else { &[] };
            let tokens = record_tokens(counter, record.response.content, prompt, scratch)?;
            completion_tokens = Some(tokens.0);
            prompt_tokens = self.count_prompt.then_some(tokens.1);
        }
        let length = match (self.rules.unit, completion_tokens) {
            (LengthUnit::Tokens, Some(tokens)) if record.thinking == 0 => tokens,
            _ => self.length(record.answer(), scratch)?,
        };
        Ok(Counts { length, prompt_tokens, completion_tokens })
    }

    fn length(&self, answer: &str, scratch: &mut Option<tokens::TokenScratch>) -> Result<u32, String> {
        Ok(match self.rules.unit {
            LengthUnit::Tokens => self.tokens(answer, scratch)?.unwrap_or(0),
            LengthUnit::Words => text::count_words(answer),
            LengthUnit::WordsPaper => text::count_words_paper(answer),
            LengthUnit::Characters => text::count_characters(answer),
        })
    }

    fn tokens(&self, text: &str, scratch: &mut Option<tokens::TokenScratch>) -> Result<Option<u32>, String> {
        match (&self.counter, scratch) {
            (Some(counter), Some(scratch)) => {
                counter.count(text, scratch).map(Some).map_err(|e| e.to_string())
            }
            _ => Ok(None),
        }
    }
}

/// The tokens of a response, and of a prompt's messages. Texts are counted together, which is faster than one by one.
fn record_tokens(
    counter: &TokenCounter,
    response: &str,
    prompt: &[Message<'_>],
    scratch: &mut tokens::TokenScratch,
) -> Result<(u32, u32), String> {
    if prompt.is_empty() {
        return Ok((counter.count(response, scratch).map_err(|e| e.to_string())?, 0));
    }
    let texts: Vec<&str> =
        [response].into_iter().chain(prompt.iter().map(|message| message.content)).collect();
    let mut counts = vec![0; texts.len()];
    if counter.count_each(&texts, &mut counts, scratch).is_err() {
        // That error has the text's number in this list, which nobody else knows of.
        for (count, text) in counts.iter_mut().zip(&texts) {
            *count = counter.count(text, scratch).map_err(|e| e.to_string())?;
        }
    }
    Ok((counts[0], counts[1..].iter().fold(0, |sum: u32, &count| sum.saturating_add(count))))
}

impl Rules {
    fn new(schema: BucketSchema, unit: LengthUnit) -> Self {
        let subtag = |name: &String| language::primary_subtag(name);
        let languages: Option<Vec<&'static str>> =
            schema.languages.as_ref().map(|names| names.iter().filter_map(subtag).collect());
        let families = schema.families.iter();
        Self {
            unit,
            bins: schema.bin_names().iter().filter_map(|name| part(name)).collect(),
            families: families.filter_map(|(source, family)| Some((source.clone(), part(family)?))).collect(),
            missing: schema.custom_axes().map(|axis| axis.missing.as_deref().and_then(part)).collect(),
            detector: OnceLock::new(),
            default_language: subtag(&schema.default_language).unwrap_or(language::UNDETERMINED),
            uses_language: schema.uses_language(),
            languages,
            schema,
        }
    }

    /// Refuses a record whose bucket depends on what its unknown roles are.
    #[cold]
    fn check_roles(&self, record: &Record<'_>, scratch: &mut BucketerScratch) -> Result<(), Unassigned> {
        let mut parts = |role: &'static str| -> Result<[(&'static str, String); 2], Unassigned> {
            let mut prompt = record.prompt.to_vec();
            prompt
                .iter_mut()
                .filter(|message| !is_known_role(message.role))
                .for_each(|message| message.role = role);
            let record = Record { prompt: &prompt, ..*record };
            let family = self.family(&record, &mut scratch.families).to_owned();
            Ok([("track", track::track(&record)?.to_owned()), ("family", family)])
        };
        let as_user = parts("user")?;
        let as_assistant = parts("assistant")?;
        let used = |axis: &str| self.schema.axes.iter().any(|used| used.column() == axis);
        let differs =
            as_user.iter().zip(&as_assistant).find(|((axis, user), (_, other))| used(axis) && user != other);
        let Some(((axis, user), (_, assistant))) = differs else { return Ok(()) };
        let role = record.notes.roles.iter().find(|role| !is_known_role(role.taken));
        let role = shown(role.map_or("", |role| role.role));
        let reason = format!(
            "ambiguous: the role `{role}` is not known: the {axis} is `{user}` if it is the user's, `{assistant}` if it is the \
             assistant's; say which with --role {role}=ROLE"
        );
        Err(Unassigned { kind: RejectKind::Ambiguous, reason })
    }

    /// The record's language: what it says, else detected, else the default.
    fn language(
        &self,
        record: &Record<'_>,
        scratch: &mut BucketerScratch,
    ) -> Result<&'static str, Unassigned> {
        let refused = |reason| Err(Unassigned { kind: RejectKind::Language, reason });
        if !self.uses_language {
            return Ok(self.default_language);
        }
        let said = record.language.filter(|name| !name.trim().is_empty());
        if let Some(name) = said {
            let Some(&tag) = scratch.languages.get(name, language::label) else {
                return refused(format!("language {} is not known", quoted(name)));
            };
            // A record that says `und` says nothing; nor does one whose answer is in Python.
            if tag != language::UNDETERMINED {
                return match &self.languages {
                    Some(allowed) if !allowed.contains(&tag) => {
                        refused(format!("language `{tag}` is not one of {}", allowed.join(", ")))
                    }
                    _ => Ok(tag),
                };
            }
        }
        let detector = self.detector.get_or_init(|| Detector::new(self.languages.as_deref()));
        let detected = detector.detect(record, &mut scratch.detector);
        Ok(detected.unwrap_or(self.default_language))
    }

    /// The record's family: what it says, else its source's, else by rules.
    fn family<'a>(&'a self, record: &Record<'_>, cache: &'a mut RawCache<Box<str>>) -> &'a str {
        if let Some(part) = record.family.and_then(|raw| cache.get(raw, part)) {
            return part;
        }
        let source = record.source.map(str::trim);
        match source.and_then(|source| self.families.get(source)) {
            Some(family) => family,
            None => family::infer(record),
        }
    }
}

/// Refuses a text in a label's place, as buckets are kept with their names; and what stands for all labels.
fn check_label(axis: &str, raw: Option<&str>) -> Result<(), String> {
    match raw.map(str::trim).filter(|raw| raw.len() > MAX_PART || *raw == ALL) {
        None => Ok(()),
        Some(ALL) => {
            Err(format!("{axis} `{ALL}` stands for all labels where buckets are named: give it another"))
        }
        Some(raw) => Err(format!(
            "{axis} {} has {} bytes, more than the {MAX_PART} of a label",
            quoted(raw),
            raw.len()
        )),
    }
}

fn part(raw: &str) -> Option<Box<str>> {
    normalise_part(raw).map(String::into_boxed_str)
}

/// What distinct raw values come to, remembered. Bounded: it starts over when full.
struct RawCache<V> {
    entries: Vec<(Box<str>, V)>,
    numbers: HashMap<Box<str>, usize>,
    last: usize,
}

impl<V> Default for RawCache<V> {
    fn default() -> Self {
        Self { entries: Vec::new(), numbers: HashMap::new(), last: 0 }
    }
}

impl<V> RawCache<V> {
    const CAPACITY: usize = 16_384;

    fn get(&mut self, raw: &str, make: impl FnOnce(&str) -> Option<V>) -> Option<&V> {
        let is_last = self.entries.get(self.last).is_some_and(|(key, _)| &**key == raw);
        if !is_last {
            self.last = match self.numbers.get(raw) {
                Some(&number) => number,
                None => self.insert(raw, make(raw)?),
            };
        }
        self.entries.get(self.last).map(|(_, value)| value)
    }

    fn insert(&mut self, raw: &str, value: V) -> usize {
        if self.entries.len() >= Self::CAPACITY {
            self.entries.clear();
            self.numbers.clear();
        }
        self.entries.push((raw.into(), value));
        self.numbers.insert(raw.into(), self.entries.len() - 1);
        self.entries.len() - 1
    }
}
