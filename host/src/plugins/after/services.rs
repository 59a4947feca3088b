//! Services behind the host that plugins may use after the commit: language models and knowledge bases, as seams. What is
//! not configured answers that it is not; which models and bases a plugin may name is its grant's to say.

use std::sync::Arc;

use async_trait::async_trait;
use kith_runtime::{LlmPrompt, LlmUsage, Passage, ServiceError};
use tokio::sync::Mutex;

use super::abilities::Call;

/// Answers that are open in one call.
const ANSWERS_MOST: usize = 4;
const MESSAGES_MOST: usize = 200;
const PROMPT_BYTES_MOST: usize = 1 << 20;
const QUERY_CHARS_MOST: usize = 2000;
const PASSAGES_MOST: u32 = 20;

/// A provider of language models, with its keys and budgets.
#[async_trait]
pub trait LanguageModels: Send + Sync + 'static {
    /// Begins an answer on behalf of a plugin. An empty model is the server's own.
    async fn open(
        &self,
        plugin: &str,
        prompt: LlmPrompt,
    ) -> Result<Box<dyn ModelAnswer>, ServiceError>;
}

/// An answer on its way. Dropped, it is not paid for any longer.
#[async_trait]
pub trait ModelAnswer: Send {
    /// The next piece of text; none at the end.
    async fn next(&mut self) -> Result<Option<String>, ServiceError>;
    /// Ends it, wherever it is.
    async fn finish(&mut self) -> Result<LlmUsage, ServiceError>;
}

/// Where documents are looked up.
#[async_trait]
pub trait KnowledgeBases: Send + Sync + 'static {
    /// The best first. An empty base is the server's own.
    async fn search(
        &self,
        plugin: &str,
        base: &str,
        query: &str,
        limit: usize,
    ) -> Result<Vec<Passage>, ServiceError>;
}

/// What this server has of them.
#[derive(Clone, Default)]
pub struct Services {
    pub models: Option<Arc<dyn LanguageModels>>,
    pub knowledge: Option<Arc<dyn KnowledgeBases>>,
}

/// The answers of one call, by their numbers; they end with it.
#[derive(Default)]
pub struct Answers(Mutex<Vec<Option<Box<dyn ModelAnswer>>>>);

impl Answers {
    fn begin(answers: &mut Vec<Option<Box<dyn ModelAnswer>>>, answer: Box<dyn ModelAnswer>) -> u32 {
        answers.push(Some(answer));
        u32::try_from(answers.len() - 1).unwrap_or(u32::MAX)
    }

    pub async fn next(&self, number: u32) -> Result<Option<String>, ServiceError> {
        let mut answers = self.0.lock().await;
        open(&mut answers, number)?.next().await
    }

    pub async fn finish(&self, number: u32) -> Result<LlmUsage, ServiceError> {
        let mut answers = self.0.lock().await;
        let usage = open(&mut answers, number)?.finish().await;
        answers[number as usize] = None;
        usage
    }
}

fn open(
    answers: &mut [Option<Box<dyn ModelAnswer>>],
    number: u32,
) -> Result<&mut Box<dyn ModelAnswer>, ServiceError> {
    let answer = answers.get_mut(number as usize).and_then(Option::as_mut);
    answer.ok_or_else(|| ServiceError::Invalid(format!("no answer {number} is open")))
}

impl Call {
    pub(super) async fn ask_model(&self, prompt: LlmPrompt) -> Result<u32, ServiceError> {
        check_prompt(&prompt)?;
        let models = &self.shared.services.models;
        let models = models
            .as_ref()
            .ok_or_else(|| not_configured("language model"))?;
        self.may_name("llm", "model", &prompt.model)?;
        let mut answers = self.answers.0.lock().await;
        if answers.iter().flatten().count() >= ANSWERS_MOST {
            return Err(ServiceError::Quota(format!(
                "at most {ANSWERS_MOST} answers are open in a call"
            )));
        }
        let answer = models.open(&self.plugin, prompt).await?;
        Ok(Answers::begin(&mut answers, answer))
    }

