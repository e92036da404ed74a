//! The command that made a run, to be typed again by whoever reads its report.

/// What is behind these is nobody else's business.
const SECRET: [&str; 5] = ["--link", "--token", "--tokens", "--password", "--database-url"];

/// As a shell takes it, without the program's folder and without secrets.
#[must_use]
pub fn command_line(arguments: impl IntoIterator<Item = String>) -> String {
    let mut words = Vec::new();
    let mut hide = false;
    for (i, argument) in arguments.into_iter().enumerate() {
        let word = match argument.split_once('=') {
            _ if hide => "…".to_owned(),
            _ if i == 0 => argument.rsplit('/').next().unwrap_or_default().to_owned(),
            Some((flag, _)) if SECRET.contains(&flag) => format!("{flag}=…"),
            _ => quoted(&argument),
        };
        hide = !hide && SECRET.contains(&argument.as_str());
        words.push(word);
    }
    words.join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:=,@%+~".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(words: &[&str]) -> String {
        command_line(words.iter().map(|word| (*word).to_owned()))
    }

    #[test]
    fn it_can_be_typed_again() {
        let words =
            ["/usr/bin/enfilade-loadtest", "replay", "my file", "--threshold", "ack.p99 < 5ms", "it's", ""];
        assert_eq!(
            line(&words),
            r"enfilade-loadtest replay 'my file' --threshold 'ack.p99 < 5ms' 'it'\''s' ''"
        );
    }

    #[test]
    fn secrets_are_left_out() {
        assert_eq!(
            line(&["x", "--link", "s3cret", "--room", "7", "--link=s3cret"]),
            "x --link … --room 7 --link=…"
        );
    }
}
