//! What a client makes of what it hears, and what is checked of it at once: an ack of what is not confirmed, an event of what
//! is not there, an order that is not kept, an answer that is another one than before.

use kith::entry::Seq;
use kith::ids::{ConversationId, UserId};
use serde_json::{Value, json};

use super::chance::{tell, wrong};
use super::client::{Asked, Client, Place, Recalling, State};
use super::store::short;

impl Client {
    pub(super) fn hears(&self, state: &mut State, frame: &Value) {
        if let Some(ev) = frame["ev"].as_str() {
            return self.event(state, ev, frame);
        }
        let id = frame["re"].as_u64().unwrap_or_default() as u32;
        let Some((about, _)) = state.requests.remove(&id) else {
            return;
        };
        match frame.get("ok") {
            Some(ok) => self.answered(state, about, ok),
            None => self.refused(state, about, &frame["err"]),
        }
    }

    fn event(&self, state: &mut State, ev: &str, frame: &Value) {
        let sim = &self.shared.sim;
        match ev {
            "entry" => self.entry(state, &frame["entry"]),
            "behind" => {
                tell!(sim, "{}: is behind", self.name());
                state.wants_sync = true;
            }
            "conversation" => state
                .known
                .summary(self.user, &frame["conversation"], false),
            "receipt" => {
                if let Some(id) = Self::conversation_in(frame) {
                    let user = frame["user"].as_str().and_then(|user| user.parse().ok());
                    let number = |field: &str| frame[field].as_u64().unwrap_or_default();
                    let known = state.known.of(id);
                    known.receipt(user, number("received"), number("read"));
                }
            }
            "presence" => {
                let user: Option<UserId> = frame["user"].as_str().and_then(|u| u.parse().ok());
                if let (Some(user), Some(online)) = (user, frame["online"].as_bool()) {
                    tell!(sim, "{}: is told {user} is online: {online}", self.name());
                    state.online.insert(user, online);
                }
            }
            "bye" => tell!(sim, "{}: bye {}", self.name(), frame["reason"]),
            _ => {}
        }
    }

    fn entry(&self, state: &mut State, entry: &Value) {
        let sim = &self.shared.sim;
        let Some(id) = Self::conversation_in(entry) else {
            return wrong!(sim, "an entry of no conversation: {entry}");
        };
        let seq = entry["seq"].as_u64().unwrap_or_default();
        self.is_true(id, entry);
        let newest = state.pushed.entry(id).or_default();
        if seq <= *newest {
            let name = self.name();
            wrong!(
                sim,
                "{name} is pushed {seq} of {} after {newest}",
                short(id)
            );
        }
        *newest = seq;
        tell!(sim, "{}: is pushed {seq} of {}", self.name(), short(id));
        let checks_gaps = self.checks_gaps();
        state.known.of(id).arrives(entry, checks_gaps);
    }

    /// I1: what a majority has not confirmed is shown to nobody.
    fn is_true(&self, id: ConversationId, entry: &Value) {
        let truth = self.shared.store.truth.lock();
        let seq = entry["seq"].as_u64().unwrap_or_default() as usize;
        let known = truth
            .logs
            .get(&id)
            .and_then(|log| log.get(seq.checked_sub(1)?));
        if known.is_none_or(|known| entry["id"] != known.id.to_string()) {
            let (sim, name) = (&self.shared.sim, self.name());
            wrong!(
                sim,
                "I1: {name} is shown {seq} of {}, which is not confirmed",
                short(id)
            );
        }
    }

    fn answered(&self, state: &mut State, about: Asked, ok: &Value) {
        match about {
            Asked::Hello => {
                state.greeted = true;
                if !state.listed {
                    state.since = ok["since"].as_str().map(str::to_owned);
                }
            }
            Asked::List => {
                state.syncing = false;
                (state.listed, state.wants_sync) = (true, false);
                for summary in ok["conversations"].as_array().into_iter().flatten() {
                    state.known.summary(self.user, summary, true);
                }
            }
            Asked::Sync => {
                state.syncing = false;
                for summary in ok["changed"].as_array().into_iter().flatten() {
                    state.known.summary(self.user, summary, true);
                }
                state.since = ok["since"].as_str().map(str::to_owned);
                state.wants_sync |= ok["more"] == true;
            }
            Asked::History(id) => {
                for entry in ok["entries"].as_array().into_iter().flatten() {
                    self.is_true(id, entry);
                }
                state.known.page(id, ok);
                state.known.of(id).reading = false;
            }
            Asked::Send(client_id) => self.acked(state, &client_id, ok),
            Asked::Presence => {
                for (user, seen) in ok["users"].as_object().into_iter().flatten() {
                    if let (Ok(user), Some(online)) = (user.parse(), seen["online"].as_bool()) {
                        state.online.insert(user, online);
                    }
                }
            }
            Asked::Receipt(id, received, read) => {
                let user = Some(self.user);
                state.known.of(id).receipt(user, received, read);
            }
            Asked::Recall(id, target) => self.recalled(state, (id, target), ok),
        }
    }

