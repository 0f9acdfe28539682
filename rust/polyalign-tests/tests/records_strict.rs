//! What is accepted as a record: exactly UTF-8 and one RFC 8259 object, checked against a slow,
//! obvious parser and against serde_json.

use polyalign::records::json::{JsonRecords, JsonScratch, field_names};
use polyalign::records::record::RejectKind;
use polyalign::records::shape::FieldSpec;
use proptest::prelude::*;

#[path = "oracle/json.rs"]
mod oracle;

/// What polyalign says of a record's JSON: fine, or the reject's kind.
fn ours(record: &[u8]) -> Result<(), String> {
    field_names(record).map(drop).map_err(|reject| {
        assert!(reject.offset <= record.len(), "{reject:?} in {record:?}");
        reject.kind.name().to_owned()
    })
}

/// What must be accepted, by the slow parser; serde_json agrees but for duplicates and depth.
fn theirs(record: &[u8]) -> bool {
    let strict = oracle::accepts(record);
    let text = std::str::from_utf8(record).is_ok();
    let object = record.iter().find(|byte| !b" \t\r\n".contains(byte)) == Some(&b'{');
    let serde = serde_json::from_slice::<serde::de::IgnoredAny>(record).is_ok();
    assert!(!strict || (text && object && serde), "serde_json refuses {:?}", String::from_utf8_lossy(record));
    strict
}

#[track_caller]
fn agree(record: &[u8]) {
    assert_eq!(ours(record).is_ok(), theirs(record), "{:?}", String::from_utf8_lossy(record));
}

/// Every field a reader could want, so that values are also checked on their way to the tape.
fn reader() -> JsonRecords {
    let wanted = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    JsonRecords::new(&FieldSpec {
        prompt: Some("a".into()),
        response: Some("b".into()),
        custom: wanted(&["c", "d.e"]),
        keep_extra: true,
        ..FieldSpec::default()
    })
    .unwrap()
}

#[test]
fn accepted() {
    for record in [
        "{}",
        " \t\r\n{ \n} \r\n",
        r#"{"":""}"#,
        r#"{"a":{"a":1,"a":2}}"#,
        r#"{"a":[0,-0,0.0,-0.0e+0,1E5,1e-999,12345678901234567890123456789,1.5e400]}"#,
        r#"{"a":[true,false,null,"",[],{}]}"#,
        r#"{"a":"\"\\\/\b\f\n\r\t\u00e9\uD83D\uDE00","b":"\ud800"}"#,
        "{\"a\":\"\u{7f}\u{80}\u{2028}\u{10ffff}\"}",
        r#"{ "a" : [ 1 , 2 ] , "b" : { "c" : 3 , "d" : 4 } }"#,
    ] {
        assert_eq!(ours(record.as_bytes()), Ok(()), "{record}");
        agree(record.as_bytes());
    }
}

