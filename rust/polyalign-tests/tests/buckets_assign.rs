//! Assigning records: languages, tracks, families, lengths, counts.

use polyalign::buckets::family::infer;
use polyalign::buckets::language::primary_subtag;
use polyalign::buckets::{
    Assignment, BucketSchema, BucketTable, Bucketer, LengthEdges, LengthHistograms, LengthUnit,
};
use polyalign::records::record::{Message, Record, RejectKind};
use polyalign::tokens::TokenCounter;

fn user(content: &str) -> Message<'_> {
    Message { role: "user", content }
}

fn assistant(content: &str) -> Message<'_> {
    Message { role: "assistant", content }
}

fn system(content: &str) -> Message<'_> {
    Message { role: "system", content }
}

fn record<'a>(prompt: &'a [Message<'a>], answer: &'a str) -> Record<'a> {
    Record { prompt, response: assistant(answer), ..Record::default() }
}

fn bucketer(json: &str) -> Bucketer {
    Bucketer::new(BucketSchema::from_json(json).unwrap(), None, false).unwrap()
}

fn assign(bucketer: &Bucketer, record: &Record<'_>) -> Result<(String, Assignment), String> {
    let mut table = BucketTable::default();
    let assigned = bucketer.assign(record, &mut table, &mut bucketer.scratch()).map_err(|e| e.to_string())?;
    Ok((table.id(assigned.bucket).to_owned(), assigned))
}

fn id(bucketer: &Bucketer, record: &Record<'_>) -> String {
    assign(bucketer, record).unwrap().0
}

#[test]
fn what_the_record_says_wins() {
    let prompt = [user("Hi?")];
    let mut record = record(&prompt, "one two three");
    record.language = Some("中文");
    record.track = Some("Multi");
    record.family = Some(" Small|Talk ");
    let (id, assigned) = assign(&bucketer("{}"), &record).unwrap();
    assert_eq!(id, "zh|multi|small%7Ctalk|short");
    assert_eq!((assigned.length, assigned.prompt_tokens, assigned.completion_tokens), (3, None, None));
}

#[test]
fn blank_labels_say_nothing() {
    let prompt = [user("What is the weather like in London today?")];
    let mut record = record(&prompt, "It is raining and rather cold.");
    record.language = Some(" ");
    record.track = Some("");
    record.family = Some("\t");
    assert_eq!(id(&bucketer("{}"), &record), "en|single|qa|short");
    record.language = Some("und");
    assert_eq!(id(&bucketer("{}"), &record), "en|single|qa|short");
}

