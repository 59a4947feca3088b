//! The rule's tokens as tantivy takes them.
//! It decides nothing: `terms::tokens` does.

use tantivy::Index;
use tantivy::tokenizer::{TextAnalyzer, Token, TokenStream, Tokenizer};

use crate::search::terms;

/// In the index's schema.
pub const NAME: &str = "kith";

pub fn register(index: &Index) {
    let analyzer = TextAnalyzer::from(KithTokenizer::default());
    index.tokenizers().register(NAME, analyzer);
}

/// Takes a text apart as a whole, then hands the tokens out one by one; its memory is used again for the next text.
#[derive(Clone, Default)]
pub struct KithTokenizer {
    text: String,
    /// End of each token in `text`, and its place.
    tokens: Vec<(usize, usize)>,
}

impl Tokenizer for KithTokenizer {
    type TokenStream<'a> = Tokens<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> Tokens<'a> {
        self.text.clear();
        self.tokens.clear();
        let (all, tokens) = (&mut self.text, &mut self.tokens);
        terms::tokens(text, |token, place| {
            all.push_str(token);
            tokens.push((all.len(), place));
        });
        Tokens {
            text: &self.text,
            tokens: self.tokens.iter(),
            start: 0,
            token: Token::default(),
        }
    }
}

pub struct Tokens<'a> {
    text: &'a str,
    tokens: std::slice::Iter<'a, (usize, usize)>,
    start: usize,
    token: Token,
}

impl TokenStream for Tokens<'_> {
    fn advance(&mut self) -> bool {
        let Some(&(end, place)) = self.tokens.next() else {
            return false;
        };
        self.token.text.clear();
        self.token.text.push_str(&self.text[self.start..end]);
        self.token.position = place;
        self.start = end;
        true
    }

    fn token(&self) -> &Token {
        &self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_tokens_come_one_by_one_with_their_places() {
        let mut tokenizer = KithTokenizer::default();
        for _ in 0..2 {
            let mut stream = tokenizer.token_stream("去Paris 吧");
            let mut found = Vec::new();
            while stream.advance() {
                found.push((stream.token().text.clone(), stream.token().position));
            }
            let expected = [("去", 0), ("paris", 1), ("吧", 7)];
            assert_eq!(found, expected.map(|(token, at)| (token.to_owned(), at)));
        }
    }
}
