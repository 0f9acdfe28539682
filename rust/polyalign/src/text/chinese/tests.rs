use super::lexicon::{self, Files, LONGEST, Lexicon};
use super::{Segmenter, dictionary, hmm};
use jieba_rs::Jieba;
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use std::path::Path;
use std::sync::LazyLock;

/// jieba with its own model, and with the dictionary that `has_the_words_of_jieba` checks.
static JIEBA: LazyLock<Jieba> =
    LazyLock::new(|| Jieba::with_dict(&mut listing().as_bytes()).expect("a dictionary"));

/// All words of the dictionary, with their frequencies.
pub(super) static WORDS: LazyLock<Vec<(String, u32)>> = LazyLock::new(|| {
    let lexicon = Lexicon::read(&dictionary::lexicon_files()).expect("the dictionary");
    let mut prefixes = vec![String::new()];
    for node in 0..lexicon.symbols.len() {
        for child in lexicon.children[node]..lexicon.children[node + 1] {
            let character = lexicon.characters[usize::from(lexicon.symbols[child as usize])];
            let mut word = prefixes[node].clone();
            word.extend(char::from_u32(character.into()));
            prefixes.push(word);
        }
    }
    prefixes.into_iter().zip(lexicon.frequencies).filter(|&(_, frequency)| frequency > 0).collect()
});

/// The words of a text as jieba cuts them, and as we do.
fn both<'t>(segmenter: &mut Segmenter, text: &'t str) -> (Vec<&'t str>, Vec<&'t str>) {
    let jieba =
        JIEBA.cut(text, true).into_iter().map(|token| &text[token.byte_start..token.byte_end]).collect();
    let mut places = vec![(7, 7)];
    segmenter.cut(text, &mut places);
    (jieba, places.into_iter().map(|(start, end)| &text[start as usize..end as usize]).collect())
}

#[track_caller]
fn check(segmenter: &mut Segmenter, text: &str) {
    let (jieba, ours) = both(segmenter, text);
    assert_eq!(ours, jieba, "{text:?}");
}

#[test]
fn cuts_as_jieba_does() {
    let mut segmenter = Segmenter::new();
    for text in [
        "",
        "我",
        "我是拖拉机学院手扶拖拉机专业的。不用多久，我就会升职加薪，当上CEO，走上人生巅峰。",
        "小明硕士毕业于中国科学院计算所，后在日本京都大学深造",
        "龘龘龘龘 㐀㐁㐂 𠀀𠀁中\u{9FD6}\u{9FD6}中",
        "\r\n\r\r\n\n 　\t",
        "abc- -abc 3.14 50% 1.2.3 WES-5.4.5 a..b AA制 1号店4S店++C++ c#_%.",
        "γ射线和α粒子，T恤&K歌",
        "䷀中䷁",
    ] {
        check(&mut segmenter, text);
    }
    check(&mut segmenter, &"的".repeat(1_000_000));
    check(&mut segmenter, &"中国".repeat(100_000));
    check(&mut segmenter, &"a1".repeat(100_000));
    // More than a part each, with and without breaks.
    check(&mut segmenter, &"我们，都爱吃火锅！\r\n".repeat(10_000));
    check(&mut segmenter, &"\r\n".repeat(100_000));
    check(&mut segmenter, &format!("{}，中国人", "国人中".repeat(40_000)));
    check(&mut segmenter, "短");
}

#[test]
fn cuts_beside_every_character_as_jieba_does() {
    let mut segmenter = Segmenter::new();
    for c in ('\0'..='\u{FFFF}').chain('\u{1F900}'..'\u{1FA00}').chain('\u{2A600}'..'\u{2A800}') {
        check(&mut segmenter, &format!("北京{c}大学{c}{c}a{c}"));
        check(&mut segmenter, &format!("{c}龘{c}1.{c}是不是"));
    }
}

#[test]
fn cuts_every_word_as_jieba_does() {
    let mut segmenter = Segmenter::new();
    let mut last = "我们";
    for (word, _) in WORDS.iter() {
        check(&mut segmenter, &format!("{word}的{last}{word}在{word}"));
        last = word;
    }
}

/// The words and frequencies as in jieba's `dict.txt`, but without the parts of speech.
fn listing() -> String {
    let mut lines: Vec<String> =
        WORDS.iter().map(|(word, frequency)| format!("{word} {frequency}\n")).collect();
    lines.sort_unstable();
    lines.concat()
}

/// The hash is that of `cut -d ' ' -f 1,2 dict.txt | LC_ALL=C sort`.
#[test]
fn has_the_words_of_jieba() {
    assert_eq!(WORDS.len(), 349_045);
    assert!(WORDS.iter().all(|(word, _)| word.chars().count() <= LONGEST));
    let hash: String = Sha256::digest(listing()).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hash, "d20ecdd7fe3e2c619a72c99bce1a6f4152cc88311a14810060f9242bbe1d082b");
}

