//! What the classes of times are called, and in which order they are told.

/// Those that every reader asks for first; then those of connecting; then whatever else a run measures.
const ORDER: [&str; 20] = [
    "ack",
    "first",
    "median",
    "last",
    "each",
    "signal",
    "connect",
    "hello",
    "join",
    "resume",
    "gap_told",
    "gap_closed",
    "gap_lost",
    "wait_told",
    "wait_closed",
    "wait_lost",
    "wait_undisturbed",
    "room_standstill",
    "lag",
    "pong",
];

#[must_use]
pub fn describe(class: &str) -> &str {
    match class {
        "connect" => "connect",
        "hello" => "hello → welcome",
        "join" => "join → joined",
        "resume" => "resume → joined",
        "ack" => "op → accepted",
        "first" => "op → visible, first other",
        "median" => "op → visible, median other",
        "last" => "op → visible, last other",
        "each" => "op → visible, each other",
        "signal" => "signal → visible, each other",
        "gap_told" => "longest gap, told to move",
        "gap_closed" => "longest gap, closed",
        "gap_lost" => "longest gap, connection lost",
        "wait_told" => "longest wait, told to move",
        "wait_closed" => "longest wait, closed",
        "wait_lost" => "longest wait, connection lost",
        "wait_undisturbed" => "longest wait, undisturbed",
        "room_standstill" => "longest standstill of a room",
        "lag" => "the generator's own lag",
        "pong" => "ping → pong",
        other => other,
    }
}

/// Those that are about delivery, and so have curves of their own in a report.
#[must_use]
pub fn is_delivery(class: &str) -> bool {
    matches!(class, "ack" | "first" | "median" | "last" | "each" | "signal")
}

/// In the order in which they are told.
#[must_use]
pub fn in_order<'a, T>(classes: impl IntoIterator<Item = (&'a String, T)>) -> Vec<(&'a str, T)> {
    let mut classes: Vec<_> = classes.into_iter().map(|(name, what)| (name.as_str(), what)).collect();
    let place = |name: &str| ORDER.iter().position(|class| *class == name).unwrap_or(ORDER.len());
    classes.sort_by_key(|(name, _)| (place(name), *name));
    classes
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn delivery_comes_first_and_the_unknown_last() {
        let classes = ["zebra", "connect", "signal", "ack", "apple"].map(|name| (name.to_owned(), ()));
        let classes = BTreeMap::from(classes);
        let names: Vec<_> = in_order(&classes).into_iter().map(|(name, ())| name).collect();
        assert_eq!(names, ["ack", "signal", "connect", "apple", "zebra"]);
        assert_eq!(describe("apple"), "apple");
        assert!(is_delivery("ack") && !is_delivery("connect"));
    }
}
