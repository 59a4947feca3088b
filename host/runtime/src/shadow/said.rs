//! A decision taken apart, so that two of them can be compared: the outcome, and each part by its name.
//! It is compared and thrown away; nothing of it is shown.

use serde_json::Value;

use crate::ruling::Outcome;

/// Everything of a decision that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    pub outcome: Outcome,
    parts: Vec<(&'static str, String)>,
}

impl Said {
    pub fn new(outcome: Outcome) -> Self {
        Self {
            outcome,
            parts: Vec::new(),
        }
    }

    /// No decision: the outcome alone is compared.
    pub fn nothing(outcome: Outcome) -> Self {
        Self::new(outcome)
    }

    /// With a part; an empty one is as good as none.
    pub fn with(mut self, name: &'static str, part: String) -> Self {
        if !part.is_empty() {
            self.parts.push((name, part));
        }
        self
    }

    /// With a part that is JSON: how it is written does not count.
    pub fn with_json(self, name: &'static str, json: &str) -> Self {
        let value: Result<Value, _> = serde_json::from_str(json);
        let text = value.map_or_else(|_| json.to_owned(), |value| value.to_string());
        self.with(name, text)
    }

    /// What differs from another decision, `outcome` first; nothing for equal ones.
    pub fn differs(&self, other: &Self) -> Vec<&'static str> {
        let mut differs = Vec::new();
        if self.outcome != other.outcome {
            differs.push("outcome");
        }
        if self.parts.is_empty() || other.parts.is_empty() {
            return differs;
        }
        let part = |said: &Self, name: &str| {
            let found = said.parts.iter().find(|(known, _)| *known == name);
            found.map(|(_, part)| part.clone())
        };
        for (name, _) in self.parts.iter().chain(&other.parts) {
            if !differs.contains(name) && part(self, name) != part(other, name) {
                differs.push(name);
            }
        }
        differs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_named_and_the_writing_of_json_is_no_difference() {
        let said = |outcome, content: &str, silent: &str| {
            let said = Said::new(outcome).with_json("content", content);
            said.with("notify", silent.to_owned())
        };
        let one = said(Outcome::Replaced, r#"{"a": 1, "b": 2}"#, "push");
        let same = said(Outcome::Replaced, r#"{"a":1,"b":2}"#, "push");
        let other = said(Outcome::Passed, r#"{"a":1,"b":3}"#, "push");
        assert_eq!(one.differs(&same), [""; 0]);
        assert_eq!(one.differs(&other), ["outcome", "content"]);
        let silent = said(Outcome::Replaced, r#"{"a":1,"b":2}"#, "silent");
        assert_eq!(one.differs(&silent), ["notify"]);
        let nothing = Said::nothing(Outcome::Failed);
        assert_eq!(one.differs(&nothing), ["outcome"]);
    }
}
