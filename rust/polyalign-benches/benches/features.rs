//! Features of responses and their parts, beside unicode-segmentation, and with the feature `pos` beside jieba-rs.

use criterion::{
    BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime,
};
use polyalign::features::registry::{FEATURES, Group};
use polyalign::features::{Extractor, Input, Language};
use polyalign::text::chinese::Segmenter;
use polyalign::text::{Vader, count_words, sentences, words};
use std::hint::black_box;
use unicode_segmentation::UnicodeSegmentation;

const ENGLISH: &[&str] = &[
    "The picnic was not only moral but inevitable, she said.",
    "They drove to the birch grove on the south shore of the lake!",
    "I think it's the blue one, but I'm not sure.",
    "Could you please tell me where Mr. Cook was born?",
    "It cost $4.20 in 2024, and about 7% more a year later.",
    "Nobody had expected that; everybody loved it anyway.",
    "\"School starts next Tuesday,\" he replied (sadly).",
    "Sure, let me check the opening hours for you.",
];
const CHINESE: &[&str] = &[
    "这次野餐不仅合乎道德，而且不可避免。",
    "他们开车去了湖的南岸，那里有一片白桦林！",
    "我觉得是蓝色的那个，但是不太确定。",
    "请问您知道这家餐馆的营业时间吗？",
    "门票是120元，比去年贵了大约百分之七。",
    "谁也没有想到；大家还是非常喜欢。",
    "“下个星期二就开学了，”他难过地回答。",
    "好的，我帮您查一下附近的地铁站。",
];

/// Responses of three to ten sentences, in an order of their own.
fn texts(of: &[&str], gap: &str) -> Vec<String> {
    let mut state = 1_usize;
    let mut draw = |most: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % most
    };
    let mut text = || (0..3 + draw(8)).map(|_| of[draw(of.len())]).collect::<Vec<_>>().join(gap);
    (0..2000).map(|_| text()).collect()
}

/// Runs something on every text.
fn on_each(
    group: &mut BenchmarkGroup<'_, WallTime>,
    what: &str,
    texts: &[String],
    mut run: impl FnMut(&str) -> usize,
) {
    group.bench_function(what, |b| b.iter(|| black_box(texts).iter().map(|text| run(text)).sum::<usize>()));
}

/// The features of all groups, without prompts.
fn features(group: &mut BenchmarkGroup<'_, WallTime>, texts: &[String], language: Language) {
    let mut extractor = Extractor::new(&Group::ALL);
    let mut values = vec![0.0; FEATURES.len()];
    on_each(group, "features", texts, |text| {
        extractor.extract(Input { text, language, prompt: None }, &mut values);
        values.len()
    });
}

fn english(criterion: &mut Criterion) {
    let texts = texts(ENGLISH, " ");
    let mut group = criterion.benchmark_group("features/english");
    group.throughput(Throughput::Bytes(texts.iter().map(|text| text.len() as u64).sum())).sample_size(20);
    features(&mut group, &texts, Language::English);
    let mut places = Vec::new();
    on_each(&mut group, "sentences", &texts, |text| sentences(text).count());
    on_each(&mut group, "sentences, unicode-segmentation", &texts, |text| text.unicode_sentences().count());
    on_each(&mut group, "words", &texts, |text| {
        words(text, &mut places);
        places.len()
    });
    on_each(&mut group, "words counted", &texts, |text| count_words(text) as usize);
    on_each(&mut group, "words, unicode-segmentation", &texts, |text| text.unicode_words().count());
    let mut vader = Vader::new();
    on_each(&mut group, "sentiment", &texts, |text| (vader.scores(text).compound > 0.0).into());
    group.finish();
}

fn chinese(criterion: &mut Criterion) {
    let texts = texts(CHINESE, "");
    let mut group = criterion.benchmark_group("features/chinese");
    group.throughput(Throughput::Bytes(texts.iter().map(|text| text.len() as u64).sum())).sample_size(20);
    features(&mut group, &texts, Language::Chinese);
    let mut places = Vec::new();
    on_each(&mut group, "sentences", &texts, |text| sentences(text).count());
    on_each(&mut group, "sentences, unicode-segmentation", &texts, |text| text.unicode_sentences().count());
    let mut segmenter = Segmenter::new();
    on_each(&mut group, "segmentation", &texts, |text| {
        segmenter.cut(text, &mut places);
        places.len()
    });
    #[cfg(feature = "pos")]
    parts_of_speech(&mut group, &texts);
    group.finish();
}

/// What needs the dictionary of jieba-rs.
#[cfg(feature = "pos")]
fn parts_of_speech(group: &mut BenchmarkGroup<'_, WallTime>, texts: &[String]) {
    let jieba = jieba_rs::Jieba::new();
    on_each(group, "segmentation, jieba-rs", texts, |text| jieba.cut(text, true).len());
    let mut tagger = polyalign::text::chinese::pos::Tagger::new();
    on_each(group, "parts of speech", texts, |text| tagger.counts(text).len());
}

criterion_group!(benches, english, chinese);
criterion_main!(benches);
