//! The bucket schema: which axes make a bucket, and the rules of each.

use crate::{Error, Result};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::{BTreeMap, HashSet};

use super::language::{self, UNDETERMINED};

/// Version of the schema's JSON form.
pub const SCHEMA_VERSION: u32 = 1;
/// Most distinct buckets a corpus may have.
pub const MAX_BUCKETS: usize = 10_000;
/// Default edges: `short` ≤ 40 < `medium` ≤ 120 < `long` ≤ 240 < `xlong`.
pub const DEFAULT_EDGES: [u32; 3] = [40, 120, 240];

const MAX_AXES: usize = 16;
const MAX_EDGES: usize = 1_000;

/// The axes, bins, units and language rules. Serialises to JSON and travels in every output.
///
/// The JSON form is stable: equal schemas give equal bytes, every field is written, and
/// unknown fields are refused.
///
/// ```
/// use polyalign::buckets::BucketSchema;
/// let schema = BucketSchema::from_json(r#"{"length_edges": [100, 500]}"#)?;
/// assert_eq!(schema.bin_names(), ["short", "medium", "long"]);
/// assert_eq!(BucketSchema::from_json(&schema.to_json())?, schema);
/// # Ok::<(), polyalign::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BucketSchema {
    /// Version of this form; always [`SCHEMA_VERSION`].
    pub version: u32,
    /// The axes, in the order of an id's parts.
    pub axes: Vec<Axis>,
    /// What lengths are counted in; `None`: tokens with a tokenizer, else words.
    pub length_unit: Option<LengthUnit>,
    /// Upper ends (inclusive) of all length bins but the last, which has none.
    pub length_edges: LengthEdges,
    /// Names of the length bins, one more than edges; `None`: [`BucketSchema::bin_names`].
    pub length_bins: Option<Vec<String>>,
    /// The languages a record may be in, as primary subtags; `None`: any. Detection chooses among
    /// them; a record that says another is rejected.
    pub languages: Option<Vec<String>>,
    /// The language part of records of which neither the record nor its text tells the language.
    pub default_language: String,
    /// Family by source (the record's `source` or `dataset`), for records that name no family.
    pub families: BTreeMap<String, String>,
}

impl Default for BucketSchema {
    fn default() -> Self {
        Self {
            version: SCHEMA_VERSION,
            axes: vec![Axis::Language, Axis::Track, Axis::Family, Axis::Length],
            length_unit: None,
            length_edges: LengthEdges::default(),
            length_bins: None,
            languages: None,
            default_language: UNDETERMINED.into(),
            families: BTreeMap::new(),
        }
    }
}

/// One axis of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Axis {
    /// The response's language.
    Language,
    /// Whether an earlier exchange precedes the last user turn.
    Track,
    /// The kind of response.
    Family,
    /// The response's length bin.
    Length,
    /// A column of the user's.
    Custom(CustomAxis),
}

/// An axis whose value is a column of the record. In JSON its name alone if nothing else is said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustomAxis {
    /// The axis' name in outputs.
    pub name: String,
    /// Dotted path of the column; the name if not said.
    pub column: String,
    /// The part of records where the column is absent, null or blank; `None`: they are rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
}

impl Axis {
    /// The axis of this name: a built-in one, else the column of that name.
    pub fn named(name: &str) -> Self {
        match name {
            "language" => Self::Language,
            "track" => Self::Track,
            "family" => Self::Family,
            "length" | "length_bin" => Self::Length,
            _ => Self::Custom(CustomAxis { name: name.into(), column: name.into(), missing: None }),
        }
    }

    /// The axis' name: `language`, `track`, `family`, `length` or the user's.
    pub fn name(&self) -> &str {
        match self {
            Self::Language => "language",
            Self::Track => "track",
            Self::Family => "family",
            Self::Length => "length",
            Self::Custom(axis) => &axis.name,
        }
    }

    /// The output column of the axis' parts: its name, but `length_bin` for `length` (the column
    /// `length` holds the number).
    pub fn column(&self) -> &str {
        match self {
            Self::Length => "length_bin",
            _ => self.name(),
        }
    }
}

impl Serialize for Axis {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Custom(axis) if axis.name != axis.column || axis.missing.is_some() => {
                axis.serialize(serializer)
            }
            _ => serializer.serialize_str(self.name()),
        }
    }
}

