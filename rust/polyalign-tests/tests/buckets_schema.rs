//! Bucket schemas: JSON form, validation, ids, back-off, edges.

use polyalign::buckets::{
    Axis, BucketSchema, BucketTable, CustomAxis, LengthEdges, LengthHistograms, MAX_BUCKETS, ancestors, bin,
    join_parts, normalise_part, split_id, unescape_part,
};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn error(json: &str) -> String {
    BucketSchema::from_json(json).expect_err(json).to_string()
}

#[test]
fn default_schema_has_the_documented_json() {
    let json = r#"{"version":1,"axes":["language","track","family","length"],"length_unit":null,"length_edges":[40,120,240],"length_bins":null,"languages":null,"default_language":"und","families":{}}"#;
    assert_eq!(BucketSchema::default().to_json(), json);
    assert_eq!(BucketSchema::from_json("{}").unwrap(), BucketSchema::default());
    assert_eq!(BucketSchema::from_json(json).unwrap(), BucketSchema::default());
    assert_eq!(BucketSchema::default().bin_names(), ["short", "medium", "long", "xlong"]);
}

#[test]
fn a_full_schema_survives_its_json_byte_for_byte() {
    let json = r#"{"axes":["language",{"name":"topic","column":"meta.topic","missing":"None"},"length_bin","style"],
        "length_unit":"words-paper","length_edges":{"Chinese":[10,20],"default":[40,80]},"length_bins":["S","M","L"],
        "languages":["zho","English","en"],"default_language":"EN","families":{"sgd":" Dialogue "}}"#;
    let schema = BucketSchema::from_json(json).unwrap();
    assert_eq!(schema.axis_names(), ["language", "topic", "length", "style"]);
    assert_eq!(schema.languages.as_deref().unwrap(), ["en", "zh"]);
    let written = schema.to_json();
    assert_eq!(
        written,
        r#"{"version":1,"axes":["language",{"name":"topic","column":"meta.topic","missing":"none"},"length","style"],"length_unit":"words-paper","length_edges":{"default":[40,80],"zh":[10,20]},"length_bins":["s","m","l"],"languages":["en","zh"],"default_language":"en","families":{"sgd":"dialogue"}}"#
    );
    let again = BucketSchema::from_json(&written).unwrap();
    assert_eq!(again, schema);
    assert_eq!(again.to_json(), written);
}