#[test]
fn bad_labels_reject_with_a_reason() {
    let mut record = record(&[], "text");
    record.language = Some("klingonese");
    assert_eq!(assign(&bucketer("{}"), &record).unwrap_err(), "language \"klingonese\" is not known");
    record.language = Some("fr");
    let message = assign(&bucketer(r#"{"languages":["zh","en"]}"#), &record).unwrap_err();
    assert_eq!(message, "language `fr` is not one of en, zh");
    record.track = Some("Track 7");
    assert!(assign(&bucketer("{}"), &record).unwrap_err().contains("neither `single` nor `multi`"));
    assert_eq!(id(&bucketer(r#"{"axes":["language","length"]}"#), &record), "fr|short");
}

#[test]
fn a_programming_language_is_no_language() {
    for label in ["python", "JavaScript", "js", "C++", "c", "go", "sql", "lua", " Rust "] {
        let record =
            Record { language: Some(label), ..record(&[], "This function returns the sum of both numbers.") };
        assert_eq!(id(&bucketer(r#"{"axes":["language"]}"#), &record), "en", "{label}");
    }
    // These are what people speak, too.
    for (label, language) in [("cs", "cs"), ("ts", "ts"), ("sh", "sh")] {
        let record = Record { language: Some(label), ..record(&[], "x") };
        assert_eq!(id(&bucketer(r#"{"axes":["language"]}"#), &record), language);
    }
}

#[test]
fn families_come_from_the_record_then_its_source_then_rules() {
    let bucketer = bucketer(r#"{"axes":["family"],"families":{"sgd":"Task|Dialogue"}}"#);
    let prompt = [user("Where is it?")];
    let mut record = record(&prompt, "In the north.");
    assert_eq!(id(&bucketer, &record), "qa");
    record.source = Some("other");
    assert_eq!(id(&bucketer, &record), "qa");
    record.source = Some(" sgd");
    assert_eq!(id(&bucketer, &record), "task%7Cdialogue");
    record.family = Some("chat");
    assert_eq!(id(&bucketer, &record), "chat");
}

#[test]
fn the_kind_of_a_reason_is_not_told_by_its_words() {
    let prompt = [user("Hi?")];
    let long = "x".repeat(10_000);
    let by_track = bucketer(r#"{"axes": ["language", {"name": "track_id", "column": "t"}, "length"]}"#);
    let kind = |bucketer: &Bucketer, record: &Record<'_>| {
        bucketer.assign(record, &mut BucketTable::default(), &mut bucketer.scratch()).unwrap_err().kind
    };
    let one = Record { custom: &[Some(&long)], ..record(&prompt, "Yes.") };
    assert_eq!(kind(&by_track, &one), RejectKind::Bucket);
    assert_eq!(
        kind(&bucketer("{}"), &Record { track: Some("third"), ..record(&prompt, "Yes.") }),
        RejectKind::Track
    );
    assert_eq!(
        kind(&bucketer("{}"), &Record { language: Some("Elvish!"), ..record(&prompt, "Yes.") }),
        RejectKind::Language
    );
}

#[test]
fn custom_axes_need_a_value_or_a_stand_in() {
    let bucketer = bucketer(r#"{"axes":["topic",{"name":"style","column":"meta.style","missing":"None|"}]}"#);
    let mut record = record(&[], "x");
    record.custom = &[Some(" Sport "), None];
    assert_eq!(id(&bucketer, &record), "sport|none%7C");
    record.custom = &[Some("Sport"), Some("Terse")];
    assert_eq!(id(&bucketer, &record), "sport|terse");
    for custom in [&[Some("  "), Some("x")][..], &[None, Some("x")], &[]] {
        record.custom = custom;
        assert_eq!(assign(&bucketer, &record).unwrap_err(), "no value for axis `topic` in column `topic`");
    }
}

#[test]
fn an_exchange_before_the_last_user_turn_makes_it_multi() {
    let bucketer = bucketer(r#"{"axes":["track"]}"#);
    for (prompt, track) in [
        (&[][..], "single"),
        (&[user("a")], "single"),
        (&[system("s"), user("a"), user("b")], "single"),
        (&[assistant("hello"), user("a")], "single"),
        (&[user("a"), assistant("b")], "single"),
        (&[user("a"), assistant("b"), user("c")], "multi"),
        (&[system("s"), assistant("0"), user("a"), assistant("b"), user("c"), user("d")], "multi"),
        (&[user("a"), user("b"), assistant("c"), user("d"), assistant("e")], "multi"),
    ] {
        assert_eq!(id(&bucketer, &record(prompt, "x")), track, "{prompt:?}");
    }
}

#[test]
fn lengths_are_of_the_answer_in_any_unit() {
    let text = "<think>so many words</think> It's 好的";
    for (unit, length) in [("words", 3), ("words-paper", 3), ("characters", 7)] {
        let bucketer = bucketer(&format!(r#"{{"length_unit":"{unit}"}}"#));
        let mut record = record(&[], text);
        record.language = Some("en");
        record.thinking = text.find("It's").unwrap();
        assert_eq!(assign(&bucketer, &record).unwrap().1.length, length, "{unit}");
    }
    let tokens = BucketSchema { length_unit: Some(LengthUnit::Tokens), ..Default::default() };
    let message = Bucketer::new(tokens, None, true).err().unwrap().to_string();
    assert!(message.contains("needs a tokenizer"), "{message}");
    assert_eq!(bucketer("{}").schema().length_unit, Some(LengthUnit::Words));
}

#[test]
fn tokens_are_counted_of_contents_and_lengths_of_answers() {
    let tokenizer = r#"{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":null,
        "pre_tokenizer":{"type":"WhitespaceSplit"},"post_processor":null,"decoder":null,
        "model":{"type":"WordLevel","vocab":{"[UNK]":0},"unk_token":"[UNK]"}}"#;
    let counter = TokenCounter::from_json(tokenizer.as_bytes()).unwrap();
    let prompt = [system("be brief"), user("how are you")];
    let text = "<think> hm hm </think> fine thanks";
    let mut record = record(&prompt, text);
    record.language = Some("en");
    record.thinking = text.find("fine").unwrap();
    for (unit, count_prompt, length, prompt_tokens) in
        [("\"tokens\"", true, 2, Some(5)), ("null", false, 2, None), ("\"characters\"", true, 11, Some(5))]
    {
        let schema = BucketSchema::from_json(&format!(r#"{{"length_unit":{unit}}}"#)).unwrap();
        let bucketer = Bucketer::new(schema, Some(counter.clone()), count_prompt).unwrap();
        let assigned = assign(&bucketer, &record).unwrap().1;
        assert_eq!(
            (assigned.length, assigned.prompt_tokens, assigned.completion_tokens),
            (length, prompt_tokens, Some(6)),
            "{unit}"
        );
    }
}

#[test]
fn edges_can_differ_by_language() {
    let bucketer = bucketer(r#"{"axes":["length"],"length_edges":{"default":[2],"zh":[4]}}"#);
    let mut record = record(&[], "a b c");
    record.language = Some("en");
    assert_eq!(id(&bucketer, &record), "long");
    record.language = Some("Chinese");
    assert_eq!(id(&bucketer, &record), "short");
}

#[test]
fn auto_edges_take_a_first_pass() {
    let bucketer = bucketer(r#"{"length_edges":"auto"}"#);
    let texts: Vec<String> = (1..=40).map(|words| "word ".repeat(words)).collect();
    let mut histograms = LengthHistograms::default();
    let mut scratch = bucketer.scratch();
    for text in &texts {
        let record = Record { language: Some("en"), ..record(&[], text) };
        assert!(assign(&bucketer, &record).unwrap_err().contains("not resolved"));
        bucketer.observe(&record, &mut histograms, &mut scratch).unwrap();
    }
    let resolved = bucketer.with_observed_edges(&histograms);
    assert!(!resolved.schema().needs_edges());
    let bins: Vec<String> = [10, 11, 20, 21, 30, 31]
        .map(|words| id(&resolved, &Record { language: Some("en"), ..record(&[], &texts[words - 1]) }))
        .into();
    assert_eq!(
        bins,
        ["short", "medium", "medium", "long", "long", "xlong"]
            .map(|bin| format!("en|single|assistant|{bin}"))
    );
    let nothing = bucketer.with_observed_edges(&LengthHistograms::default());
    assert_eq!(nothing.schema().length_edges, LengthEdges::default());
}

#[test]
fn numbers_stay_the_same_for_one_table_and_scratch() {
    let bucketer = bucketer("{}");
    let mut table = BucketTable::default();
    let mut scratch = bucketer.scratch();
    let mut number = |language, answer| {
        let record = Record { language: Some(language), ..record(&[], answer) };
        bucketer.assign(&record, &mut table, &mut scratch).unwrap().bucket
    };
    assert_eq!([number("en", "a"), number("ZH", "b"), number("eng", "c"), number("zh", "d")], [0, 1, 0, 1]);
}

#[test]
fn languages_are_known_by_many_names() {
    for (tag, names) in [
        (
            "zh",
            &[
                "zh",
                "ZH",
                "zho",
                "chi",
                "cmn",
                "cmn_Hans",
                "zh-Hans-CN",
                "zh_CN.UTF-8",
                "Chinese",
                " 中文 ",
                "Chinese (Simplified)",
                "Mandarin Chinese",
            ][..],
        ),
        ("en", &["en", "eng", "English", "en-GB", "EN_us", "english (UK)", "eng_Latn"]),
        ("fr", &["fra", "fre", "French", "Français"]),
        ("de", &["ger", "deu", "German", "DEUTSCH"]),
        ("el", &["gre", "Greek", "ελληνικά", "Ελληνικά"]),
        ("ar", &["arb", "Arabic", "العربية"]),
        ("he", &["iw", "Hebrew"]),
        ("id", &["in", "Indonesian", "Bahasa Indonesia"]),
        ("nb", &["nob", "Bokmål"]),
        ("yue", &["yue", "Cantonese", "yue-Hant-HK"]),
        ("fil", &["Filipino"]),
        ("aaa", &["aaa"]),
    ] {
        for name in names {
            assert_eq!(primary_subtag(name), Some(tag), "{name}");
        }
    }
    for name in ["", " ", "klingonese", "xq", "e", "english-ish", "zh中", "12", "qqq", "-", "123-en"] {
        assert_eq!(primary_subtag(name), None, "{name:?}");
    }
}

fn detected(json: &str, prompt: &[Message<'_>], answer: &str) -> String {
    id(&bucketer(json), &record(prompt, answer))
}

#[test]
fn scripts_decide_first() {
    let json = r#"{"axes":["language"]}"#;
    for (language, text) in [
        ("zh", "今天天气很好，我们一起去公园散步吧，你觉得怎么样？下午两点见。"),
        ("zh", "可以用 TensorFlow 或者 PyTorch 来训练这个模型，然后导出成 ONNX 格式再部署到服务器上。"),
        ("ja", "今日はとても天気が良いので、公園へ散歩に行きましょう。"),
        ("ko", "오늘은 날씨가 아주 좋으니까 같이 공원에 산책하러 갈까요?"),
        ("ru", "Сегодня очень хорошая погода, пойдём гулять в парк. Это было бы здорово."),
        ("uk", "Сьогодні дуже гарна погода, ходімо гуляти до парку, якщо ти не зайнятий."),
        ("be", "Сёння вельмі добрае надвор'е, хадзем гуляць у парк, калі ты не заняты, дружа мой. Ўсё."),
        ("bg", "Днес времето е много хубаво, хайде да се разходим в парка. Къде си сега?"),
        ("sr", "Данас је веома лепо време, хајде да шетамо у парку ако ниси заузет."),
        ("ar", "الطقس جميل جدا اليوم، هيا نذهب في نزهة إلى الحديقة معا."),
        ("fa", "امروز هوا خیلی خوب است، بیا با هم به پارک برویم و گپ بزنیم."),
        ("ur", "آج موسم بہت اچھا ہے، چلو پارک میں سیر کے لیے چلتے ہیں۔"),
        ("he", "היום מזג האוויר נהדר, בוא נלך לטייל בפארק אחר הצהריים."),
        ("hi", "आज मौसम बहुत अच्छा है, चलो पार्क में घूमने चलते हैं और चाय पीते हैं।"),
        ("mr", "आज हवामान खूप छान आहे, चला आपण बागेत फिरायला जाऊ आणि चहा घेऊ."),
        ("el", "Σήμερα ο καιρός είναι πολύ καλός, πάμε μια βόλτα στο πάρκο."),
        ("th", "วันนี้อากาศดีมาก ไปเดินเล่นที่สวนสาธารณะกันเถอะ"),
        ("ta", "இன்று வானிலை மிகவும் நன்றாக உள்ளது, பூங்காவிற்கு செல்வோம்."),
        ("ka", "დღეს ძალიან კარგი ამინდია, წავიდეთ პარკში სასეირნოდ."),
    ] {
        assert_eq!(detected(json, &[], text), language, "{text}");
    }
}

#[test]
fn words_and_statistics_tell_languages_in_latin_script() {
    let json = r#"{"axes":["language"]}"#;
    for (language, text) in [
        ("en", "I think we should go for a walk in the park today."),
        ("en", "Sure thing! Booking confirmed, enjoy your flight."),
        ("de", "Ich glaube, wir sollten heute im Park spazieren gehen."),
        ("fr", "Je pense que nous devrions nous promener dans le parc."),
        ("es", "Creo que hoy deberíamos dar un paseo por el parque."),
        ("pt", "Acho que hoje deveríamos dar um passeio pelo parque, você não acha?"),
        ("it", "Penso che oggi dovremmo fare una passeggiata nel parco."),
        ("nl", "Ik denk dat we vandaag een wandeling in het park moeten maken."),
        ("pl", "Myślę, że dzisiaj powinniśmy iść na spacer do parku."),
        ("cs", "Myslím, že bychom dnes měli jít na procházku do parku."),
        ("fi", "Luulen, että meidän pitäisi mennä tänään kävelylle puistoon."),
        ("hu", "Azt hiszem, hogy ma el kellene mennünk sétálni a parkba."),
        ("tr", "Bence bugün parkta yürüyüşe çıkmalıyız, çok güzel bir gün."),
        ("vi", "Tôi nghĩ hôm nay chúng ta nên đi dạo trong công viên."),
        ("id", "Saya pikir kita harus berjalan-jalan di taman hari ini."),
        ("ro", "Cred că astăzi ar trebui să mergem la o plimbare în parc."),
    ] {
        assert_eq!(detected(json, &[], text), language, "{text}");
    }
}

#[test]
fn one_sentence_tells_its_language() {
    let json = r#"{"axes":["language"]}"#;
    for (language, text) in [
        ("da", "Selvfølgelig, jeg kan hjælpe dig med det. Hvilken version af programmet bruger du?"),
        ("da", "Toget kører hver halve time, og turen tager cirka fyrre minutter."),
        ("fi", "Toki, voin auttaa sinua siinä. Mitä ohjelman versiota käytät tällä hetkellä?"),
        ("hu", "Persze, tudok segíteni. Melyik verzióját használod most a programnak?"),
        ("et", "Muidugi, saan sind sellega aidata. Millist programmi versiooni sa praegu kasutad?"),
        ("sl", "Vlak odpelje vsake pol ure, vožnja pa traja približno štirideset minut."),
        ("id", "Kereta berangkat setiap setengah jam dan perjalanannya sekitar empat puluh menit."),
        ("ca", "El tren surt cada mitja hora i el viatge dura uns quaranta minuts."),
        ("af", "Die trein vertrek elke halfuur en die rit duur omtrent veertig minute."),
        ("eu", "Noski, horretan lagun diezazuket. Programaren zein bertsio erabiltzen duzu orain?"),
        ("yo", "Ọkọ̀ ojú irin máa ń lọ ní gbogbo ìdajì wákàtí, ìrìn náà sì tó ogójì ìṣẹ́jú."),
        ("en", "Mint tea is fine."),
        // Languages that are not known are not taken for others.
        ("und", "Implijout a reer an niverenn-se evit kas hoc'h aozadurioù da benn vat, emezañ."),
        ("und", "x"),
    ] {
        assert_eq!(detected(json, &[], text), language, "{text}");
    }
}

#[test]
fn code_and_addresses_tell_no_language() {
    let json = r#"{"axes":["language"]}"#;
    let code = "```latex\n\\documentclass{article}\n\\begin{document}\n\\tableofcontents\n\\section{Introduction}\n```";
    let chinese = format!("您可以使用命令创建目录。以下是方法。\n{code}\n编译两次即可。");
    assert_eq!(detected(json, &[], &chinese), "zh");
    let code = "```python\n# the end of the code that was asked for in the question\nprint('it is on the disk')\n```";
    let german = format!("{code}\nDiese Funktion berechnet die Wurzel jeder Zahl und gibt sie aus.");
    assert_eq!(detected(json, &[], &german), "de");
    assert_eq!(detected(json, &[user("这个函数怎么写？给我看一下代码。")], code), "zh");
    assert_eq!(detected(json, &[], "见 https://example.com/this/is/the/documentation/of/the/library"), "zh");
    let english = [user("Name three countries in South America.")];
    assert_eq!(detected(json, &english, "1. Brazil\n2. Argentina\n3. Chile"), "en");
}

#[test]
fn the_conversation_speaks_where_the_answer_leaves_it_open() {
    let json = r#"{"axes":["language"]}"#;
    let norwegian = [user("Hva heter hovedstaden i landet, og hvor mange innbyggere har den nå?")];
    assert_eq!(detected(json, &norwegian, "Oslo, omtrent 700 000."), "no");
    // But the answer has the last word.
    let translate = [user("Please translate this sentence to French for me: how are you today?")];
    assert_eq!(detected(json, &translate, "Comment allez-vous aujourd'hui, mon ami ?"), "fr");
}

#[test]
fn short_responses_follow_their_conversation() {
    let json = r#"{"axes":["language"]}"#;
    let chinese = [user("你觉得哪家酒店最好？我想住在市中心附近。")];
    assert_eq!(detected(json, &chinese, "Hilton"), "zh");
    assert_eq!(detected(json, &chinese, "1997"), "zh");
    let french = [user("Où se trouve la tour Eiffel et quand a-t-elle été construite ?")];
    assert_eq!(detected(json, &french, "Paris, 1889"), "fr");
    // The system's instructions are no one's speech.
    let prompt = [system("You are a helpful assistant. Answer the question of the user."), user("谁？")];
    assert_eq!(detected(json, &prompt, "她"), "zh");
    assert_eq!(detected(json, &[], "42"), "und");
    assert_eq!(detected(r#"{"axes":["language"],"default_language":"Chinese"}"#, &[], "42"), "zh");
}

#[test]
fn detection_keeps_to_the_allowed_languages() {
    let json = r#"{"axes":["language"],"languages":["en","zh"]}"#;
    assert_eq!(detected(json, &[], "Ich glaube, wir sollten heute spazieren gehen."), "en");
    assert_eq!(detected(json, &[], "今日はとても天気が良いので、公園へ散歩に行きましょう。"), "zh");
    assert_eq!(detected(json, &[], "Сегодня очень хорошая погода, пойдём гулять."), "und");
    let slavic = r#"{"axes":["language"],"languages":["pl","cs","uk"]}"#;
    assert_eq!(detected(slavic, &[], "Myslím, že bychom dnes měli jít na procházku."), "cs");
    assert_eq!(detected(slavic, &[], "Сегодня очень хорошая погода, пойдём гулять."), "uk");
}

#[test]
fn rules_infer_families() {
    let passage =
        "The tower was built by a company of engineers for a fair. ".repeat(5) + "\n\nWhen was it built?";
    let essay = "A long answer goes on and on, sentence after sentence, for a while. ".repeat(8);
    for (family, prompt, answer) in [
        ("code", &[user("Sort a list.")][..], "Here:\n```python\nsorted(x)\n```"),
        ("code", &[user("整理")], "~~~\na\n\nb\n~~~\n好"),
        ("assistant", &[user(&essay)], "Use `sorted(x)`:\n```\nsorted(x)\n```\nThat\nreturns\na\nnew\nlist."),
        ("list", &[user("Name fruit.")], "Some:\n- apples\n- pears\n- figs"),
        ("list", &[user("水果？")], "1、苹果\n2、梨\n3、桃"),
        ("list", &[user("Steps?")], "1. Go.\n   a) left\n   b) right\n(2) Stop.\niii. Rest."),
        ("qa", &[user("Steps?")], "It weighs\n1.5 litres\n2.5 litres\n3.5 litres"),
        ("qa", &[user(&passage)], "In 1889."),
        ("qa", &[user("a"), assistant("b"), user(&passage)], "In 1889."),
        ("qa", &[user("Who wrote it?")], "Jane Austen."),
        ("qa", &[user("谁写的？”")], "简·奥斯汀。"),
        ("qa", &[user("من كتبها؟")], "جين أوستن"),
        ("dialogue", &[user("Can you book me a flight?")], "Where would you like to go?"),
        ("dialogue", &[user("Hi there")], "Hello!"),
        ("dialogue", &[user("Hi"), assistant("Hello"), user("Who are you?")], "A friend."),
        ("assistant", &[user("Write about towers.")], &essay),
        ("assistant", &[user("Hi"), assistant("Hello"), user("Write about towers.")], &essay),
        ("assistant", &[], "A text without a prompt."),
    ] {
        assert_eq!(infer(&record(prompt, answer)), family, "{prompt:?} {answer:?}");
    }
}
