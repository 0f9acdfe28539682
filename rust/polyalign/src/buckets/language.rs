//! Languages: names and codes to BCP 47 primary subtags.

use std::collections::HashMap;
use std::sync::LazyLock;

/// Primary subtags that have other codes or names, with those.
const TABLE: &str = include_str!("languages.tsv");
/// Further ISO 639-3 codes: their own primary subtags.
const ISO_639_3: &str = include_str!("iso639_3.txt");

static SUBTAGS: LazyLock<HashMap<&'static str, &'static str>> = LazyLock::new(|| {
    let mut subtags: HashMap<_, _> = ISO_639_3.split_ascii_whitespace().map(|code| (code, code)).collect();
    for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
        let mut columns = line.split('\t');
        let Some(tag) = columns.next() else { continue };
        let names = columns.flat_map(|column| column.split(',')).filter(|name| !name.is_empty());
        subtags.extend(std::iter::once(tag).chain(names).map(|name| (name, tag)));
    }
    subtags
});

/// The BCP 47 primary subtag of a language's name (English or its own), ISO 639-1, 639-2 or 639-3
/// code, locale or BCP 47 tag, in any case; `None` if it is not known.
///
/// ```
/// use polyalign::buckets::language::primary_subtag;
/// for name in ["zh", "ZHO", "chi", "cmn", "zh-Hans-CN", "zh_CN.UTF-8", "Chinese", "中文", "Chinese (Simplified)"] {
///     assert_eq!(primary_subtag(name), Some("zh"));
/// }
/// assert_eq!(primary_subtag("yue"), Some("yue"));
/// assert_eq!(primary_subtag("klingonese"), None);
/// ```
pub fn primary_subtag(name: &str) -> Option<&'static str> {
    let name = name.trim().to_lowercase();
    let known = |name: &str| SUBTAGS.get(name.trim()).copied();
    let before = |stops: &[char]| name.split(stops).next().and_then(known);
    known(&name).or_else(|| before(&['('])).or_else(|| {
        let code = name.split(['-', '_', '.', '@']).next().filter(|code| matches!(code.len(), 2 | 3));
        code.and_then(known)
    })
}
