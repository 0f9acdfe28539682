//! The documentation has the features that the registry has.

#[path = "../../polyalign/examples/feature_table.rs"]
mod example;

use example::{PAGE, updated};

#[test]
fn the_page_is_up_to_date() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let expected = updated(&page).expect("markers");
    assert!(
        page == expected,
        "run `cargo run --release --example feature_table`, and commit docs/features.md"
    );
}