impl<'de> Deserialize<'de> for Axis {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Full {
            name: String,
            column: Option<String>,
            missing: Option<String>,
        }
        use serde::de::Error as _;
        let value = serde_json::Value::deserialize(deserializer)?;
        if let serde_json::Value::String(name) = &value {
            return Ok(Self::named(name));
        }
        let full: Full = serde_json::from_value(value).map_err(|e| {
            D::Error::custom(format!("an axis is a name or {{\"name\", \"column\", \"missing\"}}: {e}"))
        })?;
        if !matches!(Self::named(&full.name), Self::Custom(_)) {
            return Err(D::Error::custom(format!(
                "axis `{}` is built in: write its name alone; its column is set where fields are",
                full.name
            )));
        }
        let column = full.column.unwrap_or_else(|| full.name.clone());
        Ok(Self::Custom(CustomAxis { name: full.name, column, missing: full.missing }))
    }
}

/// What lengths are counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LengthUnit {
    /// Tokens of the user's tokenizer, without special tokens.
    Tokens,
    /// UAX #29 words: [`crate::text::count_words`].
    Words,
    /// Words by the paper's rule: [`crate::text::count_words_paper`].
    WordsPaper,
    /// Unicode scalar values: [`crate::text::count_characters`].
    Characters,
}

impl LengthUnit {
    /// The name in JSON and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tokens => "tokens",
            Self::Words => "words",
            Self::WordsPaper => "words-paper",
            Self::Characters => "characters",
        }
    }
}

/// Upper ends (inclusive) of all length bins but the last.
///
/// In JSON: `"auto"`, a list, or an object of lists by language with one named `default`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LengthEdges {
    /// Quartiles per language, from a first pass; resolved before anything is assigned
    /// ([`super::LengthHistograms::quartile_edges`]).
    Auto,
    /// The same edges for every language, or its own for some.
    Fixed {
        /// Edges of languages without their own.
        default: Vec<u32>,
        /// Edges by language (primary subtag).
        languages: BTreeMap<String, Vec<u32>>,
    },
}

impl Default for LengthEdges {
    fn default() -> Self {
        Self::uniform(DEFAULT_EDGES)
    }
}

impl LengthEdges {
    /// The same edges for every language.
    pub fn uniform(edges: impl Into<Vec<u32>>) -> Self {
        Self::Fixed { default: edges.into(), languages: BTreeMap::new() }
    }
}

const EDGES_FORM: &str =
    "length_edges is \"auto\", a list of rising integers, or {\"default\": […], \"zh\": […]}";

impl Serialize for LengthEdges {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Fixed { default, languages } if languages.is_empty() => default.serialize(serializer),
            Self::Fixed { default, languages } => {
                let own = languages.iter().map(|(language, edges)| (language.as_str(), edges));
                serializer.collect_map(std::iter::once(("default", default)).chain(own))
            }
        }
    }
}

impl<'de> Deserialize<'de> for LengthEdges {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Word(String),
            List(Vec<u32>),
            Map(BTreeMap<String, Vec<u32>>),
        }
        use serde::de::Error as _;
        match Form::deserialize(deserializer).map_err(|_| D::Error::custom(EDGES_FORM))? {
            Form::Word(word) if word == "auto" => Ok(Self::Auto),
            Form::Word(_) => Err(D::Error::custom(EDGES_FORM)),
            Form::List(edges) => Ok(Self::uniform(edges)),
            Form::Map(mut languages) => match languages.remove("default") {
                Some(default) => Ok(Self::Fixed { default, languages }),
                None => Err(D::Error::custom("length_edges by language need a `default`")),
            },
        }
    }
}

impl BucketSchema {
    /// Reads and validates a schema. Fields that are not there have their defaults.
    pub fn from_json(json: &str) -> Result<Self> {
        // Derived readers take a list of all fields as well; nothing writes that.
        if !json.trim_start().starts_with('{') {
            return schema_error("not a JSON object".into());
        }
        let schema: Self = serde_json::from_str(json).map_err(|e| Error::Schema(e.to_string()))?;
        schema.validated()
    }

    /// The same of members that nobody wrote as JSON: errors name no place in it.
    pub fn from_members(members: serde_json::Map<String, serde_json::Value>) -> Result<Self> {
        let schema = serde_json::from_value::<Self>(members.into());
        schema.map_err(|e| Error::Schema(e.to_string()))?.validated()
    }

