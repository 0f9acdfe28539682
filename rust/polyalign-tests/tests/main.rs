//! Behaviour through the public interface: one binary, since each links the whole engine.

mod bucketing_folders;
mod bucketing_formats;
mod bucketing_hostile;
mod bucketing_repeats;
mod bucketing_support;
mod bucketing_tables;
mod bucketing_turns;
mod buckets_assign;
mod buckets_schema;
mod buckets_text;
mod examples;
mod feature_table;
mod features;
mod features_oracle;
mod features_paper;
mod lexical;
mod records_documented;
mod records_shapes;
mod records_strict;
mod records_support;
mod records_tables;
mod reference_build;
mod reference_common;
mod reference_file;
mod reference_golden;
mod reference_numbers;
mod reference_targets;
mod text_vader;
mod tokens_common;
mod tokens_families;
mod tokens_golden;
mod tokens_rules;
mod tokens_sentencepiece;
mod tokens_words;

/// Cargo does not look for tests here, so that a file without its line above would be left out in silence.
#[test]
fn every_file_is_a_module_or_a_binary_of_its_own() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");
    let modules = include_str!("main.rs");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        if path.extension().is_some_and(|kind| kind == "rs")
            && !["main", "bucketing_memory", "bucketing_once", "bucketing_resume", "publishing"]
                .contains(&name)
        {
            assert!(modules.contains(&format!("\nmod {name};")), "tests/main.rs lacks mod {name};");
        }
    }
}
