//! The words administrators own: kept as a document, handed to the filter as its configuration.
//!
//! Changes are serialised; each is one new configuration and one new generation of the filter.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use utoipa::ToSchema;

use super::rollout::{Rollout, is_outrun};
use crate::refusal::Refusal;

/// The plugin whose configuration the words are.
pub const FILTER: &str = "word-filter";
/// The key of its configuration that holds them.
pub const KEY: &str = "words";
/// The document the words are kept as: rows of what the filter is given.
pub const DOCUMENT: &str = "words";
/// Most words, and most characters of one.
const WORDS_MAX: usize = 1_000_000;
const WORD_CHARS_MAX: usize = 64;

/// One word of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Word {
    pub word: String,
    /// `mask`, `reject` or `hold`.
    pub level: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
}

/// A word's level and category, by word.
type List = BTreeMap<String, (String, Option<String>)>;

/// The list of words and the filter that is given it.
pub struct Words {
    rollout: Arc<Rollout>,
    changing: Mutex<()>,
}

impl Words {
    pub fn new(rollout: Arc<Rollout>) -> Self {
        Self {
            rollout,
            changing: Mutex::new(()),
        }
    }

    /// Every word, with how many there are and the generation in force.
    pub async fn list(&self) -> Result<Value, Refusal> {
        let words = to_rows(&self.load().await?);
        Ok(json!({"count": words.len(), "words": words, "generation": self.rollout.generation()}))
    }

    /// Adds words; a known word gets the new level and category.
    pub async fn add(&self, words: Vec<Word>) -> Result<Value, Refusal> {
        for (row, word) in words.iter().enumerate() {
            check(word)
                .map_err(|what| Refusal::bad_request(format!("word {}: {what}", row + 1)))?;
        }
        self.change(|list| {
            for Word {
                word,
                level,
                category,
            } in &words
            {
                list.insert(word.clone(), (level.clone(), category.clone()));
            }
            Ok(())
        })
        .await
    }

    /// Takes words away; one that is not there is named and nothing changes.
    pub async fn remove(&self, words: &[String]) -> Result<Value, Refusal> {
        self.change(|list| {
            for word in words {
                if list.remove(word).is_none() {
                    return Err(Refusal::not_found(format!("{word} is not in the list")));
                }
            }
            Ok(())
        })
        .await
    }

    /// Changes the list; again where another node was faster.
    async fn change(
        &self,
        change: impl Fn(&mut List) -> Result<(), Refusal>,
    ) -> Result<Value, Refusal> {
        let _changing = self.changing.lock().await;
        loop {
            let basis = self.rollout.basis().await?;
            let mut list = self.load().await?;
            change(&mut list)?;
            match self.put(basis, list).await {
                Err(refusal) if is_outrun(&refusal) => {}
                done => return done,
            }
        }
    }

    /// Adds the rows of a CSV text with the header `word,level,category`.
    pub async fn import(&self, text: &str) -> Result<Value, Refusal> {
        self.add(parse_csv(text)?).await
    }

    /// What the serving filters make of a text.
    pub async fn test(&self, text: &str) -> Result<Value, Refusal> {
        Ok(self.rollout.trial(text))
    }

    async fn load(&self) -> Result<List, Refusal> {
        let Some(stored) = self.rollout.words().await? else {
            return Ok(List::new());
        };
        let rows: Vec<Word> = serde_json::from_value(stored).map_err(|_| {
            Refusal::new(
                crate::refusal::Code::Internal,
                "the stored words could not be read",
            )
        })?;
        Ok(rows
            .into_iter()
            .map(|row| (row.word, (row.level, row.category)))
            .collect())
    }

    /// The filter takes the list first: one it refuses is not kept.
    async fn put(&self, basis: u64, list: List) -> Result<Value, Refusal> {
        if list.len() > WORDS_MAX {
            return Err(Refusal::bad_request(format!("more than {WORDS_MAX} words")));
        }
        let rows = to_rows(&list);
        let asked = serde_json::to_value(&rows).expect("words encode");
        let applied = self.rollout.replace_words(basis, asked).await?;
        Ok(json!({"count": rows.len(), "generation": applied["generation"]}))
    }
}

fn to_rows(list: &List) -> Vec<Word> {
    let row = |(word, (level, category)): (&String, &(String, Option<String>))| Word {
        word: word.clone(),
        level: level.clone(),
        category: category.clone(),
    };
    list.iter().map(row).collect()
}

fn check(word: &Word) -> Result<(), String> {
    if !word.word.chars().any(char::is_alphanumeric) {
        return Err("a word needs a letter or a digit".to_owned());
    }
    if word.word.chars().count() > WORD_CHARS_MAX {
        return Err(format!("longer than {WORD_CHARS_MAX} characters"));
    }
    if !["mask", "reject", "hold"].contains(&word.level.as_str()) {
        return Err(format!(
            "{} is not a level: mask, reject or hold",
            word.level
        ));
    }
    Ok(())
}

fn parse_csv(text: &str) -> Result<Vec<Word>, Refusal> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .from_reader(text.as_bytes());
    let heads = reader
        .headers()
        .map_err(|error| Refusal::bad_request(format!("not CSV: {error}")))?;
    if heads.iter().collect::<Vec<_>>() != ["word", "level", "category"] {
        return Err(Refusal::bad_request(
            "the first line must be word,level,category",
        ));
    }
    let mut words = Vec::new();
    for (row, record) in reader.records().enumerate() {
        let bad = |what: &str| Refusal::bad_request(format!("row {}: {what}", row + 2));
        let record = record.map_err(|error| bad(&error.to_string()))?;
        if !(2..=3).contains(&record.len()) {
            return Err(bad("must have word, level and category"));
        }
        let category = record
            .get(2)
            .filter(|category| !category.is_empty())
            .map(str::to_owned);
        let word = Word {
            word: record[0].to_owned(),
            level: record[1].to_owned(),
            category,
        };
        check(&word).map_err(|what| bad(&what))?;
        words.push(word);
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bad_row_imports_nothing_and_is_named() {
        let refusal = parse_csv("word,level,category\nfoo,mask,\n\"b,\"\"ar\",shout,x\n")
            .expect_err("a bad level");
        assert!(
            refusal.message.starts_with("row 3: shout"),
            "{}",
            refusal.message
        );
        assert!(parse_csv("word,level\nfoo,mask\n").is_err());
        let words = parse_csv("\u{feff}word,level,category\r\n\"b,\"\"ar\",mask,x\r\nfoo,hold\r\n")
            .expect("good");
        assert_eq!(words[0].word, "b,\"ar");
        assert_eq!(
            (words[1].level.as_str(), words[1].category.as_deref()),
            ("hold", None)
        );
    }
}