    /// The schema as one line of JSON; the same schema always gives the same bytes.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a schema holds nothing that JSON can't")
    }

    /// The schema with languages mapped to primary subtags and names normalised, or the first rule
    /// it breaks.
    pub fn validated(mut self) -> Result<Self> {
        if self.version != SCHEMA_VERSION {
            return schema_error(format!(
                "version {} is not known to this release, which writes version {SCHEMA_VERSION}",
                self.version
            ));
        }
        self.validate_axes()?;
        self.normalise_languages()?;
        self.validate_lengths()?;
        self.normalise_families()?;
        Ok(self)
    }

    /// Refuses to compare buckets of this schema with the humans of a reference of another one where ids would mean
    /// something else: other axes, or lengths that are binned otherwise. A unit that one of them leaves open is that of
    /// the other.
    ///
    /// # Errors
    /// What differs, with both.
    ///
    /// ```
    /// use polyalign::buckets::{BucketSchema, LengthEdges};
    /// let own = BucketSchema { length_edges: LengthEdges::uniform([5, 9, 20]), ..BucketSchema::default() };
    /// let error = own.check_fits(&BucketSchema::default()).unwrap_err().to_string();
    /// assert!(error.contains("length_edges [5,9,20], the reference with [40,120,240]"), "{error}");
    /// ```
    pub fn check_fits(&self, reference: &Self) -> Result<()> {
        let differs = |name: &str, own: String, theirs: String| {
            Err(Error::Input(format!(
                "bucketed with {name} {own}, the reference with {theirs}: bucket the records alike, or build the reference of the same corpus"
            )))
        };
        if self.axis_names() != reference.axis_names() {
            return differs("axes", self.axis_names().join(", "), reference.axis_names().join(", "));
        }
        if !self.axes.contains(&Axis::Length) {
            return Ok(());
        }
        if self.length_edges != reference.length_edges {
            let edges = |of: &Self| serde_json::to_string(&of.length_edges).unwrap_or_default();
            return differs("length_edges", edges(self), edges(reference));
        }
        if self.bin_names() != reference.bin_names() {
            return differs("length_bins", self.bin_names().join(", "), reference.bin_names().join(", "));
        }
        match (self.length_unit, reference.length_unit) {
            (Some(own), Some(theirs)) if own != theirs => {
                differs("lengths in", own.name().into(), theirs.name().into())
            }
            _ => Ok(()),
        }
    }

    /// The axes' names, in the order of an id's parts.
    pub fn axis_names(&self) -> Vec<&str> {
        self.axes.iter().map(Axis::name).collect()
    }

    /// The user's own axes, in schema order: the order of [`crate::records::record::Record::custom`].
    pub fn custom_axes(&self) -> impl Iterator<Item = &CustomAxis> {
        self.axes.iter().filter_map(|axis| match axis {
            Axis::Custom(custom) => Some(custom),
            _ => None,
        })
    }

    /// Names of the length bins: the schema's, else `short`, `medium`, `long`, `xlong` for up to
    /// three edges (`short`, `long` for one), else `bin1`, `bin2`, ….
    pub fn bin_names(&self) -> Vec<String> {
        if let Some(names) = &self.length_bins {
            return names.clone();
        }
        let edges = match &self.length_edges {
            LengthEdges::Auto => DEFAULT_EDGES.len(),
            LengthEdges::Fixed { default, .. } => default.len(),
        };
        let names: &[&str] = match edges {
            1 => &["short", "long"],
            2 => &["short", "medium", "long"],
            3 => &["short", "medium", "long", "xlong"],
            _ => return (1..=edges + 1).map(|i| format!("bin{i}")).collect(),
        };
        names.iter().map(|&name| name.into()).collect()
    }

    /// Whether edges are still to be found by a first pass.
    pub fn needs_edges(&self) -> bool {
        self.length_edges == LengthEdges::Auto
    }

    /// Whether a record's language plays a part: as an axis, or by edges of its own.
    pub(crate) fn uses_language(&self) -> bool {
        let by_language = match &self.length_edges {
            LengthEdges::Auto => false,
            LengthEdges::Fixed { languages, .. } => !languages.is_empty(),
        };
        by_language || self.languages.is_some() || self.axes.contains(&Axis::Language)
    }

    fn validate_axes(&mut self) -> Result<()> {
        if self.axes.is_empty() || self.axes.len() > MAX_AXES {
            return schema_error(format!("axes: {} given, need 1 to {MAX_AXES}", self.axes.len()));
        }
        let mut seen = HashSet::new();
        for axis in &mut self.axes {
            if let Axis::Custom(custom) = axis {
                validate_custom_axis(custom)?;
            }
            if !seen.insert(axis.name().to_owned()) {
                return schema_error(format!("axes: `{}` is there twice", axis.name()));
            }
        }
        Ok(())
    }

    fn normalise_languages(&mut self) -> Result<()> {
        self.default_language = primary_subtag("default_language", &self.default_language)?;
        let Some(languages) = &mut self.languages else { return Ok(()) };
        if languages.is_empty() {
            return schema_error("languages: the list is empty; leave it out to allow any".into());
        }
        for name in languages.iter_mut() {
            *name = primary_subtag("languages", name)?;
        }
        languages.sort_unstable();
        languages.dedup();
        Ok(())
    }

    fn validate_lengths(&mut self) -> Result<()> {
        let mut edge_count = DEFAULT_EDGES.len();
        if let LengthEdges::Fixed { default, languages } = &mut self.length_edges {
            edge_count = default.len();
            validate_edges("length_edges", default, edge_count)?;
            let mut own = BTreeMap::new();
            for (name, edges) in std::mem::take(languages) {
                validate_edges(&format!("length_edges of `{name}`"), &edges, edge_count)?;
                let tag = primary_subtag("length_edges", &name)?;
                if own.insert(tag.clone(), edges).is_some() {
                    return schema_error(format!("length_edges: language `{tag}` is there twice"));
                }
            }
            *languages = own;
        }
        let Some(names) = &mut self.length_bins else { return Ok(()) };
        if names.len() != edge_count + 1 {
            return schema_error(format!(
                "length_bins: {edge_count} edges make {} bins, {} names given",
                edge_count + 1,
                names.len()
            ));
        }
        let mut seen = HashSet::new();
        for name in names.iter_mut() {
            *name = label("length_bins", name)?;
            if !seen.insert(name.clone()) {
                return schema_error(format!("length_bins: `{name}` is there twice"));
            }
        }
        Ok(())
    }

    fn normalise_families(&mut self) -> Result<()> {
        let mut families = BTreeMap::new();
        for (source, family) in std::mem::take(&mut self.families) {
            let family = label(&format!("families: family of source `{source}`"), &family)?;
            let source = source.trim().to_owned();
            if families.insert(source.clone(), family).is_some() {
                return schema_error(format!("families: source `{source}` is there twice"));
            }
        }
        self.families = families;
        Ok(())
    }
}

