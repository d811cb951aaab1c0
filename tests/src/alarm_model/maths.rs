//! Metric maths, as far as the template uses it: arithmetic, comparisons, `FILL`, `IF`, `DIFF` and `MAX`.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::vec::IntoIter;

use super::Series;

/// The value of an expression over `length` periods. What is missing in an operand is missing in the result, and so is a
/// division by zero.
pub(super) fn evaluate(expression: &str, values: &BTreeMap<&str, Series>, length: usize) -> Series {
    let mut parser = Parser { tokens: tokens(expression).into_iter().peekable(), values, length };
    let series = parser.comparison();
    assert_eq!(parser.tokens.next(), None, "{expression} does not end");
    series
}

fn tokens(expression: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut is_word = false;
    for letter in expression.chars() {
        let continues = letter.is_ascii_alphanumeric() || matches!(letter, '_' | '.');
        match tokens.last_mut() {
            Some(last) if continues && is_word => last.push(letter),
            Some(last) if letter == '=' && matches!(last.as_str(), "<" | ">") => last.push(letter),
            _ if letter.is_whitespace() => {}
            _ => tokens.push(letter.to_string()),
        }
        is_word = continues;
    }
    tokens
}

struct Parser<'a> {
    tokens: Peekable<IntoIter<String>>,
    values: &'a BTreeMap<&'a str, Series>,
    length: usize,
}

fn both(left: &Series, right: &Series, of: impl Fn(f64, f64) -> f64) -> Series {
    let pairs = left.iter().zip(right);
    pairs.map(|(left, right)| Some(of((*left)?, (*right)?)).filter(|value| value.is_finite())).collect()
}

fn truth(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}

impl Parser<'_> {
    fn takes(&mut self, tokens: &[&str]) -> Option<String> {
        self.tokens.next_if(|token| tokens.contains(&token.as_str()))
    }

    fn comparison(&mut self) -> Series {
        let left = self.sum();
        let Some(operator) = self.takes(&[">", ">=", "<", "<="]) else { return left };
        let right = self.sum();
        both(&left, &right, |left, right| match operator.as_str() {
            ">" => truth(left > right),
            ">=" => truth(left >= right),
            "<" => truth(left < right),
            _ => truth(left <= right),
        })
    }

    fn sum(&mut self) -> Series {
        let mut left = self.product();
        while let Some(operator) = self.takes(&["+", "-"]) {
            let right = self.product();
            left = both(&left, &right, |left, right| if operator == "+" { left + right } else { left - right });
        }
        left
    }

    fn product(&mut self) -> Series {
        let mut left = self.operand();
        while let Some(operator) = self.takes(&["*", "/"]) {
            let right = self.operand();
            left = both(&left, &right, |left, right| if operator == "*" { left * right } else { left / right });
        }
        left
    }

    fn operand(&mut self) -> Series {
        let token = self.tokens.next().expect("an operand");
        if token == "(" {
            let inner = self.comparison();
            self.takes(&[")"]).expect("a closing bracket");
            return inner;
        }
        if self.takes(&["("]).is_some() {
            return self.function(&token);
        }
        if let Ok(number) = token.parse() {
            return vec![Some(number); self.length];
        }
        self.values.get(token.as_str()).unwrap_or_else(|| panic!("there is no {token}")).clone()
    }

    fn function(&mut self, name: &str) -> Series {
        let is_list = self.takes(&["["]).is_some();
        let mut arguments = vec![self.comparison()];
        while self.takes(&[","]).is_some() {
            arguments.push(self.comparison());
        }
        if is_list {
            self.takes(&["]"]).expect("a closing bracket");
        }
        self.takes(&[")"]).expect("a closing bracket");
        match (name, arguments.as_slice()) {
            ("FILL", [series, with]) => series.iter().zip(with).map(|(value, with)| value.or(*with)).collect(),
            ("IF", [condition, yes, no]) => {
                let chosen = |at: usize| if condition[at]? == 0.0 { no[at] } else { yes[at] };
                (0..self.length).map(chosen).collect()
            }
            ("DIFF", [series]) => {
                let differences = series.windows(2).map(|pair| Some(pair[1]? - pair[0]?));
                std::iter::once(None).chain(differences).collect()
            }
            ("MAX", [first, others @ ..]) => {
                others.iter().fold(first.clone(), |most, other| both(&most, other, f64::max))
            }
            _ => panic!("{name} is not known here, or not with these arguments"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maths_is_that_of_cloudwatch() {
        let values =
            BTreeMap::from([("a", vec![Some(1.0), Some(4.0), None]), ("b", vec![Some(2.0), Some(0.0), Some(3.0)])]);
        for (expression, said) in [
            ("a + b * 2 - 1", vec![Some(4.0), Some(3.0), None]),
            ("100 * FILL(a, 0) / b", vec![Some(50.0), None, Some(0.0)]),
            ("IF(b >= 2, (a + b) / 2, 0.5)", vec![Some(1.5), Some(0.5), None]),
            ("DIFF(b)", vec![None, Some(-2.0), Some(3.0)]),
            ("MAX([FILL(a, 0), b])", vec![Some(2.0), Some(4.0), Some(3.0)]),
        ] {
            assert_eq!(evaluate(expression, &values, 3), said, "{expression}");
        }
    }
}