fn texts() -> impl Strategy<Value = String> {
    let word = (0..WORDS.len()).prop_map(|i| WORDS[i].0.clone());
    let part = |range: std::ops::RangeInclusive<char>| {
        proptest::collection::vec(proptest::char::range(*range.start(), *range.end()), 1..5)
            .prop_map(String::from_iter)
    };
    let part = prop_oneof![
        8 => word.clone(),
        // Heads and tails of words lead into the tree and out of it again.
        4 => word.clone().prop_map(|word| word.chars().skip(1).collect()),
        4 => word.prop_map(|mut word| { word.pop(); word }),
        4 => part('\u{4E00}'..='\u{9FFF}'),
        2 => part('0'..='z'),
        2 => part(' '..='/'),
        1 => part('\u{3000}'..='\u{303F}'),
        1 => part('\u{3400}'..='\u{4E01}'),
        1 => part('\u{F8F0}'..='\u{FB00}'),
        1 => part('\u{2A6D0}'..='\u{2B840}'),
        1 => Just("\r\n".to_owned()),
        1 => any::<String>(),
    ];
    proptest::collection::vec(part, 0..30).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn cuts_mixtures_as_jieba_does(texts in proptest::collection::vec(texts(), 1..3)) {
        let mut segmenter = Segmenter::new();
        for text in texts {
            let (jieba, ours) = both(&mut segmenter, &text);
            prop_assert_eq!(ours, jieba);
        }
    }

    #[test]
    fn windows_do_not_matter(texts in proptest::collection::vec(texts(), 1..3), part in 1..9_usize, more in 1..9_usize) {
        let (mut whole, mut windows) = (Segmenter::new(), Segmenter::new());
        windows.sizes = [part, part + more];
        let (mut expected, mut found) = (Vec::new(), Vec::new());
        for text in texts {
            whole.cut(&text, &mut expected);
            windows.cut(&text, &mut found);
            prop_assert_eq!(&found, &expected, "{:?}", text);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn damaged_files_do_no_harm(place in 0..1000_usize, other in "([一-三]{0,3}|[0-9 \t\n]){0,200}") {
        let damaged = |file: &str| file.chars().take(place).chain(other.chars()).collect::<String>();
        let Files { words, frequencies, logarithms } = dictionary::lexicon_files();
        for files in [
            Files { words: damaged(&words), frequencies: frequencies.clone(), logarithms: logarithms.clone() },
            Files { words: words.clone(), frequencies: damaged(&frequencies), logarithms: logarithms.clone() },
            Files { words: damaged(&words), frequencies: damaged(&frequencies), logarithms },
        ] {
            prop_assert_eq!(Lexicon::read(&files), None);
        }
        prop_assert_eq!(hmm::Model::read(&damaged(&dictionary::model_file())), None);
    }
}

#[test]
fn files_read_and_written_are_the_same() {
    let files = dictionary::lexicon_files();
    assert!(Lexicon::read(&files).expect("the dictionary").write() == files);
    let model = dictionary::model_file();
    assert!(hmm::Model::read(&model).expect("the model").write() == model);
}

/// Writes the files of the dictionary and of the model anew: needs jieba's `dict.txt` (of the crate jieba-rs, in `src/data`)
/// and `hmm.model` (of jieba-macros, in `src`) in the folder `JIEBA_DATA`:
/// `JIEBA_DATA=folder cargo test --release --workspace --lib write_dictionary -- --ignored`.
#[test]
#[ignore = "needs jieba's files, and overwrites ours"]
fn write_dictionary() {
    let data = std::env::var("JIEBA_DATA").expect("JIEBA_DATA names the folder of dict.txt and hmm.model");
    let read = |name: &str| std::fs::read_to_string(Path::new(&data).join(name)).expect("a file of jieba");
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/text/chinese");
    let words = read("dict.txt");
    let mut words: Vec<(Vec<u16>, u32)> = words.lines().map(entry).collect();
    words.sort_unstable();
    let write = |name: &str, content: &[u8]| std::fs::write(ours.join(name), content).expect("written");
    let pack = |text: &str| zstd::encode_all(text.as_bytes(), 22).expect("compressed");
    let files = lexicon::write::lexicon(&words).write();
    write("words.txt.zst", &pack(&files.words));
    write("frequencies.txt.zst", &pack(&files.frequencies));
    write("logarithms.txt", files.logarithms.as_bytes());
    write("hmm.txt.zst", &pack(&hmm::write::model(&read("hmm.model")).write()));
}

/// The word and the frequency of a line of `dict.txt`.
fn entry(line: &str) -> (Vec<u16>, u32) {
    let mut fields = line.split(' ');
    let word = fields.next().expect("a word").encode_utf16().collect();
    (word, fields.next().and_then(|frequency| frequency.parse().ok()).expect("a frequency"))
}