    pub(super) async fn look_up(
        &self,
        base: &str,
        query: &str,
        limit: u32,
    ) -> Result<Vec<Passage>, ServiceError> {
        if query.trim().is_empty() || query.chars().count() > QUERY_CHARS_MOST {
            return Err(ServiceError::Invalid(format!(
                "a query has 1 to {QUERY_CHARS_MOST} characters"
            )));
        }
        let knowledge = &self.shared.services.knowledge;
        let knowledge = knowledge
            .as_ref()
            .ok_or_else(|| not_configured("knowledge base"))?;
        self.may_name("knowledge", "base", base)?;
        let limit = limit.min(PASSAGES_MOST) as usize;
        knowledge.search(&self.plugin, base, query, limit).await
    }

    /// Where the grant names some, no other one; the server's own is everybody's who has the grant.
    fn may_name(&self, service: &str, scope: &str, name: &str) -> Result<(), ServiceError> {
        let mut named = self.grants.scope(service, scope).peekable();
        if name.is_empty() || named.peek().is_none() || named.any(|known| known == name) {
            return Ok(());
        }
        Err(ServiceError::Denied(format!(
            "the {scope} {name:.64?} is not granted"
        )))
    }
}

fn not_configured(what: &str) -> ServiceError {
    ServiceError::NotConfigured(format!("this server has no {what}"))
}

fn check_prompt(prompt: &LlmPrompt) -> Result<(), ServiceError> {
    let wrong = |what: String| Err(ServiceError::Invalid(what));
    if prompt.messages.is_empty() || prompt.messages.len() > MESSAGES_MOST {
        return wrong(format!("a prompt has 1 to {MESSAGES_MOST} messages"));
    }
    let role = |role: &str| matches!(role, "system" | "user" | "assistant");
    if let Some(odd) = prompt.messages.iter().find(|said| !role(&said.role)) {
        return wrong(format!("{:.32?} is no role", odd.role));
    }
    let bytes: usize = prompt.messages.iter().map(|said| said.text.len()).sum();
    if bytes > PROMPT_BYTES_MOST {
        return wrong(format!("a prompt has at most {PROMPT_BYTES_MOST} bytes"));
    }
    match (0.0..=2.0).contains(&prompt.temperature) {
        true => Ok(()),
        false => wrong("a temperature is from 0 to 2".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Words(Vec<&'static str>);

    #[async_trait]
    impl ModelAnswer for Words {
        async fn next(&mut self) -> Result<Option<String>, ServiceError> {
            Ok((!self.0.is_empty()).then(|| self.0.remove(0).to_owned()))
        }

        async fn finish(&mut self) -> Result<LlmUsage, ServiceError> {
            Ok(LlmUsage {
                input_tokens: 1,
                output_tokens: self.0.len() as u64,
                ended: "stopped".to_owned(),
            })
        }
    }

    #[tokio::test]
    async fn answers_go_on_side_by_side_and_end_once() {
        let answers = Answers::default();
        for words in [vec!["a", "b"], vec!["c"]] {
            Answers::begin(&mut *answers.0.lock().await, Box::new(Words(words)));
        }
        assert_eq!(
            answers.next(0).await.expect("a piece").as_deref(),
            Some("a")
        );
        assert_eq!(
            answers.next(1).await.expect("a piece").as_deref(),
            Some("c")
        );
        assert_eq!(answers.next(1).await.expect("its end"), None);
        let left = answers.finish(0).await.map(|usage| usage.output_tokens);
        assert_eq!(left.expect("what it took"), 1);
        for gone in [0, 7] {
            let refused = answers.next(gone).await;
            assert!(
                matches!(refused, Err(ServiceError::Invalid(_))),
                "{refused:?}"
            );
        }
    }
}