/// Columns of every output that an axis' column must not hide.
const RESERVED: [&str; 10] = [
    "id",
    "file",
    "row",
    "bucket",
    "prompt_tokens",
    "completion_tokens",
    "group",
    "prompt",
    "completion",
    "extra",
];

fn validate_custom_axis(axis: &mut CustomAxis) -> Result<()> {
    let name = &axis.name;
    if name.is_empty() || name.len() > 64 || name.chars().any(|c| c.is_control() || "/\\=|".contains(c)) {
        return schema_error(format!(
            "axis {name:?}: a name has 1 to 64 bytes, without control characters or any of / \\ = |"
        ));
    }
    if name.trim() != name {
        return schema_error(format!("axis {name:?}: a name has no white space around it"));
    }
    if RESERVED.contains(&name.as_str()) {
        return schema_error(format!(
            "axis `{name}` has the name of an output column; call it otherwise: {{\"name\": …, \"column\": \"{name}\"}}"
        ));
    }
    if axis.column.trim().is_empty() {
        return schema_error(format!("axis `{name}`: its column is blank"));
    }
    if let Some(missing) = &mut axis.missing {
        *missing = label(&format!("axis `{name}`, missing"), missing)?;
    }
    Ok(())
}

fn validate_edges(what: &str, edges: &[u32], count: usize) -> Result<()> {
    if edges.is_empty() || edges.len() > MAX_EDGES {
        return schema_error(format!(
            "{what}: {} edges, need 1 to {MAX_EDGES}; to bucket without lengths leave the axis out",
            edges.len()
        ));
    }
    if let Some(pair) = edges.windows(2).find(|pair| pair[0] >= pair[1]) {
        return schema_error(format!("{what}: edges must rise, but {} is followed by {}", pair[0], pair[1]));
    }
    if edges.len() != count {
        return schema_error(format!("{what}: {} edges, but the default has {count}", edges.len()));
    }
    Ok(())
}

fn primary_subtag(field: &str, name: &str) -> Result<String> {
    match language::primary_subtag(name) {
        Some(tag) => Ok(tag.into()),
        None => {
            schema_error(format!("{field}: {name:?} is no language; give a code such as `en`, `zh`, `yue`"))
        }
    }
}

/// A value as it stands in a schema: trimmed and lower-cased, and escaped only in ids, so that
/// reading a schema that was written changes nothing.
fn label(field: &str, raw: &str) -> Result<String> {
    match raw.trim() {
        "" => schema_error(format!("{field}: the value is blank")),
        trimmed => Ok(trimmed.to_lowercase()),
    }
}

fn schema_error<T>(message: String) -> Result<T> {
    Err(Error::Schema(message))
}
