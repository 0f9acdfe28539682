//! Counts of n-grams are the same bytes however rows are divided, ordered and counted; files that are none are refused.

use polyalign::buckets::BucketTable;
use polyalign::lexical::{Builder, Counter, FEATURES, FURTHEST, Lexical, Scratch, Settings};
use polyalign::records::record::{Message, Record};
use proptest::prelude::*;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

const BUCKETS: [[&str; 4]; 6] = [
    ["en", "single", "qa", "short"],
    ["en", "multi", "qa", "short"],
    ["en", "single", "chat", "long"],
    ["zh", "single", "qa", "short"],
    ["ja", "single", "qa", "short"],
    ["fr", "single", "qa", "short"],
];

static GO_ON: AtomicBool = AtomicBool::new(false);

type Row = (usize, String);

fn builder(settings: Settings) -> Arc<Builder> {
    Arc::new(Builder::new(settings).unwrap())
}

fn add(builder: &Arc<Builder>, rows: &[Row]) {
    let (mut counter, mut table) = (Counter::new(Arc::clone(builder)), BucketTable::default());
    for (bucket, text) in rows {
        let record = Record {
            response: Message { role: "assistant", content: text },
            prompt: &[Message { role: "user", content: "So?" }],
            ..Record::default()
        };
        let bucket = table.insert(&BUCKETS[*bucket]);
        counter.add(&record, bucket, &table, &GO_ON);
    }
    counter.flush(&table).unwrap();
}

fn finish(builder: Arc<Builder>) -> Lexical {
    Arc::into_inner(builder).unwrap().finish().unwrap()
}

fn build(rows: &[Row], settings: Settings) -> Lexical {
    let builder = builder(settings);
    add(&builder, rows);
    finish(builder)
}

fn id(bucket: usize) -> String {
    BUCKETS[bucket].join("|")
}

fn bytes(lexical: &Lexical) -> Vec<u8> {
    lexical.to_bytes().unwrap()
}

fn score(lexical: &Lexical, (bucket, text): &Row, leave_one_out: bool) -> f64 {
    let target = lexical.target(&id(*bucket)).unwrap();
    lexical.score(&target, text, leave_one_out, &mut Scratch::default(), &GO_ON).unwrap()
}

fn row() -> impl Strategy<Value = Row> {
    (0..BUCKETS.len(), "(([abAB]{1,2}|it|Is)[ ,.!]|[我们都爱吃火锅こ]){1,12}")
}

