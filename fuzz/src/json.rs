//! The JSON reader against a strict parser: a record is accepted if and only if it is UTF-8 and one
//! RFC 8259 object within our limits; and no reader of any shape panics or accepts what is not.

use polyalign::cpu::{Level, at_most};
use polyalign::records::json::{JsonRecords, JsonScratch, field_names};
use polyalign::records::record::{Reject, RejectKind};
use polyalign::records::shape::{FieldSpec, Shape};

#[path = "../../rust/polyalign-tests/tests/oracle/json.rs"]
mod oracle;

/// Readers of every shape, and their working memory.
pub struct Readers {
    readers: Vec<JsonRecords>,
    scratch: JsonScratch,
}

impl Default for Readers {
    fn default() -> Self {
        let mut specs: Vec<FieldSpec> =
            Shape::ALL.map(|shape| FieldSpec { shape: Some(shape), ..FieldSpec::default() }).into();
        let free = |name: &str| Some(name.to_owned());
        specs.push(FieldSpec { prompt: free("a"), response: free("b.c"), ..FieldSpec::default() });
        let new = |spec: FieldSpec| {
            let custom = vec!["meta.x.y".to_owned(), "n".to_owned()];
            JsonRecords::new(&FieldSpec { custom, keep_extra: true, ..spec }).expect("a usable spec")
        };
        Self { readers: specs.into_iter().map(new).collect(), scratch: JsonScratch::default() }
    }
}

/// What the readers made of an input.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    /// It is a record's JSON.
    pub json: bool,
    /// So many shapes could read it.
    pub read: u32,
}

/// Panics if polyalign judges `data` differently from the strict parsers, or any reader breaks.
pub fn check(data: &[u8], readers: &mut Readers) -> Outcome {
    let strict = oracle::accepts(data);
    let names = field_names(data);
    assert_eq!(names.is_ok(), strict, "{names:?}");
    assert_eq!(at_most(Level::Portable, || field_names(data)).is_ok(), strict, "{names:?}, without AVX2");
    let serde =
        serde_json::from_slice::<serde::de::IgnoredAny>(data).is_ok() && std::str::from_utf8(data).is_ok();
    let object = data.iter().find(|byte| !b" \t\r\n".contains(byte)) == Some(&b'{');
    assert!(serde || !strict, "serde_json refuses what is accepted");
    if let Err(reject) = &names {
        let ours = reject.reason.starts_with("duplicate key") || reject.reason.starts_with("nested more");
        assert!(ours || !(serde && object), "{reject:?}, but serde_json accepts it");
    }
    let mut outcome = Outcome { json: strict, read: 0 };
    for reader in &readers.readers {
        let record = reader.parse_bytes(data, &mut readers.scratch);
        match record {
            Ok(record) => {
                assert!(strict);
                outcome.read += 1;
                assert!(!record.answer().trim().is_empty());
                if let Some(extra) = record.extra {
                    assert!(oracle::accepts(extra.as_bytes()), "extra is not JSON: {extra}");
                }
            }
            Err(reject) => refused(&reject, data, strict),
        }
    }
    outcome
}

fn refused(reject: &Reject, data: &[u8], strict: bool) {
    assert!(reject.offset <= data.len(), "{reject:?}");
    assert!(!reject.reason.is_empty() && !reject.reason.contains('\n'), "{reject:?}");
    let text = std::str::from_utf8(data);
    assert_eq!(reject.kind == RejectKind::Utf8 && reject.reason == "not valid UTF-8", text.is_err(), "{reject:?}");
    let syntax =
        reject.kind == RejectKind::Json && !reject.reason.contains("twice") && !reject.reason.contains(" two ");
    assert_eq!(strict, text.is_ok() && !syntax, "{reject:?}");
}

/// Inputs to start from.
pub const SEEDS: &[&[u8]] = &[
    br#"{}"#,
    br#" {"a" : "p", "b": {"c":"r\n\u00e9", "d": [1, -0.5e+3, true, null]}, "meta":{"x":{"y":"z"}}} "#,
    br#"{"id":7,"messages":[{"role":"system","content":"s"},{"role":"user","content":[{"type":"text","text":"u"},{"type":"text","text":"\ud83d\ude00"}],"name":"n"},{"role":"assistant","content":"<think>t</think> a","reasoning_content":"r"}],"language":"en","n":1.50}"#,
    r#"{"conversations":[{"from":"human","value":"你好,世界"},{"from":"gpt","value":"嗨 \"x\"","weight":0},{"from":"human","value":"?"}],"source":"s","dataset":"d"}"#.as_bytes(),
    br#"{"instruction":"do","input":"in","output":"out","history":[["q","a"],["q2","a2"]],"track":"multi","family":"qa"}"#,
    br#"{"question":"q","context":"c","dialogue_history":[{"role":"user","text":"u"},{"role":"assistant","text":"a"}],"human_answer":"h","meta":{"group":"g","x.y":"w"},"meta.x.y":3}"#,
    br#"{"prompt":[{"role":"user","content":"p","k":[]}],"chosen":[{"role":"user","content":"p"},{"role":"assistant","content":"c"}],"rejected":[{"role":"assistant","content":"r"}],"completion":"x"}"#,
    br#"{"prompt":"p","completion":"a long enough answer that the scanner takes its wide steps through it, and then an escape \\ and more text","extra":{"deep":[[[[{"a":[{}]}]]]]}}"#,
    br#"{"prompt":"p","chosen":"c","rejected":"","lang":"\ud800","id":"x","group":-3}"#,
];

/// Pieces that matter to the grammar and the shapes.
pub const DICTIONARY: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\"",
    b"\\",
    b"\\u",
    b"\\\"",
    b"\\n",
    b"\\ud83d\\ude00",
    b"\\ud800",
    b"\\u0061",
    b"00e9",
    b"0",
    b"-",
    b"1",
    b"12",
    b".5",
    b"e",
    b"E+",
    b"1e999",
    b"NaN",
    b"Infinity",
    b"null",
    b"true",
    b"false",
    b" ",
    b"\t",
    b"\n",
    b"\r",
    b"\x0b",
    b"\x00",
    b"\x1f",
    b"\x7f",
    b"\xc2\xa0",
    b"\xef\xbb\xbf",
    b"\xe4\xbd\xa0",
    b"\xed\xa0\x80",
    b"\xff",
    b"\"a\":",
    b"\"a\":1,",
    b"\"\\u0061\":1,",
    b",\"b\":{}",
    b"[]",
    b"{}",
    b"\"\"",
    b"\"id\":",
    b"\"role\":\"assistant\"",
    b"\"content\":",
    b"\"from\":\"gpt\"",
    b"\"type\":\"text\"",
    b"\"messages\":",
    b"\"prompt\":",
    b"\"completion\":\"x\"",
    b"<think>",
    b"</think>",
    b"[[[[[[[[[[[[[[[[",
    b"]]]]]]]]]]]]]]]]",
    b"{\"a\":{\"a\":{\"a\":{\"a\":",
    b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
];
