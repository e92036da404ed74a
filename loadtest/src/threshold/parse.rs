//! Reads expressions. Whoever writes a wrong one is shown where.
//!
//! ```text
//! expression = sum comparison sum
//! sum        = product { ("+" | "-") product }
//! product    = single { ("*" | "/") single }
//! single     = number [unit] | name { "." name } | "(" sum ")"
//! ```

use std::fmt;
use std::str::FromStr;

use super::expression::{Comparison, Expression, Operator, Quantity, Unit};

/// A wrong expression, with the place where it is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    text: String,
    /// In characters.
    at: usize,
    expected: &'static str,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a wrong threshold\n  {}\n  {:>width$} {}",
            self.text,
            "^",
            self.expected,
            width = self.at + 1
        )
    }
}

impl std::error::Error for ParseError {}

/// Of an expression, in bytes, and of parentheses in each other: whatever is read comes back in bounded time and stack.
const MAX_LENGTH: usize = 500;
const MAX_DEPTH: usize = 20;

impl FromStr for Expression {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut parser = Parser { text, at: 0, depth: 0 };
        if text.len() > MAX_LENGTH {
            return Err(parser.error("it is too long"));
        }
        let left = parser.sum()?;
        let comparison = parser.comparison()?;
        let right = parser.sum()?;
        parser.skip_space();
        if parser.rest().is_empty() {
            Ok(Self { left, comparison, right })
        } else {
            Err(parser.error("nothing more is expected here"))
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    /// In bytes, always between two characters.
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn error(&self, expected: &'static str) -> ParseError {
        // A caret under what spans lines would point nowhere.
        let text = self.text.chars().take(MAX_LENGTH).map(|c| if c.is_control() { ' ' } else { c }).collect();
        ParseError { text, at: self.text[..self.at].chars().count(), expected }
    }

    fn skip_space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn take(&mut self, token: &str) -> bool {
        self.skip_space();
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn take_while(&mut self, part: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let taken = &rest[..rest.find(|c| !part(c)).unwrap_or(rest.len())];
        self.at += taken.len();
        taken
    }

    fn comparison(&mut self) -> Result<Comparison, ParseError> {
        self.skip_space();
        // The longer first: `<` begins `<=`.
        let mut all = Comparison::ALL;
        all.sort_by_key(|comparison| std::cmp::Reverse(comparison.as_str().len()));
        let found = all.into_iter().find(|comparison| self.take(comparison.as_str()));
        found.ok_or_else(|| self.error("a comparison is expected here: <, <=, >, >=, == or !="))
    }

    fn sum(&mut self) -> Result<Quantity, ParseError> {
        self.chain([Operator::Plus, Operator::Minus], Self::product)
    }

    fn product(&mut self) -> Result<Quantity, ParseError> {
        self.chain([Operator::Times, Operator::Over], Self::single)
    }

    fn chain(
        &mut self,
        operators: [Operator; 2],
        part: fn(&mut Self) -> Result<Quantity, ParseError>,
    ) -> Result<Quantity, ParseError> {
        let mut left = part(self)?;
        while let Some(operator) =
            operators.into_iter().find(|operator| self.take(operator.symbol().encode_utf8(&mut [0; 4])))
        {
            left = Quantity::Both { operator, left: Box::new(left), right: Box::new(part(self)?) };
        }
        Ok(left)
    }

    fn single(&mut self) -> Result<Quantity, ParseError> {
        if self.take("(") {
            return self.parenthesis();
        }
        match self.rest().chars().next() {
            Some(c) if c.is_ascii_digit() => self.number(),
            Some(c) if c.is_ascii_alphabetic() || c == '_' => Ok(self.name()),
            _ => Err(self.error("a number, a name or \"(\" is expected here")),
        }
    }

    fn parenthesis(&mut self) -> Result<Quantity, ParseError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.error("there are too many parentheses in each other"));
        }
        let inner = self.sum()?;
        self.depth -= 1;
        if self.take(")") { Ok(inner) } else { Err(self.error("\")\" is expected here")) }
    }

    fn number(&mut self) -> Result<Quantity, ParseError> {
        let start = self.at;
        let text = self.take_while(|c| c.is_ascii_digit() || c == '.');
        let Ok(value) = text.parse() else {
            self.at = start;
            return Err(self.error("this is no number"));
        };
        let start = self.at;
        let unit = self.take_while(|c| c.is_alphabetic() || c == '%');
        let Some(unit) = Unit::ALL
            .into_iter()
            .find(|known| known.as_str() == unit || (unit == "µs" && *known == Unit::Microseconds))
        else {
            self.at = start;
            return Err(self.error("this is no unit: take us, ms, s, KB, MB, GB or %"));
        };
        Ok(Quantity::Number { value, unit })
    }

    /// Words joined by dots; behind a dot digits may begin one, as in `ack.p99.9`.
    fn name(&mut self) -> Quantity {
        let start = self.at;
        loop {
            self.take_while(|c| c.is_ascii_alphanumeric() || c == '_');
            let mut next = self.rest().chars();
            let goes_on = next.next() == Some('.')
                && next.next().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
            if !goes_on {
                return Quantity::Figure(self.text[start..self.at].to_owned());
            }
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(text: &str) -> Option<f64> {
        let expression: Expression = format!("{text} < 1").parse().unwrap();
        expression.left.evaluate(&|name: &str| (name == "a.b_9.9").then_some(8.0))
    }

    #[test]
    fn expressions_are_read_as_they_are_meant() {
        assert_eq!(value("1 + 2 * 3"), Some(7.0));
        assert_eq!(value("(1 + 2) * 3"), Some(9.0));
        assert_eq!(value("8 - 2 - 1"), Some(5.0));
        assert_eq!(value("a.b_9.9 / 2"), Some(4.0));
        assert_eq!(value("2s"), Some(2000.0));
        assert_eq!(value("250us"), Some(0.25));
        assert_eq!(value("1.5MB"), Some(1.5e6));
        assert_eq!(value("95%"), Some(0.95));
        assert_eq!((value("unknown"), value("1 / 0")), (None, None));
        for (text, holds) in
            [("1 < 2", true), ("2<=2", true), ("3 != 3", false), ("50us >= 1ms", false), ("1==1", true)]
        {
            assert_eq!(text.parse::<Expression>().unwrap().judge(&|_: &str| None).1, holds, "{text}");
        }
    }

    #[test]
    fn a_caret_points_at_the_mistake() {
        let told = |text: &str| text.parse::<Expression>().unwrap_err().to_string();
        assert_eq!(
            told("signal.p99 <! 50ms"),
            "a wrong threshold\n  signal.p99 <! 50ms\n              ^ a number, a name or \"(\" is expected here"
        );
        assert!(
            told("ack.p99 < 5 parsec").ends_with("\n              ^ nothing more is expected here"),
            "{}",
            told("ack.p99 < 5 parsec")
        );
        assert!(
            told("ack.p99 < 5parsec")
                .ends_with("\n             ^ this is no unit: take us, ms, s, KB, MB, GB or %")
        );
        assert!(
            told("ack.p99").ends_with("\n         ^ a comparison is expected here: <, <=, >, >=, == or !=")
        );
        assert!(told("(1 + 2 < 3").ends_with("^ \")\" is expected here"));
        assert!(told("1.2.3 < 3").ends_with("\n  ^ this is no number"));
        assert!(told(&format!("{}1", "(".repeat(100))).contains("too many parentheses"));
        assert!(told(&"x".repeat(1000)).contains("too long"));
    }

    fn quantity() -> impl Strategy<Value = Quantity> {
        let number = (0.0..1e9, prop::sample::select(Unit::ALL.to_vec()))
            .prop_map(|(value, unit)| Quantity::Number { value, unit });
        let figure = "[a-z_][a-z0-9_]{0,6}(\\.[a-z0-9_]{1,6}){0,2}".prop_map(Quantity::Figure);
        let operators = [Operator::Plus, Operator::Minus, Operator::Times, Operator::Over];
        prop_oneof![number, figure].prop_recursive(4, 16, 2, move |inner| {
            (prop::sample::select(operators.to_vec()), inner.clone(), inner).prop_map(
                |(operator, left, right)| Quantity::Both {
                    operator,
                    left: Box::new(left),
                    right: Box::new(right),
                },
            )
        })
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_again(left in quantity(), right in quantity(),
                                         comparison in prop::sample::select(Comparison::ALL.to_vec())) {
            let expression = Expression { left, comparison, right };
            let text = expression.to_string();
            prop_assume!(text.len() <= MAX_LENGTH);
            prop_assert_eq!(text.parse::<Expression>(), Ok(expression), "{}", text);
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,60}", near in "[a-z0-9.<=>+*/() %µ\\-]{0,60}") {
            for text in [text, near] {
                match text.parse::<Expression>() {
                    Ok(expression) => {
                        let _ = expression.judge(&|_: &str| Some(1.0));
                        prop_assert_eq!(expression.to_string().parse::<Expression>(), Ok(expression));
                    }
                    Err(error) => prop_assert!(error.to_string().contains('^')),
                }
            }
        }
    }
}