#[test]
fn edges_have_three_forms() {
    let edges = |json: &str| {
        BucketSchema::from_json(&format!(r#"{{"length_edges":{json}}}"#)).map(|schema| schema.length_edges)
    };
    assert_eq!(edges("\"auto\"").unwrap(), LengthEdges::Auto);
    assert_eq!(edges("[5]").unwrap(), LengthEdges::uniform([5]));
    for bad in ["\"Auto\"", "[1.5]", "[-1]", "40", "{\"zh\":[1]}", "null", "[4294967296]"] {
        let message = edges(bad).expect_err(bad).to_string();
        assert!(message.contains("length_edges"), "{bad}: {message}");
    }
}

#[test]
fn broken_rules_are_said_in_one_line() {
    for (json, says) in [
        (r#"{"version":2}"#, "version 2"),
        (r#"{"axis":["language"]}"#, "unknown field `axis`"),
        (r#"{"axes":[]}"#, "0 given"),
        (r#"{"axes":["length","length_bin"]}"#, "`length` is there twice"),
        (r#"{"axes":[{"name":"family","column":"kind"}]}"#, "built in"),
        (r#"{"axes":[{"name":"a","colum":"b"}]}"#, "unknown field `colum`"),
        (r#"{"axes":[7]}"#, "an axis is a name"),
        (r#"{"axes":["a|b"]}"#, "without control characters"),
        (r#"{"axes":["bucket"]}"#, "output column"),
        (r#"{"axes":[{"name":"a","missing":" "}]}"#, "blank"),
        (r#"{"length_edges":[]}"#, "0 edges"),
        (r#"{"length_edges":[40,40]}"#, "40 is followed by 40"),
        (r#"{"length_edges":[120,40]}"#, "120 is followed by 40"),
        (r#"{"length_edges":{"default":[1,2],"zh":[1]}}"#, "`zh`: 1 edges, but the default has 2"),
        (r#"{"length_edges":{"default":[1],"zh":[1],"chinese":[2]}}"#, "`zh` is there twice"),
        (r#"{"length_edges":{"default":[1],"klingonese":[1]}}"#, "klingonese"),
        (r#"{"length_bins":["a","b"]}"#, "3 edges make 4 bins, 2 names given"),
        (r#"{"length_bins":["a","b","c","A "]}"#, "`a` is there twice"),
        (r#"{"length_unit":"bytes"}"#, "bytes"),
        (r#"{"languages":[]}"#, "empty"),
        (r#"{"languages":["en","klingonese"]}"#, "klingonese"),
        (r#"{"default_language":""}"#, "default_language"),
        (r#"{"families":{"sgd":""}}"#, "blank"),
        (r#"{"families":{"sgd":"a"," sgd":"b"}}"#, "there twice"),
        ("[]", "schema"),
        ("{", "schema"),
    ] {
        let message = error(json);
        assert!(message.contains(says), "{json}: {message}");
        assert!(message.starts_with("schema: ") && !message.contains('\n'), "{message}");
    }
}

#[test]
fn bins_are_inclusive_above() {
    let edges = [40, 120, 240];
    let bins = [0, 1, 40, 41, 120, 121, 240, 241, u32::MAX].map(|length| bin(&edges, length));
    assert_eq!(bins, [0, 0, 0, 1, 1, 2, 2, 3, 3]);
    let many: Vec<u32> = (0..100).map(|i| i * 10).collect();
    for length in 0..1100 {
        assert_eq!(bin(&many, length), many.iter().filter(|&&edge| edge < length).count());
    }
}

#[test]
fn bins_have_default_names_for_any_number() {
    let names = |edges: Vec<u32>| {
        BucketSchema { length_edges: LengthEdges::uniform(edges), ..Default::default() }.bin_names()
    };
    assert_eq!(names(vec![9]), ["short", "long"]);
    assert_eq!(names(vec![9, 10]), ["short", "medium", "long"]);
    assert_eq!(names(vec![1, 2, 3, 4]), ["bin1", "bin2", "bin3", "bin4", "bin5"]);
}

#[test]
fn ids_escape_what_would_break_them() {
    assert_eq!(normalise_part("  Q|A 100% ").unwrap(), "q%7Ca 100%25");
    assert_eq!(unescape_part("q%7Ca 100%25"), "q|a 100%");
    assert_eq!(unescape_part("%257C"), "%7C");
    assert_eq!(normalise_part("\u{3000}ΌΜΩΣ\n").unwrap(), "όμως");
    assert_eq!(normalise_part("\u{3000} \n"), None);
    for bad in ["", "a||b", "|a", "a| ", "100%", "a%20b", "%7c"] {
        split_id(bad).expect_err(bad);
    }
}

#[test]
fn back_off_keeps_the_language_and_drops_lengths_last() {
    let json = r#"{"axes":["style","language","length","track","topic","family"]}"#;
    let schema = BucketSchema::from_json(json).unwrap();
    let parts = ["st", "zh", "short", "multi", "to", "qa"];
    let shown: Vec<String> = ancestors(&schema, &parts)
        .into_iter()
        .map(|chain| chain.into_iter().map(|part| part.unwrap_or("*")).collect::<Vec<_>>().join("|"))
        .collect();
    assert_eq!(
        shown,
        [
            "st|zh|short|multi|*|qa",
            "*|zh|short|multi|*|qa",
            "*|zh|short|multi|*|*",
            "*|zh|short|*|*|*",
            "*|zh|*|*|*|*"
        ]
    );
}

#[test]
fn too_many_buckets_name_the_axis() {
    let schema = BucketSchema::from_json(r#"{"axes":["language","topic","length"]}"#).unwrap();
    let mut table = BucketTable::default();
    for i in 0..MAX_BUCKETS {
        table.insert(&["en", &format!("t{i}"), "short"]);
    }
    table.check(&schema).unwrap();
    table.insert(&["zh", "t0", "short"]);
    let message = table.check(&schema).unwrap_err().to_string();
    assert!(message.contains("10000") && message.contains("`topic`"), "{message}");
}

#[test]
fn tables_number_buckets_by_first_appearance_and_merge() {
    let mut first = BucketTable::default();
    assert_eq!(first.insert(&["en", "short"]), 0);
    assert_eq!(first.insert(&["zh", "short"]), 1);
    assert_eq!(first.insert(&["en", "short"]), 0);
    let mut second = BucketTable::default();
    second.insert(&["zh", "long"]);
    second.insert(&["zh", "short"]);
    assert_eq!(first.merge(&second), [2, 1]);
    assert_eq!(first.ids(), ["en|short", "zh|short", "zh|long"]);
    assert_eq!(first.parts(2), ["zh", "long"]);
    assert_eq!(first.axis_parts(1).collect::<Vec<_>>(), ["short", "long"]);
    assert_eq!(first.axis_parts(7).count(), 0);
}

#[test]
fn quartile_edges_are_nearest_rank_by_language() {
    let mut histograms = LengthHistograms::default();
    assert_eq!(histograms.quartile_edges(), None);
    (1..=100).for_each(|length| histograms.add("en", length));
    (0..50).for_each(|_| histograms.add("zh", 7));
    (0..19).for_each(|_| histograms.add("fr", 5_000));
    let Some(LengthEdges::Fixed { default, languages }) = histograms.quartile_edges() else { panic!() };
    assert_eq!(languages, BTreeMap::from([("en".into(), vec![25, 50, 75]), ("zh".into(), vec![7, 8, 9])]));
    assert_eq!(default.len(), 3);
    let schema = BucketSchema { length_edges: histograms.quartile_edges().unwrap(), ..Default::default() };
    assert!(!schema.validated().unwrap().needs_edges());
}

fn arbitrary_axis() -> impl Strategy<Value = Axis> {
    let name = "[a-z]{1,8}";
    prop_oneof![
        prop::sample::select(vec![Axis::Language, Axis::Track, Axis::Family, Axis::Length]),
        name.prop_map(|name| Axis::named(&name)),
        (name, "[a-z.]{1,9}[a-z]", prop::option::of("[a-z]{1,4}")).prop_map(|(name, column, missing)| {
            match Axis::named(&name) {
                Axis::Custom(_) => Axis::Custom(CustomAxis { name, column, missing }),
                built_in => built_in,
            }
        }),
    ]
}

proptest! {
    #[test]
    fn valid_schemas_survive_their_json(
        axes in prop::collection::vec(arbitrary_axis(), 1..6),
        edges in prop::collection::btree_set(0u32..10_000, 1..12),
        families in prop::collection::btree_map("[A-Za-z_]{1,6}", "[A-Z|%é]{1,5}", 0..4),
    ) {
        let length_edges = LengthEdges::uniform(edges.into_iter().collect::<Vec<_>>());
        let schema = BucketSchema { axes, length_edges, families, ..Default::default() };
        if let Ok(schema) = schema.validated() {
            let json = schema.to_json();
            // Family parts are escaped once, when the schema is made; reading must not do it again.
            prop_assert_eq!(BucketSchema::from_json(&json).unwrap().to_json(), json);
        }
    }

    #[test]
    fn ids_are_read_back_to_their_parts(raw in prop::collection::vec("\\PC{1,8}", 1..6)) {
        let parts: Vec<String> = raw.iter().filter_map(|raw| normalise_part(raw)).collect();
        prop_assume!(!parts.is_empty());
        let id = join_parts(&parts);
        prop_assert_eq!(split_id(&id).unwrap(), parts.iter().map(String::as_str).collect::<Vec<_>>());
        for (part, raw) in parts.iter().zip(raw.iter().filter(|raw| normalise_part(raw).is_some())) {
            prop_assert_eq!(unescape_part(part), raw.trim().to_lowercase());
        }
    }

    #[test]
    fn histograms_merge_in_any_order(lengths in prop::collection::vec((0usize..3, 0u32..50), 1..200), cut in 0usize..200) {
        let tags = ["en", "zh", "fr"];
        let count = |part: &[(usize, u32)]| {
            let mut histograms = LengthHistograms::default();
            part.iter().for_each(|&(tag, length)| histograms.add(tags[tag], length));
            histograms
        };
        let (left, right) = lengths.split_at(cut.min(lengths.len()));
        let (mut ab, mut ba) = (count(left), count(right));
        ab.merge(&count(right));
        ba.merge(&count(left));
        prop_assert_eq!(&ab, &ba);
        prop_assert_eq!(&ab, &count(&lengths));
        prop_assert_eq!(ab.count(), lengths.len() as u64);
    }
}