    /// Its own recall stands at its place too; asked for again it is known.
    fn recalled(&self, state: &mut State, (id, target): (ConversationId, Seq), ok: &Value) {
        let entry = json!({
            "conversation": id,
            "seq": ok["seq"],
            "id": ok["id"],
            "at": ok["at"],
            "from": self.user,
            "kind": "recall",
            "target": target,
            "by": self.user,
        });
        self.is_true(id, &entry);
        let is_it = |one: &Recalling| (one.id, one.target) == (id, target);
        state.recalls.retain(|one| !is_it(one));
        let checks_gaps = self.checks_gaps();
        state.known.of(id).arrives(&entry, checks_gaps);
    }

    /// What may have been stored is asked for again, what was not is let go of.
    fn recall_refused(&self, state: &mut State, place: (ConversationId, Seq), code: &str) {
        let is_it = |one: &Recalling| (one.id, one.target) == place;
        let Some(at) = state.recalls.iter().position(is_it) else {
            return;
        };
        let recall = &mut state.recalls[at];
        recall.unsure |= code == "timeout";
        recall.asked = false;
        if recall.unsure && ["timeout", "unavailable"].contains(&code) {
            return;
        }
        if recall.unsure {
            // It comes too late by now, and the first attempt at it may come to be all the same.
            self.shared.sim.may_be_untold();
        }
        state.recalls.remove(at);
    }

    fn acked(&self, state: &mut State, client_id: &str, ok: &Value) {
        let sim = &self.shared.sim;
        tell!(
            sim,
            "{}: {client_id} is answered {} {}",
            self.name(),
            ok["state"],
            ok["seq"]
        );
        let mut truth = self.shared.store.truth.lock();
        truth.answered(sim, self.user, client_id, ok);
        drop(truth);
        let Some(send) = state
            .sends
            .iter_mut()
            .find(|send| send.client_id == client_id)
        else {
            return;
        };
        let is_first = send.tries == 1;
        (send.answered, send.asked) = (true, false);
        let (Some(id), Some(seq)) = (Self::conversation_in(ok), ok["seq"].as_u64()) else {
            return;
        };
        if is_first {
            let newest = state.acked.entry(id).or_default();
            if seq <= *newest {
                let name = self.name();
                wrong!(sim, "{name} is acked {seq} of {} after {newest}", short(id));
            }
            *newest = seq;
        }
        self.own(state, (id, seq), client_id, ok);
    }

    /// What it has sent stands at its place in what it knows.
    fn own(
        &self,
        state: &mut State,
        (id, seq): (ConversationId, Seq),
        client_id: &str,
        ok: &Value,
    ) {
        let entry = json!({
            "conversation": id,
            "seq": seq,
            "id": ok["id"],
            "at": ok["at"],
            "from": self.user,
            "kind": "message",
            "client_id": client_id,
            "content": ok["content"],
        });
        let known = state.known.of(id);
        if seq == known.head() + 1 && ok["content"].is_null() {
            // It was recalled meanwhile, or is not told: it is read.
            known.is_behind = true;
        } else {
            known.arrives(&entry, self.checks_gaps());
        }
    }

    fn refused(&self, state: &mut State, about: Asked, err: &Value) {
        let code = err["code"].as_str().unwrap_or_default();
        tell!(
            self.shared.sim,
            "{}: {about:?} is refused: {code}",
            self.name()
        );
        state.paused = true;
        match about {
            Asked::Hello => {}
            Asked::List | Asked::Sync => {
                state.syncing = false;
                state.wants_sync = true;
            }
            Asked::History(id) => state.known.of(id).reading = false,
            Asked::Send(client_id) => self.send_refused(state, &client_id, code),
            Asked::Presence => state.watching = false,
            Asked::Recall(id, target) => self.recall_refused(state, (id, target), code),
            Asked::Receipt(..) => {}
        }
    }

    fn send_refused(&self, state: &mut State, client_id: &str, code: &str) {
        let sim = &self.shared.sim;
        let Some(send) = state
            .sends
            .iter_mut()
            .find(|send| send.client_id == client_id)
        else {
            return;
        };
        send.asked = false;
        match code {
            "timeout" => send.unsure = true,
            "rejected" if send.text.starts_with("reject") => send.answered = true,
            "unavailable" if send.answered || send.unsure => {}
            // Nothing was stored, and the client id is free again.
            "unavailable" => {
                send.tries = 0;
                if self.may_be_stored(send) {
                    wrong!(sim, "{client_id} may be stored, and was said not to be");
                }
                if sim.happens(50) && matches!(send.to, Place::Group(_) | Place::User(_)) {
                    send.text.push_str(" again");
                }
            }
            _ => wrong!(sim, "{client_id} of {} is refused: {code}", self.name()),
        }
    }
}