fn settings() -> impl Strategy<Value = Settings> {
    let bits = prop_oneof![Just(22_u32), 12..14_u32];
    (bits, prop_oneof![Just(0_u32), Just(3), Just(256)]).prop_map(|(bits, sample_size)| Settings {
        bits,
        sample_size,
        ..Settings::default()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn parts_merge_to_the_whole_in_any_order(
        rows in prop::collection::vec(row(), 0..80), cuts in prop::collection::vec(0_usize..80, 0..4),
        settings in settings(),
    ) {
        let whole = builder(settings.clone());
        add(&whole, &rows);
        let whole = Arc::into_inner(whole).unwrap().finish();
        // Not even single words may have room.
        prop_assume!(whole.is_ok());
        let whole = bytes(&whole.unwrap());
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(rows.len())).chain([0, rows.len()]).collect();
        cuts.sort_unstable();
        let reversed: Vec<Row> = rows.into_iter().rev().collect();
        let mut parts: Vec<Lexical> =
            cuts.windows(2).map(|cut| build(&reversed[cut[0]..cut[1]], settings.clone())).collect();
        // From both ends to the middle, then together.
        while parts.len() > 1 {
            let last = parts.pop().unwrap();
            let first = parts.swap_remove(0);
            let both = bytes(&first.merge(&last).unwrap());
            prop_assert!(both == bytes(&last.merge(&first).unwrap()));
            parts.push(Lexical::from_bytes(&both).unwrap());
        }
        prop_assert!(bytes(&parts[0]) == whole);
    }

    #[test]
    fn threads_and_blocks_change_nothing(
        rows in prop::collection::vec(row(), 1..80), threads in 1_usize..5, settings in settings(),
    ) {
        let shared = builder(settings.clone());
        thread::scope(|scope| {
            for part in rows.chunks(rows.len().div_ceil(threads)) {
                let shared = &shared;
                scope.spawn(move || part.chunks(7).for_each(|block| add(shared, block)));
            }
        });
        let shared = Arc::into_inner(shared).unwrap().finish();
        prop_assume!(shared.is_ok());
        prop_assert!(bytes(&shared.unwrap()) == bytes(&build(&rows, settings)));
    }

    /// To leave a row's counts out is to have counted all others.
    #[test]
    fn a_row_that_is_left_out_was_never_counted(rows in prop::collection::vec(row(), 2..40), at in 0_usize..40) {
        let settings = Settings { bits: 20, ..Settings::default() };
        let at = at % rows.len();
        let all = build(&rows, settings.clone());
        let mut others = rows.clone();
        let row = others.remove(at);
        let others = build(&others, settings);
        let (left_out, never) = (score(&all, &row, true), score(&others, &row, false));
        // The last of a language has nobody else, which is seen only when it is gone.
        if !never.is_nan() {
            prop_assert!((left_out - never).abs() <= 1e-12 * never.abs(), "{left_out} {never}");
            let target = all.target(&id(row.0)).unwrap();
            let of = |lexical: &Lexical, leave_one_out: bool| {
                let (score, features) =
                    lexical.measure(&target, &row.1, leave_one_out, &mut Scratch::default(), &GO_ON).unwrap();
                assert_eq!(score.to_bits(), self::score(lexical, &row, leave_one_out).to_bits());
                features
            };
            for (name, (a, b)) in FEATURES.iter().zip(of(&all, true).into_iter().zip(of(&others, false))) {
                prop_assert!(a.is_nan() && b.is_nan() || (a - b).abs() < 1e-9, "{name}: {a} {b}");
            }
        }
    }

    #[test]
    fn scores_are_numbers_in_bounds(rows in prop::collection::vec(row(), 1..30), text in "\\PC{0,40}") {
        let lexical = build(&rows, Settings::default());
        for (bucket, [language, ..]) in BUCKETS.iter().enumerate() {
            let score = score(&lexical, &(bucket, text.clone()), false);
            let has_humans = rows.iter().any(|(of, _)| BUCKETS[*of][0] == *language);
            prop_assert_eq!(score.is_nan(), !has_humans);
            prop_assert!(score.is_nan() || (0.0..=FURTHEST).contains(&score), "{}", score);
            prop_assert!(!has_humans || !text.trim().is_empty() || score == FURTHEST);
        }
    }
}

fn rows() -> Vec<Row> {
    let texts = [
        (0, "It is so, I think."),
        (0, "I think it is so."),
        (1, "Is it?"),
        (2, "I do not think that it is so, as far as I know."),
        (3, "我们都爱吃火锅。"),
        (3, "都爱吃火锅！"),
    ];
    texts.into_iter().map(|(bucket, text)| (bucket, text.to_owned())).collect()
}

#[test]
fn what_humans_say_is_the_least_surprising() {
    let lexical = build(&rows(), Settings::default());
    let of = |bucket, text: &str| score(&lexical, &(bucket, text.to_owned()), false);
    for (bucket, human, shuffled, random) in [
        (0, "I think it is so.", "so think is it I.", "X fghwk qz xb ul."),
        (3, "我们都爱吃火锅。", "锅火吃爱都们我。", "龘靐齉爩麤灪龖。"),
    ] {
        assert!(of(bucket, human) < of(bucket, shuffled), "{human}");
        assert!(of(bucket, shuffled) < of(bucket, random), "{human}");
    }
    // What ends in the middle costs, as the end is a token.
    assert!(of(0, "I think it is so.") < of(0, "I think it is"));
    assert_eq!(of(0, " \n"), FURTHEST);
    assert!(of(5, "Oui.").is_nan());
    // A bucket that nobody has seen is served by its ancestors.
    let target = lexical.target("en|multi|story|long").unwrap();
    assert!(target.has_humans());
    assert!(lexical.target("en|single|qa").is_err());
    assert!(lexical.target("*|single|qa|short").is_err());
}

#[test]
fn steps_say_what_served() {
    let lexical = build(&rows(), Settings::default());
    let target = lexical.target(&id(1)).unwrap();
    let (text, mut steps) = ("Is it so far?", Vec::new());
    let scratch = &mut Scratch::default();
    lexical.steps(&target, text, false, scratch, &GO_ON, |step| steps.push(step)).unwrap();
    let told: Vec<_> = steps
        .iter()
        .map(|step| (&text[step.start..step.end], step.level.unwrap_or(""), step.order))
        .collect();
    let (bucket, language) = ("en|multi|qa|short", "en|*|*|*");
    assert_eq!(
        told,
        [
            // Two beginnings and the word, in the language.
            ("Is", language, 3),
            ("it", language, 3),
            // By the nearest ancestor that has it.
            ("so", "en|*|*|short", 1),
            ("far", language, 1),
            ("?", bucket, 1),
            ("", bucket, 2),
        ]
    );
}

#[test]
fn a_full_table_leaves_the_longest_out_first() {
    let rows: Vec<Row> =
        (0..400).map(|at| (0, format!("word{} then word{} and word{}", at % 40, at % 37, at % 29))).collect();
    let of = |bits| build(&rows, Settings { bits, ..Settings::default() });
    let (whole, cut) = (of(22), of(10));
    assert!(!whole.entries().1);
    assert!(cut.entries().1 && cut.entries().0 <= 1 << 10);
    assert_eq!(bytes(&Lexical::from_bytes(&bytes(&cut)).unwrap()), bytes(&cut));
    let seen = |lexical: &Lexical| {
        let target = lexical.target(&id(0)).unwrap();
        let scratch = &mut Scratch::default();
        lexical.features(&target, "word1 then word1 and word1", false, scratch, &GO_ON).unwrap()
    };
    // What is left out is not taken for what was never seen.
    assert_eq!(seen(&whole)[6..9], [0.0, 0.0, 0.0]);
    let [words, pairs, triples] = seen(&cut)[6..9] else { unreachable!("three of them") };
    assert_eq!(words, 0.0);
    assert!([pairs, triples].iter().all(|share| share.is_nan() || *share == 0.0));
    assert!(cut.entries().0 < whole.entries().0);
}

#[test]
fn more_words_than_there_is_room_for_are_an_error() {
    let rows: Vec<Row> = (0..400).map(|at| (0, format!("word{at}"))).collect();
    let builder = builder(Settings { bits: 8, ..Settings::default() });
    add(&builder, &rows);
    let error = Arc::into_inner(builder).unwrap().finish().unwrap_err().to_string();
    assert!(error.ends_with("the table of 2^8 n-grams has room for: give more bits"), "{error}");
    let part = |at: usize| build(&rows[at..=at], Settings { bits: 8, ..Settings::default() });
    let mut merged = part(0);
    let error = (1..rows.len()).find_map(|at| match merged.merge(&part(at)) {
        Ok(both) => {
            merged = both;
            None
        }
        Err(error) => Some(error.to_string()),
    });
    assert!(error.unwrap().ends_with("give more bits"));
}

#[test]
fn unlike_counts_do_not_merge() {
    let of = |settings: Settings| Arc::into_inner(builder(settings)).unwrap().finish().unwrap();
    let base = of(Settings::default());
    let refused = |settings: Settings| base.merge(&of(settings)).unwrap_err().to_string();
    let mut schema = Settings::default().schema;
    schema.axes.pop();
    assert!(refused(Settings { schema, ..Settings::default() }).contains("different schemas don't merge: {"));
    let tokenizer = Some("0123456789abcdef".repeat(4));
    assert!(refused(Settings { tokenizer, ..Settings::default() }).contains("don't merge: none and 0123"));
    assert!(refused(Settings { bits: 9, ..Settings::default() }).ends_with("22 and 9"));
    assert!(refused(Settings { sample_size: 1, ..Settings::default() }).ends_with("1024 and 1"));
    assert!(refused(Settings { keep_thinking: true, ..Settings::default() }).ends_with("left out and kept"));
}

#[test]
fn settings_are_checked() {
    let refused = |settings: Settings| Builder::new(settings).err().unwrap().to_string();
    for bits in [0, 7, 29, u32::MAX] {
        let told = format!("lexical counts: bits is {bits}: it must be 8 to 28");
        assert_eq!(refused(Settings { bits, ..Settings::default() }), told);
    }
    assert!(refused(Settings { sample_size: 65_537, ..Settings::default() }).contains("at most 65536"));
    assert!(refused(Settings { tokenizer: Some("x".into()), ..Settings::default() }).contains("no SHA-256"));
}

#[test]
fn damaged_files_are_refused_in_one_line() {
    let whole = bytes(&build(&rows(), Settings { sample_size: 2, ..Settings::default() }));
    let header = 8 + u64::from_le_bytes(*whole.first_chunk().unwrap()) as usize;
    let refused = |data: &[u8]| {
        let error = Lexical::from_bytes(data).expect_err("a damaged file").to_string();
        assert!(error.starts_with("lexical counts: ") && !error.contains('\n'), "{error}");
        error
    };
    for end in [0, 7, 8, header / 2, header, header + 1, whole.len() - 1] {
        refused(&whole[..end]);
    }
    for at in (header..whole.len()).step_by(13) {
        let mut data = whole.clone();
        data[at] ^= 0x20;
        refused(&data);
    }
    let changed = |from: &str, to: &str| {
        let header = std::str::from_utf8(&whole[8..header]).unwrap();
        assert!(header.contains(from), "{from} in {header}");
        let text = header.replacen(from, to, 1);
        let data = [&(text.len() as u64).to_le_bytes(), text.as_bytes(), &whole[8 + header.len()..]].concat();
        refused(&data)
    };
    assert!(changed("polyalign-lexical", "polyalign-reference").contains("another kind of file"));
    assert!(changed("format_version\\\":1", "format_version\\\":9").contains("update polyalign"));
    assert!(changed("\\\"bits\\\":22", "\\\"bits\\\":99").contains("bits is 99"));
    assert!(changed("\\\"bits\\\":22", "\\\"bits\\\":8").contains("more keys"));
    assert!(
        changed("\\\"bound\\\":18446744073709551615", "\\\"bound\\\":134217728").contains("`bound` is none")
    );
    assert!(changed("zh|single|qa|short", "zh|single|qa|huge").contains("length bin"));
    assert!(changed("\"U32\"", "\"F32\"").contains("tensor `count` is F32"));
    assert!(changed("sample_size\\\":2", "sample_size\\\":1").contains("more sampled rows than there are"));
}