#[test]
fn refused() {
    for (record, offset, reason) in [
        ("", 0, "ends too early"),
        (" ", 1, "ends too early"),
        ("[]", 0, "not a JSON object"),
        ("null", 0, "not a JSON object"),
        ("\u{feff}{}", 0, "not a JSON object"),
        ("\u{a0}{}", 0, "not a JSON object"),
        ("{} {}", 3, "more text after the object"),
        ("{}\0", 2, "more text after the object"),
        ("{\u{b}}", 1, "expected a key"),
        (r#"{"a":1,}"#, 7, "expected a key"),
        (r#"{,"a":1}"#, 1, "expected a key"),
        (r#"{a:1}"#, 1, "expected a key"),
        (r#"{'a':1}"#, 1, "expected a key"),
        (r#"{"a" 1}"#, 5, "expected `:`"),
        (r#"{"a":}"#, 5, "expected a value"),
        (r#"{"a"}"#, 4, "expected `:`"),
        (r#"{"a":1 "b":2}"#, 7, "expected `,` or `}`"),
        (r#"{"a":1"#, 6, "ends too early"),
        (r#"{"a":[1,]}"#, 8, "expected a value"),
        (r#"{"a":[,1]}"#, 6, "expected a value"),
        (r#"{"a":[1 2]}"#, 8, "expected `,` or `]`"),
        (r#"{"a":[1}}"#, 7, "expected `,` or `]`"),
        (r#"{"a":{"b":1]}"#, 11, "expected `,` or `}`"),
        (r#"{"a":{"b":1,}}"#, 12, "expected a key"),
        (r#"{"a":{]}"#, 6, "expected a key"),
        (r#"{"a":[}]}"#, 6, "expected a value"),
        (r#"{"a":NaN}"#, 5, "NaN is no JSON: write null"),
        (r#"{"a":[1, NaN]}"#, 9, "NaN is no JSON: write null"),
        (r#"{"a":Infinity}"#, 5, "Infinity is no JSON: write null"),
        (r#"{"a":-Infinity}"#, 5, "-Infinity is no JSON: write null"),
        (r#"{"a":-Inf}"#, 5, "expected a value"),
        (r#"{"a":Nan}"#, 5, "expected a value"),
        (r#"{"a":nul}"#, 5, "expected a value"),
        (r#"{"a":True}"#, 5, "expected a value"),
        (r#"{"a":01}"#, 5, "leading zero"),
        (r#"{"a":-}"#, 6, "expected a digit"),
        (r#"{"a":+1}"#, 5, "expected a value"),
        (r#"{"a":.5}"#, 5, "expected a value"),
        (r#"{"a":1.}"#, 7, "expected a digit"),
        (r#"{"a":1e}"#, 7, "expected a digit"),
        (r#"{"a":1e+}"#, 8, "expected a digit"),
        (r#"{"a":0x1}"#, 6, "expected `,` or `}`"),
        (r#"{"a":"b}"#, 5, "a string does not end"),
        ("{\"a\":\"b\nc\"}", 7, "control character"),
        ("{\"a\":\"\0\"}", 6, "control character"),
        ("{\"a\tb\":1}", 3, "control character"),
        (r#"{"a":"\x"}"#, 6, "unknown escape"),
        (r#"{"a":"\u12g4"}"#, 6, "four hexadecimal digits"),
        (r#"{"a":"\u12"}"#, 6, "four hexadecimal digits"),
        (r#"{"a":"\"}"#, 5, "a string does not end"),
        (r#"{"a":1,"b":2,"a":3}"#, 13, "duplicate key `a`"),
        (r#"{"a":1,"\u0061":3}"#, 7, "duplicate key `a`"),
        (r#"{"\ud800":1,"\uD800":3}"#, 12, "duplicate key"),
        (r#"{"":1,"":3}"#, 6, "duplicate key ``"),
        ("{\"a\":1/*c*/}", 6, "expected `,` or `}`"),
    ] {
        let reject = field_names(record.as_bytes()).expect_err(record);
        assert_eq!((reject.kind, reject.offset), (RejectKind::Json, offset), "{record}: {reject:?}");
        assert!(reject.reason.contains(reason), "{record}: {reject:?}");
        agree(record.as_bytes());
        // The same when every value goes on the tape.
        let mut scratch = JsonScratch::default();
        let read = reader().parse(record, &mut scratch).expect_err(record);
        assert_eq!(read, reject);
    }
}

#[test]
fn invalid_utf8_is_refused_wherever_it_stands() {
    for bytes in [&b"\xff"[..], b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\x80"] {
        let record = [b"{\"a\":\"xy", bytes, b"\"}"].concat();
        let reject = field_names(&record).unwrap_err();
        assert_eq!((reject.kind, reject.offset), (RejectKind::Utf8, 8));
        agree(&record);
    }
}

#[test]
fn depth() {
    let nested = |depth: usize, open: &str, close: &str| {
        format!("{{\"a\":{}1{}}}", open.repeat(depth - 1), close.repeat(depth - 1))
    };
    for (open, close) in [("[", "]"), ("{\"b\":", "}"), ("[ ", " ]")] {
        for depth in [1, 2, 127, 128] {
            let record = nested(depth, open, close);
            assert_eq!(ours(record.as_bytes()), Ok(()), "{record}");
            agree(record.as_bytes());
        }
        for depth in [129, 130, 100_000] {
            let record = nested(depth, open, close);
            let reject = field_names(record.as_bytes()).unwrap_err();
            assert_eq!(reject.reason, "nested more than 128 deep");
            assert_eq!(reject.offset, 5 + 127 * open.len());
            assert!(depth > 200 || !oracle::accepts(record.as_bytes()));
        }
    }
}

#[test]
fn many_keys_are_not_quadratic_and_duplicates_among_them_are_found() {
    let record = |last: &str| {
        let mut text = String::from("{");
        for n in 0..300_000 {
            // The same first and last eight bytes, so that any cheap comparison sees no difference.
            text += &format!("\"abcdefgh{n:06}abcdefgh\":0,");
        }
        text + &format!("\"{last}\":1}}")
    };
    assert_eq!(ours(record("x").as_bytes()), Ok(()));
    let json = record("abcdefgh123456abcdefg\\u0068");
    let reject = field_names(json.as_bytes()).unwrap_err();
    assert_eq!(reject.reason, "duplicate key `abcdefgh123456abcdefgh`");
    assert!(json[reject.offset..].starts_with("\"abcdefgh123456abcdefg\\"));
    for few in [2, 3, 63, 64, 65, 66] {
        let keys: Vec<String> = (0..few).map(|n| format!("\"abcdefgh{n:02}abcdefgh\":[{n}]")).collect();
        for again in 0..few {
            let json = format!("{{{},\"abcdefgh{again:02}abcdefgh\":0}}", keys.join(","));
            assert_eq!(ours(json.as_bytes()), Err("json".to_owned()), "{json}");
        }
        assert_eq!(ours(format!("{{{}}}", keys.join(",")).as_bytes()), Ok(()));
    }
}

/// Any JSON value as text, with odd but legal spacing.
fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,5})?([eE][+-]?[0-9]{1,3})?",
        string(),
    ];
    leaf.prop_recursive(6, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(|items| format!("[ {}]", items.join(" ,\n"))),
            prop::collection::vec((string(), inner), 0..6).prop_map(|members| object(&members)),
        ]
    })
}

fn object(members: &[(String, String)]) -> String {
    let members: Vec<String> = members.iter().map(|(key, value)| format!("{key}\t: {value}")).collect();
    format!("{{{} }}", members.join(","))
}

fn string() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        3 => "[a-e]{1,3}",
        1 => "[ -!#-\\[\\]-~]{0,70}",
        1 => "\\PC{0,20}".prop_map(|text| text.replace(['"', '\\'], "")),
        1 => "(\\\\[\"\\\\/bfnrt]){1,3}",
        1 => "(\\\\u[0-9a-fA-F]{4}){1,3}",
    ];
    prop::collection::vec(piece, 0..4).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

fn record() -> impl Strategy<Value = String> {
    prop::collection::vec((string(), value()), 0..8).prop_map(|members| object(&members))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn legal_records(record in record()) {
        agree(record.as_bytes());
    }

    #[test]
    fn records_with_a_flaw(record in record(), at in any::<prop::sample::Index>(), byte in any::<u8>(), how in 0..4) {
        let mut record = record.into_bytes();
        let at = at.index(record.len());
        match how {
            0 => record[at] = byte,
            1 => record.insert(at, byte),
            2 => { record.remove(at); }
            _ => record.truncate(at),
        }
        agree(&record);
    }

    #[test]
    fn fragments(pieces in prop::collection::vec(prop::sample::select(vec![
        "{", "}", "[", "]", ",", ":", "\"", "\"a\"", "\"b\":", "\\", "\\u", "00e9", "1", "0", "-", ".", "e", "+", "null", "tru", "e",
        " ", "\n", "é", "{\"a\":", "}", "\u{1}", "\"a\":1", "\"b\":2"]), 0..14)) {
        agree(pieces.concat().as_bytes());
        agree(format!("{{{}}}", pieces.concat()).as_bytes());
    }

    #[test]
    fn reading_values_changes_nothing(record in record(), prompt in value(), meta in value()) {
        // Whatever is read: the JSON is judged the same, and no value makes it panic.
        let inner = record.trim_start_matches('{');
        let comma = if inner.trim_start().starts_with('}') { "" } else { "," };
        let record = format!("{{\"a\":{prompt},\"d\":{meta},\"b\":\"x\"{comma}{inner}");
        let mut scratch = JsonScratch::default();
        let records = reader();
        match records.parse(&record, &mut scratch) {
            Ok(read) => {
                prop_assert!(oracle::accepts(record.as_bytes()));
                prop_assert_eq!(read.response.content, "x");
                let extra = read.extra.unwrap_or("{}");
                prop_assert!(oracle::accepts(extra.as_bytes()), "{}", extra);
            }
            Err(reject) => {
                prop_assert!(reject.offset <= record.len());
                let judged = reject.kind == RejectKind::Json && !reject.reason.contains("twice") && !reject.reason.contains(" two ");
                prop_assert_eq!(oracle::accepts(record.as_bytes()), !judged, "{:?}", reject);
            }
        }
    }

    #[test]
    fn text_says_what_serde_json_says(text in string()) {
        let record = format!("{{\"a\":\"p\",\"b\":{text},\"c\":{text}}}");
        let mut scratch = JsonScratch::default();
        match (serde_json::from_str::<String>(&text), reader().parse(&record, &mut scratch)) {
            (Ok(theirs), Ok(ours)) => prop_assert_eq!(ours.response.content, theirs),
            (Ok(theirs), Err(reject)) => {
                prop_assert_eq!(reject.kind, RejectKind::NoResponse);
                prop_assert!(theirs.trim().is_empty());
            }
            (Err(_), ours) => prop_assert_eq!(ours.map(drop).map_err(|reject| reject.kind), Err(RejectKind::Utf8)),
        }
    }
}
