//! Languages: names and codes to BCP 47 primary subtags.

use std::collections::HashMap;
use std::sync::LazyLock;

/// The part of a record whose language neither the record nor its text tells.
pub const UNDETERMINED: &str = "und";

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

/// Names of programming languages and formats that data sets of code have in a column `language` or
/// `lang`. Those that are also codes of languages with many speakers (`cs`, `ts`, `sh`, `pl`) are not here.
const PROGRAMMING: &str = "actionscript ada apex applescript asp assembler assembly awk bash bat batch batchfile c c# c++ \
    cfg clojure cmake cobol code coffeescript cpp crystal csharp css csv cuda cxx cypher d dart delphi diff dockerfile \
    elixir elm erlang f# fortran fsharp gdscript glsl go golang gradle graphql groovy h haskell hcl hpp hs html html5 ini \
    java javascript jinja jl js json jsonl jsx julia jupyter kotlin kt kts latex less lisp lua makefile markdown matlab md \
    mysql nim nix node nodejs objc objective-c objectivec ocaml octave pascal perl perl6 php plaintext plpgsql plsql \
    postgresql powershell prolog protobuf ps1 puppet py python python2 python3 qml r racket raku rb react regex rs rst ruby \
    rust sas sass scala scheme scss sed sml solidity spark sql sqlite stata svelte swift systemverilog tcl terraform tex text \
    toml tsql tsx txt typescript vb vb.net vba verilog vhdl vim viml visual-basic vue wasm xml xquery yaml yml zig zsh";

/// Whether a label names a programming language or a format rather than a language that people speak.
///
/// ```
/// use polyalign::buckets::language::is_programming;
/// assert!(is_programming("Python") && is_programming("C++") && !is_programming("cs"));
/// ```
pub fn is_programming(name: &str) -> bool {
    /// By length: every record's label is looked up.
    static NAMES: LazyLock<[Vec<&str>; 16]> = LazyLock::new(|| {
        let of = |length| PROGRAMMING.split_ascii_whitespace().filter(|name| name.len() == length).collect();
        std::array::from_fn(of)
    });
    let name = name.trim();
    NAMES.get(name.len()).is_some_and(|names| names.iter().any(|known| known.eq_ignore_ascii_case(name)))
}

/// What a record's label says: a primary subtag, `und` where it names a programming language; `None` if
/// it is not known.
pub(super) fn label(name: &str) -> Option<&'static str> {
    if is_programming(name) { Some(UNDETERMINED) } else { primary_subtag(name) }
}
