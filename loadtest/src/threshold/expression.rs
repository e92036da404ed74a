//! An expression: two quantities and how they have to compare.

use std::fmt;

use super::figures::Figures;
use crate::report::units;

#[derive(Clone, Debug, PartialEq)]
pub struct Expression {
    pub left: Quantity,
    pub comparison: Comparison,
    pub right: Quantity,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Less,
    AtMost,
    Greater,
    AtLeast,
    Equal,
    Unequal,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Quantity {
    Number {
        value: f64,
        unit: Unit,
    },
    /// `signal.p99`, `counts.sent`.
    Figure(String),
    Both {
        operator: Operator,
        left: Box<Quantity>,
        right: Box<Quantity>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Plus,
    Minus,
    Times,
    Over,
}

/// Figures are in milliseconds and bytes; everything is brought to these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    None,
    Microseconds,
    Milliseconds,
    Seconds,
    Kilobytes,
    Megabytes,
    Gigabytes,
    Percent,
}

impl Expression {
    /// The left side, if it is known, and whether all of it holds. What is not known does not hold.
    #[must_use]
    pub fn judge(&self, figures: &impl Figures) -> (Option<f64>, bool) {
        let value = self.left.evaluate(figures);
        let held = match (value, self.right.evaluate(figures)) {
            (Some(left), Some(right)) => self.comparison.holds(left, right),
            _ => false,
        };
        (value, held)
    }

    /// A value of the left side, in the unit that the right side is written in.
    #[must_use]
    pub fn in_its_unit(&self, value: f64) -> String {
        match &self.right {
            Quantity::Number { unit, .. } => unit.write(value),
            _ => units::digits(value),
        }
    }
}

impl Comparison {
    pub(super) const ALL: [Self; 6] =
        [Self::Less, Self::AtMost, Self::Greater, Self::AtLeast, Self::Equal, Self::Unequal];

    #[must_use]
    pub fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Self::Less => left < right,
            Self::AtMost => left <= right,
            Self::Greater => left > right,
            Self::AtLeast => left >= right,
            Self::Equal => left == right,
            Self::Unequal => left != right,
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Greater => ">",
            Self::AtLeast => ">=",
            Self::Equal => "==",
            Self::Unequal => "!=",
        }
    }
}

impl Quantity {
    /// None if a figure is not known, or something is divided by nothing.
    #[must_use]
    pub fn evaluate(&self, figures: &impl Figures) -> Option<f64> {
        let value = match self {
            Self::Number { value, unit } => unit.in_base(*value),
            Self::Figure(name) => figures.figure(name)?,
            Self::Both { operator, left, right } => {
                operator.apply(left.evaluate(figures)?, right.evaluate(figures)?)
            }
        };
        value.is_finite().then_some(value)
    }
}

impl Operator {
    fn apply(self, left: f64, right: f64) -> f64 {
        match self {
            Self::Plus => left + right,
            Self::Minus => left - right,
            Self::Times => left * right,
            Self::Over => left / right,
        }
    }

    pub(super) fn symbol(self) -> char {
        match self {
            Self::Plus => '+',
            Self::Minus => '-',
            Self::Times => '*',
            Self::Over => '/',
        }
    }

    fn binds_tightly(self) -> bool {
        matches!(self, Self::Times | Self::Over)
    }
}

impl Unit {
    pub(super) const ALL: [Self; 8] = [
        Self::None,
        Self::Microseconds,
        Self::Milliseconds,
        Self::Seconds,
        Self::Kilobytes,
        Self::Megabytes,
        Self::Gigabytes,
        Self::Percent,
    ];

    fn write(self, value: f64) -> String {
        match self {
            Self::Microseconds | Self::Milliseconds | Self::Seconds => units::milliseconds(value),
            Self::Kilobytes | Self::Megabytes | Self::Gigabytes => units::bytes(value),
            Self::Percent => format!("{} %", units::digits(value * 100.0)),
            Self::None if value.fract() == 0.0 && value >= 0.0 => units::whole(value as u64),
            Self::None => units::digits(value),
        }
    }

    /// Divided where it gets smaller: 95 hundredths are 0.95, 95 times 0.01 are not.
    fn in_base(self, value: f64) -> f64 {
        match self {
            Self::None | Self::Milliseconds => value,
            Self::Microseconds => value / 1e3,
            Self::Seconds | Self::Kilobytes => value * 1e3,
            Self::Megabytes => value * 1e6,
            Self::Gigabytes => value * 1e9,
            Self::Percent => value / 1e2,
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Microseconds => "us",
            Self::Milliseconds => "ms",
            Self::Seconds => "s",
            Self::Kilobytes => "KB",
            Self::Megabytes => "MB",
            Self::Gigabytes => "GB",
            Self::Percent => "%",
        }
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.left, self.comparison.as_str(), self.right)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number { value, unit } => write!(f, "{value}{}", unit.as_str()),
            Self::Figure(name) => f.write_str(name),
            Self::Both { operator, left, right } => {
                write_side(f, left, *operator, false)?;
                write!(f, " {} ", operator.symbol())?;
                write_side(f, right, *operator, true)
            }
        }
    }
}

/// In parentheses where it would be read otherwise without them.
fn write_side(f: &mut fmt::Formatter<'_>, side: &Quantity, of: Operator, right: bool) -> fmt::Result {
    let loose = match side {
        Quantity::Both { operator, .. } => {
            (of.binds_tightly() && !operator.binds_tightly())
                || (right && of.binds_tightly() == operator.binds_tightly())
        }
        _ => false,
    };
    if loose { write!(f, "({side})") } else { write!(f, "{side}") }
}
