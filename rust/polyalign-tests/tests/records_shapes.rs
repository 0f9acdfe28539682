//! Every record shape, label and reject of single JSON records, on small examples.

use polyalign::records::json::{JsonRecords, JsonScratch, decide_fields, field_names};
use polyalign::records::record::{Record, Reject, RejectKind};
use polyalign::records::shape::{FieldSpec, Shape};

fn spec(shape: Shape) -> FieldSpec {
    FieldSpec { shape: Some(shape), keep_extra: true, ..FieldSpec::default() }
}

/// Runs `check` on the record that `json` is under `spec`.
fn with<T>(spec: &FieldSpec, json: &str, check: impl FnOnce(Result<Record<'_>, Reject>) -> T) -> T {
    let mut scratch = JsonScratch::default();
    check(JsonRecords::new(spec).unwrap().parse(json, &mut scratch))
}

/// The conversation as `role: content` lines, the response after `>`.
fn chat(record: &Record<'_>) -> String {
    let mut text = String::new();
    for message in record.prompt {
        text += &format!("{}: {} | ", message.role, message.content);
    }
    text + &format!("> {}: {}", record.response.role, record.response.content)
}

#[track_caller]
fn is(spec: &FieldSpec, json: &str, expected: &str, extra: Option<&str>) {
    with(spec, json, |record| {
        let record = record.unwrap_or_else(|reject| panic!("{json}: {reject:?}"));
        assert_eq!(chat(&record), expected, "{json}");
        assert_eq!(record.extra, extra, "{json}");
    });
}

/// `at`: text that the reject's offset must point to (empty: offset 0).
#[track_caller]
fn rejected(spec: &FieldSpec, json: &str, kind: &str, reason: &str, at: &str) {
    with(spec, json, |record| {
        let reject = record.expect_err(json);
        assert_eq!(reject.kind.name(), kind, "{json}: {reject:?}");
        assert!(reject.reason.contains(reason), "{json}: {reject:?}");
        assert!(!reject.reason.contains('\n'));
        if at.is_empty() {
            assert_eq!(reject.offset, 0, "{json}: {reject:?}");
        } else {
            assert!(
                json[reject.offset..].starts_with(at),
                "{json}: {reject:?} at {}",
                &json[reject.offset..]
            );
        }
    });
}

#[test]
fn messages() {
    let spec = spec(Shape::Messages);
    is(
        &spec,
        r#"{"messages":[{"role":"system","content":"S"},{"role":"user","content":"U"},{"role":"assistant","content":"A"},{"content":"V","role":"user"},{"role":"assistant","content":"B"}]}"#,
        "system: S | user: U | assistant: A | user: V | > assistant: B",
        None,
    );
    is(&spec, r#"{"messages":[{"role":"assistant","content":"Hi"}]}"#, "> assistant: Hi", None);
    // Other words for the roles, in any case.
    is(
        &spec,
        r#"{"messages":[{"role":"Human","content":"U"},{"role":"function","content":"F"},{"role":"developer","content":"D"},{"role":"GPT","content":"B"}]}"#,
        "user: U | tool: F | developer: D | > assistant: B",
        None,
    );
}

#[test]
fn what_messages_say_besides_stays_in_extra() {
    let spec = spec(Shape::Messages);
    is(
        &spec,
        r#"{"a": 1.50,"messages": [{"role":"user","content":"U","name":"Jo"},{"role":"assistant","content":"A","reasoning_content":"hm","weight" :0}], "b":[ ]}"#,
        "user: U | > assistant: A",
        Some(r#"{"a":1.50,"messages":[{"name":"Jo"},{"reasoning_content":"hm","weight":0}],"b":[ ]}"#),
    );
    // What follows the last assistant message is kept whole.
    is(
        &spec,
        r#"{"messages":[{"role":"user","content":"U"},{"role":"assistant","content":"A"},{"role":"user","content":"bye"}]}"#,
        "user: U | > assistant: A",
        Some(r#"{"messages":[{},{},{"role":"user","content":"bye"}]}"#),
    );
    let mut without = spec.clone();
    without.keep_extra = false;
    is(&without, r#"{"x":1,"messages":[{"role":"assistant","content":"A"}]}"#, "> assistant: A", None);
}

#[test]
fn content_parts() {
    let spec = spec(Shape::Messages);
    let message = |content: &str| {
        format!(
            r#"{{"messages":[{{"role":"user","content":{content}}},{{"role":"assistant","content":"A"}}]}}"#
        )
    };
    for (content, text) in [
        (r#"[]"#, ""),
        (r#"[{"type":"text","text":"one"}]"#, "one"),
        (
            r#"[{"type":"text","text":"on\u0065"},{"text":" two","type":"text"},{"type":"text","text":"\n3"}]"#,
            "one two\n3",
        ),
    ] {
        is(&spec, &message(content), &format!("user: {text} | > assistant: A"), None);
    }
    is(
        &spec,
        &message(r#"[{"type":"text","text":"one","cache":{}}]"#),
        "user: one | > assistant: A",
        Some(r#"{"messages":[{"content":[{"type":"text","text":"one","cache":{}}]},{}]}"#),
    );
    let image = r#"[{"type":"text","text":"see"},{"type":"image_url","image_url":{"url":"x"}}]"#;
    let reason = "`messages[0].content[1]` is of type `image_url`: only text parts";
    rejected(&spec, &message(image), "type", reason, r#"{"type":"image_url""#);
    rejected(
        &spec,
        &message(r#"["a"]"#),
        "type",
        "`messages[0].content[0]` is text, expected a text part",
        r#""a""#,
    );
    rejected(
        &spec,
        &message(r#"[{"text":"a"}]"#),
        "type",
        "`messages[0].content[0]` has no type",
        r#"{"text""#,
    );
    rejected(
        &spec,
        &message(r#"[{"type":"text"}]"#),
        "type",
        "`messages[0].content[0]` has no text",
        r#"{"type""#,
    );
    rejected(
        &spec,
        &message(r#"[{"type":"text","text":"a","text":"b"}]"#),
        "json",
        "has a key twice",
        r#"{"type""#,
    );
}

#[test]
fn messages_that_cannot_be_read() {
    let spec = spec(Shape::Messages);
    rejected(
        &spec,
        r#"{"messages":"hello"}"#,
        "type",
        "`messages` is text, expected a list of messages",
        "\"hello\"",
    );
    rejected(&spec, r#"{"messages":[7]}"#, "type", "`messages[0]` is a number, expected a message", "7]");
    rejected(&spec, r#"{"messages":[{"content":"x"}]}"#, "type", "`messages[0]` has no role", "{\"content");
    rejected(
        &spec,
        r#"{"messages":[{"role":1,"content":"x"}]}"#,
        "type",
        "`messages[0].role` is a number",
        "1,",
    );
    rejected(
        &spec,
        r#"{"messages":[{"role":"user","content":{"x":1}}]}"#,
        "type",
        "`messages[0].content` is an object, expected text or a list of text parts",
        "{\"x\"",
    );
    rejected(
        &spec,
        r#"{"messages":[{"role":"user","content":"U"},{"role":"assistant","content":null,"tool_calls":[]}]}"#,
        "no_response",
        "`messages[1]` has no text content (a tool call?)",
        "{\"role\":\"assistant\"",
    );
    rejected(
        &spec,
        r#"{"messages":[{"role":"assistant","tool_calls":[]},{"role":"assistant","content":"A"}]}"#,
        "type",
        "`messages[0]` has no text content",
        "{\"role\":\"assistant\",\"tool",
    );
    rejected(
        &spec,
        r#"{"messages":[{"role":"user","content":"x"}]}"#,
        "no_response",
        "has no assistant message",
        "[{",
    );
    rejected(&spec, r#"{"messages":[]}"#, "no_response", "has no assistant message", "[]");
    rejected(
        &spec,
        r#"{"messages":[{"role":"a","role":"b","content":"x"}]}"#,
        "json",
        "`messages[0]` has two `role`",
        "{\"role",
    );
    for blank in ["", " \\n\\t\\u3000"] {
        let json = format!(r#"{{"messages":[{{"role":"assistant","content":"{blank}"}}]}}"#);
        rejected(&spec, &json, "no_response", "the response is empty", "[{");
    }
}

#[test]
fn prompt_completion() {
    let spec = spec(Shape::PromptCompletion);
    is(&spec, r#"{"prompt":"P","completion":"C"}"#, "user: P | > assistant: C", None);
    is(&spec, r#"{"prompt":"","completion":"C","k":{}}"#, "> assistant: C", Some(r#"{"k":{}}"#));
    is(&spec, r#"{"completion":"C","prompt":null}"#, "> assistant: C", None);
    is(
        &spec,
        r#"{"prompt":[{"role":"system","content":"S"},{"role":"user","content":"P","id":1}],"completion":[{"role":"assistant","content":"C","n":2}]}"#,
        "system: S | user: P | > assistant: C",
        Some(r#"{"prompt":[{},{"id":1}],"completion":[{"n":2}]}"#),
    );
    is(
        &spec,
        r#"{"prompt":"P","completion":[{"role":"assistant","content":"A"},{"role":"user","content":"Q"},{"role":"assistant","content":"B"}]}"#,
        "user: P | assistant: A | user: Q | > assistant: B",
        None,
    );
    rejected(&spec, r#"{"prompt":"P"}"#, "no_response", "there is no `completion`", "");
    rejected(&spec, r#"{"prompt":"P","completion":null}"#, "no_response", "`completion` is null", "null");
    rejected(
        &spec,
        r#"{"prompt":"P","completion":3}"#,
        "type",
        "`completion` is a number, expected text or",
        "3",
    );
    rejected(&spec, r#"{"prompt":true,"completion":"C"}"#, "type", "`prompt` is a boolean", "true");
    rejected(&spec, r#"{"completion":"C"}"#, "shape", "there is no `prompt`", "");
}

#[test]
fn sharegpt() {
    let spec = spec(Shape::ShareGpt);
    is(
        &spec,
        r#"{"conversations":[{"from":"system","value":"S"},{"from":"human","value":"U"},{"from":"gpt","value":"A"},{"from":"tool","value":"T"},{"from":"gpt","value":"B","weight":1}],"system":"x"}"#,
        "system: S | user: U | assistant: A | tool: T | > assistant: B",
        Some(r#"{"conversations":[{},{},{},{},{"weight":1}],"system":"x"}"#),
    );
    // The usual keys are understood too.
    is(
        &spec,
        r#"{"conversations":[{"role":"user","content":"U"},{"role":"assistant","content":"A"}]}"#,
        "user: U | > assistant: A",
        None,
    );
    is(
        &spec,
        r#"{"conversations":[{"from":"human","value":null,"content":"U"},{"from":"gpt","value":"A","content":"B"}]}"#,
        "user: U | > assistant: A",
        Some(r#"{"conversations":[{"value":null},{"content":"B"}]}"#),
    );
}

#[test]
fn alpaca() {
    let spec = spec(Shape::Alpaca);
    is(&spec, r#"{"instruction":"Do","input":"","output":"O"}"#, "user: Do | > assistant: O", None);
    is(
        &spec,
        r#"{"instruction":"Do","input":"x\ty","output":"O"}"#,
        "user: Do\n\nx\ty | > assistant: O",
        None,
    );
    is(
        &spec,
        r#"{"instruction":"Do","output":"O","text":"t"}"#,
        "user: Do | > assistant: O",
        Some(r#"{"text":"t"}"#),
    );
    is(
        &spec,
        r#"{"instruction":"Do","history":[["a","b"],["c","d"]],"input":null,"output":"O"}"#,
        "user: a | assistant: b | user: c | assistant: d | user: Do | > assistant: O",
        None,
    );
    is(&spec, r#"{"instruction":"Do","history":null,"output":"O"}"#, "user: Do | > assistant: O", None);
    for history in [r#"["a","b"]"#, r#"[["a"]]"#, r#"[["a","b","c"]]"#, r#"[["a",1]]"#] {
        let json = format!(r#"{{"instruction":"Do","history":{history},"output":"O"}}"#);
        rejected(&spec, &json, "type", "`history[0]` is not a [user, assistant] pair of text", &history[1..]);
    }
    rejected(
        &spec,
        r#"{"instruction":"Do","output":"  "}"#,
        "no_response",
        "the response is empty",
        "\"  \"",
    );
    rejected(
        &spec,
        r#"{"instruction":["Do"],"output":"O"}"#,
        "type",
        "`instruction` is a list, expected text",
        "[",
    );
    rejected(&spec, r#"{"output":"O"}"#, "shape", "there is no `instruction`", "");
}

#[test]
fn polyalign() {
    let spec = spec(Shape::PolyAlign);
    is(
        &spec,
        r#"{"question":"Q","context":"C","dialogue_history":[{"role":"user","text":"u"},{"role":"assistant","text":"a"}],"human_answer":"H","meta":{"group":"g"}}"#,
        "user: u | assistant: a | user: C\n\nQ | > assistant: H",
        Some(r#"{"meta":{"group":"g"}}"#),
    );
    is(
        &spec,
        r#"{"question":"Q","context":"","dialogue_history":[],"human_answer":"H"}"#,
        "user: Q | > assistant: H",
        None,
    );
    is(&spec, r#"{"question":" ","context":"C","human_answer":"H"}"#, "user: C | > assistant: H", None);
    is(
        &spec,
        r#"{"question":"","dialogue_history":[{"role":"user","text":"u","n":1}],"human_answer":"H"}"#,
        "user: u | > assistant: H",
        Some(r#"{"dialogue_history":[{"n":1}]}"#),
    );
    rejected(&spec, r#"{"question":"Q"}"#, "no_response", "there is no `human_answer`", "");
    rejected(&spec, r#"{"human_answer":"H"}"#, "shape", "there is no `question`", "");
    rejected(
        &spec,
        r#"{"question":"Q","dialogue_history":"x","human_answer":"H"}"#,
        "type",
        "`dialogue_history` is text",
        "\"x\"",
    );
}

#[test]
fn preference() {
    let spec = spec(Shape::Preference);
    let rejected_text = |json: &str, expected: &str, other: &str, extra: Option<&str>| {
        is(&spec, json, expected, extra);
        with(&spec, json, |record| assert_eq!(record.unwrap().rejected.unwrap().content, other, "{json}"));
    };
    rejected_text(r#"{"prompt":"P","chosen":"C","rejected":"R"}"#, "user: P | > assistant: C", "R", None);
    rejected_text(r#"{"prompt":"P","chosen":"C","rejected":""}"#, "user: P | > assistant: C", "", None);
    // Messages; a prompt that the responses repeat is there once.
    let m = |role: &str, content: &str| format!(r#"{{"role":"{role}","content":"{content}"}}"#);
    let (u, c, r) = (m("user", "P"), m("assistant", "C"), m("assistant", "R"));
    for json in [
        format!(r#"{{"prompt":[{u}],"chosen":[{c}],"rejected":[{r}]}}"#),
        format!(r#"{{"chosen":[{u},{c}],"rejected":[{u},{r}]}}"#),
        format!(r#"{{"prompt":"P","chosen":[{u},{c}],"rejected":[{u},{r}]}}"#),
        format!(r#"{{"prompt":"P","chosen":[{c}],"rejected":"R"}}"#),
    ] {
        rejected_text(&json, "user: P | > assistant: C", "R", None);
    }
    // A rejected conversation that went another way is kept whole, and makes no pair.
    let other = m("user", "Other");
    let json = format!(r#"{{"chosen":[{u},{c}],"rejected":[{other},{r}]}}"#);
    is(&spec, &json, "user: P | > assistant: C", Some(&format!(r#"{{"rejected":[{other},{r}]}}"#)));
    with(&spec, &json, |record| assert_eq!(record.unwrap().rejected, None));
    rejected(
        &spec,
        r#"{"chosen":"C","rejected":"R"}"#,
        "shape",
        "`chosen` is one reply and there is no `prompt`",
        "\"C\"",
    );
    rejected(&spec, r#"{"prompt":"P","chosen":"C"}"#, "shape", "there is no `rejected`", "");
    rejected(&spec, r#"{"prompt":"P","rejected":"C"}"#, "no_response", "there is no `chosen`", "");
    rejected(
        &spec,
        r#"{"prompt":"P","chosen":" ","rejected":"C"}"#,
        "no_response",
        "the response is empty",
        "\" \"",
    );
    rejected(
        &spec,
        r#"{"prompt":"P","chosen":"C","rejected":null}"#,
        "no_response",
        "`rejected` is null",
        "null",
    );
}

#[test]
fn a_record_of_another_shape_names_both() {
    let all = [
        (Shape::Messages, r#"{"messages":[{"role":"assistant","content":"A"}]}"#),
        (Shape::PromptCompletion, r#"{"prompt":"P","completion":"C"}"#),
        (Shape::ShareGpt, r#"{"conversations":[{"from":"gpt","value":"A"}]}"#),
        (Shape::Alpaca, r#"{"instruction":"I","output":"O"}"#),
        (Shape::PolyAlign, r#"{"question":"Q","human_answer":"H"}"#),
        (Shape::Preference, r#"{"prompt":"P","chosen":"C","rejected":"R"}"#),
    ];
    for (shape, _) in all {
        for (other, json) in all {
            if shape == other {
                with(&spec(shape), json, |record| assert!(record.is_ok()));
            } else {
                let reason = format!("the record's shape is {other}, the corpus's is {shape}");
                rejected(&spec(shape), json, "shape", &reason, "");
            }
        }
        rejected(&spec(shape), r#"{"text":"t"}"#, "shape", "the record has no known shape", "");
    }
}

#[test]
fn reasoning() {
    let mut spec = spec(Shape::PromptCompletion);
    let json = |completion: &str| format!(r#"{{"prompt":"P","completion":"{completion}"}}"#);
    for (completion, answer) in [
        ("<think>hm\\n</think>\\n\\nYes.", "Yes."),
        (" \\n<think></think>Yes. ", "Yes. "),
        ("It is there.\\n</think>\\n\\nYes.", "Yes."),
        ("So <think>x</think>", "So <think>x</think>"),
        ("<think>a</think>b</think>c", "c"),
    ] {
        with(&spec, &json(completion), |record| assert_eq!(record.unwrap().answer(), answer));
    }
    for only in ["<think>hm</think>\\n", "<think>never ends"] {
        rejected(&spec, &json(only), "no_response", "the response is only reasoning", "\"<think>");
    }
    spec.keep_thinking = true;
    with(&spec, &json("<think>hm</think>\\n"), |record| {
        assert_eq!(record.unwrap().answer(), "<think>hm</think>\n");
    });
}

#[test]
fn labels() {
    let mut spec = spec(Shape::PromptCompletion);
    spec.custom = vec!["score".into(), "meta.ok".into(), "domain".into(), "no".into()];
    let json = r#"{"prompt":"P","completion":"C","id":42,"language":null,"lang":"en","track":"Multi","family":"qa","group":-7,"dataset":"d","score":1.50,"meta":{"ok":true},"domain":"\u006daths","no":null}"#;
    with(&spec, json, |record| {
        let record = record.unwrap();
        assert_eq!(record.id, Some("42"));
        assert_eq!(record.language, Some("en"));
        assert_eq!(record.track, Some("multi"));
        assert_eq!(record.family, Some("qa"));
        assert_eq!(record.group, Some("-7"));
        assert_eq!(record.source, Some("d"));
        assert_eq!(record.custom, [Some("1.50"), Some("true"), Some("maths"), None]);
        assert_eq!(record.extra, Some(r#"{"language":null,"dataset":"d","meta":{"ok":true},"no":null}"#));
    });
    let labelled = |member: &str| format!(r#"{{"prompt":"P","completion":"C",{member}}}"#);
    rejected(&spec, &labelled(r#""track":"both""#), "track", "the track is `both`", "\"both\"");
    rejected(&spec, &labelled(r#""track":1"#), "type", "`track` is a number, expected text", "1}");
    rejected(&spec, &labelled(r#""id":1.5"#), "type", "`id` is a number, expected text or an integer", "1.5");
    rejected(&spec, &labelled(r#""id":1e2"#), "type", "`id` is a number, expected text or an integer", "1e2");
    rejected(&spec, &labelled(r#""language":["en"]"#), "type", "`language` is a list", "[");
    rejected(
        &spec,
        &labelled(r#""domain":{}"#),
        "type",
        "`domain` is an object, expected text, a number or",
        "{}",
    );
    rejected(&spec, &labelled(r#""meta":3"#), "type", "`meta` is a number, expected an object", "3");
    // A guessed source of another type is nothing; one that was named is an error.
    with(&spec, &labelled(r#""source":{"a":1}"#), |record| assert_eq!(record.unwrap().source, None));
    spec.source = Some("source".into());
    rejected(&spec, &labelled(r#""source":{"a":1}"#), "type", "`source` is an object", "{\"a\"");
    // Blank says nothing.
    with(&spec, &labelled(r#""id":"","language":" ""#), |record| {
        let record = record.unwrap();
        assert_eq!((record.id, record.language), (None, None));
    });
}

#[test]
fn dotted_paths() {
    let mut spec = spec(Shape::PromptCompletion);
    spec.group = Some("meta.a.b".into());
    for (members, group, extra) in [
        (r#""meta":{"a":{"b":"x"}}"#, Some("x"), r#"{"meta":{"a":{"b":"x"}}}"#),
        (r#""meta":{"a.b":"y","a":{"b":"x"}}"#, Some("y"), r#"{"meta":{"a.b":"y","a":{"b":"x"}}}"#),
        (r#""meta.a":{"b":"z"},"meta":{"a.b":"y"}"#, Some("z"), r#"{"meta.a":{"b":"z"},"meta":{"a.b":"y"}}"#),
        (r#""meta":{"a":{"b":"x"}},"meta.a.b":"w""#, Some("w"), r#"{"meta":{"a":{"b":"x"}}}"#),
        (r#""m\u0065ta":{"\u0061":{"b":9}}"#, Some("9"), r#"{"m\u0065ta":{"\u0061":{"b":9}}}"#),
        (r#""meta":{"a":null}"#, None, r#"{"meta":{"a":null}}"#),
        (r#""meta":null"#, None, r#"{"meta":null}"#),
        (r#""meta":{}"#, None, r#"{"meta":{}}"#),
    ] {
        let json = format!(r#"{{"prompt":"P","completion":"C",{members}}}"#);
        with(&spec, &json, |record| {
            let record = record.unwrap_or_else(|reject| panic!("{json}: {reject:?}"));
            assert_eq!(record.group, group, "{json}");
            assert_eq!(record.extra, Some(extra), "{json}");
        });
    }
    let json = r#"{"prompt":"P","completion":"C","meta":{"a":"text"}}"#;
    rejected(&spec, json, "type", "`meta.a` is text, expected an object", "\"text\"");
    let json = r#"{"prompt":"P","completion":"C","meta":{"a":{"b":1,"b":2}}}"#;
    rejected(&spec, json, "json", "`meta.a.b` is there twice", "2}");
}

#[test]
fn fields_the_user_names() {
    let fields = |prompt: Option<&str>, response: Option<&str>, shape| FieldSpec {
        prompt: prompt.map(str::to_owned),
        response: response.map(str::to_owned),
        shape,
        keep_extra: true,
        ..FieldSpec::default()
    };
    let free = fields(Some("in.text"), Some("out"), None);
    assert!(!free.needs_shape());
    is(
        &free,
        r#"{"in":{"text":"P"},"out":"C","messages":5}"#,
        "user: P | > assistant: C",
        Some(r#"{"in":{"text":"P"},"messages":5}"#),
    );
    is(
        &free,
        r#"{"in.text":[{"role":"user","content":"P"}],"out":[{"role":"assistant","content":"C"}]}"#,
        "user: P | > assistant: C",
        None,
    );
    rejected(&free, r#"{"in":{"text":"P"}}"#, "no_response", "there is no `out`", "");
    rejected(&free, r#"{"out":"C"}"#, "shape", "there is no `in.text`", "");
    // One of them: the other is the shape's own.
    let answer = fields(None, Some("answer"), Some(Shape::Messages));
    is(
        &answer,
        r#"{"messages":[{"role":"user","content":"U"}],"answer":"A"}"#,
        "user: U | > assistant: A",
        None,
    );
    let answer = fields(None, Some("answer"), Some(Shape::Alpaca));
    is(
        &answer,
        r#"{"instruction":"I","output":"O","answer":"A"}"#,
        "user: I | > assistant: A",
        Some(r#"{"output":"O"}"#),
    );
    let prompt = fields(Some("q"), None, Some(Shape::PolyAlign));
    is(
        &prompt,
        r#"{"q":"Q","question":"x","human_answer":"H"}"#,
        "user: Q | > assistant: H",
        Some(r#"{"question":"x"}"#),
    );
    assert!(JsonRecords::new(&fields(Some("q"), None, None)).is_err());
    assert!(JsonRecords::new(&fields(Some(""), Some("a"), None)).is_err());
}

#[test]
fn the_shape_is_that_of_most_records() {
    let free = FieldSpec::default();
    let decide = |samples: &[&str], spec: &FieldSpec| {
        let samples: Vec<&[u8]> = samples.iter().map(|sample| sample.as_bytes()).collect();
        decide_fields(&samples, spec).map(|fields| fields.shape.unwrap())
    };
    let messages = r#"{"messages":[]}"#;
    let alpaca = r#"{"instruction":1,"\u006futput":2,"input":3}"#;
    assert_eq!(decide(&[messages, alpaca, "broken", alpaca], &free).unwrap(), Shape::Alpaca);
    assert_eq!(decide(&[messages, alpaca], &free).unwrap(), Shape::Messages);
    assert_eq!(
        decide(&[r#"{"prompt":1,"messages":2,"chosen":3,"rejected":4}"#], &free).unwrap(),
        Shape::Preference
    );
    assert_eq!(
        decide(&[r#"{"question":1,"human_answer":2,"completion":3,"prompt":4}"#], &free).unwrap(),
        Shape::PolyAlign
    );
    let given = FieldSpec { response: Some("answer".into()), ..FieldSpec::default() };
    assert_eq!(decide(&[r#"{"prompt":1,"answer":2}"#], &given).unwrap(), Shape::PromptCompletion);
    assert_eq!(decide(&[r#"{"question":1,"answer":2}"#], &given).unwrap(), Shape::PolyAlign);
    let error = decide(&[r#"{"text":1,"n":2}"#, r#"{"text":1,"m":2}"#, "{"], &free).unwrap_err().to_string();
    assert!(error.contains("fields seen: text, n, m;"), "{error}");
    assert!(error.contains("messages (messages)") && error.contains("alpaca (instruction, input"), "{error}");
    assert!(decide(&[], &free).unwrap_err().to_string().contains("fields seen: none"));
    assert_eq!(field_names(br#"{"a":{"b":1},"\u0063":[2]}"#).unwrap(), ["a", "c"]);
}

#[test]
fn reasons_are_one_short_line_whatever_the_record_says() {
    let long = "x".repeat(10_000);
    let content = r#"[{"type":"\ntext","text":"x"}]"#;
    for (json, reason) in [
        (format!(r#"{{"a\n{long}":1,"a\n{long}":2}}"#), format!(r"duplicate key `a\n{}…`", &long[..58])),
        (
            r#"{"prompt":"P","completion":"C","track":"a\r\n\u0000"}"#.to_owned(),
            r"the track is `a\r\n\0`, expected `single` or `multi`".to_owned(),
        ),
        (
            format!(r#"{{"prompt":"P","completion":[{{"role":"assistant","content":{content}}}]}}"#),
            r"`completion[0].content[0]` is of type `\ntext`: only text parts can be bucketed".to_owned(),
        ),
    ] {
        let said = |record: Result<Record<'_>, Reject>| record.map(drop).map_err(|reject| reject.reason);
        assert_eq!(with(&spec(Shape::PromptCompletion), &json, said), Err(reason));
    }
}

#[test]
fn shape_names_round_trip() {
    for shape in Shape::ALL {
        assert_eq!(shape.name().parse::<Shape>().unwrap(), shape);
        assert_eq!(serde_json::to_string(&shape).unwrap(), format!("\"{shape}\""));
    }
    assert!("chatml".parse::<Shape>().unwrap_err().to_string().contains("use one of preference, polyalign"));
}

#[test]
fn text_that_is_not_unicode() {
    let spec = spec(Shape::PromptCompletion);
    rejected(&spec, r#"{"prompt":"P","completion":"C\ud800"}"#, "utf8", "lone surrogate", r"\ud800");
    rejected(&spec, r#"{"prompt":"\\\udc00x","completion":"C"}"#, "utf8", "lone surrogate", r"\udc00");
    rejected(&spec, r#"{"prompt":"P","completion":"C","id":"\udfff"}"#, "utf8", "lone surrogate", r"\udfff");
    // Where nobody reads, it is kept as it stands.
    is(
        &spec,
        r#"{"prompt":"P","completion":"C","\ud800":"\udc00"}"#,
        "user: P | > assistant: C",
        Some(r#"{"\ud800":"\udc00"}"#),
    );
    is(&spec, r#"{"prompt":"\ud83d\ude00","completion":"C"}"#, "user: 😀 | > assistant: C", None);
    let records = JsonRecords::new(&spec).unwrap();
    let mut scratch = JsonScratch::default();
    let reject = records.parse_bytes(b"{\"prompt\":\"\xff\"}", &mut scratch).unwrap_err();
    assert_eq!((reject.kind, reject.offset), (RejectKind::Utf8, 11));
    assert!(records.parse_bytes(r#"{"prompt":"é","completion":"ü"}"#.as_bytes(), &mut scratch).is_ok());
}

#[test]
fn working_memory_is_reused_and_never_mixed_up() {
    let records = JsonRecords::new(&spec(Shape::Messages)).unwrap();
    let mut scratch = JsonScratch::default();
    for n in [1usize, 200_000, 3, 50_000, 2] {
        let text = "\\u00e9x".repeat(n);
        let json = format!(
            r#"{{"messages":[{{"role":"user","content":"{n}"}},{{"role":"assistant","content":"{text}"}}]}}"#
        );
        let record = records.parse(&json, &mut scratch).unwrap();
        assert_eq!(record.prompt[0].content, n.to_string());
        assert_eq!(record.response.content, "éx".repeat(n));
        assert!(records.parse("{", &mut scratch).is_err());
    }
}

#[test]
fn one_working_memory_serves_readers_of_several_shapes() {
    let alpaca = JsonRecords::new(&spec(Shape::Alpaca)).unwrap();
    let mut other = spec(Shape::PromptCompletion);
    other.custom = ["instruction", "x", "y", "z"].map(str::to_owned).to_vec();
    let other = JsonRecords::new(&other).unwrap();
    let json = r#"{"instruction":"I","prompt":"P","z":"Z","output":"O","completion":"C"}"#;
    let mut scratch = JsonScratch::default();
    for _ in 0..3 {
        let record = other.parse(json, &mut scratch).unwrap();
        assert_eq!(record.custom, [Some("I"), None, None, Some("Z")]);
        assert_eq!(record.response.content, "C");
        assert_eq!(alpaca.parse(json, &mut scratch).unwrap().response.content, "O");
    }
}
